"""Attack: have something believed that its keys did not sign.

Powers: the attacker is a member with a good certificate, and says anything over its link. It holds
keys of its own, one signing key of another type, any number of copies of what was signed in good
faith, and every encoding of a point. It holds no key of what it forges.
"""

import json
from collections.abc import Callable, Hashable
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import pytest

from fabgossip.model.artifact import TRUST_TYPES, ArtifactType, Manifest, Order
from fabgossip.model.authority import TrustBundle
from fabgossip.model.envelope import SIGNATURES_MAX, PayloadKind, Signature
from fabgossip.model.ids import KeyId, key_id_of
from fabgossip.model.persistence import PutHead
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.envelopes import envelope_bytes
from fabgossip.wire.packing import Value, pack
from fabgossip.wire.statements import manifest_bytes
from tests.attacks.powers import put_and_dropped
from tests.attacks.scene import ATTACKER, Scene, Standing, asks_content
from tests.core.artifacts import Artifact, routes, trust, update
from tests.core.story import announcement
from tests.trust import factory as f

T = TypeVar("T", bound=Hashable)

GROUP_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
"""RFC 8032, section 5.1."""
WEAK_KEYS: Final[list[str]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "weak_keys.json").read_text("ascii")
)["small_order"]
OTHER_KINDS: Final = [one for one in PayloadKind if one.value not in set(ArtifactType)]


def forged(statement: Manifest, *signatures: Signature) -> Artifact:
    """The statement under these signatures."""
    kind = statement.artifact_type.payload_kind
    raw = envelope_bytes(kind, manifest_bytes(statement), signatures)
    return Artifact(statement, raw, f.CONTENT)


def signatures_of(statement: Manifest, *signers: f.Signer) -> tuple[Signature, ...]:
    kind = statement.artifact_type.payload_kind
    return tuple(one.sign(kind, manifest_bytes(statement)) for one in signers)


def flipped(one: Signature) -> Signature:
    return replace(one, value=one.value[:-1] + bytes([one.value[-1] ^ 1]))


def malleable(one: Signature) -> Signature:
    """S + L: the same equation holds, the encoding is another."""
    scalar = int.from_bytes(one.value[32:], "little") + GROUP_ORDER
    return replace(one, value=one.value[:32] + scalar.to_bytes(32, "little"))


def nobody(_: Manifest) -> tuple[Signature, ...]:
    return ()


def stranger(statement: Manifest) -> tuple[Signature, ...]:
    return signatures_of(statement, f.STRANGER)


def as_its_signer(statement: Manifest) -> tuple[Signature, ...]:
    """A stranger's signatures under the key ids of those who may sign."""
    signers = f.SIGNERS_OF[statement.artifact_type]
    (own,) = signatures_of(statement, f.STRANGER)
    return tuple(replace(own, key_id=one.key_id) for one in signers)


def of_another_type(statement: Manifest) -> tuple[Signature, ...]:
    other = f.COMPILER if statement.artifact_type in TRUST_TYPES else f.REVOKER
    return signatures_of(statement, other)


def of_another_statement(statement: Manifest) -> tuple[Signature, ...]:
    """Good signatures, of the version before."""
    before = replace(statement, config_version=statement.config_version - 1)
    return signatures_of(before, *f.SIGNERS_OF[statement.artifact_type])


def damaged(statement: Manifest) -> tuple[Signature, ...]:
    good = signatures_of(statement, *f.SIGNERS_OF[statement.artifact_type])
    return tuple(flipped(one) for one in good)


def stretched(statement: Manifest) -> tuple[Signature, ...]:
    good = signatures_of(statement, *f.SIGNERS_OF[statement.artifact_type])
    return tuple(malleable(one) for one in good)


def all_zero(statement: Manifest) -> tuple[Signature, ...]:
    signers = f.SIGNERS_OF[statement.artifact_type]
    return tuple(Signature(one.key_id, bytes(64)) for one in signers)


Forger = Callable[[Manifest], tuple[Signature, ...]]
FORGERS: Final[dict[Forger, str]] = {
    nobody: "KEY_UNKNOWN",
    stranger: "KEY_UNKNOWN",
    of_another_type: "KEY_NOT_FOR_TYPE",
    as_its_signer: "SIG_INVALID",
    of_another_statement: "SIG_INVALID",
    damaged: "SIG_INVALID",
    stretched: "SIG_INVALID",
    all_zero: "SIG_INVALID",
}
ASKS_TRUST: Final = {"KEY_UNKNOWN", "KEY_NOT_FOR_TYPE", "SIG_THRESHOLD"}
"""What newer trust could cure."""


@pytest.mark.parametrize("kind", ArtifactType)
@pytest.mark.parametrize(("forger", "code"), FORGERS.items(), ids=[one.__name__ for one in FORGERS])
def test_refused_for_each_type(kind: ArtifactType, forger: Forger, code: str) -> None:
    """Missing, wrong, foreign, borrowed, damaged: refused alike for everything that is signed."""
    statement = f.manifest(kind)
    offered = forged(statement, *forger(statement))
    scene = Scene().publish(routes(7))
    scene.refuses(offered, code, asks_trust=code in ASKS_TRUST)
    assert scene.blamed == ["peer" if code == "SIG_INVALID" else "none"]


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_what_is_no_artifact_is_refused_however_well_it_is_signed(kind: PayloadKind) -> None:
    """Claims, grants and checkpoints have ways of their own; announced, they are nothing."""
    signer = {PayloadKind.NODE_CLAIMS: f.CLAIMER, PayloadKind.FETCH_GRANT: f.GRANTER}
    payload = manifest_bytes(routes(8).manifest)
    raw = f.sealed(kind, payload, signer.get(kind, f.AUDITOR))
    scene = Scene().publish(routes(7))
    scene.refuses(replace(routes(8), envelope=raw), "TYPE_MISMATCH")


# Too few keys.


def with_signatures(statement: Manifest, rows: list[Signature]) -> Artifact:
    """An envelope packed by hand, so that no encoder of ours puts its signatures in order."""
    kind = statement.artifact_type.payload_kind
    parts: list[Value] = [
        1,
        kind.payload_type,
        manifest_bytes(statement),
        [[one.key_id, one.value] for one in rows],
    ]
    return Artifact(statement, pack(parts), f.CONTENT)


def one_release_key() -> tuple[Manifest, Signature]:
    names = tuple(sorted(one.key_id for one in f.RELEASES))
    statement = replace(update(8).manifest, signer_key_ids=names)
    return statement, signatures_of(statement, f.RELEASES[0])[0]


def test_one_key_counts_once() -> None:
    """Two release keys must sign; the thief of one signs as often as it likes: twice under its own
    id (CVE-2020-15093), under the id of another, under an id it made up (CVE-2026-6966), beside
    a key that is good for something else."""
    statement, one = one_release_key()
    two = Signature(f.RELEASES[1].key_id, one.value)
    made_up = Signature(KeyId(b"\xff" * 32), one.value)
    (other,) = signatures_of(statement, f.COMPILER)
    attempts: list[tuple[Artifact, str, bool]] = [
        (forged(statement, one), "SIG_THRESHOLD", True),
        (with_signatures(statement, [one, one]), "SCHEMA", False),
        (forged(statement, one, two), "SIG_INVALID", False),
        (forged(statement, one, made_up), "SIG_THRESHOLD", True),
        (forged(statement, one, other), "SIG_THRESHOLD", True),
    ]
    for offered, code, asks_trust in attempts:
        Scene().publish(update(7)).refuses(offered, code, asks_trust=asks_trust)


def test_a_bundle_that_lists_one_key_under_two_ids_is_none() -> None:
    """Key ids are not read from bundles but made from the keys, so a thief who could write a bundle
    could not write that: one key twice is unsound, and the bundle in force stays."""
    twice = replace(f.BUNDLE, bundle_version=4, keys=(*f.BUNDLE.keys, f.signing_key(f.POLICY)))
    offered = trust(twice)
    scene = Scene().publish(routes(7))
    before = scene.state
    scene.offer(offered).leaves(
        before,
        codes=["BUNDLE_INVALID"],
        requests=[asks_content(offered)],
        audited=[("artifact_rejected", "BUNDLE_INVALID", ATTACKER)],
        durable=put_and_dropped(offered),
        removed=[offered.content_hash],
    )


# Signatures as a burden.


class CountingVerifier:
    """The real verifier, and how often it was asked."""

    def __init__(self) -> None:
        self._real = Ed25519Verifier()
        self.asked = 0

    def is_good(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        self.asked += 1
        return self._real.is_good(public_key, message, signature)

    def read(self, parse: Callable[[bytes], T], data: bytes) -> T:
        return self._real.read(parse, data)


def strangers(count: int) -> tuple[f.Signer, ...]:
    return tuple(f.signer(f"stranger {number}") for number in range(count))


def cost_of(offered: Artifact) -> int:
    """How many verifications an offer costs a node."""
    verifier = CountingVerifier()
    scene = Scene(verifier=verifier).publish(routes(7))
    before = verifier.asked
    scene.announce(offered, scene.attacker)
    return verifier.asked - before


def test_flood_costs_nothing() -> None:
    """One good signature beside seven bad ones is found with one verification; a key that may not
    speak costs none, nor do fewer than must sign, and one signature above the limit is refused
    unread."""
    statement = routes(8).manifest
    noise = signatures_of(statement, *strangers(SIGNATURES_MAX))
    (good,) = signatures_of(statement, f.POLICY)

    strange, many = forged(statement, *noise), forged(statement, good, *noise)
    lone, release = one_release_key()
    assert (cost_of(strange), cost_of(many), cost_of(forged(lone, release))) == (0, 0, 0)
    Scene().publish(routes(7)).refuses(strange, "KEY_UNKNOWN", asks_trust=True)
    scene = Scene().publish(routes(7))
    scene.refuses(many, "SIG_TOO_MANY")
    assert scene.blamed == ["peer"]

    noisy = replace(forged(statement, good, *noise[1:]), content=routes(8).content)
    assert cost_of(noisy) == 1
    scene = Scene().publish(routes(7))
    before = scene.state
    stands = Standing(Order(2, 8), (noisy.content_hash,), "current")
    scene.offer(noisy).leaves(
        replace(
            before,
            heads=before.heads | {"routes/r1": stands},
            floors=before.floors | {"routes/r1": Order(2, 8)},
        ),
        requests=[asks_content(noisy)],
        durable=[PutHead(verified=noisy.verified)],
        removed=[routes(7).content_hash],
        switched=[("routes/r1", Order(2, 8))],
        onward=[announcement(noisy)],
    )


# Keys under which anything is signed.


def trusting(weak: bytes) -> TrustBundle:
    """The next bundle, whose policy key is a point of small order."""
    sound = f.signing_key(f.POLICY)
    key = replace(sound, key_id=key_id_of(weak), public_key=weak)
    kept = tuple(one for one in f.BUNDLE.keys if one != sound)
    others = tuple(one for one in f.BUNDLE.rights if one.kind != "route_policy_bundle")
    right = replace(f.right("route_policy_bundle", f.POLICY), key_ids=(key.key_id,))
    qos = f.right("qos_policy_bundle", f.COMPILER)
    others = tuple(one for one in others if one.kind != "qos_policy_bundle")
    return replace(f.BUNDLE, bundle_version=4, keys=(*kept, key), rights=(*others, qos, right))


def rooted_in(weak: bytes) -> TrustBundle:
    """The next bundle, one of whose roots is a point of small order."""
    roots = tuple(sorted((*(one.public_key for one in f.ROOTS), weak)))
    return replace(f.BUNDLE, bundle_version=4, root_keys=roots)


@pytest.mark.parametrize("make", [trusting, rooted_in])
@pytest.mark.parametrize("weak", WEAK_KEYS)
def test_weak_keys(weak: str, make: Callable[[bytes], TrustBundle], tmp_path: Path) -> None:
    """Under a key of small order one signature is good for every message, so no quorum can bring
    such a key into force; and what is signed by it then is signed by nobody we know."""
    key = bytes.fromhex(weak)
    scene = Scene().publish(routes(7))
    before = scene.state
    offered = trust(make(key))
    scene.offer(offered).leaves(
        before,
        codes=["BUNDLE_INVALID"],
        requests=[asks_content(offered)],
        audited=[("artifact_rejected", "BUNDLE_INVALID", ATTACKER)],
        durable=put_and_dropped(offered),
        removed=[offered.content_hash],
    )
    assert scene.blamed == ["signer"]
    assert scene.restarted(tmp_path).state == before

    identity = bytes.fromhex(WEAK_KEYS[0])
    named = replace(routes(8).manifest, signer_key_ids=(key_id_of(key),))
    universal = Signature(key_id_of(key), identity + bytes(32))
    scene.refuses(forged(named, universal), "KEY_UNKNOWN", asks_trust=True)


@pytest.mark.parametrize("weak", WEAK_KEYS)
def test_a_weak_key_is_not_verified_with_even_where_a_bundle_has_it(weak: str) -> None:
    """The second line: arithmetic alone says no, for keys and for the points signatures begin
    with."""
    key, identity = bytes.fromhex(weak), bytes.fromhex(WEAK_KEYS[0])
    assert not Ed25519Verifier().is_good(key, b"anything", identity + bytes(32))
    facts = replace(f.FACTS, bundle=trusting(key))
    named = replace(routes(8).manifest, signer_key_ids=(key_id_of(key),))
    universal = Signature(key_id_of(key), identity + bytes(32))
    assert f.code_of(f.admit(forged(named, universal).envelope, facts=facts)) == "SIG_INVALID"
