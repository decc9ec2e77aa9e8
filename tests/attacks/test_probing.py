"""Asking by guessed or leaked hash.

The attacker is a member of the cluster outside an organisation. It knows every manifest and content
hash there is, asks for any of them in any order and at any moment, and has an exact clock at its
end of the link. From the answers it must not learn which of them exist.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from itertools import count
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabgossip.core.disclosure import Disclosure, Found
from fabgossip.core.effects import Disconnect, Fact, Record, Send, ServeContent, SetTimer
from fabgossip.core.events import AnswersDue, ContentServed, LinkId, LostReason, TimerFired
from fabgossip.core.standing import BARRED, PROBES_MAX
from fabgossip.model.authority import Revocation, RevokedKind, Verb
from fabgossip.model.messages import ByeReason, ContentAsk, GetContent, Graft, Have
from fabgossip.model.moment import Now, UnixTime
from fabgossip.trust.authorization import Decision, Subject
from fabgossip.wire.codec import message_body
from tests.core.artifacts import IN_ACME, Artifact, acme_routes, revocations, routes, tombstone
from tests.core.story import Peer, Story
from tests.trust import factory

OUTSIDER: Final = Peer(name="n9", shows=())
NAMES: Final = ("r1", "r2", "r3", "r4", "r5", "r6")
HELD: Final = routes(7, name="held")
Seen = tuple[int, int, int, bytes]
"""What the attacker sees of one frame: when it left, its stream, its class, its body."""


class Fate(Enum):
    """What became of something the attacker asks for."""

    ABSENT = 0
    FORBIDDEN = 1
    WITHDRAWN = 2
    REVOKED = 3
    NOT_HELD = 4


def named(name: str, fate: Fate) -> Artifact:
    """The artifact behind a name: of the organisation where the attacker may not know it."""
    if fate is Fate.FORBIDDEN:
        return acme_routes(7, name)
    return routes(7, name, content=f"routes of {name}".encode())


def world(fates: tuple[Fate, ...]) -> tuple[Story, LinkId]:
    """A node that has something it serves to everybody, and where each name met its fate."""
    story = Story()
    origin = story.link("n2")
    story.accept(HELD, origin)
    for name, fate in zip(NAMES, fates, strict=False):
        artifact = named(name, fate)
        if fate is Fate.NOT_HELD:
            story.announce(artifact, origin).persisted()
        elif fate is not Fate.ABSENT:
            story.accept(artifact, origin)
        if fate is Fate.WITHDRAWN:
            story.accept(tombstone(8, name), origin)
    revoked = tuple(
        Revocation(
            kind=RevokedKind.MANIFEST,
            value=named(name, fate).verified.manifest_hash,
            reason="stolen",
            since_epoch=1,
            since=factory.NOW,
            until=UnixTime(0),
        )
        for name, fate in zip(NAMES, fates, strict=False)
        if fate is Fate.REVOKED
    )
    listed = revocations(8, *revoked)
    story.announce(listed, origin).persisted().stored(listed, origin)
    return story.wait(1_000), story.link(OUTSIDER)


def ask(artifact: Artifact) -> ContentAsk:
    return ContentAsk(artifact.verified.manifest_hash, artifact.content_hash, 0, 1)


@contextmanager
def counted() -> Iterator[list[Decision]]:
    """Every decision made while the block runs, each about something that is there: about nothing
    it would be made sooner."""
    decide, made = Disclosure.decide, list[Decision]()

    def noted(self: Disclosure, request: Subject, found: Found, verb: Verb, now: Now) -> Decision:
        assert found is not None
        made.append(decide(self, request, found, verb, now))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Disclosure, "decide", noted)
        yield made


def probe(
    story: Story, link: LinkId, requests: list[tuple[int, GetContent]]
) -> tuple[list[Seen], list[int]]:
    """Ask at these pauses; gives all the attacker sees, and the decisions each request cost. All
    that is left of it is a record of what was denied."""
    before = believed(story)
    seen: list[Seen] = []
    costs: list[int] = []
    due: list[int] = []

    def look() -> None:
        for one in story.effects:
            assert getattr(one, "link", link) == link
            assert isinstance(one, Send | ServeContent | SetTimer | Record)
            assert not isinstance(one, Record) or one.fact is Fact.FETCH_DENIED
            if isinstance(one, Send) and one.link == link:
                kind, body = message_body(one.message)
                frame = bytes((kind, one.traffic)) + body
                seen.append((story.now.instant, one.stream, one.traffic, frame))
            elif isinstance(one, ServeContent):
                items = repr([(item.item, item.content_hash) for item in one.items]).encode()
                seen.append((story.now.instant, one.stream, one.traffic, items))

    def until(instant: int) -> None:
        while due and due[0] <= instant:
            story.wait(due.pop(0) - story.now.instant)
            story.when(TimerFired(timer=AnswersDue(link=link)))
            look()
        story.wait(instant - story.now.instant)

    for stream, (pause, request) in zip(count(1, 2), requests, strict=False):
        until(story.now.instant + pause)
        with counted() as decisions:
            story.hear(link, request, stream)
        costs.append(len(decisions))
        look()
        due += [one.at for one in story.find(SetTimer) if one.timer == AnswersDue(link=link)]
        for served in story.find(ServeContent):
            story.when(ContentServed(link=served.link, stream=served.stream))
    until(story.now.instant + 1_000)
    assert believed(story) == before
    return seen, costs


def believed(story: Story) -> tuple[object, ...]:
    """All that the node trusts and holds."""
    return (
        story.node.view.trust,
        story.node.view.floors(),
        repr(story.node.view.heads_after("", 100)),
    )


fates = st.lists(st.sampled_from(Fate), min_size=len(NAMES), max_size=len(NAMES)).map(tuple)
questions = st.lists(
    st.tuples(
        st.integers(0, 25),
        st.lists(st.integers(-1, len(NAMES) - 1), min_size=1, max_size=8, unique=True),
    ),
    min_size=1,
    max_size=6,
)


@given(fates=fates, questions=questions)
def test_answers_look_alike(
    fates: tuple[Fate, ...], questions: list[tuple[int, list[int]]]
) -> None:
    """Whatever became of what is asked for: the same frames in the same order at the same instants,
    and the same decisions behind them, as in a world where none of it exists."""
    requests = [
        (
            pause,
            GetContent(
                items=tuple(
                    ask(HELD if one < 0 else named(NAMES[one], fates[one])) for one in items
                )
            ),
        )
        for pause, items in questions
    ]
    nothing = (Fate.ABSENT,) * len(NAMES)
    assert probe(*world(fates), requests) == probe(*world(nothing), requests)


def test_the_answers_that_look_alike_are_told_apart_by_our_own_record_only() -> None:
    story, link = world((Fate.FORBIDDEN, Fate.FORBIDDEN))
    items = tuple(ask(acme_routes(7, name)) for name in NAMES[:2])
    story.hear(link, GetContent(items=items), 1)
    # One line for the request, or the log would be a place to write to, and its time would tell.
    assert story.facts() == [Fact.FETCH_DENIED]


def test_a_hundred_silenced_probes_end_the_link_and_no_answer_came_before() -> None:
    """Lists and grafts of an audience it may not share; a new link does not refill the budget."""
    story, link = world(())
    probe_of = Have(audience=IN_ACME, prefixes=(acme_routes().prefix,))
    for number in range(PROBES_MAX - 2):
        story.hear(link, probe_of)
        assert story.sent(link) == []
        assert story.find(Disconnect) == []
        assert story.facts() == [Fact.PROBE_SILENCED]
        if number == PROBES_MAX // 2:
            link = story.link(OUTSIDER)
    story.hear(link, Graft(audience=IN_ACME, prefixes=(acme_routes().prefix,)))
    assert (story.sent(link), story.facts()) == ([], [Fact.PROBE_SILENCED])
    story.hear(link, probe_of)
    closed = story.only(Disconnect)
    assert (closed.link, closed.bye, closed.retry_after_s) == (link, ByeReason.CLOSED, 600)
    assert closed.lost is LostReason.PROTOCOL
    refused = story.connect(OUTSIDER.name)
    assert story.only(Disconnect).link == refused
    story.wait(BARRED).connect(OUTSIDER.name)
    assert story.find(Disconnect) == []
