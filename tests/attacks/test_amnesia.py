"""A node that lost its memory, and whoever would like it to act on what is left.

Powers: the attacker makes the node forget: it takes the disk away, cuts or edits it, or rolls it
back together with the machine. It holds everything that was ever signed, says what it likes about
floors, and asks for whatever it may think the node still has.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fabgossip.core.effects import Answer, ServeContent
from fabgossip.core.events import GateRequest, RequestId, RequestMade, Started
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import RevocationList
from fabgossip.model.messages import GetContent
from fabgossip.model.mode import Mode
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import PutMemory, PutTrust
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.topology import Snapshot
from fabgossip.storage.index import NodeIndex, Row
from fabgossip.wire.contents import revocations_bytes, snapshot_bytes
from tests.attacks.powers import ask, remains
from tests.attacks.scene import ATTACKER, NODE, Scene, asks_content, started_from
from tests.core.artifacts import Artifact, routes, sealed, trust
from tests.trust import factory

BYSTANDER = "n3"
ACTIONS = ("read-config", "route", "admit-peer", "activate-update")


def newly(kind: ArtifactType, content: bytes, version: int = 9) -> Artifact:
    """Signed a moment ago."""
    statement = replace(
        factory.manifest(kind), config_version=version, issued_at=UnixTime(factory.NOW - 30)
    )
    return sealed(statement, content)


LIST = newly(ArtifactType.REVOCATION_LIST, revocations_bytes(RevocationList()))


def own_snapshot(claims: bytes = b"", settings: bytes = b"") -> bytes:
    return snapshot_bytes(
        Snapshot(endpoints=(), degraded=DegradedPolicy(), settings=settings, claims=claims)
    )


SNAPSHOT = newly(ArtifactType.CLUSTER_SNAPSHOT, own_snapshot(settings=b"new"))
LATER_CLAIMS = factory.signed_claims(
    replace(factory.claims(), claims_version=2, state_generation=9)
)
"""Made when the folder of the node had started nine times."""


def aged(kind: ArtifactType, content: bytes) -> Artifact:
    """Past its refresh time, as what lies on a disk for a while."""
    refresh_by = UnixTime(factory.NOW - 1)
    return sealed(replace(factory.manifest(kind), refresh_by=refresh_by), content)


def remembered(claims: bytes = b"") -> list[tuple[Row, ...]]:
    """Everything a node of good memory had on its disk a while ago."""
    scene = Scene().publish(
        trust(factory.NEXT_BUNDLE),
        routes(7),
        aged(ArtifactType.CLUSTER_SNAPSHOT, own_snapshot(claims)),
        aged(ArtifactType.REVOCATION_LIST, LIST.content),
    )
    return scene.commits


def nothing() -> list[tuple[Row, ...]]:
    return []


def not_whole() -> list[tuple[Row, ...]]:
    return [tuple(one for one in rows if not isinstance(one, PutMemory)) for rows in remembered()]


def edited(row: Row) -> Row:
    return replace(row, envelope=b"\x00" * 64) if isinstance(row, PutTrust) else row


def broken_chain() -> list[tuple[Row, ...]]:
    return [tuple(edited(one) for one in rows) for rows in remembered()]


def rolled_back() -> list[tuple[Row, ...]]:
    """The folder has started twice, and its claims know of nine starts."""
    return remembered(LATER_CLAIMS)


LOST: dict[str, Callable[[], list[tuple[Row, ...]]]] = {
    "all of it": nothing,
    "the word that it is whole": not_whole,
    "a step of the chain": broken_chain,
    "what came after a copy of the disk": rolled_back,
}


def started_on(commits: list[tuple[Row, ...]], folder: Path) -> Started:
    index = NodeIndex(folder / "index.sqlite")
    index.open(NODE)
    index.begin()
    for rows in commits:
        index.commit(rows)
    index.close()
    index.open(NODE)
    started = started_from(index)
    index.close()
    return started


def mode_of(scene: Scene) -> Mode:
    return scene.node.snapshot(scene.now).mode


def permits(scene: Scene) -> list[tuple[bool, Mode]]:
    """What local software is told: whether it may, and by which condition."""
    answers = []
    for action in ACTIONS:
        body = GateRequest(action=action)
        permit = scene.when(RequestMade(request=RequestId(1), body=body)).only(Answer).permit
        assert permit is not None
        answers.append((permit.allowed, permit.mode))
    return answers


def denies(scene: Scene) -> None:
    """Nothing is allowed, served, taken up, told or asked for, and that is on record."""
    scene.rest()
    before = scene.state
    scene.caused.clear()
    assert mode_of(scene) is Mode.AMNESIA
    assert permits(scene) == [(False, Mode.AMNESIA)] * len(ACTIONS)
    for link in (scene.attacker, scene.bystander):
        scene.hear(link, GetContent(items=(ask(routes(7)),), narrowing=None), stream=1)
    scene.offer(routes(8))
    assert [one for one in scene.caused if isinstance(one, ServeContent)] == []
    denied = [("gate_answered", "mode", action) for action in ACTIONS]
    if routes(7).tail in before.heads:
        denied += [("fetch_denied", "degraded_policy", peer) for peer in (ATTACKER, BYSTANDER)]
    # It waits once it was refused: the same bytes again are no second record.
    refused = scene.audited[len(denied) :]
    assert refused in ([], [("artifact_rejected", "MODE_DENIED", ATTACKER)])
    remains(scene, before, codes=["MODE_DENIED"] * len(refused), audited=denied + refused)


@pytest.mark.parametrize("what", LOST)
def test_deny_until_fresh(what: str, tmp_path: Path) -> None:
    """Whatever it lost, only a list and a snapshot of its own that are newly signed end it, both of
    them; that is durable, and what waited meanwhile is taken up."""
    scene = Scene(started=started_on(LOST[what](), tmp_path), is_fresh=False)
    assert routes(7).tail not in dict(scene.switched_at_start)
    denies(scene)
    scene.offer(LIST)
    assert scene.state.floors[LIST.tail] == LIST.manifest.order
    denies(scene)
    assert PutMemory(is_whole=True) not in scene.durable

    scene.caused.clear()
    scene.announce(SNAPSHOT, scene.attacker)
    scene.carry_out(SNAPSHOT, routes(8)).rest()
    assert scene.codes == []
    assert mode_of(scene) is Mode.FRESH
    assert scene.durable.count(PutMemory(is_whole=True)) == 1
    assert scene.requests == [asks_content(SNAPSHOT), asks_content(routes(8))]
    assert permits(scene) == [(True, Mode.FRESH)] * len(ACTIONS)
    assert scene.state.floors[routes(8).tail] == routes(8).manifest.order
    assert scene.told(routes(8))


@pytest.mark.parametrize("missing", ["list", "snapshot"])
def test_what_is_overdue_ends_nothing(missing: str, tmp_path: Path) -> None:
    """Replayed from before: good signatures, in time to be believed, and past their refresh."""
    scene = Scene(started=started_on([], tmp_path), is_fresh=False)
    old_list = aged(ArtifactType.REVOCATION_LIST, LIST.content)
    old_snapshot = aged(ArtifactType.CLUSTER_SNAPSHOT, SNAPSHOT.content)
    for one in (old_list, SNAPSHOT) if missing == "list" else (LIST, old_snapshot):
        scene.offer(one)
        assert scene.state.floors[one.tail] == one.manifest.order
    denies(scene)
