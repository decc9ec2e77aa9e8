"""What earlier releases signed, and what later ones will.

Powers: the attacker counts on a node that forgets what it once understood, or that drops or
reshapes what it does not understand: a statement written again is one nobody signed.

Each file of `golden/` is what a cluster had published under one release, signed by that release:
the chain of its bundles and an artifact of every type. They are never made again; a format that
changes adds a file.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, cast

import pytest

from fabgossip.model.artifact import TYPE_RULES, ArtifactType, Order
from fabgossip.model.authority import TrustBundle
from fabgossip.model.messages import GetHeads, HeadKnown, Heads
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import PutHead
from fabgossip.trust.bundle import bundle_from_pinned
from fabgossip.trust.gate import TrustFacts, TrustGate
from fabgossip.trust.rejections import Rejection
from fabgossip.trust.signatures import Ed25519Verifier
from tests.attacks.powers import resealed
from tests.attacks.scene import Scene, Standing, asks_content
from tests.attacks.test_rollback import ORDERED, sample
from tests.core.artifacts import Artifact, routes
from tests.trust import factory as f

FILES = sorted((Path(__file__).parent / "golden").glob("*.json"))
GATE = TrustGate(Ed25519Verifier())


class Signed(TypedDict):
    envelope: str
    content: str


class Golden(TypedDict):
    made_by: str
    judged_at: int
    chain: list[Signed]
    artifacts: dict[str, Signed]


def golden(path: Path) -> Golden:
    return cast("Golden", json.loads(path.read_text(encoding="ascii")))


def raw(one: Signed) -> tuple[bytes, bytes]:
    return bytes.fromhex(one["envelope"]), bytes.fromhex(one["content"])


def trusted_by(file: Golden) -> TrustFacts:
    """The facts of a node that was enrolled with the first bundle and climbed to the last."""
    envelope, content = raw(file["chain"][0])
    pinned = bundle_from_pinned(envelope, content, Ed25519Verifier())
    facts = replace(f.FACTS, bundle=pinned.bundle)
    for step in file["chain"][1:]:
        envelope, content = raw(step)
        verified = f.admit(envelope, facts=facts, now=UnixTime(file["judged_at"]))
        assert not isinstance(verified, Rejection), verified
        bundle = GATE.read(verified, content, facts)
        assert isinstance(bundle, TrustBundle)
        facts = replace(facts, previous=facts.bundle, bundle=bundle)
    return facts


@pytest.mark.parametrize("path", FILES, ids=[one.stem for one in FILES])
def test_every_release_still_verifies(path: Path) -> None:
    """The chain step by step from its first bundle, then an artifact of every type, bytes as they
    were; what is read of content is still read."""
    file = golden(path)
    facts = trusted_by(file)
    assert facts.bundle.bundle_version == len(file["chain"]) + 2
    assert set(file["artifacts"]) == {one.value for one in ArtifactType} - {"trust_bundle"}
    for kind, one in file["artifacts"].items():
        envelope, content = raw(one)
        verified = f.admit(envelope, facts=facts, now=UnixTime(file["judged_at"]))
        assert not isinstance(verified, Rejection), (kind, verified)
        assert verified.envelope == envelope
        assert verified.manifest.content_hash == f.hash_of(content)
        if TYPE_RULES[ArtifactType(kind)].is_read:
            assert not isinstance(GATE.read(verified, content, facts), Rejection)


@pytest.mark.parametrize("path", FILES, ids=[one.stem for one in FILES])
def test_a_golden_file_is_judged_and_not_waved_through(path: Path) -> None:
    """A flipped bit in the last byte of any envelope, which belongs to a signature, is refused."""
    file = golden(path)
    facts = trusted_by(file)
    for one in file["artifacts"].values():
        envelope, _ = raw(one)
        spoiled = envelope[:-1] + bytes([envelope[-1] ^ 1])
        assert isinstance(f.admit(spoiled, facts=facts), Rejection)


def extended(one: Artifact) -> Artifact:
    """The same statement with signed words of a later release."""
    statement = replace(one.manifest, extensions=(("later", b"\x00\xff"), ("x.y", b"")))
    return Artifact(statement, f.signed(statement), one.content)


@pytest.mark.parametrize("kind", ORDERED)
def test_old_and_extended(kind: ArtifactType, tmp_path: Path) -> None:
    """What is not understood and not critical is accepted like anything else, and every byte of it
    is kept: on the disk, in what is announced, in what is answered, also after a restart."""
    offered = extended(sample(kind, 8))
    scene = Scene().publish(sample(kind, 7))
    before = scene.state
    scene.offer(offered).rest()
    assert scene.codes == []
    standing = Standing(Order(2, 8), (offered.content_hash,), "current")
    assert scene.state.heads == before.heads | {offered.tail: standing}
    assert scene.state.floors == before.floors | {offered.tail: Order(2, 8)}
    assert scene.requests in ([asks_content(offered)], [])
    assert scene.audited in ([], [("revocation_accepted", "", "")])
    puts = [one.verified.envelope for one in scene.durable if isinstance(one, PutHead)]
    assert puts == [offered.envelope]
    for node in (scene, scene.restarted(tmp_path)):
        kept = node.node.heads_after("", 1_000)
        assert offered.envelope in [one.verified.envelope for one in kept]
    if kind is not ArtifactType.CLUSTER_SNAPSHOT:  # its own snapshot is no neighbor's business
        assert scene.told(offered)
        known = HeadKnown(offered.manifest.namespace.text, 2, 7)
        scene.hear(scene.bystander, GetHeads(known=(known,)), stream=1)
        (answer,) = [one for one in scene.sent(scene.bystander) if isinstance(one, Heads)]
        assert answer.envelopes == (offered.envelope,)


REFUSED = {
    "an unknown critical word": (resealed(routes(8).manifest, 19, ["later"]), "CRITICAL_UNKNOWN"),
    "a later format": (resealed(routes(8).manifest, 0, 2), "SCHEMA"),
    "one word twice": (
        resealed(routes(8).manifest, 20, [["later", b"a"], ["later", b"b"]]),
        "SCHEMA",
    ),
    "more than 1 KiB": (resealed(routes(8).manifest, 20, [["later", bytes(1_025)]]), "SCHEMA"),
}


@pytest.mark.parametrize(("offered", "code"), REFUSED.values(), ids=REFUSED)
def test_what_must_be_understood_and_is_not_is_refused(offered: Artifact, code: str) -> None:
    """Well signed all the same: the signer is at fault, not the one who shows it."""
    scene = Scene().publish(routes(7))
    shown = replace(offered, content=routes(8).content)
    scene.refuses(shown, code)
    assert scene.blamed == ["signer"]
