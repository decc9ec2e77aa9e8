"""Who waits for a version hears when consumers may read it, and why they may not yet."""

from dataclasses import replace

import pytest

from fabgossip.core.awaiting import Arrival, Awaited
from fabgossip.core.effects import Record
from fabgossip.errors import ModelError
from fabgossip.model.artifact import Order, Tombstone, parse_order
from fabgossip.model.ids import NOTHING_HASH
from tests.core.artifacts import routes, sealed, tombstone
from tests.core.story import Story
from tests.core.test_permits import LASTING
from tests.core.test_withdrawing import for_globex
from tests.trust import factory

NAMESPACE = routes().manifest.namespace.text


def look(story: Story, at_least: Order | None = None, *, must_be_usable: bool = False) -> Awaited:
    return story.node.awaiting.of(NAMESPACE, at_least, story.now, must_be_usable=must_be_usable)


def test_it_is_reached_once_consumers_read_it_and_not_when_it_is_announced() -> None:
    story = Story()
    link = story.link("n2")
    assert look(story).reason == "no artifact that this node uses has come here"
    story.announce(routes(7), link).persisted()
    assert look(story).reason == "2.7 is behind, and nothing before it is in use"
    story.stored(routes(7), link)
    assert look(story).arrival is Arrival.NOT_YET
    story.materialized()
    assert look(story) == Awaited(
        namespace=NAMESPACE, arrival=Arrival.REACHED, order=Order(2, 7), reason="2.7 is in use",
        refresh_by=routes(7).manifest.refresh_by,
    )  # fmt: skip


def test_a_version_is_waited_for_until_it_or_a_later_one_is_in_use() -> None:
    story = Story()
    story.accept(routes(7), story.link("n2"))
    for version, arrival in ((6, Arrival.REACHED), (7, Arrival.REACHED), (8, Arrival.NOT_YET)):
        assert look(story, Order(2, version)).arrival is arrival
    assert look(story, Order(2, 8)).reason == "2.7 is in use, 2.8 is waited for"


def test_the_version_before_is_in_use_while_the_newest_is_on_its_way() -> None:
    story = Story()
    link = story.link("n2")
    story.accept(routes(7), link)
    story.announce(routes(8), link).persisted()
    assert look(story, must_be_usable=True).arrival is Arrival.REACHED


def test_what_is_withdrawn_is_gone_and_no_time_brings_it_back() -> None:
    story = Story()
    link = story.link("n2")
    story.accept(routes(7), link)
    story.announce(tombstone(8), link).persisted()
    assert look(story).arrival is Arrival.GONE


def test_what_is_in_use_and_too_old_is_not_usable() -> None:
    story = Story()
    story.accept(LASTING, story.link("n2"))
    past = LASTING.manifest.refresh_by - factory.NOW
    story.wait((past + 1) * 1_000)
    assert look(story).arrival is Arrival.REACHED
    usable = look(story, must_be_usable=True)
    assert usable.arrival is Arrival.NOT_YET
    assert usable.reason.startswith("2.7 is in use, and not usable: ")


def test_what_is_for_others_is_like_what_does_not_exist() -> None:
    """Held by duty and not for this node to use, before it is withdrawn and after."""
    story = Story()
    link = story.link("n2")
    namespace = for_globex(7).manifest.namespace.text

    def told() -> Awaited:
        return story.node.awaiting.of(namespace, None, story.now, must_be_usable=False)

    absent = told()
    story.announce(for_globex(7), link).persisted()
    assert story.node.view.find(namespace) is not None
    assert told() == absent
    withdrawn = replace(
        for_globex(8).manifest,
        content_hash=NOTHING_HASH,
        content_size=0,
        tombstone=Tombstone(reason="withdrawn", purge=False),
    )
    story.announce(sealed(withdrawn, b""), link).persisted()
    assert told() == absent


def test_all_is_everything_this_node_is_to_use_and_looking_is_no_question_of_the_gate() -> None:
    story = Story()
    link = story.link("n2")
    story.accept(routes(7), link)
    story.announce(routes(7, name="r2"), link).persisted()
    before = len(story.find(Record))
    found = {one.namespace: one.arrival for one in story.node.awaiting.of_all(story.now)}
    assert found[NAMESPACE] is Arrival.REACHED
    assert found[routes(7, name="r2").manifest.namespace.text] is Arrival.NOT_YET
    assert len(story.find(Record)) == before


@pytest.mark.parametrize(
    "text", ["", "1", "1.", ".2", "1.2.3", "a.b", "-1.2", "1. 2", "9" * 17 + ".1"]
)
def test_an_order_is_epoch_and_version(text: str) -> None:
    assert parse_order("1.42") == Order(1, 42)
    with pytest.raises(ModelError, match=r"expected EPOCH\.VERSION"):
        parse_order(text)
