"""Attack: say what this release does not know yet, or what an older one said.

Powers: the signers are honest, but newer or older than this node: they sign extensions it has never
heard of, and chains that were made by earlier releases. An attacker may strip or change what it
thinks nobody reads.

Each file of `golden/` holds the chain of a release: pinned bundle, steps, an artifact of each type,
claims, grant, checkpoint. They are never made again. A release adds a file of its own; every later
release must verify all of them, bit for bit.
"""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final, TypedDict

import pytest

from fabgossip.core.effects import Send
from fabgossip.model.artifact import ArtifactType, Order, VerifiedManifest
from fabgossip.model.authority import AuditCheckpoint, TrustBundle, VerifiedClaims, VerifiedGrant
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import GetHeads, HeadKnown, Heads
from fabgossip.model.moment import Instant, Now, UnixTime
from fabgossip.model.persistence import PutHead
from fabgossip.trust.bundle import bundle_from_pinned
from fabgossip.trust.checkpoints import verify_checkpoint
from fabgossip.trust.facts import TrustFacts
from fabgossip.trust.gate import TrustGate
from fabgossip.trust.grants import verify_grant
from fabgossip.trust.identity import verify_claims
from fabgossip.trust.rejections import Rejection
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.envelopes import envelope_bytes, parse_envelope
from fabgossip.wire.statements import manifest_bytes, parse_manifest
from tests.attacks.scene import Scene, Standing, asks_content
from tests.core.artifacts import Artifact, routes, sealed
from tests.core.story import identity
from tests.trust import factory as f

RELEASES: Final = sorted((Path(__file__).parent / "golden").glob("release_*.json"))
VERIFIER: Final = Ed25519Verifier()
GATE: Final = TrustGate(VERIFIER)


class Row(TypedDict):
    envelope: str
    content: str


class ClaimsRow(TypedDict):
    envelope: str
    node: str


class Release(TypedDict):
    release: str
    now: int
    pinned: Row
    chain: list[Row]
    artifacts: list[Row]
    claims: ClaimsRow
    grant: str
    checkpoint: str
    audit_key: str


def load(path: Path) -> Release:
    document: Release = json.loads(path.read_text("ascii"))
    return document


def bytes_of(row: Row) -> tuple[bytes, bytes]:
    return bytes.fromhex(row["envelope"]), bytes.fromhex(row["content"])


def facts_after_the_chain(release: Release) -> TrustFacts:
    """The trust of a node that was enrolled with the pinned bundle and climbed to the end."""
    pinned = bundle_from_pinned(*bytes_of(release["pinned"]), VERIFIER)
    facts = replace(f.FACTS, bundle=pinned.bundle)
    for row in release["chain"]:
        envelope, content = bytes_of(row)
        verified = f.admit(envelope, facts=facts, now=UnixTime(release["now"]))
        assert isinstance(verified, VerifiedManifest), verified
        bundle = GATE.read(verified, content, facts)
        assert isinstance(bundle, TrustBundle), bundle
        facts = replace(facts, bundle=bundle)
    return facts


@pytest.mark.parametrize("path", RELEASES, ids=lambda path: path.stem)
def test_old_and_extended(path: Path) -> None:
    """Every release verifies what every release before it signed: the chain step by step, then an
    artifact of each type with what it says, claims, grant and checkpoint; and would sign the same
    bytes today."""
    release = load(path)
    facts, now = facts_after_the_chain(release), UnixTime(release["now"])
    assert facts.bundle.bundle_version == 3 + len(release["chain"])
    types = {ArtifactType.TRUST_BUNDLE}
    for row in release["artifacts"]:
        envelope, content = bytes_of(row)
        verified = f.admit(envelope, facts=facts, now=now)
        assert isinstance(verified, VerifiedManifest), verified
        manifest = verified.manifest
        types.add(manifest.artifact_type)
        assert sha256(content).digest() == manifest.content_hash
        assert len(content) == manifest.content_size
        if manifest.artifact_type in READ:
            assert not isinstance(GATE.read(verified, content, facts), Rejection)
        parts = parse_envelope(envelope)
        assert verified.envelope == envelope
        assert manifest_bytes(parse_manifest(parts.payload)) == parts.payload
        assert envelope_bytes(parts.kind, parts.payload, parts.signatures) == envelope
    assert types == set(ArtifactType)
    papers_verify(release, facts, now)


READ: Final = frozenset(
    {
        ArtifactType.REVOCATION_LIST,
        ArtifactType.CLUSTER_SNAPSHOT,
        ArtifactType.PEER_DIRECTORY,
        ArtifactType.STORAGE_DIRECTORY,
    }
)


def papers_verify(release: Release, facts: TrustFacts, now: UnixTime) -> None:
    trust, clock = f.claims_trust(facts), Now(instant=Instant(0), unix=now)
    node, claims = NodeId(release["claims"]["node"]), release["claims"]["envelope"]
    verified = verify_claims(bytes.fromhex(claims), f.OPENINGS, node, trust, clock)
    assert isinstance(verified, VerifiedClaims), verified
    assert verified.entitlements == f.OWN
    grant = verify_grant(bytes.fromhex(release["grant"]), identity(node), trust, now)
    assert isinstance(grant, VerifiedGrant), grant
    key = bytes.fromhex(release["audit_key"])
    checkpoint = verify_checkpoint(bytes.fromhex(release["checkpoint"]), key, VERIFIER)
    assert isinstance(checkpoint, AuditCheckpoint), checkpoint


def test_a_golden_chain_with_one_bit_changed_is_refused() -> None:
    """So that the files above prove something."""
    release = load(RELEASES[0])
    facts, now = facts_after_the_chain(release), UnixTime(release["now"])
    for row in release["artifacts"]:
        envelope, _ = bytes_of(row)
        changed = envelope[:-1] + bytes([envelope[-1] ^ 1])
        assert f.code_of(f.admit(changed, facts=facts, now=now)) == "SIG_INVALID"


def extended(version: int, *, critical: bool = False) -> Artifact:
    """Routes with an extension of a later release."""
    one = routes(version)
    statement = replace(
        one.manifest,
        extensions=(("colour", b"\x00\xff" * 20), ("shape", b"")),
        critical_extensions=("colour",) if critical else (),
    )
    return sealed(statement, one.content)


def served(scene: Scene, tail: str) -> list[bytes]:
    """What the bystander gets who asks for the head of a namespace."""
    known = HeadKnown(namespace=f"{f.PREFIX}/{tail}", epoch=0, version=0)
    scene.hear(scene.bystander, GetHeads(known=(known,)))
    return [
        envelope
        for one in scene.effects
        if isinstance(one, Send) and isinstance(one.message, Heads)
        for envelope in one.message.envelopes
    ]


def test_unknown_extensions_are_kept_and_served_bit_for_bit(tmp_path: Path) -> None:
    """Also after a restart, and with the signatures nobody needed."""
    plain = extended(7)
    raw = f.signed(plain.manifest, f.POLICY, f.STRANGER)
    offered = replace(plain, envelope=raw)
    scene = Scene()
    scene.offer(offered).rest()
    assert (scene.codes, scene.audited) == ([], [])
    stands = Standing(Order(2, 7), (offered.content_hash,), "current")
    assert scene.state.heads["routes/r1"] == stands
    assert scene.requests == [asks_content(offered)]
    (put,) = scene.durable
    assert isinstance(put, PutHead)
    assert put.verified.envelope == raw
    assert scene.told(offered)
    for one in (scene, scene.restarted(tmp_path)):
        assert served(one, "routes/r1") == [raw]


def test_what_its_signer_calls_critical_and_we_do_not_know_is_refused() -> None:
    """Blame is the signer's; the version before stays current."""
    scene = Scene().publish(extended(7))
    scene.refuses(extended(8, critical=True), "CRITICAL_UNKNOWN")
    assert scene.blamed == ["signer"]
    assert scene.state.heads["routes/r1"].state == "current"


def test_an_extension_taken_off_on_the_way_breaks_the_signature() -> None:
    one = extended(8)
    stripped = replace(one.manifest, extensions=())
    parts = f.parts(one.envelope)
    raw = envelope_bytes(parts.kind, manifest_bytes(stripped), parts.signatures)
    Scene().publish(routes(7)).refuses(Artifact(stripped, raw, one.content), "SIG_INVALID")
