"""Attack: bring a node back to what it once believed.

Powers: the attacker is a member with a good certificate and holds everything that was ever signed.
It chooses when the node loses power: after any of its commits. In the last test it has also stolen
the compiler's key and takes the highest version there is; it never holds a root.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from fabgossip.model.artifact import ArtifactType, Manifest, Order, Tombstone
from fabgossip.model.ids import NOTHING_HASH, ManifestHash
from fabgossip.model.persistence import DropHead, PutClaimsSeen
from tests.attacks.scene import ATTACKER, Scene, Standing, asks_content
from tests.core.artifacts import (
    Artifact,
    acme_routes,
    artifact,
    node_snapshot,
    peers,
    revocations,
    routes,
    stores,
    tombstone,
    trust,
)
from tests.trust import factory as f

T = ArtifactType
VERSION_MAX = 2**53 - 1
LANE = (T.REVOCATION_LIST, T.CLUSTER_SNAPSHOT)
"""Without these a node knows too little to judge the others of its version."""
ORDERED = tuple(one for one in T if one not in (T.TRUST_BUNDLE, T.SNAPSHOT_INCREMENT))
"""Bundles follow exactly (`test_succession.py`); increments have no floor of their own."""


def sample(kind: ArtifactType, version: int) -> Artifact:
    """A version of a type, with a content that type may have."""
    match kind:
        case T.REVOCATION_LIST:
            return revocations(version)
        case T.CLUSTER_SNAPSHOT:
            return node_snapshot(version, b"settings %d" % version)
        case T.PEER_DIRECTORY:
            return peers(version=version)
        case T.STORAGE_DIRECTORY:
            return stores(version=version)
        case _:
            return artifact(kind, version=version, content=b"version %d" % version)


@pytest.mark.parametrize("kind", ORDERED)
def test_never_down(kind: ArtifactType, tmp_path: Path) -> None:
    """Warm; cold; and after power went away behind each single commit: once a version is durable,
    the one before it is refused, and until then the one before it is what stands."""
    scene = Scene().publish(sample(kind, 7))
    first = len(scene.commits)
    scene.offer(sample(kind, 8)).rest()
    after = scene.state
    name = sample(kind, 8).tail
    assert after.floors[name] == Order(2, 8)
    scene.ignores(sample(kind, 7))
    scene.refuses(sample(kind, 6), "VERSION_ROLLBACK")

    assert len(scene.commits) > first
    for commits in range(first, len(scene.commits) + 1):
        again = scene.restarted(tmp_path / str(commits), commits)
        floor = again.state.floors[name]
        assert floor == Order(2, 7 if commits == first else 8)
        assert again.state.heads[name].order == floor
        again.refuses(sample(kind, 6), "VERSION_ROLLBACK")
        if floor == Order(2, 8):
            again.refuses(sample(kind, 7), "VERSION_ROLLBACK")
    assert scene.restarted(tmp_path / "all").state == after

    # The row of the newest version is lost, or was never read: its order is there by itself.
    text = sample(kind, 8).manifest.namespace.text
    lost = DropHead(namespace=text, manifest_hash=ManifestHash(bytes(32)))
    scene.commits.append((lost,))
    again = scene.restarted(tmp_path / "without its head")
    assert name not in again.state.heads
    assert again.state.floors[name] == Order(2, 8)
    if kind not in LANE:
        again.refuses(sample(kind, 7), "VERSION_ROLLBACK")


def test_a_tombstone_is_never_undone(tmp_path: Path) -> None:
    """Withdrawn is withdrawn: warm, cold, and for every version up to its own."""
    scene = Scene().publish(routes(7), tombstone(8))
    scene.ignores(routes(7))
    for one in (scene, scene.restarted(tmp_path)):
        assert one.state.heads["routes/r1"].state == "withdrawn"
        for version in (1, 6):
            one.refuses(routes(version), "VERSION_ROLLBACK")


ACCEPTED = (routes(7), acme_routes(7), node_snapshot(7), revocations(2))
REFUSED: dict[str, tuple[Artifact, str, bool]] = {
    "a flipped bit": (
        replace(routes(8), envelope=routes(8).envelope[:-1] + b"\x00"),
        "SIG_INVALID",
        False,
    ),
    "of a stranger": (
        replace(routes(8), envelope=f.signed(routes(8).manifest, f.STRANGER)),
        "KEY_UNKNOWN",
        True,
    ),
    "cut": (replace(routes(8), envelope=routes(8).envelope[:-9]), "TRUNCATED", False),
    "older": (routes(6), "VERSION_ROLLBACK", False),
    "expired": (
        artifact(
            T.ROUTE_POLICY_BUNDLE,
            "routes/r1",
            version=8,
            content=b"routes 8",
            refresh_by=f.NOW - 1,
            expires_at=f.NOW - 1,
        ),
        "EXPIRED",
        False,
    ),
    "not for us": (
        artifact(T.ROUTE_POLICY_BUNDLE, "org/globex/routes/r1"),
        "AUDIENCE_NOT_OURS",
        False,
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_no_trace(what: str, tmp_path: Path) -> None:
    """What was refused is nowhere: not in the index, not in the floors, not in a verdict that
    outlives it. The next good statement of that very order is taken (CVE-2025-2888)."""
    offered, code, asks_trust = REFUSED[what]
    scene = Scene().publish(*ACCEPTED)
    commits = list(scene.commits)
    scene.refuses(offered, code, asks_trust=asks_trust)
    further = [row for rows in scene.commits[len(commits) :] for row in rows]
    assert all(isinstance(row, PutClaimsSeen) for row in further)
    good = routes(8)
    for one in (scene, scene.restarted(tmp_path)):
        before = one.state
        one.caused.clear()
        one.offer(good).rest()
        assert one.codes == []
        assert one.state == replace(
            before,
            heads=before.heads
            | {good.tail: Standing(Order(2, 8), (good.content_hash,), "current")},
            floors=before.floors | {good.tail: Order(2, 8)},
        )
        assert one.requests == [asks_content(good)]
        assert one.audited == []
        assert one.told(good)


def signed_in_epoch(one: Artifact, epoch: int, **changes: object) -> Artifact:
    statement: Manifest = replace(one.manifest, authority_epoch=epoch, **changes)  # type: ignore[arg-type]
    return Artifact(statement, f.signed(statement), one.content)


def test_fast_forward(tmp_path: Path) -> None:
    """A thief of the compiler's key takes (E, 2^53-1), and no honest version of this epoch can ever
    follow. (E+1, 1) can, from the moment the quorum of roots moved the epoch on, and not before."""
    scene = Scene().publish(node_snapshot(7), node_snapshot(VERSION_MAX, b"stolen"))
    name = node_snapshot(7).tail
    recovery = signed_in_epoch(node_snapshot(1, b"recovered"), 3)
    scene.refuses(node_snapshot(8), "VERSION_ROLLBACK")
    scene.refuses(recovery, "EPOCH_UNKNOWN", asks_trust=True)

    lonely = replace(f.BUNDLE, bundle_version=4, authority_epoch=3)
    one_root = Artifact(
        trust(lonely).manifest,
        f.signed(trust(lonely).manifest, f.ROOTS[0]),
        trust(lonely).content,
    )
    scene.wait(2_000)
    scene.refuses(one_root, "SIG_THRESHOLD", asks_trust=True)

    scene.caused.clear()
    scene.announce(trust(lonely), scene.attacker)
    scene.carry_out(trust(lonely), recovery).rest()
    assert scene.codes == []
    recovered = Standing(Order(3, 1), (recovery.content_hash,), "current")
    assert scene.state.heads[name] == recovered
    assert scene.state.floors[name] == Order(3, 1)
    # The claims of all who are linked, after each refusal one more, are of the epoch before.
    linked = (ATTACKER, "n3", "n9", "n9", "n9")
    assert scene.audited == [
        ("bundle_accepted", "", ""),
        ("mode_changed", "", ""),
        *(("claims_refused", "EPOCH_STALE", who) for who in linked),
    ]
    assert scene.requests == [asks_content(trust(lonely)), asks_content(recovery)]
    # The bundle is passed on, or nobody behind this node could recover; of what it made possible
    # nobody hears before a list of the new epoch says who is not to.
    assert scene.announced == [trust(lonely).envelope]
    for one in (scene, scene.restarted(tmp_path)):
        one.refuses(node_snapshot(VERSION_MAX, b"stolen"), "EPOCH_STALE")
        assert one.state.heads[name] == recovered


def test_the_highest_version_is_the_last_one() -> None:
    """There is no number above it to wrap around to."""
    scene = Scene().publish(routes(VERSION_MAX))
    for version in (1, VERSION_MAX - 1):
        scene.refuses(routes(version), "VERSION_ROLLBACK")
    over = replace(routes(8).manifest, config_version=VERSION_MAX + 1)
    scene.refuses(Artifact(over, f.signed(over), b"routes 8"), "SCHEMA")


def test_a_tombstone_of_an_old_version_takes_nothing_back() -> None:
    """Restriction always lands, but not below what stands: it withdraws up to its own order."""
    old = replace(
        routes(6).manifest,
        content_hash=NOTHING_HASH,
        content_size=0,
        tombstone=Tombstone(reason="withdrawn", purge=True),
    )
    Scene().publish(routes(7)).refuses(Artifact(old, f.signed(old), b""), "VERSION_ROLLBACK")
