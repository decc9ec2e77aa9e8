"""How much a link may say, by kind of message: one token bucket each.

Decides: what of a message passes now; when a link says so much that it must end.
Keeps: one kind never uses up the room of another; trust has room of its own, so nothing else
starves it; answers that were asked for are paid by the question; integers only.
Must not know: what a message leads to, what the peer is told about it.

- A bucket holds at most `burst` units and gains `count` every `per_ms` milliseconds.
- Announced envelopes pass one by one; of any other message all units pass or none.
- What is looked at prefix by prefix, or id by id, is counted in lots of 64 of them: a message costs
  as much as what it makes a node do.
- What only the answer shows is paid afterwards: what a question for heads finds beyond what it
  names, what a range makes a node go through. A level may fall as far below nothing as a burst, and
  whoever asks next waits until it has risen again.
- Ten times the rate, sustained for ten seconds, is no burst: the link ends.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, TypeAlias, assert_never

from fabgossip.core.events import LinkId
from fabgossip.model.messages import (
    GRAFT_PREFIXES_MAX,
    Announce,
    AuditHead,
    BadRequest,
    Busy,
    Bye,
    Cancel,
    Chain,
    Claims,
    GetChain,
    GetContent,
    GetHeads,
    GetManifests,
    Graft,
    Have,
    Heads,
    Hello,
    Holdings,
    Ids,
    Manifests,
    Message,
    NeighborAnswer,
    NeighborAsk,
    NotAvailable,
    Ping,
    Pong,
    Prune,
    Ranges,
    Roots,
    Welcome,
)
from fabgossip.model.moment import Duration, Instant, elapsed
from fabgossip.model.words import Word
from fabgossip.trust.lane import claims_trust

FLOOD_FACTOR: Final = 10
FLOOD_SPAN: Final = Duration(10_000)
"""So many times a rate for so long ends the link (*start*)."""
ASKED_MAX: Final = 1_024
"""Envelopes of a link that pass beside the rate because they were asked for (*start*)."""
LOT: Final = 64
"""Prefixes or ids that cost as much as a short message: to read and look up so many takes 60 to
110 us, a message that carries one 25 us (measured, 2026-11)."""
ENTRY_PREFIXES: Final = 8
"""Prefixes that cost as much as an audience a message about holdings names (measured, 2026-11)."""
KEYS_PER_RANGE: Final = 16
"""Keys of a set that cost as much as a range: to cut one takes 43 us, to go through a key and offer
it 2 us (measured, 2026-11)."""


class Beyond(Enum):
    """What becomes of what does not pass."""

    SKIPPED = 1
    """Not read; what it told is found again by comparing sets."""
    BUSY = 2
    """Answered `Busy`, before any look-up."""
    UNANSWERED = 3
    """Not read and not answered; whoever asked asks again."""


class Kind(Word):
    """What is counted apart."""

    CLAIMS = "claims"
    PING = "ping"
    PONG = "pong"
    NEIGHBOR = "neighbor"
    ANNOUNCE = "announce"
    TRUST = "trust"
    HAVE = "have"
    GRAFT = "graft"
    PRUNE = "prune"
    HOLDINGS = "holdings"
    ROOTS = "roots"
    RANGES = "ranges"
    IDS = "ids"
    GET_MANIFESTS = "get_manifests"
    MANIFESTS = "manifests"
    GET_HEADS = "get_heads"
    HEADS = "heads"
    GET_CHAIN = "get_chain"
    CHAIN = "chain"
    GET_CONTENT = "get_content"
    CANCEL = "cancel"
    AUDIT_HEAD = "audit_head"
    UNWANTED = "unwanted"


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` units every `per_ms` milliseconds, and `burst` of them at once."""

    unit: str
    count: int
    per_ms: int
    burst: int
    beyond: Beyond


RATES: Final[dict[Kind, Rate]] = {
    Kind.CLAIMS: Rate("messages", 1, 5_000, 12, Beyond.UNANSWERED),
    Kind.PING: Rate("messages", 20, 1_000, 40, Beyond.UNANSWERED),
    Kind.PONG: Rate("messages", 20, 1_000, 40, Beyond.UNANSWERED),
    Kind.NEIGHBOR: Rate("messages", 1, 10_000, 6, Beyond.UNANSWERED),
    Kind.ANNOUNCE: Rate("envelopes", 200, 1_000, 2_000, Beyond.SKIPPED),
    Kind.TRUST: Rate("envelopes", 20, 1_000, 100, Beyond.SKIPPED),
    Kind.HAVE: Rate("lots", 100, 1_000, 1_200, Beyond.SKIPPED),
    Kind.GRAFT: Rate("prefixes", 4_000, 1_000, 16_384, Beyond.UNANSWERED),
    Kind.PRUNE: Rate("messages", 50, 1_000, 600, Beyond.UNANSWERED),
    Kind.HOLDINGS: Rate("lots", 200, 1_000, 1_000, Beyond.SKIPPED),
    Kind.ROOTS: Rate("sets", 200, 1_000, 20_000, Beyond.SKIPPED),
    Kind.RANGES: Rate("ranges", 2_000, 1_000, 20_000, Beyond.UNANSWERED),
    Kind.IDS: Rate("lots", 256, 1_000, 4_096, Beyond.UNANSWERED),
    Kind.GET_MANIFESTS: Rate("ids", 4_000, 1_000, 16_384, Beyond.UNANSWERED),
    Kind.MANIFESTS: Rate("envelopes", 200, 1_000, 2_000, Beyond.SKIPPED),
    Kind.GET_HEADS: Rate("namespaces", 1_280, 1_000, 5_120, Beyond.UNANSWERED),
    Kind.HEADS: Rate("envelopes", 200, 1_000, 2_000, Beyond.UNANSWERED),
    Kind.GET_CHAIN: Rate("messages", 10, 1_000, 40, Beyond.UNANSWERED),
    Kind.CHAIN: Rate("messages", 10, 1_000, 40, Beyond.UNANSWERED),
    Kind.GET_CONTENT: Rate("items", 2_500, 1_000, 8_192, Beyond.BUSY),
    Kind.CANCEL: Rate("messages", 100, 1_000, 400, Beyond.UNANSWERED),
    Kind.AUDIT_HEAD: Rate("messages", 1, 10_000, 8, Beyond.UNANSWERED),
    Kind.UNWANTED: Rate("frames", 200, 1_000, 2_000, Beyond.UNANSWERED),
}
"""The one table (*start*). An honest node stays below each: it shows claims at half their rate
(`Disclosure.show_claims`), pings ten times a second at most, asks for no more contents than it can
verify and store, some 2,000 small ones a second (`tests/benchmarks/fetch.py`), grafts 256 prefixes
before it waits, asks for 256 manifests before it waits, for one chain of each namespace in which it
is behind and for the heads of 250 namespaces and of trust at a turn, and tells the roots of its
sets once or twice when a link opens. What it tells of late it verified first, 1,400 a second, where
6,400 pass; the ids of a set of 200,000 pass at once. What it sends for nothing is content that was
under way when it was given up: 1,024 frames, sixteen contents of 16 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What of a message may be acted on."""

    message: Message | None
    """None if nothing of it passes."""
    beyond: Beyond | None = None
    """What becomes of the rest, if there is one."""
    is_flood: bool = False
    """Whether the link must end."""


@dataclass(slots=True)
class _Bucket:
    """Levels count units times `per_ms`, so that a millisecond adds a whole number."""

    rate: Rate
    level: int
    filled_at: Instant
    window_at: Instant
    window_units: int = 0

    def take(self, units: int, now: Instant) -> bool:
        """Take so many units, or none."""
        rate = self.rate
        gained = elapsed(self.filled_at, now) * rate.count
        self.level = min(self.level + gained, rate.burst * rate.per_ms)
        self.filled_at = now
        if elapsed(self.window_at, now) >= FLOOD_SPAN:
            self.window_at, self.window_units = now, 0
        self.window_units += units
        if self.level < units * rate.per_ms:
            return False
        self.level -= units * rate.per_ms
        return True

    def pay(self, units: int) -> None:
        """Take so many units for what was done already, on credit where there are none."""
        rate = self.rate
        self.level = max(self.level - units * rate.per_ms, -rate.burst * rate.per_ms)

    @property
    def is_flooded(self) -> bool:
        """Whether this window brought more than the burst and ten times the rate."""
        rate = self.rate
        flood = FLOOD_FACTOR * rate.count * FLOOD_SPAN + rate.burst * rate.per_ms
        return self.window_units * rate.per_ms > flood


_Buckets: TypeAlias = dict[Kind, _Bucket]


class Rates:
    """The buckets of all links."""

    __slots__ = ("_asked", "_by_link", "_reduced")

    def __init__(self) -> None:
        self._by_link: dict[LinkId, _Buckets] = {}
        self._asked: dict[LinkId, int] = {}
        self._reduced: dict[Kind, int] = dict.fromkeys(Kind, 0)

    def passed(self, link: LinkId, message: Message, now: Instant) -> Passed:
        """What of a message on an open link may be acted on. Cost: O(envelopes in it)."""
        match message:
            case Announce():
                told = tuple(one.envelope for one in message.entries)
                kept = self._kept(link, Kind.ANNOUNCE, told, now)
                entries = tuple(
                    one for one, passes in zip(message.entries, kept, strict=True) if passes
                )
                rest: Message | None = replace(message, entries=entries) if entries else None
                return self._trimmed(link, Kind.ANNOUNCE, message, rest, kept)
            case Heads():
                kept = self._kept(link, Kind.HEADS, message.envelopes, now)
                envelopes = tuple(
                    one for one, passes in zip(message.envelopes, kept, strict=True) if passes
                )
                rest = replace(message, envelopes=envelopes) if envelopes else None
                return self._trimmed(link, Kind.HEADS, message, rest, kept)
            case Manifests() if not message.envelopes:
                return self._empty(link, message, now)
            case Manifests():
                kept = self._kept(link, Kind.MANIFESTS, message.envelopes, now)
                envelopes = tuple(
                    one for one, passes in zip(message.envelopes, kept, strict=True) if passes
                )
                # What is settled of a question is heard even if no envelope passes.
                is_heard = envelopes or message.answered
                rest = replace(message, envelopes=envelopes) if is_heard else None
                return self._trimmed(link, Kind.MANIFESTS, message, rest, kept)
            case _:
                return self._whole(link, message, now)

    def _kept(
        self, link: LinkId, kind: Kind, envelopes: tuple[bytes, ...], now: Instant
    ) -> tuple[bool, ...]:
        return tuple(self._passes(link, kind, envelope, now) for envelope in envelopes)

    def _passes(self, link: LinkId, kind: Kind, envelope: bytes, now: Instant) -> bool:
        """Trust has room of its own and, past that, the room of all."""
        if claims_trust(envelope) and self._bucket(link, Kind.TRUST, now).take(1, now):
            return True
        asked = self._asked.get(link, 0)
        if asked and kind in (Kind.ANNOUNCE, Kind.MANIFESTS):
            self._asked[link] = asked - 1
            return True
        return self._bucket(link, kind, now).take(1, now)

    def _trimmed(
        self,
        link: LinkId,
        kind: Kind,
        message: Message,
        rest: Message | None,
        kept: tuple[bool, ...],
    ) -> Passed:
        dropped = kept.count(False)
        if not dropped:
            return Passed(message=message)
        self._reduced[kind] += dropped
        is_flood = self._by_link[link][kind].is_flooded
        return Passed(message=rest, beyond=RATES[kind].beyond, is_flood=is_flood)

    def _empty(self, link: LinkId, message: Manifests, now: Instant) -> Passed:
        """An answer that there is nothing costs as much as one envelope: it is looked at all the
        same."""
        if self._passes(link, Kind.MANIFESTS, b"", now):
            return Passed(message=message)
        self._reduced[Kind.MANIFESTS] += 1
        is_flood = self._by_link[link][Kind.MANIFESTS].is_flooded
        return Passed(message=None, beyond=RATES[Kind.MANIFESTS].beyond, is_flood=is_flood)

    def _whole(self, link: LinkId, message: Message, now: Instant) -> Passed:
        charged = _charge(message)
        if charged is None:
            return Passed(message=message)
        kind, units = charged
        bucket = self._bucket(link, kind, now)
        if bucket.take(units, now):
            return Passed(message=message)
        self._reduced[kind] += units
        return Passed(message=None, beyond=RATES[kind].beyond, is_flood=bucket.is_flooded)

    def unwanted(self, link: LinkId, count: int, now: Instant) -> bool:
        """Frames came that lead to nothing, each of them read already; whether the link must
        end."""
        bucket = self._bucket(link, Kind.UNWANTED, now)
        if not bucket.take(count, now):
            self._reduced[Kind.UNWANTED] += count
        return bucket.is_flooded

    def on_found(self, link: LinkId, beyond: int, now: Instant) -> None:
        """So many more envelopes than namespaces answered a question for heads: they are paid too,
        whoever asks next waits for it."""
        self._pay(link, Kind.GET_HEADS, beyond, now)

    def on_compared(self, link: LinkId, keys: int, manifests: int, now: Instant) -> None:
        """A step of a comparison went through so many keys, and looked at so many manifests to give
        them unasked: one range may stand for a whole set."""
        self._pay(link, Kind.RANGES, -(-keys // KEYS_PER_RANGE) + manifests, now)

    def _pay(self, link: LinkId, kind: Kind, units: int, now: Instant) -> None:
        bucket = self._bucket(link, kind, now)
        bucket.take(0, now)
        bucket.pay(units)

    def _bucket(self, link: LinkId, kind: Kind, now: Instant) -> _Bucket:
        buckets = self._by_link.setdefault(link, {})
        bucket = buckets.get(kind)
        if bucket is None:
            rate = RATES[kind]
            bucket = buckets[kind] = _Bucket(rate, rate.burst * rate.per_ms, now, now)
        return bucket

    def on_asked(self, link: LinkId, count: int) -> None:
        """So many envelopes were asked of a link: that many may come beside the rate."""
        self._asked[link] = min(self._asked.get(link, 0) + count, ASKED_MAX)

    def on_lost(self, link: LinkId) -> None:
        """A link ended."""
        self._by_link.pop(link, None)
        self._asked.pop(link, None)

    @property
    def reduced(self) -> tuple[tuple[str, int], ...]:
        """Units that did not pass since the start, by kind, for kinds where there were any."""
        return tuple((kind.value, units) for kind, units in self._reduced.items() if units)

    def check(self) -> None:
        """Assert that no bucket holds or owes more than its burst, and no credit more than its
        limit."""
        for buckets in self._by_link.values():
            for kind, bucket in buckets.items():
                assert abs(bucket.level) <= RATES[kind].burst * RATES[kind].per_ms
        assert all(0 <= asked <= ASKED_MAX for asked in self._asked.values())


def _charge(message: Message) -> tuple[Kind, int] | None:
    """Which bucket pays for a whole message, and how much; None for what ends or settles itself."""
    match message:
        case Claims():
            return Kind.CLAIMS, 1
        case Ping():
            return Kind.PING, 1
        case Pong():
            return Kind.PONG, 1
        case NeighborAsk() | NeighborAnswer():
            return Kind.NEIGHBOR, 1
        case Have():
            return Kind.HAVE, _lots(len(message.prefixes))
        case Graft():
            # One that asks for nothing costs as much as one that asks for all it may.
            return Kind.GRAFT, len(message.prefixes) or GRAFT_PREFIXES_MAX
        case Prune():
            return Kind.PRUNE, 1
        case Holdings():
            listed = sum(len(one.prefixes) for one in message.entries)
            return Kind.HOLDINGS, _lots(listed + ENTRY_PREFIXES * len(message.entries))
        case Roots():
            return Kind.ROOTS, max(len(message.entries), 1)
        case Ranges():
            return Kind.RANGES, max(len(message.ranges), 1)
        case Ids():
            return Kind.IDS, _lots(len(message.ids))
        case GetManifests():
            return Kind.GET_MANIFESTS, max(len(message.ids), 1)
        case GetHeads():
            return Kind.GET_HEADS, max(len(message.known), 1)
        case GetChain():
            return Kind.GET_CHAIN, 1
        case Chain():
            return Kind.CHAIN, 1
        case GetContent():
            return Kind.GET_CONTENT, len(message.items)
        case Cancel():
            return Kind.CANCEL, 1
        case AuditHead():
            return Kind.AUDIT_HEAD, 1
        case Announce() | Heads() | Manifests():
            raise AssertionError("paid envelope by envelope")
        case Hello() | Welcome() | Bye() | BadRequest() | NotAvailable() | Busy():
            return None
        case _:
            assert_never(message)


def _lots(count: int) -> int:
    """What a message costs that carries so many prefixes or ids: one that carries none is read all
    the same."""
    return max(1, -(-count // LOT))
