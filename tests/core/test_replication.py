"""A critical artifact that lost replicas is on record, once, and that it has them again as well."""

import pytest

from fabgossip.core.effects import Fact, Record
from fabgossip.core.events import LinkId, LostReason, PeerLost, RefreshDue, TimerFired
from fabgossip.core.replication import SHORT_FOR
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import Holdings, HoldingsEntry, HoldingsMode
from tests.core.artifacts import EVERYBODY, Artifact, revocations, routes, stores
from tests.core.story import Story

STORES = stores("n1", "n2", "n3", "never-met", kind=ArtifactType.REVOCATION_LIST)
LIST = revocations(2)


def told(story: Story) -> list[tuple[str, dict[str, str | int]]]:
    """What a turn put on record about replicas."""
    story.when(TimerFired(timer=RefreshDue()))
    story.node.check()
    facts = (Fact.CRITICAL_UNDER_REPLICATED, Fact.CRITICAL_REPLICATION_RESTORED)
    found = [one for one in story.find(Record) if one.fact in facts]
    return [(one.fact.value, dict(one.fields)) for one in found]


def hold(story: Story, link: LinkId, *artifacts: Artifact) -> None:
    """A peer says what it holds."""
    entry = HoldingsEntry(EVERYBODY, HoldingsMode.ONLY, tuple(one.prefix for one in artifacts))
    story.hear(link, Holdings(sequence=9, is_whole=True, entries=(entry,)))


def lose(story: Story, link: LinkId, name: str) -> None:
    story.when(PeerLost(link=link, node_id=NodeId(name), reason=LostReason.EOF))


def fabric(directory: Artifact = STORES) -> tuple[Story, LinkId, LinkId]:
    """A storage node that holds the list, and two more that say they do."""
    story = Story()
    first, second = story.link("n2"), story.link("n3")
    for one in (directory, LIST):
        story.accept(one, first)
    for link in (first, second):
        hold(story, link, LIST)
    return story, first, second


def test_a_lost_holder_is_on_record_after_a_minute_and_once_and_so_is_its_return() -> None:
    story, _, second = fabric()
    assert told(story) == []
    lose(story, second, "n3")
    assert told(story) == []
    story.wait(SHORT_FOR - 1)
    assert told(story) == []
    story.wait(1)
    fields = {
        "namespace": LIST.manifest.namespace.text,
        "order": str(LIST.manifest.order),
        "confirmed": 2,
        "required": 3,
    }
    assert told(story) == [("critical_under_replicated", fields)]
    assert told(story) == []
    hold(story, story.link("n3"), LIST)
    restored = ("critical_replication_restored", fields | {"confirmed": 3})
    assert told(story) == [restored]
    assert told(story) == []


def test_a_holder_that_says_it_lacks_it_does_not_count() -> None:
    story, _, second = fabric()
    assert told(story) == []
    hold(story, second, routes())
    assert told(story) == []
    story.wait(SHORT_FOR)
    assert [name for name, _ in told(story)] == ["critical_under_replicated"]


def test_a_restart_of_a_holder_is_no_shortage() -> None:
    story, first, second = fabric()
    assert told(story) == []
    lose(story, second, "n3")
    assert told(story) == []
    story.wait(SHORT_FOR - 1)
    hold(story, story.link("n3"), LIST)
    assert told(story) == []
    lose(story, first, "n2")
    story.wait(1)
    assert told(story) == []


@pytest.mark.parametrize(
    "directory",
    [
        stores("n2", "n3", kind=ArtifactType.REVOCATION_LIST),
        stores("n1", "n2", "n3", kind=ArtifactType.ROUTE_POLICY_BUNDLE),
        stores("n1", "n2", kind=ArtifactType.REVOCATION_LIST),
    ],
    ids=["not a storage node", "nobody holds it by duty", "who left holds nothing by duty"],
)
def test_what_is_no_duty_is_no_shortage(directory: Artifact) -> None:
    story, _, second = fabric(directory)
    assert told(story) == []
    lose(story, second, "n3")
    for _ in range(2):
        story.wait(SHORT_FOR)
        assert told(story) == []


def test_what_is_not_critical_is_nobodys_alarm() -> None:
    story, first, second = fabric(stores("n1", "n2", "n3"))
    story.accept(routes(), first)
    for link in (first, second):
        hold(story, link, routes())
    assert told(story) == []
    lose(story, second, "n3")
    for _ in range(2):
        story.wait(SHORT_FOR)
        assert told(story) == []
