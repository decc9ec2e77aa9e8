"""Whoever is in a directory, dies, and in whatever order they come: each audience is one piece."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from fabgossip.core.config import NeighborsConfig
from fabgossip.core.rules import DIALED_MIN, THIN_LINKS, Rule
from fabgossip.model.ids import NodeId
from fabgossip.model.topology import PeerClass
from tests.core.circle import Ring, directory_of

SMALL = NeighborsConfig(
    mesh_members_max=3, quota_per_audience=2, links_min=3, links_ordinary_max=5, links_upward_max=9
)
"""So that a few nodes have all the troubles of many."""
HEALED_BY_OTHERS = {Rule.DIALED}
"""Where all members are neighbours there is nobody left to dial."""


@dataclass(frozen=True)
class Fabric:
    """Who there is, who is in the narrower audience, who dies, and who acts in which order."""

    classes: list[PeerClass]
    in_acme: list[bool]
    dies: list[bool]
    order: list[int]

    def ring(self) -> Ring:
        directory = directory_of(
            self.classes, lambda number: (0, 1) if self.in_acme[number] else (0,)
        )
        return Ring(directory, SMALL)

    def names(self) -> list[NodeId]:
        """All nodes, in the order in which they act."""
        return [NodeId(f"n{number:02}") for number in self.order]

    def dead(self) -> list[NodeId]:
        return [NodeId(f"n{number:02}") for number, dies in enumerate(self.dies) if dies]


def fabrics(least: int, most: int) -> st.SearchStrategy[Fabric]:
    return st.integers(least, most).flatmap(
        lambda count: st.builds(
            Fabric,
            st.lists(st.sampled_from(PeerClass), min_size=count, max_size=count),
            st.lists(st.booleans(), min_size=count, max_size=count),
            st.lists(st.booleans(), min_size=count, max_size=count),
            st.permutations(range(count)),
        )
    )


def assert_whole(ring: Ring) -> None:
    links = ring.links()
    for index in (0, 1):
        inside = ring.members(index)
        assert ring.pieces(index) <= 1
        for name in ring.members(index, is_thin=True):
            assert len(links[name] & inside) >= min(THIN_LINKS, len(inside))


@given(fabrics(1, 24))
def test_every_audience_is_one_piece_whoever_is_in_it(fabric: Fabric) -> None:
    assert_whole(fabric.ring().settle(names=fabric.names()))


@given(fabrics(2, 24))
def test_both_ends_agree_on_who_is_a_neighbor(fabric: Fabric) -> None:
    links = fabric.ring().settle(names=fabric.names()).links()
    assert all(name in links[other] for name, others in links.items() for other in others)


@given(fabrics(2, 24))
def test_no_thin_node_is_counted_on(fabric: Fabric) -> None:
    ring = fabric.ring().settle(names=fabric.names())
    thin = ring.members(0, is_thin=True)
    assert not any(ring.links()[name] & thin for name in thin)


@given(fabrics(2, 20))
def test_the_survivors_of_any_deaths_are_one_piece(fabric: Fabric) -> None:
    ring = fabric.ring().settle(names=fabric.names()).kill(fabric.dead())
    assert_whole(ring.settle(turns=25, names=fabric.names()))


@given(fabrics(2, 14))
def test_two_halves_that_were_cut_are_one_piece_again(fabric: Fabric) -> None:
    """Within two probes, whatever they remember of each other: the first member of a part never
    stops seeking. A thin node that has one link waits for the other as long as it remembers."""
    ring = fabric.ring().settle(names=fabric.names())
    halves = {name: fabric.dies[int(name[1:])] for name in ring.machines}
    ring.cut = lambda one, other: halves[one] is not halves[other]
    ring.break_links(ring.cut).settle(turns=20, names=fabric.names())
    ring.cut = lambda _one, _other: False
    ring.settle(turns=3, names=fabric.names())
    for index in (0, 1):
        assert ring.pieces(index) <= 1
        inside = ring.members(index)
        for name in ring.members(index, is_thin=True):
            assert ring.links()[name] & inside or not inside


@given(st.integers(8, 16), st.integers(0, 2**16))
def test_every_rule_is_met_where_nobody_is_refused(count: int, seed: int) -> None:
    """With room for all, what is left open is what no member could heal."""
    config = NeighborsConfig(mesh_members_max=3, links_ordinary_max=64, links_upward_max=64)
    ring = Ring(directory_of([PeerClass.FULL] * count), config)
    names = sorted(ring.machines, key=lambda name: (hash_of(name, seed), name))
    ring.settle(turns=20, names=names)
    for name, one in ring.machines.items():
        is_linked_to_all = len(ring.links()[name]) == count - 1
        assert not set(one.open_rules()) - (HEALED_BY_OTHERS if is_linked_to_all else set())
        assert len(ring.links()[name]) >= DIALED_MIN


def hash_of(name: str, seed: int) -> int:
    return (int(name[1:]) * 7_919 + seed) % 104_729
