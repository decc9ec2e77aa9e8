"""Whether a node says more than it was asked for, or asks more than it may.

Decides: held, violated or unproved.
Keeps: a question counts once it is heard, an answer when it leaves, and both end with their link;
envelopes and contents are what was asked for and count for nothing; a token is used when a source
is chosen, which may have to be dialled first.
Must not know: what a node decides, or why.

| id | an honest node never ... |
|---|---|
| S16 | answers a question with more than 8 bytes for each byte of it |
| S16 | announces the same twice on a link whose other end did not ask, but what trust rests on |
| S16 | asks at rungs 3 and 4 more often than a node may |

A question is what is answered by a message of a kind of its own. Sets that are compared are none:
both ends say what they have.
"""

from bisect import bisect_right
from typing import Final

from fabgossip.core.config import RecoveryConfig
from fabgossip.core.events import LinkId
from fabgossip.core.ladder import Step
from fabgossip.core.placement import CRITICAL_TYPES
from fabgossip.core.wants import Want
from fabgossip.model.messages import (
    PREFIX_BYTES,
    Announce,
    Busy,
    Chain,
    GetChain,
    GetContent,
    GetHeads,
    GetManifests,
    Graft,
    Heads,
    Manifests,
    Message,
    NeighborAnswer,
    NeighborAsk,
    NotAvailable,
    Ping,
    Pong,
)
from fabgossip.model.moment import Instant
from fabgossip.sim.authority import Issued
from fabgossip.sim.checkers import Docket
from fabgossip.sim.ledger import Ledger
from fabgossip.wire.framing import HEADER_BYTES

TOKENS_KEPT: Final = 64
"""Newest uses of tokens remembered: more than any burst in the library."""
ANSWER_MAX: Final = 8
"""Bytes for each byte asked (*start*)."""
_QUESTION_OF: Final[dict[type, type]] = {
    Pong: Ping,
    NeighborAnswer: NeighborAsk,
    NotAvailable: GetContent,
    Busy: GetContent,
    Manifests: GetManifests,
    Heads: GetHeads,
    Chain: GetChain,
}
_QUESTIONS: Final = frozenset(_QUESTION_OF.values())
_ONE_AT_A_TIME: Final = frozenset({Ping, NeighborAsk})
"""The next one takes the place of the one before, answered or not."""


class Frugal:
    """S16: bytes, copies and tokens."""

    def __init__(self, ledger: Ledger, docket: Docket, config: RecoveryConfig) -> None:
        self._ledger = ledger
        self._docket = docket
        self._count = docket.open("S16")
        self._owed: dict[tuple[int, LinkId, type], int] = {}
        """Bytes each may still answer on a link, by kind of question."""
        self._announced: dict[tuple[int, LinkId], set[bytes]] = {}
        """What was announced on each link."""
        self._tolls = {
            Step.RUNG_3: (config.endpoints_every_ms, config.endpoints_burst),
            Step.RUNG_4: (config.control_every_ms, config.control_burst),
        }
        self._paid_at: dict[tuple[int, Step], list[Instant]] = {}
        """When each process used a token, by its own clock."""

    def on_heard(self, index: int, link: LinkId, message: Message, size: int) -> None:
        """A message of so many bytes came to a node."""
        kind = type(message)
        if kind in _QUESTIONS:
            left = 0 if kind in _ONE_AT_A_TIME else self._owed.get((index, link, kind), 0)
            self._owed[(index, link, kind)] = left + ANSWER_MAX * (HEADER_BYTES + size)

    def on_sent(self, sender: int, link: LinkId, message: Message, size: int) -> None:
        """A message of so many bytes left a node."""
        question = _QUESTION_OF.get(type(message))
        if question is None or _is_unasked(message):
            return
        self._count.checks += 1
        key = (sender, link, question)
        said = HEADER_BYTES + size - sum(map(len, envelopes_of(message)))
        self._owed[key] = self._owed.get(key, 0) - said
        if self._owed[key] < 0:
            self._violated(f"answer/{type(message).__name__}", sender, f"{-self._owed[key]} bytes")

    def on_announced(self, sender: int, link: LinkId, message: Announce) -> None:
        """Something was said whole on a link."""
        told = self._announced.setdefault((sender, link), set())
        for issued in map(self._ledger.by_envelope, envelopes_of(message)):
            if issued is None or self._is_told_anew(issued):
                continue
            self._count.checks += 1
            if issued.prefix in told:
                self._violated("twice", sender, issued.manifest.namespace.text)
            told.add(issued.prefix)

    def _is_told_anew(self, issued: Issued) -> bool:
        """What all trust rests on, once a node can vouch for it; what stands alone again."""
        manifest = issued.manifest
        stated = self._ledger.of_order(manifest.namespace.text, manifest.order)
        return manifest.artifact_type in CRITICAL_TYPES or len(stated) > 1

    def on_grafted(self, index: int, link: LinkId, message: Graft) -> None:
        """Some of it is wanted, again maybe."""
        told = self._announced.get((index, link))
        if told is not None:
            told.difference_update(bytes(one[:PREFIX_BYTES]) for one in message.prefixes)

    def on_lost(self, index: int, link: LinkId) -> None:
        """A link ended."""
        self._announced.pop((index, link), None)
        for kind in _QUESTIONS:
            self._owed.pop((index, link, kind), None)

    def on_asked(self, index: int, want: Want) -> None:
        """A node asks somebody for a content."""
        if want.step not in self._tolls:
            return
        paid_at = self._paid_at.setdefault((index, want.step), [])
        began = want.climb_since
        is_batched = began is not None and any(began <= one for one in paid_at)
        if want.step is Step.RUNG_4 and is_batched:
            return
        self._count.checks += 1
        every_ms, burst = self._tolls[want.step]
        place = bisect_right(paid_at, want.asked_at)
        paid_at.insert(place, want.asked_at)
        for first in range(max(0, place - burst), min(place + 1, len(paid_at) - burst)):
            if paid_at[first + burst] - paid_at[first] < every_ms:
                self._violated(f"allowance of {want.step.value}", index, f"{want.asked_at} ms")
                break
        del paid_at[:-TOKENS_KEPT]

    def on_begun(self, index: int) -> None:
        """A new process: it knows nothing of what the one before it asked for."""
        for step in self._tolls:
            self._paid_at.pop((index, step), None)
        self._announced = {key: one for key, one in self._announced.items() if key[0] != index}
        self._owed = {key: one for key, one in self._owed.items() if key[0] != index}

    def _violated(self, what: str, index: int, detail: str) -> None:
        self._docket.violated("S16", what, index, f"{self._ledger.node_id(index)}: {detail}")


def _is_unasked(message: Message) -> bool:
    """What the receiver was seen to lack."""
    return isinstance(message, Manifests) and message.answered == 0


def envelopes_of(message: Message) -> tuple[bytes, ...]:
    """The envelopes a message carries."""
    match message:
        case Announce():
            return tuple(one.envelope for one in message.entries)
        case Heads() | Chain() | Manifests():
            return message.envelopes
        case _:
            return ()
