"""What waits to leave on one link, by class, and what leaves next.

Decides: which frame is next; whether there is room for another.
Keeps: frames of one class leave in the order they came; trust never waits behind a snapshot, a
policy or bulk for more than the frame under way; what one link may have waiting is bounded.
Must not know: how bytes travel, what a frame says.

Classes 0, 1, 2 leave strictly in that order. The others share what is left by deficit round robin:
at its turn a class gets credit, and its frames leave while that lasts. What one does not use goes
to the others.
"""

from collections import deque
from typing import Final, Generic, NamedTuple, TypeVar

from fabgossip.model.messages import TrafficClass
from fabgossip.wire.framing import CONTENT_FRAME_BYTES_MAX

F = TypeVar("F")

KIB: Final = 1024
QUEUE_BYTES_MAX: Final = {
    TrafficClass.LINK: 80 * KIB,
    TrafficClass.TRUST: 256 * KIB,
    TrafficClass.TOMBSTONE: 80 * KIB,
    TrafficClass.SNAPSHOT: 192 * KIB,
    TrafficClass.POLICY: 192 * KIB,
    TrafficClass.BULK: 304 * KIB,
}
"""Bytes waiting per class (*start*), about 1 MiB in all. Each takes the longest frame it may have
to carry: a hello, claims and a frame of manifests have up to 64 KiB."""
SEND_BYTES_MAX: Final = 32 * KIB * KIB
"""Bytes waiting on all links of a node (*start*). Beyond, contents wait on the disk but for one
frame a link, and all else is dropped but for `NEVER_DROPPED`: no link ends for others' slowness."""
NEVER_DROPPED: Final = frozenset({TrafficClass.LINK, TrafficClass.TRUST})
"""A peer that cannot take these is no neighbour: the link closes instead."""
JUDGED: Final = (
    TrafficClass.TRUST,
    TrafficClass.TOMBSTONE,
    TrafficClass.SNAPSHOT,
    TrafficClass.POLICY,
)
"""By how long these wait a peer is judged slow: bulk may wait, and pings judge the link itself."""
_STRICT: Final = (TrafficClass.LINK, TrafficClass.TRUST, TrafficClass.TOMBSTONE)
_SHARES: Final = ((TrafficClass.SNAPSHOT, 6), (TrafficClass.POLICY, 3), (TrafficClass.BULK, 1))
QUANTUM: Final = 16 * KIB
"""Credit of a share of one at its turn: no frame waits for more than a few turns (*start*)."""
CONTENT_FRAME_BYTES_MIN: Final = 16 * KIB
DRAIN_BYTES: Final = 1_024 * KIB
"""What was written longer ago than this counts half; so much taken at once, one write after the
other, makes a measurement void (*start*)."""
PROMPT_MS: Final = 1
"""A write that took less did not wait for the peer (*start*)."""
TRUST_CONTENT_BYTES_MAX: Final = 64 * KIB
"""Of content in a frame of trust: beside it the queue has room for the longest announcement."""
CONTENT_FRAME_MS: Final = 20
"""A content frame is no longer than the link takes in so long: so long trust may wait behind it."""


class Budget:
    """Bytes that wait on all links of a node together."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0

    def has_room(self, size: int) -> bool:
        """Whether so many more may wait, of what is dropped or waits elsewhere for its turn."""
        return self.bytes + size <= SEND_BYTES_MAX


class Waiting(NamedTuple, Generic[F]):
    """A frame in a queue."""

    frame: F
    size: int
    traffic: TrafficClass
    since: float
    """When it was queued, on the clock of who queued it."""


class Outbox(Generic[F]):
    """The frames that wait on one link."""

    __slots__ = ("_budget", "_bytes", "_credits", "_queues", "_turn")

    def __init__(self, budget: Budget | None = None) -> None:
        """`budget`: of the node, shared by its links."""
        self._budget = budget or Budget()
        self._queues: dict[TrafficClass, deque[Waiting[F]]] = {}
        self._bytes: dict[TrafficClass, int] = {}
        self._credits = [0] * len(_SHARES)
        self._turn = len(_SHARES) - 1

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._queues

    def waiting(self, traffic: TrafficClass) -> int:
        """Bytes of a class that wait."""
        return self._bytes.get(traffic, 0)

    @property
    def bytes(self) -> int:
        """Bytes of all classes that wait."""
        return sum(self._bytes.values())

    @property
    def oldest(self) -> float | None:
        """Since when the oldest frame waits by which a peer is judged slow; None if none does."""
        heads = (self._queues[one][0].since for one in JUDGED if one in self._queues)
        return min(heads, default=None)

    def offer(self, traffic: TrafficClass, frame: F, size: int, now: float) -> bool:
        """Queue a frame of so many bytes; False if its class has no room."""
        if self.waiting(traffic) + size > QUEUE_BYTES_MAX[traffic]:
            return False
        if traffic not in NEVER_DROPPED and not self._budget.has_room(size):
            return False
        self.put(traffic, frame, size, now)
        return True

    def has_room(self, traffic: TrafficClass, size: int) -> bool:
        """Whether content may be queued: half a queue stays free for what is never read from disk
        again, but one frame may always wait."""
        waiting = self.waiting(traffic)
        return not waiting or (
            waiting + size <= QUEUE_BYTES_MAX[traffic] // 2 and self._budget.has_room(size)
        )

    def put(self, traffic: TrafficClass, frame: F, size: int, now: float) -> None:
        """Queue a frame whatever waits."""
        waiting = Waiting(frame, size, traffic, now)
        self._queues.setdefault(traffic, deque()).append(waiting)
        self._bytes[traffic] = self.waiting(traffic) + size
        self._budget.bytes += size

    def next_size(self) -> int | None:
        """How many bytes the next frame has; None if nothing waits."""
        traffic = self._next_class()
        return None if traffic is None else self._queues[traffic][0].size

    def take(self) -> Waiting[F]:
        """The next frame, which waits no longer; raises `LookupError` if nothing waits."""
        traffic = self._next_class()
        if traffic is None:
            raise LookupError("nothing waits")
        queue = self._queues[traffic]
        taken = queue.popleft()
        self._bytes[traffic] -= taken.size
        self._budget.bytes -= taken.size
        if not queue:
            del self._queues[traffic], self._bytes[traffic]
            if not self._queues:
                self.clear()  # a dict keeps its table, and mostly nothing waits on a link
        if traffic not in _STRICT:
            self._credits[self._turn] -= taken.size
        return taken

    def clear(self) -> None:
        """Nothing waits any more."""
        self._budget.bytes -= self.bytes
        self._queues.clear()
        self._bytes.clear()

    def _next_class(self) -> TrafficClass | None:
        if not self._queues:
            return None
        for traffic in _STRICT:
            if traffic in self._queues:
                return traffic
        while True:
            traffic, _ = _SHARES[self._turn]
            queue = self._queues.get(traffic)
            if queue is None:
                self._credits[self._turn] = 0
            elif queue[0].size <= self._credits[self._turn]:
                return traffic
            self._turn = (self._turn + 1) % len(_SHARES)
            self._credits[self._turn] += _SHARES[self._turn][1] * QUANTUM


class DrainRate:
    """How fast a link takes what is written, by the last MiB or two that had to wait. What the
    kernel's buffer takes at once says how much room there was, not how fast the peer reads; only
    when that goes on, the link is fast."""

    __slots__ = ("_bytes", "_is_fast", "_prompt_bytes", "_seconds")

    def __init__(self) -> None:
        self._bytes = 0
        self._seconds = 0.0
        self._prompt_bytes = 0
        self._is_fast = False

    def on_written(self, size: int, took_s: float) -> None:
        """So many bytes took so long."""
        if took_s * 1_000 < PROMPT_MS:
            self._prompt_bytes += size
            if self._prompt_bytes > DRAIN_BYTES:
                self._bytes, self._seconds, self._prompt_bytes = 0, 0.0, 0
                self._is_fast = True
            return
        self._prompt_bytes = 0
        self._bytes += size
        self._seconds += took_s
        if self._bytes > DRAIN_BYTES:
            self._bytes, self._seconds = self._bytes // 2, self._seconds / 2

    @property
    def bytes_per_s(self) -> int | None:
        """None before anything worth measuring had to wait."""
        if self._bytes < CONTENT_FRAME_BYTES_MIN:
            return None
        return int(self._bytes / self._seconds)

    @property
    def content_frame_bytes(self) -> int:
        """How much content a frame of this link should carry. A link begins with little: were it
        slow, it would take too long for the first frame, end for that, and begin again."""
        measured = self.bytes_per_s
        if measured is None and not self._is_fast:
            return CONTENT_FRAME_BYTES_MIN
        return content_frame_bytes(measured)


def content_frame_bytes(bytes_per_s: int | None) -> int:
    """The greatest power of two that a link of this rate takes within `CONTENT_FRAME_MS`, within
    limits; the largest for one on which nothing waits."""
    if bytes_per_s is None:
        return CONTENT_FRAME_BYTES_MAX
    fits = max(1, bytes_per_s * CONTENT_FRAME_MS // 1_000)
    size = 1 << (fits.bit_length() - 1)
    return max(CONTENT_FRAME_BYTES_MIN, min(size, CONTENT_FRAME_BYTES_MAX))


def content_bytes_max(traffic: TrafficClass, link_bytes: int) -> int:
    """How much content a frame of a class carries where frames of its link may carry `link_bytes`:
    of trust no more than leaves room for its longest message, or that would end the link, as it may
    not be dropped, for each frame that waits."""
    return min(link_bytes, TRUST_CONTENT_BYTES_MAX) if traffic in NEVER_DROPPED else link_bytes
