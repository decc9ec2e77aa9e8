"""Attack: build a snapshot out of increments that do not lead to it.

Powers: the attacker is a member that holds everything that was ever signed; in some tests it also
holds the compiler's key and signs increments with any base and any result.

A node takes an increment as one more way to the bytes of a snapshot it knows already. It does not
apply increments yet: it always takes the full snapshot, so no result of an increment, right or
wrong, intermediate or last, is ever seen.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from fabgossip.model.artifact import ArtifactType, Base, Order
from fabgossip.model.ids import ContentHash
from fabgossip.model.persistence import PutIncrement
from tests.attacks.scene import Scene, asks_content
from tests.core.artifacts import Artifact, increment, node_snapshot, sealed
from tests.trust import factory as f

FRAME = b"what changed"
OTHER = b"what nobody ever signed as a snapshot"


def step(to: int, *, base: int, start: ContentHash, result: bytes) -> Artifact:
    """An increment between two versions, with any base and any result."""
    statement = replace(
        f.manifest(ArtifactType.SNAPSHOT_INCREMENT),
        config_version=to,
        base=Base(
            version=base,
            content_hash=start,
            result_hash=f.hash_of(result),
            result_size=len(result),
        ),
    )
    return sealed(statement, FRAME)


SEVEN, SIX = node_snapshot(7), node_snapshot(6, b"older settings")
STEPS: dict[str, Artifact] = {
    "the listed result": step(7, base=6, start=SIX.content_hash, result=SEVEN.content),
    "a wrong base": step(7, base=6, start=f.hash_of(OTHER), result=SEVEN.content),
    "a base that was never held": step(7, base=3, start=f.hash_of(b"3"), result=SEVEN.content),
    "a wrong result": step(7, base=6, start=SIX.content_hash, result=OTHER),
}


@pytest.mark.parametrize("offered", STEPS.values(), ids=STEPS)
def test_only_the_listed_result(offered: Artifact, tmp_path: Path) -> None:
    """Beside its snapshot any increment is held, and none is seen: what is current before it is
    current after it, on the disk it is a row that no reader looks at, also after a restart."""
    scene = Scene().publish(SIX, SEVEN)
    before = scene.state
    scene.offer(offered).rest()
    assert scene.codes == []
    assert scene.state == before
    assert scene.requests == [asks_content(offered)]
    assert scene.audited == []
    assert scene.durable == [PutIncrement(verified=offered.verified)]
    assert scene.switched == []
    assert scene.onward == []
    again = scene.restarted(tmp_path)
    assert (again.state.heads, again.state.floors) == (before.heads, before.floors)
    assert dict(again.switched_at_start)[SEVEN.tail] == Order(2, 7)

    scene.caused.clear()
    newer = node_snapshot(8, b"newer settings")
    scene.offer(newer).rest()
    assert scene.codes == []
    assert scene.switched == [(newer.tail, Order(2, 8))]
    assert scene.requests == [asks_content(newer)]


@pytest.mark.parametrize(
    ("version", "code", "asks_trust"),
    [(6, "VERSION_ROLLBACK", False), (8, "VERSION_GAP", True), (9, "VERSION_GAP", True)],
    ids=["below the floor", "the next one", "a gap"],
)
def test_out_of_order(version: int, code: str, *, asks_trust: bool) -> None:
    """Without the manifest of its snapshot an increment says nothing; it moves no floor."""
    Scene().publish(SIX, SEVEN).refuses(increment(version), code, asks_trust=asks_trust)


def test_what_came_before_its_snapshot_is_judged_again_after_it() -> None:
    """The gap closes by itself, and even then the full snapshot is what is current."""
    scene = Scene().publish(SEVEN)
    early = increment(8)
    scene.refuses(early, "VERSION_GAP", asks_trust=True)
    scene.wait(2_000)
    scene.caused.clear()
    eight = node_snapshot(8, b"newer settings")
    scene.offer(eight).rest()
    assert scene.state.heads[eight.tail].contents == (eight.content_hash,)
    assert scene.state.heads[eight.tail].state == "current"
    assert scene.switched == [(eight.tail, Order(2, 8))]
    kept = [one.verified.envelope for one in scene.durable if isinstance(one, PutIncrement)]
    assert kept == [early.envelope]


def test_a_second_way_to_the_same_snapshot_is_not_taken() -> None:
    """One increment to a snapshot is enough; the next costs nothing and changes nothing."""
    scene = Scene().publish(SIX, SEVEN).offer(STEPS["the listed result"])
    scene.rest()
    before = scene.state
    scene.caused.clear()
    scene.offer(STEPS["a wrong result"]).rest()
    assert (scene.codes, scene.audited, scene.requests) == ([], [], [])
    assert (scene.state, scene.durable, scene.switched) == (before, [], [])
    assert scene.onward == []
