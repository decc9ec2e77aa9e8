"""A node among peers, local software and a disk, all of them told what to do by the input.

The input is a script of steps `[what, who, which, more, bytes]`. Messages are decoded from its
bytes as the daemon decodes a frame, and an undecodable one ends the link as it does there. What the
node asks of the world (timers, writes, contents) is answered late, out of order, or never, as the
script has it; contents are only ever those that were signed, because the daemon hands over no
others.

After every event: the node's own invariants hold, everything it believes was signed, everything it
sends can be read by a peer, and who is of no organisation is told of none.
"""

from collections.abc import Callable
from functools import cache
from typing import Final

from fabgossip.core.effects import (
    Disconnect,
    Effect,
    Materialize,
    Persist,
    ReceiveContent,
    Send,
    ServeContent,
    SetTimer,
)
from fabgossip.core.events import (
    ContentFailed,
    ContentServed,
    ContentStored,
    Event,
    FetchFailure,
    FetchRequest,
    LinkId,
    LostReason,
    MessageReceived,
    PeerConnected,
    PeerLost,
    Persisted,
    RequestId,
    RequestMade,
    SubmitRequest,
    TimerFired,
    Token,
    Unsent,
)
from fabgossip.errors import WireError
from fabgossip.model.artifact import ArtifactType, VerifiedManifest
from fabgossip.model.authority import Opening, Revocation, RevokedKind
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import (
    Announce,
    Announced,
    BadRequest,
    Bye,
    Heads,
    Hello,
    Manifests,
    Message,
    Welcome,
)
from fabgossip.model.moment import elapsed
from fabgossip.model.scope import Audience, ScopeKind
from fabgossip.model.topology import Endpoint
from fabgossip.wire.codec import message_body, parse_message
from fabgossip.wire.framing import BODY_BYTES_MAX, STREAM_MAX, FrameKind
from fabgossip.wire.packing import Value, pack, unpack
from fabgossip.wire.statements import parse_manifest
from tests.core import artifacts
from tests.core.story import Peer, Story, fresh_lane, identity
from tests.fuzzing.target import Target
from tests.trust import factory
from tests.wire import samples

STEPS_MAX: Final = 64
LINKS_MAX: Final = 8
WAIT_MS_MAX: Final = 30 * factory.DAY * 1_000
CLOCK_STEP_S_MAX: Final = 100 * factory.DAY
KINDS: Final = tuple(kind for kind in FrameKind if kind is not FrameKind.CONTENT)
REVOKED: Final = Revocation(
    kind=RevokedKind.SIGNING_KEY,
    value=factory.POLICY.key_id,
    reason="stolen",
    since_epoch=1,
    since=factory.NOW,
    until=factory.NOW,
)
ARTIFACTS: Final = (
    artifacts.routes(),
    artifacts.routes(8),
    artifacts.routes(7, content=b"another statement of the same version"),
    artifacts.tombstone(9),
    artifacts.acme_routes(),
    artifacts.acme_routes(8),
    artifacts.update(),
    artifacts.node_snapshot(),
    artifacts.increment(),
    artifacts.peers(artifacts.record("n2"), artifacts.record("n3")),
    artifacts.acme_peers("n2"),
    artifacts.stores("n1", "s1"),
    artifacts.revocations(6),
    artifacts.revocations(7, REVOKED),
    artifacts.trust(factory.NEXT_BUNDLE),
    artifacts.Artifact(samples.ROUTES, samples.ENVELOPE, factory.CONTENT),
    artifacts.Artifact(samples.INCREMENT, factory.signed(samples.INCREMENT), factory.CONTENT),
)
FORGED: Final = tuple(
    factory.signed(factory.manifest(kind), factory.STRANGER) for kind in ArtifactType
)
CONTENT_OF: Final = {one.content_hash: one.content for one in ARTIFACTS}
ENVELOPES: Final = (
    *(one.envelope for one in ARTIFACTS),
    *(one.envelope for one in fresh_lane("n1")),
)
STATED: Final = {
    factory.parts(one).manifest_hash: parse_manifest(factory.parts(one).payload)
    for one in ENVELOPES
}
BUNDLES: Final = (factory.BUNDLE, factory.NEXT_BUNDLE)
PEERS: Final[tuple[tuple[str, tuple[Opening, ...]], ...]] = (
    ("n2", factory.OPENINGS),
    ("s1", factory.OPENINGS),
    ("n3", ()),
)
"""Who may connect, and what its claims commit to."""
OUTSIDER: Final = NodeId("n3")
ENDS: Final = (Hello, Welcome, Bye, BadRequest)
"""Ends a link that is open."""


class Stage:
    """A node, and the world as the script plays it."""

    def __init__(self) -> None:
        bootstrap = Endpoint(address="n2.example:7420", node_id=NodeId("n2"))
        self.story = Story(bootstrap=(bootstrap,))
        self.links: dict[LinkId, NodeId] = {}
        self._made = 0
        self._requests = 0
        self._timers: list[SetTimer] = []
        self._tokens: list[Token] = []
        self._receiving: list[ReceiveContent] = []
        self._serving: list[ServeContent] = []
        self._watch()

    def play(self, event: Event) -> None:
        """One event, and what the world owes for it at once."""
        pending = [event]
        while pending:
            self.story.when(pending.pop(0))
            pending += self._watch()

    def _watch(self) -> list[Event]:
        """Judge state and effects; the links the node ended are lost."""
        _judge_beliefs(self.story)
        lost: list[Event] = []
        for effect in self.story.effects:
            self._note(effect)
            if isinstance(effect, Disconnect) and effect.link in self.links:
                name = self.links.pop(effect.link)
                lost.append(PeerLost(link=effect.link, node_id=name, reason=effect.lost))
        return lost

    def _note(self, effect: Effect) -> None:
        match effect:
            case Send():
                _judge_message(effect.message, self.links[effect.link])
            case SetTimer():
                self._timers.append(effect)
            case Persist() | Materialize():
                self._tokens.append(effect.token)
            case ReceiveContent():
                assert effect.wanted.content_hash in CONTENT_OF
                self._receiving.append(effect)
            case ServeContent():
                assert all(one.content_hash in CONTENT_OF for one in effect.items)
                self._serving.append(effect)
            case _:
                pass

    def link_at(self, place: int) -> LinkId | None:
        """One of the open links."""
        return None if not self.links else list(self.links)[place % len(self.links)]

    # The steps a script is made of.

    def connect(self, who: int, which: int, *_: object) -> None:
        """A peer passes TLS."""
        if len(self.links) < LINKS_MAX:
            name = PEERS[who % len(PEERS)][0]
            self._made += 1
            link = LinkId(self._made)
            self.links[link] = NodeId(name)
            event = PeerConnected(link=link, identity=identity(name), is_dialer=bool(which % 2))
            self.play(event)

    def hear(self, who: int, which: int, more: int, data: bytes) -> None:
        """A frame comes."""
        link = self.link_at(who)
        if link is None:
            return
        try:
            message = parse_message(KINDS[which % len(KINDS)], data)
        except WireError:
            self.play(PeerLost(link=link, node_id=self.links.pop(link), reason=LostReason.PROTOCOL))
            return
        self.play(MessageReceived(link=link, stream=more % (STREAM_MAX + 1), message=message))

    def lose(self, who: int, which: int, *_: object) -> None:
        """A link breaks."""
        link = self.link_at(who)
        if link is not None:
            reasons = tuple(LostReason)
            reason = reasons[which % len(reasons)]
            self.play(PeerLost(link=link, node_id=self.links.pop(link), reason=reason))

    def fire(self, who: int, which: int, *_: object) -> None:
        """A timer comes due, at its time or (odd `which`) late or stale."""
        if self._timers:
            timer = self._timers[who % len(self._timers)]
            if not which % 2:
                self.story.wait(max(0, elapsed(self.story.now.instant, timer.at)))
            self.play(TimerFired(timer=timer.timer))

    def persisted(self, who: int, which: int, *_: object) -> None:
        """A write ends well, or (odd `which`) does not."""
        if self._tokens:
            token = self._tokens.pop(who % len(self._tokens))
            self.play(Persisted(token=token, ok=not which % 2))

    def stored(self, who: int, *_: object) -> None:
        """A content came whole."""
        if self._receiving:
            got = self._receiving.pop(who % len(self._receiving))
            content = CONTENT_OF[got.wanted.content_hash] if got.wanted.is_read else None
            self.play(ContentStored(wanted=got.wanted, link=got.link, content=content))

    def failed(self, who: int, which: int, more: int, _: bytes) -> None:
        """A content did not come."""
        if self._receiving:
            got = self._receiving.pop(who % len(self._receiving))
            reasons = tuple(FetchFailure)
            self.play(
                ContentFailed(
                    wanted=got.wanted,
                    link=got.link,
                    request=got.request,
                    reason=reasons[which % len(reasons)],
                    received=more % (got.wanted.size + 1),
                )
            )

    def served(self, who: int, *_: object) -> None:
        """A content was sent whole."""
        if self._serving:
            done = self._serving.pop(who % len(self._serving))
            self.play(ContentServed(link=done.link, stream=done.stream))

    def unsent(self, who: int, which: int, *_: object) -> None:
        """A queue was full."""
        link = self.link_at(who)
        if link is not None:
            audience = ARTIFACTS[which % len(ARTIFACTS)].manifest.audience
            self.play(Unsent(link=link, audience=audience))

    def wait(self, who: int, *_: object) -> None:
        """Time passes."""
        self.story.wait(who % WAIT_MS_MAX)

    def step_clock(self, who: int, *_: object) -> None:
        """The wall clock jumps."""
        self.story.step_clock(who % (2 * CLOCK_STEP_S_MAX) - CLOCK_STEP_S_MAX)

    def submit(self, _: int, __: int, ___: int, data: bytes) -> None:
        """Local software hands over an envelope."""
        self._request(SubmitRequest(envelope=data))

    def fetch(self, who: int, which: int, more: int, _: bytes) -> None:
        """Local software asks for a content (odd `which`) or for a namespace."""
        one = ARTIFACTS[who % len(ARTIFACTS)].manifest
        by_hash = bool(which % 2)
        self._request(
            FetchRequest(
                content_hash=one.content_hash if by_hash else None,
                namespace=None if by_hash else one.namespace.text,
                timeout_ms=1 + more % 600_000,
            )
        )

    def _request(self, body: SubmitRequest | FetchRequest) -> None:
        self._requests += 1
        self.play(RequestMade(request=RequestId(self._requests), body=body))


_Step = Callable[[Stage, int, int, int, bytes], None]
STEPS: Final[tuple[_Step, ...]] = (
    Stage.connect,
    Stage.hear,
    Stage.lose,
    Stage.fire,
    Stage.persisted,
    Stage.stored,
    Stage.failed,
    Stage.served,
    Stage.unsent,
    Stage.wait,
    Stage.step_clock,
    Stage.submit,
    Stage.fetch,
)


def _judge_beliefs(story: Story) -> None:
    """Nothing is believed that was not signed."""
    node = story.node
    for head in node.view.heads_after("", 1_000):
        _judge_manifest(head.verified)
        for kept in head.kept:
            _judge_manifest(kept.verified)
    assert node.view.trust.bundle in BUNDLES
    assert node.view.trust.revoked.values <= {(REVOKED.kind, REVOKED.value)}
    assert node.view.trust.own.scope_ids <= factory.OWN.scope_ids


def _judge_manifest(verified: VerifiedManifest) -> None:
    assert STATED[verified.manifest_hash] == verified.manifest


def _judge_message(message: Message, peer: NodeId) -> None:
    """A peer can read it, all in it was signed, and an outsider learns of no organisation."""
    kind, body = message_body(message)
    assert len(body) <= BODY_BYTES_MAX[kind]
    assert parse_message(kind, body) == message
    match message:
        case Announce():
            envelopes = tuple(one.envelope for one in message.entries)
        case Heads() | Manifests():
            envelopes = message.envelopes
        case _:
            envelopes = ()
    stated = [STATED[factory.parts(one).manifest_hash] for one in envelopes]
    told = [one.audience for one in stated] + _audiences_of(message)
    assert peer != OUTSIDER or not any(_names_an_organization(one) for one in told)


def _audiences_of(message: Message) -> list[Audience]:
    one = getattr(message, "audience", None)
    entries = getattr(message, "entries", ())
    found = [one, *(getattr(entry, "audience", None) for entry in entries)]
    return [audience for audience in found if isinstance(audience, Audience)]


def _names_an_organization(audience: Audience) -> bool:
    return any(scope.kind is ScopeKind.ORG for scope in audience.scope_ids)


def node(data: bytes) -> None:
    """The whole script, one step after another."""
    try:
        script = unpack(data)
    except WireError:
        return
    if not isinstance(script, list):
        return
    stage = Stage()
    for step in script[:STEPS_MAX]:
        what, who, which, more, content = parts_of(step)
        STEPS[what % len(STEPS)](stage, who, which, more, content)
    stage.story.node.view.snapshot(stage.story.now)


def parts_of(step: Value) -> tuple[int, int, int, int, bytes]:
    """A step whatever it is made of: what is missing or of another type is zero."""
    parts = step if isinstance(step, list) else []
    numbers = [abs(one) for one in parts if isinstance(one, int)]
    content = next((one for one in parts if isinstance(one, bytes)), b"")
    what, who, which, more = [*numbers, 0, 0, 0, 0][:4]
    return what, who, which, more, content


def _step(what: _Step, who: int = 0, which: int = 0, more: int = 0, data: bytes = b"") -> Value:
    return [STEPS.index(what), who, which, more, data]


def _hear(message: Message, who: int = 0, stream: int = 0) -> Value:
    kind, body = message_body(message)
    return _step(Stage.hear, who, KINDS.index(kind), stream, body)


def _link(peer: int, place: int) -> list[Value]:
    """The links are numbered in the order they were made."""
    name, openings = PEERS[peer]
    hello = Peer(name=name, holds=openings, shows=openings).hello()
    welcome = Welcome(protocol=1, features=0)
    return [_step(Stage.connect, peer), _hear(hello, place), _hear(welcome, place)]


def _announce(place: int, who: int = 0) -> list[Value]:
    """The whole way of an artifact, as far as it is wanted."""
    announced = Announced(ARTIFACTS[place].envelope, 0)
    ends = [_step(Stage.persisted), _step(Stage.stored), _step(Stage.persisted)]
    return [_hear(Announce(entries=(announced,)), who), *ends]


@cache
def _node_seeds() -> tuple[bytes, ...]:
    opened = [*_link(0, 0), *_link(2, 1)]
    every = [step for place in range(len(ARTIFACTS)) for step in _announce(place)]
    forged = Announce(entries=tuple(Announced(one, 1) for one in FORGED))
    timers = [_step(Stage.fire, place) for place in range(8)]
    asked = [_step(Stage.fetch, place, place % 2, 5_000) for place in range(4)]
    submitted = [_step(Stage.submit, data=one.envelope) for one in ARTIFACTS[:4]]
    ends = [_step(Stage.unsent, 1, 4), _step(Stage.wait, 60_000), _step(Stage.step_clock, 5)]
    kept = [one for one in samples.MESSAGES if not isinstance(one, ENDS)]
    scripts: tuple[list[Value], ...] = (
        *([*opened, _hear(one, 0)] for one in samples.MESSAGES if isinstance(one, ENDS)),
        [*opened, *_announce(0), *(_hear(one, 0, 2) for one in kept)],
        [*opened, *_announce(4), *(_hear(one, 1, 2) for one in kept)],
        [*opened, *every[:40]],
        [*opened, *every[40:]],
        [*opened, _hear(forged), *_announce(0), *timers, *ends],
        [*opened, *submitted, _step(Stage.persisted), *asked, _step(Stage.failed), *timers],
        [*_link(1, 0), *_announce(4), _step(Stage.lose), *opened, *timers, _step(Stage.served)],
    )
    return tuple(pack(script) for script in scripts)


NODE: Final = Target(name="node", run=node, seeds=_node_seeds, share=40)
