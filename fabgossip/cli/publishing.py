"""`fabgossip control publish`: what is new goes to a running node, and what is in nothing signed is
said."""

import argparse
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Final

from fabgossip.cli.authority import add_reason, add_verb, authority_of, typed, wall_now
from fabgossip.cli.client import StatusClient
from fabgossip.cli.output import EXIT_FAILURE, EXIT_OK, EXIT_REFUSED, print_json, safe, say
from fabgossip.control.advice import storing_words, unstored_orgs
from fabgossip.control.enrollment import NodeRow
from fabgossip.control.publishing import Delivery, publish
from fabgossip.control.signing import SignedArtifact
from fabgossip.control.uncompiled import Uncompiled
from fabgossip.errors import ControlError
from fabgossip.trust.rejections import RejectionCode

NAMED_MAX: Final = 8
"""As many of what waits for a compile are named (*start*)."""


def add_publish_verb(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb to the command group."""
    parser = add_verb(verbs, "publish", "hand what is new to a running node", run_publish)
    parser.add_argument("--socket", type=Path, required=True, help="the node's status socket")
    parser.add_argument(
        "--all", action="store_true", help="everything current, not only what is new"
    )
    add_reason(parser)


def submitter(client: StatusClient) -> Callable[[SignedArtifact], Delivery]:
    """Hands one artifact at a time to a node."""

    def submit(artifact: SignedArtifact) -> Delivery:
        body = client.submit(artifact.envelope, artifact.content).body
        return Delivery(
            artifact=artifact,
            outcome=str(body.get("outcome", "refused")),
            code=str(body.get("code", "")),
            detail=str(body.get("detail", "")),
        )

    return submit


def run_publish(arguments: argparse.Namespace) -> int:
    """`fabgossip control publish`."""
    authority, now = authority_of(arguments), wall_now()
    with closing(StatusClient(arguments.socket)) as client:
        # Before anything is recorded, and even if there is nothing to hand over: a timer that
        # publishes must notice a dead node.
        node_id = _node_at(client, arguments.socket)
        with authority.locked():
            deliveries = publish(authority, submitter(client), now, everything=arguments.all)
            row, waiting = authority.find_node(node_id), authority.uncompiled(now)
    refused = [one for one in deliveries if not one.is_accepted]
    if arguments.json:
        items = [
            {
                "namespace": one.artifact.manifest.namespace.text,
                "outcome": one.outcome,
                "code": one.code,
            }
            for one in deliveries
        ]
        body = {"node_id": node_id, "published": items, "refused": len(refused)}
        print_json({**body, "uncompiled": _uncompiled_json(waiting)})
    else:
        for one in refused:
            say(f"fabgossip: {one.artifact.manifest.namespace.text}: {one.code}: {one.detail}")
        taken = len(deliveries) - len(refused)
        print(f"{taken} handed over to {safe(node_id)}, {len(refused)} refused")
        if row is not None:
            _say_what_it_stores(row, refused, arguments)
        if waiting:
            _say_what_waits(waiting, arguments)
    if refused:
        return EXIT_REFUSED
    return EXIT_FAILURE if waiting else EXIT_OK


def _uncompiled_json(waiting: Uncompiled) -> dict[str, object]:
    entries = [
        {"entry": one.entry_id, "kind": one.kind.lower(), "subject": one.subject}
        for one in waiting.entries
    ]
    return {"revocations": entries, "nodes": list(waiting.nodes)}


def _say_what_waits(waiting: Uncompiled, arguments: argparse.Namespace) -> None:
    """What was decided takes effect nowhere, and a count of 0 would sound as if it had."""
    if waiting.entries:
        named = _first(f"{one.kind.lower()} {one.subject}" for one in waiting.entries)
        say(f"warning: in no signed list yet, so believed by every node: {named}")
    if waiting.nodes:
        say(f"warning: enrolled or changed, and in no signed claims yet: {_first(waiting.nodes)}")
    say(f"next: {typed(arguments, 'compile SOURCE')}; then publish again")


def _first(words: Iterable[str]) -> str:
    """The first of many, and how many more."""
    some = list(words)
    more = f" and {len(some) - NAMED_MAX} more" if len(some) > NAMED_MAX else ""
    return f"{', '.join(map(safe, some[:NAMED_MAX]))}{more}"


def _node_at(client: StatusClient, socket: Path) -> str:
    reply = client.get("/v1/version")
    if reply.code != 200:
        raise ControlError(f"{socket}: {reply.body.get('detail')}")
    return str(reply.body["node_id"])


def _say_what_it_stores(
    row: NodeRow, refused: list[Delivery], arguments: argparse.Namespace
) -> None:
    manifests = [
        one.artifact.manifest for one in refused if one.code == RejectionCode.AUDIENCE_NOT_OURS
    ]
    orgs = unstored_orgs(row, manifests)
    if orgs:
        stores = " ".join(f"--stores {one}" for one in orgs)
        command = typed(arguments, storing_words(row, orgs))
        say(f"next: publish to a node enrolled with {stores}, or: {command}")
