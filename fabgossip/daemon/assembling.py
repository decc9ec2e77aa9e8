"""Contents made of contents that are held: increments applied in a worker thread, one chain at a
time.

Memory: one base, one result and the window of the decompressor; nothing but the last result is
ever written.
"""

from collections.abc import Callable

import trio

from fabgossip.core.chunks import Chunks
from fabgossip.core.effects import Assemble
from fabgossip.core.events import AssemblyFailed, ContentStored, Event
from fabgossip.daemon.disk import Disk
from fabgossip.model.increments import AssemblyFault, Broken
from fabgossip.storage.contents import IncomingContent
from fabgossip.wire.increments import assemble


class Assemblies:
    """Carries out `Assemble`. All methods are called from the loop."""

    def __init__(self, disk: Disk, nursery: trio.Nursery, post: Callable[[Event], None]) -> None:
        self._disk = disk
        self._nursery = nursery
        self._post = post
        self._one_at_a_time = trio.CapacityLimiter(1)

    def begin(self, effect: Assemble) -> None:
        """Start on a chain, if there is space for what comes of it."""
        if not self._disk.takes(effect.wanted.size, is_trust=False):
            self._fail(effect, Broken(AssemblyFault.DISK, len(effect.increments) - 1))
            return
        self._nursery.start_soon(self._assemble, effect, name="assemble")

    async def _assemble(self, effect: Assemble) -> None:
        made = await trio.to_thread.run_sync(self._make, effect, limiter=self._one_at_a_time)
        if isinstance(made, Broken):
            self._fail(effect, made)
            return
        content, incoming = made

        def done(ok: bool) -> None:  # noqa: FBT001  # the outcome of one disk job, given by position
            if ok:
                self._post(ContentStored(wanted=effect.wanted, link=None, content=content))
            else:
                self._fail(effect, Broken(AssemblyFault.DISK, len(effect.increments) - 1))

        if incoming is None:
            self._disk.store_small(effect.wanted.content_hash, content, done)
        else:
            self._disk.store_file(effect.wanted.content_hash, incoming, len(content), done)

    def _make(self, effect: Assemble) -> tuple[bytes, IncomingContent | None] | Broken:
        """The result, and the file it is in where it is too large to be written from the loop.
        Blocks."""
        content = assemble(effect.increments, self._disk.read)
        if isinstance(content, Broken):
            return content
        wanted, last = effect.wanted, len(effect.increments) - 1
        if not Chunks(wanted).are_of(content):
            return Broken(AssemblyFault.RESULT, last)
        if not wanted.chunk_hashes:
            return content, None
        try:
            incoming = self._disk.files.open_incoming(wanted.content_hash, len(content))
        except OSError:
            return Broken(AssemblyFault.DISK, last)
        try:
            incoming.write_at(0, content)
        except OSError:
            incoming.drop()
            return Broken(AssemblyFault.DISK, last)
        return content, incoming

    def _fail(self, effect: Assemble, broken: Broken) -> None:
        failed = AssemblyFailed(wanted=effect.wanted, fault=broken.fault, place=broken.place)
        self._post(failed)
