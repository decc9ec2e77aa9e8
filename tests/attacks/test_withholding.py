"""Every piece of what a node needs, held back by whoever was asked for it.

Powers: the attacker is a member that has everything which was ever signed and signs nothing itself.
It tells of what exists and never brings it, or brings what comes later and keeps back what must
come first. A second neighbor, silent so far, is honest.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from fabgossip.core.effects import Materialize, Persist, ReceiveContent
from fabgossip.core.events import Persisted
from fabgossip.model.artifact import ArtifactType, Order
from fabgossip.model.authority import RevokedKind
from fabgossip.model.persistence import PutHead
from tests.attacks.powers import revokes, withholds, without_times
from tests.attacks.scene import ATTACKER, TRUST_LANE_ASKED, Scene, Standing, asks_content
from tests.core.artifacts import (
    Artifact,
    node_snapshot,
    peers,
    record,
    revocations,
    routes,
    sealed,
    stores,
    trust,
    update,
)
from tests.core.story import announcement
from tests.trust import factory

FOUR = replace(factory.BUNDLE, bundle_version=4)
FIVE = replace(factory.BUNDLE, bundle_version=5)
PIECES: dict[str, Artifact] = {
    "a trust bundle": trust(FOUR),
    "a revocation list": revocations(8, revokes(RevokedKind.CERTIFICATE, b"c" * 32)),
    "the own snapshot": node_snapshot(8),
    "a peer directory": peers(record("n9")),
    "a storage directory": stores("n9"),
    "routes": routes(8),
    "an update": update(8),
}


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES)
def test_each_piece(piece: Artifact, tmp_path: Path) -> None:
    """A manifest alone changes nothing that is believed or applied; its content, from anybody,
    ends the wait."""
    scene = Scene().publish(routes(7))
    before = scene.state
    scene.announce(piece, scene.attacker).persisted()
    withholds(scene, piece, scene.attacker)
    scene.rest()
    behind = Standing(piece.manifest.order, (piece.content_hash,), "behind")
    # Whoever may know it hears that it exists, and may have it; of a bundle only once it was read.
    is_bundle = piece.manifest.artifact_type is ArtifactType.TRUST_BUNDLE
    is_own = piece.manifest.namespace.node_id is not None
    scene.leaves(
        replace(
            before,
            heads=before.heads | {piece.tail: behind},
            floors=before.floors | {piece.tail: piece.manifest.order},
        ),
        requests=[asks_content(piece)],
        audited=[("fetch_failed", "missing", ATTACKER)],
        durable=[PutHead(verified=piece.verified)],
        onward=[] if is_bundle or is_own else [announcement(piece, inline=False)],
    )
    again = scene.restarted(tmp_path)
    assert again.state.heads[piece.tail] == behind
    assert piece.tail not in dict(again.at_start.switched)

    scene.announce(piece, scene.bystander)
    assert scene.only(ReceiveContent).link == scene.bystander
    scene.stored(piece, scene.bystander)
    for switch in scene.find(Materialize):
        scene.when(Persisted(token=switch.token, ok=True))
    assert scene.state.heads[piece.tail].state == "current"


def test_a_bundle_without_the_one_before_it_waits_for_that() -> None:
    scene = Scene().publish()
    before = scene.state
    scene.offer(trust(FIVE)).rest()
    assert (scene.codes, scene.requests) == (["VERSION_GAP"], [TRUST_LANE_ASKED])
    assert scene.audited == [("artifact_rejected", "VERSION_GAP", ATTACKER)]
    assert (scene.state, scene.durable, scene.onward) == (before, [], [])
    scene.accept(trust(FOUR), scene.bystander)
    wait_for(scene, trust(FIVE))
    assert scene.node.view.trust.bundle == FIVE


NEEDS = {
    "a newer list": ("REVOCATION_TOO_OLD", {"min_revocation_version": 8}, revocations(8)),
    "a newer bundle": ("TRUST_TOO_OLD", {"min_trust_version": 4}, trust(FOUR)),
}


@pytest.mark.parametrize(("code", "demands", "missing"), NEEDS.values(), ids=NEEDS)
def test_what_needs_newer_trust_waits_for_it(
    code: str, demands: dict[str, int], missing: Artifact
) -> None:
    wanted = sealed(replace(routes(9).manifest, **demands), b"for later")  # type: ignore[arg-type]  # by name
    scene = Scene().publish(routes(7))
    before = scene.state
    scene.offer(wanted).rest()
    assert (scene.codes, scene.requests) == ([code], [TRUST_LANE_ASKED])
    assert scene.audited == [("artifact_rejected", code, ATTACKER)]
    assert (scene.state, scene.durable, scene.onward) == (before, [], [])
    scene.accept(missing, scene.bystander)
    wait_for(scene, wanted)
    assert scene.trusted["routes/r1"] == (Order(2, 9), "current")
    assert without_times(before.facts) != without_times(scene.state.facts)


def wait_for(scene: Scene, artifact: Artifact) -> None:
    """What waited was judged again by itself, and is fetched like anything else."""
    puts = [one for one in scene.caused if isinstance(one, Persist)]
    for put in puts:
        heads = [one.verified.envelope for one in put.changes if isinstance(one, PutHead)]
        if artifact.envelope in heads:
            scene.when(Persisted(token=put.token, ok=True))
    assert scene.only(ReceiveContent).wanted.content_hash == artifact.content_hash
    scene.stored(artifact, scene.attacker)
    for switch in scene.find(Materialize):
        scene.when(Persisted(token=switch.token, ok=True))
