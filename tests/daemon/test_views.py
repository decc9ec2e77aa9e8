"""What `why` says of a content that is still wanted: where it stands, what comes next and when."""

from dataclasses import dataclass
from typing import cast

from fabgossip.core.effects import Fact, ReceiveContent, Record
from fabgossip.core.events import ContentFailed, FetchFailure, LinkId, PeerLost
from fabgossip.core.events import LostReason as Lost
from fabgossip.core.node import Node
from fabgossip.daemon import views
from fabgossip.daemon.driver import Driver
from fabgossip.daemon.recent import Told
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import Holdings, HoldingsEntry, HoldingsMode
from fabgossip.model.policy import DegradedPolicy, DegradedRule
from tests.core.artifacts import EVERYBODY, endpoint, node_snapshot, routes
from tests.core.story import Story
from tests.trust import factory

POLICY = DegradedPolicy(
    rules=(DegradedRule(artifact_type=ArtifactType.ROUTE_POLICY_BUNDLE, max_age_s=60),)
)


@dataclass(frozen=True)
class Looked:
    """Of a driver, what the views look at."""

    node: Node


def why(story: Story) -> dict[str, object]:
    """`GET /v1/why` of version 7 of the routes."""
    (head,) = story.node.view.heads_of(routes(7).content_hash)
    return views.why(cast("Driver", Looked(story.node)), head, story.now)


def table(body: dict[str, object], key: str) -> dict[str, object]:
    value = body[key]
    assert isinstance(value, dict)
    return value


def of_all(story: Story, name: str, link: LinkId | None = None) -> None:
    """A neighbour says that it holds all there is for everybody."""
    entry = HoldingsEntry(EVERYBODY, HoldingsMode.ALL_EXCEPT, ())
    link = story.link(name) if link is None else link
    story.hear(link, Holdings(sequence=1, is_whole=True, entries=(entry,)))


def names(story: Story, name: str) -> None:
    """A neighbour says that it holds version 7."""
    entry = HoldingsEntry(EVERYBODY, HoldingsMode.ONLY, (routes(7).prefix,))
    story.hear(story.link(name), Holdings(sequence=1, is_whole=False, entries=(entry,)))


def climbing(*, says_all: bool = False, endpoints: tuple[str, ...] = ("start", "later")) -> Story:
    """Version 6 is in use; of 7 the announcer has not the bytes, and an endpoint is dialled."""
    story = Story()
    first = story.link("announcer")
    if says_all:
        of_all(story, "announcer", first)
    ends = tuple(endpoint(one) for one in endpoints)
    story.accept(node_snapshot(endpoints=ends, degraded=POLICY), first).accept(routes(6), first)
    story.announce(routes(7), first).persisted()
    tried = story.only(ReceiveContent)
    failed = ContentFailed(
        wanted=tried.wanted,
        link=tried.link,
        request=None,
        reason=FetchFailure.MISSING,
        received=0,
    )
    return story.when(failed)


def test_while_a_source_is_dialled_it_is_named_and_so_is_who_comes_next() -> None:
    story = climbing().wait(7)
    body = why(story)
    want = table(body, "want")
    source = want["source"]
    (other,) = {"start", "later"} - {source}
    assert (want["state"], want["step"], want["retry_in_ms"]) == ("dialing", "rung 3", None)
    reason = "snapshot endpoint, place unknown, dialled"
    assert (want["reason"], want["next"]) == (
        reason,
        [{"step": "rung 3", "source": other, "reason": reason}],
    )
    ladder = body["ladder"]
    assert isinstance(ladder, list)
    assert ladder[0] == {
        "ago_ms": 7,
        "climb": 0,
        "step": "normal",
        "source": "announcer",
        "outcome": "missing",
        "ms": 0,
        "bytes": 0,
        "reason": "announced it, place unknown",
    }


def test_after_a_climb_it_says_when_the_next_one_begins_and_what_is_in_use_till_then() -> None:
    story = climbing()
    for _ in range(2):
        source = table(why(story), "want")["source"]
        lost = PeerLost(link=None, node_id=NodeId(str(source)), reason=Lost.CONNECT_FAILED)
        story.when(lost)
    body = why(story)
    want, artifact = table(body, "want"), table(body, "artifact")
    assert (want["state"], want["step"], want["source"]) == ("parked", "rung 5", None)
    assert isinstance(want["retry_in_ms"], int)
    assert 500 <= want["retry_in_ms"] <= 1_500
    assert table(artifact, "last_good")["order"] == "2.6"
    assert table(artifact, "last_good")["allowed"] is True
    assert artifact["state"] == "behind"


def test_times_in_events_are_shown_as_all_other_times_are() -> None:
    """`until=1795763877` tells nobody when a hold ends."""
    fields = (("until", factory.NOW), ("version", 7))
    shown = views.event(Told(1, factory.NOW, Record(fact=Fact.HELD_BACK, fields=fields)))
    assert (shown["until"], shown["version"]) == (views.rfc3339(factory.NOW), 7)
    assert shown["at"] == shown["until"]
