"""Damage at rest: told to peers, set aside, repaired, on record once; soundness is noted."""

from fabgossip.core.config import NodeConfig, ScrubbingConfig
from fabgossip.core.effects import Fact, ReceiveContent, Remove, Scrub
from fabgossip.core.events import ContentLost, LinkId, Persisted, ScrubDue
from fabgossip.model.messages import Holdings, HoldingsEntry, HoldingsMode
from tests.core.artifacts import EVERYBODY, Artifact, node_snapshot, routes
from tests.core.story import Story

WEEKLY = NodeConfig(scrubbing=ScrubbingConfig(interval_ms=3_600_000))


def holder() -> tuple[Story, LinkId]:
    """A node that applies routes, and a peer that has them too."""
    story = Story(config=WEEKLY)
    origin = story.link("n2")
    story.accept(routes(), origin)
    entry = HoldingsEntry(EVERYBODY, HoldingsMode.ONLY, (routes().prefix,))
    story.hear(origin, Holdings(sequence=9, is_whole=False, entries=(entry,)))
    return story, origin


def lost(story: Story, artifact: Artifact) -> Story:
    return story.when(ContentLost(content_hash=artifact.content_hash))


def next_scrub(story: Story) -> Scrub:
    """Time passes until something is hashed."""
    for _ in range(9):
        story.due(ScrubDue)
        if story.find(Scrub):
            return story.only(Scrub)
    raise AssertionError("nothing is hashed")


def test_what_is_damaged_is_set_aside_wanted_again_and_on_record_once() -> None:
    story, origin = holder()
    lost(story, routes())
    assert story.facts().count(Fact.CONTENT_DAMAGED) == 1
    assert story.only(Remove) == Remove(content_hash=routes().content_hash, is_damaged=True)
    assert story.only(ReceiveContent).link == origin
    lost(story, routes())
    assert (story.facts(), story.find(Remove)) == ([], [])
    story.due(ScrubDue)
    assert [one.is_whole for one in story.sent(origin) if isinstance(one, Holdings)] == [True]
    story.stored(routes(), origin)
    assert story.node.view.find(routes().manifest.namespace.text).is_held  # type: ignore[union-attr]  # it is known
    story.due(ScrubDue)
    assert [one for one in story.sent(origin) if isinstance(one, Holdings) and one.is_whole] == []


def test_every_holding_is_hashed_in_turn_and_again_after_its_time() -> None:
    story, _ = holder()
    seen = []
    for _ in range(6):
        scrub = next_scrub(story)
        assert scrub.at == story.now.unix
        story.when(Persisted(token=scrub.token, ok=True))
        seen.append(scrub.content_hash)
    assert len(set(seen[:3])) == 3
    assert routes().content_hash in seen
    assert seen[:3] == seen[3:]


def test_a_scrub_that_finds_damage_repairs_and_goes_on_with_the_next() -> None:
    story, origin = holder()
    while (scrub := next_scrub(story)).content_hash != routes().content_hash:
        story.when(Persisted(token=scrub.token, ok=True))
    lost(story, routes())
    assert story.only(ReceiveContent).link == origin
    story.stored(routes(), origin)
    assert next_scrub(story).content_hash != routes().content_hash


def test_what_cannot_be_read_just_now_is_no_damage() -> None:
    story, _ = holder()
    scrub = next_scrub(story)
    story.when(Persisted(token=scrub.token, ok=False))
    assert Fact.CONTENT_DAMAGED not in story.facts()
    assert story.find(Remove) == []
    assert next_scrub(story).content_hash != scrub.content_hash


def test_nothing_is_hashed_while_a_snapshot_is_on_its_way() -> None:
    story, origin = holder()
    urgent = node_snapshot(8)
    story.announce(urgent, origin).persisted()
    assert story.find(ReceiveContent)
    for _ in range(5):
        story.due(ScrubDue)
        assert story.find(Scrub) == []
    story.stored(urgent, origin)
    assert next_scrub(story).at == story.now.unix


def test_damage_at_one_node_withdraws_nothing() -> None:
    """It is a matter of this disk; the artifact stands."""
    story, _ = holder()
    lost(story, routes())
    assert story.trusted[routes().tail][1] == "behind"
