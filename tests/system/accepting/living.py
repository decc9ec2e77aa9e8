"""One life of a node on a real state folder: the core, the disk's own writing order, no loop.

Everything runs in the calling thread, so that a step of a seed is always the same step.
"""

import json
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from fabgossip.core.config import NodeConfig
from fabgossip.core.effects import (
    Answer,
    Disconnect,
    Effect,
    Fact,
    Materialize,
    Outcome,
    Persist,
    ReceiveContent,
    Record,
    Remove,
    ServeContent,
)
from fabgossip.core.events import (
    ContentFailed,
    ContentServed,
    ContentStored,
    Event,
    FetchFailure,
    LinkId,
    LostReason,
    MessageReceived,
    PeerConnected,
    PeerLost,
    Persisted,
    RefreshDue,
    RequestId,
    RequestMade,
    SubmitRequest,
    TimerFired,
    Token,
)
from fabgossip.core.node import Node
from fabgossip.core.setup import NodeSetup, OwnIdentity
from fabgossip.daemon.state import StateFolder
from fabgossip.model.artifact import WHOLE_BYTES_MAX, chunk_size_of
from fabgossip.model.ids import ContentHash, NodeId
from fabgossip.model.messages import (
    Announce,
    Announced,
    ContentAsk,
    GetContent,
    Hello,
    Message,
    Welcome,
)
from fabgossip.model.moment import Instant, Now, UnixTime
from fabgossip.model.persistence import (
    Change,
    DropHead,
    DropHeldBack,
    DropIncrement,
    DropPin,
    PutCheckpoints,
    PutClaimsSeen,
    PutClockDoubt,
    PutEvidence,
    PutFloor,
    PutGrantUse,
    PutHead,
    PutHeldBack,
    PutIncrement,
    PutMemory,
    PutPin,
    PutRevoked,
    PutTimeFloor,
    PutTrust,
)
from fabgossip.storage.syncing import Syncing
from tests.core.artifacts import Artifact
from tests.core.story import VERIFIER, boot_id, claims_of, identity, pinned
from tests.system.accepting.stories import (
    Action,
    Given,
    Meeting,
    Story,
    Waiting,
    manifest_hash_in,
    manifest_hash_of,
)
from tests.trust import factory

Word: TypeAlias = tuple[str | int | bool, ...]
"""What a life says to whoever watches it: a kind, and what it is about; bytes in hex."""
Say: TypeAlias = Callable[[Word], None]
_ANNOUNCER: Final = NodeId("p0")
_DONE: Final = (Outcome.ADMITTED, Outcome.ALREADY_CURRENT)


def _setup() -> NodeSetup:
    own = OwnIdentity(
        node_id=factory.NODE,
        claims=claims_of(factory.NODE, factory.OPENINGS, ("edge",)),
        openings=factory.OPENINGS,
        pinned=pinned(),
        certificate=identity(factory.NODE),
    )
    return NodeSetup(
        config=NodeConfig(), own=own, boot_id=boot_id("n1 first"), bootstrap=(), seed=1
    )


class Life:
    """A node from its start to its end."""

    def __init__(self, folder: Path, story: Story, now: UnixTime, say: Say) -> None:
        self._say = say
        self.now = _moment(now)
        self._contents: Mapping[ContentHash, bytes] = {
            one.content_hash: one.content for one in story.artifacts().values()
        }
        self.state = StateFolder(folder, factory.NODE, Syncing())
        self.disk = self.state.new_disk()
        self.node = Node(_setup(), VERIFIER)
        self._events: deque[Event] = deque()
        self._requests: dict[RequestId, Artifact] = {}
        self._links = 0
        self._announcer: LinkId | None = None
        self.started = self.state.begin(self.disk)
        self.post(self.started)
        self.settle()

    def post(self, event: Event) -> None:
        """An event happens, and all that follows from it at once."""
        self._events.append(event)
        if len(self._events) > 1:
            return
        while self._events:
            effects = self.node.handle(self._events[0], self.now)
            self.node.check()
            for effect in effects:
                self._carry_out(effect)
            self._events.popleft()

    def settle(self) -> None:
        """Everything asked of the disk is done."""
        while not self.disk.is_idle:
            for done, ok in self.disk.write_next():
                done(ok)

    def play(self, action: Action) -> None:
        """Something happens to the node; the disk is not waited for."""
        self.now = _moment(action.at)
        match action.what:
            case Given():
                if action.what.by_peer:
                    self._announce(action.what.artifact)
                else:
                    self.submit(action.what.artifact)
            case Meeting():
                self._meet(action.what)
            case Waiting():
                self.now = _moment(UnixTime(action.at + action.what.seconds))
                self.look_around()

    def look_around(self) -> None:
        """What a node does from time to time, also about what failed before."""
        self.post(TimerFired(timer=RefreshDue()))

    def submit(self, artifact: Artifact) -> None:
        """Local software hands over an artifact."""
        request = RequestId(len(self._requests) + 1)
        self._requests[request] = artifact
        self.post(RequestMade(request=request, body=SubmitRequest(envelope=artifact.envelope)))

    def _announce(self, artifact: Artifact) -> None:
        if self._announcer is None:
            claims = claims_of(_ANNOUNCER, factory.OPENINGS, ("edge",))
            self._announcer = self._connect(_ANNOUNCER, claims)
        entries = (Announced(artifact.envelope, 0),)
        self._hear(self._announcer, Announce(entries=entries))

    def _connect(self, node_id: NodeId, claims: bytes) -> LinkId:
        self._links += 1
        link = LinkId(self._links)
        self.post(PeerConnected(link=link, identity=identity(node_id), is_dialer=False))
        hello = Hello(
            protocol_min=1,
            protocol_max=1,
            features=0,
            boot_id=boot_id(f"{node_id} {self._links}"),
            claims=claims,
            openings=factory.OPENINGS,
            bundle_version=self.node.view.trust.bundle.bundle_version,
            revocation_version=0,
            epoch=factory.BUNDLE.authority_epoch,
        )
        self._hear(link, hello)
        self._hear(link, Welcome(protocol=1, features=0))
        return link

    def _hear(self, link: LinkId, message: Message, stream: int = 0) -> None:
        self.post(MessageReceived(link=link, stream=stream, message=message))

    def _meet(self, meeting: Meeting) -> None:
        link = self._connect(meeting.node_id, meeting.claims)
        if meeting.grant:
            self.settle()  # a request is of use only once the claims count
            # A node killed before its first head was durable has nothing to be asked for.
            for head in self.node.view.heads_after("", 1):
                ask = ContentAsk(head.verified.manifest_hash, head.manifest.content_hash, 0, 1)
                self._hear(link, GetContent(items=(ask,), grant=meeting.grant), 2)
            self.settle()
        self.post(PeerLost(link=link, node_id=meeting.node_id, reason=LostReason.EOF))

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Persist():
                self.disk.persist(effect, self._persisted(effect))
            case Materialize():
                self.disk.materialize(effect, self._materialized(effect))
            case Remove():
                self.disk.remove(effect)
            case ReceiveContent():
                self._receive(effect)
            case ServeContent():
                self._events.append(ContentServed(link=effect.link, stream=effect.stream))
            case Disconnect():
                self._disconnect(effect)
            case Answer():
                self._answer(effect)
            case Record():
                self._record(effect)
            case _:
                """Timers and what goes to peers: nobody is there."""

    def _disconnect(self, effect: Disconnect) -> None:
        if effect.link == self._announcer:
            self._announcer = None
        session = next((one for one in self.node.view.sessions() if one.link == effect.link), None)
        if session is not None:
            lost = PeerLost(link=effect.link, node_id=session.node_id, reason=effect.lost)
            self._events.append(lost)

    def _persisted(self, effect: Persist) -> Callable[[bool], None]:
        def done(ok: bool) -> None:  # noqa: FBT001  # given by position
            for change in effect.changes if ok else ():
                self._say(word_of(change))
            self._came(effect.token, ok=ok)

        return done

    def _materialized(self, effect: Materialize) -> Callable[[bool], None]:
        def done(ok: bool) -> None:  # noqa: FBT001  # given by position
            if ok and effect.order is not None:
                order, name = effect.order, manifest_hash_in(effect.envelope).hex()
                self._say(("current", effect.namespace, order.epoch, order.version, name))
            self._came(effect.token, ok=ok)

        return done

    def _came(self, token: Token, *, ok: bool) -> None:
        if not ok:
            self._say(("failed",))
        self.post(Persisted(token=token, ok=ok))

    def _receive(self, effect: ReceiveContent) -> None:
        """As the daemon's transfers store what came whole and right."""
        wanted = effect.wanted
        if effect.link is None and effect.request is None:
            content = self.disk.read(wanted.content_hash)
            self._stored(effect, content)
            return
        data = self._contents[wanted.content_hash]
        if len(data) <= WHOLE_BYTES_MAX:
            self.disk.store_small(wanted.content_hash, data, self._stored_callback(effect, data))
            return
        try:
            incoming = self.disk.files.open_incoming(wanted.content_hash, len(data))
        except OSError:
            self._stored(effect, None)
            return
        size = chunk_size_of(len(data))
        try:
            for start in range(0, len(data), size):
                incoming.write_at(start, data[start : start + size])
        except OSError:
            incoming.drop()
            self._stored(effect, None)
            return
        done = self._stored_callback(effect, data)
        self.disk.store_file(wanted.content_hash, incoming, len(data), done)

    def _stored_callback(self, effect: ReceiveContent, data: bytes) -> Callable[[bool], None]:
        def done(ok: bool) -> None:  # noqa: FBT001  # given by position
            self._stored(effect, data if ok else None)

        return done

    def _stored(self, effect: ReceiveContent, data: bytes | None) -> None:
        wanted = effect.wanted
        if data is None:
            self._say(("failed",))
            failed = ContentFailed(
                wanted=wanted,
                link=effect.link,
                request=effect.request,
                reason=FetchFailure.DISK,
                received=0,
            )
            self.post(failed)
            return
        content = data if wanted.is_read else None
        self.post(ContentStored(wanted=wanted, link=effect.link, content=content))

    def _answer(self, effect: Answer) -> None:
        artifact = self._requests[effect.request]
        if effect.outcome in _DONE:
            self._say(("answer", manifest_hash_of(artifact).hex()))
        elif effect.outcome is Outcome.FAILED or effect.code == "STORE_FULL":
            self._say(("said", effect.detail))

    def _record(self, effect: Record) -> None:
        if effect.fact is Fact.STORAGE_FAILED or ("outcome", "disk") in effect.fields:
            self._say(("said", effect.fact.value))

    def close(self) -> None:
        """The end in order."""
        self.state.close()


def _moment(unix: UnixTime) -> Now:
    return Now(instant=Instant((unix - factory.NOW + 1_000) * 1_000), unix=unix)


def word_of(change: Change) -> Word:
    """What a change promises once it is durable."""
    match change:
        case PutHead() | PutIncrement() | PutEvidence():
            manifest = change.verified.manifest
            kind = {PutHead: "head", PutIncrement: "increment", PutEvidence: "evidence"}
            order = manifest.order
            name = change.verified.manifest_hash.hex()
            return (kind[type(change)], manifest.namespace.text, order.epoch, order.version, name)
        case PutFloor():
            return ("floor", change.namespace, change.order.epoch, change.order.version)
        case PutTrust():
            return ("trust", change.version)
        case PutRevoked():
            rows = (f"{kind}:{value.hex()}" for kind, value in change.entries)
            return ("revoked", change.epoch, *rows)
        case PutClaimsSeen():
            return ("claims", change.node_id, change.epoch, change.version)
        case PutGrantUse():
            return ("use", change.grant_id.hex(), change.uses)
        case PutTimeFloor():
            return ("time", change.unix)
        case PutClockDoubt():
            return ("doubt", change.is_doubted)
        case PutMemory():
            return ("whole", change.is_whole)
        case DropHead():
            return ("drop", change.namespace)
        case DropIncrement():
            return ("drop increment", change.namespace, change.manifest_hash.hex())
        case PutCheckpoints():
            return ("checkpoints", change.node_id)
        case PutPin():
            return ("pin", change.pin.pin_id)
        case DropPin():
            return ("unpin", change.pin_id)
        case PutHeldBack():
            return ("hold back", change.held_back.namespace, str(change.held_back.order))
        case DropHeldBack():
            return ("release", change.namespace)


def line_of(word: Word) -> bytes:
    """A word as it goes through a pipe."""
    return json.dumps(word).encode() + b"\n"
