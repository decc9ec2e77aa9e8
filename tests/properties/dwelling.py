"""A node over the simulator's disk: it restarts from what is durable, whatever was under way.

Nothing is carried out by itself: writes, contents and timers wait until they are asked for, so that
a crash finds some of them undone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from fabgossip.core.config import NodeConfig
from fabgossip.core.effects import (
    Disconnect,
    Effect,
    Materialize,
    Persist,
    ReceiveContent,
    Remove,
)
from fabgossip.core.events import (
    ContentFailed,
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
    TimerFired,
    Token,
)
from fabgossip.core.node import Node
from fabgossip.core.setup import NodeSetup, OwnIdentity
from fabgossip.model.artifact import Order, VerifiedManifest
from fabgossip.model.authority import NodeIdentity, Opening
from fabgossip.model.ids import ContentHash, ManifestHash, NodeId
from fabgossip.model.messages import Hello, Message, Welcome
from fabgossip.model.moment import Duration, Instant, Now, UnixTime, later
from fabgossip.model.persistence import Change
from fabgossip.sim.disk import COSTS, SimDisk
from fabgossip.sim.kept import Kept, Local
from fabgossip.sim.streams import Stream
from fabgossip.sim.trace import Happened, Kind, world_event
from fabgossip.sim.world import World
from fabgossip.trust.identity import certificate_hash_of
from tests.core.story import VERIFIER, boot_id, identity, pinned
from tests.properties.signing import NODE, SECOND_CA
from tests.trust import factory

Watch = Callable[[Effect], None]
PEERS: Final[dict[str, tuple[Opening, ...]]] = {
    "n2": factory.OPENINGS,
    "n3": factory.OPENINGS,
    "n4": (),
}
"""Who may link, and what its claims commit to: n4 is of no organisation."""
OUTSIDER: Final = NodeId("n4")
ISSUERS: Final = {"n3": SECOND_CA}
"""Who signed a peer's certificate; the first node CA all others."""


@dataclass(slots=True)
class Tap:
    """Remembers what was ever durable."""

    manifests: set[ManifestHash] = field(default_factory=set)

    def durable_manifest(self, _: int, verified: VerifiedManifest, __: Order) -> None:
        self.manifests.add(verified.manifest_hash)

    def committed(self, _: int, __: tuple[Change, ...]) -> None:
        """Rows are looked up on the disk itself."""

    def removed(self, _: int, __: ContentHash, *, is_damaged: bool) -> None:
        """Contents are looked up on the disk itself."""

    def fell_back(self, _: int, __: Kept) -> None:
        """It never lies here."""

    def durable_content(self, _: int, __: ContentHash) -> None:
        """Contents are looked up on the disk itself."""

    def materialized(self, _: int, __: str, ___: Local) -> None:
        """Local state is looked up on the disk itself."""


class Dwelling:
    """Node n1, its disk, its links, and the world as far as it goes."""

    def __init__(self, claims: bytes, contents: dict[ContentHash, bytes], watch: Watch) -> None:
        self.claims = claims
        self._contents = contents
        self._watch = watch
        self._boots = 0
        self._links_made = 0
        self._clock_step = 0
        self._now = Instant(0)
        self.world = World()
        self.tap = Tap()
        self.disk = SimDisk(self.world, 1, COSTS["instant"], self.tap, Stream(7), {})
        self.links: dict[LinkId, NodeId] = {}
        self.receiving: list[ReceiveContent] = []
        self.reached = UnixTime(0)
        """The latest time this process can know of: it may judge by no earlier one."""
        self.start()

    @property
    def now(self) -> Now:
        """Both clocks of the node."""
        wall = UnixTime(factory.NOW + self._now // 1_000 + self._clock_step)
        return Now(instant=self._now, unix=wall)

    def start(self) -> None:
        """A process begins with what the disk holds."""
        self._boots += 1
        own = OwnIdentity(
            node_id=NODE,
            claims=self.claims,
            openings=factory.OPENINGS,
            pinned=pinned(),
            certificate=identity_of(NODE),
        )
        setup = NodeSetup(
            config=NodeConfig(),
            own=own,
            boot_id=boot_id(f"boot {self._boots}"),
            bootstrap=(),
            seed=self._boots,
        )
        self.node = Node(setup, VERIFIER)
        self.links.clear()
        self.receiving.clear()
        started = self.disk.started()
        self.reached = started.memory.time_floor
        self.play(started)

    def restart(self) -> None:
        """The process is gone at once; another begins."""
        self.disk.crash()
        self.start()

    def play(self, event: Event) -> None:
        """One event, and what follows of itself."""
        if not self._clock_step:
            self.reached = max(self.reached, self.now.unix)
        events = [event]
        while events:
            effects = self.node.handle(events.pop(0), self.now)
            self.node.check()
            for one in effects:
                self._watch(one)
                lost = self._carry_out(one)
                if lost is not None:
                    events.append(lost)

    def _carry_out(self, effect: Effect) -> Event | None:
        match effect:
            case Persist():
                self.disk.persist(effect, self._answer(effect.token))
            case Materialize():
                self.disk.materialize(effect, self._answer(effect.token))
            case Remove():
                self.disk.remove(effect)
            case ReceiveContent():
                self.receiving.append(effect)
            case Disconnect() if effect.link in self.links:
                return self._lost(effect.link, effect.lost)
            case _:
                pass
        return None

    def _answer(self, token: Token) -> Callable[[bool], Happened]:
        def done(ok: bool) -> Happened:  # noqa: FBT001  # as the disk gives it
            self.play(Persisted(token=token, ok=ok))
            return world_event(Kind.DISK)

        return done

    def _lost(self, link: LinkId, reason: LostReason) -> PeerLost:
        self.receiving = [one for one in self.receiving if one.link != link]
        return PeerLost(link=link, node_id=self.links.pop(link), reason=reason)

    # What the world does.

    def write(self) -> None:
        """The disk carries out all that waits."""
        self.world.run(self.world.now_ns, lambda _, __: None)

    def receive(self, place: int, *, fails: bool = False) -> None:
        """One content that was asked for comes, or does not."""
        if not self.receiving:
            return
        got = self.receiving.pop(place % len(self.receiving))
        content_hash = got.wanted.content_hash
        data = self._contents[content_hash]
        is_own = got.link is None and got.request is None
        if fails or (is_own and self.disk.read(content_hash) is None):
            reason = FetchFailure.STALLED
            self.play(
                ContentFailed(
                    wanted=got.wanted,
                    link=got.link,
                    request=got.request,
                    reason=reason,
                    received=0,
                )
            )
            return

        def done(ok: bool) -> Happened:  # noqa: FBT001  # as the disk gives it
            assert ok
            content = data if got.wanted.is_read else None
            self.play(ContentStored(wanted=got.wanted, link=got.link, content=content))
            return world_event(Kind.DISK)

        self.disk.store(content_hash, data, done)

    def settle(self) -> None:
        """All that is under way ends well."""
        self.write()
        while self.receiving:
            self.receive(0)
            self.write()

    def refresh(self) -> None:
        """The turn that looks at what expired."""
        self.play(TimerFired(timer=RefreshDue()))

    def wait(self, seconds: int) -> None:
        """Time passes."""
        self._now = later(self._now, Duration(seconds * 1_000))

    def step_clock(self, seconds: int) -> None:
        """The wall clock alone moves."""
        self._clock_step += seconds

    def link(self, name: str, claims: bytes) -> LinkId:
        """A peer links and shows all its claims; the link there is, if there is one."""
        for link, node_id in self.links.items():
            if node_id == name:
                return link
        self._links_made += 1
        link = LinkId(self._links_made)
        self.links[link] = NodeId(name)
        self.play(PeerConnected(link=link, identity=identity_of(name), is_dialer=True))
        self.hear(link, _hello(name, claims))
        self.write()
        self.hear(link, Welcome(protocol=1, features=0))
        return link

    def lose(self, place: int) -> None:
        """A link breaks."""
        if self.links:
            link = list(self.links)[place % len(self.links)]
            self.play(self._lost(link, LostReason.RESET))

    def hear(self, link: LinkId, message: Message, stream: int = 0) -> None:
        """A message comes, if the link is still there."""
        if link in self.links:
            self.play(MessageReceived(link=link, stream=stream, message=message))


def identity_of(name: str) -> NodeIdentity:
    """Who stands at the other end, and which CA said so."""
    issuer = ISSUERS.get(name, factory.NODE_CA)
    shown = identity(name)
    return NodeIdentity(
        node_id=shown.node_id,
        certificate_hash=shown.certificate_hash,
        expires_at=UnixTime(factory.NOW + 30 * factory.DAY),
        issuer_hash=certificate_hash_of(issuer.certificate),
    )


def _hello(name: str, claims: bytes) -> Hello:
    return Hello(
        protocol_min=1,
        protocol_max=1,
        features=0,
        boot_id=boot_id(name),
        claims=claims,
        openings=PEERS[name],
        bundle_version=factory.BUNDLE.bundle_version,
        revocation_version=0,
        epoch=factory.BUNDLE.authority_epoch,
    )
