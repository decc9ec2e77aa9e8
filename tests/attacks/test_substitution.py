"""Attack: bring other bytes than those that were signed.

Powers: the attacker is a member that announces honest manifests and is asked for their contents. It
answers with bytes of its own: swapped, shortened, prolonged, or right up to the last chunk. The
bytes meet the hash on their way to the disk; what the core makes of the failure stands first, the
disk after it.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import trio.testing

from fabgossip.core.effects import ReceiveContent
from fabgossip.core.events import ContentFailed, FetchFailure, LinkId
from fabgossip.daemon.connections import Connection
from fabgossip.model.artifact import ArtifactType, chunk_size_of
from fabgossip.model.authority import RevokedKind
from fabgossip.model.messages import GetContent
from fabgossip.model.persistence import PutHead
from tests.attacks.powers import revokes
from tests.attacks.scene import ATTACKER, Scene, Standing, asks_content
from tests.core.artifacts import (
    Artifact,
    node_snapshot,
    peers,
    record,
    revocations,
    routes,
    trust,
    update,
)
from tests.core.story import announcement
from tests.daemon.fabric import wanted
from tests.daemon.test_transfers import LARGE, content_frame, link
from tests.trust import factory as f

PAIRS: dict[str, tuple[Artifact | None, Artifact]] = {
    "a trust bundle": (None, trust(f.NEXT_BUNDLE)),
    "a revocation list": (
        revocations(7),
        revocations(8, revokes(RevokedKind.CERTIFICATE, b"c" * 32)),
    ),
    "the own snapshot": (node_snapshot(7), node_snapshot(8, b"new settings")),
    "a peer directory": (peers(), peers(record("n9"), version=8)),
    "routes": (routes(7), routes(8)),
    "an update": (update(7), update(8)),
}
CODES = {FetchFailure.BAD_HASH: "HASH_MISMATCH", FetchFailure.BAD_LENGTH: "LENGTH_MISMATCH"}


def brings_other_bytes(scene: Scene, wanted: Artifact, reason: FetchFailure, from_: LinkId) -> None:
    assert scene.only(ReceiveContent).link == from_
    failed = ContentFailed(
        wanted=wanted.wanted, link=from_, request=None, reason=reason, received=0
    )
    scene.when(failed)


@pytest.mark.parametrize("reason", CODES)
@pytest.mark.parametrize(("before", "offered"), PAIRS.values(), ids=PAIRS)
def test_never_visible(
    before: Artifact | None, offered: Artifact, reason: FetchFailure, tmp_path: Path
) -> None:
    """The manifest is honest, so it is durable and binds; its content is not here, so consumers
    keep what they have and nobody hears that it is. The sender is named and not asked again; an
    honest source ends it."""
    scene = Scene().publish(*(() if before is None else (before,)))
    trusted = scene.state
    scene.announce(offered, scene.attacker).persisted()
    brings_other_bytes(scene, offered, reason, scene.attacker)
    scene.announce(offered, scene.attacker)
    scene.rest()
    assert scene.blamed == ["peer"]
    behind = Standing(offered.manifest.order, (offered.content_hash,), "behind")
    # Whoever may know it hears that it exists, and may have it; of a bundle only once it was read.
    is_bundle = offered.manifest.artifact_type is ArtifactType.TRUST_BUNDLE
    is_own = offered.manifest.namespace.node_id is not None
    scene.leaves(
        replace(
            trusted,
            heads=trusted.heads | {offered.tail: behind},
            floors=trusted.floors | {offered.tail: offered.manifest.order},
        ),
        codes=[CODES[reason]],
        requests=[asks_content(offered)],
        audited=[
            ("fetch_failed", reason.value, ATTACKER),
            ("artifact_rejected", CODES[reason], ATTACKER),
        ],
        durable=[PutHead(verified=offered.verified)],
        onward=[] if is_bundle or is_own else [announcement(offered, inline=False)],
    )
    again = scene.restarted(tmp_path)
    assert again.state.heads[offered.tail] == behind
    assert offered.tail not in dict(again.at_start.switched)

    scene.caused.clear()
    scene.announce(offered, scene.bystander)
    assert scene.only(ReceiveContent).link == scene.bystander
    scene.carry_out(offered).rest()
    assert scene.codes == []
    assert scene.state.heads[offered.tail].state == "current"
    assert scene.switched == [(offered.tail, offered.manifest.order)]


@pytest.mark.parametrize(
    "reason",
    [
        one
        for one in FetchFailure
        if one not in {*CODES, FetchFailure.TOO_SLOW, FetchFailure.CONTRADICTED}
    ],
)
def test_who_merely_does_not_bring_it_is_not_blamed(reason: FetchFailure) -> None:
    """Absent, busy or cut off is no lie: it is recorded that this source was asked in vain, and
    nothing is held against it. A disk of our own, or a change of mind, names nobody."""
    scene = Scene().publish(routes(7))
    scene.announce(routes(8), scene.attacker).persisted()
    brings_other_bytes(scene, routes(8), reason, scene.attacker)
    assert scene.codes == []
    is_ours = reason in (FetchFailure.DISK, FetchFailure.STORAGE, FetchFailure.CANCELLED)
    assert scene.audited == [("fetch_failed", reason.value, "" if is_ours else ATTACKER)]


SIZE = chunk_size_of(len(LARGE))
LAST = len(LARGE) // SIZE - 1


@pytest.mark.parametrize("bad", [0, LAST // 2, LAST], ids=["first", "middle", "last"])
@pytest.mark.slow
async def test_a_swapped_chunk_leaves_no_file(bad: int, tmp_path: Path) -> None:
    """Bytes are hashed chunk by chunk before they are kept. Whatever came before the swapped chunk,
    no reader ever finds the content, under its final name or as something the disk gives."""

    def answer(_: Connection, stream: int, message: GetContent) -> bytes:
        number = message.items[0].first_chunk
        data = bytearray(LARGE[number * SIZE : (number + 1) * SIZE])
        if number == bad:
            data[0] ^= 1
        return content_frame(stream, bytes(data))

    async with link(tmp_path) as one:
        one.spoil["answer"] = answer
        one.receive(LARGE)
        failed = await one.here.event()
        assert isinstance(failed, ContentFailed)
        assert (failed.reason, failed.link) == (FetchFailure.BAD_HASH, one.near.link)
        assert failed.received == bad * SIZE
        await trio.testing.wait_all_tasks_blocked()
        assert one.here.disk.read(wanted(LARGE).content_hash) is None
        assert not one.here.files.path_of(wanted(LARGE).content_hash).exists()
