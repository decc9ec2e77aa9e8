"""Every slot a node serves from, held by those who read slowly or ask for everything at once.

Powers: the attackers are members with as many links as members they are. They ask for what they may
have, as often as they like, and do not read what they are sent, so that no slot comes free.
"""

from dataclasses import replace
from typing import Final

import pytest

from fabgossip.core.config import FetchingConfig
from fabgossip.core.effects import Disconnect, ServeContent
from fabgossip.core.events import LinkId, LostReason, PeerLost
from fabgossip.core.slots import SERVED_PER_LINK_MAX
from fabgossip.model.messages import Busy, ByeReason, ContentAsk, GetContent
from tests.attacks.powers import ask
from tests.attacks.scene import ATTACKER, Scene
from tests.core.artifacts import Artifact, revocations, routes

SHARED: Final = FetchingConfig().serve_streams_max
LIST: Final = revocations(8)


def asks(scene: Scene, link: LinkId, *asked: ContentAsk, times: int = 1) -> int:
    """A peer asks so often, each time on a stream of its own; how often it is served."""
    served = 0
    for number in range(times):
        scene.hear(link, GetContent(items=asked), stream=2 * number + 2)
        served += len(scene.find(ServeContent))
    return served


def besieged() -> Scene:
    """A node all of whose slots are held: by as many links as there are slots, and by one more."""
    scene = Scene().publish(routes(7), LIST)
    for number in range(SHARED + 1):
        link = scene.link(f"m{number}")
        asks(scene, link, ask(routes(7)), times=SERVED_PER_LINK_MAX + 1)
        asks(scene, link, ask(LIST), times=2)
    return scene


@pytest.mark.parametrize("wanted", [routes(7), LIST], ids=["ordinary", "trust"])
def test_whoever_comes_is_served_however_many_links_hold_slots(wanted: Artifact) -> None:
    scene = besieged()
    assert asks(scene, scene.bystander, ask(wanted)) == 1


def test_a_link_that_has_its_share_is_still_served_the_list() -> None:
    """Somebody else's slots and its own are in use: trust has one more, once."""
    scene = besieged()
    assert asks(scene, scene.bystander, ask(routes(7)), times=2) == 1
    assert asks(scene, scene.bystander, ask(LIST), times=2) == 1
    assert [type(one) for one in scene.sent(scene.bystander)] == [Busy]


def test_the_slot_for_trust_serves_nothing_beside_it() -> None:
    """One item of trust does not carry the others along."""
    scene = besieged()
    asks(scene, scene.bystander, ask(routes(7)))
    assert asks(scene, scene.bystander, ask(LIST), ask(routes(7))) == 0
    assert asks(scene, scene.bystander, ask(LIST)) == 1


def test_one_link_has_no_more_than_its_share() -> None:
    scene = Scene().publish(routes(7), LIST)
    assert asks(scene, scene.attacker, ask(routes(7)), times=SHARED) == SERVED_PER_LINK_MAX


def test_slots_end_with_their_link() -> None:
    """What a link held is free for others once it is lost, unserved."""
    scene = Scene().publish(routes(7))
    links = [scene.attacker, scene.link("n4"), scene.link("n5")]
    served = [asks(scene, link, ask(routes(7)), times=SERVED_PER_LINK_MAX) for link in links]
    assert sum(served) == SHARED + len(links)
    assert asks(scene, scene.bystander, ask(routes(7)), times=2) == 1
    lost = PeerLost(link=scene.attacker, node_id=ATTACKER, reason=LostReason.EOF)
    scene.when(lost)
    assert asks(scene, scene.bystander, ask(routes(7)), times=SHARED) == SERVED_PER_LINK_MAX - 1


@pytest.mark.parametrize(
    "asked",
    [
        (ask(routes(7)),) * 1_024,
        (ask(routes(8)),) * 2,
        (replace(ask(routes(7)), chunk_count=4), replace(ask(routes(7)), first_chunk=3)),
    ],
    ids=["the same item", "what is not here", "runs that overlap"],
)
def test_who_asks_for_the_same_bytes_twice_at_once_gets_none(
    asked: tuple[ContentAsk, ...],
) -> None:
    """One small message must not have a node send a content a thousand times. That the link ends
    tells nothing of what is here."""
    scene = Scene().publish(routes(7))
    assert asks(scene, scene.attacker, *asked) == 0
    closed = scene.only(Disconnect)
    assert (closed.link, closed.bye, closed.lost) == (
        scene.attacker,
        ByeReason.PROTOCOL,
        LostReason.PROTOCOL,
    )


def test_different_runs_of_one_content_are_one_request() -> None:
    scene = Scene().publish(routes(7))
    runs = tuple(replace(ask(routes(7)), first_chunk=number) for number in (4, 0, 2))
    assert asks(scene, scene.attacker, *runs) == 1
