"""`fabgossip audit`: is a node's log the one that was written, what does it say, and what do others
hold against it."""

import argparse
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlencode

from fabgossip.cli.client import Reply, StatusClient
from fabgossip.cli.output import (
    EXIT_FAILURE,
    EXIT_OK,
    EXIT_REFUSED,
    print_json,
    safe,
    say,
)
from fabgossip.errors import FabgossipError, TrustError, UsageError, WireError
from fabgossip.model.authority import AuditCheckpoint, NodeClaims
from fabgossip.storage.checkpoints import FILE_NAME, read_envelopes
from fabgossip.storage.records import packed_line
from fabgossip.storage.verifying import ChainVerdict, verify_folder
from fabgossip.trust.checkpoints import verify_checkpoint
from fabgossip.trust.rejections import Rejection
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.envelopes import parse_envelope
from fabgossip.wire.statements import parse_claims, parse_own_claims


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", socket: str) -> None:
    """Add the commands; `socket` is the default path."""
    text = "the log of what provably happened on a node"
    group = commands.add_parser("audit", help=text, description=text)
    verbs = group.add_subparsers(title="verbs", metavar="VERB", required=True)
    verify = _verb(verbs, "verify", "is a log the one that was written", socket, run_verify)
    verify.add_argument(
        "folder", metavar="FOLDER", type=Path, nargs="?", help="the log; none: of a running daemon"
    )
    verify.add_argument("--claims", type=Path, metavar="FILE", help="the claims of its node")
    verify.add_argument(
        "--checkpoint", type=Path, action="append", default=[], metavar="FILE",
        help="checkpoints kept elsewhere, as `audit heads` prints them; repeatable",
    )  # fmt: skip
    show = _verb(verbs, "show", "the records of a running daemon's log", socket, run_show)
    show.add_argument("--after", type=int, default=0, metavar="SEQ", help="only above this number")
    heads = _verb(
        verbs, "heads", "the checkpoints this node keeps of another's log", socket, run_heads
    )
    heads.add_argument("node", metavar="NODE", help="whose log")


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    text: str,
    socket: str,
    run: object,
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=text)
    parser.add_argument(
        "--socket", type=Path, default=Path(socket), help=f"the daemon's status socket ({socket})"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(run=run)
    return parser


def run_verify(arguments: argparse.Namespace) -> int:
    """`fabgossip audit verify`."""
    if arguments.checkpoint and arguments.claims is None:
        raise UsageError("--checkpoint needs --claims: they name the key a checkpoint is judged by")
    folder = arguments.folder or _folder_of(arguments.socket)
    believed: list[AuditCheckpoint] = []
    if arguments.claims is not None:
        # Read before the log, which a daemon may be writing: it covers no record that is not there.
        kept = [folder / FILE_NAME] if (folder / FILE_NAME).exists() else []
        claims = _claims(arguments.claims)
        believed = [one for path in (*kept, *arguments.checkpoint) for one in _read(path, claims)]
    verdict = verify_folder(folder, believed)
    if arguments.json:
        print_json(_verdict_json(verdict))
        return EXIT_REFUSED if verdict.faults else EXIT_OK
    if verdict.faults:
        raise TrustError("; ".join(f"{folder}: {one}" for one in verdict.faults))
    _print_verdict(verdict, is_anchored=arguments.claims is not None)
    return EXIT_OK


def _folder_of(socket: Path) -> Path:
    config = StatusClient(socket).get("/v1/status").body["config"]
    assert isinstance(config, dict)
    return Path(str(config["storage"])) / "audit"


def _claims(path: Path) -> NodeClaims:
    """The claims of a node's own file, believed because whoever verifies chose the file."""
    try:
        envelope, _ = parse_own_claims(path.read_bytes())
        return parse_claims(parse_envelope(envelope).payload)
    except OSError as error:
        raise FabgossipError(f"{path}: {error.strerror}") from error
    except WireError as error:
        raise FabgossipError(f"{path}: not a claims file: {error}") from error


def _read(path: Path, claims: NodeClaims) -> Iterable[AuditCheckpoint]:
    verifier = Ed25519Verifier()
    for envelope in read_envelopes(path):
        found = verify_checkpoint(envelope, claims.audit_key, verifier)
        if isinstance(found, Rejection):
            raise TrustError(f"{path}: {found.code.value}: {found.detail}")
        if (found.cluster_id, found.node_id) != (claims.cluster_id, claims.node_id):
            raise TrustError(f"{path}: a checkpoint of node {found.node_id}, not {claims.node_id}")
        yield found


def _verdict_json(verdict: ChainVerdict) -> dict[str, object]:
    return {
        "verified": not verdict.faults,
        "first": verdict.first,
        "last": verdict.head.size,
        "head": verdict.head.line_hash.hex(),
        "torn": verdict.is_torn,
        "checkpoints": verdict.agreeing,
        "faults": [asdict(one) for one in verdict.faults],
    }


def _print_verdict(verdict: ChainVerdict, *, is_anchored: bool) -> None:
    size = verdict.head.size
    print(f"intact: records {verdict.first} to {size}, head {verdict.head.line_hash.hex()}")
    if verdict.is_torn:
        say("the last line has no end: a crash while it was written leaves that")
    if is_anchored:
        print(f"{verdict.agreeing} checkpoints agree")
    else:
        say("no checkpoint was judged, so a rewritten log would pass: name the node's --claims")


def run_show(arguments: argparse.Namespace) -> int:
    """`fabgossip audit show`."""
    client, after = StatusClient(arguments.socket), arguments.after
    rows: list[dict[str, object]] = []
    while after is not None:
        reply = client.get(f"/v1/audit?{urlencode({'after': after})}")
        if reply.code != 200:
            return _refused(reply, as_json=arguments.json)
        page = _rows(reply.body)
        if arguments.json:
            rows += page
        else:
            for row in page:
                print(packed_line(row).decode("ascii"), end="")
        after = reply.body["next"]
    if arguments.json:
        print_json({"items": rows})
    return EXIT_OK


def run_heads(arguments: argparse.Namespace) -> int:
    """`fabgossip audit heads`."""
    query = urlencode({"node": arguments.node})
    reply = StatusClient(arguments.socket).get(f"/v1/checkpoints?{query}")
    if reply.code != 200:
        return _refused(reply, as_json=arguments.json)
    if arguments.json:
        print_json(reply.body)
        return EXIT_OK
    for row in _rows(reply.body):
        print(packed_line(row).decode("ascii"), end="")
    return EXIT_OK


def _rows(body: dict[str, object]) -> list[dict[str, object]]:
    rows = body["items"]
    assert isinstance(rows, list)
    return rows


def _refused(reply: Reply, *, as_json: bool) -> int:
    if as_json:
        print_json(reply.body)
    else:
        say(f"fabgossip: {safe(reply.body.get('detail') or reply.body.get('code'))}")
    return EXIT_REFUSED if reply.code == 403 else EXIT_FAILURE
