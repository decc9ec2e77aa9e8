"""Attack: carry a good statement to where, or when, it was not meant.

Powers: the attacker is a member with a good certificate. It replays what was signed for another
epoch or another cluster. In the worst case both clusters were set up with the same keys, so that
every signature is good here too.
"""

from dataclasses import replace

import pytest

from fabgossip.model.artifact import ArtifactType
from fabgossip.model.ids import ClusterId, PlatformId
from fabgossip.model.scope import audience_from_scope_ids, parse_namespace
from tests.attacks.scene import Scene, Standing, asks_content
from tests.core.artifacts import Artifact, node_snapshot, routes, trust
from tests.trust import factory as f

KINDS = [one for one in ArtifactType if one is not ArtifactType.TRUST_BUNDLE]
NEXT_EPOCH = trust(replace(f.BUNDLE, bundle_version=4, authority_epoch=3))


def of_epoch(kind: ArtifactType, epoch: int) -> Artifact:
    statement = replace(f.manifest(kind), authority_epoch=epoch, config_version=9)
    return Artifact(statement, f.signed(statement), f.CONTENT)


def of_cluster(kind: ArtifactType, platform: str, cluster: str) -> Artifact:
    """What the same keys signed for another cluster."""
    usual = f.manifest(kind)
    path = usual.namespace.text.replace(f.PREFIX, f"platform/{platform}/cluster/{cluster}")
    namespace = parse_namespace(path.replace("cluster:prod", f"cluster:{cluster}"))
    statement = replace(
        usual,
        cluster_id=ClusterId(cluster),
        namespace=namespace,
        audience=audience_from_scope_ids(namespace.implied),
    )
    return Artifact(statement, f.signed(statement), f.CONTENT)


@pytest.mark.parametrize("kind", KINDS)
def test_epoch_and_cluster(kind: ArtifactType) -> None:
    """An epoch that is over is refused for good; one that has not begun waits unserved; another
    cluster's or platform's artifact is refused although its signatures are good."""
    Scene().publish(routes(7)).refuses(of_epoch(kind, 1), "EPOCH_STALE")
    Scene().publish(routes(7)).refuses(of_epoch(kind, 3), "EPOCH_UNKNOWN", asks_trust=True)
    for platform, cluster in ((str(f.PLATFORM), "lab"), ("other-net", str(f.CLUSTER))):
        scene = Scene().publish(routes(7))
        scene.refuses(of_cluster(kind, platform, cluster), "CLUSTER_MISMATCH")
        assert scene.blamed == ["signer"]


def test_the_key_is_good_and_only_the_cluster_is_wrong() -> None:
    """The same statement for the own cluster is taken, so nothing but the cluster refused it."""
    ours = of_cluster(ArtifactType.ROUTE_POLICY_BUNDLE, PlatformId(f.PLATFORM), f.CLUSTER)
    scene = Scene().offer(ours)
    assert scene.codes == []
    assert scene.state.heads[ours.tail].state == "current"


def test_what_waits_for_its_epoch_is_believed_once_the_roots_open_it() -> None:
    """Held, not served, not told; the bundle comes, and it is judged again without being shown
    again."""
    early = replace(f.manifest(ArtifactType.CLUSTER_SNAPSHOT), authority_epoch=3, config_version=1)
    content = node_snapshot(1).content
    early = replace(early, content_hash=f.hash_of(content), content_size=len(content))
    offered = Artifact(early, f.signed(early), content)
    scene = Scene().publish(routes(7))
    scene.refuses(offered, "EPOCH_UNKNOWN", asks_trust=True)
    scene.caused.clear()
    scene.announce(NEXT_EPOCH, scene.attacker)
    scene.carry_out(NEXT_EPOCH, offered).rest()
    assert scene.codes == []
    stands = Standing(early.order, (early.content_hash,), "current")
    assert scene.state.heads[offered.tail] == stands
    assert scene.requests == [asks_content(NEXT_EPOCH), asks_content(offered)]
    assert scene.state.heads["routes/r1"].state == "outdated"
