"""What a peer's conduct leads to: rates, failures, probes, clones, and the answers that tell
nothing.

Decides: nothing its machines do not decide; turns their verdicts into effects.
Keeps: every message of an open link passes here before it is acted on; every reduction is counted;
what ends a link for its conduct says one and the same word.
Must not know: what a message that passes leads to.
"""

from dataclasses import dataclass
from typing import Final

from fabgossip.core.answers import Answers, Unavailing
from fabgossip.core.disclosure import Disclosure
from fabgossip.core.effects import Effect, Fact, Record, SetTimer
from fabgossip.core.events import AnswersDue, LinkId, LostReason
from fabgossip.core.holdings import NeighborHoldings
from fabgossip.core.rates import Beyond, Rates
from fabgossip.core.sessions import Session
from fabgossip.core.standing import Clone, Standings
from fabgossip.model.messages import (
    Busy,
    ByeReason,
    Chain,
    GetChain,
    GetContent,
    GetHeads,
    Heads,
    Holdings,
    Message,
    NotAvailable,
    TrafficClass,
)
from fabgossip.model.moment import Instant
from fabgossip.trust.rejections import RejectionCode

BUSY_RETRY_MS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicingSnapshot:
    """Counts for status."""

    reduced: tuple[tuple[str, int], ...]
    """Units that did not pass, by kind of message."""
    cut: int
    """How often a node was cut off for failures, probes or a flood."""
    clones: tuple[Clone, ...]
    """Nodes that say hello from changing processes."""


class Policing:
    """Stands before everything a peer can make a node do."""

    __slots__ = (
        "_answers", "_disclosure", "_holdings", "_out", "_rates", "_standings",
    )  # fmt: skip

    def __init__(
        self,
        disclosure: Disclosure,
        holdings: NeighborHoldings,
        out: list[Effect],
    ) -> None:
        self._disclosure = disclosure
        self._holdings = holdings
        self._out = out
        self._rates = Rates()
        self._standings = Standings()
        self._answers = Answers()

    def admits(self, session: Session, now: Instant) -> bool:
        """Whether a fresh link may go on to the hello; one of a node that is kept out is closed."""
        if self._standings.is_barred(session.node_id, now):
            self._disclosure.goodbye(session, ByeReason.CLOSED, LostReason.PROTOCOL)
            return False
        if self._standings.on_link(session.node_id, now):
            self._cut(session, "links", ByeReason.OVER_RATE)
            return False
        return True

    def on_hello(self, session: Session, now: Instant) -> None:
        """A peer said from which process it speaks."""
        assert session.hello is not None
        if self._standings.on_boot(session.node_id, session.hello.boot_id, now):
            fields = (("peer", session.node_id), ("code", RejectionCode.IDENTITY_CLONED.value))
            self._out.append(Record(fact=Fact.IDENTITY_CLONED, fields=fields))

    def passed(
        self, session: Session, message: Message, stream: int, now: Instant
    ) -> Message | None:
        """What of a message may be acted on; the rest is answered, noted or ends the link."""
        passed = self._rates.passed(session.link, message, now)
        if passed.is_flood:
            self._flooded(session, now)
            return None
        if passed.beyond is Beyond.SKIPPED:
            self._skip(session, message)
        elif passed.beyond is Beyond.BUSY and isinstance(message, GetContent):
            self.busy(session, message, stream)
        return passed.message

    def _skip(self, session: Session, message: Message) -> None:
        """What a peer told is found again by comparing sets."""
        session.is_behind = True
        if isinstance(message, Holdings):
            self._holdings.on_lost(session.link)

    def busy(self, session: Session, message: GetContent, stream: int) -> None:
        """Tell a peer that none of a request is served now: decided before any look-up."""
        for item in range(len(message.items)):
            busy = Busy(item=item, retry_after_ms=BUSY_RETRY_MS)
            self._disclosure.send(session.link, busy, TrafficClass.POLICY, stream=stream)

    def has_room(self, session: Session, message: GetContent) -> bool:
        """Whether every item of a request could be answered as not available."""
        return self._answers.has_room(session.link, len(message.items))

    def not_available(self, session: Session, stream: int, item: int, now: Instant) -> None:
        """Answer one item as not available, when the clock comes to the grid."""
        self._answer(session, stream, NotAvailable(item=item), now)

    def no_chain(self, session: Session, message: GetChain, now: Instant) -> None:
        """Answer that there is no such chain, when the clock comes to the grid; not at all where
        too many answers wait."""
        if self._answers.has_room(session.link, 1):
            empty = Chain(head=message.head, envelopes=())
            self._answer(session, 0, empty, now)

    def no_heads(self, session: Session, asked: GetHeads, now: Instant) -> None:
        """Answer that there is nothing newer for the peer, likewise."""
        if self._answers.has_room(session.link, 1):
            self._answer(session, 0, Heads(envelopes=(), question=asked.question), now)

    def _answer(self, session: Session, stream: int, answer: Unavailing, now: Instant) -> None:
        due = self._answers.add(session.link, stream, answer, now)
        if due is not None:
            self._out.append(SetTimer(timer=AnswersDue(link=session.link), at=due))

    def on_answers_due(self, link: LinkId) -> None:
        """The clock came to the grid."""
        for one in self._answers.take(link):
            self._disclosure.send(link, one.answer, TrafficClass.POLICY, stream=one.stream)

    def on_found(self, link: LinkId, beyond: int, now: Instant) -> None:
        """A question for heads was answered with so many more envelopes than it named."""
        if beyond > 0:
            self._rates.on_found(link, beyond, now)

    def on_compared(self, link: LinkId, keys: int, manifests: int, now: Instant) -> None:
        """A step of a comparison went through so many keys, and looked at so many manifests."""
        self._rates.on_compared(link, keys, manifests, now)

    def on_asked(self, link: LinkId, count: int) -> None:
        """So many envelopes were asked of a link."""
        self._rates.on_asked(link, count)

    def on_failed(self, session: Session, now: Instant) -> None:
        """A peer sent something that was refused by its own fault."""
        if self._standings.on_failed(session.node_id, now):
            self._cut(session, "failures", ByeReason.CLOSED)

    def on_unwanted(self, session: Session, count: int, now: Instant) -> None:
        """Frames came that lead to nothing: counted on an open link, a fault on any other."""
        if not session.is_open:
            self.on_failed(session, now)
        elif self._rates.unwanted(session.link, count, now):
            self._flooded(session, now)

    def on_slow(self, session: Session, now: Instant) -> None:
        """A peer did not take what it asked for at the least pace."""
        self._standings.on_slow(session.node_id, now)

    def is_slow(self, session: Session, now: Instant) -> bool:
        """Whether a peer was too slow a reader a short while ago."""
        return self._standings.is_slow(session.node_id, now)

    def on_probe(self, session: Session, now: Instant) -> None:
        """A peer named an audience it may not share: it gets no answer, as if there were none."""
        self._out.append(Record(fact=Fact.PROBE_SILENCED, fields=(("peer", session.node_id),)))
        if self._standings.on_probe(session.node_id, now):
            self._cut(session, "probes", ByeReason.CLOSED)

    def _flooded(self, session: Session, now: Instant) -> None:
        self._standings.on_flood(session.node_id, now)
        self._cut(session, "over_rate", ByeReason.OVER_RATE)

    def _cut(self, session: Session, reason: str, bye: ByeReason) -> None:
        fields = (("peer", session.node_id), ("reason", reason))
        self._out.append(Record(fact=Fact.SESSION_CUT, fields=fields))
        self._disclosure.goodbye(session, bye, LostReason.PROTOCOL)

    def on_lost(self, link: LinkId) -> None:
        """A link ended: its buckets and answers go, what is held against the node stays."""
        self._rates.on_lost(link)
        self._answers.on_lost(link)

    def snapshot(self, now: Instant) -> PolicingSnapshot:
        """Counts for status."""
        return PolicingSnapshot(
            reduced=self._rates.reduced,
            cut=self._standings.cut,
            clones=self._standings.clones(now),
        )

    def check(self) -> None:
        """Assert the limits of all three machines."""
        for machine in (self._rates, self._standings, self._answers):
            machine.check()
