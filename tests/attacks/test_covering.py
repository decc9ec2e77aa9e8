"""A thief of the compiler's key signs snapshots that claim to speak of trust.

With it he could keep out the very list, and the very bundle, that take the key away from him.
"""

from dataclasses import replace

import pytest

from fabgossip.model.artifact import ArtifactType, Order
from fabgossip.model.authority import RevokedKind
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.topology import Listing, Snapshot
from fabgossip.trust.rejections import RejectionCode
from fabgossip.wire.contents import snapshot_bytes
from tests.attacks.powers import revokes
from tests.attacks.scene import Scene
from tests.core.artifacts import Artifact, revocations, sealed, trust
from tests.trust import factory as f

LAST = 2**53 - 1
REVOKING = revocations(9, revokes(RevokedKind.SIGNING_KEY, f.COMPILER.key_id))


def stolen(covers: tuple[str, ...], *listed: str) -> Artifact:
    """A snapshot of every edge, by the compiler's key."""
    listings = tuple(
        Listing(
            namespace=f"{f.PREFIX}/{tail}",
            order=Order(f.BUNDLE.authority_epoch, LAST),
            manifest_hash=REVOKING.verified.manifest_hash,
            window=(),
        )
        for tail in listed
    )
    snapshot = Snapshot(
        endpoints=(), degraded=DegradedPolicy(), settings=b"", covers=covers, listings=listings
    )
    statement = replace(
        f.manifest(ArtifactType.CLUSTER_SNAPSHOT, "snapshots/role/edge"), config_version=7
    )
    return sealed(statement, snapshot_bytes(snapshot))


@pytest.mark.parametrize(
    "artifact",
    [
        stolen((f.PREFIX,)),
        stolen((f"{f.PREFIX}/trust",)),
        stolen((f"{f.PREFIX}/routes",), "trust/revocations"),
        stolen((f"{f.PREFIX}/routes",), "snapshots/node/n1"),
    ],
    ids=["covers the cluster", "covers trust", "lists the list", "lists the own snapshot"],
)
def test_no_snapshot_keeps_out_what_takes_its_key_away(artifact: Artifact) -> None:
    scene = Scene()
    floors = dict(scene.state.floors)
    scene.offer(artifact).rest()
    assert scene.codes == [RejectionCode.CONTENT_INVALID.value]
    assert scene.blamed == ["signer"]
    assert scene.state.floors == floors | {artifact.tail: artifact.manifest.order}
    scene.offer(REVOKING).rest()
    assert (RevokedKind.SIGNING_KEY, f.COMPILER.key_id) in scene.node.view.trust.revoked.values
    scene.offer(trust(f.NEXT_BUNDLE)).rest()
    assert scene.node.view.trust.bundle == f.NEXT_BUNDLE
