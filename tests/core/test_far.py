"""The far neighbour is drawn from where the node is not, evenly, and again and again."""

from collections import Counter
from random import Random

from fabgossip.core.config import NeighborsConfig
from fabgossip.core.directories import Directories
from fabgossip.core.far import RESAMPLE_MS, SOON_MS, Far
from fabgossip.core.rosters import roster_from
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Instant
from fabgossip.model.topology import PeerClass, PeerDirectory
from tests.core.circle import directory_of
from tests.trust import factory

OWN = NodeId("n00")
FAR = {"n01", "n03", "n05", "n07", "n09", "n11", "n13", "n15"}
"""The odd ones: in the other region."""


def slot(directory: PeerDirectory, seed: int = 1) -> Far:
    directories = Directories(OWN)
    directories.on_directory("a directory", roster_from(factory.CLUSTER, directory))
    return Far(NeighborsConfig(), directories, Random(seed))


SIXTEEN = directory_of([PeerClass.FULL] * 16)


def anybody(node_id: NodeId) -> bool:
    return node_id != OWN


def test_every_node_of_the_other_region_is_drawn_about_as_often() -> None:
    drawn: Counter[NodeId | None] = Counter()
    for seed in range(800):
        far = slot(SIXTEEN, seed)
        far.draw(anybody, Instant(0))
        drawn[far.target] += 1
    assert set(drawn) == FAR
    assert all(60 <= count <= 140 for count in drawn.values())


def test_another_is_drawn_after_a_quarter_of_an_hour_give_or_take_a_fifth() -> None:
    far = slot(SIXTEEN)
    far.draw(anybody, Instant(0))
    first, at = far.target, far.at
    assert at is not None
    assert 0.8 * RESAMPLE_MS <= at <= 1.2 * RESAMPLE_MS
    far.draw(lambda one: anybody(one) and one != first, Instant(at - 1))
    assert far.target == first
    far.draw(lambda one: anybody(one) and one != first, at)
    assert far.target in FAR - {first}


def test_one_that_cannot_be_had_is_replaced_when_one_is_looked_for() -> None:
    far = slot(SIXTEEN)
    far.draw(anybody, Instant(0))
    first = far.target
    assert first is not None
    far.on_lost(NodeId("n02"))
    assert far.target == first
    far.on_lost(first)
    far.draw(lambda one: anybody(one) and one != first, Instant(1))
    assert far.target in FAR - {first}


def test_where_a_part_of_the_fabric_comes_back_another_is_drawn_within_five_seconds() -> None:
    far = slot(SIXTEEN)
    far.draw(anybody, Instant(0))
    far.draw_soon(Instant(100))
    assert far.at is not None
    assert 100 <= far.at <= 100 + SOON_MS


def test_there_is_none_in_a_mesh_or_where_all_are_near() -> None:
    far = slot(directory_of([PeerClass.FULL] * 7))
    far.draw(anybody, Instant(0))
    assert (far.target, far.at) == (None, None)
    lonely = slot(SIXTEEN)
    lonely.draw(lambda _: False, Instant(0))
    assert lonely.target is None
