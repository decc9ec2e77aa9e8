"""Commands that ask a running daemon: status, artifacts, peers, why, fetch, submit."""

import argparse
import os
from contextlib import closing
from itertools import groupby
from pathlib import Path
from urllib.parse import urlencode

from fabgossip.cli.client import StatusClient, ask
from fabgossip.cli.output import (
    EXIT_DEGRADED,
    EXIT_FAILURE,
    EXIT_OK,
    EXIT_REFUSED,
    EXIT_TRY_AGAIN,
    EXIT_USAGE,
    bold,
    print_json,
    print_table,
    safe,
    say,
)
from fabgossip.cli.pins import register_pins
from fabgossip.cli.replies import (
    EXITS,
    PAGE,
    command,
    refused,
    rows_in,
    say_near,
    say_nearest,
    subject_of,
    table_in,
)
from fabgossip.cli.using import register_use
from fabgossip.errors import FabgossipError, UsageError
from fabgossip.model.mode import RISKS

_NOT_FRESH = (
    "behind",
    "stale",
    "disputed",
    "expired",
    "invalid",
    "withdrawn",
    "known",
    "held_back",
)
"""Counts of `namespaces` shown where there is something to count."""
TIMEOUT_MS_MAX = 600_000
_ACTIONS = (
    "; ".join(
        f"{risk.value} risk: {', '.join(one for one, its in RISKS.items() if its is risk)}"
        for risk in dict.fromkeys(RISKS.values())
    )
    + "; any other name is judged as high risk"
)
GATE_TIMEOUT_S = 1.0
"""A daemon that does not answer a consumer within this has said no."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", socket: str) -> None:
    """Add the commands; `socket` is the default path."""
    status = command(commands, "status", socket, run_status)
    status.add_argument("--check", action="store_true", help="exit 4 when degraded")
    artifacts = command(commands, "artifacts", socket, run_artifacts)
    artifacts.add_argument("--family", default="", help="only this artifact type")
    artifacts.add_argument("--state", default="", help="only this state, as shown")
    verbs = artifacts.add_subparsers()
    register_pins(verbs, socket)
    register_use(verbs, socket)
    command(commands, "peers", socket, run_peers)
    why = command(commands, "why", socket, run_why)
    why.add_argument("subject", metavar="NAMESPACE|HASH", help="a namespace or a content hash")
    fetch = command(commands, "fetch", socket, run_fetch)
    fetch.add_argument(
        "subject", metavar="HASH|NAMESPACE", nargs="?", help="a content hash or a namespace"
    )
    fetch.add_argument(
        "--grant", type=Path, metavar="FILE", help="a fetch grant, for what this node may not hold"
    )
    fetch.add_argument(
        "--envelope", type=Path, metavar="FILE", help="with --grant: the artifact's envelope"
    )
    fetch.add_argument(
        "--out", type=Path, metavar="FILE", help="with --grant: the new file for the content"
    )
    fetch.add_argument(
        "--timeout", type=float, default=30.0, metavar="S", help="seconds to wait (30)"
    )
    submit = command(commands, "submit", socket, run_submit)
    submit.add_argument("envelope", type=Path, help="file with the envelope")
    submit.add_argument(
        "content", type=Path, nargs="?", help="file with the content; none for a tombstone"
    )
    gate = command(commands, "gate", socket, run_gate)
    gate.add_argument("action", metavar="ACTION", help=_ACTIONS)
    about = gate.add_mutually_exclusive_group()
    about.add_argument("--namespace", help="the namespace it is about")
    about.add_argument("--artifact", metavar="HASH", help="the content it is about")


def run_gate(arguments: argparse.Namespace) -> int:
    """`fabgossip gate`: 0 yes; 4 no by mode, policy or age; 5 no such artifact for this node; 2 no
    action; 75 ask again, which means no."""
    query = {"action": arguments.action}
    if arguments.namespace is not None:
        query["namespace"] = arguments.namespace
    if arguments.artifact is not None:
        query["content_hash"] = arguments.artifact
    reply = ask(arguments.socket, f"/v1/gate?{urlencode(query)}", GATE_TIMEOUT_S)
    if reply.code != 200:
        refused(reply, as_json=arguments.json)
        return EXIT_USAGE if reply.code == 400 else EXIT_TRY_AGAIN
    body = reply.body
    if arguments.json:
        print_json(body)
    else:
        print(f"{'yes' if body['allowed'] else 'no':4} {safe(body['reason'])}")
        if body["help"]:
            say(f"     {safe(body['help'])}")
        if body["code"] == "unknown" and arguments.namespace is not None:
            say_nearest(arguments, arguments.namespace)
    if body["allowed"] is True:
        return EXIT_OK
    return EXIT_REFUSED if body["code"] == "unknown" else EXIT_DEGRADED


def run_status(arguments: argparse.Namespace) -> int:
    """`fabgossip status`."""
    reply = ask(arguments.socket, "/v1/status")
    verdict = table_in(reply.body, "verdict")
    if arguments.json:
        print_json(reply.body)
    else:
        _print_status(reply.body)
    return EXIT_DEGRADED if arguments.check and verdict["level"] != "ok" else EXIT_OK


def _print_status(body: dict[str, object]) -> None:
    node, verdict, trust = (table_in(body, key) for key in ("node", "verdict", "trust"))
    counts, neighbors, recovery, storage = (
        table_in(body, key) for key in ("namespaces", "neighbors", "recovery", "storage")
    )
    others = "".join(f"{counts[one]} {one}   " for one in _NOT_FRESH if counts[one])
    domains = neighbors["failure_domains"]
    mode = safe(verdict["mode"]).upper()
    # Lower case, to be no second mode: FRESH is how current trust is, degraded that something is
    # wrong.
    level = "" if verdict["level"] == "ok" else "   degraded"
    print(
        f"fabgossip {bold(safe(node['node_id']))}   cluster {safe(node['cluster_id'])}   "
        f"{bold(mode + level)}   {safe(verdict['summary'])}"
    )
    print(
        f"  trust         bundle {trust['bundle_version']}, epoch {trust['epoch']}, revocations "
        f"{trust['revocation_version']}   refresh due {safe(trust['refresh_due_at'])}   "
        f"certificate until {safe(trust['certificate_expires_at'])}"
    )
    print(
        f"  namespaces    {counts['fresh']} of {counts['total']} fresh   "
        f"{others}last change {safe(counts['last_change_at'])}"
    )
    print(
        f"  neighbors     {neighbors['active']} linked, {neighbors['target']} wanted   "
        f"in {domains} failure domain{'' if domains == 1 else 's'}"
    )
    print(
        f"  recovery      {recovery['wanted']} wanted   {recovery['in_flight']} in flight   "
        f"{recovery['parked']} waiting   at {safe(recovery['step'])}{_on_last_good(recovery)}"
        f"{_for_newer(recovery)}"
    )
    print(
        f"  storage       {storage['used_bytes']} of {storage['quota_bytes']} bytes used   "
        f"{storage['pins']} pinned   {recovery['out_of_space']} waiting for space"
    )
    print(f"  process       started {safe(node['started_at'])}, boot {safe(node['boot_id'])}")
    print(f"  configuration {safe(table_in(body, 'config')['path'])}")
    _print_problems(body)


def _on_last_good(recovery: dict[str, object]) -> str:
    count = recovery["last_good"]
    return f"   {count} on the last valid version" if count else ""


def _for_newer(recovery: dict[str, object]) -> str:
    """Climbs for versions newer than what nears its refresh time."""
    count, step = recovery["renewing"], safe(recovery["renewing_step"])
    return f"   {count} climb{'' if count == 1 else 's'} for newer, at {step}" if count else ""


def _print_problems(body: dict[str, object]) -> None:
    problems = rows_in(body, "problems")
    if problems:
        print(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}")
    for one in problems:
        print(f"  {safe(one['code'])}  {safe(one['namespace'])}".rstrip())
        print(f"    because  {safe(one['because'])}")
        print(f"    next     {safe(one['next'])}")
    if body["problems_omitted"]:
        print(f"  and {body['problems_omitted']} more: fabgossip artifacts")


def run_artifacts(arguments: argparse.Namespace) -> int:
    """`fabgossip artifacts`."""
    items: list[dict[str, object]] = []
    after = ""
    while True:
        query = {"after": after, "limit": str(PAGE)}
        query |= {
            key: value
            for key, value in (("family", arguments.family), ("state", arguments.state))
            if value
        }
        reply = ask(arguments.socket, f"/v1/artifacts?{urlencode(query)}")
        if reply.code != 200:
            return refused(reply, as_json=arguments.json)
        items += rows_in(reply.body, "items")
        if reply.body["next"] is None:
            break
        after = str(reply.body["next"])
    if arguments.json:
        print_json({"items": items})
        return EXIT_OK
    rows = [
        (
            one["namespace"],
            f"{one['epoch']}.{one['version']}",
            _state_of(one),
            one["size"],
            one["content_hash"],
        )
        for one in items
    ]
    print_table(("NAMESPACE", "VERSION", "STATE", "BYTES", "CONTENT"), rows)
    return EXIT_OK


def _state_of(item: dict[str, object]) -> str:
    """The state, marked where an older version is in use: an operator wants it, or nobody brings
    this one."""
    held_back, last_good = item["held_back"], item["last_good"]
    if isinstance(held_back, dict):
        return f"{item['state']} ({held_back['order']} in use until {held_back['until']})"
    if isinstance(last_good, dict) and last_good["allowed"]:
        return f"{item['state']} ({last_good['order']} in use)"
    return str(item["state"])


def run_peers(arguments: argparse.Namespace) -> int:
    """`fabgossip peers`."""
    reply = ask(arguments.socket, "/v1/peers")
    if arguments.json:
        print_json(reply.body)
        return EXIT_OK
    rows = [
        (
            one["node_id"],
            one["failure_domain"],
            one["direction"],
            "open" if one["open"] else "opening",
            one["since_s"],
            one["last_heard_s"],
            one["rtt_ms"],
            one["shared_audiences"],
        )
        for one in rows_in(reply.body, "items")
    ]
    heads = ("NODE", "PLACE", "DIRECTION", "STATE", "SINCE S", "HEARD S AGO", "RTT MS", "AUDIENCES")
    print_table(heads, rows)
    for one in rows_in(reply.body, "down"):
        wait = (
            f"next dial in {_span(one['dials_in_ms'])}" if one["dials_in_ms"] else "next dial now"
        )
        print(
            f"{safe(one['node_id'])}  {safe(one['address'])}   lost: {safe(one['reason'])} "
            f"{_span(one['ago_ms'])} ago, {wait}"
        )
    return EXIT_OK


def _span(ms: object) -> str:
    """In the unit that leaves a number a person can compare."""
    assert isinstance(ms, int)
    for size, unit in ((86_400_000, "days"), (3_600_000, "h"), (60_000, "min")):
        if ms >= 2 * size:
            return f"{ms // size} {unit}"
    return f"{ms / 1_000:.1f} s" if ms >= 2_000 else f"{ms} ms"


def run_why(arguments: argparse.Namespace) -> int:
    """`fabgossip why`."""
    query = urlencode(dict((subject_of(arguments.subject),)))
    reply = ask(arguments.socket, f"/v1/why?{query}")
    if reply.code != 200:
        code = refused(reply, as_json=arguments.json)
        say_near(reply, arguments, arguments.subject)
        return code
    if arguments.json:
        print_json(reply.body)
    else:
        _print_why(reply.body)
    return EXIT_OK


def _print_why(body: dict[str, object]) -> None:
    if body["artifact"] is not None:
        _print_artifact(body)
    unclaimed = body["unclaimed"]
    if isinstance(unclaimed, dict):
        print(f"{bold(safe(unclaimed['namespace']))}   no verified manifest names it here")
        print(f"  in local/  {safe(unclaimed['order'])}, nobody vouches for it now")
    for one in rows_in(body, "granted"):
        print(f"{bold(safe(one['namespace']))}   {safe(one['order'])} under a grant")
        print(f"  grant    {safe(one['grant'])}   until {safe(one['grant_ends_at'])}")
        print(f"  content  {safe(one['content_hash'])}   not held by this node, and not applied")
        print(f"  outcome  {safe(one['outcome'])}   {safe(one['detail'])}".rstrip())
        _print_ladder(rows_in(one, "ladder"))


def _print_artifact(body: dict[str, object]) -> None:
    artifact, signed, newest = (
        table_in(body, "artifact"),
        table_in(body, "signed"),
        table_in(body, "newest"),
    )
    keys = signed["key_ids"]
    assert isinstance(keys, list)
    print(
        f"{bold(safe(artifact['namespace']))}   {safe(artifact['family'])} {safe(newest['order'])}"
    )
    since = f"   since {safe(artifact['current_at'])}" if artifact["current_at"] else ""
    print(f"  state    {safe(artifact['state'])}{since}")
    refused = body["refused"]
    if isinstance(refused, dict):
        print(
            f"  refused  {safe(refused['code'])}: {safe(refused['detail'])}   "
            f"at {safe(refused['at'])}"
        )
    print(f"  content  {safe(artifact['content_hash'])}   {artifact['size']} bytes")
    print(f"  signed   {', '.join(str(key)[:12] for key in keys)}   {signed['threshold']} needed")
    print(f"  newest   {safe(newest['order'])}, heard from {safe(newest['from'])}")
    if artifact["held"] and newest["came_along"]:
        print(f"  arrived  with its announcement from {safe(newest['from'])}")
    print(
        f"  times    issued {safe(artifact['issued_at'])}, "
        f"refresh by {safe(artifact['refresh_by'])}, expires {safe(artifact['expires_at'])}"
    )
    print(f"  held by  {_holders(body)}")
    _print_last_good(artifact["last_good"])
    held_back = artifact["held_back"]
    if isinstance(held_back, dict):
        print(
            f"  in use   {safe(held_back['order'])} until {safe(held_back['until'])}, by "
            f"{safe(held_back['owner'])}: {safe(held_back['reason'])}"
        )
    want = body["want"]
    if isinstance(want, dict):
        _print_want(want)
    chain = body["chain"]
    if isinstance(chain, dict):
        _print_chain(chain)
    ladder = rows_in(body, "ladder")
    if not ladder and not isinstance(body["renewal"], dict):
        print("  tries    none remembered since the start")
    _print_ladder(ladder)
    renewal = body["renewal"]
    if isinstance(renewal, dict):
        _print_want(table_in(renewal, "want"), "newer", news="")
        _print_ladder(rows_in(renewal, "ladder"), "FOR NEWER")


def _holders(body: dict[str, object]) -> str:
    """Who says so, and what that word is worth."""
    said, named, missing = (
        _names(body[key]) for key in ("advertised_by", "advertised_by_name", "answered_missing")
    )
    parts = (
        ("", named),
        ("said to hold all but others: ", [one for one in said if one not in named]),
        ("said so, but answered missing: ", missing),
    )
    words = [f"{what}{', '.join(map(safe, who))}" for what, who in parts if who]
    return "   ".join(words) or "nobody said yet"


def _names(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


def _print_chain(chain: dict[str, object]) -> None:
    """How it was to be made of increments, and why it was not."""
    words = f"{safe(chain['outcome'])}   {chain['steps']} increments, {chain['bytes']} bytes"
    asked = f"   asked {safe(chain['asked'])}" if chain["asked"] else ""
    detail = f"   {safe(chain['detail'])}" if chain["detail"] else ""
    print(f"  chain    {words}{asked}{detail}   from {str(chain['base'])[:12]}")


def _print_last_good(last_good: object) -> None:
    if isinstance(last_good, dict):
        word = "stays in use" if last_good["allowed"] else "is not to be relied on"
        print(f"  before   {safe(last_good['order'])} {word}: {safe(last_good['reason'])}")


def _print_want(
    want: dict[str, object], title: str = "want", *, news: str = ", sooner on news"
) -> None:
    """Where it stands, and what would be tried next and when."""
    words = [safe(want["state"])]
    if want["step"] is not None:
        words.append(f"at {safe(want['step'])}")
    if want["source"] is not None:
        words.append(f"{safe(want['source'])} is asked: {safe(want['reason'])}")
    if want["retry_in_ms"] is not None:
        words.append(f"climbs again in {_span(want['retry_in_ms'])}{news}")
    print(f"  {title:8} {'   '.join(words)}")
    for one in rows_in(want, "next"):
        print(f"  next     {safe(one['step'])}   {safe(one['source'])}   {safe(one['reason'])}")


def _print_ladder(ladder: list[dict[str, object]], title: str = "LADDER") -> None:
    climbs = [list(rows) for _, rows in groupby(ladder, key=lambda one: one["climb"])]
    rows = [row for climb in climbs for row in _climb_rows(climb)]
    if rows:
        print_table((title, "STEP", "SOURCE", "OUTCOME", "TOOK", "BYTES", "WHY"), rows)


def _climb_rows(climb: list[dict[str, object]]) -> list[tuple[object, ...]]:
    """The lines of one climb; of one that came to nothing, the steps that had nobody to ask share
    one, with the try there was if it was the only one."""
    nobody = [one for one in climb if one["source"] is None]
    skipped = [one for one in nobody if one["outcome"] == "skipped"]
    is_over = climb[-1]["step"] == "rung 5"
    if not is_over or len(skipped) < 2:
        return [_ladder_row(one) for one in climb]
    tries = [_ladder_row(one) for one in climb if one["source"] is not None]
    ago, name = f"{_span(nobody[-1]['ago_ms'])} ago", f"climb {nobody[-1]['climb']}"
    decided = "".join(f"; {one['step']}: {one['outcome']}" for one in nobody if one not in skipped)
    if len(tries) == 1:
        _, _, *middle, reason = tries[0]
        return [(ago, name, *middle, f"{reason}; no other source{decided}")]
    words = f"{'no other source' if tries else 'no source at any step'}{decided}"
    return [*tries, (ago, name, None, "skipped", "", "", words)]


def _ladder_row(one: dict[str, object]) -> tuple[object, ...]:
    return (
        f"{_span(one['ago_ms'])} ago",
        one["step"],
        one["source"],
        one["outcome"],
        f"{one['ms']} ms",
        one["bytes"],
        one["reason"],
    )


def run_fetch(arguments: argparse.Namespace) -> int:
    """`fabgossip fetch`."""
    timeout_ms = int(arguments.timeout * 1_000)
    if not 1 <= timeout_ms <= TIMEOUT_MS_MAX:
        raise UsageError(
            f"--timeout {arguments.timeout:g}: expected 0.001 to {TIMEOUT_MS_MAX // 1_000} seconds"
        )
    under_grant = (arguments.grant, arguments.envelope, arguments.out)
    if arguments.subject is None and all(under_grant):
        return _fetch_granted(arguments, timeout_ms)
    if arguments.subject is None or any(under_grant):
        raise UsageError(
            "fetch: expected HASH|NAMESPACE, or --grant, --envelope and --out together"
        )
    key, value = subject_of(arguments.subject)
    query = urlencode({key: value, "timeout_ms": str(timeout_ms)})
    with closing(StatusClient(arguments.socket, timeout_s=arguments.timeout + 10)) as client:
        reply = client.post(f"/v1/fetch?{query}")
    if reply.code != 200:
        code = refused(reply, as_json=arguments.json)
        say_near(reply, arguments, arguments.subject)
        return code
    if arguments.json:
        print_json(reply.body)
    else:
        print(f"held {safe(reply.body['content_hash'])} {safe(reply.body['namespace'])}")
    return EXIT_OK


def _fetch_granted(arguments: argparse.Namespace, timeout_ms: int) -> int:
    """The content goes to a file of its own, whole or not at all: the node keeps nothing of it."""
    path: Path = arguments.out
    try:
        grant, envelope = arguments.grant.read_bytes(), arguments.envelope.read_bytes()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise FabgossipError(f"{error.filename}: {error.strerror}") from error
    is_whole = False
    try:
        with (
            os.fdopen(descriptor, "wb") as out,
            closing(StatusClient(arguments.socket, timeout_s=arguments.timeout + 10)) as client,
        ):
            reply = client.granted(grant, envelope, timeout_ms, out)
        is_whole = reply.code == 200
    except OSError as error:
        raise FabgossipError(f"{path}: {error.strerror}") from error
    finally:
        if not is_whole:
            path.unlink()
    if not is_whole:
        return refused(reply, as_json=arguments.json)
    if arguments.json:
        print_json({**reply.body, "file": str(path)})
    else:
        print(f"delivered {safe(reply.body['content_hash'])} {safe(reply.body['namespace'])}")
        say(f"{path}: not held by this node, and not applied")
    return EXIT_OK


def run_submit(arguments: argparse.Namespace) -> int:
    """`fabgossip submit`."""
    try:
        envelope = arguments.envelope.read_bytes()
        content = b"" if arguments.content is None else arguments.content.read_bytes()
    except OSError as error:
        raise FabgossipError(f"{error.filename}: {error.strerror}") from error
    with closing(StatusClient(arguments.socket)) as client:
        reply = client.submit(envelope, content)
    if reply.code != 200:
        if not arguments.json:
            say(f"fabgossip: {safe(reply.body.get('code'))}: {safe(reply.body.get('detail'))}")
            if reply.body.get("code") == "LENGTH_MISMATCH":
                say(
                    "what the envelope announces was taken, its content was not: "
                    f"fabgossip submit {arguments.envelope} CONTENT"
                )
            return EXITS.get(reply.code, EXIT_FAILURE)
        return refused(reply, as_json=True)
    if arguments.json:
        print_json(reply.body)
    else:
        print(f"{safe(reply.body['outcome'])} {safe(reply.body['namespace'])}")
    return EXIT_OK
