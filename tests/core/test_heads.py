"""Questions for heads: each namespace once, an answer that ends, a price for what it carries."""

from dataclasses import replace
from functools import cache
from random import Random

import pytest

from fabgossip.core import disclosure
from fabgossip.core.config import RefreshConfig
from fabgossip.core.effects import Send
from fabgossip.core.events import AnswersDue, LinkId
from fabgossip.core.rates import RATES, Kind
from fabgossip.core.refresh import DUE_MAX, Refresh
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.messages import GetHeads, HeadKnown, Heads, TrafficClass
from fabgossip.model.persistence import StoredTrust
from fabgossip.wire.codec import message_body
from fabgossip.wire.contents import bundle_bytes
from fabgossip.wire.framing import frame_bytes
from fabgossip.wire.outbox import Outbox
from tests.core.artifacts import CLUSTER_SCOPE, Artifact, artifact, routes
from tests.core.story import NOTHING_STORED, Story
from tests.trust import factory

FIRST = factory.BUNDLE.bundle_version
STEPS = 40
BUNDLES = factory.BUNDLE.bundle_namespace


@cache
def chain() -> tuple[StoredTrust, ...]:
    """Forty bundles, each the next of the one before."""
    bundles = [replace(factory.BUNDLE, bundle_version=FIRST + step) for step in range(1, STEPS + 1)]
    return tuple(
        StoredTrust(
            version=one.bundle_version,
            envelope=factory.signed(factory.bundle_manifest(one)),
            content=bundle_bytes(one),
        )
        for one in bundles
    )


@pytest.fixture
def story() -> Story:
    """A node that followed all of them."""
    return Story(started=replace(NOTHING_STORED, trust=chain()))


def given_after(story: Story, link: LinkId, version: int) -> list[bytes]:
    """What a peer is given that has one of the bundles."""
    story.hear(link, GetHeads(known=(HeadKnown(BUNDLES, 0, version),)))
    found = [one for one in story.sent(link) if isinstance(one, Heads)]
    return [envelope for one in found for envelope in one.envelopes]


def test_an_answer_stops_at_its_limit_and_the_next_goes_on_from_there(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each bundle is judged by the one before it: none may be left out."""
    link = story.link("n2")
    limit = 10 * max(len(step.envelope) for step in chain())
    monkeypatch.setattr(disclosure, "HEADS_BYTES_MAX", limit)
    heard: list[bytes] = []
    while answer := given_after(story, link, FIRST + len(heard)):
        assert sum(map(len, answer)) <= limit
        heard += answer
    assert heard == [step.envelope for step in chain()]


def test_an_answer_is_paid_by_what_it_carries(story: Story) -> None:
    """Who asks for all bundles again and again hears no more envelopes than it may name
    namespaces."""
    link, burst = story.link("n2"), RATES[Kind.GET_HEADS].burst
    heard = sum(len(given_after(story, link, 0)) for _ in range(2 * burst // STEPS))
    assert burst - 2 * STEPS <= heard <= burst + STEPS


def test_a_question_names_each_namespace_once() -> None:
    story = Story()
    link = story.link("n2")
    (asked,) = [one for one in story.sent(link) if isinstance(one, GetHeads)]
    names = [one.namespace for one in asked.known]
    assert len(names) == len(set(names)) > 0


def test_of_all_that_is_due_so_much_is_asked_at_a_turn_and_everything_in_turn() -> None:
    refresh = Refresh(RefreshConfig(), Random(1))
    due = [f"{number:05}" for number in range(2 * DUE_MAX + 7)]
    turns: list[tuple[str, ...]] = []
    after = ""
    for _ in range(3):
        turns.append(refresh.next_names(due[::-1], after))
        after = turns[-1][-1]
    assert {len(one) for one in turns} == {DUE_MAX}
    assert {name for one in turns for name in one} == set(due)
    assert turns[0] == tuple(due[:DUE_MAX])
    assert refresh.next_names(due[:DUE_MAX], after) == tuple(due[:DUE_MAX])


def test_what_a_turn_asks_for_finds_room_on_the_link_of_who_answers() -> None:
    """Of a dropped answer nobody is told, and the turn would be for nothing."""
    story = Story()
    origin = story.link("n2")
    for number in range(DUE_MAX):
        story.wait(100).announce(_large(number), origin).persisted()
    story.wait(60_000)
    link = story.link("n3")
    outbox: Outbox[bytes] = Outbox()
    known = tuple(HeadKnown(_large(n).manifest.namespace.text, 0, 0) for n in range(DUE_MAX))
    story.hear(link, GetHeads(known=known))
    answers = [one for one in story.find(Send) if one.link == link]
    given = [len(one.message.envelopes) for one in answers if isinstance(one.message, Heads)]
    assert 0 < sum(given) < DUE_MAX
    for one in answers:
        kind, body = message_body(one.message)
        frame = frame_bytes(kind, one.traffic, one.stream, body)
        assert outbox.offer(one.traffic, frame, len(frame), story.now.instant)


@cache
def _large(number: int) -> Artifact:
    """An artifact whose envelope is large: it names many roles."""
    roles = ("role:edge", *(f"role:{one * 30}" for one in "hijklmnopq"))
    return artifact(
        ArtifactType.ROUTE_POLICY_BUNDLE,
        f"routes/r{number:04}",
        audience=factory.audience(CLUSTER_SCOPE, *roles),
    )


def test_trust_is_answered_in_a_class_of_its_own(story: Story) -> None:
    link = story.link("n2")
    story.accept(routes(), story.link("n3"))
    names = (BUNDLES, routes().manifest.namespace.text)
    story.hear(link, GetHeads(known=tuple(HeadKnown(one, 0, 0) for one in names)))
    answers = [one for one in story.find(Send) if isinstance(one.message, Heads)]
    assert [one.traffic for one in answers] == [TrafficClass.TRUST, TrafficClass.SNAPSHOT]


def numbers(story: Story, link: LinkId) -> list[tuple[int, int]]:
    """Of each answer over a link: how many envelopes, and the number of its question."""
    return [
        (len(one.envelopes), one.question) for one in story.sent(link) if isinstance(one, Heads)
    ]


def test_every_frame_of_an_answer_says_which_question_it_answers(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disclosure, "HEADS_ENTRIES_MAX", 16)
    link = story.link("n2")
    story.hear(link, GetHeads(known=(HeadKnown(BUNDLES, 0, FIRST),), question=7))
    found = numbers(story, link)
    assert len(found) > 1
    assert {question for _, question in found} == {7}


def test_an_answer_of_nothing_says_so_too() -> None:
    story = Story()
    link = story.link("n2")
    story.hear(link, GetHeads(known=(HeadKnown("no such name", 0, 0),), question=9))
    story.due(AnswersDue)
    assert numbers(story, link) == [(0, 9)]
