"""Links from TLS to open: hello, welcome, and what each peer has shown of itself.

Decides: when a link is open, which protocol it speaks, which of two links to one node stays.
Keeps: nothing but hello, welcome and goodbye passes before a link is open; what a peer may know
rests on what it showed on this link alone.
Must not know: what is told over an open link.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from fabgossip.core.allowance import Allowance
from fabgossip.core.events import LinkId
from fabgossip.core.sets import Reach, set_id_of
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import NodeIdentity, Opening, VerifiedClaims
from fabgossip.model.ids import BootId, NodeId
from fabgossip.model.messages import ByeReason, Hello, Holdings, Protocols, Welcome
from fabgossip.model.moment import Duration, Instant, elapsed
from fabgossip.model.scope import Audience

CROSSING: Final = Duration(15_000)
"""Dials that cross each other are made within this: a dial may take 3 s, a handshake and a hello
5 s each (*start*)."""
NAMED_MAX: Final = 1_024
"""Audiences a peer is remembered to have named (*start*); beyond, the oldest is named again."""

TOLD_MAX: Final = 65_536
"""Audiences of which a peer may tell the roots at once (*start*); beyond, it hears of none that it
did not name."""

ENDED_MAX: Final = 1_024
"""Ended links whose peer is remembered (*start*): what came over them is durable long before."""

EARLY_HOLDINGS_MAX: Final = 8
"""Messages about holdings that wait until a peer's claims and our own can judge them, 16 KiB each
(*start*); of more, none."""
CLAIMS_EVERY_MS: Final = 10_000
CLAIMS_BURST: Final = 6
"""Half of what a peer lets pass (`RATES`), so that none is lost to the ways between (*start*)."""


@dataclass(slots=True, eq=False)
class Session:
    """One link and what is known of the peer on it."""

    link: LinkId
    identity: NodeIdentity
    is_dialer: bool
    since: Instant
    life: Duration
    """How long the link may last."""
    hello: Hello | None = None
    claims: VerifiedClaims | None = None
    """In force: what the peer may know rests on these."""
    offered: VerifiedClaims | None = None
    """Verified, and not in force: waits for the disk, or for a mode that lets us take them up."""
    claims_envelope: bytes = b""
    openings: tuple[Opening, ...] = ()
    """What the peer has shown so far."""
    shown: frozenset[bytes] = frozenset()
    """Salts of the openings we have shown the peer."""
    shown_claims: bytes = b""
    """The claims we have shown it."""
    claims_pace: Allowance = field(default_factory=lambda: Allowance(CLAIMS_EVERY_MS, CLAIMS_BURST))
    """How often it is shown others, or more of them, on this link."""
    is_parting: bool = False
    """The peer lost its trust: it is served the list that says so, and nothing else, until the
    link ends in a moment."""
    is_ended: bool = False
    """Goodbye was said: what comes until the link is lost opens nothing."""
    bye: ByeReason | None = None
    """Why the peer ended it, in its own word."""
    is_refused: bool = False
    """Whether the claims shown last are not good, as far as we know."""
    protocol: int | None = None
    """The version both ends speak, once the peer said hello."""
    welcome: Welcome | None = None
    is_open: bool = False
    holdings_sequence: int = 0
    ask_trust_at: Instant = field(default_factory=lambda: Instant(0))
    """When trust may be asked for again because something was refused for want of it."""
    questions: int = 0
    """Questions for heads whose answers are waited for, so far; each has its number."""
    asked_after: str = ""
    """The namespace near its refresh time the peer was asked for last."""
    tell_trust_at: Instant = field(default_factory=lambda: Instant(0))
    """When the peer may be told of our trust again because its own is older."""
    asked_day: int | None = None
    """Under which day the peer asked last, since our own clock is not to be trusted."""
    reaches: dict[Audience, Reach] = field(default_factory=dict)
    """What of each audience is compared with the peer, as long as what that rests on stays."""
    reach_rests_on: tuple[object, ...] = ()
    told_types: frozenset[ArtifactType] = frozenset()
    """Of these the mode lets us tell."""
    link_root: tuple[tuple[object, ...], bytes] = ((), b"")
    """What stands for all sets shared on the link, and what that rests on."""
    is_behind: bool = False
    """Whether something the peer told was skipped: sets are held against its own."""
    named: dict[bytes, Audience] = field(default_factory=dict)
    """Shared audiences the peer told the roots of, by set id, at most `NAMED_MAX`: we may know of
    them from nobody else."""
    told: dict[Audience, None] | None = None
    """Of these the peer told the roots since it began to tell all of them; None while it does
    not."""

    early_holdings: list[Holdings] = field(default_factory=list)
    """What the peer said it holds before claims stood on both sides."""

    @property
    def node_id(self) -> NodeId:
        """Who is at the other end."""
        return self.identity.node_id

    def on_early_holdings(self, message: Holdings) -> None:
        """The peer said what it holds, and may not be believed yet."""
        if message.is_whole:
            self.early_holdings.clear()
        self.early_holdings.append(message)
        if len(self.early_holdings) > EARLY_HOLDINGS_MAX:
            self.early_holdings.clear()

    def on_named(self, audience: Audience) -> None:
        """The peer named a shared audience."""
        if self.told is not None:
            self.told[audience] = None
            if len(self.told) > TOLD_MAX:
                self.told = None
        self.named[set_id_of(audience)] = audience
        if len(self.named) > NAMED_MAX:
            del self.named[next(iter(self.named))]

    @property
    def is_standing(self) -> bool:
        """Whether the peer said hello on it and it was not given up since: one link of each
        node."""
        return self.hello is not None and not self.is_ended

    @property
    def is_talking(self) -> bool:
        """Whether it is open, to a peer that has its trust, and goodbye was not said: over any
        other no timer says anything."""
        return self.is_open and not (self.is_parting or self.is_ended)

    @property
    def is_agreed(self) -> bool:
        """Whether both ends said hello, and named one version in their welcome."""
        return self.welcome is not None and self.welcome.protocol == self.protocol

    @property
    def boot_id(self) -> BootId | None:
        """The peer's process, once it said hello."""
        return None if self.hello is None else self.hello.boot_id


def shared_protocol(spoken: Protocols, hello: Hello, protocol_min: int) -> int | None:
    """The highest version both ends speak; None if there is none, or the trust bundle, which names
    `protocol_min`, no longer allows it."""
    highest = min(spoken.highest, hello.protocol_max)
    return highest if highest >= max(spoken.lowest, hello.protocol_min, protocol_min) else None


class Sessions:
    """All links of a node."""

    __slots__ = ("_by_link", "_by_node", "_ended", "own_id", "spoken")

    def __init__(self, own_id: NodeId, spoken: Protocols) -> None:
        self.own_id = own_id
        self.spoken = spoken
        self._by_link: dict[LinkId, Session] = {}
        self._by_node: dict[NodeId, list[Session]] = {}
        """All links to a node, oldest first."""
        self._ended: OrderedDict[LinkId, NodeId] = OrderedDict()

    def on_connected(self, session: Session) -> None:
        """A link passed TLS."""
        self._by_link[session.link] = session
        self._by_node.setdefault(session.node_id, []).append(session)

    def on_lost(self, link: LinkId) -> Session | None:
        """A link ended."""
        session = self._by_link.pop(link, None)
        if session is not None:
            others = self._by_node[session.node_id]
            others.remove(session)
            if not others:
                del self._by_node[session.node_id]
            self._ended[link] = session.node_id
            if len(self._ended) > ENDED_MAX:
                self._ended.popitem(last=False)
        return session

    def peer_of(self, link: LinkId) -> NodeId | None:
        """The node at the other end of a link, also of one that ended not long ago: what came over
        it may still be on its way to the disk."""
        session = self._by_link.get(link)
        return self._ended.get(link) if session is None else session.node_id

    def find(self, link: LinkId) -> Session | None:
        """The session of a link."""
        return self._by_link.get(link)

    def of(self, link: LinkId) -> Session:
        """The session of a link there is."""
        return self._by_link[link]

    def open_sessions(self) -> tuple[Session, ...]:
        """All open links to peers that have their trust, oldest first."""
        return tuple(one for one in self._by_link.values() if one.is_open and not one.is_parting)

    def all_sessions(self) -> tuple[Session, ...]:
        """All links, oldest first."""
        return tuple(self._by_link.values())

    def rival_of(self, fresh: Session) -> tuple[Session, Session] | None:
        """Of `fresh`, which just said hello, and the other link to the same node that did and was
        not given up: the one that stays and the one to give up. None if there is no other.

        Another process at the other end: the older link is dead. So it is where it was made long
        before: nobody dials whom it is linked to. Else these are crossing dials of one process: the
        link dialled by the smaller node id stays. A link that has said nothing yet is
        judged when it does, so both ends give up the same one whatever arrives first.
        """
        other = next(
            (
                one
                for one in self._by_node.get(fresh.node_id, ())
                if one is not fresh and one.is_standing
            ),
            None,
        )
        if other is None:
            return None
        if other.boot_id != fresh.boot_id or other.is_dialer == fresh.is_dialer:
            return fresh, other
        if elapsed(other.since, fresh.since) > CROSSING:
            return fresh, other
        smaller_dialed = fresh.is_dialer == (self.own_id < fresh.node_id)
        return (fresh, other) if smaller_dialed else (other, fresh)

    def check(self) -> None:
        """Assert that an open link has passed both halves of the hello, that both ends speak the
        same, and that to no node there are two."""
        for one in self._by_link.values():
            assert not one.is_open or one.is_agreed
        assert sum(map(len, self._by_node.values())) == len(self._by_link)
        standing = [one.node_id for one in self._by_link.values() if one.is_standing]
        assert len(standing) == len(set(standing))
