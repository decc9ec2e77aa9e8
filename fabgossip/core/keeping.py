"""What is kept and why: pins that are made and end, and what leaves where there is too much.

Decides: whether a content may leave.
Keeps: what this node reads, as all trust, applies or holds by duty never leaves, nor what is
pinned; of everything else nothing of which no linked peer says that it holds it; a pin is durable
before it is answered, and counts before that.
Must not know: how much there is, in which order contents are looked at.

A pin keeps bytes, never currency: what is revoked or withdrawn is neither served nor applied.
"""

from fabgossip.core.activation import Activation
from fabgossip.core.catalog import GONE_STATES, Head, prefix_of
from fabgossip.core.durability import Durability
from fabgossip.core.effects import Answer, Fact, Outcome, Persist, Record
from fabgossip.core.events import PinRequest, RequestId, SpaceChanged, Token, UnpinRequest
from fabgossip.core.machines import Machines
from fabgossip.core.own_contents import OwnContents, is_mere_evidence
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.ids import ContentHash, NodeId
from fabgossip.model.moment import Now, seconds_after
from fabgossip.model.persistence import DropPin, Pin, PutPin


class Keeping:
    """Pins and evicts."""

    __slots__ = ("_activation", "_contents", "_durability", "_m", "_waiting")

    def __init__(
        self,
        machines: Machines,
        durability: Durability,
        contents: OwnContents,
        activation: Activation,
    ) -> None:
        self._m = machines
        self._durability = durability
        self._contents = contents
        self._activation = activation
        self._waiting: dict[Token, tuple[RequestId, Pin]] = {}
        """Pins on their way to the disk."""

    def on_pin(self, request: RequestId, body: PinRequest, now: Now) -> None:
        """Somebody wants a content to stay; where it is not here yet, it is fetched."""
        verified = self._named_by(body)
        if verified is None:
            detail = "no verified manifest names it here"
            self._m.out.append(Answer(request=request, outcome=Outcome.UNKNOWN, detail=detail))
            return
        if not self._m.retention.has_room_for_pin():
            detail = "too many pins: fabgossip artifacts unpin ends one"
            self._m.out.append(Answer(request=request, outcome=Outcome.FAILED, detail=detail))
            return
        pin = Pin(
            pin_id=self._m.retention.next_pin_id(),
            content_hash=verified.manifest.content_hash,
            namespace=verified.manifest.namespace.text,
            owner=body.owner,
            reason=body.reason,
            until=seconds_after(now.unix, body.seconds),
        )
        self._m.retention.on_pin(pin)
        token = self._durability.next_token()
        self._waiting[token] = request, pin
        self._m.out.append(Persist(token=token, changes=(PutPin(pin=pin),)))
        if not self._contents.is_held(verified.manifest):
            self._contents.want(verified, None, now)

    def _named_by(self, body: PinRequest) -> VerifiedManifest | None:
        if body.content_hash is not None:
            found = self._m.catalog.by_content(body.content_hash)
        else:
            head = None if body.namespace is None else self._m.catalog.find(body.namespace)
            found = () if head is None else ((head, head.verified),)
        return next(
            (one for head, one in found if head.is_durable and head.state not in GONE_STATES), None
        )

    def waits_for(self, token: Token) -> bool:
        """Whether a pin is on its way to the disk under this token."""
        return token in self._waiting

    def on_persisted(self, token: Token, *, ok: bool) -> None:
        """A pin is durable, or could not be made so."""
        request, pin = self._waiting.pop(token)
        if ok:
            self._record(Fact.PINNED, pin)
            self._answer(request, Outcome.PINNED, pin)
            return
        self._m.retention.on_unpin(pin.pin_id)
        self._release(pin)
        detail = "the disk refused it"
        self._m.out.append(Answer(request=request, outcome=Outcome.FAILED, detail=detail))

    def on_unpin(self, request: RequestId, body: UnpinRequest) -> None:
        """A pin ends before its time. Where the disk does not hear of it, it comes back with the
        next start, and ends by its time."""
        pin = self._end(body.pin_id)
        if pin is None:
            detail = "no pin has this number"
            self._m.out.append(Answer(request=request, outcome=Outcome.UNKNOWN, detail=detail))
            return
        self._release(pin)
        self._answer(request, Outcome.UNPINNED, pin)

    def on_refresh(self, now: Now) -> None:
        """Pins end; a clock nobody believes ends none."""
        if self._m.beliefs.facts.freshness.is_clock_suspect:
            return
        for pin in self._m.retention.ended(now.unix):
            self._end(pin.pin_id)
            self._release(pin)

    def end_pins(self, content_hash: ContentHash) -> None:
        """A content leaves whatever anybody wants."""
        for pin in self._m.retention.pins_of(content_hash):
            self._end(pin.pin_id)

    def _end(self, pin_id: int) -> Pin | None:
        """A pin is no more, here and on the disk."""
        pin = self._m.retention.on_unpin(pin_id)
        if pin is not None:
            self._durability.keep(DropPin(pin_id=pin.pin_id))
            self._record(Fact.UNPINNED, pin)
        return pin

    def _release(self, pin: Pin) -> None:
        """Whatever stayed for a pin alone leaves."""
        if not self._m.catalog.is_named(pin.content_hash):
            self._contents.release(pin.content_hash)

    def _record(self, fact: Fact, pin: Pin) -> None:
        fields = (
            ("source", pin.owner),
            ("namespace", pin.namespace),
            ("content_hash", pin.content_hash.hex()),
            ("pin", pin.pin_id),
            ("detail", pin.reason),
        )
        self._m.out.append(Record(fact=fact, fields=fields))

    def _answer(self, request: RequestId, outcome: Outcome, pin: Pin) -> None:
        answer = Answer(
            request=request,
            outcome=outcome,
            content_hash=pin.content_hash,
            namespace=pin.namespace,
            pin=pin,
        )
        self._m.out.append(answer)

    def on_space(self, event: SpaceChanged, now: Now) -> None:
        """Where there is too much, what nobody needs leaves, and peers hear that it did."""
        retention = self._m.retention
        retention.on_space(event.space)
        leaving = retention.leaving(
            self._contents.size_of, lambda content_hash: self._may_leave(content_hash, now)
        )
        if not leaving:
            return
        size = sum(map(self._contents.size_of, leaving))
        for content_hash in leaving:
            self._contents.evict(content_hash)
        fields = (("count", len(leaving)), ("bytes", size))
        self._m.out.append(Record(fact=Fact.CONTENT_EVICTED, fields=fields))
        for session in self._m.sessions.open_sessions():
            self._m.disclosure.whole_holdings(session, now)

    def _may_leave(self, content_hash: ContentHash, now: Now) -> bool:
        if self._m.retention.is_pinned(content_hash):
            return False
        if any(step.content_hash == content_hash for step in self._m.beliefs.chain):
            return False
        rows = self._m.catalog.by_content(content_hash)
        return all(self._may_leave_under(head, verified, now) for head, verified in rows)

    def _may_leave_under(self, head: Head, verified: VerifiedManifest, now: Now) -> bool:
        manifest = verified.manifest
        shown = self._activation.shown(manifest.namespace.text)
        if shown is not None and shown.manifest.content_hash == manifest.content_hash:
            return False
        if head.state in GONE_STATES or is_mere_evidence(head, verified):
            return True
        return not self._contents.is_wanted(verified) and self._is_held_elsewhere(verified, now)

    def _is_held_elsewhere(self, verified: VerifiedManifest, now: Now) -> bool:
        """Whether linked peers say so whose word is enough: a storage endpoint the signed
        directories name for it, or two others that by those do not fail together. The last one
        known of does not leave because a single node says what it likes."""
        stores = self._m.placement.stores_of(verified.manifest)
        said_by = self._says_it_holds(verified, now)
        placed = map(self._m.neighbors.domain_of, said_by)
        domains = {one for one in placed if one is not None}
        return any(one in stores for one in said_by) or len(domains) > 1

    def _says_it_holds(self, verified: VerifiedManifest, now: Now) -> list[NodeId]:
        """The linked peers whose own word, as far as it counts, is that they hold it."""
        audience, prefix = verified.manifest.audience, prefix_of(verified.manifest_hash)
        return [
            session.node_id
            for session in self._m.sessions.open_sessions()
            if self._m.holdings.says(session.link, audience, prefix) is True
            and not self._m.fetching.is_ignored(session.node_id, now.instant)
        ]
