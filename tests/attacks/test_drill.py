"""Attack: sign with a key that was stolen.

Powers: the attacker holds the private key of one role, chooses every number and time in what it
signs with it, and shows that to a node at any moment of the drill that ends it. It holds no root.
The operators' side of the drills is `tests/docs/test_drills.py`; here stands what a node is left
with after each step.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from fabgossip.model.artifact import ArtifactType, Manifest, Order
from fabgossip.model.authority import KeyStatus, RevokedKind, TrustBundle
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import Claims
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.topology import Snapshot
from fabgossip.wire.contents import snapshot_bytes
from tests.attacks.powers import revokes, without_times
from tests.attacks.scene import ATTACKER, Scene, Standing, asks_content
from tests.attacks.test_rollback import VERSION_MAX, sample
from tests.core.artifacts import Artifact, node_snapshot, revocations, routes, sealed, trust, update
from tests.trust import factory as f

T = ArtifactType
LIST: Final = "trust/revocations"
NEW_KEY: Final = f.signer("the key after the theft")
ONE_KEY: Final = (
    T.CLUSTER_SNAPSHOT,
    T.PEER_DIRECTORY,
    T.STORAGE_DIRECTORY,
    T.SERVICE_ASSIGNMENT_BUNDLE,
    T.ROUTE_POLICY_BUNDLE,
    T.QOS_POLICY_BUNDLE,
)
"""What a thief of one signing key can sign alone."""


def without(stolen: f.Signer, *, epoch: int = 2) -> TrustBundle:
    """The next bundle: the stolen key is revoked, and the new one has its rights."""
    keys = tuple(
        f.signing_key(one, KeyStatus.REVOKED if one is stolen else KeyStatus.ACTIVE)
        for one in f.SIGNING
    )
    rights = tuple(
        replace(
            one,
            key_ids=tuple(
                sorted(NEW_KEY.key_id if key == stolen.key_id else key for key in one.key_ids)
            ),
        )
        for one in f.BUNDLE.rights
    )
    return replace(
        f.BUNDLE,
        bundle_version=4,
        authority_epoch=epoch,
        keys=(*keys, f.signing_key(NEW_KEY)),
        rights=rights,
    )


def by_new_key(one: Artifact, *, epoch: int = 2) -> Artifact:
    """The same content, signed anew by the key after the theft."""
    return of_epoch(replace(one.manifest, signer_key_ids=(NEW_KEY.key_id,)), one, epoch, NEW_KEY)


def of_epoch(statement: Manifest, one: Artifact, epoch: int, *signers: f.Signer) -> Artifact:
    statement = replace(statement, authority_epoch=epoch)
    return Artifact(statement, f.signed(statement, *signers), one.content)


def standing(one: Artifact, state: str = "current") -> Standing:
    return Standing(one.manifest.order, (one.content_hash,), state)


def taken_away(tail: str, fake: Artifact) -> list[tuple[str, str, str]]:
    """What is recorded of a head whose key was revoked; the snapshot the node was started with came
    from its disk."""
    source = ATTACKER if tail == fake.tail else "disk"
    return [
        ("artifact_rejected", "KEY_REVOKED", source),
        ("artifact_withheld", "", "refused"),
    ]


@pytest.mark.parametrize("kind", ONE_KEY)
def test_stolen_keys(kind: ArtifactType, tmp_path: Path) -> None:
    """A signing key. The list takes away in one step whatever the key ever signed, the honest last
    version included, and nothing else; the bundle brings its successor, whose first version is
    current; the thief is refused at every step, and after a restart."""
    (stolen,) = f.SIGNERS_OF[kind]
    scene = Scene().publish(update(7), sample(kind, 7))
    fake = sample(kind, 9)
    scene.offer(fake).rest()
    before = scene.state
    assert before.heads[fake.tail] == standing(fake)

    scene.caused.clear()
    taken = revocations(8, revokes(RevokedKind.SIGNING_KEY, stolen.key_id))
    gone = {
        head.manifest.namespace.text.removeprefix(f"{f.PREFIX}/")
        for head in scene.node.heads_after("", 1_000)
        if stolen.key_id in head.manifest.signer_key_ids
    }
    refused = {one: replace(before.heads[one], state="refused") for one in gone}
    scene.offer(taken).rest()
    assert fake.tail in gone
    assert set(scene.codes) == {"KEY_REVOKED"}
    assert set(scene.blamed) == {"none"}
    assert scene.state.heads == before.heads | refused | {LIST: standing(taken)}
    assert scene.state.floors == before.floors | {LIST: Order(2, 8)}
    assert scene.state.facts.bundle == before.facts.bundle
    assert scene.requests == [asks_content(taken)]
    assert [one for one in scene.audited if one[0] != "mode_changed"] == [
        *(row for one in sorted(gone) for row in taken_away(one, fake)),
        ("revocation_accepted", "", ""),
    ]
    assert scene.switched == [*((one, None) for one in sorted(gone)), (LIST, Order(2, 8))]
    assert scene.told(taken)
    assert not scene.told(fake)
    for version in (8, 10):
        scene.refuses(sample(kind, version), "KEY_REVOKED")

    scene.caused.clear()
    good = by_new_key(sample(kind, 10))
    scene.refuses(good, "KEY_UNKNOWN", asks_trust=True)
    scene.wait(2_000)
    scene.announce(trust(without(stolen)), scene.attacker)
    scene.carry_out(trust(without(stolen)), good).rest()
    after = scene.state
    assert after.facts.bundle == without(stolen)
    assert after.heads[good.tail] == standing(good)
    assert after.heads["updates/u1"] == standing(update(7))
    assert after.floors[good.tail] == Order(2, 10)
    again = scene.restarted(tmp_path)
    kept = {tail: head for tail, head in after.heads.items() if head.state != "refused"}
    assert (again.state.heads, again.state.floors) == (kept, after.floors)
    assert without_times(again.state.facts) == without_times(after.facts)
    for one in (scene, again):
        one.refuses(sample(kind, 11), "KEY_REVOKED")
        one.refuses(sample(kind, VERSION_MAX), "KEY_REVOKED")


def test_one_of_two_release_keys_is_not_enough_for_its_thief() -> None:
    """Nothing needs to be revoked in a hurry: a threshold holds what it promises."""
    scene = Scene().publish(update(7))
    names = tuple(sorted(one.key_id for one in f.RELEASES))
    statement = replace(update(8).manifest, signer_key_ids=names)
    fake = Artifact(statement, f.signed(statement, f.RELEASES[0]), update(8).content)
    scene.refuses(fake, "SIG_THRESHOLD", asks_trust=True)


LIES: Final = (
    revokes(RevokedKind.SIGNING_KEY, f.POLICY.key_id),
    revokes(RevokedKind.MANIFEST, update(7).verified.manifest_hash),
    revokes(RevokedKind.CONTENT, node_snapshot(7).content_hash),
    revokes(RevokedKind.SIGNING_KEY, f.COMPILER.key_id),
)
LIE: Final = revocations(VERSION_MAX, *LIES)
"""False denials, under a number nothing of the epoch can follow."""
NEXT: Final = without(f.REVOKER, epoch=3)


def own_snapshot() -> Artifact:
    """The node's first snapshot of the new epoch, which brings its claims of that epoch."""
    claims = f.signed_claims(replace(f.claims(), authority_epoch=3))
    content = snapshot_bytes(
        Snapshot(endpoints=(), degraded=DegradedPolicy(), settings=b"", claims=claims)
    )
    statement = replace(node_snapshot(1).manifest, authority_epoch=3)
    return sealed(statement, content)


def moves_on(scene: Scene, name: NodeId) -> None:
    """A peer shows its claims of the new epoch."""
    claims = f.signed_claims(replace(f.claims(), node_id=name, authority_epoch=3))
    scene.hear(scene.attacker, Claims(openings=f.OPENINGS, claims=claims))
    scene.carry_out()


def test_a_stolen_revocation_key_only_denies() -> None:
    """What the lie names is gone at once, and no honest list of the epoch can take it back: the
    price of a denial that always lands."""
    scene = Scene().publish(routes(7), update(7), node_snapshot(7))
    before = scene.state
    scene.offer(LIE).rest()
    gone = {one.tail: standing(one, "refused") for one in (routes(7), update(7), node_snapshot(7))}
    assert scene.state.heads == before.heads | gone | {LIST: standing(LIE)}
    assert scene.state.floors == before.floors | {LIST: Order(2, VERSION_MAX)}
    assert scene.state.facts.bundle == before.facts.bundle
    assert scene.requests == [asks_content(LIE)]
    assert sorted(scene.codes) == ["ARTIFACT_REVOKED", "KEY_REVOKED", "KEY_REVOKED"]
    assert scene.blamed == ["none"] * 3
    assert [one for one in scene.audited if one[0] == "artifact_withheld"] == [
        ("artifact_withheld", "", "refused")
    ] * 3
    assert ("revocation_accepted", "", "") in scene.audited
    assert scene.told(LIE)
    scene.refuses(revocations(8), "VERSION_ROLLBACK")


def test_a_stolen_revocation_key_ends_with_its_epoch(tmp_path: Path) -> None:
    """Roots take no harm from a list, so the bundle lands. Until the first list of the new epoch
    the lie goes on restricting; that list is shorter, and from then on what the lie named is
    accepted again, signed in the new epoch. The thief's lists are refused, old and new."""
    scene = Scene().publish(routes(7), update(7), node_snapshot(7)).offer(LIE).rest()
    scene.caused.clear()
    scene.offer(trust(NEXT)).rest()
    assert scene.codes == []
    assert scene.state.facts.bundle == NEXT
    assert scene.state.facts.revoked.values == {(one.kind, one.value) for one in LIES}
    assert ("bundle_accepted", "", "") in scene.audited
    fresh = by_new_key(revocations(1), epoch=3)
    stolen_in_new = of_epoch(LIE.manifest, LIE, 3)
    scene.refuses(LIE, "KEY_REVOKED")
    scene.refuses(stolen_in_new, "KEY_REVOKED")

    scene.caused.clear()
    scene.offer(fresh).rest()
    assert scene.codes == []
    assert scene.state.facts.revoked.values == frozenset()
    assert scene.state.floors[LIST] == Order(3, 1)
    assert scene.audited == [("revocation_accepted", "", "")]

    scene.caused.clear()
    back = (own_snapshot(), *(of_epoch(one.manifest, one, 3) for one in (routes(1), update(1))))
    scene.offer(back[0])
    moves_on(scene, ATTACKER)
    scene.offer(back[1]).offer(back[2]).rest()
    assert scene.codes == []
    assert {one.tail: scene.state.heads[one.tail] for one in back} == {
        one.tail: standing(one) for one in back
    }
    assert {scene.state.floors[one.tail] for one in back} == {Order(3, 1)}
    assert scene.requests == [asks_content(one) for one in back]
    assert all(scene.told(one) for one in (trust(NEXT), fresh))
    assert not scene.told(LIE)
    after = scene.state
    restarted = scene.restarted(tmp_path)
    assert (restarted.state.heads, restarted.state.floors) == (after.heads, after.floors)
    assert without_times(restarted.state.facts) == without_times(after.facts)
    for fake in (LIE, stolen_in_new):
        scene.ignores(fake)
        restarted.refuses(fake, "KEY_REVOKED")
    for node in (scene, restarted):
        node.refuses(routes(8), "EPOCH_STALE")
