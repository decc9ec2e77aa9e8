"""Getting content: the ladder in strict order, and a want that never gives up and never spins."""

from collections.abc import Callable
from random import Random

import pytest

from fabgossip.core.attempts import ATTEMPTS_FIRST, ATTEMPTS_MAX
from fabgossip.core.config import FetchingConfig, NodeConfig, RecoveryConfig
from fabgossip.core.effects import Answer, Fact, Materialize, Outcome, ReceiveContent
from fabgossip.core.events import (
    ContentFailed,
    ContentLost,
    FetchFailure,
    FetchRequest,
    LinkId,
    LostReason,
    PeerLost,
    Persisted,
    RefreshDue,
    RequestId,
    RequestMade,
    SpaceChanged,
    TimerFired,
    WantDue,
)
from fabgossip.core.fetching import Fetching
from fabgossip.core.problems import ProblemCode
from fabgossip.core.sources import Supply
from fabgossip.core.space import SpaceState, SpaceTrouble
from fabgossip.core.wants import (
    SOURCES_PER_WANT_MAX,
    EndedWant,
    Source,
    Want,
    WantState,
)
from fabgossip.model.artifact import Order
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import Holdings, HoldingsEntry, HoldingsMode, TrafficClass
from fabgossip.model.moment import Instant
from fabgossip.model.policy import DegradedPolicy
from tests.core.artifacts import (
    EVERYBODY,
    Artifact,
    node_snapshot,
    peers,
    record,
    revocations,
    routes,
    stores,
    tombstone,
)
from tests.core.story import Story

NOW = Instant(1_000)


def fail(story: Story, artifact: Artifact, reason: FetchFailure) -> Story:
    """The try under way comes to nothing."""
    link = story.only(ReceiveContent).link
    failed = ContentFailed(
        wanted=artifact.wanted, link=link, request=None, reason=reason, received=0
    )
    return story.when(failed)


def advertise(story: Story, link: LinkId, *artifacts: Artifact) -> Story:
    """A neighbour says what it holds now."""
    entry = HoldingsEntry(EVERYBODY, HoldingsMode.ONLY, tuple(one.prefix for one in artifacts))
    return story.hear(link, Holdings(sequence=9, is_whole=False, entries=(entry,)))


def fabric() -> tuple[Story, dict[str, LinkId]]:
    """Storage nodes in three places around n1, two plain neighbours, and who announces."""
    story = Story()
    first = story.link("announcer")
    directory = peers(
        record("n1", place="r1/z1/k1"),
        record("same-rack", place="r1/z1/k1", is_storage=True),
        record("same-zone", place="r1/z1/k2", is_storage=True),
        record("far", place="r2/z1/k1", is_storage=True),
        record("plain", place="r1/z1/k1"),
        record("silent", place="r1/z1/k1"),
        record("announcer", place="r9/z1/k1"),
    )
    story.accept(directory, first).accept(stores("same-rack", "same-zone", "far"), first)
    names = ("far", "plain", "same-rack", "silent", "same-zone")
    return story, {"announcer": first, **{name: story.link(name) for name in names}}


def test_the_ladder_is_climbed_in_strict_order_and_says_so() -> None:
    """Who announced it, the home endpoint, the other storage endpoints by distance, whoever
    advertises it, then other regions; who says nothing and stores nothing is never asked."""
    story, links = fabric()
    advertise(story, links["plain"], routes())
    story.announce(routes(), links["announcer"]).persisted()
    names = {link: name for name, link in links.items()}
    asked = []
    while story.find(ReceiveContent):
        link = story.only(ReceiveContent).link
        assert link is not None
        asked.append(names[link])
        fail(story, routes(), FetchFailure.MISSING)
    assert asked == ["announcer", "same-rack", "same-zone", "plain", "far"]
    want = story.node.view.want_of(routes().verified)
    assert want is not None
    assert [(one.step.value, one.node_id, one.outcome) for one in want.attempts] == [
        ("normal", "announcer", "missing"),
        ("normal", "same-rack", "missing"),
        ("rung 1", "same-zone", "missing"),
        ("rung 2", "plain", "missing"),
        ("rung 3", "far", "missing"),
        ("rung 4", None, "skipped"),
        ("rung 5", None, "skipped"),
    ]
    assert want.state is WantState.PARKED


def test_who_withholds_trust_keeps_a_new_node_from_nobody_else_to_ask() -> None:
    """It shares no audience yet, so nobody can say to it what he holds: a node that met a liar
    first must not stay without trust among honest neighbours."""
    story = Story(is_fresh=False)
    links = [story.link(name) for name in ("announcer", "n3", "n4")]
    trust = revocations(2)
    story.announce(trust, links[0]).persisted()
    asked = []
    while story.find(ReceiveContent):
        asked.append(story.only(ReceiveContent).link)
        fail(story, trust, FetchFailure.STALLED)
    assert asked[0] == links[0]
    assert sorted(one for one in asked if one is not None) == sorted(links)


def test_of_its_own_snapshot_a_new_node_asks_nobody_who_never_spoke_of_it() -> None:
    """Not everybody linked may know that it exists: the hash alone would tell."""
    story = Story(is_fresh=False)
    links = [story.link(name) for name in ("announcer", "n3", "n4")]
    snapshot = node_snapshot()
    story.announce(snapshot, links[0]).persisted()
    assert story.only(ReceiveContent).link == links[0]
    fail(story, snapshot, FetchFailure.MISSING)
    assert story.find(ReceiveContent) == []


def test_climbing_is_recorded_from_its_start_to_its_end() -> None:
    story, links = fabric()
    story.announce(routes(), links["announcer"]).persisted()
    fail(story, routes(), FetchFailure.STALLED)
    assert Fact.RECOVERY_STARTED not in story.facts()
    fail(story, routes(), FetchFailure.STALLED)
    assert Fact.RECOVERY_STARTED in story.facts()
    story.stored(routes(), links["same-zone"])
    assert Fact.RECOVERY_ENDED in story.facts()
    ended = story.node.view.want_of(routes().verified)
    assert isinstance(ended, EndedWant)
    assert (ended.state, ended.attempts[-1].outcome) == (WantState.SATISFIED, "verified")


def test_a_storage_node_that_says_it_lacks_a_content_is_not_asked() -> None:
    story = Story()
    origin, storage = story.link("n2"), story.link("n3")
    story.accept(stores("n3"), origin)
    entry = HoldingsEntry(EVERYBODY, HoldingsMode.ALL_EXCEPT, (routes().prefix,))
    story.hear(storage, Holdings(sequence=9, is_whole=True, entries=(entry,)))
    story.announce(routes(), origin).persisted()
    assert fail(story, routes(), FetchFailure.MISSING).find(ReceiveContent) == []


def test_who_tells_of_a_content_it_listed_as_lacking_is_asked_for_it() -> None:
    """The announcement is the newer word."""
    story = Story()
    origin = story.link("n2")
    entry = HoldingsEntry(EVERYBODY, HoldingsMode.ALL_EXCEPT, (routes().prefix,))
    story.hear(origin, Holdings(sequence=9, is_whole=True, entries=(entry,)))
    story.announce(routes(), origin).persisted()
    assert story.only(ReceiveContent).link == origin


def test_who_sent_a_wrong_byte_is_not_asked_again_whatever_it_says() -> None:
    """Not after the wait, not when it advertises, not over a new link: the node is barred."""
    story = Story()
    origin = story.link("n2")
    story.announce(routes(), origin).persisted()
    fail(story, routes(), FetchFailure.BAD_HASH)
    assert story.find(ReceiveContent) == []
    story.wait(60_000).due(WantDue)
    assert story.find(ReceiveContent) == []
    assert advertise(story, origin, routes()).find(ReceiveContent) == []
    story.when(PeerLost(link=origin, node_id=NodeId("n2"), reason=LostReason.EOF))
    again = story.link("n2")
    assert advertise(story, again, routes()).find(ReceiveContent) == []
    other = story.link("n3")
    assert advertise(story, other, routes()).only(ReceiveContent).link == other


def test_a_parked_want_is_tried_again_after_a_wait_of_up_to_three_times_the_last() -> None:
    """Decorrelated: never under the least, never over the most, and no two nodes alike."""
    rows = []
    for seed in range(16):
        story = Story(seed=seed)
        origin = story.link("n2")
        story.announce(routes(), origin).persisted()
        waits = [0]
        for _ in range(12):
            fail(story, routes(), FetchFailure.BUSY)
            waits.append(story.newest(WantDue))
            story.due(WantDue)
        bounds = [min(3 * max(500, one), 30_000) for one in waits]
        assert all(500 <= one <= most for one, most in zip(waits[1:], bounds, strict=False))
        rows.append(waits)
    assert len({tuple(one) for one in rows}) == len(rows)
    assert len({one[1] for one in rows}) >= len(rows) - 2, "they come back together"


@pytest.mark.parametrize("evidence", ["a link opens", "somebody advertises", "a copy comes"])
def test_a_parked_want_is_woken_by_evidence(evidence: str) -> None:
    story = Story()
    origin, other = story.link("n2"), story.link("n3")
    story.announce(routes(), origin).persisted()
    fail(story, routes(), FetchFailure.MISSING)
    assert story.find(ReceiveContent) == []
    match evidence:
        case "a link opens":
            story.accept(stores("n4", version=8), origin)
            story.link("n4")
        case "somebody advertises":
            advertise(story, other, routes())
        case _:
            story.announce(routes(), other)
    assert len(story.find(ReceiveContent)) == 1


@pytest.mark.parametrize(
    "evidence", ["who lacked it has it", "somebody announces it", "a link opens"]
)
def test_what_a_climb_comes_too_late_for_starts_the_next_one_at_once(evidence: str) -> None:
    """In the middle of rung 1 the steps before it are over, and a source has one try per climb."""
    story, links = fabric()
    story.announce(routes(), links["announcer"]).persisted()
    fail(story, routes(), FetchFailure.MISSING)
    fail(story, routes(), FetchFailure.MISSING)
    under_way = story.only(ReceiveContent)
    match evidence:
        case "who lacked it has it":
            advertise(story, links["announcer"], routes())
        case "somebody announces it":
            story.announce(routes(), links["silent"])
        case _:
            story.link("n9")
    assert story.find(ReceiveContent) == []
    story.effects = [under_way]
    tried = []
    while story.find(ReceiveContent):
        tried.append(story.only(ReceiveContent).link)
        fail(story, routes(), FetchFailure.STALLED)
    # Who announces it is a source of rung 2, which was still to come.
    assert (links["silent"] in tried) == (evidence == "somebody announces it")
    assert story.newest(WantDue) == 0
    story.due(WantDue)
    asked = {
        "who lacked it has it": [links["announcer"]],
        "somebody announces it": [],
        "a link opens": [],
    }
    assert [one.link for one in story.find(ReceiveContent)] == asked[evidence]


@pytest.mark.parametrize("reason", [FetchFailure.MISSING, FetchFailure.LOST])
@pytest.mark.parametrize("is_lost_first", [True, False], ids=["link first", "try first"])
def test_who_lost_its_link_is_asked_over_the_next_one_at_once(
    reason: FetchFailure,
    is_lost_first: bool,  # noqa: FBT001  # a case
) -> None:
    """What it lacked then says nothing of now; nor does a link that broke."""
    story = Story()
    origin = story.link("n2")
    story.announce(routes(), origin).persisted()
    tried = story.effects
    lost = PeerLost(link=origin, node_id=NodeId("n2"), reason=LostReason.EOF)
    if is_lost_first and reason is FetchFailure.LOST:
        story.when(lost)
        story.effects = tried
        fail(story, routes(), reason)
    else:
        fail(story, routes(), reason)
        story.when(lost)
    again = story.link("n2")
    assert story.only(ReceiveContent).link == again


@pytest.mark.parametrize("is_lost_first", [True, False], ids=["link first", "try first"])
def test_who_announced_is_asked_over_the_link_that_replaced_its_first_one(
    is_lost_first: bool,  # noqa: FBT001  # a case
) -> None:
    """Crossing dials leave one link of two. A new node, which knows no store yet and hears nobody
    advertise, has no other source of its own snapshot than who told it of it."""
    story = Story()
    first = story.link("n2", is_dialer=False)
    story.announce(routes(), first).persisted()
    tried = story.effects
    other = story.link("n2")
    lost = PeerLost(link=first, node_id=NodeId("n2"), reason=LostReason.DUPLICATE)
    if is_lost_first:
        story.when(lost)
        story.effects = tried
        fail(story, routes(), FetchFailure.LOST)
    else:
        story.effects = tried
        fail(story, routes(), FetchFailure.LOST)
        waits = story.effects
        story.when(lost)
        story.effects = waits
    assert story.newest(WantDue) == 0
    assert story.due(WantDue).only(ReceiveContent).link == other


def test_who_announced_is_asked_even_if_its_link_was_replaced_before_that_was_durable() -> None:
    story = Story()
    first = story.link("n2", is_dialer=False)
    pending = story.announce(routes(), first).effects
    other = story.link("n2")
    story.when(PeerLost(link=first, node_id=NodeId("n2"), reason=LostReason.DUPLICATE))
    story.effects = pending
    assert story.persisted().only(ReceiveContent).link == other


def test_a_stale_timer_wakes_nothing() -> None:
    """Woken by evidence, failed and parked again: the timer of the first wait counts no more."""
    story = Story()
    origin, other = story.link("n2"), story.link("n3")
    story.announce(routes(), origin).persisted()
    fail(story, routes(), FetchFailure.MISSING)
    (stale,) = [one for one in story.timers() if isinstance(one, WantDue)]
    advertise(story, other, routes())
    fail(story, routes(), FetchFailure.MISSING)
    story.when(TimerFired(timer=stale))
    assert story.effects == []


def test_a_superseded_want_is_void_and_its_late_bytes_are_dropped() -> None:
    story = Story()
    origin = story.link("n2")
    story.announce(routes(7), origin).persisted()
    story.announce(tombstone(8), origin).persisted()
    ended = story.node.view.want_of(routes(7).verified)
    assert ended is not None
    assert ended.state is WantState.VOID
    story.stored(routes(7), origin)
    assert [type(one).__name__ for one in story.effects] == ["Remove"]


def test_one_want_whatever_the_number_of_announcers() -> None:
    story = Story()
    first, second = story.link("n2"), story.link("n3")
    story.announce(routes(), first).persisted()
    assert story.announce(routes(), second).find(ReceiveContent) == []
    assert fail_from(story, first).only(ReceiveContent).link == second


def fail_from(story: Story, link: LinkId) -> Story:
    """The transfer from a link ends with it."""
    return story.when(
        ContentFailed(
            wanted=routes().wanted,
            link=link,
            request=None,
            reason=FetchFailure.LOST,
            received=0,
        )
    )


def test_transfers_from_one_link_stop_at_their_limit_and_go_on_when_one_ends() -> None:
    config = NodeConfig(fetching=FetchingConfig(per_link_bytes_max=8_192))
    story = Story(config=config)
    origin = story.link("n2")
    contents = [routes(7, name=f"r{n}", content=b"%d" % n) for n in range(3)]
    started = [
        len(story.announce(one, origin).persisted().find(ReceiveContent)) for one in contents
    ]
    assert started == [1, 1, 0]
    story.stored(contents[0], origin)
    assert story.only(ReceiveContent).wanted.content_hash == contents[2].content_hash


def test_trust_waits_for_no_other_class() -> None:
    """With every ordinary slot taken, a revocation list is fetched at once."""
    config = NodeConfig(fetching=FetchingConfig(policy_bytes_max=4_096))
    story = Story(config=config)
    origin = story.link("n2")
    ordinary = [routes(7, name=f"r{n}", content=b"%d" % n) for n in range(2)]
    for one in ordinary:
        story.announce(one, origin).persisted()
    assert story.find(ReceiveContent) == []
    story.announce(revocations(2), origin).persisted()
    assert story.only(ReceiveContent).traffic is TrafficClass.TRUST


def test_beyond_the_limit_of_wants_duty_is_dropped_requests_are_refused_and_trust_is_not() -> None:
    config = NodeConfig(fetching=FetchingConfig(wants_max=1))
    story = Story(config=config)
    origin = story.link("n2")
    first, second = (routes(7, name=f"r{n}", content=b"%d" % n) for n in range(2))
    assert len(story.announce(first, origin).persisted().find(ReceiveContent)) == 1
    assert story.announce(second, origin).persisted().find(ReceiveContent) == []
    assert story.node.view.want_of(second.verified) is None
    body = FetchRequest(content_hash=second.content_hash, namespace=None, timeout_ms=1_000)
    story.when(RequestMade(request=RequestId(1), body=body))
    assert story.only(Answer).outcome is Outcome.FAILED
    assert len(story.announce(revocations(2), origin).persisted().find(ReceiveContent)) == 1


def only(source: Source) -> Callable[[Want], Supply]:
    """The one source of every want."""
    return lambda _: Supply(NodeId("n0"), (source,))


def test_of_many_tries_the_first_and_the_last_are_kept() -> None:
    fetching = Fetching(FetchingConfig(), RecoveryConfig(), Random(1))
    want = fetching.on_wanted(
        routes().verified, TrafficClass.POLICY, NodeId("n1"), NOW, is_read=False
    )
    assert want is not None
    total = ATTEMPTS_MAX + 5
    for number in range(total):
        node_id = NodeId(f"n{number}")
        want.note(node_id=node_id, outcome="missing", reason="", at=NOW)
        fetching.check()
    tried = [one.node_id for one in want.attempts]
    last = ATTEMPTS_MAX - ATTEMPTS_FIRST
    assert tried == [f"n{n}" for n in (*range(ATTEMPTS_FIRST), *range(total - last, total))]


def test_of_one_wants_sources_so_many_are_remembered_and_no_more() -> None:
    """Beyond the limit the oldest leaves: of who failed, it may be asked again."""
    fetching = Fetching(FetchingConfig(), RecoveryConfig(), Random(1))
    verified = routes().verified
    want = fetching.on_wanted(verified, TrafficClass.POLICY, None, NOW, is_read=False)
    assert want is not None
    links = [LinkId(number) for number in range(SOURCES_PER_WANT_MAX + 1)]
    names = [NodeId(f"n{link}") for link in links]
    for name in names:
        fetching.on_announced(want, name, NOW)
        fetching.check()
    assert list(want.announcers) == names[1:]
    for link in links:
        source = Source(
            link=link,
            node_id=NodeId(f"n{link}"),
            is_storage=False,
            distance=0,
            verified=verified,
            says=True,
        )
        while not fetching.next_transfers(only(source), lambda: 0, NOW).started:
            fetching.on_opened(NodeId("n0"), NOW)
        fetching.on_failed(want.wanted, link, FetchFailure.BAD_HASH, 0, NOW)
        fetching.check()
    assert list(want.barred) == [NodeId(f"n{link}") for link in links[1:]]
    assert list(want.tried) == [NodeId(f"n{link}") for link in links[1:]]


def test_a_content_gone_from_our_own_disk_is_wanted_again() -> None:
    """The index said it is held, the file does not say so: peers are asked."""
    story = Story()
    origin = story.link("n2")
    story.accept(routes(), origin)
    advertise(story, origin, routes())
    failed = ContentFailed(
        wanted=routes().wanted,
        link=None,
        request=None,
        reason=FetchFailure.DISK,
        received=0,
    )
    story.when(failed)
    assert story.find(ReceiveContent)[0].link == origin


def test_a_content_found_lost_when_it_is_served_is_wanted_again() -> None:
    """Nobody reads it here but its consumers: who finds the damage is whoever asks for it."""
    story = Story()
    origin = story.link("n2")
    story.accept(routes(), origin)
    advertise(story, origin, routes())
    story.when(ContentLost(content_hash=routes().content_hash))
    assert story.find(ReceiveContent)[0].link == origin
    assert Fact.CONTENT_DAMAGED in story.facts()
    assert story.trusted == {routes().tail: (Order(2, 7), "behind")}
    story.stored(routes(), origin)
    assert story.trusted == {routes().tail: (Order(2, 7), "applying")}


def test_what_cannot_be_applied_is_read_again_and_wanted_again_if_it_is_damaged() -> None:
    """The disk says that it could not switch, not why: a second try would find the same bytes."""
    story = Story()
    origin = story.link("n2")
    story.announce(routes(), origin).persisted().stored(routes(), origin)
    token = story.only(Materialize).token
    advertise(story, origin, routes())
    story.when(Persisted(token=token, ok=False))
    again = story.only(ReceiveContent)
    assert (again.link, again.wanted) == (None, routes().wanted)
    failed = ContentFailed(
        wanted=again.wanted, link=None, request=None, reason=FetchFailure.DISK, received=0
    )
    story.when(failed)
    assert story.only(ReceiveContent).link == origin


def disk_takes(story: Story, trouble: SpaceTrouble | None) -> Story:
    return story.when(SpaceChanged(space=SpaceState(trouble=trouble)))


def refused(story: Story, reason: FetchFailure) -> Story:
    """The own disk does not take what was asked for."""
    asked = story.find(ReceiveContent)[-1]
    failed = ContentFailed(
        wanted=asked.wanted, link=asked.link, request=None, reason=reason, received=0
    )
    return story.when(failed)


@pytest.mark.parametrize(
    ("reason", "wait_ms"), [(FetchFailure.STORAGE, 60_000), (FetchFailure.DISK, 30_000)]
)
def test_what_the_own_disk_does_not_take_is_asked_of_nobody_for_a_while(
    reason: FetchFailure, wait_ms: int
) -> None:
    """Whoever is asked next brings bytes that cannot be kept; and nothing is held against who
    was."""
    story = Story()
    links = [story.link(name) for name in ("n2", "n3")]
    story.announce(routes(), links[0]).persisted()
    refused(story, reason)
    assert story.find(ReceiveContent) == []
    for link in links:
        advertise(story, link, routes())
    story.link("n4")
    assert story.find(ReceiveContent) == []
    assert story.node.view.snapshot(story.now).fetching.out_of_space == 1
    story.due(WantDue)
    assert story.now.instant == wait_ms
    assert len(story.find(ReceiveContent)) == 1
    story.stored(routes(), story.only(ReceiveContent).link)
    assert story.node.view.snapshot(story.now).fetching.out_of_space == 0


def test_what_found_no_space_is_asked_for_once_there_is_some() -> None:
    story = Story()
    origin = story.link("n2")
    story.announce(routes(), origin).persisted()
    refused(story, FetchFailure.STORAGE)
    disk_takes(story, SpaceTrouble.QUOTA)
    assert story.facts() == [Fact.STORAGE_REFUSES]
    assert story.find(ReceiveContent) == []
    disk_takes(story, None)
    assert Fact.STORAGE_TAKES in story.facts()
    assert story.only(ReceiveContent).link == origin


def test_trouble_too_short_to_be_told_of_holds_nothing_up() -> None:
    story = Story()
    origin = story.link("n2")
    story.announce(routes(), origin).persisted()
    refused(story, FetchFailure.STORAGE)
    disk_takes(story, None)
    assert story.facts() == []
    assert story.only(ReceiveContent).link == origin


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (SpaceTrouble.QUOTA, ProblemCode.STORAGE_FULL),
        (SpaceTrouble.DISK, ProblemCode.DISK_FULL),
        (SpaceTrouble.READ_ONLY, ProblemCode.STORAGE_READ_ONLY),
    ],
)
def test_trouble_with_the_disk_is_a_problem_while_it_lasts(
    trouble: SpaceTrouble, code: ProblemCode
) -> None:
    story = Story()
    disk_takes(story, trouble)
    assert code in {one.code for one in story.node.view.snapshot(story.now).problems}
    disk_takes(story, None)
    assert code not in {one.code for one in story.node.view.snapshot(story.now).problems}


def test_who_holds_all_it_knows_of_said_nothing_of_what_it_never_heard_of() -> None:
    """Or whoever announces what nobody else has yet could have honest neighbours ignored."""
    story = Story()
    hostile, honest = story.link("m1"), story.link("n3")
    entry = HoldingsEntry(EVERYBODY, HoldingsMode.ALL_EXCEPT, ())
    story.hear(honest, Holdings(sequence=1, is_whole=True, entries=(entry,)))
    fresh = [routes(7, f"r{number}", content=b"routes %d" % number) for number in range(4)]
    for one in fresh:
        story.announce(one, hostile).persisted()
        fail(story, one, FetchFailure.STALLED)
        assert story.only(ReceiveContent).link == honest
        fail(story, one, FetchFailure.MISSING)
        assert story.find(ReceiveContent) == []
    assert advertise(story, honest, fresh[-1]).only(ReceiveContent).link == honest


def full(*artifacts: Artifact) -> tuple[Story, LinkId]:
    """A node that wants two contents at most, and was told of these."""
    story = Story(config=NodeConfig(fetching=FetchingConfig(wants_max=2)))
    link = story.link("n2")
    for one in artifacts:
        story.announce(one, link).persisted()
    return story, link


def test_what_was_too_much_is_wanted_in_its_turn_and_said_to_be_missing_until_then() -> None:
    """Nobody would announce it again."""
    all_routes = [routes(name=f"r{number}", content=b"%d" % number) for number in range(5)]
    story, link = full(*all_routes)
    problems = story.node.view.snapshot(story.now).problems
    missing = [one for one in problems if one.code is ProblemCode.CONTENT_MISSING]
    assert len(missing) == 3
    assert "in its turn" in missing[0].because
    came = 0
    for _ in range(4):
        for one in all_routes:
            if isinstance(story.node.view.want_of(one.verified), Want):
                story.stored(one, link)
                came += 1
        story.due(RefreshDue)
        story.node.check()
    assert came == 5


def test_what_is_more_urgent_takes_the_place_of_what_waits() -> None:
    config = NodeConfig(fetching=FetchingConfig(wants_max=2, policy_bytes_max=4_096))
    story = Story(config=config)
    link = story.link("n2")
    under_way, waits = (routes(name=one, content=one.encode()) for one in ("r1", "r2"))
    for one in (under_way, waits, node_snapshot(degraded=DegradedPolicy())):
        story.announce(one, link).persisted()
    wanted = [isinstance(story.node.view.want_of(one.verified), Want) for one in (under_way, waits)]
    assert wanted == [True, False]
    assert isinstance(
        story.node.view.want_of(node_snapshot(degraded=DegradedPolicy()).verified), Want
    )
