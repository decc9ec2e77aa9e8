"""The candidate that heals most is taken, and the cost does not follow the directory."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from fabgossip.core.choice import DRAWN, Choice, Scene
from fabgossip.core.config import NeighborsConfig
from fabgossip.core.directories import Directories
from fabgossip.core.rosters import roster_from
from fabgossip.core.rules import Present, open_rules
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import NeighborPurpose
from fabgossip.model.topology import PeerClass, PeerDirectory
from tests.core.circle import directory_of
from tests.trust import factory

CONFIG = NeighborsConfig()


def chooser(directory: PeerDirectory, own: NodeId, seed: int = 1) -> tuple[Choice, Directories]:
    directories = Directories(own)
    directories.on_directory("a directory", roster_from(factory.CLUSTER, directory))
    return Choice(CONFIG, directories, Random(seed)), directories


def scene(*present: Present, refused: frozenset[NodeId] = frozenset()) -> Scene:
    return Scene(
        present=present,
        far=None,
        may_take=lambda node_id: node_id not in refused,
        has_failed=lambda _: False,
    )


def test_a_member_of_two_audiences_goes_before_members_of_one() -> None:
    directory = directory_of(
        [PeerClass.FULL] * 12, lambda number: (0, 1) if number in (0, 3) else (0,)
    )
    for seed in range(8):
        choice, _ = chooser(directory, NodeId("n00"), seed)
        picks = choice.picks(scene(refused=frozenset({NodeId("n00")})), 1)
        assert [one.node_id for one in picks] == ["n03"]


@given(st.integers(0, 2**16))
def test_each_pick_counts_before_the_next_so_that_few_heal_all(seed: int) -> None:
    directory = directory_of([PeerClass.FULL] * 24)
    own = NodeId("n00")
    choice, directories = chooser(directory, own, seed)
    picks = choice.picks(scene(refused=frozenset({own})), 40)
    assert CONFIG.links_min <= len(picks) <= CONFIG.links_min + 2
    assert len({one.node_id for one in picks}) == len(picks)
    present = [
        Present(one.node_id, directories.zone_of(one.node_id), is_dialed=True) for one in picks
    ]
    assert open_rules(directories.seats, present, None, CONFIG) == []


def test_a_candidate_that_failed_of_late_comes_after_one_that_did_not() -> None:
    directory = directory_of([PeerClass.FULL] * 3)
    for seed in range(8):
        choice, _ = chooser(directory, NodeId("n00"), seed)
        found = choice.picks(Scene((), None, lambda one: one != "n00", lambda one: one == "n01"), 1)
        assert [one.node_id for one in found] == ["n02"]


def test_an_earlier_member_is_asked_for_being_earlier() -> None:
    directory = directory_of([PeerClass.FULL] * 24)
    order = roster_from(factory.CLUSTER, directory).circles[0].members
    choice, directories = chooser(directory, order[1])
    later = tuple(Present(one, directories.zone_of(one), is_dialed=True) for one in order[2:])
    picks = choice.picks(scene(*later), 3)
    assert [(one.node_id, one.purpose) for one in picks] == [(order[0], NeighborPurpose.UPWARD)]


def test_nobody_outside_the_circle_is_chosen_though_a_rule_over_all_is_open() -> None:
    directory = directory_of([PeerClass.FULL] * 24)
    choice, _ = chooser(directory, NodeId("n00"))
    assert choice.picks(scene(), 9, among=(NodeId("stranger"),)) == []


def test_of_a_large_audience_some_are_drawn() -> None:
    choice, _ = chooser(directory_of([PeerClass.FULL] * 3), NodeId("n00"))
    members = [NodeId(f"n{number}") for number in range(10 * DRAWN)]
    assert list(choice.drawn(members, DRAWN)) == members[:DRAWN]
    drawn = choice.drawn(members, 5 * DRAWN)
    assert len(drawn) == DRAWN
    assert set(drawn) <= set(members[: 5 * DRAWN])
