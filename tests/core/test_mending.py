"""Damage at rest: told to peers, set aside, repaired, on record once; soundness is noted."""

from fabgossip.core.config import NodeConfig, ScrubbingConfig
from fabgossip.core.effects import Fact, Materialize, ReceiveContent, Remove, Scrub
from fabgossip.core.events import ContentLost, LinkId, LocalDamaged, Persisted, ScrubDue
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


def damaged(story: Story, artifact: Artifact) -> Story:
    manifest_hash = artifact.verified.manifest_hash
    namespace = artifact.manifest.namespace.text
    return story.when(LocalDamaged(namespace=namespace, manifest_hash=manifest_hash))


def reading() -> tuple[Story, LinkId]:
    story = Story(config=WEEKLY)
    origin = story.link("n2")
    story.announce(routes(), origin).persisted().stored(routes(), origin).materialized()
    assert story.trusted[routes().tail][1] == "current"
    return story, origin


def test_what_software_reads_of_a_content_is_looked_at_with_it() -> None:
    story, _ = reading()
    looked_at = []
    for _ in range(3):
        scrub = next_scrub(story)
        story.when(Persisted(token=scrub.token, ok=True))
        looked_at += [one.manifest.namespace.text for one in scrub.shown]
        assert {one.manifest.content_hash for one in scrub.shown} <= {scrub.content_hash}
    assert routes().manifest.namespace.text in looked_at


def test_a_damaged_copy_is_written_anew_from_the_content_that_is_held() -> None:
    story, _ = reading()
    damaged(story, routes())
    assert story.facts() == [Fact.LOCAL_DAMAGED]
    switch = story.only(Materialize)
    assert (switch.order, switch.is_damaged) == (routes().manifest.order, True)
    damaged(story, routes())
    assert story.effects == [], "it is being written"
    story.when(Persisted(token=switch.token, ok=True))
    assert story.trusted[routes().tail][1] == "current"


def test_a_copy_the_disk_does_not_take_is_written_when_it_does() -> None:
    story, _ = reading()
    switch = damaged(story, routes()).only(Materialize)
    story.when(Persisted(token=switch.token, ok=False))
    assert story.trusted[routes().tail][1] == "unapplied"


def test_a_damaged_copy_of_what_is_not_held_is_taken_away_and_comes_back_with_the_content() -> None:
    """Both copies lay on one disk."""
    story, origin = reading()
    entry = HoldingsEntry(EVERYBODY, HoldingsMode.ONLY, (routes().prefix,))
    story.hear(origin, Holdings(sequence=9, is_whole=False, entries=(entry,)))
    lost(story, routes())
    damaged(story, routes())
    assert story.only(Materialize).order is None
    story.materialized().stored(routes(), origin)
    assert story.only(Materialize).order == routes().manifest.order


def test_damage_of_what_nobody_reads_any_more_is_none() -> None:
    story, origin = reading()
    story.accept(routes(8), origin)
    assert damaged(story, routes(7)).effects == []
