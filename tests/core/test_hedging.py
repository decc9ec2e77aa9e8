"""A silent source costs a moment, not its turn; and the others are not asked much more for it."""

from dataclasses import replace

import pytest

from fabgossip.core.attempts import OPEN
from fabgossip.core.circuits import HALF_FAILED, IN_A_ROW
from fabgossip.core.effects import CancelContent, ReceiveContent
from fabgossip.core.events import (
    ContentFailed,
    ContentStored,
    FetchFailure,
    LadderDue,
    LinkId,
    LostReason,
    PeerLost,
    PingDue,
    TimerFired,
)
from fabgossip.core.hedging import TOKEN, TOKENS_MAX
from fabgossip.core.ladder import IDLE_MS, Step
from fabgossip.core.silence import (
    PATIENCE,
    READING_MS,
    SHORT_TURN_MS_MIN,
    SILENT_MS_MAX,
    SILENT_MS_MIN,
    SMALL_BYTES_MAX,
    UNKNOWN_MS,
    silent_after,
)
from fabgossip.core.sources import Supply
from fabgossip.core.wants import EndedWant, Origin, Source, Want, WantState
from fabgossip.model.authority import RevokedKind
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import Ping, Pong, TrafficClass
from tests.core.artifacts import Artifact, acme_routes, revocations, revoked, routes
from tests.core.story import Story
from tests.core.test_backlog import ASKER, Wanting, absent, linked
from tests.core.test_fetching import fabric


def silent(content: bytes = b"small") -> tuple[Story, dict[str, LinkId], Artifact]:
    """Who announced it was asked, and has said nothing for a moment."""
    story, links = fabric()
    wanted = routes(content=content)
    story.announce(wanted, links["announcer"]).persisted()
    assert story.only(ReceiveContent).link == links["announcer"]
    story.due(LadderDue)
    return story, links, wanted


def test_how_long_a_path_is_says_the_least_of_its_newest_round_trips() -> None:
    """The newest one alone may have been measured while either end was busy."""
    story, links = fabric()
    story.when(TimerFired(timer=PingDue(link=links["announcer"])))
    (ping,) = [one for one in story.sent(links["announcer"]) if isinstance(one, Ping)]
    story.wait(500).hear(links["announcer"], Pong(sequence=ping.sequence))
    before = story.now.instant
    story.announce(routes(), links["announcer"]).persisted()
    story.due(LadderDue)
    assert story.now.instant - before == SILENT_MS_MIN


def failed(story: Story, wanted: Artifact, link: LinkId) -> Story:
    reason = FetchFailure.MISSING
    return story.when(
        ContentFailed(wanted=wanted.wanted, link=link, request=None, reason=reason, received=0)
    )


def ended(story: Story, wanted: Artifact) -> list[tuple[str | None, str]]:
    want = story.node.view.want_of(wanted.verified)
    assert isinstance(want, EndedWant)
    return [(one.node_id, one.outcome) for one in want.attempts]


def test_the_next_source_of_the_step_is_asked_beside_a_silent_one() -> None:
    story, links, wanted = silent()
    assert story.now.instant == SILENT_MS_MIN
    assert story.only(ReceiveContent).link == links["same-rack"], "the home endpoint"
    want = story.node.view.want_of(wanted.verified)
    assert isinstance(want, Want)
    assert want.reason == "home endpoint, same rack, while announcer is silent"
    assert (want.step, want.asked, want.state) == (Step.NORMAL, 2, WantState.FETCHING)


def test_whoever_brings_it_first_ends_the_other() -> None:
    for first, outcomes in (
        ("announcer", [("announcer", "verified"), ("same-rack", "cancelled")]),
        ("same-rack", [("same-rack", "verified"), ("announcer", "cancelled")]),
    ):
        story, links, wanted = silent()
        story.stored(wanted, links[first])
        (other,) = {"announcer", "same-rack"} - {first}
        cancelled = story.only(CancelContent)
        assert (cancelled.link, cancelled.content_hash) == (links[other], wanted.content_hash)
        assert ended(story, wanted) == outcomes
        # Its answer may have been on its way.
        story.when(ContentStored(wanted=wanted.wanted, link=links[other], content=wanted.content))
        assert story.find(CancelContent) == []


@pytest.mark.parametrize("first", ["announcer", "same-rack"])
def test_where_one_fails_the_other_goes_on(first: str) -> None:
    story, links, wanted = silent()
    (other,) = {"announcer", "same-rack"} - {first}
    assert failed(story, wanted, links[first]).find(ReceiveContent) == []
    want = story.node.view.want_of(wanted.verified)
    assert isinstance(want, Want)
    assert want.source is not None
    assert want.source.node_id == other
    # Only once both did the next step begins.
    assert failed(story, wanted, links[other]).only(ReceiveContent).link == links["same-zone"]
    assert want.step is Step.RUNG_1


def test_one_whose_link_ends_leaves_the_other() -> None:
    story, links, wanted = silent()
    lost = PeerLost(link=links["same-rack"], node_id=NodeId("same-rack"), reason=LostReason.EOF)
    story.when(lost).when(
        ContentFailed(
            wanted=wanted.wanted, link=links["same-rack"], request=None,
            reason=FetchFailure.LOST, received=0,
        )
    )  # fmt: skip
    assert story.find(ReceiveContent) == []
    story.stored(wanted, links["announcer"])
    assert ended(story, wanted)[-1] == ("announcer", "verified")
    assert story.find(CancelContent) == []


def test_nobody_is_asked_beside_for_a_large_content() -> None:
    story, _, _ = silent(bytes(SMALL_BYTES_MAX + 1))
    assert story.find(ReceiveContent) == []


def test_nobody_is_asked_beside_who_is_not_of_the_step() -> None:
    story, links = fabric()
    wanted = routes()
    story.announce(wanted, links["announcer"]).persisted()
    failed(story, wanted, links["announcer"])
    failed(story, wanted, links["same-rack"])
    assert story.only(ReceiveContent).link == links["same-zone"]
    story.wait(2 * SILENT_MS_MIN).when(TimerFired(timer=LadderDue()))
    assert story.find(ReceiveContent) == []


def test_nobody_is_asked_beside_for_what_can_wait() -> None:
    node = Wanting(both)
    wanted = routes()
    want = node.fetching.on_wanted(
        wanted.verified, TrafficClass.BULK, None, node.now, is_read=False
    )
    assert want is not None
    for name in ("n2", "n3"):
        node.fetching.on_announced(want, NodeId(name), node.now)
    assert node.step().started == (want,)
    node.wait(UNKNOWN_MS)
    assert node.step().started == ()


@pytest.mark.parametrize("step", [Step.RUNG_3, Step.RUNG_4])
def test_endpoints_that_everybody_turns_to_are_asked_one_after_the_other(step: Step) -> None:
    def supply(want: Want) -> Supply:
        sources = (linked(name, want.verified) for name in ("n2", "n3"))
        if step is Step.RUNG_4:
            return Supply(ASKER, tuple(replace(one, is_control=True) for one in sources))
        return Supply(ASKER, tuple(replace(one, origin=Origin.SNAPSHOT) for one in sources))

    node = Wanting(supply)
    want = node.want(routes())
    assert node.step().started == (want,)
    assert want.step is step
    node.wait(UNKNOWN_MS)
    assert node.step().started == ()


@pytest.mark.parametrize(
    ("rtt_ms", "expected"),
    [(None, UNKNOWN_MS), (0, SILENT_MS_MIN), (60, 120 + READING_MS), (900, SILENT_MS_MAX)],
)
def test_how_long_a_source_may_be_silent(rtt_ms: int | None, expected: int) -> None:
    source = Source(
        link=LinkId(1), node_id=NodeId("n2"), is_storage=False, distance=0, verified=None,
        says=None, rtt_ms=rtt_ms,
    )  # fmt: skip
    assert silent_after(source) == expected


def turn_of(artifact: Artifact, *others: Source, rtt_ms: int | None = None) -> int:
    """How long whoever announced it has, where these can be asked later on."""
    first = replace(linked("n2", artifact.verified), rtt_ms=rtt_ms)
    node = Wanting(lambda _: Supply(ASKER, (first, *others)))
    want = node.want(artifact, "n2")
    assert node.step().started == (want,)
    return want.turn_ms


def stores(artifact: Artifact) -> tuple[Source, Source]:
    """The home endpoint, and another one."""
    near, far = (
        replace(linked(name, artifact.verified), is_storage=True, distance=distance)
        for name, distance in (("s1", 0), ("s2", 1))
    )
    return near, far


def test_a_source_has_a_short_turn_where_another_endpoint_could_be_asked_at_once() -> None:
    """However few sources its step has; and all of the step where it is the only one there is."""
    small, large = routes(), routes(content=bytes(SMALL_BYTES_MAX + 1))
    assert turn_of(small, rtt_ms=0) == IDLE_MS[Step.NORMAL]
    assert turn_of(small, *stores(small), rtt_ms=0) == SHORT_TURN_MS_MIN
    assert turn_of(small, *stores(small), rtt_ms=30) == PATIENCE * (60 + READING_MS)
    assert turn_of(large, *stores(large), rtt_ms=0) == IDLE_MS[Step.NORMAL] // 2


def test_a_neighbor_s_word_shortens_nobody_s_turn() -> None:
    """One that says it has everything, and is always busy, would have others shut out."""
    boaster = linked("n3", routes().verified, says=True)
    assert turn_of(routes(), boaster, rtt_ms=0) == IDLE_MS[Step.NORMAL]


def test_a_source_whose_link_is_in_doubt_comes_last_and_is_asked_beside_nobody() -> None:
    """Of its step; where there is nobody else it is asked all the same."""

    def supply(want: Want) -> Supply:
        doubted = replace(linked("n2", want.verified), is_doubted=True)
        return Supply(ASKER, (doubted, linked("n3", want.verified)))

    node = Wanting(supply)
    want = node.want(routes(), "n2", "n3")
    assert node.step().started == (want,)
    assert want.source is not None
    assert want.source.node_id == "n3"
    node.wait(UNKNOWN_MS)
    assert node.step().started == ()
    node.fetching.on_failed(
        want.wanted, want.source.link or LinkId(0), FetchFailure.MISSING, 0, node.now
    )
    assert node.step().started == (want,)
    assert want.source.node_id == "n2"


def both(want: Want) -> Supply:
    return Supply(ASKER, tuple(linked(name, want.verified) for name in want.announcers))


def test_of_an_audience_s_requests_one_in_25_is_such_a_one_and_two_more() -> None:
    node, beside = Wanting(both), 0
    for number in range(100):
        want = node.want(routes(name=f"r{number}", content=b"%d" % number), "n2", "n3")
        node.step()
        node.wait(UNKNOWN_MS)
        beside += len(node.step().started)
        for one in want.tries:
            assert one.source.link is not None
            node.fetching.on_stored(want.wanted, one.source.link, node.now)
            break
    assert beside == TOKENS_MAX + (100 - TOKENS_MAX) // TOKEN


def test_what_one_audience_uses_up_is_not_missing_to_another() -> None:
    """Who knows nothing of the other would see it in whom it asks."""
    node = Wanting(both)
    for number in range(TOKENS_MAX + 1):
        node.want(routes(name=f"r{number}", content=b"%d" % number), "n2", "n3")
    node.step()
    node.wait(UNKNOWN_MS)
    assert len(node.step().started) == TOKENS_MAX
    node.want(acme_routes(), "n2", "n3")
    node.step()
    node.wait(UNKNOWN_MS)
    assert len(node.step().started) == 1


def hedge(node: Wanting, number: int) -> Want:
    """A content is wanted, whoever is asked first is silent, and somebody else is asked beside."""
    want = node.want(routes(name=f"r{number}", content=b"%d" % number), "n2", "n3")
    node.step()
    node.wait(UNKNOWN_MS)
    (hedged,) = node.step().started
    assert hedged is want
    return want


def with_tokens(node: Wanting) -> None:
    """As many requests as one beside another takes are made and answered."""
    for number in range(TOKENS_MAX * TOKEN):
        want = node.want(routes(name=f"t{number}", content=b"t%d" % number), "n9")
        node.step()
        assert want.source is not None
        node.fetching.on_stored(want.wanted, want.source.link, node.now)


def test_who_is_silent_while_others_answer_is_shut_out_like_one_that_fails() -> None:
    """Half a failure each; whoever was asked after the winner is not to blame."""

    def near_first(want: Want) -> Supply:
        sources = (linked(name, want.verified) for name in want.announcers)
        return Supply(ASKER, tuple(replace(one, distance=one.node_id == "n3") for one in sources))

    node = Wanting(near_first)
    for number in range(IN_A_ROW // HALF_FAILED):
        assert node.fetching.snapshot(node.now).shut_out == 0
        with_tokens(node)
        want = hedge(node, number)
        first, second = want.tries
        assert (first.source.node_id, second.source.node_id) == ("n2", "n3")
        node.fetching.on_stored(want.wanted, second.source.link, node.now)
    assert node.fetching.snapshot(node.now).shut_out == 1


def lose_turns(node: Wanting, wants: list[Want]) -> None:
    for want in wants:
        assert want.source is not None
        assert want.source.link is not None
        node.fetching.on_failed(want.wanted, want.source.link, FetchFailure.STALLED, 0, node.now)


def test_who_loses_three_turns_in_a_row_is_shut_out() -> None:
    """A content each waits for them, and no more than three."""
    node = Wanting(lambda want: Supply(ASKER, (linked("n2", want.verified),)))
    for number in range(3):
        assert node.fetching.snapshot(node.now).shut_out == 0
        want = node.want(routes(name=f"r{number}", content=b"%d" % number), "n2")
        node.step()
        node.wait(SHORT_TURN_MS_MIN)
        lose_turns(node, [want])
    assert node.fetching.snapshot(node.now).shut_out == 1


def test_who_has_no_link_when_its_turn_is_over_half_fails() -> None:
    """The dial may still come: six in a row, each begun after the last one, shut it out."""
    node = Wanting(lambda want: Supply(ASKER, (), lambda: (absent("s1"),)))
    for number in range(IN_A_ROW // HALF_FAILED):
        assert node.fetching.snapshot(node.now).shut_out == 0
        want = node.want(routes(name=f"r{number}", content=b"%d" % number))
        node.step()
        assert want.state is WantState.DIALING
        node.wait(IDLE_MS[Step.RUNG_1])
        node.fetching.on_turns_over(node.now)
        node.fetching.on_named(want.goal.content_hash, ())
    assert node.fetching.snapshot(node.now).shut_out == 1


def test_dials_that_began_together_fail_together() -> None:
    node = Wanting(lambda want: Supply(ASKER, (), lambda: (absent("s1"),)))
    for number in range(2 * IN_A_ROW):
        node.want(routes(name=f"r{number}", content=b"%d" % number))
        node.step()
        node.wait(10)
    for _ in range(2 * IN_A_ROW):
        node.wait(IDLE_MS[Step.RUNG_1] - 10 * 2 * IN_A_ROW if not _ else 10)
        node.fetching.on_turns_over(node.now)
    assert node.fetching.snapshot(node.now).shut_out == 0


def is_asked_of_another_audience(node: Wanting) -> bool:
    """Whether the source of all this is asked, or dialled, for what is an organisation's."""
    want = node.want(acme_routes(), "n2")
    turn = node.step()
    return want in (*turn.started, *turn.dialing)


def test_who_is_shut_out_for_one_audience_is_asked_for_another() -> None:
    """Lost turns, hedges that were faster, dials that came to nothing: each for its own."""
    turns = Wanting(lambda want: Supply(ASKER, (linked("n2", want.verified),)))
    dials = Wanting(lambda want: Supply(ASKER, (), lambda: (absent("n2"),)))
    late = Wanting(lambda want: Supply(ASKER, (), lambda: (absent("n2"),)))
    for number in range(IN_A_ROW):
        for node in (turns, dials, late):
            want = node.want(routes(name=f"r{number}", content=b"%d" % number), "n2")
            node.step()
            node.wait(IDLE_MS[Step.NORMAL])
            if want.source is None:
                continue
            if node is turns:
                lose_turns(node, [want])
            elif node is dials:
                node.fetching.on_unreached(NodeId("n2"), node.now, for_company=False)
            else:
                node.fetching.on_turns_over(node.now)
    for node in (turns, dials, late):
        assert node.fetching.snapshot(node.now).shut_out == 1
        assert is_asked_of_another_audience(node)


def test_a_dial_for_company_that_failed_counts_for_all_audiences() -> None:
    node = Wanting(lambda want: Supply(ASKER, (), lambda: (absent("n2"), absent("n3"))))
    for _ in range(3):
        node.fetching.on_unreached(NodeId("n2"), node.now, for_company=True)
        node.wait(1)
    want = node.want(acme_routes())
    assert node.step().dialing == (want,)
    assert want.source is not None
    assert want.source.node_id == "n3"


def test_a_probe_for_a_manifest_that_is_gone_is_over() -> None:
    """The same content stands in another audience: the circuit of the one before may be probed."""
    node = Wanting(lambda want: Supply(ASKER, (linked("n2", want.verified),)))
    for number in range(3):
        want = node.want(routes(name=f"r{number}", content=b"%d" % number), "n2")
        node.step()
        node.wait(IDLE_MS[Step.NORMAL])
        lose_turns(node, [want])
        node.fetching.on_named(want.goal.content_hash, ())
    node.wait(20_000)
    other = acme_routes()
    first = routes(content=other.content)
    want = node.want(first, "n2")
    assert node.step().started == (want,)
    assert node.fetching.on_named(want.goal.content_hash, (other.verified,)) == ()
    assert want.audience == other.manifest.audience
    assert want.source is not None
    node.fetching.on_stored(want.wanted, want.source.link, node.now)
    again = node.want(routes(name="next", content=b"next"), "n2")
    assert node.step().started == (again,), "the probe of the first audience is over"


def test_one_pause_of_a_source_is_one_failure_however_much_waits_for_it() -> None:
    node = Wanting(lambda want: Supply(ASKER, (linked("n2", want.verified),)))
    wants = []
    for number in range(10):
        wants.append(node.want(routes(name=f"r{number}", content=b"%d" % number), "n2"))
        node.step()
        node.wait(1)
    node.wait(SHORT_TURN_MS_MIN)
    for want in wants:
        lose_turns(node, [want])
        node.wait(1)
    assert node.fetching.snapshot(node.now).shut_out == 0


def test_who_was_asked_after_the_winner_is_not_to_blame() -> None:
    node = Wanting(both)
    for number in range(4 * IN_A_ROW):
        with_tokens(node)
        want = hedge(node, number)
        first, _ = want.tries
        node.fetching.on_stored(want.wanted, first.source.link, node.now)
    assert node.fetching.snapshot(node.now).shut_out == 0


def test_a_step_whose_only_source_is_shut_out_is_left_where_a_later_one_has_somebody() -> None:
    """Else every content would ask it once more, and wait."""
    is_alone = True

    def supply(want: Want) -> Supply:
        first = linked("n2", want.verified)
        return Supply(
            ASKER, (first,) if is_alone else (first, linked("n3", want.verified, says=True))
        )

    node = Wanting(supply)
    for number in range(3):
        want = node.want(routes(name=f"r{number}", content=b"%d" % number), "n2")
        node.step()
        assert want.source is not None
        link = want.source.link or LinkId(0)
        node.fetching.on_failed(want.wanted, link, FetchFailure.BAD_LENGTH, 0, node.now)
        node.wait(1)
    assert node.fetching.snapshot(node.now).shut_out == 1
    alone = node.want(routes(name="ra", content=b"alone"), "n2")
    assert alone in node.step().started, "there is nobody else"
    node.fetching.on_failed(
        alone.wanted, LinkId(int.from_bytes(b"n2")), FetchFailure.BAD_LENGTH, 0, node.now
    )
    node.wait(1)
    is_alone = False
    want = node.want(routes(name="rb", content=b"not alone"), "n2")
    assert want in node.step().started
    assert want.source is not None
    assert (want.source.node_id, want.step) == ("n3", Step.RUNG_2)
    assert [(one.node_id, one.outcome) for one in want.attempts if one.node_id] == [("n2", OPEN)]


def test_what_waits_for_the_disk_takes_every_question_back() -> None:
    for reason in (FetchFailure.STORAGE, FetchFailure.CONTRADICTED):
        story, links, wanted = silent()
        story.when(
            ContentFailed(
                wanted=wanted.wanted, link=links["same-rack"], request=None, reason=reason,
                received=0,
            )
        )  # fmt: skip
        assert [one.link for one in story.find(CancelContent)] == [links["announcer"]]


def test_who_is_asked_already_is_not_named_as_the_next() -> None:
    story, _, wanted = silent()
    want = story.node.view.want_of(wanted.verified)
    assert isinstance(want, Want)
    named = {node_id for _, node_id, _ in story.node.view.upcoming(want, story.now)}
    assert named.isdisjoint({"announcer", "same-rack"})


def test_trust_is_hedged_too() -> None:
    story, links = fabric()
    wanted = revocations(9, revoked(RevokedKind.NODE, bytes(32)))
    story.announce(wanted, links["announcer"]).persisted()
    assert story.only(ReceiveContent).traffic is TrafficClass.TRUST
    story.due(LadderDue)
    assert story.only(ReceiveContent).link != links["announcer"]
