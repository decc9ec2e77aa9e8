"""Whom to be connected to: a circle that holds together whoever chooses what, and patient dials."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabgossip.core.config import ConnectionsConfig, NeighborsConfig
from fabgossip.core.effects import Dial
from fabgossip.core.events import DialDue, LinkId, LostReason, PeerLost
from fabgossip.core.neighbors import THIN_LINKS, Neighbors
from fabgossip.core.rosters import roster_from
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Duration, Instant, later
from fabgossip.model.scope import parse_scope_id
from fabgossip.model.topology import Endpoint, PeerClass, PeerDirectory
from tests.core.artifacts import CLUSTER_SCOPE, EVERYBODY, IN_ACME, peers, record
from tests.core.story import Story
from tests.trust import factory

NOW = Instant(0)
CLASSES = st.sampled_from(PeerClass)


def machine(
    own: str, directory: PeerDirectory | None = None, config: NeighborsConfig | None = None
) -> Neighbors:
    neighbors = Neighbors(
        NodeId(own),
        (config or NeighborsConfig(), ConnectionsConfig()),
        (),
        Random(own),
    )
    if directory is not None:
        neighbors.on_directory("a directory", roster_from(factory.CLUSTER, directory))
    neighbors.check()
    return neighbors


def directory_of(
    classes: list[PeerClass], members: Callable[[int], tuple[int, ...]] = lambda _: (0,)
) -> PeerDirectory:
    rows = tuple(
        record(f"n{number:02}", peer_class=kind, audiences=members(number))
        for number, kind in enumerate(classes)
    )
    return PeerDirectory(
        scope=parse_scope_id(CLUSTER_SCOPE), audiences=(EVERYBODY, IN_ACME), peers=rows
    )


def settled(directory: PeerDirectory, config: NeighborsConfig) -> dict[str, set[str]]:
    """Who is linked to whom once everybody has dialled whom it misses and every dial succeeded."""
    machines = {one.node_id: machine(one.node_id, directory, config) for one in directory.peers}
    links: dict[str, set[str]] = {name: set() for name in machines}
    number = 0
    changed = True
    while changed:
        changed = False
        for name, one in machines.items():
            for candidate in one.next_dials(NOW):
                other = candidate.node_id
                if other in links[name]:
                    continue
                number += 1
                one.on_connected(LinkId(number), other, NOW, is_dialer=True)
                machines[other].on_connected(LinkId(number), name, NOW, is_dialer=False)
                links[name].add(other)
                links[other].add(name)
                changed = True
            one.check()
    return links


def reached(start: str, inside: set[str], links: dict[str, set[str]]) -> set[str]:
    """All that hang together with `start` over members alone."""
    seen, frontier = {start}, [start]
    while frontier:
        for other in links[frontier.pop()] & inside - seen:
            seen.add(other)
            frontier.append(other)
    return seen


@dataclass(frozen=True)
class Fabric:
    classes: list[PeerClass]
    in_acme: list[bool]


FABRICS = st.integers(1, 24).flatmap(
    lambda count: st.builds(
        Fabric,
        st.lists(CLASSES, min_size=count, max_size=count),
        st.lists(st.booleans(), min_size=count, max_size=count),
    )
)
SMALL = NeighborsConfig(mesh_members_max=3, quota_per_audience=2)


@given(FABRICS)
def test_every_audience_is_one_component_whoever_is_in_it(fabric: Fabric) -> None:
    """Over links between its own members only, so that no outsider has to carry it."""
    directory = directory_of(
        fabric.classes, lambda number: (0, 1) if fabric.in_acme[number] else (0,)
    )
    links = settled(directory, SMALL)
    for index in (0, 1):
        inside: set[str] = {
            one.node_id
            for one in directory.peers
            if index in one.audiences and one.peer_class is not PeerClass.THIN
        }
        thin = {
            one.node_id
            for one in directory.peers
            if index in one.audiences and one.peer_class is PeerClass.THIN
        }
        if inside:
            assert reached(min(inside), inside, links) == inside
        for name in thin:
            assert len(links[name] & inside) >= min(THIN_LINKS, len(inside))


@given(st.lists(st.sampled_from((PeerClass.CORE, PeerClass.FULL)), min_size=5, max_size=9))
def test_every_member_but_the_first_keeps_a_link_to_an_earlier_one(
    classes: list[PeerClass],
) -> None:
    """A full quota of later members is not enough: the others point upwards, in one order."""
    config = NeighborsConfig(mesh_members_max=1, quota_per_audience=1, dials_max=64)
    directory = directory_of(classes)
    names = [one.node_id for one in directory.peers]
    enough: dict[str, set[str]] = {}
    for name in names:
        asked: dict[str, set[str]] = {}
        for other in names:
            if other != name:
                one = machine(name, directory, config)
                one.on_connected(LinkId(1), other, NOW, is_dialer=True)
                asked[other] = {candidate.node_id for candidate in one.next_dials(NOW)}
        enough[name] = {other for other, dials in asked.items() if not dials}
        # Whoever lacks an earlier member dials earlier members and nobody else.
        assert all(dials == enough[name] for dials in asked.values() if dials)
    count = len(names)
    assert sorted(map(len, enough.values())) == [*range(1, count), count - 1]
    core = {one.node_id for one in directory.peers if one.peer_class is PeerClass.CORE}
    assert all(core <= enough[name] for name in names if name not in core)


@pytest.mark.parametrize("count", [2, 6, 7])
def test_up_to_six_other_members_everybody_links_to_everybody(count: int) -> None:
    links = settled(directory_of([PeerClass.FULL] * count), NeighborsConfig())
    assert all(len(one) == count - 1 for one in links.values())


def test_above_the_mesh_nobody_links_to_everybody() -> None:
    links = settled(directory_of([PeerClass.FULL] * 20), NeighborsConfig())
    assert sum(map(len, links.values())) < 20 * 19 // 2


def test_thin_nodes_are_in_nobody_s_quota_and_link_to_two() -> None:
    classes = [PeerClass.FULL] * 10 + [PeerClass.THIN] * 10
    directory = directory_of(classes)
    links = settled(directory, NeighborsConfig(dials_max=1))
    thin = {one.node_id for one in directory.peers if one.peer_class is PeerClass.THIN}
    assert all(len(links[name]) == THIN_LINKS and not links[name] & thin for name in thin)


def test_failed_dials_wait_twice_as_long_each_time_up_to_a_limit() -> None:
    config = NeighborsConfig(redial_min_ms=1_000, redial_max_ms=8_000)
    neighbors = machine("n00", directory_of([PeerClass.FULL] * 2), config)
    now, waits = NOW, []
    for _ in range(6):
        assert [one.node_id for one in neighbors.next_dials(now)] == ["n01"]
        neighbors.on_dialing(NodeId("n01"), now)
        assert neighbors.next_dials(now) == ()
        neighbors.on_lost(None, NodeId("n01"), now)
        wait = next(
            wait for wait in range(20_000) if neighbors.next_dials(later(now, Duration(wait)))
        )
        waits.append(wait)
        now = later(now, Duration(wait))
    limits = (1_000, 2_000, 4_000, 8_000, 8_000, 8_000)
    assert all(
        0.8 * limit <= wait <= 1.2 * limit for wait, limit in zip(waits, limits, strict=True)
    )


def test_an_open_link_forgets_the_failures_before_it() -> None:
    neighbors = machine("n00", directory_of([PeerClass.FULL] * 2))
    for _ in range(5):
        neighbors.on_lost(None, NodeId("n01"), NOW)
    neighbors.on_connected(LinkId(1), NodeId("n01"), NOW, is_dialer=True)
    neighbors.on_open(NodeId("n01"))
    neighbors.on_lost(LinkId(1), NodeId("n01"), NOW)
    assert neighbors.next_dials(Instant(1_201))


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (NeighborsConfig(dials_max=2, mesh_members_max=64), 2),
        (NeighborsConfig(dials_max=64, links_max=3, mesh_members_max=64), 3),
    ],
    ids=["dials", "links"],
)
def test_dials_and_links_stop_at_their_limits(config: NeighborsConfig, count: int) -> None:
    neighbors = machine("n00", directory_of([PeerClass.FULL] * 10), config)
    found = neighbors.next_dials(NOW)
    assert len(found) == count
    for one in found:
        neighbors.on_dialing(one.node_id, NOW)
    assert neighbors.next_dials(NOW) == ()


def test_a_node_that_heals_two_audiences_is_dialled_first() -> None:
    """One link for two missing neighbours is cheaper than two."""
    directory = directory_of(
        [PeerClass.FULL] * 5, lambda number: (0, 1) if number in (0, 3) else (0,)
    )
    assert machine("n00", directory).next_dials(NOW)[0].node_id == "n03"


def test_a_node_no_directory_lists_belongs_to_no_circle() -> None:
    neighbors = machine("stranger", directory_of([PeerClass.FULL] * 3))
    assert neighbors.next_dials(NOW) == ()
    assert neighbors.snapshot().target == 0


def test_a_directory_that_goes_takes_its_members_along() -> None:
    neighbors = machine("n00", directory_of([PeerClass.FULL] * 3))
    assert neighbors.record_of(NodeId("n01")) is not None
    assert neighbors.is_listed(NodeId("n01"), parse_scope_id(CLUSTER_SCOPE))
    neighbors.on_directory("a directory", None)
    assert neighbors.record_of(NodeId("n01")) is None
    assert not neighbors.is_listed(NodeId("n01"), parse_scope_id(CLUSTER_SCOPE))
    assert neighbors.next_dials(NOW) == ()


def test_only_the_answer_to_the_newest_ping_measures_the_round_trip() -> None:
    neighbors = machine("n00")
    neighbors.on_connected(LinkId(1), NodeId("n01"), NOW, is_dialer=True)
    first = neighbors.next_ping(LinkId(1), NOW)
    second = neighbors.next_ping(LinkId(1), Instant(100))
    assert (first, second) == (1, 2)
    neighbors.on_pong(LinkId(1), 1, Instant(105))
    assert neighbors.rtt_ms(LinkId(1)) is None
    neighbors.on_pong(LinkId(1), 2, Instant(107))
    assert neighbors.rtt_ms(LinkId(1)) == 7
    neighbors.on_pong(LinkId(1), 2, Instant(900))
    assert neighbors.rtt_ms(LinkId(1)) == 7


def test_a_node_dials_its_directory_and_redials_who_was_lost() -> None:
    story = Story(bootstrap=(Endpoint(address="n2.example:7420", node_id=NodeId("n2")),))
    link = story.link("n2")
    directory = peers(record("n1"), record("n2"), record("n3"))
    story.announce(directory, link).persisted().stored(directory, link)
    assert story.find(Dial) == [Dial(node_id=NodeId("n3"), addresses=("n3.example:7420",))]
    story.when(PeerLost(link=link, node_id=NodeId("n2"), reason=LostReason.RESET))
    assert story.find(Dial) == []
    assert 800 <= story.newest(DialDue) <= 1_200
    story.due(DialDue)
    assert [one.node_id for one in story.find(Dial)] == ["n2"]
