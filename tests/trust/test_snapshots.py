"""A snapshot speaks of nothing beyond its own readers, and never of trust."""

from dataclasses import replace
from typing import Final

import pytest

from fabgossip.model.artifact import ArtifactType, Manifest, Order
from fabgossip.model.ids import ManifestHash
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.topology import Listing, Snapshot
from fabgossip.trust.snapshots import snapshot_fault
from tests.trust import factory as f

OWN: Final[Manifest] = f.manifest(ArtifactType.CLUSTER_SNAPSHOT, "snapshots/role/edge")
EPOCH: Final = OWN.authority_epoch


def fault(*covers: str, lists: str = "", epoch: int = EPOCH) -> str | None:
    """Of a snapshot of the role `edge` that covers these and lists one namespace."""
    listing = Listing(
        namespace=f"{f.PREFIX}/{lists}",
        order=Order(epoch, 1),
        manifest_hash=ManifestHash(bytes(32)),
        window=(),
    )
    snapshot = Snapshot(
        endpoints=(),
        degraded=DegradedPolicy(),
        settings=b"",
        covers=covers,
        listings=(listing,) if lists else (),
    )
    return snapshot_fault(OWN, snapshot)


@pytest.mark.parametrize(
    "prefix",
    [
        f.PREFIX,
        f"{f.PREFIX}/trust",
        f"{f.PREFIX}/trust/revocations",
        "platform",
        f"{f.PREFIX}-other/routes",
        f"{f.PREFIX.rpartition('/')[0]}/staging/routes",
    ],
)
def test_no_prefix_that_is_or_holds_trust_or_lies_in_another_cluster_is_covered(
    prefix: str,
) -> None:
    assert fault(prefix) is not None


def test_what_lies_below_the_cluster_may_be_covered_and_listed() -> None:
    assert fault(f"{f.PREFIX}/routes", lists="routes/r1") is None
    assert fault(f"{f.PREFIX}/services/dns", f"{f.PREFIX}/trusted") is None


@pytest.mark.parametrize(
    ("lists", "epoch"),
    [
        ("qos/q1", EPOCH),
        ("trust/revocations", EPOCH),
        ("routes/../trust/bundle", EPOCH),
        ("routes/r1", EPOCH + 1),
        ("routes", EPOCH),
    ],
)
def test_nothing_is_listed_outside_or_of_an_epoch_that_is_not_open(lists: str, epoch: int) -> None:
    assert fault(f"{f.PREFIX}/routes", lists=lists, epoch=epoch) is not None


def test_what_not_all_readers_may_know_of_is_not_listed() -> None:
    covered = (f"{f.PREFIX}/org", f"{f.PREFIX}/snapshots")
    assert fault(*covered, lists="org/acme/routes/r1") is not None
    assert fault(*covered, lists="snapshots/node/n1") is not None
    assert fault(*covered, lists="snapshots/role/edge") is None


def test_a_listing_of_an_older_epoch_says_what_is_still_to_be_signed_anew() -> None:
    assert fault(f"{f.PREFIX}/routes", lists="routes/r1", epoch=EPOCH - 1) is None
    assert replace(OWN, authority_epoch=EPOCH - 1) != OWN
