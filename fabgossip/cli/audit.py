"""`fabgossip audit`: is a node's log, or the control plane's ledger, the one that was written, what
does it say, and what do others hold against it."""

import argparse
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from fabgossip.cli.client import TIMEOUT_S, StatusClient, ask
from fabgossip.cli.output import (
    EXIT_OK,
    EXIT_REFUSED,
    print_json,
    safe,
    say,
)
from fabgossip.cli.replies import refused, rows_in
from fabgossip.errors import FabgossipError, TrustError, UsageError, WireError
from fabgossip.model.authority import AuditCheckpoint, NodeClaims, TrustBundle
from fabgossip.storage.checkpoints import FILE_NAME, read_envelopes, split_lines
from fabgossip.storage.records import LEDGER_FOLDER, packed_line, parse_line, read_records
from fabgossip.storage.verifying import ChainVerdict, verify_folder
from fabgossip.trust.bundle import bundle_after, bundle_from_pinned
from fabgossip.trust.checkpoints import (
    ledger_keys,
    verify_checkpoint,
    verify_ledger_checkpoint,
)
from fabgossip.trust.identity import ClaimsTrust, signed_claims
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.trust.revocation import NOTHING_REVOKED
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.contents import parse_pinned
from fabgossip.wire.statements import parse_own_claims

PAGE: Final = 1_000
"""Records read at once."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", socket: str) -> None:
    """Add the commands; `socket` is the default path."""
    group = commands.add_parser("audit")
    verbs = group.add_subparsers(title="verbs", metavar="VERB", required=True)
    verify = _verb(verbs, "verify", "is a log the one that was written", socket, run_verify)
    verify.add_argument(
        "folder", metavar="FOLDER", type=Path, nargs="?", help="the log; none: of a running daemon"
    )
    verify.add_argument("--claims", type=Path, metavar="FILE", help="the claims of its node")
    _add_authority(verify)
    verify.add_argument(
        "--bootstrap", type=Path, metavar="FILE",
        help="a pinned trust bundle you believe: it names who signs claims, or the ledger",
    )  # fmt: skip
    verify.add_argument(
        "--checkpoint", type=Path, action="append", default=[], metavar="FILE",
        help="checkpoints kept elsewhere, as `audit heads` prints them; repeatable",
    )  # fmt: skip
    show = _verb(verbs, "show", "the records of a running daemon's log", socket, run_show)
    _add_authority(show)
    show.add_argument("--after", type=int, default=0, metavar="SEQ", help="only above this number")
    heads = _verb(
        verbs, "heads", "the checkpoints this node keeps of another's log", socket, run_heads
    )
    heads.add_argument("node", metavar="NODE", help="whose log")


def _add_authority(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--authority", type=Path, metavar="FOLDER", help="the control plane's ledger instead"
    )


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
    log = _log_of(arguments)
    # Read before the log, which a daemon may be writing: it covers no record that is not there.
    evidence = _evidence(log, arguments.checkpoint)
    verdict = verify_folder(log.folder, evidence.believed)
    warnings = _warnings(verdict, log, evidence)
    if arguments.json:
        print_json(_verdict_json(verdict, evidence, warnings))
        return EXIT_REFUSED if verdict.faults or evidence.refused else EXIT_OK
    if verdict.faults:
        faults = [f"{log.folder}: {one}" for one in verdict.faults]
        raise TrustError("; ".join((*faults, *evidence.refused)))
    _print_verdict(verdict, log, evidence, warnings)
    if evidence.refused:
        raise TrustError("; ".join(evidence.refused))
    return EXIT_OK


Judge = Callable[[bytes], AuditCheckpoint | Rejection]


@dataclass(frozen=True, slots=True)
class _Log:
    """What is to be verified, and what its checkpoints are judged by, if by anything."""

    folder: Path
    judge: Judge | None
    signs: str = "and a node signs its first within a minute of its first record"
    """When there must be a checkpoint."""
    kept: str = "fabgossip audit heads NODE, at a control endpoint"
    """Who has some."""


def _log_of(arguments: argparse.Namespace) -> _Log:
    if arguments.authority is not None:
        if arguments.folder is not None or arguments.claims is not None:
            raise UsageError("--authority is about the ledger: it takes no FOLDER and no --claims")
        return _ledger_of(arguments.authority, arguments.bootstrap)
    if arguments.checkpoint and arguments.claims is None:
        raise UsageError("--checkpoint needs --claims: they name the key a checkpoint is judged by")
    if (arguments.claims is None) is not (arguments.bootstrap is None):
        raise UsageError(
            "--claims needs --bootstrap, the trust they are judged by, and the reverse"
        )
    folder = arguments.folder or _folder_of(arguments.socket)
    if arguments.claims is None:
        return _Log(folder, None)
    claims = _claims(arguments.claims, _pinned(arguments.bootstrap))
    return _Log(folder, partial(_of_node, claims))


def _folder_of(socket: Path) -> Path:
    config = ask(socket, "/v1/status").body["config"]
    assert isinstance(config, dict)
    return Path(str(config["storage"])) / "audit"


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FabgossipError(f"{path}: {error.strerror}") from error


def _pinned(path: Path) -> TrustBundle:
    try:
        return bundle_from_pinned(*parse_pinned(_bytes(path)), Ed25519Verifier()).bundle
    except WireError as error:
        raise TrustError(f"{path}: {error}") from error


def _claims(path: Path, bundle: TrustBundle) -> NodeClaims:
    """The claims of a node's own file, if the control plane signed them: they name the key a log is
    judged by, and whoever rewrote the log may have written them too."""
    try:
        envelope, _ = parse_own_claims(_bytes(path))
    except WireError as error:
        raise FabgossipError(f"{path}: not a claims file: {error}") from error
    found = signed_claims(envelope, ClaimsTrust(bundle, NOTHING_REVOKED, Ed25519Verifier()))
    if isinstance(found, Rejection):
        raise TrustError(f"{path}: {found.code.value}: {found.detail}")
    return found


def _of_node(claims: NodeClaims, envelope: bytes) -> AuditCheckpoint | Rejection:
    found = verify_checkpoint(envelope, claims.audit_key, Ed25519Verifier())
    if isinstance(found, Rejection) or (found.cluster_id, found.node_id) == (
        claims.cluster_id,
        claims.node_id,
    ):
        return found
    detail = f"a checkpoint of node {found.node_id}, not {claims.node_id}"
    return Rejection(code=RejectionCode.IDENTITY_INVALID, detail=detail)


def _ledger_of(authority: Path, bootstrap: Path | None) -> _Log:
    """The ledger of an authority folder, judged by the chain that follows from a bundle pinned
    elsewhere; from the first of the folder itself where none is named."""
    trust = authority / "trust"
    verifier = Ed25519Verifier()
    if bootstrap is None:
        first = _step(trust, 1)
        if first is None:
            raise FabgossipError(f"{authority}: no authority here")
        chain = [bundle_from_pinned(*first, verifier).bundle]
        say("judged by roots this folder names itself: --bootstrap FILE, of a node, rules out that")
        say("they were replaced along with the ledger")
    else:
        chain = [_pinned(bootstrap)]
    while (step := _step(trust, chain[-1].bundle_version + 1)) is not None:
        chain.append(bundle_after(chain[-1], *step, verifier))
    return _Log(
        authority / LEDGER_FOLDER,
        partial(_of_ledger, chain),
        signs="and every command signs one",
        kept="copies of checkpoints.jsonl",
    )


def _step(trust: Path, version: int) -> tuple[bytes, bytes] | None:
    if not (trust / f"{version}.envelope").exists():
        return None
    return _bytes(trust / f"{version}.envelope"), _bytes(trust / f"{version}.content")


def _of_ledger(chain: Sequence[TrustBundle], envelope: bytes) -> AuditCheckpoint | Rejection:
    cluster_id = chain[-1].cluster_id
    return verify_ledger_checkpoint(envelope, ledger_keys(chain), cluster_id, Ed25519Verifier())


@dataclass(frozen=True, slots=True)
class _Evidence:
    """The checkpoints a log is held against."""

    believed: tuple[AuditCheckpoint, ...] = ()
    refused: tuple[str, ...] = ()
    """What lies where checkpoints belong and is no evidence, or that there is none: as bad as a
    fault, since somebody took the evidence away, and the chain may still be told about."""
    passed_over: int = 0
    """Signed by a key that was revoked since."""
    has_others: bool = False
    """Whether some were kept elsewhere."""

    @property
    def covered_to(self) -> int:
        """The last record any of them covers."""
        return max((one.size for one in self.believed), default=0)


def _evidence(log: _Log, elsewhere: Sequence[Path]) -> _Evidence:
    """Raises `StorageError` for a file that cannot be read, or that was named and is none."""
    if log.judge is None:
        return _Evidence()
    own = log.folder / FILE_NAME
    envelopes, strange = split_lines(own) if own.exists() else ((), ())
    found = [_sorted(own, envelopes, log.judge)]
    found += [_sorted(path, read_envelopes(path), log.judge) for path in elsewhere]
    believed = tuple(one for some in found for one in some.believed)
    refused = [str(one) for one in strange[:1]]
    refused += [f"{own}: and {len(strange) - 1} more such lines"] if len(strange) > 1 else []
    refused += [one for some in found for one in some.refused]
    if not believed and not refused:
        refused = [f"{log.folder}: no checkpoint that counts, {log.signs}"]
    return _Evidence(
        believed=believed,
        refused=tuple(refused),
        passed_over=sum(one.passed_over for one in found),
        has_others=bool(elsewhere),
    )


def _sorted(path: Path, envelopes: Sequence[bytes], judge: Judge) -> _Evidence:
    """The checkpoints of a file that count. What a key signed that was revoked since, a thief may
    have signed: later ones cover what it covered."""
    found = [judge(envelope) for envelope in envelopes]
    rejections = [one for one in found if isinstance(one, Rejection)]
    strange = [one for one in rejections if one.code is not RejectionCode.KEY_REVOKED]
    return _Evidence(
        believed=tuple(one for one in found if not isinstance(one, Rejection)),
        refused=tuple(dict.fromkeys(f"{path}: {one.code.value}: {one.detail}" for one in strange)),
        passed_over=len(rejections) - len(strange),
    )


def _warnings(verdict: ChainVerdict, log: _Log, evidence: _Evidence) -> list[str]:
    """What the verdict does not rest on."""
    size, covered = verdict.head.size, evidence.covered_to
    warnings = []
    if verdict.is_torn:
        warnings.append("the last line has no end: a crash while it was written leaves that")
    if evidence.passed_over:
        warnings.append(f"{evidence.passed_over} checkpoints of a revoked key passed over")
    if log.judge is None:
        return [
            *warnings,
            "no checkpoint was judged, so a rewritten log would pass: name the node's --claims "
            "and a --bootstrap",
        ]
    if covered < size:
        warnings.append(f"no checkpoint covers records {covered + 1} to {size} yet")
    if not evidence.has_others:
        warnings.append(
            "every checkpoint lay beside the log, so one cut off along with its own would pass: "
            f"name some kept elsewhere with --checkpoint ({log.kept})"
        )
    return warnings


def _verdict_json(
    verdict: ChainVerdict, evidence: _Evidence, warnings: list[str]
) -> dict[str, object]:
    return {
        "verified": not verdict.faults and not evidence.refused,
        "first": verdict.first,
        "last": verdict.head.size,
        "head": verdict.head.line_hash.hex(),
        "torn": verdict.is_torn,
        "checkpoints": verdict.agreeing,
        "covered_to": evidence.covered_to,
        "faults": [asdict(one) for one in verdict.faults],
        "refused": list(evidence.refused),
        "warnings": warnings,
    }


def _print_verdict(
    verdict: ChainVerdict, log: _Log, evidence: _Evidence, warnings: list[str]
) -> None:
    word = "fits together" if evidence.refused else "intact"
    records = f"records {verdict.first} to {verdict.head.size}"
    print(f"{word}: {records}, head {verdict.head.line_hash.hex()}")
    if log.judge is not None:
        print(f"{verdict.agreeing} checkpoints agree")
    for one in warnings:
        say(one)


def run_show(arguments: argparse.Namespace) -> int:
    """`fabgossip audit show`."""
    if arguments.authority is not None:
        return _show_ledger(arguments)
    after = arguments.after
    rows: list[dict[str, object]] = []
    with closing(StatusClient(arguments.socket)) as client:
        while after is not None:
            reply = client.get(f"/v1/audit?{urlencode({'after': after})}")
            if reply.code != 200:
                return refused(reply, as_json=arguments.json)
            page = rows_in(reply.body, "items")
            if arguments.json:
                rows += page
            else:
                for row in page:
                    print(packed_line(row).decode("ascii"), end="")
            after = reply.body["next"]
    if arguments.json:
        print_json({"items": rows})
    return EXIT_OK


def _show_ledger(arguments: argparse.Namespace) -> int:
    """Nobody need be asked: the ledger is a folder, and who may read it may read it."""
    folder, after = arguments.authority / LEDGER_FOLDER, arguments.after
    rows: list[dict[str, object]] = []
    while page := read_records(folder, after, PAGE):
        if arguments.json:
            rows += [row for _, line in page if (row := parse_line(line)) is not None]
        else:
            for _, line in page:
                print(safe(line.decode("ascii", "replace").rstrip("\n")))
        after = page[-1][0]
    if arguments.json:
        print_json({"items": rows})
    return EXIT_OK


def run_heads(arguments: argparse.Namespace) -> int:
    """`fabgossip audit heads`."""
    query = urlencode({"node": arguments.node})
    reply = ask(arguments.socket, f"/v1/checkpoints?{query}", TIMEOUT_S)
    if reply.code != 200:
        return refused(reply, as_json=arguments.json, unknown="fabgossip peers lists those linked")
    if arguments.json:
        print_json(reply.body)
        return EXIT_OK
    for row in rows_in(reply.body, "items"):
        print(packed_line(row).decode("ascii"), end="")
    return EXIT_OK
