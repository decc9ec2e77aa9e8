"""A clock that somebody else sets.

Powers: the attacker sets the node's wall clock, by a year either way or back to 1970, on live links
or before a start. It holds grants of every time, the present one too, and everything ever signed.
"""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from fabgossip.core.effects import Answer, Persist, Record, ServeContent
from fabgossip.core.events import (
    ClockChanged,
    Event,
    GateRequest,
    RefreshDue,
    RequestId,
    RequestMade,
    Started,
    TimerFired,
)
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import RevokedKind
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import GetContent
from fabgossip.model.mode import Mode
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import PutClockDoubt, PutRevoked, PutTimeFloor
from fabgossip.model.scope import parse_scope_id
from fabgossip.trust.rejections import RejectionCode
from tests.attacks.powers import ask, revokes
from tests.attacks.scene import Scene
from tests.core.artifacts import CLUSTER_SCOPE, Artifact, artifact, revocations, routes, stored_head
from tests.core.story import NOTHING_STORED, Peer
from tests.trust import factory

YEAR = 365 * factory.DAY
HALF_AN_HOUR = 1_800
CASES = {
    "a year on": (YEAR, True),
    "a year back": (-YEAR, True),
    "1970": (-factory.NOW, True),
    "half an hour on": (HALF_AN_HOUR, True),
    "half an hour back": (-HALF_AN_HOUR, True),
    "a start a year on": (YEAR, False),
    "a start a year back": (-YEAR, False),
    "a start in 1970": (-factory.NOW, False),
    "a start half an hour back": (-HALF_AN_HOUR, False),
}
"""How far the clock is wrong, and whether it was stepped on live links or before the start."""
ACTIONS = ("read-config", "route", "admit-peer", "activate-update")
HOLDER = "n7"
FOR_DNS = artifact(
    ArtifactType.ROUTE_POLICY_BUNDLE,
    "routes/r1",
    audience=factory.audience(CLUSTER_SCOPE, "service:dns"),
)
"""What the holder gets by a grant alone: it is of the cluster, but does no DNS."""
TAKES_IT = revocations(2, revokes(RevokedKind.CONTENT, FOR_DNS.content_hash))


def grant_of(around: int) -> bytes:
    """A grant for five minutes from then on, well signed and bound to its holder."""
    statement = replace(
        factory.grant(),
        node_id=NodeId(HOLDER),
        certificate_hash=sha256(f"certificate of {HOLDER}".encode()).digest(),
        scope_ids=(parse_scope_id("service:dns"),),
        not_before=UnixTime(max(0, around - 60)),
        expires_at=UnixTime(around + 300),
    )
    return factory.signed_grant(statement)


class Clocked(Scene):
    """A node that holds what is for DNS, started at a time, and one who shows grants for it."""

    def __init__(self, starts_at: int = factory.NOW) -> None:
        self._starts_at = starts_at
        super().__init__(started=replace(NOTHING_STORED, heads=(stored_head(FOR_DNS),)))
        self.holder = self.link(
            Peer(name=HOLDER, holds=(factory.ORG_OPENING,), shows=(factory.ORG_OPENING,))
        )
        self.rest().caused.clear()

    def when(self, event: Event) -> "Clocked":
        if isinstance(event, Started):
            self.step_clock(self._starts_at - factory.NOW)
        super().when(event)
        return self

    def uses(self, around: int) -> bool:
        """Whether a grant of that time is honored: its use goes to the disk, then content comes."""
        item, grant = ask(FOR_DNS), grant_of(around)
        self.hear(self.holder, GetContent(items=(item,), narrowing=None, grant=grant), stream=1)
        if self.find(Persist):
            self.persisted()
        return any(one.items for one in self.find(ServeContent))

    def may(self, action: str) -> bool:
        """What local software is told."""
        body = GateRequest(action=action)
        permit = self.when(RequestMade(request=RequestId(1), body=body)).only(Answer).permit
        assert permit is not None
        return permit.allowed

    @property
    def mode(self) -> Mode:
        return self.node.view.snapshot(self.now).mode


def gives_nothing(scene: Clocked, *times: int) -> None:
    """No grant, of whatever time, and no action: and that is all that is on record of it."""
    scene.rest()
    before = scene.state
    scene.caused.clear()
    assert [around for around in times if scene.uses(around)] == []
    assert [action for action in ACTIONS if scene.may(action)] == []
    fetches = [
        code for event, code, who in scene.audited if (event, who) == ("fetch_denied", HOLDER)
    ]
    # Refused, it is served as if it had none; its claims may not have been taken up either.
    assert fetches.count("GRANT_INVALID") == len(times)
    assert set(fetches) <= {"GRANT_INVALID", "artifact_scope", "cluster_membership"}
    answers = scene.audited[len(fetches) :]
    assert [(event, action) for event, _, action in answers] == [
        ("gate_answered", action) for action in ACTIONS
    ]
    assert {code for _, code, _ in answers} <= {"mode", "policy"}
    scene.leaves(before, audited=scene.audited)


def test_the_grant_is_good_while_nobody_sets_the_clock() -> None:
    scene = Clocked()
    assert scene.mode is Mode.FRESH
    assert scene.uses(factory.NOW)
    assert all(scene.may(action) for action in ACTIONS)


@pytest.mark.parametrize("case", CASES)
def test_no_authority_from_time(case: str) -> None:
    """No grant is honored that is good by the wrong clock, nor by the right one; what takes away
    lands; and a clock that is right again revives nothing by itself."""
    step, is_live = CASES[case]
    scene = Clocked() if is_live else Clocked(factory.NOW + step)
    if is_live:
        scene.step_clock(step)
    times = (factory.NOW, factory.NOW + step)
    gives_nothing(scene, *times)

    mode = scene.mode
    scene.caused.clear()
    scene.offer(TAKES_IT).rest()
    entry = (RevokedKind.CONTENT, FOR_DNS.content_hash)
    assert entry in scene.node.view.trust.revoked.values
    kept = [one for one in scene.durable if isinstance(one, PutRevoked)]
    assert [one.entries for one in kept] == [((entry[0].value, entry[1]),)]
    assert ("revocation_accepted", "", "") in scene.audited
    # A list wins back the trust in a clock only where the two agree.
    manifest = TAKES_IT.manifest
    agrees = manifest.issued_at - 120 <= scene.now.unix < manifest.refresh_by
    assert agrees or scene.mode is mode
    assert not scene.told(FOR_DNS)
    assert FOR_DNS.tail not in {name for name, order in scene.switched if order is not None}
    gives_nothing(scene, *times)

    scene.step_clock(-step)
    gives_nothing(scene, *times)
    assert scene.mode is Mode.CLOCK_SUSPECT


def test_a_list_that_agrees_makes_the_clock_good_again() -> None:
    """The way back is something newly signed, which the attacker cannot make."""
    scene = Clocked()
    scene.step_clock(-HALF_AN_HOUR)
    scene.rest()
    scene.step_clock(HALF_AN_HOUR)
    gives_nothing(scene, factory.NOW)
    scene.offer(revocations(2)).rest()
    assert scene.mode is Mode.FRESH
    assert scene.uses(factory.NOW)


def doubts(scene: Scene) -> list[bool]:
    """What the disk was told of doubts about the clock."""
    return [one.is_doubted for one in scene.durable if isinstance(one, PutClockDoubt)]


def test_a_start_does_not_make_the_clock_good_again(tmp_path: Path) -> None:
    """Who sets the clock may end the process, too. The list on the node's own disk agrees with the
    clock as it did before; only a newer one ends the doubt, and that outlives a start as well."""
    scene = Clocked()
    scene.step_clock(HALF_AN_HOUR)
    scene.rest()
    assert (scene.mode, doubts(scene)) == (Mode.CLOCK_SUSPECT, [True])
    again = scene.restarted(tmp_path / "doubted")
    assert again.node.view.snapshot(again.now).mode is Mode.CLOCK_SUSPECT
    again.offer(revocations(2)).rest()
    assert (again.node.view.snapshot(again.now).mode, doubts(again)) == (Mode.FRESH, [False])
    believed = again.restarted(tmp_path / "believed")
    assert believed.node.view.snapshot(believed.now).mode is Mode.FRESH


def test_a_doubt_the_disk_refused_is_not_written_over_its_end() -> None:
    scene = Clocked()
    scene.step_clock(HALF_AN_HOUR)
    scene.rest().persisted(ok=False)
    scene.offer(revocations(2)).rest()
    assert doubts(scene) == [True, False]
    scene.when(TimerFired(timer=RefreshDue()))
    assert doubts(scene) == [True, False]


def test_a_clock_the_kernel_does_not_vouch_for_gives_nothing_until_it_does() -> None:
    """Nobody keeps such a clock in step, so nobody would notice it drift, or being set while the
    node was down. What it says is no time that was reached; the kernel's next word ends it."""
    scene = Clocked()
    scene.when(ClockChanged(is_synchronized=False))
    assert scene.mode is Mode.CLOCK_SUSPECT
    scene.wait(301_000).when(TimerFired(timer=RefreshDue()))
    assert [one for one in scene.durable if isinstance(one, PutTimeFloor)] == []
    gives_nothing(scene, scene.now.unix)
    scene.when(ClockChanged(is_synchronized=True))
    assert (scene.mode, doubts(scene)) == (Mode.FRESH, [])
    assert scene.uses(scene.now.unix)


def test_a_start_under_a_clock_the_kernel_does_not_vouch_for_applies_nothing_yet() -> None:
    started = replace(NOTHING_STORED, heads=(stored_head(routes()),), is_synchronized=False)
    scene = Scene(started=started)
    assert scene.at_start.switched == ()
    assert scene.trusted["routes/r1"][1] == "held"
    scene.when(ClockChanged(is_synchronized=True))
    assert (routes().tail, routes().manifest.order) in scene.switched


def test_what_is_overdue_stays_overdue_under_a_clock_set_back() -> None:
    """The time everything is judged by never runs back, so nothing gets younger."""
    scene = Clocked()
    scene.wait((factory.HOUR + 1) * 1_000)
    scene.rest()
    assert scene.mode is Mode.STALE
    scene.caused.clear()
    scene.step_clock(-2 * factory.HOUR)
    scene.rest()
    changed = [one for one in scene.caused if isinstance(one, Record)]
    assert [dict(one.fields)["conditions"] for one in changed] == [
        "partitioned stale clock_suspect"
    ]
    gives_nothing(scene, factory.NOW)


def test_a_stolen_key_cannot_push_time_on_by_and_by() -> None:
    """Each statement is issued as far ahead as is tolerated, counted from where the one before
    pushed the node's idea of time."""
    scene = Scene()
    for number in range(1, 51):
        ahead = UnixTime(factory.NOW + 119 * number)
        statement = replace(
            routes(7 + number).manifest,
            issued_at=ahead,
            refresh_by=UnixTime(ahead + factory.DAY),
            expires_at=UnixTime(ahead + 2 * factory.DAY),
        )
        scene.offer(Artifact(statement, factory.signed(statement), routes(7 + number).content))
    assert scene.codes
    assert set(scene.codes) == {RejectionCode.FUTURE_ISSUED.value}
    scene.due(RefreshDue)
    assert not any(isinstance(one, PutTimeFloor) for one in scene.durable)
    assert not scene.node.view.trust.freshness.is_clock_suspect
    assert scene.trusted["routes/r1"][1] == "current"
