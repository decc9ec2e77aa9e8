"""Attack: keep everything new from a node.

Powers: the attacker is every neighbor the node has. It answers, serves what is old, and withholds
what is new, for as long as it likes. It cannot change what the signers said of the life of things.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

from fabgossip.core.events import RefreshDue, TimerFired
from fabgossip.core.health import state_of
from fabgossip.model.artifact import ArtifactType, Order
from fabgossip.model.authority import RevokedKind
from fabgossip.model.mode import Mode
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import (
    PutHead,
)
from tests.attacks.powers import (
    revokes,
)
from tests.attacks.scene import (
    TRUST_LANE_ASKED,
    Scene,
    Standing,
    TrustState,
    asks_content,
)
from tests.core.artifacts import (
    Artifact,
    artifact,
    revocations,
    routes,
    sealed,
    trust,
)
from tests.core.story import (
    announcement,
    fresh_lane,
)
from tests.trust import factory as f

R1: Final = "routes/r1"
REFRESH_S: Final = 30
EXPIRY_S: Final = 60


def short(version: int) -> Artifact:
    """Routes that must be refreshed after half a minute, and are void after a whole one."""
    return artifact(
        ArtifactType.ROUTE_POLICY_BUNDLE,
        R1,
        version=version,
        content=b"routes %d" % version,
        refresh_by=f.NOW + REFRESH_S,
        expires_at=f.NOW + EXPIRY_S,
    )


def shown(scene: Scene) -> str:
    """The state of the routes as a reader of status sees it."""
    head = scene.node.view.find(short(7).manifest.namespace.text)
    assert head is not None
    return state_of(head, scene.now)


def turn(scene: Scene, seconds: int) -> None:
    scene.wait(seconds * 1_000).when(TimerFired(timer=RefreshDue()))


def test_stale_on_time(tmp_path: Path) -> None:
    """Current until the very second of its refresh time, stale from then on, void at its expiry;
    the floor stays, nothing older is taken for it, and the next version heals it at once."""
    scene = Scene().publish(short(7))
    before = scene.state
    turn(scene, REFRESH_S - 1)
    assert shown(scene) == "current"
    turn(scene, 1)
    assert shown(scene) == "stale"
    # Asked for in turn, and by the climb for something newer.
    assert set(scene.requests) == {f"{TRUST_LANE_ASKED} {R1}", f"heads {R1}"}
    scene.leaves(before, requests=scene.requests)
    scene.refuses(short(6), "VERSION_ROLLBACK")

    # Withheld until it was stale too: it raises the floor, and what is read stays what it was.
    scene.caused.clear()
    held = standing(short(8), "held")
    scene.offer(short(8)).leaves(
        with_routes(before, held),
        requests=[asks_content(short(8))],
        durable=[PutHead(verified=short(8).verified)],
        removed=[short(7).content_hash],
        onward=[announcement(short(8))] * 2,  # the bystander, and who linked since
    )

    scene.caused.clear()
    turn(scene, EXPIRY_S - REFRESH_S)
    assert shown(scene) == "expired"
    scene.leaves(
        with_routes(before, replace(held, state="expired")),
        requests=[TRUST_LANE_ASKED],
        audited=[("artifact_withheld", "expired", f"{f.PREFIX}/{R1}")],
        switched=[(R1, None)],
    )

    scene.refuses(short(9), "EXPIRED")
    scene.caused.clear()
    after = with_routes(before, standing(routes(10), "current"))
    scene.offer(routes(10)).leaves(
        after,
        requests=[asks_content(routes(10))],
        durable=[PutHead(verified=routes(10).verified)],
        removed=[short(8).content_hash],
        switched=[(R1, Order(2, 10))],
        onward=[announcement(routes(10))] * 3,
    )
    assert scene.restarted(tmp_path).state == after


def standing(one: Artifact, state: str) -> Standing:
    return Standing(one.manifest.order, (one.content_hash,), state)


def with_routes(before: TrustState, stands: Standing) -> TrustState:
    """The same trust, with this at the head of the routes and at their floor."""
    return replace(
        before, heads=before.heads | {R1: stands}, floors=before.floors | {R1: stands.order}
    )


def mode_after(scene: Scene, seconds: int) -> Mode:
    scene.wait(seconds * 1_000).when(TimerFired(timer=RefreshDue()))
    return scene.node.view.snapshot(scene.now).mode


def test_a_frozen_node_says_so_itself() -> None:
    """It needs nobody to tell it: its own clock, against what was signed. Partitioned after fifteen
    minutes without anything new, stale when its list is past its refresh time."""
    scene = Scene()
    assert scene.node.view.snapshot(scene.now).mode is Mode.FRESH
    assert mode_after(scene, 15 * 60 - 61) is Mode.FRESH
    assert mode_after(scene, 2) is Mode.PARTITIONED
    lane = f.admitted(fresh_lane("n1")[0].envelope).manifest
    assert mode_after(scene, lane.refresh_by - scene.now.unix - 1) is Mode.PARTITIONED
    assert mode_after(scene, 1) is Mode.STALE
    assert [one for one in scene.audited if one[0] == "mode_changed"] == [
        ("mode_changed", "", ""),
        ("mode_changed", "", ""),
    ]
    assert scene.onward == []


def test_a_bundle_past_its_end_takes_nothing_away_and_lets_nothing_in(tmp_path: Path) -> None:
    """Whoever keeps the next bundle from a node freezes it, and no more: what it was using goes on
    by its own time, also over a list that is judged then and over a start. A revocation lands."""
    bundle = trust(f.NEXT_BUNDLE)
    ended = replace(
        bundle.manifest,
        issued_at=UnixTime(f.NOW - f.DAY),
        refresh_by=UnixTime(f.NOW - 1),
        expires_at=UnixTime(f.NOW - 1),
    )
    scene = Scene().publish(routes(7))
    scene.offer(Artifact(ended, f.signed(ended), bundle.content)).rest()
    scene.caused.clear()
    scene.offer(revocations(2, revokes(RevokedKind.MANIFEST, bytes(32)))).rest()
    again = scene.restarted(tmp_path)
    used = Standing(Order(2, 7), (routes(7).content_hash,), "current")
    for one, switched in ((scene, scene.switched), (again, again.at_start.switched)):
        assert one.node.view.trust.bundle == f.NEXT_BUNDLE
        assert one.state.heads[R1] == used
        assert (R1, None) not in switched
        one.refuses(routes(8), "TRUST_EXPIRED", asks_trust=True)
        one.caused.clear()
        name = routes(7).verified.manifest_hash
        one.offer(revocations(3, revokes(RevokedKind.MANIFEST, name))).rest()
        assert one.state.heads[R1] == replace(used, state="refused")
        assert (R1, None) in one.switched


def test_old_news_thaw_nothing() -> None:
    """The attacker serves what is signed and not yet expired, but was issued long ago: it is
    accepted, and the node is as frozen as before."""
    scene = Scene()
    assert mode_after(scene, 15 * 60) is Mode.PARTITIONED
    scene.offer(routes(7)).rest()
    assert scene.codes == []
    assert scene.node.view.snapshot(scene.now).mode is Mode.PARTITIONED
    fresh = replace(routes(8).manifest, issued_at=UnixTime(scene.now.unix))
    scene.offer(sealed(fresh, b"routes 8")).rest()
    assert scene.node.view.snapshot(scene.now).mode is Mode.FRESH
