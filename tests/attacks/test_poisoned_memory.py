"""What a node remembers of refusals is turned against it, or asked for what it must not tell.

Powers: the attacker is a member, of no organisation; it wraps payloads that others signed in
envelopes of its own, and it has a stolen revocation key, or the node's clock, for a while.
"""

from dataclasses import replace

import pytest

from fabgossip.core.effects import Send
from fabgossip.core.events import RefreshDue
from fabgossip.model.artifact import ArtifactType, Order
from fabgossip.model.authority import RevocationList, RevokedKind
from fabgossip.model.envelope import PayloadKind, Signature
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import Announce, Announced, Graft, Have
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.topology import Snapshot
from fabgossip.wire.contents import revocations_bytes, snapshot_bytes
from fabgossip.wire.envelopes import envelope_bytes, parse_envelope
from tests.attacks.powers import revokes
from tests.attacks.scene import Scene
from tests.core.artifacts import (
    EVERYBODY,
    Artifact,
    acme_routes,
    revocations,
    routes,
    sealed,
    trust,
)
from tests.core.story import Peer
from tests.trust import factory as f


def as_claims(artifact: Artifact) -> bytes:
    """Its payload, said to be something else, signed by nobody."""
    return envelope_bytes(PayloadKind.NODE_CLAIMS, parse_envelope(artifact.envelope).payload, ())


def by_a_revoked_key(artifact: Artifact) -> bytes:
    """Its payload, with a forged signature in the name of a key everybody knows to be revoked."""
    parts = parse_envelope(artifact.envelope)
    forged = (Signature(f.STRANGER.key_id, bytes(64)),)
    return envelope_bytes(parts.kind, parts.payload, forged)


@pytest.mark.parametrize("wrap", [as_claims, by_a_revoked_key])
def test_a_wrapped_payload_keeps_nobody_from_asking_for_the_real_one(wrap: object) -> None:
    scene = Scene().publish(revocations(8, revokes(RevokedKind.SIGNING_KEY, f.STRANGER.key_id)))
    assert callable(wrap)
    wrapped = Announce(entries=(Announced(wrap(routes(7)), 0),))
    scene.hear(scene.attacker, wrapped)
    assert len(scene.codes) == 1
    honest = scene.link("n5")
    scene.caused.clear()
    scene.hear(honest, Have(audience=EVERYBODY, prefixes=(routes(7).prefix,), is_late=True))
    assert scene.sent(honest) == [Graft(audience=EVERYBODY, prefixes=(routes(7).prefix,))]


@pytest.mark.parametrize("is_revoked", [False, True], ids=["leaked", "from the list"])
def test_a_list_does_not_show_whether_a_foreign_artifact_was_ever_seen(*, is_revoked: bool) -> None:
    """An outsider lists a hash of another organisation under an audience it does share."""
    said = []
    for holds in (True, False):
        scene = Scene()
        if holds:
            scene.publish(acme_routes())
        if is_revoked:
            entry = revokes(RevokedKind.MANIFEST, acme_routes().verified.manifest_hash)
            scene.publish(revocations(8, entry))
        outsider = scene.link(Peer(name="n7", holds=(), shows=()))
        scene.caused.clear()
        scene.hear(
            outsider, Have(audience=EVERYBODY, prefixes=(acme_routes().prefix,), is_late=True)
        )
        said.append([one.message for one in scene.caused if isinstance(one, Send)])
    assert said[0] == said[1]


def of_epoch_3(artifact_type: ArtifactType, content: bytes, tail: str | None = None) -> Artifact:
    statement = replace(f.manifest(artifact_type, tail), config_version=1, authority_epoch=3)
    return sealed(statement, content)


def test_what_came_between_a_new_epoch_and_its_list_is_good_when_it_comes_again() -> None:
    """The thief of the revocation key had listed the key that signs routes."""
    scene = Scene().publish(revocations(8, revokes(RevokedKind.SIGNING_KEY, f.POLICY.key_id)))
    scene.publish(trust(replace(f.BUNDLE, bundle_version=4, authority_epoch=3)))
    claims = replace(
        f.claims(f.OPENINGS),
        authority_epoch=3,
        node_id=NodeId("n1"),
        roles=("edge",),
        claims_version=2,
    )
    snapshot = Snapshot(
        endpoints=(), degraded=DegradedPolicy(), settings=b"", claims=f.signed_claims(claims)
    )
    new = of_epoch_3(ArtifactType.ROUTE_POLICY_BUNDLE, b"routes of epoch 3", "routes/r1")
    scene.caused.clear()
    scene.offer(new)
    assert scene.codes == ["KEY_REVOKED"]
    scene.offer(of_epoch_3(ArtifactType.REVOCATION_LIST, revocations_bytes(RevocationList())))
    scene.offer(of_epoch_3(ArtifactType.CLUSTER_SNAPSHOT, snapshot_bytes(snapshot))).rest()
    scene.announce(new, scene.bystander)
    scene.carry_out(new).rest()
    assert scene.trusted["routes/r1"][0] == Order(3, 1)


def test_a_clock_that_ran_ahead_for_a_moment_takes_nothing_for_good() -> None:
    later = routes(8, name="r2")
    scene = Scene().publish(routes(7))
    scene.step_clock(400 * f.DAY)
    scene.offer(later)
    assert set(scene.codes) == {"EXPIRED"}
    scene.due(RefreshDue)
    assert ("routes/r1", None) not in scene.switched
    scene.step_clock(-400 * f.DAY)
    scene.offer(revocations(9)).rest()
    scene.announce(later, scene.bystander)
    scene.carry_out(later).rest()
    assert scene.trusted["routes/r1"] == (Order(2, 7), "current")
    assert scene.trusted["routes/r2"][0] == Order(2, 8)
