"""The story: one node told one event at a time, and what it wants done about it.

Real trust throughout: keys, bundle, claims and manifests of `tests/trust/factory.py`, the real gate
and the real verifier. Every event ends with `check()`, so each story proves the invariants too.

`then` states all effects in order; timers and records, which accompany almost everything, are asked
for by `timers` and `facts`.
"""

from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from typing import Final, TypeVar

from fabgossip.core.config import NodeConfig
from fabgossip.core.counting import SETTLED
from fabgossip.core.effects import (
    Effect,
    Fact,
    Materialize,
    Persist,
    ReceiveContent,
    Record,
    Send,
    SetTimer,
)
from fabgossip.core.events import (
    ContentStored,
    Event,
    LinkId,
    MessageReceived,
    PeerConnected,
    Persisted,
    Started,
    Timer,
    TimerFired,
)
from fabgossip.core.node import Node
from fabgossip.core.sets import set_id_of
from fabgossip.core.setup import NodeSetup, OwnIdentity
from fabgossip.model.artifact import ArtifactType, Order
from fabgossip.model.authority import NodeIdentity, Opening, RevocationList, TrustBundle
from fabgossip.model.ids import BootId, NodeId
from fabgossip.model.messages import (
    INLINE_BYTES_MAX,
    SPOKEN,
    Announce,
    Announced,
    Hello,
    Manifests,
    Message,
    Ping,
    Protocols,
    Range,
    RangeMode,
    Ranges,
    Roots,
    SaltId,
    Welcome,
)
from fabgossip.model.moment import Duration, Instant, Now, UnixTime, elapsed, later
from fabgossip.model.persistence import StoredHead
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.scope import Audience
from fabgossip.model.topology import Endpoint, Snapshot
from fabgossip.trust.bundle import PinnedTrust, bundle_from_pinned
from fabgossip.trust.identity import node_ca_hash
from fabgossip.trust.signatures import Ed25519Verifier, Verifier
from fabgossip.wire.contents import bundle_bytes, revocations_bytes, snapshot_bytes
from tests.core.artifacts import Artifact, sealed, stored_head
from tests.trust import factory

VERIFIER: Final = Ed25519Verifier()
NOTHING_STORED: Final = Started(trust=(), heads=(), floors=())
"""A state folder without a row, which has forgotten nothing: the story adds what makes it fresh."""
E = TypeVar("E", bound=Effect)


@cache
def pinned(bundle: TrustBundle = factory.BUNDLE) -> PinnedTrust:
    """The bundle as a node is enrolled with it."""
    envelope = factory.signed(factory.bundle_manifest(bundle))
    return bundle_from_pinned(envelope, bundle_bytes(bundle), VERIFIER)


@cache
def claims_of(
    name: str, openings: tuple[Opening, ...], roles: tuple[str, ...], state_generation: int = 0
) -> bytes:
    """Signed claims of a node."""
    statement = replace(
        factory.claims(openings),
        node_id=NodeId(name),
        roles=tuple(sorted(roles)),
        state_generation=state_generation,
    )
    return factory.signed_claims(statement)


def boot_id(name: str) -> BootId:
    """A process, by name."""
    return BootId(sha256(name.encode()).digest()[:16])


def identity(name: str) -> NodeIdentity:
    """Who stands at the other end of a link, as the certificate said."""
    return NodeIdentity(
        node_id=NodeId(name),
        certificate_hash=sha256(f"certificate of {name}".encode()).digest(),
        issuer_hash=node_ca_hash(factory.NODE_CA.der) or b"",
        expires_at=UnixTime(factory.NOW + factory.DAY),
    )


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Somebody at the other end: what it is entitled to, and how much of that it shows."""

    name: str
    holds: tuple[Opening, ...] = factory.OPENINGS
    shows: tuple[Opening, ...] = factory.OPENINGS
    roles: tuple[str, ...] = ("edge",)
    boot: str = "first"
    features: int = 0

    def hello(self) -> Hello:
        return Hello(
            protocol_min=1,
            protocol_max=1,
            features=self.features,
            boot_id=boot_id(f"{self.name} {self.boot}"),
            claims=claims_of(self.name, self.holds, self.roles),
            openings=self.shows,
            bundle_version=factory.BUNDLE.bundle_version,
            revocation_version=0,
            epoch=factory.BUNDLE.authority_epoch,
        )


@cache
def fresh_lane(name: str) -> tuple[StoredHead, ...]:
    """What a node that is in touch with its control plane holds: a list and its own snapshot, both
    issued a minute ago."""
    snapshot = snapshot_bytes(Snapshot(endpoints=(), degraded=DegradedPolicy(), settings=b""))
    lane = (
        (ArtifactType.REVOCATION_LIST, None, revocations_bytes(RevocationList())),
        (ArtifactType.CLUSTER_SNAPSHOT, f"snapshots/node/{name}", snapshot),
    )
    return tuple(
        stored_head(
            sealed(
                replace(
                    factory.manifest(kind, tail),
                    issued_at=UnixTime(factory.NOW - 60),
                    config_version=1,
                ),
                content,
            )
        )
        for kind, tail, content in lane
    )


class Story:
    """A node `n1` in the factory's cluster, and what befalls it."""

    def __init__(
        self,
        *,
        name: str = "n1",
        holds: tuple[Opening, ...] = factory.OPENINGS,
        roles: tuple[str, ...] = ("edge",),
        config: NodeConfig | None = None,
        bootstrap: tuple[Endpoint, ...] = (),
        started: Started = NOTHING_STORED,
        seed: int = 1,
        is_fresh: bool = True,
        verifier: Verifier = VERIFIER,
        state_generation: int = 0,
        protocols: Protocols = SPOKEN,
    ) -> None:
        if is_fresh:
            started = replace(
                started,
                heads=(*fresh_lane(name), *started.heads),
                memory=replace(
                    started.memory,
                    time_floor=factory.NOW,
                    revoked_epoch=factory.BUNDLE.authority_epoch,
                ),
            )
        own = OwnIdentity(
            node_id=NodeId(name),
            claims=claims_of(name, holds, roles, state_generation),
            openings=holds,
            pinned=pinned(),
            certificate=identity(name),
        )
        setup = NodeSetup(
            config=config or NodeConfig(),
            own=own,
            boot_id=boot_id(f"{name} first"),
            bootstrap=bootstrap,
            seed=seed,
            protocols=protocols,
        )
        self.node = Node(setup, verifier)
        self.now = Now(instant=Instant(0), unix=factory.NOW)
        self.effects: list[Effect] = []
        self._links = 0
        self._clock_step = 0
        self._timers: list[SetTimer] = []
        self.when(started)
        lane = {one.namespace for one in fresh_lane(name)} if is_fresh else set()
        self.effects = [
            one
            for one in self.effects
            if not isinstance(one, Materialize) or one.namespace not in lane
        ]

    def when(self, event: Event) -> "Story":
        """One event happens."""
        self.effects = self.node.handle(event, self.now)
        self.node.check()
        self._timers += self.find(SetTimer)
        return self

    def due(self, kind: type[Timer]) -> "Story":
        """The newest timer of a kind comes due, at its time."""
        newest = self._newest(kind)
        self.wait(elapsed(self.now.instant, newest.at))
        return self.when(TimerFired(timer=newest.timer))

    def newest(self, kind: type[Timer]) -> int:
        """Milliseconds until the newest timer of a kind comes due."""
        return elapsed(self.now.instant, self._newest(kind).at)

    def _newest(self, kind: type[Timer]) -> SetTimer:
        return [one for one in self._timers if isinstance(one.timer, kind)][-1]

    def wait(self, milliseconds: int) -> "Story":
        """Time passes; nothing happens by itself."""
        instant = later(self.now.instant, Duration(milliseconds))
        self.now = Now(
            instant=instant, unix=UnixTime(factory.NOW + instant // 1_000 + self._clock_step)
        )
        return self

    def step_clock(self, seconds: int) -> "Story":
        """The wall clock alone moves."""
        self._clock_step += seconds
        return self.wait(0)

    # What the world tells the node.

    def connect(self, name: str, *, is_dialer: bool = True) -> LinkId:
        """A link to a node passes TLS."""
        self._links += 1
        link = LinkId(self._links)
        self.when(PeerConnected(link=link, identity=identity(name), is_dialer=is_dialer))
        return link

    def hear(self, link: LinkId, message: Message, stream: int = 0) -> "Story":
        """A message comes over a link."""
        return self.when(MessageReceived(link=link, stream=stream, message=message))

    def link(self, peer: Peer | str, *, is_dialer: bool = True) -> LinkId:
        """A link to a peer opens."""
        peer = Peer(name=peer) if isinstance(peer, str) else peer
        link = self.connect(peer.name, is_dialer=is_dialer)
        self.hear(link, peer.hello())
        effects = self.effects
        if self.find(Persist):
            # Claims never seen before count once that is durable.
            self.persisted()
            effects = [*(one for one in effects if not isinstance(one, Persist)), *self.effects]
        self.hear(link, Welcome(protocol=1, features=0))
        self.effects = effects + self.effects
        return link

    def announce(self, artifact: Artifact, link: LinkId, hops: int = 0) -> "Story":
        """A peer announces an artifact, without its content."""
        return self.hear(link, Announce(entries=(Announced(artifact.envelope, hops),)))

    def persisted(self, *, ok: bool = True) -> "Story":
        """The disk says of the last change that it is durable."""
        return self.when(Persisted(token=self.only(Persist).token, ok=ok))

    def stored(self, artifact: Artifact, link: LinkId | None) -> "Story":
        """The content of an artifact is here and durable."""
        is_small = artifact.manifest.content_size <= INLINE_BYTES_MAX
        content = artifact.content if artifact.is_read or is_small else None
        return self.when(ContentStored(wanted=artifact.wanted, link=link, content=content))

    def materialized(self) -> "Story":
        """The local state was switched."""
        return self.when(Persisted(token=self.only(Materialize).token, ok=True))

    def accept(self, artifact: Artifact, link: LinkId) -> "Story":
        """The whole way of an artifact, from a peer's announcement to the local state."""
        self.announce(artifact, link).persisted()
        if artifact.manifest.tombstone is not None:
            return self
        if self.find(ReceiveContent):
            self.stored(artifact, link)
        if self.find(Materialize):
            effects = self.effects
            self.materialized()
            self.effects = effects + self.effects
        return self

    # What the node wants.

    def then(self, *expected: Effect) -> None:
        """These effects, all of them, in this order; timers and records apart."""
        assert [one for one in self.effects if not isinstance(one, SetTimer | Record)] == list(
            expected
        )

    def find(self, kind: type[E]) -> list[E]:
        """All effects of a kind."""
        return [one for one in self.effects if isinstance(one, kind)]

    def only(self, kind: type[E]) -> E:
        """The one effect of a kind."""
        (found,) = self.find(kind)
        return found

    def sent(self, link: LinkId) -> list[Message]:
        """The messages for a link, in order."""
        return [one.message for one in self.find(Send) if one.link == link]

    def timers(self) -> list[Timer]:
        """The timers asked for."""
        return [one.timer for one in self.find(SetTimer)]

    def at(self, timer: Timer) -> int:
        """When the last timer equal to this one is to come due, from now."""
        return [one.at for one in self.find(SetTimer) if one.timer == timer][-1] - self.now.instant

    def facts(self) -> list[Fact]:
        """What was recorded."""
        return [one.fact for one in self.find(Record)]

    # What became of the world.

    @property
    def trusted(self) -> dict[str, tuple[Order, str]]:
        """Every head by the tail of its namespace: order and state. The list and the snapshot
        every story starts with are left out."""
        return {
            head.manifest.namespace.text.removeprefix(f"{factory.PREFIX}/"): (
                head.manifest.order,
                "disputed" if head.is_disputed else head.state.value,
            )
            for head in self.node.view.heads_after("", 1_000)
            if head.source != "disk" or head.manifest.config_version != 1
        }


SALT: Final = SaltId(factory.BUNDLE.bundle_version, factory.NOW // 86_400)
"""Under which every story compares."""


def roots_told(story: Story, link: LinkId) -> set[Audience]:
    """The audiences of the sets a peer is told of when its own are others, and no news is under
    way."""
    story.wait(SETTLED)
    story.hear(link, Ping(sequence=1, salt=SALT, link_root=b"another!"))
    told = [one for one in story.sent(link) if isinstance(one, Roots)]
    return {entry.audience for one in told for entry in one.entries}


def handed_over(story: Story, link: LinkId, audience: Audience) -> set[bytes]:
    """The envelopes a peer is given that says it has nothing of an audience."""
    nothing = (Range(upper=None, mode=RangeMode.IDS),)
    ranges = Ranges(set_id=set_id_of(audience), salt=SALT, step=0, more=False, ranges=nothing)
    story.hear(link, ranges)
    found = [one for one in story.sent(link) if isinstance(one, Manifests)]
    return {envelope for one in found for envelope in one.envelopes}


def announcement(artifact: Artifact, hops: int = 1, *, inline: bool = True) -> Announce:
    """What a node says of one artifact, with its content if that is known, small, and news."""
    is_news = hops > 0 and artifact.manifest.tombstone is None
    content = artifact.content if inline and is_news else None
    return Announce(entries=(Announced(artifact.envelope, hops, content),))
