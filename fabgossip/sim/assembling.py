"""Contents made of contents that are held, as the daemon makes them: the increments are really
applied.

Decides: nothing; only waiting differs.
Keeps: exactly one answer per `Assemble`; nothing but the last result reaches the disk.
Must not know: why a content is made.
"""

from fabgossip.core.chunks import Chunks
from fabgossip.core.effects import Assemble
from fabgossip.core.events import AssemblyFailed, ContentStored
from fabgossip.model.increments import AssemblyFault, Broken
from fabgossip.sim.trace import Happened, Kind, world_event
from fabgossip.sim.transfers import Bench
from fabgossip.wire.increments import assemble


class Assemblies:
    """Carries out `Assemble` for one process."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def begin(self, effect: Assemble) -> None:
        """Read the base and every increment, then make the result, if there is space for it."""
        if not self._bench.disk.takes(effect.wanted.size, is_trust=False):
            self._bench.post(
                _failed(effect, Broken(AssemblyFault.DISK, len(effect.increments) - 1))
            )
            return
        reads = 1 + len(effect.increments)
        at = self._bench.now_ns() + reads * self._bench.disk.read_ns
        self._bench.wait(at, lambda: self._make(effect))

    def _make(self, effect: Assemble) -> Happened:
        made = assemble(effect.increments, self._bench.disk.read)
        last = len(effect.increments) - 1
        if isinstance(made, bytes) and not Chunks(effect.wanted).are_of(made):
            made = Broken(AssemblyFault.RESULT, last)
        if isinstance(made, Broken):
            return self._fail(effect, made)
        self._bench.on_hashed(sum(_hashed(effect)))
        self._bench.on_unpacked(sum(_made(effect)))
        content = made

        def done(ok: bool) -> Happened:  # noqa: FBT001  # the outcome of one disk job, given by position
            if not ok:
                return self._fail(effect, Broken(AssemblyFault.DISK, last))
            stored = ContentStored(wanted=effect.wanted, link=None, content=content)
            return self._bench.step(stored)

        self._bench.disk.store(effect.wanted.content_hash, content, done)
        return world_event(Kind.DISK, "assembled")

    def _fail(self, effect: Assemble, broken: Broken) -> Happened:
        return self._bench.step(_failed(effect, broken))


def _failed(effect: Assemble, broken: Broken) -> AssemblyFailed:
    return AssemblyFailed(wanted=effect.wanted, fault=broken.fault, place=broken.place)


def _made(effect: Assemble) -> list[int]:
    """Bytes of every result."""
    return [one.base.result_size for one in effect.increments if one.base is not None]


def _hashed(effect: Assemble) -> list[int]:
    """Bytes of every increment and every result; the base is about as large as the first one."""
    results = _made(effect)
    return [results[0], *results, *(one.content_size for one in effect.increments)]
