"""Attack: say two things under one number.

Powers: the attacker holds the key of a signer, or the signer itself is at fault: two different
contents are signed as the same version. Whoever shows them chooses which comes first, to whom, and
when the node restarts. The one who shows them may be an honest relayer.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from fabgossip.model.artifact import ArtifactType, Order
from fabgossip.model.authority import Revocation, RevokedKind
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import PutEvidence
from tests.attacks.scene import ATTACKER, Scene, Standing, asks_content
from tests.core.artifacts import (
    Artifact,
    increment,
    node_snapshot,
    revocations,
    routes,
    sealed,
    trust,
)
from tests.core.story import announcement, handed_over
from tests.trust import factory as f

R1 = "routes/r1"
A, B = routes(7, content=b"say a"), routes(7, content=b"say b")
BOTH = tuple(sorted((A.content_hash, B.content_hash)))
DISPUTED = Standing(Order(2, 7), BOTH, "disputed")
ORDERS = pytest.mark.parametrize(("first", "second"), [(A, B), (B, A)], ids=["A first", "B first"])


def told_twice(first: Artifact, second: Artifact) -> Scene:
    scene = Scene().publish(first)
    scene.offer(second).rest()
    return scene


@ORDERS
def test_order_independent(first: Artifact, second: Artifact, tmp_path: Path) -> None:
    """Whichever came first: both are kept, neither is current or served as that, both are told on,
    and the one who showed the second is not to blame."""
    scene = Scene().publish(first)
    before = scene.state
    after = replace(before, heads=before.heads | {R1: DISPUTED})
    scene.offer(second).leaves(
        after,
        codes=["EQUIVOCATION"],
        audited=[
            ("artifact_rejected", "EQUIVOCATION", ATTACKER),
            ("artifact_disputed", "", ATTACKER),
        ],
        durable=[PutEvidence(verified=second.verified)],
        onward=[announcement(second, inline=False)],
    )
    assert scene.blamed == ["signer"]

    scene.ignores(first)
    scene.ignores(second)
    again = scene.restarted(tmp_path)
    assert again.state == after
    assert R1 not in dict(again.at_start.switched)
    handed_over(again, again.link("n9"), first.manifest.audience)
    assert again.told(first)
    assert again.told(second)


def test_both_orders_end_in_one_trust_state(tmp_path: Path) -> None:
    """Exactly equal, warm and cold; so two nodes that met them differently agree."""
    scenes = [told_twice(A, B), told_twice(B, A)]
    cold = [one.restarted(tmp_path / str(place)) for place, one in enumerate(scenes)]
    states = [one.state for one in (*scenes, *cold)]
    assert states[0].heads[R1] == DISPUTED
    assert all(one == states[0] for one in states)


@ORDERS
def test_a_higher_version_heals(first: Artifact, second: Artifact, tmp_path: Path) -> None:
    scene = told_twice(first, second)
    before = scene.state
    scene.caused.clear()
    scene.offer(routes(8)).rest()
    assert scene.codes == []
    stands = Standing(Order(2, 8), (routes(8).content_hash,), "current")
    healed = replace(
        before, heads=before.heads | {R1: stands}, floors=before.floors | {R1: Order(2, 8)}
    )
    assert scene.state == healed
    assert scene.requests == [asks_content(routes(8))]
    assert scene.audited == []
    again = scene.restarted(tmp_path)
    assert again.state == healed
    for one in (A, B):
        again.refuses(one, "VERSION_ROLLBACK")


def two_policy_keys() -> Artifact:
    """The next bundle, in which either of two keys may sign routes."""
    kind = ArtifactType.ROUTE_POLICY_BUNDLE.value
    others = tuple(one for one in f.BUNDLE.rights if one.kind != kind)
    right = f.right(kind, f.POLICY, f.DIRECTORY)
    return trust(replace(f.BUNDLE, bundle_version=4, rights=(*others, right)))


def of(signer: f.Signer, content: bytes) -> Artifact:
    statement = replace(routes(7).manifest, signer_key_ids=(signer.key_id,))
    statement = replace(statement, content_hash=f.hash_of(content), content_size=len(content))
    return Artifact(statement, f.signed(statement, signer), content)


HONEST, STOLEN = of(f.POLICY, b"honest"), of(f.DIRECTORY, b"stolen")
LOST_KEY = Revocation(
    kind=RevokedKind.SIGNING_KEY,
    value=f.DIRECTORY.key_id,
    reason="stolen",
    since_epoch=1,
    since=f.NOW,
    until=UnixTime(0),
)


@pytest.mark.parametrize(
    ("first", "second"), [(HONEST, STOLEN), (STOLEN, HONEST)], ids=["honest first", "stolen first"]
)
def test_the_revocation_of_one_side_s_key_heals(
    first: Artifact, second: Artifact, tmp_path: Path
) -> None:
    """Two keys signed two contents; one of them turns out stolen. What the other signed stands,
    even where it came second: its content is fetched from the next one who offers it."""
    scene = Scene().publish(two_policy_keys(), first)
    scene.offer(second).rest()
    assert scene.state.heads[R1].state == "disputed"
    scene.caused.clear()
    cure = revocations(2, LOST_KEY)
    scene.announce(cure, scene.attacker)
    scene.carry_out(cure, HONEST).rest()
    if first is STOLEN:
        assert scene.state.heads[R1].state == "behind"
        scene.announce(HONEST, scene.bystander)
        scene.carry_out(HONEST).rest()
    stands = Standing(Order(2, 7), (HONEST.content_hash,), "current")
    assert scene.state.heads[R1] == stands
    assert scene.state.floors[R1] == Order(2, 7)
    assert ("dispute_settled", "", ATTACKER) in scene.audited
    fetched = [asks_content(cure)] + [asks_content(HONEST)] * (first is STOLEN)
    assert scene.requests == fetched
    scene.ignores(HONEST)
    again = scene.restarted(tmp_path)
    assert again.state.heads[R1] == stands
    again.refuses(STOLEN, "KEY_REVOKED")


def many(count: int) -> list[Artifact]:
    return [routes(7, content=b"say %d" % number) for number in range(count)]


def test_evidence_is_bounded(tmp_path: Path) -> None:
    """Two prove it; four are kept, and of the others nothing but the count in the log."""
    first, *others = many(9)
    scene = Scene().publish(first)
    for one in others:
        scene.offer(one)
    assert len(scene.state.heads[R1].contents) == 4
    assert scene.codes == ["EQUIVOCATION"] * len(others)
    assert scene.blamed == ["signer"] * len(others)
    assert [type(one) for one in scene.durable] == [PutEvidence] * 3
    assert scene.audited.count(("artifact_disputed", "", ATTACKER)) == 3
    assert scene.restarted(tmp_path).state == scene.state


def test_the_same_content_signed_again_is_a_second_statement_too() -> None:
    """Another audience, another lifetime: equal bytes do not make two statements one."""
    wider = sealed(replace(A.manifest, expires_at=UnixTime(A.manifest.expires_at + 1)), A.content)
    scene = Scene().publish(A)
    scene.offer(wider).rest()
    assert scene.codes == ["EQUIVOCATION"]
    assert scene.state.heads[R1] == Standing(Order(2, 7), (A.content_hash,) * 2, "disputed")


def test_an_increment_is_no_second_statement() -> None:
    """It shares the namespace and the order of its snapshot, and is only another way to bytes."""
    scene = Scene().publish(node_snapshot())
    before = scene.state
    scene.offer(increment()).rest()
    assert (scene.codes, scene.state, scene.audited) == ([], before, [])
