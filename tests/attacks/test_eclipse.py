"""Every neighbor is hostile.

Powers: the attacker owns both links of the node and every address it dials. It holds all that was
ever signed, and keys nobody trusts. It replays, forges, serves nothing, says it has everything, and
goes on for as long as it likes. Only time is not its own.
"""

from dataclasses import replace

import pytest

from fabgossip.core.effects import Fact, Materialize, Persist, ReceiveContent
from fabgossip.core.events import LinkId, Persisted, RefreshDue, TimerFired
from fabgossip.model.artifact import ArtifactType, Order
from fabgossip.model.mode import Mode
from fabgossip.model.moment import UnixTime, seconds_after
from fabgossip.model.persistence import PutTimeFloor
from fabgossip.trust.modes import PARTITIONED_AFTER_S
from tests.attacks.scene import Scene
from tests.core.artifacts import Artifact, node_snapshot, revocations, routes, sealed, trust
from tests.core.story import Peer
from tests.trust import factory

LIST = ArtifactType.REVOCATION_LIST
OLD = (revocations(6), routes(6), routes(5))
FORGED = tuple(
    Artifact(one, factory.signed(one, factory.STRANGER), b"")
    for one in (
        replace(factory.manifest(LIST), config_version=9),
        replace(factory.manifest(ArtifactType.CLUSTER_SNAPSHOT), config_version=9),
        replace(routes().manifest, config_version=9),
    )
)
LIST_STALE_AT = factory.NOW + factory.HOUR
NEWEST_ISSUED_AT = factory.NOW - 60
CODES = {"VERSION_ROLLBACK", "KEY_UNKNOWN"}


def mode(scene: Scene) -> Mode:
    return scene.node.view.snapshot(scene.now).mode


def lie(scene: Scene, round_number: int) -> None:
    """Everything the neighbors have to say, once more."""
    for one in (*OLD, *FORGED):
        scene.announce(one, scene.attacker if round_number % 2 else scene.bystander)
    scene.when(TimerFired(timer=RefreshDue()))


def until(scene: Scene, moment: int) -> Scene:
    scene.wait((moment - scene.now.unix) * 1_000)
    return scene


def reissued(kind: ArtifactType, version: int, at: UnixTime, content: bytes) -> Artifact:
    """What an honest source brings: signed anew a moment ago."""
    statement = replace(
        factory.manifest(kind),
        config_version=version,
        issued_at=at,
        refresh_by=seconds_after(at, factory.HOUR),
        expires_at=seconds_after(at, factory.DAY),
    )
    return sealed(statement, content)


@pytest.mark.parametrize("silent", [False, True], ids=["they lie", "they say nothing"])
def test_not_fooled(silent: bool) -> None:  # noqa: FBT001  # a case
    """Partitioned and stale to the second, whatever they say; nothing they say is believed; what
    was good stays and ends at its own time."""
    scene = Scene().publish(revocations(7), routes(7))
    before = scene.state
    deadlines = [
        (NEWEST_ISSUED_AT + PARTITIONED_AFTER_S, Mode.FRESH),
        (NEWEST_ISSUED_AT + PARTITIONED_AFTER_S + 1, Mode.PARTITIONED),
        (LIST_STALE_AT - 1, Mode.PARTITIONED),
        (LIST_STALE_AT, Mode.STALE),
        (LIST_STALE_AT + factory.HOUR, Mode.STALE),
    ]
    for number, (moment, expected) in enumerate(deadlines):
        until(scene, moment)
        if silent:
            scene.when(TimerFired(timer=RefreshDue()))
        else:
            lie(scene, number)
        assert mode(scene) is expected
        assert scene.state == before
    assert set(scene.codes) == (set() if silent else CODES)
    # Whom to ask it may choose freely: it asks for the trust lane and what it holds, by name.
    assert {one.partition(" ")[0] for one in scene.requests} == {"heads"}
    assert {one for one in scene.audited if one[0] == Fact.MODE_CHANGED.value} == {
        ("mode_changed", "", "")
    }
    refused = [one for one in scene.audited if one[0] != Fact.MODE_CHANGED.value]
    assert [(event, code) for event, code, _ in refused] == [
        ("artifact_rejected", code) for code in scene.codes
    ]
    assert {who for _, _, who in refused} == (set() if silent else {"n2", "n3"})
    scene.leaves(
        before,
        codes=scene.codes,
        requests=scene.requests,
        audited=scene.audited,
        durable=[one for one in scene.durable if isinstance(one, PutTimeFloor)],
    )

    until(scene, factory.NOW + factory.DAY).when(TimerFired(timer=RefreshDue()))
    assert scene.trusted["routes/r1"] == (Order(2, 7), "expired")
    assert scene.state.floors == before.floors


def test_one_honest_source_is_enough() -> None:
    """Among any number of liars."""
    scene = Scene().publish(revocations(7), routes(7))
    liars = [scene.link(f"m{number}") for number in range(4)]
    until(scene, LIST_STALE_AT)
    for number in range(3):
        lie(scene, number)
    assert mode(scene) is Mode.STALE
    honest = scene.link(Peer(name="n8"))
    at = UnixTime(LIST_STALE_AT)
    newer = (
        reissued(ArtifactType.TRUST_BUNDLE, 3, at, trust(factory.BUNDLE).content),
        reissued(LIST, 8, at, revocations(1).content),
        reissued(ArtifactType.CLUSTER_SNAPSHOT, 8, at, node_snapshot(8).content),
    )
    for artifact in newer:
        take(scene, artifact, honest)
    assert mode(scene) is Mode.FRESH
    assert scene.node.view.trust.revoked.version == 8
    assert {one.link for one in scene.node.view.sessions()} >= {*liars, honest}


def take(scene: Scene, artifact: Artifact, link: LinkId) -> None:
    """An honest source announces and brings it."""
    scene.announce(artifact, link)
    for put in scene.find(Persist):
        scene.when(Persisted(token=put.token, ok=True))
    if scene.find(ReceiveContent):
        scene.stored(artifact, link)
    for switch in scene.find(Materialize):
        scene.when(Persisted(token=switch.token, ok=True))
