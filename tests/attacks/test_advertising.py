"""Saying "I have it" when that is a lie, another's word, or not true any more.

Powers: the attacker is a member with a good certificate. It says of any content that it holds it,
or everything there is, for any audience, as often as it likes, and brings nothing or other bytes
when it is asked. It starts its link anew when it likes.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest

from fabgossip.core.effects import Fact, ReceiveContent
from fabgossip.core.events import ContentFailed, FetchFailure, LostReason, PeerLost
from fabgossip.model.artifact import Order
from fabgossip.model.messages import Holdings, HoldingsEntry, HoldingsMode
from fabgossip.model.persistence import PutHead
from fabgossip.model.scope import Audience
from tests.attacks.powers import ACME, frames, node
from tests.attacks.scene import ATTACKER, Scene, Standing, asks_content
from tests.core.artifacts import EVERYBODY, IN_ACME, Artifact, acme_routes, routes
from tests.core.story import Peer, announcement

LIES: Final[dict[str, Callable[[Artifact], HoldingsEntry]]] = {
    "this one": lambda one: HoldingsEntry(EVERYBODY, HoldingsMode.ONLY, (one.prefix,)),
    "everything": lambda _: HoldingsEntry(EVERYBODY, HoldingsMode.ALL_EXCEPT, ()),
}
OUTCOMES: Final = {
    "nothing": FetchFailure.MISSING,
    "other bytes": FetchFailure.BAD_HASH,
    "more bytes": FetchFailure.BAD_LENGTH,
    "half of it": FetchFailure.LOST,
    "a trickle": FetchFailure.TOO_SLOW,
}


def word(*entries: HoldingsEntry, is_whole: bool = True) -> Holdings:
    return Holdings(sequence=1, is_whole=is_whole, entries=entries)


def advertisers(scene: Scene, artifact: Artifact) -> tuple[str, ...]:
    """Who is believed to hold a content."""
    (head,) = [
        one
        for one in scene.node.view.heads_after("", 100)
        if one.manifest.namespace == artifact.manifest.namespace
    ]
    found = scene.node.view.advertisers(head)
    return (*found.by_name, *found.by_all)


def asked(scene: Scene) -> list[int | None]:
    """The links that were asked for content, in order."""
    return [one.link for one in scene.caused if isinstance(one, ReceiveContent)]


def fails(scene: Scene, artifact: Artifact, reason: FetchFailure) -> None:
    """What the attacker was asked for does not come."""
    assert scene.only(ReceiveContent).link == scene.attacker
    failed = ContentFailed(
        wanted=artifact.wanted,
        link=scene.attacker,
        request=None,
        reason=reason,
        received=0,
    )
    scene.when(failed)


LIED: Final = {
    FetchFailure.BAD_HASH: "HASH_MISMATCH",
    FetchFailure.BAD_LENGTH: "LENGTH_MISMATCH",
    FetchFailure.TOO_SLOW: "TOO_SLOW",
}
"""A source that brings nothing is not named: it may just have lost it."""


@pytest.mark.parametrize("reason", OUTCOMES.values(), ids=OUTCOMES)
@pytest.mark.parametrize("lie", LIES)
def test_false_word(lie: str, reason: FetchFailure) -> None:
    """The liar is asked once, and the content then comes from who has it. Its word is no reason to
    believe, apply, store or pass on anything."""
    scene = Scene().publish(routes(7))
    before = scene.state
    wanted = routes(8)
    scene.hear(scene.attacker, word(LIES[lie](wanted)))
    scene.announce(wanted, scene.attacker).persisted()
    fails(scene, wanted, reason)
    if reason in (FetchFailure.BAD_HASH, FetchFailure.BAD_LENGTH):
        scene.hear(scene.attacker, word(LIES[lie](wanted))).announce(wanted, scene.attacker)
    assert asked(scene) == [scene.attacker]
    code = LIED.get(reason)
    named = [("fetch_failed", reason.value, ATTACKER)]
    named += [] if code is None else [("artifact_rejected", code, ATTACKER)]
    (failed,) = [dict(one.fields) for one in scene.recorded(Fact.FETCH_FAILED)]
    assert failed["advertised"] == 1
    behind = Standing(Order(2, 8), (wanted.content_hash,), "behind")
    known = replace(
        before,
        heads=before.heads | {wanted.tail: behind},
        floors=before.floors | {wanted.tail: Order(2, 8)},
    )
    scene.leaves(
        known,
        codes=[] if code is None else [code],
        requests=[asks_content(wanted)],
        audited=named,
        durable=[PutHead(verified=wanted.verified)],
        onward=[announcement(wanted, inline=False)],
    )

    scene.announce(wanted, scene.bystander)
    assert asked(scene) == [scene.attacker, scene.bystander]
    scene.carry_out(wanted).rest()
    current = replace(behind, state="current")
    assert scene.state == replace(known, heads=known.heads | {wanted.tail: current})
    assert scene.requests == [asks_content(wanted)] * 2
    assert scene.codes == ([] if code is None else [code])
    assert scene.audited == named
    assert scene.says_it_holds(wanted)


def test_who_sent_other_bytes_is_not_asked_again_however_often_it_says_it_has_them() -> None:
    """Nor by its next link: what is held against it is held against the node."""
    scene = Scene().publish(routes(7))
    wanted = routes(8)
    scene.announce(wanted, scene.attacker).persisted()
    fails(scene, wanted, FetchFailure.BAD_HASH)
    for _ in range(3):
        scene.hear(scene.attacker, word(LIES["this one"](wanted), is_whole=False))
        scene.announce(wanted, scene.attacker)
    assert asked(scene) == [scene.attacker]
    lost = PeerLost(link=scene.attacker, node_id=node(ATTACKER), reason=LostReason.RESET)
    scene.when(lost)
    scene.announce(wanted, scene.link(ATTACKER))
    assert len(asked(scene)) == 1
    scene.announce(wanted, scene.bystander)
    assert asked(scene)[1:] == [scene.bystander]


@pytest.mark.parametrize("lie", LIES)
def test_a_word_is_about_who_says_it_and_ends_with_its_link(lie: str) -> None:
    """It makes nobody else a source, it is not passed on, and the next link starts without it."""
    scene = Scene().publish(routes(7))
    before = scene.state
    scene.hear(scene.attacker, word(LIES[lie](routes(7))))
    assert advertisers(scene, routes(7)) == (ATTACKER,)
    scene.leaves(before)
    lost = PeerLost(link=scene.attacker, node_id=node(ATTACKER), reason=LostReason.RESET)
    scene.when(lost)
    assert advertisers(scene, routes(7)) == ()
    scene.link(ATTACKER)
    assert advertisers(scene, routes(7)) == ()
    # What is still under way of the old link is nobody's word any more.
    scene.hear(scene.attacker, word(LIES[lie](routes(7))))
    assert advertisers(scene, routes(7)) == ()


NOT_SHARED: Final[dict[str, tuple[Peer, Audience]]] = {
    "it did not show": (Peer(name="n7", holds=(ACME,), shows=()), IN_ACME),
    "it is not in": (Peer(name="n7", holds=(), shows=()), IN_ACME),
}


@pytest.mark.parametrize(("peer", "audience"), NOT_SHARED.values(), ids=NOT_SHARED)
@pytest.mark.parametrize("mode", [HoldingsMode.ONLY, HoldingsMode.ALL_EXCEPT])
def test_a_word_about_an_audience_opens_none(
    peer: Peer, audience: Audience, mode: HoldingsMode
) -> None:
    """To say "I have X" gives no right to X, and no answer that tells of it."""
    scene = Scene().publish(acme_routes(7))
    liar = scene.link(peer)
    before = scene.state
    scene.caused.clear()
    named = (acme_routes(7).prefix,) if mode is HoldingsMode.ONLY else ()
    entry = HoldingsEntry(audience, mode, named)
    scene.hear(liar, word(entry))
    assert frames(scene, liar) == []
    assert advertisers(scene, acme_routes(7)) == ()
    scene.leaves(before)
