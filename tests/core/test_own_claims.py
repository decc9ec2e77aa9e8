"""More authority is taken up in a mode that allows it, whatever restarts come between."""

from dataclasses import replace
from typing import Final

from fabgossip.core.config import NodeConfig
from fabgossip.core.effects import Persist
from fabgossip.core.events import Started
from fabgossip.core.node import Node
from fabgossip.core.setup import NodeSetup, OwnIdentity
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import Opening
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import SPOKEN
from fabgossip.model.moment import Instant, Now, UnixTime
from fabgossip.model.persistence import PutClaimsSeen
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.scope import parse_scope_id
from fabgossip.model.topology import Snapshot
from fabgossip.wire.contents import snapshot_bytes
from tests.core.artifacts import Artifact, artifact, stored_head
from tests.core.story import (
    NOTHING_STORED,
    VERIFIER,
    boot_id,
    fresh_lane,
    identity,
    pinned,
)
from tests.trust import factory

NAME: Final = NodeId("n1")
EPOCH: Final = factory.BUNDLE.authority_epoch
ENROLLED_END: Final = UnixTime(factory.NOW + 600)


def signed_claims(version: int, expires_at: int, *, openings: tuple[Opening, ...]) -> bytes:
    return factory.signed_claims(
        replace(
            factory.claims(openings),
            node_id=NAME,
            claims_version=version,
            issued_at=UnixTime(factory.NOW - 7_200),
            expires_at=UnixTime(expires_at),
        )
    )


ENROLLED: Final = signed_claims(1, ENROLLED_END, openings=())
NARROW: Final = signed_claims(1, factory.NOW + 80_000, openings=())
WIDE: Final = signed_claims(2, factory.NOW + 80_000, openings=factory.OPENINGS)


def own_snapshot(claims: bytes) -> Artifact:
    snapshot = Snapshot(endpoints=(), degraded=DegradedPolicy(), settings=b"", claims=claims)
    return artifact(ArtifactType.CLUSTER_SNAPSHOT, content=snapshot_bytes(snapshot))


def started(claims: bytes, *, seen: int | None = None, is_fresh: bool = False) -> Started:
    """A disk with the node's own snapshot, and what it remembers of claims taken up."""
    rows = () if seen is None else ((NAME, EPOCH, seen),)
    lane = tuple(one for one in fresh_lane(NAME) if is_fresh and "/trust/" in one.namespace)
    memory = replace(NOTHING_STORED.memory, claims_seen=rows)
    if is_fresh:
        memory = replace(memory, time_floor=factory.NOW, revoked_epoch=EPOCH)
    heads = (*lane, stored_head(own_snapshot(claims)))
    return replace(NOTHING_STORED, heads=heads, memory=memory)


class Start:
    """A process of a node that was enrolled without any item."""

    def __init__(self, disk: Started, unix: int = factory.NOW) -> None:
        own = OwnIdentity(
            node_id=NAME,
            claims=ENROLLED,
            openings=factory.OPENINGS,
            pinned=pinned(),
            certificate=identity(NAME),
        )
        setup = NodeSetup(
            config=NodeConfig(),
            own=own,
            boot_id=boot_id("a process"),
            bootstrap=(),
            seed=1,
            protocols=SPOKEN,
        )
        node = Node(setup, VERIFIER)
        effects = node.handle(disk, Now(instant=Instant(0), unix=UnixTime(unix)))
        own_claims = node.view.trust.own.scope_ids
        self.has_claims = bool(own_claims)
        self.is_of_org = parse_scope_id("org:acme") in node.view.trust.own.scope_ids
        self.kept = [
            change
            for one in effects
            if isinstance(one, Persist)
            for change in one.changes
            if isinstance(change, PutClaimsSeen)
        ]


AFTER_THE_ENROLLED: Final = ENROLLED_END + 100


def test_a_start_in_an_outage_takes_up_no_claims_the_mode_refused() -> None:
    """The claims it was enrolled with are over, so that those refused are the only good ones."""
    assert not Start(started(WIDE)).is_of_org
    assert not Start(started(WIDE), AFTER_THE_ENROLLED).is_of_org


def test_claims_taken_up_before_stay_in_an_outage() -> None:
    assert Start(started(WIDE, seen=2)).is_of_org
    assert Start(started(WIDE, seen=2), AFTER_THE_ENROLLED).is_of_org


def test_what_is_taken_up_is_remembered_and_what_one_is_enrolled_with_need_not_be() -> None:
    fresh = Start(started(WIDE, is_fresh=True))
    assert fresh.is_of_org
    assert fresh.kept == [PutClaimsSeen(node_id=NAME, epoch=EPOCH, version=2)]
    assert Start(started(WIDE)).kept == []
    assert Start(started(WIDE, seen=2)).kept == []


def test_enrolled_claims_are_of_the_past_once_newer_ones_were_taken_up() -> None:
    assert not Start(started(NARROW, seen=2)).is_of_org
    late = Start(started(WIDE, seen=3))
    assert not late.is_of_org
    assert late.kept == []


def test_a_node_that_forgot_what_it_knew_begins_as_it_was_enrolled() -> None:
    """So does one that was given another bootstrap: the order of claims is that of the authority
    before."""
    disk = started(WIDE, seen=9)
    forgot = replace(disk, memory=replace(disk.memory, is_whole=False))
    assert not Start(disk).has_claims
    assert Start(forgot).has_claims
    assert not Start(forgot).is_of_org
