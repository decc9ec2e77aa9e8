"""What nears its refresh time climbs for something newer, in the order of the ladder."""

import pytest

from fabgossip.core.config import NeighborsConfig, NodeConfig
from fabgossip.core.effects import Dial, Fact, Materialize, Record, Send
from fabgossip.core.events import (
    Event,
    LinkId,
    LostReason,
    PeerLost,
    RefreshDue,
    RenewalDue,
    TimerFired,
)
from fabgossip.core.wants import Want, WantState
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import ClaimItem, RevokedKind
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import GetHeads, Heads
from fabgossip.model.scope import StorageAssignment, parse_scope_id
from fabgossip.trust.revocation import node_token
from tests.core.artifacts import (
    Artifact,
    artifact,
    endpoint,
    node_snapshot,
    peers,
    record,
    revocations,
    revoked,
    routes,
    stores,
    tombstone,
)
from tests.core.story import Peer, Story
from tests.core.test_ladder import FRESH_POLICY
from tests.trust import factory

TURN = TimerFired(timer=RefreshDue())
CONTROL = ("control-endpoint",)


SOON = artifact(
    ArtifactType.ROUTE_POLICY_BUNDLE, "routes/r1", refresh_by=factory.NOW + 1_200, content=b"routes"
)
ACME_SOON = artifact(
    ArtifactType.ROUTE_POLICY_BUNDLE,
    "org/acme/routes/r1",
    refresh_by=factory.NOW + 1_200,
    content=b"acme",
)
"""Both due in five minutes, which nothing else is."""


class Asker(Story):
    """A node whose climbs are answered."""

    def __init__(self, config: NodeConfig) -> None:
        self._questions: dict[LinkId, int] = {}
        super().__init__(config=config)

    def when(self, event: Event) -> "Asker":
        super().when(event)
        for one in self.find(Send):
            if isinstance(one.message, GetHeads) and one.message.question:
                self._questions[one.link] = one.message.question
        return self

    def answer(self, link: LinkId, *artifacts: Artifact) -> "Asker":
        """A peer answers the newest question of a climb."""
        envelopes = tuple(one.envelope for one in artifacts)
        self.hear(link, Heads(envelopes=envelopes, question=self._questions[link]))
        return self


def is_climbing(story: Story, artifact: Artifact = SOON) -> bool:
    """Whether anything newer than an artifact is asked for."""
    return renewal(story, artifact) is not None


def renewal(story: Story, artifact: Artifact = SOON) -> Want | None:
    head = story.node.view.find(artifact.manifest.namespace.text)
    assert head is not None
    return story.node.view.renewal_of(head, story.now)


def climb(story: Story, artifact: Artifact = SOON) -> Want:
    """The climb for something newer than an artifact, while it is under way."""
    want = renewal(story, artifact)
    assert want is not None
    return want


def told(story: Story) -> list[tuple[str, str | None, str]]:
    """What `why` shows of it."""
    return [(one.step.value, one.node_id, one.outcome) for one in climb(story).attempts]


def names(story: Story, link: LinkId) -> list[set[str]]:
    """The names in each question for heads over a link, without the lane."""
    lane = {"trust/bundle", "trust/revocations", "snapshots/node/n1"}
    questions = [
        {known.namespace.removeprefix(f"{factory.PREFIX}/") for known in one.known} - lane
        for one in story.sent(link)
        if isinstance(one, GetHeads)
    ]
    return [one for one in questions if one]


def asked(story: Story) -> str:
    """Who is asked, or dialled, now."""
    source = climb(story).source
    assert source is not None
    return source.node_id


def fabric(*storage: str, near: str = "r1/z1/k2", far: str = "r2/z1/k1") -> tuple[Asker, LinkId]:
    """A node with routes and a neighbour that announced them; of the storage nodes the last one is
    in another region; an endpoint of its snapshot is the control plane's. Nobody is dialled for its
    own sake."""
    config = NodeConfig(neighbors=NeighborsConfig(mesh_members_max=1, links_max=12))
    story = Asker(config)
    first = story.link("announcer")
    places = [near] * (len(storage) - 1) + [far]
    placed = tuple(
        record(name, place=place, is_storage=True, audiences=())
        for name, place in zip(storage, places, strict=True)
    )
    members = tuple(record(name) for name in ("n1", "announcer", "a2", "a3"))
    story.accept(peers(*members, *placed), first)
    for other in ("a2", "a3"):
        story.link(other)
    story.accept(stores(*storage), first)
    story.accept(node_snapshot(endpoints=(endpoint("c1"),), degraded=FRESH_POLICY), first)
    story.accept(SOON, first)
    return story, first


def near_its_end(story: Asker) -> Asker:
    """So little of the refresh span is left that a newer version should be there."""
    story.wait(300_000)
    return story.when(TURN)


def link_of(story: Story) -> LinkId:
    """The link to who is asked now."""
    (link,) = (one.link for one in story.node.view.sessions() if one.node_id == asked(story))
    return link


def unreachable(story: Story, name: str) -> Story:
    lost = PeerLost(link=None, node_id=NodeId(name), reason=LostReason.CONNECT_FAILED)
    return story.when(lost)


def test_nothing_climbs_while_nothing_is_due() -> None:
    story, _ = fabric("s1", "s2")
    story.when(TURN)
    assert not is_climbing(story)
    assert RenewalDue() not in story.timers()


def test_everybody_is_asked_in_the_order_of_the_ladder_and_then_the_policy_decides() -> None:
    story, first = fabric("s1", "s2")
    near_its_end(story)
    assert asked(story) == "announcer"
    assert names(story, first) == [{"routes/r1"}, {"routes/r1"}]
    story.answer(first)
    assert asked(story) == story.only(Dial).node_id == "s1"
    assert Fact.RECOVERY_STARTED in story.facts()
    near = story.link("s1")
    assert {"routes/r1"} in names(story, near)
    story.answer(near)
    neighbors = {asked(story)}
    story.answer(link_of(story))
    neighbors.add(asked(story))
    story.answer(link_of(story))
    assert neighbors == {"a2", "a3"}
    assert asked(story) == story.only(Dial).node_id == "c1"
    unreachable(story, "c1")
    far = story.link("s2")
    story.answer(far)
    assert climb(story).state is WantState.PARKED
    assert told(story) == [
        ("normal", "announcer", "nothing_newer"),
        ("rung 1", "s1", "nothing_newer"),
        *(("rung 2", one.node_id, "nothing_newer") for one in climb(story).attempts[2:4]),
        ("rung 3", "c1", "connect_failed"),
        ("rung 3", "s2", "nothing_newer"),
        ("rung 4", None, "skipped"),
        ("rung 5", None, "in use"),
    ]
    assert not story.find(Materialize)


def test_whoever_brings_something_newer_ends_the_climb() -> None:
    story, first = fabric("s1", "s2")
    near_its_end(story).answer(first)
    near = story.link("s1")
    story.answer(near, routes(8))
    head = story.node.view.find(SOON.manifest.namespace.text)
    assert head is not None
    assert head.manifest.config_version == 8
    assert not is_climbing(story)
    (ended,) = [one for one in story.find(Record) if one.fact is Fact.RECOVERY_ENDED]
    assert dict(ended.fields) == {
        "namespace": SOON.manifest.namespace.text,
        "newer_than": "2.7",
        "step": "rung 1",
    }
    story.when(TURN)
    assert not is_climbing(story)


def test_status_counts_climbs_and_says_how_far_they_are() -> None:
    story, first = fabric("s1", "s2")

    def counts() -> tuple[int, str]:
        seen = story.node.view.snapshot(story.now).renewing
        return seen.climbs, seen.highest_step

    assert counts() == (0, "normal")
    near_its_end(story)
    assert counts() == (1, "normal")
    story.answer(first)
    assert counts() == (1, "rung 1")
    story.accept(ACME_SOON, first).when(TURN)
    assert counts() == (2, "rung 1"), "of two climbs the higher step"
    story.accept(routes(8), story.link("a4"))
    assert counts() == (1, "normal"), "the climb ends with the next turn, and is none any more"
    story.when(TURN)
    assert counts() == (1, "normal")


def test_what_is_past_its_time_names_who_was_asked_first_who_was_not_to_be_had() -> None:
    story, first = fabric("s1", "s2")

    def overdue() -> str:
        problems = story.node.view.snapshot(story.now).problems
        (found,) = (one for one in problems if one.namespace == SOON.manifest.namespace.text)
        return found.because

    near_its_end(story).step_clock(900)
    assert "asked for it" not in overdue(), "nobody has said anything yet"
    story.answer(first)
    assert overdue().endswith("; asked for it: announcer has nothing newer")
    unreachable(story, "s1")
    assert overdue().endswith("; asked for it: s1 connect_failed, announcer has nothing newer")


def test_news_by_any_other_way_ends_it_too() -> None:
    story, first = fabric("s1", "s2")
    near_its_end(story)
    story.accept(routes(8), story.link("a4"))
    story.when(TURN)
    assert not is_climbing(story)
    story.answer(first)
    assert Fact.RECOVERY_ENDED not in story.facts()


def test_who_says_nothing_loses_its_turn_and_in_place_of_who_is_lost_another_is_asked() -> None:
    story, first = fabric("s1", "s2")
    near_its_end(story).due(RenewalDue)
    assert told(story) == [("normal", "announcer", "stalled")]
    near = story.link("s1")
    story.when(PeerLost(link=near, node_id=NodeId("s1"), reason=LostReason.RESET))
    assert told(story)[1:] == [("rung 1", "s1", "lost")]
    assert asked(story) in ("a2", "a3")
    story.answer(first)
    assert len(told(story)) == 2, "an answer that came too late ended the turn of another"


def test_a_climb_in_vain_begins_again_after_half_a_minute_at_least_and_ten_at_most() -> None:
    story, _ = fabric("s1", "s2")
    near_its_end(story)
    while climb(story).state is not WantState.PARKED:
        story.due(RenewalDue)
    waits = []
    for _ in range(8):
        waits.append(story.newest(RenewalDue))
        story.due(RenewalDue)
        while climb(story).state is not WantState.PARKED:
            story.due(RenewalDue)
    assert 30_000 <= min(waits) < max(waits) <= 600_000
    assert len({one.climb for one in climb(story).attempts}) > 1


def test_a_newer_version_that_is_due_itself_is_an_answer_all_the_same() -> None:
    story, first = fabric("s1", "s2")
    due_too = artifact(
        ArtifactType.ROUTE_POLICY_BUNDLE, "routes/r1", version=8, refresh_by=factory.NOW + 1_210
    )
    near_its_end(story).answer(first, due_too).due(RenewalDue)
    assert told(story) == [], "it is asked on"
    story.answer(first)
    assert told(story) == [("normal", "announcer", "verified")]


def test_an_answer_of_what_is_known_is_none_and_no_silence() -> None:
    story, first = fabric("s1", "s2")
    near_its_end(story).answer(first, SOON).due(RenewalDue)
    assert told(story)[0] == ("normal", "announcer", "nothing_newer")


def test_while_the_list_is_out_of_time_only_trust_climbs() -> None:
    """Nobody may be told of anything else, so asking would cost dials and tolls for nothing."""
    story, first = fabric("s1", "s2")
    lasting = artifact(
        ArtifactType.QOS_POLICY_BUNDLE, refresh_by=factory.NOW + 1_200, expires_at=10**10
    )
    story.accept(lasting, first)
    story.wait(40 * factory.DAY * 1_000).when(TURN)
    assert not is_climbing(story, lasting)


def test_trust_that_is_due_last_is_asked_for_first() -> None:
    story, _ = fabric("s1", "s2")
    near_its_end(story)
    while climb(story).state is not WantState.PARKED:
        story.due(RenewalDue)
    story.wait(2_600_000).when(TURN)
    questions = [
        {known.namespace.removeprefix(f"{factory.PREFIX}/") for known in one.message.known}
        for one in story.find(Send)
        if isinstance(one.message, GetHeads) and one.message.question
    ]
    lane = {"trust/bundle", "trust/revocations", "snapshots/node/n1"}
    is_trust = [bool(one & lane) for one in questions]
    assert True in is_trust
    assert False in is_trust
    assert is_trust == sorted(is_trust, reverse=True)


def test_only_who_may_know_is_asked() -> None:
    story, first = fabric("s1", "s2")
    story.accept(ACME_SOON, first)
    outsider = story.link(Peer(name="n3", shows=()))
    near_its_end(story)
    seen, to_outsider = names(story, first), names(story, outsider)
    for _ in range(40):
        story.due(RenewalDue)
        seen += names(story, first)
        to_outsider += names(story, outsider)
    assert {"org/acme/routes/r1"} in seen
    assert {"routes/r1"} in to_outsider
    assert not any("org/acme/routes/r1" in one for one in to_outsider)


def test_no_audience_waits_for_another() -> None:
    story, first = fabric("s1", "s2")
    story.accept(ACME_SOON, first)
    near_its_end(story)
    assert climb(story).state is climb(story, ACME_SOON).state is WantState.FETCHING
    asked_of_first = [one for one in story.sent(first) if isinstance(one, GetHeads)]
    questions = [one.question for one in asked_of_first if one.question]
    assert len(questions) == 2
    for question in questions:
        story.hear(first, Heads(envelopes=(), question=question))
    assert climb(story).attempts
    assert climb(story, ACME_SOON).attempts


def test_only_its_own_answer_ends_a_turn() -> None:
    story, first = fabric("s1", "s2")
    near_its_end(story).hear(first, Heads(envelopes=()))
    story.hear(first, Heads(envelopes=(), question=99))
    assert told(story) == []
    assert asked(story) == "announcer"


@pytest.mark.parametrize("end", ["expired", "withdrawn", "for others"])
def test_what_was_given_up_or_is_for_others_is_not_climbed_for(end: str) -> None:
    story, first = fabric("s1", "s2")
    match end:
        case "expired":
            ends = factory.NOW + 1_300
            given_up = artifact(
                ArtifactType.QOS_POLICY_BUNDLE, refresh_by=factory.NOW + 1_200, expires_at=ends
            )
            story.accept(given_up, first).wait(2_000_000)
        case "withdrawn":
            given_up = tombstone(8)
            story.accept(given_up, first).wait(factory.HOUR * 1_000)
        case _:
            given_up = artifact(
                ArtifactType.SERVICE_ASSIGNMENT_BUNDLE,
                "org/globex/services/web",
                refresh_by=factory.NOW + 1_200,
            )
            story.accept(given_up, first).wait(300_000)
    story.when(TURN)
    tail = given_up.manifest.namespace.text.removeprefix(f"{factory.PREFIX}/")
    asks = [one for one in story.sent(first) if isinstance(one, GetHeads) and one.question]
    assert not any(tail in known.namespace for one in asks for known in one.known)


def test_a_revoked_node_asks_nobody() -> None:
    story, first = fabric("s1", "s2")
    near_its_end(story)
    story.accept(
        revocations(2, revoked(RevokedKind.NODE, node_token(factory.CLUSTER, NodeId("n1")))), first
    )
    story.when(TURN)
    assert not is_climbing(story)


def test_a_timer_that_another_made_needless_is_no_reason_for_another_one() -> None:
    """Or each look that came sooner would leave one more of them behind for good."""
    story, first = fabric("s1", "s2")
    near_its_end(story).answer(first)
    story.wait(100).when(TimerFired(timer=RenewalDue()))
    assert story.timers() == []


def test_more_than_one_question_asks_for_is_asked_for_in_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fabgossip.core.refresh.DUE_MAX", 2)
    story, first = fabric("s1", "s2")
    for name in ("r2", "r3"):
        story.accept(
            artifact(
                ArtifactType.ROUTE_POLICY_BUNDLE,
                f"routes/{name}",
                refresh_by=factory.NOW + 1_200,
                content=name.encode(),
            ),
            first,
        )
    near_its_end(story)
    assert names(story, first)[-1] == {"routes/r1", "routes/r2"}
    story.answer(first, routes(8))
    assert names(story, first) == [], "more of the answer may follow"
    story.due(RenewalDue)
    assert names(story, first) == [{"routes/r2"}], "it is asked on for what is left"
    story.answer(first, routes(8, "r2")).due(RenewalDue)
    assert names(story, first) == [{"routes/r3"}], "and then for the next"
    story.answer(first, routes(8, "r3"))
    assert not is_climbing(story)


def test_what_is_due_again_after_it_was_renewed_climbs_again() -> None:
    story, first = fabric("s1", "s2")
    again = artifact(
        ArtifactType.ROUTE_POLICY_BUNDLE, "routes/r1", version=8, refresh_by=factory.NOW + 1_600
    )
    near_its_end(story).answer(first, again)
    assert not is_climbing(story)
    story.wait(600_000).when(TURN)
    assert asked(story) == "announcer"
    assert {"routes/r1"} in names(story, first)


def test_a_store_of_one_type_is_asked_for_no_other() -> None:
    """It may know of the audience, and of these names it may not."""
    assigned = StorageAssignment(
        (parse_scope_id("cluster:prod"), parse_scope_id("org:acme")),
        (ArtifactType.SERVICE_ASSIGNMENT_BUNDLE.value,),
    )
    opening = factory.opening(ClaimItem(assignment=assigned), 9)
    story, first = fabric("s1", "s2")
    store = story.link(Peer(name="s9", holds=(opening,), shows=(opening,)))
    story.accept(ACME_SOON, first)
    to_store = names(near_its_end(story), store)
    for _ in range(40):
        story.due(RenewalDue)
        to_store += names(story, store)
    assert not any("org/acme/routes/r1" in one for one in to_store)


def test_who_is_asked_for_what_came_another_way_is_asked_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answer to the question before says nothing of that."""
    monkeypatch.setattr("fabgossip.core.refresh.DUE_MAX", 1)
    story, first = fabric("s1", "s2")
    second = artifact(ArtifactType.ROUTE_POLICY_BUNDLE, "routes/r2", refresh_by=factory.NOW + 1_200)
    story.accept(second, first)
    assert names(near_its_end(story), first)[-1] == {"routes/r1"}
    story.accept(routes(8), story.link("a4"))
    story.when(TURN)
    assert {"routes/r2"} in names(story, first)
    story.hear(first, Heads(envelopes=(), question=1))
    assert climb(story, second).attempts == ()
    story.answer(first)
    assert [one.outcome for one in climb(story, second).attempts] == ["nothing_newer"]
