"""Two ends of a link that compare one set, with the real codec between them and no node around.

Every frame passes the wire and is counted. Manifests are stood for by their keys: what was sent is
in the other set at once.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from fabgossip.core.events import LinkId
from fabgossip.core.ordered import FingerprintSet
from fabgossip.core.reconciliation import Reconciliation
from fabgossip.core.sets import set_id_of
from fabgossip.model.messages import (
    GetManifests,
    Ids,
    Manifests,
    Message,
    Ranges,
    Roots,
    SaltId,
    SetRoot,
    TrafficClass,
)
from fabgossip.model.moment import Duration, Instant, later
from fabgossip.wire.codec import message_body, parse_message
from fabgossip.wire.framing import FrameReader, frame_bytes
from tests.core.artifacts import EVERYBODY

LINK = LinkId(1)
SALT = SaltId(1, 20_000)
SET = set_id_of(EVERYBODY)
RECORD_BYTES = 22
"""What TLS adds to a frame that travels alone."""
ENVELOPE_BYTES = 580


def keep(_message: Message) -> int:
    """Every message arrives once."""
    return 1


@dataclass
class End:
    """One end."""

    own: FingerprintSet
    machine: Reconciliation = field(default_factory=Reconciliation)

    def root(self) -> SetRoot:
        return SetRoot(EVERYBODY, len(self.own), self.own.root())


class Pair:
    """Two ends, and what travels between them."""

    def __init__(self, one: set[bytes], other: set[bytes], salt: bytes = b"salt") -> None:
        self.ends = (End(FingerprintSet(salt)), End(FingerprintSet(salt)))
        for end, keys in zip(self.ends, (one, other), strict=True):
            for key in sorted(keys):
                end.own.add(key)
        self.now = Instant(0)
        self.bytes = 0
        self.manifests = 0
        self.messages: list[Message] = []
        self.supersedes: dict[bytes, bytes] = {}
        """What each key takes out of a set it comes into."""
        self._queue: deque[tuple[int, Message]] = deque()

    def are_equal(self) -> bool:
        return self.ends[0].own.root() == self.ends[1].own.root()

    def run(
        self, arrives: Callable[[Message], int] = keep, rounds_max: int = 200, *, starter: int = 0
    ) -> int:
        """Hold roots against each other until they are equal; gives how often that took."""
        for number in range(rounds_max):
            if self.are_equal():
                return number
            roots = Roots(
                salt=SALT, is_first=False, is_last=False, entries=(self.ends[1 - starter].root(),)
            )
            self.send(1 - starter, roots)
            self.drain(arrives)
            # What was lost is given up after a silence; what ended is looked at again.
            for end in self.ends:
                end.machine.next_timer(LINK, self.now)
            self.now = later(self.now, Duration(10_000))
            for end in self.ends:
                end.machine.on_due(LINK, self.now)
                end.machine.check()
        return rounds_max

    def drain(self, arrives: Callable[[Message], int]) -> None:
        """All that is under way arrives, as often as it does."""
        while self._queue:
            sender, message = self._queue.popleft()
            for _ in range(arrives(message)):
                self._receive(1 - sender, message)

    def send(self, sender: int, message: Message) -> None:
        """One end says something."""
        self.messages.append(message)
        self._queue.append((sender, message))
        if isinstance(message, Manifests):
            self.manifests += len(message.envelopes)
            return
        kind, body = message_body(message)
        raw = frame_bytes(kind, TrafficClass.SNAPSHOT, 0, body)
        self.bytes += len(raw) + RECORD_BYTES
        reader = FrameReader()
        reader.feed(raw)
        (read,) = [parse_message(frame.kind, bytes(frame.body)) for frame in reader.frames()]
        assert read == message

    def _receive(self, at: int, message: Message) -> None:
        end = self.ends[at]
        match message:
            case Roots():
                for one in message.entries:
                    for ranges in end.machine.on_root(LINK, SET, SALT, end.own, one, self.now):
                        self.send(at, ranges)
            case Ranges():
                self._on_ranges(at, message)
            case Ids():
                self._ask(at, tuple(one for one in message.ids if end.own.find(one) is None))
            case GetManifests():
                keys = [key for one in message.ids if (key := end.own.find(one)) is not None]
                self._give(at, keys, len(message.ids))
            case Manifests():
                for key in message.envelopes:
                    end.own.add(key)
                    end.own.discard(self.supersedes.get(key, b""))
                for ask in end.machine.on_manifests(LINK, message, self.now):
                    self.send(at, ask)
            case _:
                raise AssertionError(message)

    def _on_ranges(self, at: int, message: Ranges) -> None:
        end = self.ends[at]
        answers, compared = end.machine.on_ranges(
            LINK, message, end.own, self.now, is_dialer=at == 0
        )
        for one in answers:
            self.send(at, one)
        room = end.machine.room_unasked(LINK, SET) // ENVELOPE_BYTES
        pushed, rest = compared.extra[:room], compared.extra[room:]
        end.machine.on_pushed(LINK, SET, len(pushed) * ENVELOPE_BYTES)
        if pushed:
            self._give(at, pushed, 0)
        for start in range(0, len(rest), 4_096):
            ids = tuple(end.own.id_of(key) for key in rest[start : start + 4_096])
            self.send(at, Ids(set_id=SET, salt=SALT, ids=ids))
        self._ask(at, tuple(compared.lacking))
        end.machine.on_compared(LINK, SET, self.now)

    def _ask(self, at: int, ids: tuple[bytes, ...]) -> None:
        for ask in self.ends[at].machine.on_lacking(LINK, SET, SALT, ids, self.now):
            self.send(at, ask)

    def _give(self, at: int, keys: list[bytes], answered: int) -> None:
        self.send(at, Manifests(set_id=SET, answered=answered, envelopes=tuple(keys)))
