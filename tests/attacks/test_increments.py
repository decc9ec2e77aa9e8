"""Attack: have a node make bytes nobody signed, out of increments.

Powers: the attacker is a member with a good certificate and holds every increment that was ever
signed; it shows them in any order, with gaps, without their snapshots, with other bytes.

A node stores increments and serves them; it does not apply them yet, and always takes the full
snapshot. What applying will add is judged here once it exists: no intermediate result is visible,
and only the content hash of the snapshot at the floor ends a chain (BASE_MISMATCH, then the full
snapshot).
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from fabgossip.model.artifact import Order, VerifiedManifest
from fabgossip.model.ids import ContentHash
from fabgossip.model.persistence import PutIncrement
from tests.attacks.scene import Scene, asks_content
from tests.core.artifacts import Artifact, increment, node_snapshot, sealed
from tests.trust import factory as f

NAME: Final = node_snapshot().tail
SNAPSHOT: Final = node_snapshot(7)


def result_of(one: Artifact, result: ContentHash) -> Artifact:
    base = one.manifest.base
    assert base is not None
    return sealed(replace(one.manifest, base=replace(base, result_hash=result)), one.content)


@pytest.mark.parametrize(
    ("shown", "code", "asks_trust"),
    [(6, "VERSION_ROLLBACK", False), (8, "VERSION_GAP", True), (9, "VERSION_GAP", True)],
    ids=["older", "next", "with a gap"],
)
def test_only_the_listed_result(shown: int, code: str, *, asks_trust: bool) -> None:
    """Only an increment to the snapshot at the floor is kept, whatever order they come in: older
    ones are a rollback, newer ones wait for their snapshot. None of them moves floor or head, and
    what the node has current stays what the snapshot says."""
    scene = Scene().publish(SNAPSHOT)
    scene.refuses(increment(shown), code, asks_trust=asks_trust)
    assert scene.state.heads[NAME].contents == (SNAPSHOT.content_hash,)
    assert scene.state.floors[NAME] == Order(2, 7)


def test_an_increment_at_the_floor_produces_nothing(tmp_path: Path) -> None:
    """Neither its own bytes nor the result it claims become the local state, whatever the snapshot
    says of that result; a restart does not change it."""
    claimed = result_of(increment(7), f.hash_of(b"what the attacker would like"))
    for offered, place in ((increment(7), "plain"), (claimed, "claimed")):
        scene = Scene().publish(SNAPSHOT)
        before = scene.state
        scene.offer(offered).rest()
        assert (scene.codes, scene.audited) == ([], [])
        assert scene.state == before
        kept = kept_increment(scene)
        assert kept is not None
        assert kept.envelope == offered.envelope
        assert scene.durable == [PutIncrement(verified=kept)]
        assert scene.switched == []
        assert set(scene.requests) <= {asks_content(offered)}
        again = scene.restarted(tmp_path / place)
        assert again.state == before
        assert dict(again.at_start.switched)[NAME] == Order(2, 7)


def kept_increment(scene: Scene) -> VerifiedManifest | None:
    head = scene.node.view.find(SNAPSHOT.manifest.namespace.text)
    assert head is not None
    return head.increment


def test_an_increment_goes_with_its_snapshot(tmp_path: Path) -> None:
    """A newer snapshot ends it: nothing leads back to what it was a step to."""
    scene = Scene().publish(SNAPSHOT, increment(7), node_snapshot(8))
    assert kept_increment(scene) is None
    scene.refuses(increment(6), "VERSION_ROLLBACK")
    scene.refuses(result_of(increment(7), f.hash_of(b"other")), "VERSION_ROLLBACK")
    assert scene.restarted(tmp_path).state == scene.state


def test_out_of_order_the_snapshot_alone_decides() -> None:
    """Newest first, oldest last: the end is the same as in order."""
    later = node_snapshot(8)
    scene = Scene().publish(SNAPSHOT)
    for one in (increment(9), increment(8), increment(6)):
        scene.offer(one)
    scene.offer(later).rest()
    assert scene.state.heads[NAME].contents == (later.content_hash,)
    assert scene.state.floors[NAME] == Order(2, 8)
