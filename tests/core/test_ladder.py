"""Each rung of the ladder: entered, won, lost and skipped; and none of them relaxes anything."""

import pytest

from fabgossip.core.config import NeighborsConfig, NodeConfig, RecoveryConfig
from fabgossip.core.effects import (
    Dial,
    Fact,
    Materialize,
    ReceiveContent,
    SetTimer,
)
from fabgossip.core.events import (
    ContentFailed,
    FetchFailure,
    LadderDue,
    LinkId,
    LostReason,
    PeerLost,
    WantDue,
)
from fabgossip.core.ladder import ASKING, IDLE_MS, SOURCES_MAX, Step, turn_ms
from fabgossip.core.silence import SILENT_MS_MIN
from fabgossip.core.wants import EndedWant, Want, WantState
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import Holdings, HoldingsEntry, HoldingsMode
from fabgossip.model.policy import DegradedPolicy, DegradedRule
from tests.core.artifacts import (
    EVERYBODY,
    Artifact,
    endpoint,
    node_snapshot,
    peers,
    record,
    revocations,
    routes,
    stores,
)
from tests.core.story import Peer, Story

CONTROL = ("control-endpoint",)
FRESH_POLICY = DegradedPolicy(
    rules=(DegradedRule(artifact_type=ArtifactType.ROUTE_POLICY_BUNDLE, max_age_s=3_600),)
)


def want_of(story: Story, artifact: Artifact | None = None) -> Want:
    """The open want of some routes."""
    want = story.node.view.want_of((artifact or routes()).verified)
    assert isinstance(want, Want)
    return want


def told(story: Story, artifact: Artifact | None = None) -> list[tuple[str, str | None, str]]:
    """What `why` shows of the ladder."""
    want = story.node.view.want_of((artifact or routes()).verified)
    assert want is not None
    return [(one.step.value, one.node_id, one.outcome) for one in want.attempts]


def fail(story: Story, reason: FetchFailure = FetchFailure.MISSING) -> Story:
    """The try under way comes to nothing."""
    tried = story.only(ReceiveContent)
    failed = ContentFailed(
        wanted=tried.wanted, link=tried.link, request=None, reason=reason, received=0
    )
    return story.when(failed)


def advertise(story: Story, link: LinkId) -> Story:
    """A neighbour says that it holds the routes."""
    entry = HoldingsEntry(EVERYBODY, HoldingsMode.ONLY, (routes().prefix,))
    return story.hear(link, Holdings(sequence=9, is_whole=False, entries=(entry,)))


def dialed(story: Story, artifact: Artifact | None = None) -> NodeId:
    """Whom a want waits to be linked to."""
    want = want_of(story, artifact)
    assert want.state is WantState.DIALING
    assert want.source is not None
    return want.source.node_id


def unreachable(story: Story, name: str) -> Story:
    """A dial fails."""
    lost = PeerLost(link=None, node_id=NodeId(name), reason=LostReason.CONNECT_FAILED)
    return story.when(lost)


def alone(
    *names: str,
    place: str = "r1/z1/k2",
    snapshot: tuple[str, ...] = (),
    bootstrap: tuple[str, ...] = (),
    config: NodeConfig | None = None,
    policy: DegradedPolicy | None = None,
) -> tuple[Story, LinkId]:
    """A node with one neighbour, which announces and holds nothing; `names` are storage nodes
    without a link, `snapshot` and `bootstrap` endpoints to start from again."""
    # No neighbour is dialled for its own sake: whoever is, is dialled to be asked.
    config = config or NodeConfig(neighbors=NeighborsConfig(mesh_members_max=1, links_max=8))
    story = Story(bootstrap=tuple(endpoint(one) for one in bootstrap), config=config)
    first = story.link("announcer")
    members = (record("n1"), record("announcer"), record("a2"), record("a3"))
    placed = tuple(record(name, place=place, is_storage=True, audiences=()) for name in names)
    story.accept(peers(*members, *placed), first)
    for other in ("a2", "a3"):
        story.link(other)
    story.accept(stores(*names), first) if names else None
    if snapshot or policy is not None:
        ends = tuple(endpoint(one) for one in snapshot)
        story.accept(node_snapshot(endpoints=ends, degraded=policy or FRESH_POLICY), first)
    story.announce(routes(), first).persisted()
    assert story.only(ReceiveContent).link == first
    return story, first


def test_the_time_and_the_sources_of_a_step_are_limited_and_all_silent_it_takes_19_s() -> None:
    assert list(SOURCES_MAX.values()) == [2, 4, 8, 4, 2]
    assert sum(IDLE_MS[step] for step in ASKING) == 19_000


@pytest.mark.parametrize(
    ("left", "sources", "turn"),
    [(1_000, 1, 1_000), (1_000, 4, 500), (300, 4, 300), (5_000, 4, 1_250)],
)
def test_the_time_of_a_step_is_shared_among_the_sources_it_has_left(
    left: int, sources: int, turn: int
) -> None:
    assert turn_ms(left, sources) == turn


def test_rung_1_dials_a_storage_endpoint_that_is_not_linked_and_asks_it() -> None:
    story, _ = alone("s1")
    fail(story)
    assert story.only(Dial).node_id == "s1"
    assert want_of(story).state is WantState.DIALING
    assert Fact.RECOVERY_STARTED in story.facts()
    guest = story.link("s1")
    asked = story.only(ReceiveContent)
    assert asked.link == guest
    story.stored(routes(), guest)
    assert told(story) == [
        ("normal", "announcer", "missing"),
        ("rung 1", "s1", "verified"),
    ]
    assert Fact.RECOVERY_ENDED in story.facts()


def test_rung_1_is_asked_in_order_of_distance_and_dials_only_whom_it_needs() -> None:
    story = Story()
    first = story.link("announcer")
    story.accept(
        peers(
            record("n1"),
            record("announcer"),
            record("near", place="r1/z1/k2", is_storage=True, audiences=()),
            record("nearer", place="r1/z1/k1", is_storage=True, audiences=()),
            record("region", place="r1/z2/k1", is_storage=True, audiences=()),
        ),
        first,
    )
    story.accept(stores("near", "nearer", "region"), first)
    story.announce(routes(), first).persisted()
    fail(story)
    for name in ("nearer", "near", "region"):
        assert [one.node_id for one in story.find(Dial)] == [name]
        unreachable(story, name)
    assert told(story)[1:4] == [
        ("rung 1", "nearer", "connect_failed"),
        ("rung 1", "near", "connect_failed"),
        ("rung 1", "region", "connect_failed"),
    ]


def first_silent(story: Story) -> None:
    """The look whether the first source asked was silent: by now it has answered."""
    story.due(LadderDue)
    assert story.now.instant == SILENT_MS_MIN


def test_a_source_that_does_not_answer_its_dial_loses_its_turn_and_may_still_come() -> None:
    """The climb goes on without it; its link is evidence, and then it is asked."""
    story, _ = alone("s1")
    fail(story)
    first_silent(story)
    assert story.newest(LadderDue) == IDLE_MS[Step.RUNG_1] - SILENT_MS_MIN
    story.due(LadderDue)
    assert told(story)[1] == ("rung 1", "s1", "timed_out")
    assert want_of(story).state is WantState.PARKED
    guest = story.link("s1")
    assert story.only(ReceiveContent).link == guest


def test_a_step_asks_so_many_sources_and_no_more() -> None:
    names = tuple(f"s{number}" for number in range(7))
    story, _ = alone(*names)
    fail(story)
    dialed = []
    while story.find(Dial):
        dialed.append(story.only(Dial).node_id)
        unreachable(story, dialed[-1])
    assert len(set(dialed)) == len(dialed) == SOURCES_MAX[Step.RUNG_1]


def test_a_step_is_over_once_it_was_silent_for_its_time() -> None:
    """Two of four sources use it up: the others are not asked in this climb."""
    names = tuple(f"s{number}" for number in range(4))
    story, _ = alone(*names)
    fail(story)
    dialed = story.find(Dial)
    first_silent(story)
    for _ in range(2):
        dialed += story.due(LadderDue).find(Dial)
    assert len(dialed) == 2
    assert [one for one in told(story) if one[0] == "rung 1"] == [
        ("rung 1", node_id, "timed_out") for _, node_id, _ in told(story)[1:3]
    ]


def test_rung_2_asks_neighbours_that_advertise_it_and_dials_nobody() -> None:
    story, _ = alone()
    plain = next(one.link for one in story.node.view.sessions() if one.node_id == "a2")
    tried = story.effects
    advertise(story, plain)
    story.effects = tried
    fail(story)
    assert (story.only(ReceiveContent).link, story.find(Dial)) == (plain, [])
    story.stored(routes(), plain)
    assert told(story) == [
        ("normal", "announcer", "missing"),
        ("rung 1", None, "skipped"),
        ("rung 2", "a2", "verified"),
    ]


def test_rung_3_asks_the_endpoints_of_the_snapshot_then_other_regions_then_the_configuration() -> (
    None
):
    story, _ = alone("far", place="r2/z1/k1", snapshot=("start",), bootstrap=("boot",))
    fail(story)
    for name in ("start", "far", "boot"):
        assert dialed(story) == name
        unreachable(story, name)
    want = want_of(story)
    assert [(one.step, one.node_id, one.reason) for one in want.attempts if one.node_id][1:] == [
        (Step.RUNG_3, "start", "snapshot endpoint, place unknown, dialled"),
        (Step.RUNG_3, "far", "storage endpoint, another region, dialled"),
        (Step.RUNG_3, "boot", "configured endpoint, place unknown, dialled"),
    ]


def test_rung_3_wins_over_a_guest_link() -> None:
    story, _ = alone(snapshot=("start",))
    fail(story)
    guest = story.link("start")
    assert story.only(ReceiveContent).link == guest
    story.stored(routes(), guest)
    assert told(story)[-1] == ("rung 3", "start", "verified")


def test_the_endpoints_of_the_snapshot_outlive_it() -> None:
    """The last valid one counts: addresses grant nothing."""
    story, first = alone(snapshot=("start",))
    tried = story.effects
    story.accept(node_snapshot(8, endpoints=()), first)
    story.effects = tried
    fail(story)
    assert story.find(Dial) == []  # a newer valid one names nobody


def test_the_control_plane_is_spared_until_rung_4() -> None:
    """It is linked, it stores, the snapshot names it: while others store too, it comes last."""
    story, _ = alone("s1", "control", snapshot=("start", "control"))
    tried = story.effects
    control = story.link(Peer(name="control", roles=CONTROL))
    story.effects = tried
    fail(story)
    unreachable(story, "s1")
    unreachable(story, "start")
    assert story.only(ReceiveContent).link == control
    assert want_of(story).step is Step.RUNG_4
    story.stored(routes(), control)
    assert [(step, node_id) for step, node_id, _ in told(story)] == [
        ("normal", "announcer"),
        ("rung 1", "s1"),
        ("rung 2", None),
        ("rung 3", "start"),
        ("rung 4", "control"),
    ]


def test_where_only_the_control_plane_stores_it_is_an_ordinary_source() -> None:
    story, _ = alone("control", snapshot=("control",))
    tried = story.effects
    control = story.link(Peer(name="control", roles=CONTROL))
    story.effects = tried
    fail(story)
    assert (story.only(ReceiveContent).link, want_of(story).step) == (control, Step.NORMAL)


def test_who_proves_to_stand_beside_the_control_plane_is_not_asked_on_rung_3() -> None:
    """Nobody says so of a node but the node itself, by claims that others signed."""
    story, _ = alone("s1", snapshot=("control",))
    fail(story)
    unreachable(story, "s1")
    assert story.only(Dial).node_id == "control"
    control = story.link(Peer(name="control", roles=CONTROL))
    assert story.only(ReceiveContent).link == control
    assert [one for one in told(story) if one[1] == "control"] == [("rung 3", "control", "barred")]
    assert want_of(story).step is Step.RUNG_4


def test_rung_4_is_paid_for_by_the_node_and_one_token_lets_all_that_wait_ask() -> None:
    config = NodeConfig(recovery=RecoveryConfig(control_burst=1))
    story = Story(config=config)
    first = story.link("announcer")
    story.accept(stores("s1", "control"), first)
    ends = (endpoint("control"),)
    story.accept(node_snapshot(endpoints=ends), first)
    control = story.link(Peer(name="control", roles=CONTROL))
    contents = [routes(7, name=f"r{n}", content=b"%d" % n) for n in range(3)]
    for one in contents[:2]:
        story.announce(one, first).persisted()
    failed = [
        ContentFailed(
            wanted=one.wanted, link=first, request=None, reason=FetchFailure.MISSING, received=0
        )
        for one in contents
    ]
    assert story.when(failed[0]).only(ReceiveContent).link == control
    assert story.when(failed[1]).only(ReceiveContent).link == control
    # What came to be wanted after the batch waits for the next token, as long as the rung may.
    story.wait(1).announce(contents[2], first).persisted()
    assert story.when(failed[2]).find(ReceiveContent) == []
    assert want_of(story, contents[2]).state is WantState.QUEUED
    first_silent(story)
    assert story.newest(LadderDue) == 10_000 - SILENT_MS_MIN
    story.due(LadderDue)
    assert story.only(ReceiveContent).link == control


def test_rung_3_is_paid_for_by_the_node_and_skipped_where_no_token_comes_in_time() -> None:
    config = NodeConfig(recovery=RecoveryConfig(endpoints_burst=1, endpoints_every_ms=60_000))
    story, first = alone(snapshot=("start",), config=config)
    fail(story)
    unreachable(story, "start")
    other = routes(7, name="r2", content=b"other")
    story.announce(other, first).persisted()
    fail(story)
    assert want_of(story, other).state is WantState.QUEUED
    first_silent(story)
    assert story.newest(LadderDue) == IDLE_MS[Step.RUNG_3] - SILENT_MS_MIN
    story.due(LadderDue)
    assert want_of(story, other).state is WantState.PARKED
    assert ("rung 3", None, "skipped") in told(story, other)


def shown(policy: DegradedPolicy | None, *, age_s: int = 0) -> Story:
    """Version 6 is in use, 7 is known, and nobody has it."""
    story = Story()
    first = story.link("announcer")
    if policy is not None:
        story.accept(node_snapshot(degraded=policy), first)
    story.accept(routes(6), first)
    story.announce(routes(7), first).persisted()
    story.wait(age_s * 1_000)
    return fail(story)


@pytest.mark.parametrize(
    ("policy", "outcome", "reason"),
    [
        (FRESH_POLICY, "in use", "2.6 was the last valid version: the signed policy allows it"),
        (
            DegradedPolicy(),
            "refused",
            "2.6 was the last valid version: no signed policy speaks of its type",
        ),
    ],
)
def test_rung_5_is_what_the_signed_policy_says_of_the_version_before(
    policy: DegradedPolicy, outcome: str, reason: str
) -> None:
    story = shown(policy)
    last = want_of(story).attempts[-1]
    assert (last.step, last.node_id, last.outcome, last.reason) == (
        Step.RUNG_5,
        None,
        outcome,
        reason,
    )
    last_good = story.node.view.last_good(story.node.view.heads_of(routes(7).content_hash)[0])
    assert last_good is not None
    assert last_good.is_allowed == (outcome == "in use")
    # A decision, not a deed: nothing is switched, taken away or accepted by it.
    assert story.find(Materialize) == []
    assert story.trusted[routes(7).tail][1] == "behind"


def test_rung_5_is_skipped_where_there_is_no_version_before() -> None:
    story, _ = alone(policy=FRESH_POLICY)
    fail(story)
    assert told(story)[-1] == ("rung 5", None, "skipped")


def test_what_rung_5_left_in_use_is_forgotten_once_the_content_comes() -> None:
    story = shown(FRESH_POLICY)
    assert story.node.view.snapshot(story.now).fetching.last_good == 1
    link = story.link("n3")
    advertise_of = HoldingsEntry(EVERYBODY, HoldingsMode.ONLY, (routes(7).prefix,))
    story.hear(link, Holdings(sequence=9, is_whole=False, entries=(advertise_of,)))
    story.stored(routes(7), story.only(ReceiveContent).link)
    assert story.node.view.snapshot(story.now).fetching.last_good == 0
    assert isinstance(story.node.view.want_of(routes(7).verified), EndedWant)


def test_climbs_that_find_nobody_to_ask_do_not_fill_the_trace() -> None:
    story, _ = alone()
    fail(story)
    for _ in range(20):
        story.due(WantDue)
    assert len(told(story)) <= 8 + len(Step)
    assert [one[2] for one in told(story)[-5:]] == ["skipped"] * 5


def test_a_new_node_asks_the_endpoints_of_its_configuration_for_its_own_trust_lane() -> None:
    """It believes nothing yet, so it knows of no directory and no snapshot."""
    story = Story(bootstrap=(endpoint("boot"), endpoint("other")), is_fresh=False)
    first = story.link("boot")
    story.announce(revocations(2), first).persisted()
    fail(story)
    assert dialed(story, revocations(2)) == "other"
    second = story.link("other")
    assert story.only(ReceiveContent).link == second
    story.stored(revocations(2), second)
    assert told(story, revocations(2))[-1] == ("rung 3", "other", "verified")


def test_links_that_end_as_links_do_shut_nobody_out() -> None:
    """A visit that is over, or a link that lived its time, says nothing of how its peer serves."""
    story = Story()
    for _ in range(4):
        link = story.wait(1).link("s1")
        lost = PeerLost(link=link, node_id=NodeId("s1"), reason=LostReason.LIFE)
        story.when(lost)
    assert story.node.view.snapshot(story.now).fetching.shut_out == 0
    for _ in range(4):
        story.wait(1)
        failed = PeerLost(link=None, node_id=NodeId("s1"), reason=LostReason.CONNECT_FAILED)
        story.when(failed)
    assert story.node.view.snapshot(story.now).fetching.shut_out == 1


def test_who_has_as_many_links_as_it_may_dials_nobody() -> None:
    config = NodeConfig(neighbors=NeighborsConfig(mesh_members_max=1, links_max=3))
    story, _ = alone("s1", snapshot=("start",), config=config)
    fail(story)
    assert story.find(Dial) == []
    assert want_of(story).state is WantState.PARKED


def test_why_names_who_would_be_asked_next_in_order() -> None:
    story, _ = alone("s1", "s2", snapshot=("start",))
    want = want_of(story)
    upcoming = story.node.view.upcoming(want, story.now)
    first, second = upcoming[0][1], upcoming[1][1]
    assert [step for step, _, _ in upcoming] == [Step.RUNG_1, Step.RUNG_1, Step.RUNG_3]
    fail(story)
    assert story.only(Dial).node_id == first
    unreachable(story, first)
    assert story.only(Dial).node_id == second


def test_looking_changes_nothing() -> None:
    story, _ = alone("s1")
    want = want_of(story)
    before = repr(want)
    story.node.view.upcoming(want, story.now)
    assert repr(want) == before


def test_one_timer_is_out_for_a_turn_however_often_something_happens() -> None:
    story, _ = alone("s1")
    fail(story)
    for number in range(3):
        story.wait(1)
        story.announce(routes(7, name=f"other{number}", content=b"%d" % number), LinkId(1))
        assert [one for one in story.find(SetTimer) if isinstance(one.timer, LadderDue)] == []


def shut_out(story: Story, *names: str) -> Story:
    """Sources failed three times in a row, whatever they were asked for."""
    for name in names:
        for _ in range(3):
            story.wait(1)
            unreachable(story, name)
    return story


def test_who_fails_whatever_it_is_asked_for_is_not_asked_and_why_says_so() -> None:
    story, _ = alone("s1", "s2")
    tried = story.effects
    shut_out(story, "s1")
    story.effects = tried
    fail(story)
    assert dialed(story) == "s2"
    unreachable(story, "s2")
    assert [(step, node_id, outcome) for step, node_id, outcome in told(story)[1:3]] == [
        ("rung 1", "s2", "connect_failed"),
        ("rung 1", "s1", "open"),
    ]
    assert story.node.view.snapshot(story.now).fetching.shut_out == 1


def test_where_all_of_a_rung_are_shut_out_the_one_nearest_to_its_probe_gets_one_request() -> None:
    story, _ = alone("s1", "s2")
    tried = story.effects
    shut_out(story, "s1", "s2")
    story.effects = tried
    fail(story)
    probed = dialed(story)
    unreachable(story, probed)
    assert len([one for one in told(story) if one[0] == "rung 1" and one[2] != "open"]) == 1


def test_the_control_plane_is_left_alone_while_it_is_shut_out() -> None:
    story, _ = alone("s1", "control", snapshot=("control",))
    tried = story.effects
    control = story.link(Peer(name="control", roles=CONTROL))
    story.when(PeerLost(link=control, node_id=NodeId("control"), reason=LostReason.EOF))
    shut_out(story, "control")
    story.effects = tried
    fail(story)
    unreachable(story, "s1")
    assert ("rung 4", "control", "open") in told(story)
    assert want_of(story).state is WantState.PARKED


def test_missing_is_an_answer_and_shuts_nobody_out() -> None:
    """One round trip, the next source, no penalty but for this content."""
    story = Story()
    first = story.link("announcer")
    contents = [routes(7, name=f"r{n}", content=b"%d" % n) for n in range(5)]
    for one in contents:
        story.announce(one, first).persisted()
        fail(story)
    assert story.node.view.snapshot(story.now).fetching.shut_out == 0


def test_a_source_that_lacked_it_is_passed_over_ten_seconds_and_longer_each_time() -> None:
    story, _ = alone()
    limits = [10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]
    for limit in limits:
        fail(story)
        passed_over = want_of(story).tried[NodeId("announcer")].until - story.now.instant
        assert limit * 4 // 5 <= passed_over <= limit * 6 // 5
        story.wait(passed_over).due(WantDue)


def test_a_source_that_lacked_it_is_asked_once_it_advertises_it() -> None:
    story, first = alone()
    fail(story)
    assert advertise(story, first).only(ReceiveContent).link == first
