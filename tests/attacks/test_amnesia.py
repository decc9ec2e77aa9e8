"""A node whose memory was taken from it.

Powers: the attacker can remove the state folder, put another bundle into the stored chain, or
put the whole machine back to a state of some time ago, in which everything fits together. It owns
all links until somebody honest comes, and offers what was true at that time.
"""

from dataclasses import dataclass, replace
from typing import Final

import pytest

from fabgossip.core.effects import (
    Answer,
    Fact,
    Materialize,
    Persist,
    ReceiveContent,
    Record,
    ServeContent,
)
from fabgossip.core.events import (
    GateRequest,
    LinkId,
    Persisted,
    RefreshDue,
    RequestId,
    RequestMade,
    Started,
    TimerFired,
)
from fabgossip.model.authority import RevokedKind
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import (
    Announce,
    Announced,
    GetContent,
    Heads,
)
from fabgossip.model.mode import RISKS, Action, Mode
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import PutMemory, StoredTrust
from fabgossip.trust.modes import may
from fabgossip.wire.contents import bundle_bytes
from tests.attacks.powers import ask, revokes
from tests.attacks.scene import ATTACKER, Scene
from tests.core import story as stories
from tests.core.artifacts import (
    Artifact,
    node_snapshot,
    peers,
    record,
    revocations,
    routes,
    sealed,
    stored_head,
    trust,
)
from tests.core.story import NOTHING_STORED, fresh_lane, roots_told
from tests.trust import factory

FOUR: Final = trust(replace(factory.BUNDLE, bundle_version=4))
WHOLE: Final = replace(
    NOTHING_STORED,
    heads=(*fresh_lane("n1"), stored_head(routes(7))),
    memory=replace(NOTHING_STORED.memory, generation=5, time_floor=factory.NOW, revoked_epoch=2),
)
"""A state of a minute ago: list, own snapshot, routes, all in time."""
LOST: Final = replace(NOTHING_STORED, memory=replace(WHOLE.memory, is_whole=False, generation=1))
BROKEN: Final = replace(
    WHOLE,
    trust=(
        StoredTrust(
            version=4,
            envelope=FOUR.envelope,
            content=bundle_bytes(replace(factory.BUNDLE, bundle_version=4, protocol_min=2)),
        ),
    ),
)
UNFINISHED: Final = replace(WHOLE, memory=replace(WHOLE.memory, is_whole=False))


@dataclass(frozen=True)
class Loss:
    """What is found on the disk, and how many starts the node's claims demand."""

    started: Started
    generation: int = 0
    is_noted: bool = True
    """Whether the disk has to be told."""


LOSSES: Final[dict[str, Loss]] = {
    "the state is missing": Loss(LOST, is_noted=False),
    "the chain is broken": Loss(BROKEN),
    "the machine was put back": Loss(WHOLE, generation=9),
    "it was noticed before": Loss(UNFINISHED, is_noted=False),
}


def node(loss: Loss) -> Scene:
    """The node as it starts, between the attacker and a bystander."""
    return Scene(started=loss.started, is_fresh=False, state_generation=loss.generation)


def mode(scene: Scene) -> Mode:
    return scene.node.view.snapshot(scene.now).mode


def may_not(scene: Scene) -> None:
    """Nothing is allowed, served, taken up or told."""
    assert mode(scene) is Mode.AMNESIA
    freshness = scene.node.view.trust.freshness
    allowed = [one for one in Action if may(one, freshness, scene.now.unix).allowed]
    assert allowed == [Action.RESTRICT]
    for number, action in enumerate((*RISKS, "no-action-of-ours")):
        scene.when(RequestMade(request=RequestId(number), body=GateRequest(action=action)))
        assert [one.permit is not None and one.permit.allowed for one in scene.find(Answer)] == [
            False
        ]
    scene.hear(scene.attacker, GetContent(items=(ask(routes(7)), ask(revocations(8)))), stream=1)
    assert scene.find(ServeContent) == []
    assert roots_told(scene, scene.attacker) == set()


def take(scene: Scene, artifact: Artifact, link: LinkId) -> None:
    """Somebody announces and brings it."""
    scene.announce(artifact, link)
    for put in scene.find(Persist):
        scene.when(Persisted(token=put.token, ok=True))
    if scene.find(ReceiveContent):
        scene.stored(artifact, link)
    for switch in scene.find(Materialize):
        scene.when(Persisted(token=switch.token, ok=True))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_deny_until_fresh(loss: Loss) -> None:
    """Whatever is still on the disk, and whatever the attacker replays: denied until a newer list,
    the own snapshot and the chain are here. Of content only the trust lane is taken."""
    scene = node(loss)
    noted = [one for rows in scene.commits for one in rows if one == PutMemory(is_whole=False)]
    assert len(noted) == loss.is_noted
    may_not(scene)
    before = scene.state
    scene.caused.clear()
    for replayed in (routes(7), routes(8), peers(record("n9"))):
        scene.announce(replayed, scene.attacker)
    scene.rest()
    # Where the routes are still on the disk, those it holds are no news and make no record.
    assert len(scene.codes) in (2, 3)
    denied = ("artifact_rejected", "MODE_DENIED", ATTACKER)
    scene.leaves(
        before,
        codes=["MODE_DENIED"] * len(scene.codes),
        audited=[denied] * len(scene.codes),
    )
    may_not(scene)

    scene.wait(1_000)
    for artifact in (node_snapshot(8), revocations(8)):
        assert mode(scene) is Mode.AMNESIA
        take(scene, artifact, scene.bystander)
    assert mode(scene) in (Mode.FRESH, Mode.PARTITIONED)
    (whole,) = [one for one in scene.durable if isinstance(one, PutMemory)]
    assert whole == PutMemory(
        is_whole=True, generation=max(loss.started.memory.generation, loss.generation)
    )
    assert [
        dict(one.fields)["mode"] for one in scene.caused if isinstance(one, Record) and is_mode(one)
    ][-1] != "amnesia"


def is_mode(one: object) -> bool:
    return isinstance(one, Record) and one.fact is Fact.MODE_CHANGED


WITHHELD: Final[dict[str, tuple[Artifact, ...]]] = {
    "no list": (node_snapshot(8),),
    "no snapshot": (revocations(8),),
    "nothing": (),
}


@pytest.mark.parametrize("brought", WITHHELD.values(), ids=WITHHELD)
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_one_of_them_is_not_enough(loss: Loss, brought: tuple[Artifact, ...]) -> None:
    """Nor is what the disk itself has of the other, however well it fits: it may be of before."""
    scene = node(loss)
    for artifact in brought:
        take(scene, artifact, scene.bystander)
    scene.when(TimerFired(timer=RefreshDue()))
    may_not(scene)


def test_its_own_snapshot_of_before_shown_again_is_not_enough() -> None:
    """Somebody honest brings the list, the attacker what it kept: a narrower snapshot may have come
    between, and a peer's word that none did is worth nothing."""
    scene = node(LOSSES["the machine was put back"])
    (before,) = (one for one in fresh_lane("n1") if not one.is_trust)
    take(scene, revocations(8), scene.bystander)
    entries = (Announced(before.envelope, 0),)
    scene.hear(scene.attacker, Announce(entries=entries))
    scene.hear(scene.attacker, Heads(envelopes=(before.envelope,)))
    scene.when(TimerFired(timer=RefreshDue()))
    may_not(scene)
    take(scene, node_snapshot(8), scene.bystander)
    assert mode(scene) is not Mode.AMNESIA


def test_claims_newer_than_the_lost_ones_come_with_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An epoch was opened meanwhile: no new claims without memory, and none of that without claims,
    would keep it out for ever."""
    old = replace(
        factory.claims(), node_id=NodeId("n1"), authority_epoch=factory.BUNDLE.authority_epoch - 1
    )
    monkeypatch.setattr(stories, "claims_of", lambda *_: factory.signed_claims(old))
    scene = node(LOSSES["the state is missing"])
    take(scene, revocations(8), scene.bystander)
    may_not(scene)
    newer = replace(factory.claims(), node_id=NodeId("n1"), claims_version=2)
    take(scene, node_snapshot(8, claims=factory.signed_claims(newer)), scene.bystander)
    assert mode(scene) in (Mode.FRESH, Mode.PARTITIONED)
    take(scene, routes(8), scene.bystander)
    assert scene.node.view.find(routes(8).manifest.namespace.text) is not None


def test_a_list_that_is_overdue_is_not_enough() -> None:
    scene = node(LOSSES["the state is missing"])
    scene.wait((factory.HOUR + 1) * 1_000)
    for artifact in (node_snapshot(8), revocations(8)):
        take(scene, artifact, scene.bystander)
    assert scene.node.view.trust.revoked.version == 8
    may_not(scene)


def bring(scene: Scene, artifact: Artifact) -> None:
    """Somebody announces it, and all that follows is done: the disk has more to write than it."""
    scene.announce(artifact, scene.bystander)
    scene.carry_out(artifact)


def lost_with_its_snapshot_back() -> Scene:
    scene = node(LOSSES["the state is missing"])
    take(scene, node_snapshot(8), scene.bystander)
    return scene


def test_with_a_clock_behind_what_was_reached_it_is_not_enough() -> None:
    scene = lost_with_its_snapshot_back()
    scene.step_clock(-3_600)
    bring(scene, revocations(8))
    may_not(scene)


def test_with_a_clock_that_stepped_ahead_only_a_list_that_agrees_with_it_is_enough() -> None:
    """One that is overdue by that clock says nothing for it; one in time does."""
    scene = lost_with_its_snapshot_back()
    scene.step_clock(3_000)
    in_time = revocations(8).manifest
    overdue = replace(in_time, refresh_by=UnixTime(factory.NOW + 60))
    bring(scene, sealed(overdue, revocations(8).content))
    may_not(scene)
    bring(scene, revocations(9))
    assert mode(scene) is not Mode.AMNESIA


def test_a_restriction_lands_all_the_same() -> None:
    scene = node(LOSSES["the machine was put back"])
    entry = revokes(RevokedKind.SIGNING_KEY, factory.POLICY.key_id)
    take(scene, revocations(8, entry), scene.attacker)
    assert scene.node.view.trust.revoked.has_key(factory.POLICY.key_id)
    assert scene.trusted["routes/r1"][1] == "refused"


def test_a_node_that_was_put_back_is_not_lost_again_at_every_list() -> None:
    """Once it has proved itself the demand is met, here and on the disk."""
    scene = node(LOSSES["the machine was put back"])
    for artifact in (node_snapshot(8), revocations(8)):
        take(scene, artifact, scene.bystander)
    scene.caused.clear()
    take(scene, revocations(9), scene.bystander)
    assert mode(scene) is not Mode.AMNESIA
    assert [one for one in scene.durable if isinstance(one, PutMemory)] == []
