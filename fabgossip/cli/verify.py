"""`fabgossip verify FILE`: the trust gate offline, with what it found."""

import argparse
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from fabgossip.cli.output import EXIT_OK, EXIT_REFUSED, print_json
from fabgossip.errors import FabgossipError, TrustError, WireError
from fabgossip.model.artifact import TYPE_RULES, VerifiedManifest
from fabgossip.model.authority import RevokedKind
from fabgossip.model.ids import ManifestHash, NodeId
from fabgossip.model.mode import Freshness
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import StoredTrust
from fabgossip.model.scope import Entitlements
from fabgossip.storage.index import INDEX_NAME, NodeIndex
from fabgossip.trust.bundle import PinnedTrust, bundle_after, bundle_from_pinned
from fabgossip.trust.facts import TrustFacts
from fabgossip.trust.gate import TrustGate
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.trust.revocation import NOTHING_REVOKED, Revoked
from fabgossip.trust.signatures import Ed25519Verifier, Verifier
from fabgossip.wire.contents import parse_pinned
from fabgossip.wire.envelopes import parse_envelope


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser("verify")
    parser.add_argument("envelope", type=Path, help="file with the envelope")
    parser.add_argument("--content", type=Path, help="file with the content")
    parser.add_argument("--bootstrap", type=Path, required=True, help="the pinned trust bundle")
    parser.add_argument(
        "--state", type=Path, metavar="FOLDER",
        help="storage.path of a node: judge as it does, by all trust and revocations it knows",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(run=run_verify)


def run_verify(arguments: argparse.Namespace) -> int:
    """`fabgossip verify`. The reader's own entitlements play no part: whoever has the file may
    judge it."""
    verifier = Ed25519Verifier()
    trust = _trust_of(arguments.bootstrap, arguments.state, verifier)
    verdict = _judge(_read(arguments.envelope), trust, arguments.content, TrustGate(verifier))
    if isinstance(verdict, Rejection):
        if arguments.json:
            print_json({"verified": False, "code": verdict.code.value, "detail": verdict.detail})
            return EXIT_REFUSED
        raise TrustError(f"{arguments.envelope}: {verdict.code.value}: {verdict.detail}")
    _print(verdict, with_content=arguments.content is not None, as_json=arguments.json)
    return EXIT_OK


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FabgossipError(f"{path}: {error.strerror}") from error


def _judge(
    raw: bytes, trust: "_Trust", content: Path | None, gate: TrustGate
) -> VerifiedManifest | Rejection:
    now = UnixTime(int(time.time()))
    verdict = gate.inspect(raw, trust.facts, now)
    is_new = trust.held is not None and verdict.manifest_hash not in trust.held
    if is_new and not isinstance(verdict, Rejection):
        verdict = gate.inspect_new(raw, trust.facts, now)
    if isinstance(verdict, Rejection) or content is None:
        return verdict
    return _judge_content(gate, verdict, _read(content), trust.facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trust:
    """What a file is judged by."""

    facts: TrustFacts
    held: frozenset[ManifestHash] | None
    """What a node has accepted; None where no node was named."""


def _trust_of(bootstrap: Path, state: Path | None, verifier: Verifier) -> _Trust:
    """The pinned trust alone, or all that a node which pinned it has come to know since."""
    pinned = _pinned(bootstrap, verifier)
    if state is None:
        return _Trust(facts=_facts(pinned, NOTHING_REVOKED), held=None)
    if not (state / INDEX_NAME).is_file():
        raise FabgossipError(
            f"{state}: no {INDEX_NAME} here; name storage.path of a node's configuration"
        )
    with NodeIndex(state / INDEX_NAME).reading() as index:
        newest = _newest(pinned, index.trust_chain(), verifier)
        values = frozenset((RevokedKind(kind), value) for kind, value in index.revoked())
        heads = index.heads(lambda _: None)
    held = frozenset(parse_envelope(head.envelope).manifest_hash for head in heads)
    return _Trust(facts=_facts(newest, Revoked(version=0, values=values)), held=held)


def _pinned(bootstrap: Path, verifier: Verifier) -> PinnedTrust:
    try:
        return bundle_from_pinned(*parse_pinned(_read(bootstrap)), verifier)
    except WireError as error:
        raise TrustError(f"{bootstrap}: {error}") from error


def _newest(pinned: PinnedTrust, chain: tuple[StoredTrust, ...], verifier: Verifier) -> PinnedTrust:
    """The last step of the chain that follows from the pinned bundle; raises `TrustError`."""
    for step in chain:
        if step.version > pinned.bundle.bundle_version:
            bundle_after(pinned.bundle, step.envelope, step.content, verifier)
            pinned = bundle_from_pinned(step.envelope, step.content, verifier)
    return pinned


def _facts(trust: PinnedTrust, revoked: Revoked) -> TrustFacts:
    return TrustFacts(
        bundle=trust.bundle,
        revoked=revoked,
        own=Entitlements(frozenset()),
        own_node_id=NodeId("verify"),
        bundle_expires_at=trust.manifest.expires_at,
        freshness=Freshness(
            newest_issued_at=trust.manifest.issued_at,
            bundle_refresh_by=trust.manifest.refresh_by,
            revocations_refresh_by=None,
            snapshot_refresh_by=None,
        ),
    )


def _judge_content(
    gate: TrustGate, verdict: VerifiedManifest, content: bytes, facts: TrustFacts
) -> VerifiedManifest | Rejection:
    manifest = verdict.manifest
    if sha256(content).digest() != manifest.content_hash:
        detail = "the content is not the one that was signed"
        return Rejection(code=RejectionCode.HASH_MISMATCH, detail=detail)
    if TYPE_RULES[manifest.artifact_type].is_read:
        value = gate.read(verdict, content, facts)
        if isinstance(value, Rejection):
            return value
    return verdict


def _print(verified: VerifiedManifest, *, with_content: bool, as_json: bool) -> None:
    manifest = verified.manifest
    facts = {
        "verified": True,
        "namespace": manifest.namespace.text,
        "family": manifest.artifact_type.value,
        "order": str(manifest.order),
        "audience": [scope.text for scope in manifest.audience.scope_ids],
        "content_hash": manifest.content_hash.hex(),
        "content_checked": with_content,
        "signed_by": [key_id.hex() for key_id in verified.signed_by],
        "threshold": verified.threshold,
    }
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        print(f"{key:16} {', '.join(value) if isinstance(value, list) else value}")
