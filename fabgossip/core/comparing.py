"""Sets held against those of peers: what a link shares, what is said of it.

Decides: nothing its machines do not decide.
Keeps: of an audience that is not shared nothing is compared and nothing answered, as if it did not
exist; what news is bringing is not brought by a comparison as well; what one link hears of sets
depends on that link and the audiences shared on it alone.
Must not know: how an envelope is judged, how a link opens.

Two nodes share of an audience what both may hold by what each showed on this link, as far as the
roles of both may know of it and the mode lets this node tell of it.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

from fabgossip.core.counting import Counting
from fabgossip.core.disclosure import traffic_of
from fabgossip.core.effects import SetTimer
from fabgossip.core.events import ComparisonDue, LinkId, Unsent
from fabgossip.core.machines import Machines
from fabgossip.core.ordered import FingerprintSet
from fabgossip.core.salts import Salts
from fabgossip.core.sessions import Session
from fabgossip.core.sets import Reach, Salt, set_id_of
from fabgossip.model.artifact import TRUST_TYPES, VerifiedManifest
from fabgossip.model.messages import (
    LINK_ROOT_BYTES,
    MANIFESTS_BYTES_MAX,
    MANIFESTS_ENTRIES_MAX,
    ROOTS_ENTRIES_MAX,
    GetManifests,
    Ids,
    Manifests,
    Ping,
    Ranges,
    Roots,
    SaltId,
    SetRoot,
    TrafficClass,
)
from fabgossip.model.moment import Duration, Now, is_due, later
from fabgossip.model.scope import Audience, may_share
from fabgossip.trust.authorization import may_disclose

AHEAD_MANIFESTS: Final = 2_048
"""So many manifests of each audience get the next day's salt at each refresh of a day's last hour
(*start*)."""
TELL_TRUST_EVERY: Final = Duration(5_000)
"""A peer at another bundle is told of ours, or asked for its own, no more often (*start*)."""
_LINK_ROOT: Final = b"fabgossip link"


class Comparing:
    """Tells roots, compares sets, asks for and gives what is lacking."""

    __slots__ = ("_bundle_version", "_counting", "_m", "_salts")

    def __init__(self, machines: Machines) -> None:
        self._m = machines
        self._counting = Counting(machines)
        self._salts = Salts(machines.beliefs)
        self._bundle_version = machines.beliefs.facts.bundle.bundle_version

    def settle(self, now: Now, *, is_news: bool) -> None:
        """What changed in the catalogue counts, or counts no more; of what was read from the own
        disk no news is under way."""
        self._counting.settle(now, is_news=is_news)
        version = self._m.beliefs.facts.bundle.bundle_version
        if version != self._bundle_version:
            self._bundle_version = version
            self._on_own_bundle(now)

    def _on_own_bundle(self, now: Now) -> None:
        """Other salts are good now: what was under way under the old ones has no answer any more,
        and all that may still differ is found under the new one."""
        for session in self._m.sessions.open_sessions():
            self._m.reconciliation.on_other_salts(session.link)
            self.look(session, now)

    def on_refresh(self, now: Now) -> None:
        """Sets of the day to come are made ahead of it, those of days gone by are dropped; peers of
        whose word something was skipped are compared with."""
        ids, coming = self._salts.good_ids(now), self._salts.coming(now)
        self._m.sets.keep_salts(ids if coming is None else (*ids, coming))
        if coming is not None:
            self._m.sets.build_ahead(self._salts.made(coming), AHEAD_MANIFESTS)
        for session in self._m.sessions.open_sessions():
            if session.is_behind and session.claims is not None:
                session.is_behind = False
                self.look(session, now)

    # What is shared.

    def _shared(
        self, session: Session, salt: Salt, now: Now
    ) -> Iterator[tuple[Audience, FingerprintSet]]:
        """The sets shared on a link that are not empty, in the order of their ids."""
        self._m.disclosure.look_at_reaches(session, now)
        for audience in self._m.sets.audiences():
            reach = self._m.disclosure.known_reach(session, audience)
            if reach:
                own = self._m.sets.view(audience, reach, salt)
                if len(own):
                    yield audience, own

    def _own(
        self, session: Session, audience: Audience, salt_id: SaltId, now: Now
    ) -> FingerprintSet | None:
        """Our set of an audience as a peer may know it; None where its salt is not ours."""
        salt = self._salts.salt(salt_id, now)
        if salt is None:
            return None
        reach: Reach = self._m.disclosure.reach(session, audience, now)
        return self._m.sets.view(audience, reach, salt)

    def _audience_of(self, session: Session, set_id: bytes, now: Now) -> Audience | None:
        """The audience of a set id, if it is shared; one that is not, and one that does not exist,
        cost the asker the same and get no answer."""
        audience = self._m.sets.audience_of(set_id) or session.named.get(set_id)
        if audience is None or not self._is_shared(session, audience):
            if session.claims is not None and self._m.beliefs.facts.own.scope_ids:
                self._m.policing.on_probe(session, now.instant)
            return None
        return audience

    def _is_shared(self, session: Session, audience: Audience) -> bool:
        return may_disclose(session.claims, audience) and may_share(
            audience, self._m.beliefs.facts.own
        )

    # Roots.

    def look(self, session: Session, now: Now) -> None:
        """Hold roots against each other now, as more may be shared, or something was missed. A
        ping would not do: where one end has nothing, its link root stays as it was."""
        self._m.reconciliation.on_more_shared(session.link)
        if session.claims is not None:
            salt_id = self._salts.id_for(session, now)
            self._tell_roots(session, salt_id, self._entries(session, salt_id, now))

    def ping(self, session: Session, now: Now) -> None:
        """Ask for a sign of life, if we are the side that asks, or doubt that there is one."""
        sequence = self._m.neighbors.liveness.next_ping(session.link, now.instant)
        if sequence is None:
            return
        salt_id = self._salts.id_for(session, now)
        ping = Ping(
            sequence=sequence, salt=salt_id, link_root=self._link_root(session, salt_id, now)
        )
        self._m.disclosure.send(session.link, ping)

    def _link_root(self, session: Session, salt_id: SaltId, now: Now) -> bytes:
        """Asked for at every ping of every link, and the same until something changes."""
        reaches = self._m.disclosure.look_at_reaches(session, now)
        rests_on = (salt_id, self._m.sets.revision, reaches)
        if session.link_root[0] != rests_on:
            session.link_root = (rests_on, self._made_link_root(session, salt_id, now))
        return session.link_root[1]

    def _made_link_root(self, session: Session, salt_id: SaltId, now: Now) -> bytes:
        digest = blake2b(digest_size=LINK_ROOT_BYTES, person=_LINK_ROOT)
        salt = self._salts.made(salt_id)
        for audience, own in self._shared(session, salt, now):
            digest.update(audience.token + len(own).to_bytes(8, "big") + own.root())
        return digest.digest()

    def on_ping(self, session: Session, ping: Ping, now: Now) -> None:
        """A peer's sets stand beside ours."""
        if session.claims is None:
            return
        if self._salts.salt(ping.salt, now) is None:
            self._on_other_bundle(session, ping.salt.bundle_version, now)
            return
        session.asked_day = ping.salt.day if self._salts.is_suspect else None
        roots = (self._link_root(session, ping.salt, now), ping.link_root)
        if self._m.reconciliation.on_ping(session.link, roots, now.instant):
            self._tell_roots_settled(session, ping.salt, now)
        self._arm(session.link, now)

    def _on_other_bundle(self, session: Session, version: int, now: Now) -> None:
        """Under other bundles nothing can be compared: who is behind must catch up first."""
        own = self._m.beliefs.facts.bundle.bundle_version
        if version == own or not is_due(session.tell_trust_at, now.instant):
            return
        session.tell_trust_at = later(now.instant, TELL_TRUST_EVERY)
        if version < own:
            self._m.disclosure.trust_lane(session, now)
        else:
            self._m.disclosure.ask_heads(session, self._m.beliefs.lane_namespaces())

    def _tell_roots_settled(self, session: Session, salt_id: SaltId, now: Now) -> None:
        """Tell all roots, but those of sets about to change: each of these follows for itself."""
        entries = self._entries(session, salt_id, now)
        self._tell_roots(session, salt_id, self._settled(session, entries, now))

    def _settled(
        self, session: Session, entries: tuple[SetRoot, ...], now: Now
    ) -> tuple[SetRoot, ...]:
        """Without those of which news may be under way; they wait. Cost: O(sets that changed
        lately), at most `CHANGED_MAX`."""
        settling = set(self._counting.settling(session, now))
        machine, settled = self._m.reconciliation, []
        for one in entries:
            if one.audience in settling and machine.wait(session.link, one.audience, now.instant):
                continue
            machine.settled(session.link, one.audience)
            settled.append(one)
        return tuple(settled)

    def _tell_roots(self, session: Session, salt_id: SaltId, entries: tuple[SetRoot, ...]) -> None:
        starts = range(0, max(len(entries), 1), ROOTS_ENTRIES_MAX)
        for start in starts:
            run = entries[start : start + ROOTS_ENTRIES_MAX]
            self._m.disclosure.roots(
                session, salt_id, run, is_first=start == 0, is_last=start == starts[-1]
            )

    def _entries(self, session: Session, salt_id: SaltId, now: Now) -> tuple[SetRoot, ...]:
        salt = self._salts.made(salt_id)
        return tuple(
            SetRoot(audience, len(own), own.root())
            for audience, own in self._shared(session, salt, now)
        )

    def on_roots(self, session: Session, message: Roots, now: Now) -> None:
        """A peer told its roots: what differs is compared, trust first, then the smallest sets; of
        what it did not name it is told."""
        if session.claims is None or not self._m.beliefs.facts.own.scope_ids:
            session.is_behind = True
            return
        if self._salts.salt(message.salt, now) is None:
            self._on_other_bundle(session, message.salt.bundle_version, now)
            return
        if message.is_first:
            session.told = {}
        shared = []
        for one in message.entries:
            if not self._is_shared(session, one.audience):
                self._m.policing.on_probe(session, now.instant)
                continue
            session.on_named(one.audience)
            shared.append(one)
        self._start(session, message.salt, shared, now)
        if message.is_last:
            self._tell_unnamed(session, message.salt, now)
        self._arm(session.link, now)

    def _start(self, session: Session, salt_id: SaltId, told: list[SetRoot], now: Now) -> None:
        # Trust lies in the audience of the whole cluster.
        ranked = sorted(
            (len(one.audience.scope_ids) > 1, one.count, set_id_of(one.audience), at)
            for at, one in enumerate(told)
        )
        for _, _, set_id, at in ranked:
            self._compare(session, set_id, salt_id, told[at], now)

    def _compare(
        self, session: Session, set_id: bytes, salt_id: SaltId, their: SetRoot, now: Now
    ) -> None:
        own = self._own(session, their.audience, salt_id, now)
        if own is None:
            return
        if own.root() == their.root:
            self._m.reconciliation.settled(session.link, their.audience)
        elif not self._settled(session, (their,), now):
            return
        for ranges in self._m.reconciliation.on_root(
            session.link, set_id, salt_id, own, their, now.instant
        ):
            self._say(session, ranges, their.audience)

    def _go_on(self, session: Session, now: Now) -> None:
        """A comparison may have ended: the next begins."""
        while (waiting := self._m.reconciliation.next_waiting(session.link)) is not None:
            self._compare(session, *waiting, now)
        self._arm(session.link, now)

    def _tell_unnamed(self, session: Session, salt_id: SaltId, now: Now) -> None:
        """Sets of which the peer has nothing: it hears that they exist, and compares them."""
        named, session.told = session.told, None
        if named is None:
            return
        entries = self._entries(session, salt_id, now)
        unnamed = tuple(one for one in entries if one.audience not in named)
        self._tell_some(session, salt_id, self._settled(session, unnamed, now))

    def _tell_some(self, session: Session, salt_id: SaltId, entries: tuple[SetRoot, ...]) -> None:
        for start in range(0, len(entries), ROOTS_ENTRIES_MAX):
            self._m.disclosure.roots(session, salt_id, entries[start : start + ROOTS_ENTRIES_MAX])

    # Comparisons.

    def on_ranges(self, session: Session, message: Ranges, now: Now) -> None:
        """A step of comparing a set."""
        audience = self._audience_of(session, message.set_id, now)
        own = None if audience is None else self._own(session, audience, message.salt, now)
        if audience is None or own is None:
            return
        machine = self._m.reconciliation
        answers, compared = machine.on_ranges(
            session.link, message, own, now.instant, is_dialer=session.is_dialer
        )
        for ranges in answers:
            self._say(session, ranges, audience)
        looked_at = self._give(session, message, audience, compared.extra, now)
        self._m.policing.on_compared(session.link, compared.keys, looked_at, now.instant)
        asks = machine.on_lacking(
            session.link, message.set_id, message.salt, tuple(compared.lacking), now.instant
        )
        self._ask(session, asks, audience)
        machine.on_compared(session.link, message.set_id, now.instant)
        self._go_on(session, now)

    def _say(
        self, session: Session, message: Ranges | Ids | GetManifests, audience: Audience
    ) -> None:
        self._m.disclosure.send(session.link, message, TrafficClass.SNAPSHOT, audience=audience)

    def _ask(self, session: Session, asks: tuple[GetManifests, ...], audience: Audience) -> None:
        for ask in asks:
            self._m.policing.on_asked(session.link, len(ask.ids))
            # What waits may be of another set than what just came.
            about = self._m.sets.audience_of(ask.set_id) or session.named.get(ask.set_id, audience)
            self._say(session, ask, about)

    def _give(
        self, session: Session, message: Ranges, audience: Audience, extra: list[bytes], now: Now
    ) -> int:
        """The peer lacks these: some at once, trust first, then the newest; of the rest the ids,
        which are told of any range that is short. How many manifests were looked at for it: what
        the peer may know is asked for what goes out, and for no more than there is room for."""
        found = [
            (key, one) for key in extra if (one := self._m.sets.find(audience, key)) is not None
        ]
        found.sort(key=lambda row: row[1].manifest.artifact_type not in TRUST_TYPES)
        room, pushed = self._m.reconciliation.room_unasked(session.link, message.set_id), 0
        first: list[VerifiedManifest] = []
        rest: list[bytes] = []
        for key, one in found:
            if pushed + len(one.envelope) <= room:
                pushed += len(one.envelope)
                first.append(one)
            else:
                rest.append(key)
        self._m.reconciliation.on_pushed(session.link, message.set_id, pushed)
        given = [one for one in first if self._m.disclosure.may_know(session, one, now)]
        if given:
            self._send_manifests(session, message.set_id, given, 0)
        if rest:
            own = self._own(session, audience, message.salt, now)
            assert own is not None
            ids = tuple(own.id_of(key) for key in rest)
            self._say(session, Ids(set_id=message.set_id, salt=message.salt, ids=ids), audience)
        return len(first)

    def on_ids(self, session: Session, message: Ids, now: Now) -> None:
        """A peer has what we lack."""
        audience = self._audience_of(session, message.set_id, now)
        own = None if audience is None else self._own(session, audience, message.salt, now)
        if audience is None or own is None:
            return
        lacking = tuple(one for one in message.ids if own.find(one) is None)
        asks = self._m.reconciliation.on_lacking(
            session.link, message.set_id, message.salt, lacking, now.instant
        )
        self._ask(session, asks, audience)
        self._arm(session.link, now)

    def on_get_manifests(self, session: Session, message: GetManifests, now: Now) -> None:
        """A peer lacks what we have: what it may know of it; the rest simply lacks."""
        audience = self._audience_of(session, message.set_id, now)
        own = None if audience is None else self._own(session, audience, message.salt, now)
        if audience is None or own is None:
            return
        found = []
        for one in message.ids:
            key = own.find(one)
            verified = None if key is None else self._m.sets.find(audience, key)
            if verified is not None and self._m.disclosure.may_know(session, verified, now):
                found.append(verified)
        self._send_manifests(session, message.set_id, found, len(message.ids))

    def _send_manifests(
        self, session: Session, set_id: bytes, found: list[VerifiedManifest], asked: int
    ) -> None:
        """In frames of one class each; what is left of the ids asked for is settled by the last."""
        runs: dict[TrafficClass, list[list[bytes]]] = {}
        for one in found:
            frames = runs.setdefault(traffic_of(one), [[]])
            size = sum(len(envelope) + 3 for envelope in frames[-1])
            is_full = size + len(one.envelope) + 3 > MANIFESTS_BYTES_MAX
            if is_full or len(frames[-1]) == MANIFESTS_ENTRIES_MAX:
                frames.append([])
            frames[-1].append(one.envelope)
        rows = [(traffic, run) for traffic, frames in runs.items() for run in frames]
        rows = rows or [(TrafficClass.SNAPSHOT, [])]
        for index, (traffic, run) in enumerate(rows):
            settled = asked if index == len(rows) - 1 else min(asked, len(run))
            asked -= settled
            audience = found[0].manifest.audience if found else None
            message = Manifests(set_id=set_id, answered=settled, envelopes=tuple(run))
            self._m.disclosure.send(session.link, message, traffic, audience=audience)

    def on_manifests(self, session: Session, message: Manifests, now: Now) -> None:
        """Manifests came and were judged: the next are asked for."""
        audience = self._audience_of(session, message.set_id, now)
        if audience is None:
            return
        asks = self._m.reconciliation.on_manifests(session.link, message, now.instant)
        self._ask(session, asks, audience)
        self._go_on(session, now)

    # When it is looked at again.

    def on_unsent(self, event: Unsent, now: Now) -> None:
        """A full queue dropped a frame: roots find what it told, once the queue had time to
        drain."""
        if self._m.sessions.find(event.link) is not None:
            self._m.reconciliation.on_unsent(event.link, event.audience, now.instant)
            self._arm(event.link, now)

    def _arm(self, link: LinkId, now: Now) -> None:
        at = self._m.reconciliation.next_timer(link, now.instant)
        if at is not None:
            self._m.out.append(SetTimer(timer=ComparisonDue(link=link), at=at))

    def on_due(self, link: LinkId, now: Now) -> None:
        """A link's turn came."""
        session = self._m.sessions.find(link)
        owed = self._m.reconciliation.on_due(link, now.instant)
        if session is None or not session.is_talking:
            return
        salt_id = self._salts.id_for(session, now)
        for ask in owed.asks:
            about = self._m.sets.audience_of(ask.set_id) or session.named.get(ask.set_id)
            if about is not None:
                self._ask(session, (ask,), about)
        if owed.all_roots:
            self._tell_roots_settled(session, salt_id, now)
        entries = []
        for audience in owed.audiences:
            own = self._own(session, audience, salt_id, now)
            if own is not None:
                entries.append(SetRoot(audience, len(own), own.root()))
        self._tell_some(session, salt_id, self._settled(session, tuple(entries), now))
        if owed.holdings:
            # Whatever it was that was dropped: of holdings nothing stands until they come whole.
            self._m.disclosure.whole_holdings(session, now)
        self._go_on(session, now)

    def check(self) -> None:
        """Assert that what counts is what the catalogue says."""
        self._counting.check()
