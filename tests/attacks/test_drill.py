"""Attack: the keys themselves are stolen, or lost.

Powers: the attacker holds one key of the cluster: that of a signer, that of the revocation list, or
a share of the root. It signs with it whatever helps it, before and after the loss is noticed, and
relays everything. It never holds a quorum of roots.

The operator does what the drills of the manual say; a node sees only what arrives. After acceptance
nothing old is current.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

from fabgossip.model.artifact import ArtifactType, Manifest, Order
from fabgossip.model.authority import (
    KeyStatus,
    Revocation,
    RevokedKind,
    TrustBundle,
)
from fabgossip.model.ids import KeyId, NodeId
from fabgossip.model.messages import Claims
from fabgossip.model.mode import Mode
from fabgossip.model.moment import UnixTime
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.topology import Snapshot
from fabgossip.trust.revocation import node_token
from fabgossip.wire.contents import snapshot_bytes
from tests.attacks.scene import ATTACKER, Scene, asks_content
from tests.core.artifacts import Artifact, revocations, routes, sealed, trust
from tests.trust import factory as f

NEW_POLICY: Final = f.signer("policy after the theft")
NEW_REVOKER: Final = f.signer("revoker after the theft")
NEW_ROOT: Final = f.signer("root 4")


def exchanged(bundle: TrustBundle, old: f.Signer, new: f.Signer) -> TrustBundle:
    """The next bundle: every right of one key is another's, and the old one is revoked."""

    def renamed(ids: tuple[KeyId, ...]) -> tuple[KeyId, ...]:
        return tuple(sorted(new.key_id if one == old.key_id else one for one in ids))

    keys = tuple(
        replace(one, status=KeyStatus.REVOKED) if one.key_id == old.key_id else one
        for one in bundle.keys
    )
    return replace(
        bundle,
        bundle_version=bundle.bundle_version + 1,
        keys=(*keys, f.signing_key(new)),
        rights=tuple(replace(one, key_ids=renamed(one.key_ids)) for one in bundle.rights),
    )


def signed_by(signer: f.Signer, one: Artifact, **changes: object) -> Artifact:
    """The same, as another key signs it."""
    statement: Manifest = replace(one.manifest, signer_key_ids=(signer.key_id,), **changes)  # type: ignore[arg-type]
    return Artifact(statement, f.signed(statement, signer), one.content)


def entry(kind: RevokedKind, value: bytes) -> Revocation:
    return Revocation(
        kind=kind, value=value, reason="stolen", since_epoch=1, since=f.NOW, until=UnixTime(0)
    )


def current_by(scene: Scene, signer: f.Signer) -> list[str]:
    """What is current here on the word of a key."""
    return [
        tail
        for tail, standing in scene.state.heads.items()
        if standing.state == "current"
        and (head := scene.node.view.find(f"{f.PREFIX}/{tail}")) is not None
        and signer.key_id in head.verified.signed_by
    ]


def stolen_signing_key(folder: Path) -> None:
    """The thief had its routes current. The list takes all its key ever signed, in the tick it
    is read; the next bundle gives the right to another key, and what that signs is current."""
    scene = Scene().publish(routes(7), routes(8, content=b"the thief's"))
    assert current_by(scene, f.POLICY) == ["routes/r1"]
    before, listed = scene.state, revocations(2, entry(RevokedKind.SIGNING_KEY, f.POLICY.key_id))
    scene.offer(listed).rest()
    assert current_by(scene, f.POLICY) == []
    stolen = replace(before.heads["routes/r1"], state="refused")
    assert scene.state.heads["routes/r1"] == stolen
    assert scene.codes == ["KEY_REVOKED"]
    assert scene.requests == [asks_content(listed)]
    assert scene.audited == [
        ("artifact_rejected", "KEY_REVOKED", ATTACKER),
        ("artifact_withheld", "refused", f"{f.PREFIX}/routes/r1"),
        ("revocation_accepted", "", ""),
    ]
    assert scene.switched == [("routes/r1", None), ("trust/revocations", Order(2, 2))]
    assert scene.announced == [listed.envelope]
    scene.refuses(routes(9), "KEY_REVOKED")

    scene.caused.clear()
    opened = trust(exchanged(f.BUNDLE, f.POLICY, NEW_POLICY))
    scene.offer(opened).rest()
    assert (scene.codes, scene.requests) == ([], [asks_content(opened)])
    assert scene.audited == [("bundle_accepted", "", "")]
    assert scene.announced == [opened.envelope]
    assert scene.switched == [("trust/bundle", Order(2, 4))]
    recovered = signed_by(NEW_POLICY, routes(10))
    scene.caused.clear()
    scene.offer(recovered).rest()
    assert (scene.codes, scene.requests) == ([], [asks_content(recovered)])
    assert (scene.audited, scene.announced) == ([], [recovered.envelope])
    for one in (scene, scene.restarted(folder)):
        assert one.state == scene.state
        assert current_by(one, f.POLICY) == []
        assert current_by(one, NEW_POLICY) == ["routes/r1"]
        assert one.state.floors["routes/r1"] == Order(2, 10)
        one.refuses(routes(11), "KEY_REVOKED")


def own_snapshot_of_next_epoch() -> Artifact:
    """The node's new claims come to it in its own snapshot."""
    claims = f.signed_claims(replace(f.claims(), authority_epoch=3))
    content = snapshot_bytes(
        Snapshot(endpoints=(), degraded=DegradedPolicy(), settings=b"", claims=claims)
    )
    statement = replace(
        f.manifest(ArtifactType.CLUSTER_SNAPSHOT),
        authority_epoch=3,
        config_version=1,
        issued_at=UnixTime(f.NOW - 30),
    )
    return sealed(statement, content)


def stolen_revocation_key(folder: Path) -> None:
    """It can only deny: a key that is good, a node that is good, this node itself. No list of that
    epoch takes it back; the next epoch's first does, and the thief has no word in it."""
    false = (
        entry(RevokedKind.SIGNING_KEY, f.POLICY.key_id),
        entry(RevokedKind.NODE, node_token(f.CLUSTER, NodeId("n7"))),
    )
    scene = Scene().publish(routes(7), revocations(2, *false))
    assert scene.state.heads["routes/r1"].state == "refused"
    scene.offer(revocations(3)).rest()
    assert (scene.codes, scene.requests) == ([], [asks_content(revocations(3))])
    assert scene.audited == [("revocation_accepted", "", "")]
    assert scene.announced == [revocations(3).envelope]
    assert scene.node.view.trust.revoked.has_node(f.CLUSTER, NodeId("n7"))

    opened = replace(exchanged(f.BUNDLE, f.REVOKER, NEW_REVOKER), authority_epoch=3)
    scene.offer(trust(opened))
    assert scene.node.view.trust.revoked.has_key(f.POLICY.key_id)
    assert [one for one in scene.state.heads.values() if one.state == "current"] != []
    lifted = signed_by(NEW_REVOKER, revocations(1), authority_epoch=3, issued_at=f.NOW)
    mine, again = own_snapshot_of_next_epoch(), signed_by(f.POLICY, routes(1), authority_epoch=3)
    for one in (lifted, mine):
        scene.caused.clear()
        scene.offer(one).rest()
        assert scene.codes == []
    peer = replace(f.claims(), node_id=ATTACKER, authority_epoch=3)
    renewed = Claims(openings=f.OPENINGS, claims=f.signed_claims(peer))
    scene.hear(scene.attacker, renewed)
    scene.carry_out()
    scene.offer(again).rest()
    assert scene.codes == []
    assert scene.node.view.trust.revoked.values == set()
    for node in (scene, scene.restarted(folder)):
        assert node.node.view.snapshot(node.now).mode is Mode.FRESH
        orders = {
            tail: one.order
            for tail, one in node.state.heads.items()
            if one.state == "current" and tail != "trust/bundle"
        }
        assert orders == {
            "trust/revocations": Order(3, 1),
            "snapshots/node/n1": Order(3, 1),
            "routes/r1": Order(3, 1),
        }
        forged = replace(
            revocations(9, *false).manifest, authority_epoch=3, signer_key_ids=(f.REVOKER.key_id,)
        )
        thief = Artifact(forged, f.signed(forged, f.REVOKER), revocations(9, *false).content)
        node.refuses(thief, "KEY_REVOKED")


def without_list(folder: Path) -> None:
    """The bundle alone is enough, should no list arrive: a key it calls revoked counts for nothing,
    whatever right still names it, from the tick it comes into force."""
    keys = tuple(
        replace(one, status=KeyStatus.REVOKED) if one.key_id == f.POLICY.key_id else one
        for one in f.BUNDLE.keys
    )
    scene = Scene().publish(routes(7))
    scene.offer(trust(replace(f.BUNDLE, bundle_version=4, keys=keys))).rest()
    assert scene.codes == ["KEY_REVOKED"]
    assert scene.audited == [
        ("bundle_accepted", "", ""),
        ("artifact_rejected", "KEY_REVOKED", ATTACKER),
        ("artifact_withheld", "refused", f"{f.PREFIX}/routes/r1"),
    ]
    assert ("routes/r1", None) in scene.switched
    assert not scene.told(routes(7))
    for node in (scene, scene.restarted(folder)):
        assert current_by(node, f.POLICY) == []
        node.refuses(routes(8), "KEY_REVOKED")


def rooted(bundle: TrustBundle, *signers: f.Signer) -> Artifact:
    named = tuple(sorted(one.key_id for one in signers))
    statement = replace(f.bundle_manifest(bundle), signer_key_ids=named)
    return Artifact(statement, f.signed(statement, *signers), trust(bundle).content)


def root_share_lost(folder: Path) -> None:
    """Two of three are left, enough to put a new one in the place of the third; after that the lost
    share is nobody's."""
    kept = f.ROOTS[:2]
    healed = replace(f.bundle(roots=(*kept, NEW_ROOT)), bundle_version=4)
    scene = Scene().publish(routes(7))
    alone = rooted(replace(f.BUNDLE, bundle_version=4), f.ROOTS[2])
    scene.refuses(alone, "SIG_THRESHOLD", asks_trust=True)
    scene.wait(2_000)
    scene.offer(rooted(healed, *kept)).rest()
    assert scene.node.view.trust.bundle == healed
    assert scene.state.heads["routes/r1"].state == "current"
    for node in (scene, scene.restarted(folder)):
        fifth = replace(healed, bundle_version=5)
        with_lost = rooted(fifth, kept[0], f.ROOTS[2])
        node.wait(2_000)
        node.refuses(with_lost, "SIG_THRESHOLD", asks_trust=True)
        node.offer(rooted(fifth, kept[0], NEW_ROOT)).rest()
        assert node.node.view.trust.bundle == fifth


def test_stolen_keys(tmp_path: Path) -> None:
    """Each of the three, to its end."""
    stolen_signing_key(tmp_path / "signing")
    without_list(tmp_path / "bundle")
    stolen_revocation_key(tmp_path / "revocation")
    root_share_lost(tmp_path / "root")
