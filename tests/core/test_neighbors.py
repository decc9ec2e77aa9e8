"""Whom to be connected to: a circle that holds together whoever chooses what, and patient dials."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabgossip.core.company import ASK_AFTER, REFUSALS_MAX
from fabgossip.core.config import NeighborsConfig
from fabgossip.core.dialing import SEEK_DIALS, SEEK_MS
from fabgossip.core.effects import Dial
from fabgossip.core.events import DialDue, LinkId, LostReason, PeerLost
from fabgossip.core.neighbors import Neighbors
from fabgossip.core.rosters import roster_from
from fabgossip.core.rules import DIALED_MIN, THIN_LINKS, Rule
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import ByeReason, GetHeads, NeighborAsk, NeighborPurpose, Pong
from fabgossip.model.moment import Duration, Instant, later
from fabgossip.model.scope import parse_scope_id
from fabgossip.model.topology import Endpoint, PeerClass, PeerDirectory
from tests.core.artifacts import CLUSTER_SCOPE, peers, record
from tests.core.circle import Ring, directory_of, machine
from tests.core.story import Story
from tests.trust import factory

NOW = Instant(0)
GUEST_OVER = Instant(60_000)


@given(st.lists(st.sampled_from((PeerClass.CORE, PeerClass.FULL)), min_size=5, max_size=9))
def test_every_member_but_the_first_wants_an_earlier_one(classes: list[PeerClass]) -> None:
    """A full quota of later members is not enough: the others point upwards, in one order."""
    config = NeighborsConfig(mesh_members_max=1, quota_per_audience=1, links_min=1)
    directory = directory_of(classes)
    names = [one.node_id for one in directory.peers]
    earlier: dict[NodeId, set[NodeId]] = {}
    for name in names:
        wanting = {
            other for other in names if other != name and is_wanting(name, other, directory, config)
        }
        earlier[name] = set(names) - wanting - {name}
    assert sorted(map(len, earlier.values())) == [*range(1, len(names)), len(names) - 1]
    core = {one.node_id for one in directory.peers if one.peer_class is PeerClass.CORE}
    assert all(core <= earlier[name] for name in names if name not in core)


def is_wanting(
    name: NodeId, other: NodeId, directory: PeerDirectory, config: NeighborsConfig
) -> bool:
    """Whether a node with this one neighbour lacks an earlier one."""
    ring = Ring(directory, config)
    linked(ring.machines[name], other)
    return Rule.UPWARD in ring.machines[name].open_rules()


def linked(
    one: Neighbors, other: NodeId, number: int = 1, *, is_dialer: bool = True, now: Instant = NOW
) -> LinkId:
    """A neighbour is there."""
    link = LinkId(number)
    one.on_connected(link, other, now, is_dialer=is_dialer)
    one.on_open(link, now)
    assert one.on_ask(link, NeighborAsk(purpose=NeighborPurpose.QUOTA, is_needed=False), now).is_yes
    one.check()
    return link


@pytest.mark.parametrize("count", [2, 6, 7])
def test_up_to_six_other_members_everybody_links_to_everybody(count: int) -> None:
    links = Ring(directory_of([PeerClass.FULL] * count)).settle().links()
    assert all(len(one) == count - 1 for one in links.values())


def test_above_the_mesh_nobody_links_to_everybody() -> None:
    links = Ring(directory_of([PeerClass.FULL] * 40)).settle().links()
    assert all(NeighborsConfig().links_min <= len(one) <= 20 for one in links.values())


def test_thin_nodes_are_in_nobody_s_quota_and_link_to_two() -> None:
    ring = Ring(directory_of([PeerClass.FULL] * 10 + [PeerClass.THIN] * 10)).settle()
    thin = ring.members(0, is_thin=True)
    assert all(len(ring.links()[name]) == THIN_LINKS for name in thin)
    assert all(not ring.links()[name] & thin for name in thin)
    for name in ring.members(0):
        assert len(ring.links()[name] - thin) >= NeighborsConfig().links_min


def test_where_a_neighbor_stands_is_what_the_directory_held_now_says() -> None:
    """Not one that was held when it was looked at first."""
    count = NeighborsConfig().mesh_members_max + 3
    spread = directory_of([PeerClass.FULL] * count)
    gathered = replace(
        spread,
        peers=tuple(replace(one, domain=spread.peers[1].domain) for one in spread.peers[:4])
        + spread.peers[4:],
    )
    one = machine("n00", gathered)
    for number, other in enumerate(("n01", "n02", "n03"), start=1):
        linked(one, NodeId(other), number)
    assert Rule.ZONES in one.open_rules()
    one.on_directory("a directory", roster_from(factory.CLUSTER, spread))
    assert Rule.ZONES not in one.open_rules()


def test_neighbors_of_all_links_stand_in_three_zones_and_one_of_them_far() -> None:
    ring = Ring(directory_of([PeerClass.FULL] * 24)).settle()
    places = {one.node_id: one.domain for one in ring.directory.peers}
    for name, others in ring.links().items():
        assert len({(places[one].region, places[one].zone) for one in others}) >= 3
        assert any(places[one].region != places[name].region for one in others)


def test_until_a_directory_lists_a_node_whoever_is_linked_is_its_neighbor() -> None:
    one = machine("n00")
    one.on_connected(LinkId(1), NodeId("n01"), NOW, is_dialer=False)
    one.on_open(LinkId(1), NOW)
    assert one.is_neighbor(LinkId(1))
    assert one.next_asks(NOW) == ()


def test_a_directory_makes_guests_of_those_it_does_not_list_and_asks_the_others() -> None:
    one = machine("n00")
    for number, name in enumerate(("n01", "stranger"), start=1):
        one.on_connected(LinkId(number), NodeId(name), NOW, is_dialer=False)
        one.on_open(LinkId(number), NOW)
    directory = directory_of([PeerClass.FULL] * 2)
    one.on_directory("a directory", roster_from(factory.CLUSTER, directory))
    assert (one.is_neighbor(LinkId(1)), one.is_neighbor(LinkId(2))) == (True, False)
    asks = one.next_asks(NOW)
    assert [(link, ask.purpose) for link, ask in asks] == [(LinkId(1), NeighborPurpose.KEEP)]
    assert one.next_asks(NOW) == ()
    one.on_answer(LinkId(1), 600, NOW, is_yes=False)
    assert not one.is_neighbor(LinkId(1))


@pytest.mark.parametrize("carried", [(), (GetHeads(known=()),)], ids=["idle", "busy"])
def test_who_was_dialled_asks_a_second_after_the_hello_whatever_the_link_carries(
    carried: tuple[GetHeads, ...],
) -> None:
    """When a node asks shows to others; what its links carry may be nothing they may know of."""
    one = machine("n00", directory_of([PeerClass.FULL] * 3))
    one.on_connected(LinkId(1), NodeId("n01"), NOW, is_dialer=False)
    one.on_open(LinkId(1), NOW)
    for message in carried:
        one.on_heard(LinkId(1), message, Instant(ASK_AFTER - 1))
    assert one.next_asks(Instant(ASK_AFTER - 1)) == ()
    assert [link for link, _ in one.next_asks(Instant(ASK_AFTER))] == [LinkId(1)]


def test_whom_no_directory_lists_is_refused_and_cut_off_when_it_insists() -> None:
    one = machine("n00", directory_of([PeerClass.FULL] * 3))
    one.on_connected(LinkId(1), NodeId("stranger"), NOW, is_dialer=False)
    one.on_open(LinkId(1), NOW)
    ask = NeighborAsk(purpose=NeighborPurpose.UPWARD, is_needed=True)
    replies = [one.on_ask(LinkId(1), ask, NOW) for _ in range(REFUSALS_MAX + 1)]
    assert not any(reply.is_yes for reply in replies)
    assert [reply.bye for reply in replies] == [None] * REFUSALS_MAX + [ByeReason.OVER_RATE]


def test_a_guest_with_nothing_to_do_goes_after_a_minute_and_a_busy_one_stays() -> None:
    one = machine("n00", directory_of([PeerClass.FULL] * 3))
    for number in (1, 2, 3):
        one.on_connected(LinkId(number), NodeId(f"stranger{number}"), NOW, is_dialer=False)
        one.on_open(LinkId(number), NOW)
    one.on_heard(LinkId(2), Pong(sequence=1), Instant(59_000))
    one.on_heard(LinkId(3), GetHeads(known=()), Instant(59_000))
    assert one.next_partings(lambda _: False, Instant(59_999)) == ()
    assert [
        (gone.link, gone.bye) for gone in one.next_partings(lambda link: link == 1, GUEST_OVER)
    ] == [(LinkId(2), ByeReason.VISIT_OVER)]


def crowd(*names: str, busy: tuple[int, ...] = (), is_dialer: bool = False) -> list[LinkId | None]:
    """Where there is room for two guests, and these come one after the other, the last of them by
    its own dial or by ours: which of them has to go for each."""
    one = machine("n00", directory_of([PeerClass.FULL] * 9), NeighborsConfig(guests_max=2))
    gone = []
    for number, name in enumerate(names, start=1):
        link, is_ours = LinkId(number), is_dialer and number == len(names)
        one.on_connected(link, NodeId(name), NOW, is_dialer=is_ours)
        one.on_open(link, Instant(number))
        gone.append(one.next_crowded(link, lambda link: link in busy))
        one.check()
    return gone


def test_there_is_room_for_so_many_strangers_and_the_next_goes_itself() -> None:
    assert crowd("x", "y", "z", "n01", "u") == [None, None, 3, 1, 5]


def test_for_who_may_be_in_need_a_stranger_goes_even_a_busy_one_and_then_who_is_idle() -> None:
    """The longest idle; and who was told to go is not told again while it ends."""
    assert crowd("n01", "x", "n02", busy=(2,)) == [None, None, 2]
    assert crowd("n01", "n02", "n03", "n04") == [None, None, 1, 2]
    assert crowd("n01", "n02", "n03", busy=(1,)) == [None, None, 2]
    assert crowd("n01", "n02", "n03", busy=(1, 2)) == [None, None, 3]


def test_whom_this_node_dialled_takes_no_guest_s_room() -> None:
    assert crowd("x", "y", "n01", is_dialer=True) == [None, None, None]
    assert crowd("x", "y", "z", is_dialer=True) == [None, None, None]


def test_a_neighbor_too_many_is_let_go_once_a_minute_and_stays_away() -> None:
    config = NeighborsConfig(links_ordinary_max=5, mesh_members_max=2, links_min=2)
    one = machine("n00", directory_of([PeerClass.FULL] * 12), config)
    for number in range(1, 12):
        link = LinkId(number)
        one.on_connected(link, NodeId(f"n{number:02}"), NOW, is_dialer=number < 4)
        one.on_open(link, NOW)
        ask = NeighborAsk(purpose=NeighborPurpose.QUOTA, is_needed=number < 9)
        one.on_ask(link, ask, NOW)
    assert one.snapshot(NOW).active == 8
    assert one.next_partings(lambda _: False, NOW) == (), "all of them are needed"
    one.on_ask(LinkId(8), NeighborAsk(purpose=NeighborPurpose.KEEP, is_needed=False), NOW)
    later_on = Instant(60_000)
    guests = {LinkId(number) for number in (9, 10, 11)}
    gone = [one for one in one.next_partings(lambda _: False, later_on) if one.link not in guests]
    assert [(one.link, one.bye, one.retry_after_s) for one in gone] == [
        (LinkId(8), ByeReason.EVICTED, 600)
    ]
    one.on_lost(LinkId(8), NodeId("n08"), LostReason.EVICTED, later_on)
    for wait in (60_001, 300_000, 659_999):
        assert "n08" not in {found.node_id for found in one.next_dials(Instant(wait))}


def test_who_lacks_an_earlier_neighbor_seeks_every_eight_seconds_whatever_failed() -> None:
    directory = directory_of([PeerClass.FULL] * 3)
    roster = roster_from(factory.CLUSTER, directory)
    last = roster.circles[0].members[-1]
    one, dials, now = machine(last, directory), [], NOW
    for _ in range(60):
        for found in one.next_dials(now):
            one.on_dialing(found.node_id)
            one.on_lost(None, found.node_id, LostReason.CONNECT_FAILED, now)
            dials.append(now)
        now = max(one.next_dial_at(now), later(now, Duration(1)))
        one.check()
    late = [at for at in dials if at > 60_000]
    gaps = [after - before for before, after in pairwise(late)]
    assert max(gaps) <= 8_800


def test_the_first_member_does_not_seek() -> None:
    directory = directory_of([PeerClass.FULL] * 3)
    first = roster_from(factory.CLUSTER, directory).circles[0].members[0]
    one, dials = machine(first, directory), 0
    for now in range(0, 600_000, 8_800):
        for found in one.next_dials(Instant(now)):
            one.on_dialing(found.node_id)
            one.on_lost(None, found.node_id, LostReason.CONNECT_FAILED, Instant(now))
            dials += 1
    assert dials <= 2 * 20


def test_the_first_link_into_what_was_dark_for_a_minute_clears_what_failed_there() -> None:
    """Of the other region alone: what fails in our own says nothing about it."""
    directory = directory_of([PeerClass.FULL] * 7)
    one, now = machine("n00", directory), NOW
    for now in (Instant(at) for at in range(0, 80_000, 500)):
        for found in one.next_dials(now):
            one.on_dialing(found.node_id)
            one.on_lost(None, found.node_id, LostReason.CONNECT_FAILED, now)
    before = {found.node_id for found in one.next_dials(now)}
    linked(one, NodeId("n01"), is_dialer=False, now=now)
    after = {found.node_id for found in one.next_dials(now)}
    assert not before & {"n03", "n05"}
    assert after >= {"n03", "n05"}


def test_failed_dials_wait_twice_as_long_each_time_up_to_a_limit() -> None:
    """Of the first member: whoever is after it also seeks."""
    config = NeighborsConfig(redial_min_ms=1_000, redial_max_ms=8_000)
    directory = directory_of([PeerClass.FULL] * 2)
    own, other = roster_from(factory.CLUSTER, directory).circles[0].members
    neighbors = machine(own, directory, config)
    now, waits = NOW, []
    for _ in range(6):
        assert [one.node_id for one in neighbors.next_dials(now)] == [other]
        neighbors.on_dialing(other)
        assert neighbors.next_dials(now) == ()
        neighbors.on_lost(None, other, LostReason.CONNECT_FAILED, now)
        wait = next(
            wait for wait in range(20_000) if neighbors.next_dials(later(now, Duration(wait)))
        )
        waits.append(wait)
        now = later(now, Duration(wait))
    limits = (2_000, 4_000, 8_000, 8_000, 8_000)
    assert waits[0] <= 1_000
    assert all(
        0.8 * limit <= wait <= 1.2 * limit for wait, limit in zip(waits[1:], limits, strict=True)
    )


def test_an_open_link_forgets_the_failures_before_it() -> None:
    neighbors = machine("n00", directory_of([PeerClass.FULL] * 2))
    for _ in range(5):
        neighbors.on_lost(None, NodeId("n01"), LostReason.CONNECT_FAILED, NOW)
    neighbors.on_connected(LinkId(1), NodeId("n01"), NOW, is_dialer=True)
    neighbors.on_open(LinkId(1), NOW)
    neighbors.on_lost(LinkId(1), NodeId("n01"), LostReason.RESET, NOW)
    assert neighbors.next_dials(Instant(1_201))


def test_a_dial_that_fails_says_nothing_of_a_node_that_is_linked_meanwhile() -> None:
    """Its own dial came through: were the failure kept, it would wait once that link ends."""
    neighbors = machine("n00", directory_of([PeerClass.FULL] * 2))
    other = NodeId("n01")
    for _ in range(8):
        neighbors.on_lost(None, other, LostReason.CONNECT_FAILED, NOW)
    neighbors.on_dialing(other)
    linked(neighbors, other, is_dialer=False)
    for _ in range(8):
        neighbors.on_lost(None, other, LostReason.CONNECT_FAILED, NOW)
    neighbors.on_lost(LinkId(1), other, LostReason.RESET, NOW)
    assert neighbors.next_dials(Instant(1_201))


def test_a_dial_runs_on_and_counts_whatever_link_its_node_makes_meanwhile() -> None:
    """Named again it would be two dials at once, of which the end of one hid the other."""
    one, other = machine("n00", directory_of([PeerClass.FULL] * 2)), NodeId("n01")
    one.on_dialing(other)
    room = one.room_to_dial()
    one.on_connected(LinkId(1), other, NOW, is_dialer=False)
    one.on_lost(LinkId(1), other, LostReason.RESET, Instant(100))
    one.check()
    assert one.is_dialing(other)
    assert (one.next_dials(Instant(5_000)), one.room_to_dial()) == ((), room)
    one.on_connected(LinkId(2), other, Instant(6_000), is_dialer=True)
    assert not one.is_dialing(other)


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (NeighborsConfig(dials_max=2, mesh_members_max=64), 4),
        (NeighborsConfig(dials_max=64, links_max=3, mesh_members_max=64), 3),
    ],
    ids=["dials", "links"],
)
def test_dials_and_links_stop_at_their_limits(config: NeighborsConfig, count: int) -> None:
    """A lonely node may have twice as many dials under way."""
    neighbors = machine("n00", directory_of([PeerClass.FULL] * 10), config)
    found = neighbors.next_dials(NOW)
    assert len(found) == count
    for one in found:
        neighbors.on_dialing(one.node_id)
    assert neighbors.next_dials(NOW) == ()


def test_visits_leave_links_for_neighbors_and_these_leave_some_for_who_is_sought() -> None:
    """Else what is fetched, or who refuses, would end the search for a way into the fabric."""
    config, directory = NeighborsConfig(dials_max=64), directory_of([PeerClass.FULL] * 40)
    last = roster_from(factory.CLUSTER, directory).circles[0].members[-1]
    one, links, now = machine(last, directory, config), 0, NOW

    def dialed(node_id: NodeId) -> None:
        nonlocal links
        links += 1
        one.on_dialing(node_id)
        one.on_connected(LinkId(links), node_id, now, is_dialer=True)
        one.on_open(LinkId(links), now)
        one.check()

    assert one.next_dials(now), "the first look, which seeks nobody"
    while one.may_visit():
        assert one.room_to_dial() > 0
        dialed(NodeId(f"visited{links}"))
    assert (links, one.room_to_dial()) == (config.links_max - DIALED_MIN - SEEK_DIALS, 0)
    for found in one.next_dials(now):
        dialed(found.node_id)
    assert links == config.links_max - SEEK_DIALS
    assert one.next_dials(now) == ()
    now = Instant(2 * SEEK_MS)
    for found in one.next_dials(now):
        dialed(found.node_id)
    assert links == config.links_max
    assert one.next_dials(Instant(4 * SEEK_MS)) == ()


def test_a_node_that_heals_two_audiences_is_dialled_first() -> None:
    """One link for two missing neighbours is cheaper than two."""
    directory = directory_of(
        [PeerClass.FULL] * 5, lambda number: (0, 1) if number in (0, 3) else (0,)
    )
    assert machine("n00", directory).next_dials(NOW)[0].node_id == "n03"


def test_a_node_no_directory_lists_belongs_to_no_circle() -> None:
    neighbors = machine("stranger", directory_of([PeerClass.FULL] * 3))
    assert neighbors.next_dials(NOW) == ()
    assert neighbors.snapshot(NOW).target == 0


def test_a_directory_that_goes_takes_its_members_along() -> None:
    neighbors = machine("n00", directory_of([PeerClass.FULL] * 3))
    assert neighbors.record_of(NodeId("n01")) is not None
    assert neighbors.is_listed(NodeId("n01"), parse_scope_id(CLUSTER_SCOPE))
    neighbors.on_directory("a directory", None)
    assert neighbors.record_of(NodeId("n01")) is None
    assert not neighbors.is_listed(NodeId("n01"), parse_scope_id(CLUSTER_SCOPE))
    assert neighbors.next_dials(NOW) == ()


def test_a_node_dials_its_directory_and_redials_who_was_lost() -> None:
    story = Story(bootstrap=(Endpoint(address="n2.example:7420", node_id=NodeId("n2")),))
    link = story.link("n2")
    directory = peers(record("n1"), record("n2"), record("n3"))
    story.announce(directory, link).persisted().stored(directory, link)
    assert story.find(Dial) == [Dial(node_id=NodeId("n3"), addresses=("n3.example:7420",))]
    story.when(PeerLost(link=link, node_id=NodeId("n2"), reason=LostReason.RESET))
    assert story.find(Dial) == []
    assert 0 <= story.newest(DialDue) <= 1_000
    story.due(DialDue)
    assert [one.node_id for one in story.find(Dial)] == ["n2"]
