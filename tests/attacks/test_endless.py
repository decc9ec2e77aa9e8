"""More than was signed, without an end.

Powers: the attacker is whoever was asked: it sends as much as it likes, as fast as it likes, in
frames that are each in order. It claims any length, and packs what grows when it is unpacked.
"""

import ast
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Final

import pytest
import trio
import trio.testing

import fabgossip
from fabgossip.core.effects import ReceiveContent
from fabgossip.core.events import ContentFailed, ContentStored, FetchFailure
from fabgossip.daemon.connections import Connection
from fabgossip.errors import WireError
from fabgossip.model.artifact import chunk_size_of
from fabgossip.model.envelope import ENVELOPE_BYTES_MAX
from fabgossip.model.messages import TrafficClass
from fabgossip.model.persistence import PutHead
from fabgossip.wire.codec import ContentHeader, content_header_bytes
from fabgossip.wire.framing import BODY_BYTES_MAX, FrameKind, FrameReader
from tests.attacks.scene import ATTACKER, Scene, asks_content
from tests.attacks.test_advertising import fails
from tests.core.artifacts import Artifact, routes
from tests.core.story import announcement
from tests.daemon.fabric import HANG_S, End, in_memory, wanted
from tests.daemon.test_transfers import IDLE_MS, LARGE, SMALL

PIECE_BYTES: Final = 64 << 10
PIECE: Final = b"x" * PIECE_BYTES
PIECES: Final = 1_000
CONTENTS: Final = {
    "nothing": b"",
    "one byte": b"x",
    "whole": b"x" * 300_000,
    "in chunks": LARGE,
}
BESIDE: Final = SMALL


@asynccontextmanager
async def receiver(folder: Path) -> AsyncIterator[tuple[End, Connection]]:
    with trio.fail_after(HANG_S):
        near, _ = await in_memory(folder)
        async with trio.open_nursery() as nursery:
            with closing(End(folder / "disk", nursery)) as end:
                yield end, near
                nursery.cancel_scope.cancel()


async def ask(end: End, near: Connection, content: bytes) -> None:
    effect = ReceiveContent(wanted=wanted(content), link=near.link, idle_ms=IDLE_MS)
    end.transfers.receive(effect, near)
    await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
async def test_cut_at_signed_size(content: bytes, tmp_path: Path) -> None:
    """One byte above what was signed ends it, though every byte before it was right. What comes
    after that is not kept; another content on the same link still comes."""
    async with receiver(tmp_path) as (end, near):
        await ask(end, near, BESIDE)
        await ask(end, near, content)
        beside, stream = 1, 3

        def feed(stream: int, offset: int, data: bytes, *, is_last: bool = False) -> None:
            header = content_header_bytes(ContentHeader(0, is_last, offset))
            end.transfers.on_content(near, stream, memoryview(header + data))

        size = len(content)
        signed = min(size, chunk_size_of(size)) if wanted(content).chunk_hashes else size
        for start in range(0, signed, PIECE_BYTES):
            feed(stream, start, content[start : min(start + PIECE_BYTES, signed)])
        assert end.events == []
        feed(stream, signed, b"x")
        cut = ContentFailed(
            wanted=wanted(content),
            link=near.link,
            request=None,
            reason=FetchFailure.BAD_LENGTH,
            received=0,
        )
        assert end.events == [cut]

        tracemalloc.start()
        for number in range(PIECES):
            feed(stream, signed + 1 + number * PIECE_BYTES, PIECE)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4 * PIECE_BYTES
        assert await end.event() == cut

        feed(beside, 0, BESIDE, is_last=True)
        stored = await end.event()
        assert isinstance(stored, ContentStored)
        assert stored.wanted == wanted(BESIDE)
        assert end.disk.read(wanted(BESIDE).content_hash) == BESIDE
        assert end.events == []
        assert end.disk.read(wanted(content).content_hash) is None
        assert files_of(end) == []
    the_core_names_the_sender(cut.reason)


def files_of(end: End) -> list[Path]:
    """The contents that rest in files, and what is on its way there."""
    known = {"index", "index-wal", "index-shm", "handling"}
    return [one for one in end.folder.rglob("*") if one.is_file() and one.name not in known]


def the_core_names_the_sender(reason: FetchFailure) -> None:
    """What was cut leaves two records; its sender is not asked again, who has it brings it."""
    scene = Scene().publish(routes(7))
    newer = routes(8)
    scene.announce(newer, scene.attacker).persisted()
    before = scene.state
    fails(scene, newer, reason)
    scene.leaves(
        before,
        codes=["LENGTH_MISMATCH"],
        requests=[asks_content(newer)],
        audited=[
            ("fetch_failed", "bad_length", ATTACKER),
            ("artifact_rejected", "LENGTH_MISMATCH", ATTACKER),
        ],
        durable=[PutHead(verified=newer.verified)],
        onward=[announcement(newer, inline=False)],
    )
    scene.announce(newer, scene.bystander)
    scene.carry_out(newer)
    assert scene.requests == [asks_content(newer)] * 2
    assert scene.state.heads[newer.tail].state == "current"


@pytest.mark.parametrize("kind", FrameKind)
def test_a_claimed_length_above_its_kind_is_refused_by_the_header_alone(kind: FrameKind) -> None:
    reader = FrameReader()
    length = BODY_BYTES_MAX[kind] + 1
    reader.feed(length.to_bytes(3, "big") + bytes((kind, TrafficClass.LINK)) + bytes(3))
    with pytest.raises(WireError) as caught:
        list(reader.frames())
    assert caught.value.code == "FRAME_TOO_LARGE"


@pytest.mark.parametrize("size", [ENVELOPE_BYTES_MAX + 1, 1 << 20])
def test_an_oversize_manifest_is_refused_unread(size: int) -> None:
    """However well it began."""
    long = routes(8).envelope.ljust(size, b"x")
    scene = Scene().publish(routes(7))
    scene.refuses(Artifact(routes(8).manifest, long, routes(8).content), "FRAME_TOO_LARGE")
    assert scene.blamed == ["peer"]


def test_nothing_here_unpacks_what_others_packed() -> None:
    """A bomb needs a fuse: only the reader of increments unpacks, cut at the signed size
    (`tests/wire/test_increments.py`)."""
    package = Path(fabgossip.__file__).parent
    unpacking = {"decompress", "ZstdDecompressor", "decompressobj", "ZstdFile"}
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute | ast.Name)
        and (node.attr if isinstance(node, ast.Attribute) else node.id) in unpacking
    }
    assert found == {"wire/increments.py"}
