"""The node as a whole: the order of what it does about one artifact, and what it starts from."""

import pytest

from fabgossip.core.effects import (
    Answer,
    Dial,
    Disconnect,
    Fact,
    Materialize,
    Outcome,
    Persist,
    ReceiveContent,
    Record,
    Remove,
    Send,
)
from fabgossip.core.events import (
    ContentFailed,
    ContentStored,
    FetchFailure,
    FetchRequest,
    LinkId,
    LostReason,
    PeerLost,
    PingDue,
    RequestDue,
    RequestId,
    RequestMade,
    SilenceDue,
    SubmitRequest,
    TimerFired,
)
from fabgossip.core.wants import wanted_from
from fabgossip.model.artifact import Order
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import (
    Announce,
    Announced,
    Bye,
    ByeReason,
    Have,
    Message,
    Ping,
    Pong,
    TrafficClass,
)
from fabgossip.model.persistence import PutEvidence, PutHead
from fabgossip.model.topology import Endpoint
from tests.core.artifacts import EVERYBODY, Artifact, acme_routes, routes, tombstone, update
from tests.core.story import Story, announcement
from tests.wire.samples import ping

REQUEST = RequestId(1)


def submit(story: Story, artifact: Artifact, request: RequestId = REQUEST) -> Story:
    return story.when(RequestMade(request=request, body=SubmitRequest(envelope=artifact.envelope)))


def test_what_an_operator_submits_is_on_record() -> None:
    """Once if it is taken; refused it is a rejection from there; known already it is none."""
    story = submit(Story(), routes(8))
    assert story.facts().count(Fact.SUBMITTED) == 1
    (record,) = [one for one in story.find(Record) if one.fact is Fact.SUBMITTED]
    assert dict(record.fields) == {
        "source": "submit",
        "namespace": routes(8).manifest.namespace.text,
        "order": "2.8",
    }
    story.persisted()
    assert Fact.SUBMITTED not in submit(story, routes(8), RequestId(8)).facts()
    refused = submit(story, routes(7), RequestId(9)).facts()
    assert refused == [Fact.ARTIFACT_REJECTED]


def test_an_artifact_is_durable_then_fetched_then_applied_then_told() -> None:
    """Each step waits for the one before: nobody hears of what this node could not serve."""
    story = Story()
    origin, other = story.link("n2"), story.link("n3")
    story.announce(routes(), origin)
    token = story.only(Persist).token
    story.then(Persist(token=token, changes=(PutHead(verified=routes().verified),)))
    assert story.trusted == {"routes/r1": (Order(2, 7), "persisting")}

    story.persisted()
    wanted = wanted_from(routes().verified, is_read=False)
    story.then(
        ReceiveContent(
            wanted=wanted,
            link=origin,
            traffic=TrafficClass.POLICY,
            idle_ms=1_000,
            turn_ms=1_000,
            audience=routes().manifest.audience,
        )
    )
    assert story.trusted == {"routes/r1": (Order(2, 7), "behind")}

    story.stored(routes(), origin)
    switch = story.only(Materialize)
    story.then(
        switch,
        Send(
            link=other,
            message=announcement(routes()),
            traffic=TrafficClass.POLICY,
            audience=EVERYBODY,
        ),
    )
    assert (switch.namespace, switch.order, switch.activate) == (
        routes().manifest.namespace.text,
        Order(2, 7),
        True,
    )
    assert story.trusted == {"routes/r1": (Order(2, 7), "applying")}

    story.materialized()
    story.then()
    assert story.trusted == {"routes/r1": (Order(2, 7), "current")}
    assert story.facts() == [Fact.ARTIFACT_CURRENT]


def test_a_manifest_the_disk_refused_is_neither_wanted_nor_told() -> None:
    """A failed write leaves no trace but the record of it."""
    story = Story()
    story.link("n3")
    story.announce(routes(), story.link("n2")).persisted(ok=False)
    story.then()
    assert story.facts() == [Fact.STORAGE_FAILED]


def test_a_tombstone_is_durable_before_it_is_passed_on_and_takes_the_content_away() -> None:
    """Withdrawal: the old bytes go, the local state is withdrawn, the others are told at once."""
    story = Story()
    origin, other = story.link("n2"), story.link("n3")
    story.accept(routes(7), origin)
    story.announce(tombstone(8), origin)
    story.then(
        Persist(
            token=story.only(Persist).token, changes=(PutHead(verified=tombstone(8).verified),)
        ),
    )
    story.persisted()
    switch = story.only(Materialize)
    story.then(
        Remove(content_hash=routes(7).content_hash),
        switch,
        Send(
            link=other,
            message=announcement(tombstone(8)),
            traffic=TrafficClass.TOMBSTONE,
            audience=EVERYBODY,
        ),
    )
    assert (switch.namespace, switch.order) == (routes().manifest.namespace.text, None)
    assert story.trusted == {"routes/r1": (Order(2, 8), "withdrawn")}


def test_a_newer_version_removes_the_content_nobody_names_once_its_own_is_here() -> None:
    """Whatever becomes of the new content, the last good one stays until then."""
    story = Story()
    origin = story.link("n2")
    story.accept(routes(7), origin).announce(routes(8), origin)
    assert story.find(Remove) == []
    assert story.persisted().find(Remove) == []
    story.stored(routes(8), origin)
    assert story.find(Remove) == [Remove(content_hash=routes(7).content_hash)]


def test_a_newer_version_with_the_same_content_keeps_it() -> None:
    """Bytes that another manifest still names are neither removed nor fetched again."""
    story = Story()
    origin = story.link("n2")
    story.accept(routes(7, content=b"same"), origin)
    story.announce(routes(8, content=b"same"), origin)
    assert story.find(Remove) == []
    story.persisted()
    assert story.find(ReceiveContent) == []
    assert story.only(Materialize).order == Order(2, 8)


def test_an_update_is_staged_and_not_activated() -> None:
    story = Story()
    origin = story.link("n2")
    story.announce(update(), origin).persisted().stored(update(), origin)
    assert not story.only(Materialize).activate
    story.materialized()
    assert story.facts() == [Fact.ARTIFACT_STAGED]


def test_a_submit_is_answered_only_once_manifest_and_content_are_durable() -> None:
    story = Story()
    submit(story, routes())
    assert story.find(Answer) == []
    story.persisted()
    wanted = wanted_from(routes().verified, is_read=False)
    story.then(ReceiveContent(wanted=wanted, request=REQUEST, traffic=TrafficClass.POLICY))
    story.stored(routes(), None)
    assert story.only(Answer) == Answer(
        request=REQUEST,
        outcome=Outcome.ADMITTED,
        content_hash=routes().content_hash,
        namespace=routes().manifest.namespace.text,
    )


def test_submitting_twice_answers_already_current_and_changes_nothing() -> None:
    story = Story()
    submit(story, routes()).persisted().stored(routes(), None).materialized()
    submit(story, routes(), RequestId(2))
    story.then(
        Answer(
            request=RequestId(2),
            outcome=Outcome.ALREADY_CURRENT,
            content_hash=routes().content_hash,
            namespace=routes().manifest.namespace.text,
        )
    )


def test_a_second_submit_waits_for_the_first_to_be_durable() -> None:
    """Nobody is told *already current* of what a power cut could still take away."""
    story = Story()
    submit(story, routes())
    persist = story.only(Persist)
    submit(story, routes(), RequestId(2))
    assert story.find(Answer) == []
    story.effects = [persist]
    story.persisted()
    assert story.find(Answer) == []
    story.stored(routes(), None)
    assert {(one.request, one.outcome) for one in story.find(Answer)} == {
        (REQUEST, Outcome.ADMITTED),
        (RequestId(2), Outcome.ALREADY_CURRENT),
    }


def test_a_submitted_tombstone_needs_no_content() -> None:
    story = Story()
    submit(story, tombstone(7)).persisted()
    assert story.only(Answer).outcome is Outcome.ADMITTED


def test_a_submit_with_another_content_is_refused_and_the_right_one_wanted() -> None:
    """The manifest stands: whoever has the content may still bring it."""
    story = Story()
    submit(story, routes()).persisted()
    failed = ContentFailed(
        wanted=routes().wanted,
        link=None,
        request=REQUEST,
        reason=FetchFailure.BAD_HASH,
        received=0,
    )
    story.when(failed)
    answer = story.only(Answer)
    assert (answer.outcome, answer.code) == (Outcome.REFUSED, "HASH_MISMATCH")
    want = story.node.view.want_of(routes().verified)
    assert want is not None


@pytest.mark.parametrize(
    ("artifact", "code"),
    [
        (routes(6), "VERSION_ROLLBACK"),
        (routes(7, content=b"another"), "EQUIVOCATION"),
    ],
)
def test_a_refused_submit_names_the_code(artifact: Artifact, code: str) -> None:
    story = Story()
    submit(story, routes(7)).persisted().stored(routes(7), None)
    submit(story, artifact, RequestId(2))
    answer = story.only(Answer)
    assert (answer.outcome, answer.code) == (Outcome.REFUSED, code)
    kept = [change for one in story.find(Persist) for change in one.changes]
    assert all(isinstance(one, PutEvidence) for one in kept)


def test_a_fetch_of_what_no_manifest_names_is_unknown() -> None:
    story = Story()
    body = FetchRequest(content_hash=routes().content_hash, namespace=None, timeout_ms=1_000)
    story.when(RequestMade(request=REQUEST, body=body))
    assert story.only(Answer).outcome is Outcome.UNKNOWN


def test_a_fetch_of_what_is_held_is_answered_at_once() -> None:
    story = Story()
    story.accept(routes(), story.link("n2"))
    body = FetchRequest(
        content_hash=None, namespace=routes().manifest.namespace.text, timeout_ms=1_000
    )
    story.when(RequestMade(request=REQUEST, body=body))
    answer = story.only(Answer)
    assert (answer.outcome, answer.content_hash) == (Outcome.HELD, routes().content_hash)


def test_a_fetch_waits_for_the_content_or_for_its_deadline_and_is_answered_once() -> None:
    story = Story()
    origin = story.link("n2")
    story.announce(routes(), origin).persisted()
    body = FetchRequest(content_hash=routes().content_hash, namespace=None, timeout_ms=1_500)
    due = TimerFired(timer=RequestDue(request=REQUEST))
    story.when(RequestMade(request=REQUEST, body=body))
    assert story.at(RequestDue(request=REQUEST)) == 1_500
    assert story.find(Answer) == []
    story.when(due)
    assert story.only(Answer).outcome is Outcome.TIMED_OUT
    story.stored(routes(), origin)
    assert story.find(Answer) == []
    story.when(due)
    assert story.find(Answer) == []


def test_a_content_nothing_names_is_removed() -> None:
    """A transfer that outlived its manifest leaves no bytes behind."""
    story = Story()
    lost = ContentStored(wanted=routes().wanted, link=LinkId(1), content=None)
    story.when(lost)
    story.then(Remove(content_hash=routes().content_hash))


def test_a_dialler_pings_and_the_other_end_answers() -> None:
    story = Story()
    dialled, accepted = story.link("n2"), story.link("n3", is_dialer=False)
    story.when(TimerFired(timer=PingDue(link=dialled)))
    (asked,) = story.sent(dialled)
    # The first was asked when the link opened.
    assert isinstance(asked, Ping)
    assert asked.sequence == 2
    story.when(TimerFired(timer=PingDue(link=accepted)))
    assert story.sent(accepted) == []
    story.hear(accepted, ping(9))
    assert story.sent(accepted) == [Pong(sequence=9)]


def test_a_silent_link_is_closed_and_one_that_answers_is_not() -> None:
    story = Story()
    silent, talking = story.link("n2"), story.link("n3")
    for link in (silent, talking):
        story.when(TimerFired(timer=PingDue(link=link)))
    story.wait(1_000).hear(talking, Pong(sequence=2)).wait(500)
    for link in (silent, talking):
        story.when(TimerFired(timer=SilenceDue(link=link)))
        assert story.find(Disconnect) == []
        pings = [one for one in story.sent(link) if isinstance(one, Ping)]
        assert len(pings) == (link == silent), "one more chance, for the one in doubt"
    story.wait(5_000)
    story.when(TimerFired(timer=SilenceDue(link=talking)))
    assert story.find(Disconnect) == []
    story.when(TimerFired(timer=SilenceDue(link=silent)))
    assert (story.only(Disconnect).link, story.only(Disconnect).lost) == (
        silent,
        LostReason.TIMEOUT,
    )


def test_a_goodbye_ends_the_link() -> None:
    story = Story()
    link = story.link("n2")
    story.hear(link, Bye(reason=ByeReason.RESTART, retry_after_s=1))
    assert story.only(Disconnect).lost is LostReason.BYE
    for timer in (PingDue(link=link), SilenceDue(link=link)):
        assert story.when(TimerFired(timer=timer)).effects == []


def test_eight_forged_envelopes_cut_the_link_and_seven_do_not() -> None:
    """The limit at its edge: a peer is blamed for what nobody trusted ever signed."""
    story = Story()
    link = story.link("n2")
    for number in range(7):
        story.hear(link, Announce(entries=(Announced(b"forged %d" % number, 0),)))
        assert story.find(Disconnect) == []
    story.hear(link, Announce(entries=(Announced(b"the eighth", 0),)))
    assert story.only(Disconnect).link == link
    assert Fact.SESSION_CUT in story.facts()


def test_an_old_version_costs_the_peer_nothing() -> None:
    """Being behind is no fault: a slow neighbour is never cut for it."""
    story = Story()
    link = story.link("n2")
    story.accept(routes(99), link)
    for version in range(1, 21):
        story.announce(routes(version), link)
    assert story.find(Disconnect) == []
    assert story.trusted == {"routes/r1": (Order(2, 99), "current")}


def test_a_node_dials_its_bootstrap_until_a_directory_names_others() -> None:
    start = Endpoint(address="n2.example:7420", node_id=NodeId("n2"))
    story = Story(bootstrap=(start,))
    story.then(Dial(node_id=NodeId("n2"), addresses=("n2.example:7420",)))


@pytest.mark.parametrize("message", [ping(1), Have(audience=EVERYBODY, prefixes=())])
def test_events_of_links_that_are_gone_change_nothing(message: Message) -> None:
    """Frames read before a loss may be handed over after it."""
    story = Story()
    link = story.link("n2")
    story.when(PeerLost(link=link, node_id=NodeId("n2"), reason=LostReason.EOF))
    assert story.facts() == [Fact.NEIGHBOR_LOST]
    story.hear(link, message)
    story.then()
    story.when(TimerFired(timer=PingDue(link=link)))
    story.then()


def test_a_node_is_a_function_of_its_events() -> None:
    """The same seed and events give the same effects, with real chance inside."""

    def life() -> list[object]:
        story = Story(seed=7)
        origin = story.link("n2")
        effects: list[object] = []
        for one in (routes(), acme_routes(), update()):
            effects += story.accept(one, origin).effects
        return effects

    assert life() == life()
