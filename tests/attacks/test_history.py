"""Attack: pass old versions off as history worth keeping.

Powers: the attacker is a member with a good certificate and holds every version that was ever
signed. It pushes them unasked, and answers questions with them.

A node admits no kept history yet: all below the floor is a rollback, pushed or answered, whether a
retention window names it or not. Once history is asked for, exactly what stands in the window of a
current snapshot, or in a chain that ends at the floor, will be admitted to keep; the first test
then narrows to what is neither, and keeps its name.
"""

from dataclasses import replace
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


def with_window(current: Artifact, *earlier: Artifact) -> Artifact:
    """A snapshot that lists a version, and names earlier ones worth keeping."""
    row = Listing(
        namespace=current.manifest.namespace.text,
        order=current.manifest.order,
        manifest_hash=current.verified.manifest_hash,
        window=tuple(one.verified.manifest_hash for one in earlier),
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


def test_listed_or_chained(tmp_path: Path) -> None:
    """Neither in a window nor in a chain: refused, pushed or answered, warm or cold, and nothing of
    it is left."""
    scene = Scene().publish(with_window(routes(8), routes(7)), routes(8))
    for one in (scene, scene.restarted(tmp_path)):
        one.refuses(routes(6), "VERSION_ROLLBACK")
        before = one.state
        one.caused.clear()
        one.hear(one.attacker, Heads(envelopes=(routes(5).envelope,)))
        assert one.blamed == ["none"]
        one.leaves(
            before,
            codes=["VERSION_ROLLBACK"],
            audited=[("artifact_rejected", "VERSION_ROLLBACK", ATTACKER)],
        )


def test_what_a_window_names_is_not_taken_when_it_is_pushed() -> None:
    """A window says what may be kept of what a node asks for; it invites nobody."""
    scene = Scene().publish(with_window(routes(8), routes(7)), routes(8))
    scene.refuses(routes(7), "VERSION_ROLLBACK")


@pytest.mark.parametrize("version", [5, 6])
def test_an_increment_below_the_floor_is_no_chain(version: int) -> None:
    scene = Scene().publish(node_snapshot(7), increment(7))
    scene.refuses(increment(version), "VERSION_ROLLBACK")


def test_history_of_an_older_epoch_is_none() -> None:
    scene = Scene().publish(with_window(routes(8), routes(7)), routes(8))
    old = replace(routes(9).manifest, authority_epoch=1)
    scene.refuses(Artifact(old, f.signed(old), routes(9).content), "EPOCH_STALE")
