"""Attack: fill a node with what used to be true.

Powers: the attacker is a member that holds everything that was ever signed, and shows the old to a
node unasked or as an answer; it knows which earlier manifests a snapshot names as worth keeping.

Earlier versions are not taken in at all yet, named or not: all below the floor is a rollback.
"""

from pathlib import Path

import pytest

from fabgossip.model.artifact import ArtifactType
from fabgossip.model.messages import Heads
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.topology import Listing, Snapshot
from fabgossip.wire.contents import snapshot_bytes
from tests.attacks.scene import ATTACKER, Scene
from tests.core.artifacts import Artifact, increment, node_snapshot, routes, sealed
from tests.trust import factory as f

HEAD = routes(9)
"""What a snapshot lists, with the two versions before it in its window."""
KEPT, OLDER, UNNAMED = routes(8), routes(7), routes(6)


def listing() -> Artifact:
    window = (KEPT.verified.manifest_hash, OLDER.verified.manifest_hash)
    row = Listing(
        namespace=HEAD.manifest.namespace.text,
        order=HEAD.manifest.order,
        manifest_hash=HEAD.verified.manifest_hash,
        window=window,
    )
    content = snapshot_bytes(
        Snapshot(
            endpoints=(),
            degraded=DegradedPolicy(),
            settings=b"",
            covers=(f"{f.PREFIX}/routes",),
            listings=(row,),
        )
    )
    return sealed(f.manifest(ArtifactType.CLUSTER_SNAPSHOT, "snapshots/role/edge"), content)


HISTORY = {
    "in the window": KEPT,
    "at its end": OLDER,
    "not in it": UNNAMED,
}


def informed() -> Scene:
    return Scene().publish(listing(), HEAD)


@pytest.mark.parametrize("offered", HISTORY.values(), ids=HISTORY)
def test_listed_or_chained(offered: Artifact, tmp_path: Path) -> None:
    """Pushed, an earlier version is a rollback whatever a window says of it: it is not kept, not
    current, not fetched and not told, and not after a restart either."""
    scene = informed()
    scene.refuses(offered, "VERSION_ROLLBACK")
    assert scene.blamed == ["none"]
    scene.restarted(tmp_path).refuses(offered, "VERSION_ROLLBACK")


@pytest.mark.parametrize("offered", HISTORY.values(), ids=HISTORY)
def test_without_a_snapshot_that_lists_the_floor_alone_refuses_it(offered: Artifact) -> None:
    """The floor and the listing are two defences; each is enough."""
    Scene().publish(HEAD).refuses(offered, "VERSION_ROLLBACK")


@pytest.mark.parametrize("offered", HISTORY.values(), ids=HISTORY)
def test_an_answer_brings_it_in_no_more_than_a_push(offered: Artifact) -> None:
    """What comes as heads is judged like what is announced."""
    scene = informed()
    before = scene.state
    scene.hear(scene.attacker, Heads(envelopes=(offered.envelope,)))
    scene.carry_out(offered).rest()
    assert scene.codes == ["VERSION_ROLLBACK"]
    assert scene.audited == [("artifact_rejected", "VERSION_ROLLBACK", ATTACKER)]
    assert (scene.state, scene.requests, scene.durable) == (before, [], [])
    assert (scene.switched, scene.onward) == ([], [])


@pytest.mark.parametrize("version", [5, 6])
def test_an_increment_of_an_earlier_snapshot_is_no_history_either(version: int) -> None:
    scene = Scene().publish(node_snapshot(6), node_snapshot(7, b"new settings"))
    scene.refuses(increment(version), "VERSION_ROLLBACK")
