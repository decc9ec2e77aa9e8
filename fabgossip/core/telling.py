"""News of artifacts on its way out: whole on the links of the tree, as a prefix on the others.

Decides: nothing `Trees` and `Batching` do not decide.
Keeps: an artifact goes only to peers that may know it, and never back where it came from; what
restricts waits for nobody; what is not news any more is never pushed.
Must not know: how an artifact came here.
"""

from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from typing import TypeAlias

from fabgossip.core.batching import Batching, Departure
from fabgossip.core.catalog import prefix_of
from fabgossip.core.config import DisseminationConfig, HoldingsConfig
from fabgossip.core.disclosure import HOPS_MAX, Disclosure, traffic_of
from fabgossip.core.effects import Effect, SetTimer
from fabgossip.core.events import AnnounceDue, HaveDue, LinkId
from fabgossip.core.hastening import Hastening
from fabgossip.core.neighbors import Neighbors
from fabgossip.core.sessions import Session, Sessions
from fabgossip.core.trees import Trees
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.messages import (
    ANNOUNCE_ENTRIES_MAX,
    HAVE_PREFIXES_MAX,
    MANIFESTS_BYTES_MAX,
    Announce,
    Announced,
    Have,
    Prune,
    TrafficClass,
)
from fabgossip.model.moment import Duration, Now
from fabgossip.model.scope import Audience
from fabgossip.trust.authorization import may_disclose

_URGENT = (TrafficClass.TRUST, TrafficClass.TOMBSTONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Untold:
    """What is to be told once it is durable, and how it came here."""

    hops: int
    origin: LinkId | None
    content: bytes | None = None
    """If it is small and known."""
    is_late: bool = False
    """Whether it was learned by comparing, so that everybody else may have it by now."""
    is_overdue: bool = False
    """Whether it waited long enough for what is to be told before it."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One announcement for one link."""

    announced: Announced
    traffic: TrafficClass
    audience: Audience | None


_News: TypeAlias = tuple[Audience, bytes, bool]
"""A prefix of an audience, and whether it is late."""


class Telling:
    """Tells neighbours of what exists."""

    __slots__ = (
        "_announcing", "_disclosure", "_haves", "_neighbors", "_out", "_sessions", "hastening",
        "held", "trees",
    )  # fmt: skip

    def __init__(
        self,
        config: DisseminationConfig,
        holdings: HoldingsConfig,
        disclosure: Disclosure,
        sessions: Sessions,
        neighbors: Neighbors,
        out: list[Effect],
    ) -> None:
        self._disclosure = disclosure
        self._sessions = sessions
        self._neighbors = neighbors
        self._out = out
        self.trees = Trees(config)
        self.hastening = Hastening(config)
        self._announcing: Batching[_Entry] = Batching(Duration(config.batch_ms))
        self._haves: Batching[_News] = Batching(Duration(config.have_ms))
        self.held: Batching[VerifiedManifest] = Batching(Duration(holdings.batch_ms))
        """What came to be held and a link was not told of."""

    def tell(self, verified: VerifiedManifest, untold: Untold, now: Now) -> None:
        """Tell every neighbour that may know it that this exists."""
        audience = verified.manifest.audience
        spanned = self._spanned(audience)
        self.trees.on_links(audience, spanned, self._lot)
        peers = [
            one
            for one in self._sessions.open_sessions()
            if self._is_told(one, verified, untold)
            and self._disclosure.may_know(one, verified, now)
        ]
        told = tuple(one.link for one in peers if one.link in spanned)
        eager = self.trees.eager(audience, told, untold.origin)
        for session in peers:
            # Whoever hears of it otherwise, or brought it, needs no older version from here.
            self._announcing.drop(session.link, _name_of(verified))
            if session.link == untold.origin:
                continue
            if session.link not in spanned:
                # Guests, and what a certificate alone entitles to: no tree spans these peers.
                known = audience if may_disclose(session.claims, audience) else None
                self._announce(session, verified, untold, known, now)
            elif self._is_pushed(session, verified, untold, eager):
                self._announce(session, verified, untold, audience, now)
            else:
                news = (audience, prefix_of(verified.manifest_hash), untold.is_late)
                self._tell_news(session, news, now)

    def on_newer(self, verified: VerifiedManifest) -> None:
        """A newer version is durable, and not to be told of yet."""
        for session in self._sessions.open_sessions():
            self._announcing.drop(session.link, _name_of(verified))

    def _spanned(self, audience: Audience) -> tuple[LinkId, ...]:
        """The links to neighbours that may know an audience."""
        return tuple(
            one.link
            for one in self._sessions.open_sessions()
            if self._neighbors.is_neighbor(one.link) and may_disclose(one.claims, audience)
        )

    def _lot(self, link: LinkId) -> bytes:
        pair = f"{self._sessions.own_id}/{self._sessions.of(link).node_id}"
        return blake2b(pair.encode("ascii"), digest_size=8).digest()

    def _is_told(self, session: Session, verified: VerifiedManifest, untold: Untold) -> bool:
        """Neighbours hear of everything, guests of what restricts. A thin node tells only what
        nobody told it."""
        if self._neighbors.is_thin and untold.origin is not None:
            return False
        is_trust = traffic_of(verified) is TrafficClass.TRUST
        return is_trust or self._neighbors.is_neighbor(session.link)

    @staticmethod
    def _is_pushed(
        session: Session, verified: VerifiedManifest, untold: Untold, eager: tuple[LinkId, ...]
    ) -> bool:
        is_urgent = traffic_of(verified) in _URGENT
        return session.link in eager and (is_urgent or not untold.is_late)

    def _announce(
        self,
        session: Session,
        verified: VerifiedManifest,
        untold: Untold,
        audience: Audience | None,
        now: Now,
    ) -> None:
        content = untold.content
        if content is not None and audience is not None:
            fits = len(content) <= self.trees.inline_max(audience, session.link)
            content = content if fits else None
        announced = Announced(verified.envelope, min(untold.hops, HOPS_MAX), content)
        entry = _Entry(announced, traffic_of(verified), audience)
        if audience is not None:
            self.trees.on_announced(audience, session.link)
        if entry.traffic in _URGENT:
            self._send_announcements(session, (entry,))
            return
        leaves = self._announcing.first_at_once(
            (session.link, audience), _name_of(verified), entry, now.instant
        )
        self._on_announcements(session, leaves)

    def _on_announcements(self, session: Session, leaves: Departure[_Entry]) -> None:
        if leaves.timer_at is not None:
            self._out.append(SetTimer(timer=AnnounceDue(), at=leaves.timer_at))
        self._send_announcements(session, leaves.entries)

    def _send_announcements(self, session: Session, entries: tuple[_Entry, ...]) -> None:
        for (traffic, audience), run in groupby(
            entries, key=lambda one: (one.traffic, one.audience)
        ):
            for frame in _frames([one.announced for one in run]):
                message = Announce(entries=frame)
                self._disclosure.send(session.link, message, traffic, audience=audience)

    def _tell_news(self, session: Session, news: _News, now: Now) -> None:
        leaves = self._haves.all_wait((session.link, news[0]), news[1], news, now.instant)
        self._on_news(session, leaves)

    def _on_news(self, session: Session, leaves: Departure[_News]) -> None:
        if leaves.timer_at is not None:
            self._out.append(SetTimer(timer=HaveDue(), at=leaves.timer_at))
        by_audience: dict[tuple[Audience, bool], list[bytes]] = {}
        for audience, prefix, is_late in leaves.entries:
            by_audience.setdefault((audience, is_late), []).append(prefix)
        for (audience, is_late), prefixes in by_audience.items():
            for start in range(0, len(prefixes), HAVE_PREFIXES_MAX):
                run = tuple(sorted(prefixes[start : start + HAVE_PREFIXES_MAX]))
                have = Have(audience=audience, prefixes=run, is_late=is_late)
                self._disclosure.send(session.link, have, TrafficClass.SNAPSHOT, audience=audience)

    def on_announce_due(self, now: Now) -> None:
        """Windows of announcements end."""
        for link, leaves in self._announcing.on_due(now.instant):
            self._on_announcements(self._sessions.of(link), leaves)

    def on_have_due(self, now: Now) -> None:
        """News was gathered long enough."""
        for link, leaves in self._haves.on_due(now.instant):
            self._on_news(self._sessions.of(link), leaves)

    def on_peer_has(self, link: LinkId, prefix: bytes) -> None:
        """The peer told us of something itself: it needs no news of it."""
        self._haves.drop(link, prefix)

    def on_duplicate(self, session: Session, audience: Audience, now: Now) -> None:
        """A link brought what another one had brought before."""
        self.hastening.on_duplicate(audience, session.link, now.instant)
        if self.trees.on_duplicate(audience, session.link, now.instant):
            prune = Prune(audience=audience)
            self._disclosure.send(session.link, prune, TrafficClass.SNAPSHOT, audience=audience)

    def on_slow(self, link: LinkId) -> None:
        """A link does not take what is sent, or has ended since that was seen."""
        if self._sessions.find(link) is not None:
            self.trees.on_doubtful(link)

    def on_lost(self, link: LinkId) -> None:
        """A link ended, or its peer may know less than before."""
        self.trees.on_lost(link)
        self.hastening.on_lost(link)
        self._announcing.on_lost(link)
        self._haves.on_lost(link)
        self.held.on_lost(link)

    def check(self) -> None:
        """Assert the limits of its machines, and that no tree knows a link that ended."""
        assert all(self._sessions.find(link) is not None for link in self.trees.links())
        for machine in (self.trees, self.hastening, self._announcing, self._haves, self.held):
            machine.check()


def _name_of(verified: VerifiedManifest) -> bytes:
    """Of what one waits for the other's place; a snapshot and the increment to it are two things to
    tell."""
    mark = b"" if verified.manifest.base is None else b" "
    return mark + verified.manifest.namespace.text.encode("ascii")


def _frames(announced: list[Announced]) -> list[tuple[Announced, ...]]:
    """Runs that fit a frame."""
    frames: list[tuple[Announced, ...]] = []
    run: list[Announced] = []
    size = 0
    for one in announced:
        cost = len(one.envelope) + len(one.content or b"")
        if run and (len(run) == ANNOUNCE_ENTRIES_MAX or size + cost > MANIFESTS_BYTES_MAX):
            frames.append(tuple(run))
            run, size = [], 0
        run.append(one)
        size += cost
    return [*frames, tuple(run)] if run else frames
