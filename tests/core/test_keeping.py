"""What is kept: trust, what is applied, duty and pins; of the rest the last one known of."""

from dataclasses import replace

import pytest

from fabgossip.core.credence import CONTRADICTED_MAX
from fabgossip.core.effects import Answer, Fact, Outcome, Persist, ReceiveContent, Remove
from fabgossip.core.events import (
    ContentFailed,
    FetchFailure,
    FetchRequest,
    LinkId,
    Persisted,
    PinRequest,
    RefreshDue,
    RequestId,
    RequestMade,
    SpaceChanged,
    TimerFired,
    UnpinRequest,
)
from fabgossip.core.problems import ProblemCode
from fabgossip.core.retention import PINS_MAX
from fabgossip.core.space import SpaceState
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.messages import Holdings, HoldingsEntry, HoldingsMode
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import DropPin, Pin, PutPin, StoredPin
from fabgossip.model.policy import ReplicationPolicy, ReplicationRule
from tests.core.artifacts import (
    CLUSTER_SCOPE,
    Artifact,
    peers,
    record,
    routes,
    stored_head,
    stores,
    tombstone,
)
from tests.core.story import NOTHING_STORED, Story
from tests.core.test_withdrawing import for_globex, on_demand
from tests.trust import factory

ONE = RequestId(1)
WEB = for_globex(7)


def held() -> tuple[Story, LinkId]:
    """A node that holds what it neither applies nor has a duty to: it was asked for. A neighbor of
    another rack than `n2`, whose link is given, says that it holds it too."""
    story, origin = on_demand()
    there = {"n2": "r1/z1/k1", "n3": "r1/z1/k2", "n4": "r1/z1/k2"}
    story.accept(peers(*(record(name, place=place) for name, place in there.items())), origin)
    fetched(story, origin)
    says_it_holds(story, story.link("n3"), WEB)
    return story, origin


def fetched(story: Story, origin: LinkId) -> None:
    """Somebody asked for it."""
    story.announce(WEB, origin).persisted()
    body = FetchRequest(content_hash=WEB.content_hash, namespace=None, timeout_ms=1_000)
    story.when(RequestMade(request=RequestId(99), body=body)).stored(WEB, origin)
    assert story.trusted[WEB.tail][1] == "held"


def says_it_holds(story: Story, link: LinkId, *artifacts: Artifact) -> Story:
    for one in artifacts:
        entry = HoldingsEntry(one.manifest.audience, HoldingsMode.ONLY, (one.prefix,))
        story.hear(link, Holdings(sequence=9, is_whole=False, entries=(entry,)))
    return story


def too_much(story: Story, count: int = 1) -> Story:
    return story.when(SpaceChanged(space=SpaceState(used_bytes=9, excess_bytes=count)))


def removed(story: Story) -> list[object]:
    return [one.content_hash for one in story.find(Remove)]


def asked(story: Story, artifact: Artifact = WEB, seconds: int = 3_600) -> Story:
    body = PinRequest(
        owner="uid:0", reason="a drill", seconds=seconds, content_hash=artifact.content_hash
    )
    return story.when(RequestMade(request=ONE, body=body))


def pinned(story: Story, artifact: Artifact = WEB, seconds: int = 3_600) -> Pin:
    answer = asked(story, artifact, seconds).persisted().only(Answer)
    assert answer.outcome is Outcome.PINNED
    assert answer.pin is not None
    return answer.pin


def test_what_nobody_needs_leaves_where_there_is_too_much_and_peers_hear_of_it() -> None:
    """The word that it is held would be contradicted by the next who asks."""
    story, origin = held()
    says_it_holds(story, origin, WEB)
    too_much(story)
    assert removed(story) == [WEB.content_hash]
    assert Fact.CONTENT_EVICTED in story.facts()
    assert story.trusted[WEB.tail][1] == "known"
    said = [one for one in story.sent(origin) if isinstance(one, Holdings)]
    assert [one.is_whole for one in said] == [True]
    assert story.find(ReceiveContent) == []
    snapshot = story.node.view.snapshot(story.now)
    assert (snapshot.retention.evicted, snapshot.retention.evicted_bytes) == (1, len(WEB.content))


def test_the_last_one_known_of_stays() -> None:
    story, origin = held()
    assert removed(too_much(story)) == []
    problems = story.node.view.snapshot(story.now).problems
    assert ProblemCode.EVICTION_STUCK in {one.code for one in problems}
    says_it_holds(story, origin, WEB)
    assert removed(too_much(story)) == [WEB.content_hash]


def test_who_fails_together_says_no_more_than_one() -> None:
    story, _ = held()
    says_it_holds(story, story.link("n4"), WEB)
    assert removed(too_much(story)) == []


def test_of_whom_no_directory_says_where_it_stands_nothing_follows() -> None:
    """Whoever has a second name would have two racks."""
    story, _ = held()
    says_it_holds(story, story.link("n9"), WEB)
    assert removed(too_much(story)) == []


def test_a_storage_endpoint_the_directory_names_for_it_is_enough() -> None:
    story, origin = on_demand()
    kind = ArtifactType.SERVICE_ASSIGNMENT_BUNDLE
    rule = ReplicationRule(artifact_type=kind, replicas=1, on_demand=True)
    directory = stores(
        "s1",
        version=8,
        replication=ReplicationPolicy(rules=(rule,)),
        kind=kind,
        scopes=(CLUSTER_SCOPE, "org:globex"),
    )
    story.accept(directory, origin)
    fetched(story, origin)
    says_it_holds(story, origin, WEB)
    assert removed(too_much(story)) == []
    says_it_holds(story, story.link("s1"), WEB)
    assert removed(too_much(story)) == [WEB.content_hash]


def test_who_was_wrong_too_often_of_late_has_no_say() -> None:
    story, origin = held()
    other = routes()
    story.announce(other, origin).persisted()
    for time in range(CONTRADICTED_MAX + 1):
        if time:
            says_it_holds(story, origin, other)
        failed = ContentFailed(
            wanted=story.only(ReceiveContent).wanted,
            link=origin,
            request=None,
            reason=FetchFailure.MISSING,
            received=0,
        )
        story.when(failed)
    says_it_holds(story, origin, WEB)
    assert removed(too_much(story)) == []


def test_what_is_trust_read_or_applied_never_leaves_whatever_peers_hold() -> None:
    story = Story()
    origin = story.link("n2")
    story.accept(routes(), origin)
    heads = story.node.view.heads_after("", 100)
    assert len(heads) == 3  # revocation list, own snapshot, routes
    for head in heads:
        entry = HoldingsEntry(
            head.manifest.audience, HoldingsMode.ONLY, (head.verified.manifest_hash[:16],)
        )
        story.hear(origin, Holdings(sequence=9, is_whole=False, entries=(entry,)))
    assert removed(too_much(story, 1 << 40)) == []


def test_what_is_withdrawn_leaves_at_once_and_needs_no_lack_of_space() -> None:
    story = Story()
    origin = story.link("n2")
    story.accept(routes(7), origin).announce(tombstone(8), origin).persisted()
    assert removed(story) == [routes(7).content_hash]


def test_a_withdrawal_outranks_a_pin() -> None:
    story = Story()
    origin = story.link("n2")
    story.accept(routes(7), origin)
    pinned(story, routes(7))
    story.announce(tombstone(8), origin).persisted()
    assert removed(story) == [routes(7).content_hash]


def test_a_pin_keeps_a_content_from_the_moment_it_is_asked_for_until_it_ends() -> None:
    story, origin = held()
    says_it_holds(story, origin, WEB)
    asked(story)
    put = story.only(Persist)
    assert [type(one) for one in put.changes] == [PutPin]
    assert story.find(Answer) == []
    assert removed(too_much(story)) == []
    story.when(Persisted(token=put.token, ok=True))
    pin = story.only(Answer).pin
    assert pin is not None
    assert Fact.PINNED in story.facts()
    assert removed(too_much(story)) == []
    story.when(RequestMade(request=ONE, body=UnpinRequest(pin_id=pin.pin_id)))
    assert story.only(Answer).outcome is Outcome.UNPINNED
    assert story.only(Persist).changes == (DropPin(pin_id=pin.pin_id),)
    assert removed(too_much(story)) == [WEB.content_hash]


def test_a_pin_the_disk_refused_is_none() -> None:
    story, origin = held()
    says_it_holds(story, origin, WEB)
    asked(story).persisted(ok=False)
    assert story.only(Answer).outcome is Outcome.FAILED
    assert removed(too_much(story)) == [WEB.content_hash]


def test_a_pin_ends_by_its_time_but_not_by_a_clock_nobody_believes() -> None:
    story, origin = held()
    says_it_holds(story, origin, WEB)
    pinned(story, seconds=60)
    story.step_clock(600).when(TimerFired(timer=RefreshDue()))
    assert story.node.view.trust.freshness.is_clock_suspect
    assert len(story.node.view.pins()) == 1
    story, origin = held()
    says_it_holds(story, origin, WEB)
    pinned(story, seconds=60)
    story.wait(59_000).when(TimerFired(timer=RefreshDue()))
    assert len(story.node.view.pins()) == 1
    story.wait(2_000).when(TimerFired(timer=RefreshDue()))
    assert story.node.view.pins() == ()
    assert Fact.UNPINNED in story.facts()
    assert removed(too_much(story)) == [WEB.content_hash]


def test_the_bytes_of_a_pinned_version_stay_when_it_is_replaced_and_leave_with_the_pin() -> None:
    """They are neither served nor applied: a pin keeps bytes, never currency."""
    story, origin = held()
    pin = pinned(story)
    story.announce(for_globex(8), origin).persisted()
    assert WEB.content_hash not in removed(story)
    story.when(RequestMade(request=ONE, body=UnpinRequest(pin_id=pin.pin_id)))
    assert removed(story) == [WEB.content_hash]


def test_what_is_pinned_and_not_here_is_fetched() -> None:
    story, origin = on_demand()
    story.announce(WEB, origin).persisted()
    assert story.find(ReceiveContent) == []
    asked(story)
    says_it_holds(story, origin, WEB)
    assert story.only(ReceiveContent).wanted.content_hash == WEB.content_hash


@pytest.mark.parametrize("artifact", [routes(9), for_globex(9)], ids=["absent", "of others"])
def test_what_no_verified_manifest_names_is_pinned_by_nobody(artifact: Artifact) -> None:
    story, _ = held()
    asked(story, artifact)
    assert story.only(Answer).outcome is Outcome.UNKNOWN
    assert story.find(Persist) == []
    story.when(RequestMade(request=ONE, body=UnpinRequest(pin_id=7)))
    assert story.only(Answer).outcome is Outcome.UNKNOWN


def stored(count: int) -> tuple[StoredPin, ...]:
    return tuple(
        StoredPin(
            pin=Pin(
                pin_id=number,
                content_hash=routes().content_hash,
                namespace="n",
                owner="uid:0",
                reason="before",
                until=UnixTime(factory.NOW + 9_999),
            ),
            held_bytes=len(routes().content),
        )
        for number in range(1, count + 1)
    )


def test_pins_outlive_the_process_and_one_too_many_is_refused() -> None:
    started = replace(NOTHING_STORED, heads=(stored_head(routes()),), pins=stored(PINS_MAX))
    story = Story(started=started)
    asked(story, routes())
    assert story.only(Answer).outcome is Outcome.FAILED
    story.when(RequestMade(request=ONE, body=UnpinRequest(pin_id=PINS_MAX)))
    story.persisted()
    assert pinned(story, routes()).pin_id == PINS_MAX + 1
