"""What a node wants of its neighbours, rule by rule, and what each candidate is good for."""

import pytest

from fabgossip.core.config import NeighborsConfig
from fabgossip.core.rosters import Roster, roster_from, zone_of
from fabgossip.core.rules import DIALED_MIN, OpenRule, Present, Rule, is_redundant, open_rules
from fabgossip.core.seats import Seat, seats_of
from fabgossip.model.ids import NodeId
from fabgossip.model.topology import PeerClass
from tests.core.circle import directory_of
from tests.trust import factory

CONFIG = NeighborsConfig()
MEMBERS = 32
ROSTER: Roster = roster_from(factory.CLUSTER, directory_of([PeerClass.FULL] * MEMBERS))
ORDER = ROSTER.circles[0].members
OWN = ORDER[10]
SEATS: tuple[Seat, ...] = seats_of(OWN, (ROSTER,))


def here(*names: NodeId, is_dialed: bool = True) -> list[Present]:
    return [Present(one, zone_of(ROSTER.records[one].domain), is_dialed) for one in names]


def opened(present: list[Present], far: NodeId | None = None) -> dict[Rule, OpenRule]:
    return {one.rule: one for one in open_rules(SEATS, present, far, CONFIG)}


def by_zone(zone: str, region: str = "r1") -> list[NodeId]:
    return [
        one for one in ORDER if one != OWN and zone_of(ROSTER.records[one].domain) == (region, zone)
    ]


def test_a_node_alone_wants_everything_but_what_rests_on_others() -> None:
    assert set(opened([])) == {Rule.UPWARD, Rule.QUOTA, Rule.LINKS, Rule.DIALED}


def test_no_rule_is_open_with_five_in_three_zones_one_of_them_earlier() -> None:
    enough = [*by_zone("z1")[:2], *by_zone("z2")[:2], *by_zone("z1", "r2")[:1]]
    assert ORDER.index(enough[0]) < 10 or ORDER.index(enough[2]) < 10
    assert opened(here(*enough)) == {}


def test_many_later_neighbors_are_no_earlier_one() -> None:
    found = opened(here(*ORDER[11:]))
    assert set(found) == {Rule.UPWARD}
    assert [one for one in ORDER if found[Rule.UPWARD].heals(one, None)] == list(ORDER[:10])
    members, count = found[Rule.UPWARD].candidates()
    assert list(members[:count]) == list(ORDER[:10])


def test_the_first_member_wants_no_earlier_one() -> None:
    seats = seats_of(ORDER[0], (ROSTER,))
    assert Rule.UPWARD not in {one.rule for one in open_rules(seats, [], None, CONFIG)}


def test_neighbors_of_one_zone_want_one_of_another() -> None:
    found = opened(here(*by_zone("z1")[:5]))
    assert {Rule.ZONES, Rule.WIDE} <= set(found)
    for rule in (Rule.ZONES, Rule.WIDE):
        assert not found[rule].heals(by_zone("z1")[0], ("r1", "z1"))
        assert found[rule].heals(by_zone("z2")[0], ("r1", "z2"))


def test_two_zones_are_enough_for_an_audience_and_not_for_all_links() -> None:
    found = opened(here(*by_zone("z1")[:3], *by_zone("z2")[:3]))
    assert Rule.ZONES not in found
    assert Rule.WIDE in found


def test_whom_others_chose_does_not_count_as_chosen() -> None:
    enough = [*by_zone("z1")[:2], *by_zone("z2")[:2], *by_zone("z1", "r2")[:2]]
    assert set(opened(here(*enough, is_dialed=False))) == {Rule.DIALED}
    mixed = here(*enough[:DIALED_MIN]) + here(*enough[DIALED_MIN:], is_dialed=False)
    assert opened(mixed) == {}


def test_the_far_one_is_wanted_until_it_is_there() -> None:
    enough = [*by_zone("z1")[:2], *by_zone("z2")[:2], *by_zone("z1", "r2")[:1]]
    far = by_zone("z2", "r2")[0]
    found = opened(here(*enough), far)
    assert set(found) == {Rule.FAR}
    assert [one for one in ORDER if found[Rule.FAR].heals(one, None)] == [far]
    assert opened(here(*enough, far), far) == {}


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_small_audience_wants_everybody_and_nothing_else(count: int) -> None:
    roster = roster_from(factory.CLUSTER, directory_of([PeerClass.FULL] * count))
    first, *others = roster.circles[0].members
    seats = seats_of(first, (roster,))
    for linked in range(count):
        present = [Present(one, None, is_dialed=False) for one in others[:linked]]
        rules = [one.rule for one in open_rules(seats, present, None, CONFIG)]
        assert rules == ([Rule.MESH] if linked < count - 1 else [])


def test_a_thin_node_wants_two_in_each_audience_and_is_no_candidate() -> None:
    classes = [PeerClass.FULL] * 8 + [PeerClass.THIN] * 2
    directory = directory_of(classes, lambda number: (0, 1) if number in (0, 8) else (0,))
    roster = roster_from(factory.CLUSTER, directory)
    seats = seats_of(NodeId("n08"), (roster,))
    first, second = (
        open_rules(
            seats, [Present(NodeId(one), None, is_dialed=True) for one in names], None, CONFIG
        )
        for names in (("n00",), ("n00", "n01"))
    )
    assert [(one.rule, one.seat.circle.index) for one in first] == [(Rule.THIN, 0)]
    assert second == []
    assert not first[0].heals(NodeId("n09"), None)


def test_an_audience_with_more_members_than_others_counts_for_the_rules_over_all() -> None:
    """A node in a small audience alone wants no five links and no far one."""
    directory = directory_of([PeerClass.FULL] * 4)
    roster = roster_from(factory.CLUSTER, directory)
    own = roster.circles[0].members[3]
    present = [Present(one, None, is_dialed=False) for one in roster.circles[0].members[:3]]
    assert open_rules(seats_of(own, (roster,)), present, NodeId("elsewhere"), CONFIG) == []


def test_who_heals_nothing_that_would_be_open_without_it_is_redundant() -> None:
    enough = [*by_zone("z1")[:2], *by_zone("z2")[:2], *by_zone("z1", "r2")[:1]]
    surplus = by_zone("z1")[4]
    present = here(*enough, surplus)
    redundant = [one.node_id for one in present if is_redundant(one, SEATS, present, None, CONFIG)]
    assert surplus in redundant
    assert by_zone("z1", "r2")[0] not in redundant, "the third zone"
    only_earlier = here(*ORDER[9:20])
    assert not is_redundant(only_earlier[0], SEATS, only_earlier, None, CONFIG)
