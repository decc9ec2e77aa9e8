"""Attack: show a node a set of things that never stood together, each of them signed in good faith.

Powers: the attacker is a member with a good certificate. It holds everything that was ever
published, old and new, and shows of it what it likes, in any order. In some tests the compiler
itself is at fault or its key stolen: it signs a snapshot that says less than the one before.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from fabgossip.core.events import RefreshDue, TimerFired
from fabgossip.model.artifact import ArtifactType, Order
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import PutEvidence, PutFloor, PutHead
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.topology import Listing, Snapshot
from fabgossip.wire.contents import snapshot_bytes
from tests.attacks.scene import (
    ATTACKER,
    Scene,
    Standing,
    TrustState,
    asks_content,
)
from tests.core.artifacts import Artifact, routes, sealed, update
from tests.trust import factory as f

ROUTES = f"{f.PREFIX}/routes"
SNAPSHOT = "snapshots/role/edge"
R1 = "routes/r1"


def listing_of(one: Artifact) -> Listing:
    return Listing(
        namespace=one.manifest.namespace.text,
        order=one.manifest.order,
        manifest_hash=one.verified.manifest_hash,
    )


def snapshot(
    version: int, *listed: Artifact, covers: str = ROUTES, lives_s: int = f.HOUR
) -> Artifact:
    """A snapshot that is complete for a prefix, and lists these below it."""
    rows = tuple(sorted((listing_of(one) for one in listed), key=lambda row: row.namespace))
    content = snapshot_bytes(
        Snapshot(
            endpoints=(),
            degraded=DegradedPolicy(),
            settings=b"",
            covers=(covers,),
            listings=rows,
        )
    )
    statement = replace(
        f.manifest(ArtifactType.CLUSTER_SNAPSHOT, SNAPSHOT),
        config_version=version,
        refresh_by=UnixTime(f.NOW + lives_s),
        expires_at=UnixTime(f.NOW + lives_s),
    )
    return sealed(statement, content)


def standing(one: Artifact, state: str = "current") -> Standing:
    return Standing(one.manifest.order, (one.content_hash,), state)


def with_heads(
    before: TrustState, heads: dict[str, Standing], floors: dict[str, Order]
) -> TrustState:
    return replace(before, heads=before.heads | heads, floors=before.floors | floors)


def test_listing_decides(tmp_path: Path) -> None:
    """Valid alone, newer than its listing: it waits, and is never current before a snapshot lists
    it. Then it is, without being shown again."""
    scene = Scene().publish(snapshot(7, routes(7)), routes(7))
    before = scene.state
    scene.refuses(routes(8), "AHEAD", asks_trust=True)
    assert scene.blamed == ["none"]

    scene.caused.clear()
    listing = snapshot(8, routes(8))
    scene.announce(listing, scene.attacker)
    scene.carry_out(listing, routes(8)).rest()
    assert scene.codes == []
    assert scene.state == with_heads(
        before,
        {SNAPSHOT: standing(listing), R1: standing(routes(8))},
        {SNAPSHOT: Order(2, 8), R1: Order(2, 8)},
    )
    assert scene.requests == [asks_content(listing), asks_content(routes(8))]
    assert scene.audited == []
    assert scene.announced == [listing.envelope, routes(8).envelope]
    again = scene.restarted(tmp_path)
    assert again.state == scene.state
    again.refuses(routes(9), "AHEAD", asks_trust=True)


@pytest.mark.parametrize("shown", [6, 7])
def test_what_is_not_listed_at_all_is_ahead_whatever_its_version(shown: int) -> None:
    scene = Scene().publish(snapshot(7))
    scene.refuses(routes(shown), "AHEAD", asks_trust=True)


@pytest.mark.parametrize("listed", [(), (routes(6),)], ids=["omitted", "listed lower"])
def test_silent_removal_turns_stale_and_takes_nothing_away(
    listed: tuple[Artifact, ...], tmp_path: Path
) -> None:
    """The newer snapshot stands and is passed on; the namespace it omits or lowers is not current
    any more, its floor is where it was, its content stays on the disk and where consumers read it,
    and the operator hears the alarm."""
    scene = Scene().publish(snapshot(7, routes(7)), routes(7))
    before = scene.state
    lowered = snapshot(8, *listed)
    scene.offer(lowered).rest()
    assert scene.codes == []
    after = with_heads(
        before,
        {SNAPSHOT: standing(lowered), R1: standing(routes(7), "current, unlisted")},
        {SNAPSHOT: Order(2, 8)},
    )
    assert scene.state == after
    assert scene.requests == [asks_content(lowered)]
    assert scene.audited == [("silent_removal", "", ATTACKER)]
    assert scene.durable == [PutHead(verified=lowered.verified)]
    assert scene.switched == [(SNAPSHOT, Order(2, 8))]
    assert not scene.told(routes(7))
    assert scene.told(lowered)

    scene.refuses(routes(6), "VERSION_ROLLBACK")
    again = scene.restarted(tmp_path)
    kept = {R1: standing(routes(7), "held, unlisted")}
    assert again.state == with_heads(after, kept, {})
    assert R1 not in dict(again.at_start.switched)


def test_what_comes_back_into_the_listing_is_current_again() -> None:
    scene = Scene().publish(snapshot(7, routes(7)), routes(7))
    before = scene.state
    scene.offer(snapshot(8)).offer(snapshot(9, routes(7)))
    again = {SNAPSHOT: standing(snapshot(9, routes(7)))}
    assert scene.state == with_heads(before, again, {SNAPSHOT: Order(2, 9)})


def test_a_listing_binds_before_what_it_lists_is_here(tmp_path: Path) -> None:
    """Its order is the floor at once, also after a crash: the version before it is a rollback."""
    listing = snapshot(7, routes(8))
    scene = Scene().publish(listing)
    put = PutFloor(
        namespace=routes(8).manifest.namespace.text,
        order=Order(2, 8),
        manifest_hash=routes(8).verified.manifest_hash,
    )
    assert [rows for rows in scene.commits if put in rows] == [(put,)]
    for one in (scene, scene.restarted(tmp_path)):
        assert one.state.floors[R1] == Order(2, 8)
        one.refuses(routes(7), "VERSION_ROLLBACK")


def test_another_statement_of_a_listed_order_is_equivocation() -> None:
    """The compiler signed two routes 7; the snapshot lists one of them. The other is refused,
    whoever relays it is not to blame."""
    other = routes(7, content=b"other routes")
    scene = Scene().publish(snapshot(7, routes(7)))
    scene.refuses(other, "EQUIVOCATION")
    assert scene.blamed == ["signer"]


def test_what_is_held_gives_way_to_nothing_when_another_of_its_order_is_listed() -> None:
    """It came first and was current. The snapshot names the other one: the first is not current any
    more, and once the other shows up, both are evidence and neither is."""
    first, other = routes(7), routes(7, content=b"other routes")
    scene = Scene().publish(first)
    before = scene.state
    listing = snapshot(7, other)
    scene.offer(listing).rest()
    assert scene.state == with_heads(
        before,
        {SNAPSHOT: standing(listing), R1: standing(first, "current, unlisted")},
        {SNAPSHOT: Order(2, 7)},
    )
    scene.caused.clear()
    scene.offer(other).rest()
    assert scene.codes == ["EQUIVOCATION"]
    both = tuple(sorted((first.content_hash, other.content_hash)))
    assert scene.state.heads[R1] == Standing(Order(2, 7), both, "disputed")
    assert scene.durable == [PutEvidence(verified=other.verified)]
    assert scene.requests == []
    assert scene.switched == []
    assert scene.told(other)


def test_a_floor_outlives_the_listing_that_raised_it() -> None:
    """The snapshot that listed routes 8 expires before they came. What is held is still older than
    what was listed, so it is not current, however alone it stands."""
    scene = Scene().publish(routes(7), snapshot(7, routes(8), lives_s=60))
    assert scene.state.heads[R1] == standing(routes(7), "current, unlisted")
    scene.wait(61_000).when(TimerFired(timer=RefreshDue()))
    assert scene.state.heads[SNAPSHOT].state == "expired"
    assert scene.state.heads[R1] == standing(routes(7), "current, unlisted")
    assert scene.state.floors[R1] == Order(2, 8)


@pytest.mark.parametrize(
    ("held", "covers"),
    [(routes(7), ROUTES), (update(7), f"{f.PREFIX}/updates")],
    ids=["before the snapshot", "after the snapshot"],
)
def test_a_restart_does_not_bring_back_what_is_not_listed(
    held: Artifact, covers: str, tmp_path: Path
) -> None:
    """Rows are read in the order of their names; what they say must not depend on it."""
    scene = Scene().publish(held, snapshot(7, covers=covers))
    before = scene.state
    assert before.heads[held.tail].state == "current, unlisted"
    again = scene.restarted(tmp_path)
    assert again.state.heads[held.tail] == replace(before.heads[held.tail], state="held, unlisted")
    assert held.tail not in dict(again.at_start.switched)
