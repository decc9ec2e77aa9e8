"""`fabgossip verify FILE`: the trust gate offline, with what it found."""

import argparse
import time
from hashlib import sha256
from pathlib import Path

from fabgossip.cli.output import EXIT_OK, EXIT_REFUSED, print_json
from fabgossip.errors import FabgossipError, TrustError, WireError
from fabgossip.model.artifact import TYPE_RULES, VerifiedManifest
from fabgossip.model.ids import NodeId
from fabgossip.model.mode import Freshness
from fabgossip.model.moment import UnixTime
from fabgossip.model.scope import Entitlements
from fabgossip.trust.bundle import bundle_from_pinned
from fabgossip.trust.facts import TrustFacts
from fabgossip.trust.gate import TrustGate
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.trust.revocation import NOTHING_REVOKED
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.contents import parse_pinned


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    text = "judge an envelope, and its content, by a pinned trust bundle"
    parser = commands.add_parser("verify", help=text, description=text)
    parser.add_argument("envelope", type=Path, help="file with the envelope")
    parser.add_argument("--content", type=Path, help="file with the content")
    parser.add_argument("--bootstrap", type=Path, required=True, help="the pinned trust bundle")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(run=run_verify)


def run_verify(arguments: argparse.Namespace) -> int:
    """`fabgossip verify`. The reader's own entitlements play no part: whoever has the file may
    judge it."""
    verdict = _judge(_read(arguments.envelope), arguments.bootstrap, arguments.content)
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


def _judge(raw: bytes, bootstrap: Path, content: Path | None) -> VerifiedManifest | Rejection:
    verifier = Ed25519Verifier()
    try:
        pinned = bundle_from_pinned(*parse_pinned(_read(bootstrap)), verifier)
    except WireError as error:
        raise TrustError(f"{bootstrap}: {error}") from error
    gate = TrustGate(verifier)
    facts = TrustFacts(
        bundle=pinned.bundle,
        revoked=NOTHING_REVOKED,
        own=Entitlements(frozenset()),
        own_node_id=NodeId("verify"),
        bundle_expires_at=pinned.manifest.expires_at,
        freshness=Freshness(
            newest_issued_at=pinned.manifest.issued_at,
            bundle_refresh_by=pinned.manifest.refresh_by,
            revocations_refresh_by=None,
            snapshot_refresh_by=None,
        ),
    )
    verdict = gate.inspect(raw, facts, UnixTime(int(time.time())))
    if isinstance(verdict, Rejection) or content is None:
        return verdict
    return _judge_content(gate, verdict, _read(content), facts)


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
