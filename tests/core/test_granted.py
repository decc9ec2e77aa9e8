"""What an operator fetches under a grant reaches the operator, and no part of the node."""

from dataclasses import replace
from typing import Final

from fabgossip.core.effects import (
    Answer,
    Fact,
    Materialize,
    Outcome,
    Persist,
    ReceiveGranted,
    Record,
)
from fabgossip.core.events import (
    FetchFailure,
    GrantedReceived,
    GrantedRequest,
    LinkId,
    RequestDue,
    RequestId,
    RequestMade,
)
from fabgossip.core.granted import OPEN_MAX
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.scope import parse_scope_id
from tests.core.artifacts import Artifact, artifact, stores
from tests.core.story import Peer, Story
from tests.trust import factory as f

DNS: Final = parse_scope_id("service:dns")
SERVICE: Final = artifact(ArtifactType.SERVICE_ASSIGNMENT_BUNDLE, content=b"dns")
GRANT: Final = replace(
    f.grant(), types=(ArtifactType.SERVICE_ASSIGNMENT_BUNDLE,), scope_ids=(DNS,), max_uses=2
)
RAW: Final = f.signed_grant(GRANT)
REQUEST: Final = RequestId(1)


def stranger() -> Story:
    """A member that runs no service."""
    return Story(holds=())


def ask(
    story: Story,
    grant: bytes = RAW,
    wanted: Artifact = SERVICE,
    *,
    request: RequestId = REQUEST,
    timeout_ms: int = 30_000,
) -> Story:
    body = GrantedRequest(grant=grant, envelope=wanted.envelope, timeout_ms=timeout_ms)
    return story.when(RequestMade(request=request, body=body))


def received(story: Story, link: LinkId, failure: FetchFailure | None = None) -> Story:
    size = len(SERVICE.content) if failure is None else 0
    return story.when(GrantedReceived(request=REQUEST, link=link, failure=failure, received=size))


def detail(story: Story) -> str:
    return story.only(Answer).detail


def test_a_content_is_asked_for_with_the_grant_and_for_nothing_else() -> None:
    story = stranger()
    link = story.link("n3")
    ask(story)
    effect = story.only(ReceiveGranted)
    assert (effect.link, effect.grant, effect.request) == (link, RAW, REQUEST)
    assert effect.wanted.content_hash == SERVICE.content_hash
    assert effect.narrowing.manifest_hashes == (SERVICE.verified.manifest_hash,)
    assert effect.narrowing.types == (ArtifactType.SERVICE_ASSIGNMENT_BUNDLE,)
    assert story.facts() == [Fact.GRANT_ACCEPTED]


def test_what_comes_is_for_the_operator_and_leaves_no_trace_in_the_node() -> None:
    """Not a head, not a floor, nothing on the disk, nothing for consumers. That nobody else hears
    of it, `tests/attacks/test_grants.py` shows."""
    story = stranger()
    link = story.link("n3")
    before = (story.trusted, story.node.view.floors())
    ask(story)
    received(story, link)
    answer = story.only(Answer)
    assert (answer.request, answer.outcome) == (REQUEST, Outcome.DELIVERED)
    assert (answer.content_hash, answer.namespace) == (
        SERVICE.content_hash,
        SERVICE.manifest.namespace.text,
    )
    assert story.facts() == [Fact.GRANT_FETCHED]
    assert (story.find(Persist), story.find(Materialize)) == ([], [])
    assert (story.trusted, story.node.view.floors()) == before
    assert story.node.view.heads_of(SERVICE.content_hash) == ()


def test_storage_nodes_are_asked_first_and_each_peer_once() -> None:
    story = stranger()
    first = story.link("n3")
    story.accept(stores("n4"), first)
    second = story.link("n4")
    ask(story)
    assert story.only(ReceiveGranted).link == second
    received(story, second, FetchFailure.MISSING)
    assert story.only(ReceiveGranted).link == first
    received(story, first, FetchFailure.BUSY)
    assert story.only(Answer).outcome is Outcome.FAILED
    assert "n4 missing, n3 busy" in detail(story)
    assert "next: ask again" in detail(story)


def test_a_peer_that_may_not_know_the_artifact_is_shown_neither_its_hash_nor_the_grant() -> None:
    """To it both would tell that there is such a thing."""
    story = stranger()
    story.link(Peer(name="n5", holds=(), shows=()))
    ask(story)
    assert story.find(ReceiveGranted) == []
    assert "no linked peer has shown that it may hold it" in detail(story)


def test_a_peer_that_sends_other_bytes_is_named_and_the_next_one_asked() -> None:
    story = stranger()
    first, second = story.link("n3"), story.link("n4")
    ask(story)
    received(story, first, FetchFailure.BAD_HASH)
    assert story.only(ReceiveGranted).link == second
    rejected = [one for one in story.find(Record) if one.fact is Fact.ARTIFACT_REJECTED]
    assert [dict(one.fields)["source"] for one in rejected] == ["n3"]
    received(story, second)
    assert story.only(Answer).outcome is Outcome.DELIVERED


def test_what_the_node_may_hold_anyway_needs_no_grant() -> None:
    story = Story()
    story.link("n3")
    ask(story)
    assert story.find(ReceiveGranted) == []
    assert f"next: fabgossip fetch {SERVICE.manifest.namespace.text}" in detail(story)


def test_a_request_has_its_time_and_no_more() -> None:
    story = stranger()
    link = story.link("n3")
    ask(story, timeout_ms=5_000)
    assert story.at(RequestDue(request=REQUEST)) == 5_000
    story.due(RequestDue)
    assert story.only(Answer).outcome is Outcome.TIMED_OUT
    received(story, link)
    assert story.effects == []


def test_a_request_ends_with_its_grant() -> None:
    story = stranger()
    story.link("n3")
    ask(story, timeout_ms=600_000)
    life_s = GRANT.expires_at - f.NOW
    assert story.at(RequestDue(request=REQUEST)) == life_s * 1_000


def test_fetches_under_way_are_bounded() -> None:
    story = stranger()
    story.link("n3")
    for number in range(OPEN_MAX):
        ask(story, request=RequestId(number))
        assert story.find(Answer) == []
    ask(story, request=RequestId(OPEN_MAX))
    assert story.only(Answer).outcome is Outcome.FAILED
    assert "next: ask again" in detail(story)


def test_why_tells_who_was_asked_and_what_came_of_it() -> None:
    story = stranger()
    first, second = story.link("n3"), story.link("n4")
    ask(story)
    received(story, first, FetchFailure.MISSING)
    received(story, second)
    by_name = story.node.view.granted(SERVICE.manifest.namespace.text)
    assert by_name == story.node.view.granted(SERVICE.content_hash)
    (told,) = by_name
    assert [(one.node_id, one.outcome) for one in told.attempts] == [
        ("n3", "missing"),
        ("n4", "verified"),
    ]
    assert (told.grant, told.outcome) == (GRANT, Outcome.DELIVERED)
    assert story.node.view.granted("platform/demo/elsewhere") == ()
