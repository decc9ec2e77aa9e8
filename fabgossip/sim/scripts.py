"""What hostile nodes do, a script each.

Decides: what a hostile node says, keeps to itself or bends, by its own stream.
Keeps: what a script asks for depends on what is known to everybody hostile, on its own links and
on its stream, never on an answer: so it asks alike in two worlds.
Must not know: who judges, what is the truth of a run.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from fabgossip.core.chunks import chunks_asked
from fabgossip.core.effects import Effect, Send, ServeContent
from fabgossip.core.sets import set_id_of
from fabgossip.model.artifact import chunk_size_of
from fabgossip.model.authority import ClaimItem, Opening
from fabgossip.model.ids import ContentHash, ManifestHash
from fabgossip.model.messages import (
    FINGERPRINT_BYTES,
    LINK_ROOT_BYTES,
    ROOT_BYTES,
    SALTED_ID_BYTES,
    Announce,
    Announced,
    Claims,
    ContentAsk,
    GetChain,
    GetContent,
    GetHeads,
    GetManifests,
    Graft,
    Have,
    HeadKnown,
    Heads,
    Hello,
    Holdings,
    HoldingsEntry,
    HoldingsMode,
    Ids,
    Manifests,
    Message,
    Ping,
    Prune,
    Range,
    RangeMode,
    Ranges,
    Roots,
    SaltId,
    SetRoot,
    TrafficClass,
)
from fabgossip.model.scope import Audience, ScopeId
from fabgossip.sim.authority import Issued
from fabgossip.sim.network import End, SentFrame
from fabgossip.sim.streams import Stream
from fabgossip.wire.codec import ContentHeader, content_header_bytes, parse_message
from fabgossip.wire.framing import BODY_BYTES_MAX, FrameKind

OVERHEARD_MAX: Final = 256
"""Frames kept to be said again."""
GARBAGE_BYTES_MAX: Final = 512
"""Of a frame that is none; every rule of the codec is broken by less."""
REPLAYED: Final = frozenset(
    {
        FrameKind.CLAIMS,
        FrameKind.ANNOUNCE,
        FrameKind.HAVE,
        FrameKind.HOLDINGS,
        FrameKind.ROOTS,
        FrameKind.RANGES,
        FrameKind.IDS,
        FrameKind.MANIFESTS,
        FrameKind.HEADS,
    }
)
"""Of the others only numbers of their own link make sense."""
CONTENT_ASKED_FROM: Final = 1 << 20
"""Streams of questions of a script, above those an honest process opens."""


class Body(Protocol):
    """The hostile node a script moves."""

    chance: Stream

    def open_ends(self) -> tuple[End, ...]:
        """Its links past the hello, oldest first."""
        ...

    def end_of(self, link: int) -> End | None:
        """A link that is not lost, by its number."""
        ...

    def say(self, end: End, message: Message, traffic: TrafficClass, stream: int = 0) -> None:
        """Send a message as itself."""
        ...

    def throw(self, end: End, frame: SentFrame) -> None:
        """Send any frame."""
        ...

    def flush(self, end: End) -> None:
        """Let what it said go at once."""
        ...

    def dial_everybody(self) -> None:
        """Dial every node there is and no link goes to."""
        ...

    def foreign(self) -> tuple[Issued, ...]:
        """What was signed until now and this node may not know."""
        ...


class Script:
    """Honest in everything; a script bends what it names."""

    def __init__(self, body: Body, count: int) -> None:
        self._body = body
        self._count = count
        self._chance: Stream = body.chance

    def act(self) -> None:
        """Its turn has come."""

    def hear(self, frame: SentFrame) -> None:
        """A frame came."""

    def bend(self, effect: Effect) -> tuple[Effect, ...]:
        """What is done in place of what an honest node would do."""
        return (effect,)


class ScopeProber(Script):
    """Asks everybody in every way for what it may not know."""

    def __init__(self, body: Body, count: int) -> None:
        super().__init__(body, count)
        self._asked = CONTENT_ASKED_FROM

    def act(self) -> None:
        """One way for each question, on each link."""
        for end in self._body.open_ends():
            for _ in range(self._count):
                secrets = self._body.foreign()
                if secrets:
                    secret = secrets[self._chance.below(len(secrets))]
                    probe = PROBES[self._chance.below(len(PROBES))]
                    self._ask(end, probe(secret, self._chance))

    def _ask(self, end: End, message: Message) -> None:
        if isinstance(message, GetContent):
            self._asked += 2
            stream = self._asked + end.next_stream % 2
            self._body.say(end, message, TrafficClass.POLICY, stream)
        else:
            self._body.say(end, message, TrafficClass.POLICY)


def _absent(_: Issued, chance: Stream) -> GetContent:
    """Nothing has this hash: the answer is what all others are held against."""
    return GetContent(
        items=(ContentAsk(ManifestHash(chance.bytes(32)), ContentHash(chance.bytes(32)), 0, 1),)
    )


def _content(secret: Issued, _: Stream) -> GetContent:
    return GetContent(items=(_ask_of(secret),))


def _granted(secret: Issued, chance: Stream) -> GetContent:
    """Under a grant nobody signed."""
    return GetContent(items=(_ask_of(secret),), grant=chance.bytes(200))


def _ask_of(secret: Issued) -> ContentAsk:
    return ContentAsk(secret.manifest_hash, secret.manifest.content_hash, 0, 1)


def _set_id(secret: Issued) -> bytes:
    return set_id_of(secret.manifest.audience)


def _roots(secret: Issued, chance: Stream) -> Roots:
    root = SetRoot(secret.manifest.audience, 1, chance.bytes(ROOT_BYTES))
    return Roots(salt=SALT, is_first=True, is_last=True, entries=(root,))


def _ranges(secret: Issued, _: Stream) -> Ranges:
    nothing = (Range(upper=None, mode=RangeMode.IDS),)
    return Ranges(set_id=_set_id(secret), salt=SALT, step=0, more=False, ranges=nothing)


def _ids(secret: Issued, chance: Stream) -> Ids:
    return Ids(set_id=_set_id(secret), salt=SALT, ids=(chance.bytes(SALTED_ID_BYTES),))


def _manifests(secret: Issued, chance: Stream) -> GetManifests:
    return GetManifests(set_id=_set_id(secret), salt=SALT, ids=(chance.bytes(SALTED_ID_BYTES),))


def _heads(secret: Issued, _: Stream) -> GetHeads:
    return GetHeads(known=(HeadKnown(secret.manifest.namespace.text, 0, 0),))


def _chain(secret: Issued, chance: Stream) -> GetChain:
    """As if it had held the version before."""
    return GetChain(
        namespace=secret.manifest.namespace.text,
        base=ContentHash(chance.bytes(32)),
        head=secret.manifest.content_hash,
    )


def _graft(secret: Issued, _: Stream) -> Graft:
    return Graft(audience=secret.manifest.audience, prefixes=(secret.prefix,))


def _prune(secret: Issued, _: Stream) -> Prune:
    return Prune(audience=secret.manifest.audience)


def _have(secret: Issued, _: Stream) -> Have:
    return Have(audience=secret.manifest.audience, prefixes=(secret.prefix,))


def _holdings(secret: Issued, _: Stream) -> Holdings:
    entry = HoldingsEntry(secret.manifest.audience, HoldingsMode.ONLY, (secret.prefix,))
    return Holdings(sequence=1 << 40, is_whole=False, entries=(entry,))


def _claims(secret: Issued, chance: Stream) -> Claims:
    """An opening of the organisation it wants to be in, with a salt it guessed."""
    org = secret.manifest.audience.org
    item = ClaimItem(scope="org:none" if org is None else org.text)
    return Claims(openings=(Opening(chance.bytes(16), item),))


SALT: Final = SaltId(1, 0)
NOBODY: Final = Audience((ScopeId("cluster:c1"), ScopeId("role:nobody")))
PROBES: Final[tuple[Callable[[Issued, Stream], Message], ...]] = (
    _absent, _content, _granted, _roots, _ranges, _ids, _manifests, _heads, _graft, _prune, _have,
    _holdings, _claims, _chain,
)  # fmt: skip


class StaleReplayer(Script):
    """Says again what it overheard, to everybody."""

    def __init__(self, body: Body, count: int) -> None:
        super().__init__(body, count)
        self._overheard: list[SentFrame] = []

    def hear(self, frame: SentFrame) -> None:
        """Keep the first ones: the older, the staler."""
        if frame.kind in REPLAYED and len(self._overheard) < OVERHEARD_MAX:
            self._overheard.append(frame)

    def act(self) -> None:
        """Any of it to each."""
        for end in self._body.open_ends():
            for _ in range(self._count if self._overheard else 0):
                frame = self._overheard[self._chance.below(len(self._overheard))]
                self._body.throw(end, replace(frame, stream=0))


class ClaimsThief(Script):
    """Shows the claims and openings of whoever it heard last as its own."""

    def __init__(self, body: Body, count: int) -> None:
        super().__init__(body, count)
        self._stolen: Hello | None = None

    def hear(self, frame: SentFrame) -> None:
        """Keep the claims of a hello."""
        if frame.kind is FrameKind.HELLO:
            message = parse_message(frame.kind, frame.body)
            assert isinstance(message, Hello)
            self._stolen = message

    def bend(self, effect: Effect) -> tuple[Effect, ...]:
        """Its own hello is another's."""
        if isinstance(effect, Send) and isinstance(effect.message, Hello) and self._stolen:
            stolen = self._stolen
            hello = replace(effect.message, claims=stolen.claims, openings=stolen.openings)
            return (replace(effect, message=hello),)
        return (effect,)

    def act(self) -> None:
        """Meet everybody, with what it has by now."""
        self._body.dial_everybody()


class FalseAdvertiser(Script):
    """Says that it holds everything, and serves nothing."""

    def bend(self, effect: Effect) -> tuple[Effect, ...]:
        """Nothing is lacking, nothing is served."""
        if isinstance(effect, ServeContent):
            return ()
        if isinstance(effect, Send) and isinstance(effect.message, Holdings):
            entries = tuple(
                HoldingsEntry(one.audience, HoldingsMode.ALL_EXCEPT, ())
                for one in effect.message.entries
            )
            return (replace(effect, message=replace(effect.message, entries=entries)),)
        return (effect,)


class WrongBytes(FalseAdvertiser):
    """Serves other bytes than it was asked for, of the right length."""

    def bend(self, effect: Effect) -> tuple[Effect, ...]:
        """What is served is noise."""
        if isinstance(effect, ServeContent):
            end = self._body.end_of(effect.link)
            if end is not None:
                self._serve(effect, end)
        return super().bend(effect)

    def _serve(self, effect: ServeContent, end: End) -> None:
        for item in effect.items:
            whole = chunk_size_of(item.size) if item.chunk_hashes else item.size
            for number in chunks_asked(item):
                size = min(whole, item.size - number * whole)
                header = content_header_bytes(ContentHeader(item.item, is_last=True, offset=0))
                body = header + self._chance.bytes(size)
                frame = SentFrame(FrameKind.CONTENT, effect.traffic, effect.stream, body)
                self._body.throw(end, frame)
        self._body.flush(end)


class ReconcileLiar(Script):
    """Its roots, ranges and counts stand for no set there is."""

    def bend(self, effect: Effect) -> tuple[Effect, ...]:
        """Every fingerprint is noise."""
        if not isinstance(effect, Send):
            return (effect,)
        message = self._lie(effect.message)
        return (replace(effect, message=message),)

    def _lie(self, message: Message) -> Message:
        noise = self._chance.bytes
        match message:
            case Ping():
                return replace(message, link_root=noise(LINK_ROOT_BYTES))
            case Roots():
                entries = tuple(
                    SetRoot(one.audience, one.count, noise(ROOT_BYTES)) for one in message.entries
                )
                return replace(message, entries=entries)
            case Ranges():
                ranges = tuple(
                    replace(one, fingerprint=noise(FINGERPRINT_BYTES))
                    if one.mode is RangeMode.FINGERPRINT
                    else one
                    for one in message.ranges
                )
                return replace(message, ranges=ranges)
            case _:
                return message


class Censor(Script):
    """Takes everything and passes on nothing but trust."""

    def bend(self, effect: Effect) -> tuple[Effect, ...]:
        """News and answers are kept back."""
        if isinstance(effect, ServeContent):
            return ()
        is_news = isinstance(effect, Send) and isinstance(
            effect.message, Announce | Have | Heads | Ids | Manifests | Ranges | Roots
        )
        if is_news and isinstance(effect, Send) and effect.traffic is not TrafficClass.TRUST:
            return ()
        return (effect,)


class EclipseAll(Censor):
    """Links to everybody, so that their links are used up by nobody else."""

    def act(self) -> None:
        """Dial whoever is left."""
        self._body.dial_everybody()


class Flooder(Script):
    """Says more than anybody may, of every kind."""

    def act(self) -> None:
        """The same questions, again and again."""
        envelope = self._chance.bytes(200)
        flood: tuple[Message, ...] = (
            Announce(entries=(Announced(envelope, 0),) * 16),
            GetHeads(known=(HeadKnown("platform/p1/cluster/c1/routes/none", 0, 0),)),
            Prune(audience=NOBODY),
            Ping(sequence=0, salt=SALT, link_root=bytes(LINK_ROOT_BYTES)),
        )
        for end in self._body.open_ends():
            for number in range(self._count):
                self._body.say(end, flood[number % len(flood)], TrafficClass.POLICY)


class MalformedFrames(Script):
    """Frames whose body is none."""

    def act(self) -> None:
        """Any kind, any bytes, on each link."""
        kinds = tuple(FrameKind)
        for end in self._body.open_ends():
            for _ in range(self._count):
                kind = kinds[self._chance.below(len(kinds))]
                size = self._chance.below(min(GARBAGE_BYTES_MAX, BODY_BYTES_MAX[kind]) + 1)
                body = self._chance.bytes(size)
                self._body.throw(end, SentFrame(kind, TrafficClass.POLICY, 0, body))


SCRIPTS: Final[dict[str, Callable[[Body, int], Script]]] = {
    "scope_prober": ScopeProber,
    "stale_replayer": StaleReplayer,
    "claims_thief": ClaimsThief,
    "false_advertiser": FalseAdvertiser,
    "wrong_bytes": WrongBytes,
    "reconcile_liar": ReconcileLiar,
    "censor": Censor,
    "flooder": Flooder,
    "malformed_frames": MalformedFrames,
    "eclipse_all": EclipseAll,
}
