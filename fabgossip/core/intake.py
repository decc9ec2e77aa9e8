"""What comes in: envelopes judged, made durable, their content wanted, read and applied.

Decides: what follows from an admitted manifest and from a content that is here.
Keeps: durable before told, told before forgotten; nothing read before its hash matched; a
restriction needs no wait.
Must not know: sockets, what a peer may know (it asks `Disclosure`).

A node tells others of an artifact once it can serve it, or at once where it does not want the
content itself: so the first neighbour to be asked has it. Trust, tombstones and stuck contents are
told at once.
"""

from dataclasses import dataclass, field
from typing import Final

from fabgossip.core.beliefs import Beliefs
from fabgossip.core.catalog import (
    GONE_STATES,
    HOLDING_STATES,
    Catalog,
    Head,
    HeadState,
    prefix_of,
)
from fabgossip.core.disclosure import Disclosure, traffic_of
from fabgossip.core.dissemination import Dissemination
from fabgossip.core.effects import (
    Effect,
    Fact,
    Materialize,
    Persist,
    ReceiveContent,
    Record,
    Remove,
)
from fabgossip.core.events import LinkId, RequestId, Started, Token
from fabgossip.core.fetching import Fetching, Want, wanted_from
from fabgossip.core.neighbors import Neighbors
from fabgossip.core.placement import Placement
from fabgossip.model.artifact import (
    NO_ORDER,
    TRUST_TYPES,
    TYPE_RULES,
    ArtifactType,
    VerifiedManifest,
)
from fabgossip.model.authority import RevocationList, TrustBundle
from fabgossip.model.ids import ContentHash, ManifestHash
from fabgossip.model.moment import Now
from fabgossip.model.persistence import PutHead, PutIncrement, PutRevoked, PutTrust, StoredHead
from fabgossip.model.scope import Namespace, matches
from fabgossip.model.topology import PeerDirectory, Snapshot, StorageDirectory
from fabgossip.trust.gate import ANYTHING, Line, ReadContent
from fabgossip.trust.rejections import Rejection, Retry

STAGED_TYPES: Final = frozenset({ArtifactType.UPDATE_MANIFEST})
"""Never activated by the daemon itself: what they do is for their consumer to start."""


@dataclass(slots=True)
class _Pending:
    """Where a manifest on its way to the disk came from."""

    manifest_hash: ManifestHash
    origin: LinkId | None
    request: RequestId | None
    hops: int


@dataclass(slots=True)
class Machines:
    """The machines intake works on; they meet here and in the node."""

    beliefs: Beliefs
    catalog: Catalog
    dissemination: Dissemination
    fetching: Fetching
    neighbors: Neighbors
    placement: Placement
    disclosure: Disclosure
    out: list[Effect] = field(default_factory=list)


class Intake:
    """Everything between an envelope and a materialised file."""

    __slots__ = (
        "_held",
        "_m",
        "_materializing",
        "_next_token",
        "_pending",
        "_unadvertised",
        "_unpersisted",
        "_untold",
        "facts_changed",
        "failed_requests",
    )

    def __init__(self, machines: Machines) -> None:
        self._m = machines
        self._next_token = 0
        self._pending: dict[Token, _Pending] = {}
        self._materializing: dict[Token, tuple[str, VerifiedManifest]] = {}
        self._held: set[ContentHash] = set()
        self._untold: dict[bytes, tuple[int, LinkId | None]] = {}
        """Prefixes of durable manifests not announced yet: hops and origin."""
        self._unadvertised: list[VerifiedManifest] = []
        self._unpersisted: list[tuple[VerifiedManifest, _Pending]] = []
        self.failed_requests: list[tuple[RequestId, str]] = []
        """Local requests that cannot be answered any more, and why; the node clears it."""
        self.facts_changed = False
        """Whether links must be judged again; the node clears it."""

    def _token(self) -> Token:
        self._next_token += 1
        return Token(self._next_token)

    def on_started(self, started: Started, now: Now) -> None:
        """Recall what the disk holds: trust first, then revocations, then the rest."""
        m = self._m
        refused = m.beliefs.on_started(started.trust, started.revoked, now)
        if refused is not None:
            self._record(Fact.ARTIFACT_REJECTED, refused, source="disk")
        for namespace, order in started.floors:
            m.catalog.on_floor(namespace, order)
        for stored in _trust_first(started.heads):
            verified = m.beliefs.recall(stored.envelope, now)
            if isinstance(verified, Rejection):
                self._record(Fact.ARTIFACT_REJECTED, verified, source="disk")
                self._withdraw_local(stored.namespace)
                continue
            self._recall(stored, verified, now)

    def _recall(self, stored: StoredHead, verified: VerifiedManifest, now: Now) -> None:
        m = self._m
        m.dissemination.on_judged(stored.envelope, prefix_of(verified.manifest_hash))
        if stored.is_increment:
            head = m.catalog.on_increment(verified)
        else:
            head, _ = m.catalog.on_head(verified, "disk")
            head.is_durable = True
        m.beliefs.on_accepted(verified)
        if stored.is_held:
            self._held.add(verified.manifest.content_hash)
        if head is not None:
            self._follow(head, verified, None, now, content=stored.content)

    def on_envelope(
        self,
        raw: bytes,
        origin: LinkId | None,
        hops: int,
        now: Now,
        *,
        source: str,
        request: RequestId | None = None,
    ) -> VerifiedManifest | Rejection | None:
        """Judge an envelope; None if exactly these bytes were judged before."""
        m = self._m
        prefix = m.dissemination.seen_prefix(raw)
        if prefix is not None and request is None:
            self._announced_again(prefix, origin)
            return None
        verdict = m.beliefs.admit(raw, ANYTHING, self._line_of, now)
        if isinstance(verdict, Rejection):
            self._refused(raw, verdict, source)
            return verdict
        m.dissemination.on_judged(raw, prefix_of(verdict.manifest_hash))
        m.beliefs.on_accepted(verdict)
        self._accept(verdict, _Pending(verdict.manifest_hash, origin, request, hops), source)
        return verdict

    def _announced_again(self, prefix: bytes, origin: LinkId | None) -> None:
        found = self._m.catalog.by_prefix(prefix)
        if found is None or origin is None:
            return
        want = self._m.fetching.find(found[1].manifest.content_hash)
        if want is not None:
            self._m.fetching.on_announced(want, origin)

    def _refused(self, raw: bytes, verdict: Rejection, source: str) -> None:
        if verdict.retry is Retry.NEVER and verdict.manifest_hash is not None:
            self._m.dissemination.on_judged(raw, prefix_of(verdict.manifest_hash))
        if not verdict.is_known_already:
            self._record(Fact.ARTIFACT_REJECTED, verdict, source=source)

    def _record(self, fact: Fact, verdict: Rejection, *, source: str) -> None:
        fields = (
            ("code", verdict.code.value),
            ("detail", verdict.detail),
            ("namespace", verdict.namespace or ""),
            ("source", source),
            ("blame", verdict.blame.name.lower()),
        )
        self._m.out.append(Record(fact=fact, fields=fields))

    def _line_of(self, namespace: Namespace) -> Line:
        head = self._m.catalog.find(namespace.text)
        floor = self._m.catalog.floor(namespace.text)
        if head is None:
            return Line(floor=floor, manifest_hash=None, withdrawn=NO_ORDER)
        withdrawn = head.manifest.order if head.manifest.tombstone is not None else NO_ORDER
        return Line(
            floor=floor,
            manifest_hash=head.verified.manifest_hash if head.manifest.order == floor else None,
            withdrawn=withdrawn,
            has_increment=head.increment is not None,
        )

    def _accept(self, verified: VerifiedManifest, pending: _Pending, source: str) -> None:
        m = self._m
        token = self._token()
        self._pending[token] = pending
        if verified.manifest.artifact_type is ArtifactType.SNAPSHOT_INCREMENT:
            m.catalog.on_increment(verified)
            m.out.append(Persist(token=token, changes=(PutIncrement(verified=verified),)))
        else:
            head, before = m.catalog.on_head(verified, source)
            head.replaces = before
            m.out.append(Persist(token=token, changes=(PutHead(verified=verified),)))
        m.catalog.on_persisting(token, verified)
        m.out.append(Record(fact=Fact.ARTIFACT_ACCEPTED, fields=_fields(verified, source)))

    def persist_again(self) -> None:
        """Try once more what the disk refused, unless something newer took its place."""
        failed, self._unpersisted = self._unpersisted, []
        for verified, pending in failed:
            found = self._m.catalog.by_prefix(prefix_of(verified.manifest_hash))
            if found is None:
                continue
            token = self._token()
            self._pending[token] = pending
            put = PutHead(verified=verified)
            is_increment = verified.manifest.artifact_type is ArtifactType.SNAPSHOT_INCREMENT
            change = PutIncrement(verified=verified) if is_increment else put
            self._m.out.append(Persist(token=token, changes=(change,)))
            self._m.catalog.on_persisting(token, verified)

    def _supersede(self, head: Head) -> None:
        """Its content is here, or it has none: what it replaced leaves the disk where nothing
        names it. Until then the last good content stays, whatever becomes of the new one."""
        before, head.replaces = head.replaces, None
        while before is not None:
            for verified in (before.verified, before.increment):
                if verified is not None:
                    self._untold.pop(prefix_of(verified.manifest_hash), None)
                    self._release(verified.manifest.content_hash)
            before = before.replaces

    def _release(self, content_hash: ContentHash) -> None:
        """A manifest that named a content is gone."""
        named = self._m.catalog.by_content(content_hash)
        if named:
            self._m.fetching.on_renamed(named[0][1], traffic_of(named[0][1]))
            return
        self._void(content_hash)
        if content_hash in self._held:
            self._held.discard(content_hash)
            self._m.out.append(Remove(content_hash=content_hash))

    def on_vanished(self, content_hash: ContentHash) -> None:
        """A content that was held cannot be read any more."""
        self._held.discard(content_hash)
        for head, verified in self._m.catalog.by_content(content_hash):
            if verified is head.verified:
                head.is_held = False
                head.state = HeadState.BEHIND if head.state in HOLDING_STATES else head.state

    def on_persisted(self, token: Token, now: Now, *, ok: bool) -> None:
        """A manifest is durable, or a namespace was switched."""
        if token in self._materializing:
            self._on_materialized(token, now, ok=ok)
            return
        pending = self._pending.pop(token, None)
        found = self._m.catalog.on_persisted(token, ok=ok)
        if found is None or pending is None:
            return
        head, verified = found
        if not ok:
            self._not_persisted(verified, pending)
            return
        self._untold[prefix_of(verified.manifest_hash)] = (pending.hops + 1, pending.origin)
        self._follow(head, verified, pending, now)

    def _not_persisted(self, verified: VerifiedManifest, pending: _Pending) -> None:
        """Nobody is told of what is not durable; whoever submitted it hears that it failed."""
        fields = (("operation", "persist"), ("namespace", verified.manifest.namespace.text))
        self._m.out.append(Record(fact=Fact.STORAGE_FAILED, fields=fields))
        if pending.request is not None:
            self.failed_requests.append((pending.request, "the disk refused it"))
            pending.request = None
        self._unpersisted.append((verified, pending))

    def _follow(
        self,
        head: Head,
        verified: VerifiedManifest,
        pending: _Pending | None,
        now: Now,
        *,
        content: bytes | None = None,
    ) -> None:
        """What a durable manifest leads to: withdrawal, its content applied, or its content
        wanted."""
        manifest = verified.manifest
        if head.state in GONE_STATES:
            return
        if manifest.tombstone is not None:
            self._withdraw(head, HeadState.WITHDRAWN)
            self.tell(verified, now)
            return
        if manifest.content_hash in self._held:
            self._on_held(head, verified, content, now)
            return
        head_only = verified is head.verified
        if pending is not None and pending.request is not None:
            head.state = HeadState.BEHIND if head_only else head.state
            self.take(verified, pending.request)
            return
        if not self._is_wanted(verified):
            head.state = HeadState.KNOWN if head_only else head.state
            self.tell(verified, now)
            return
        head.state = HeadState.BEHIND if head_only else head.state
        self.want(verified, None if pending is None else pending.origin, now)
        if manifest.artifact_type in TRUST_TYPES:
            self.tell(verified, now)

    def _is_wanted(self, verified: VerifiedManifest) -> bool:
        """What this node applies, what it reads itself, what it holds by duty."""
        manifest = verified.manifest
        if TYPE_RULES[manifest.artifact_type].is_read or matches(
            manifest.audience, self._m.beliefs.facts.own
        ):
            return True
        return self._m.placement.has_duty(manifest)

    def want(self, verified: VerifiedManifest, origin: LinkId | None, now: Now) -> Want | None:
        """Make a want of a content; None if too many are open."""
        is_read = TYPE_RULES[verified.manifest.artifact_type].is_read
        return self._m.fetching.on_wanted(
            verified, traffic_of(verified), origin, now.instant, is_read=is_read
        )

    def take(self, verified: VerifiedManifest, request: RequestId) -> None:
        """Take a submitted content from the request that brought it."""
        wanted = wanted_from(verified, is_read=TYPE_RULES[verified.manifest.artifact_type].is_read)
        self._m.out.append(
            ReceiveContent(wanted=wanted, request=request, traffic=traffic_of(verified))
        )

    def is_settled(self, verified: VerifiedManifest) -> bool:
        """Whether a manifest and its content are durable here, or a newer one took its place."""
        found = self._m.catalog.by_prefix(prefix_of(verified.manifest_hash))
        if found is None:
            return True
        head, current = found
        if not head.is_durable or self._is_on_its_way(verified):
            return False
        manifest = current.manifest
        return manifest.tombstone is not None or manifest.content_hash in self._held

    def _is_on_its_way(self, verified: VerifiedManifest) -> bool:
        return any(
            pending.manifest_hash == verified.manifest_hash for pending in self._pending.values()
        )

    def is_held(self, content_hash: ContentHash) -> bool:
        """Whether a content is durable here."""
        return content_hash in self._held

    def tell(self, verified: VerifiedManifest, now: Now) -> None:
        """Announce a durable manifest, once."""
        untold = self._untold.pop(prefix_of(verified.manifest_hash), None)
        if untold is not None:
            self._m.disclosure.announce(verified, untold[0], untold[1], now)

    def on_stuck(self, verified: VerifiedManifest, now: Now) -> None:
        """Its content cannot be had right now: others may know of it all the same."""
        self.tell(verified, now)

    def on_content(self, content_hash: ContentHash, content: bytes | None, now: Now) -> None:
        """A content is durable here: apply it to every head that names it, and say that we hold
        it."""
        if not self._m.catalog.is_named(content_hash):
            self._m.out.append(Remove(content_hash=content_hash))
            return
        self._held.add(content_hash)
        for head, verified in self._m.catalog.by_content(content_hash):
            if head.is_durable and not _is_settled_already(head, verified):
                self._on_held(head, verified, content, now)

    def _on_held(
        self, head: Head, verified: VerifiedManifest, content: bytes | None, now: Now
    ) -> None:
        if verified is not head.verified:
            head.increment_is_held = True
            self._tell_held(verified, now)
            return
        is_read = TYPE_RULES[verified.manifest.artifact_type].is_read
        if is_read and content is None:
            self._read_again(verified)
            return
        head.is_held = True
        if is_read and content is not None:
            value = self._m.beliefs.read(verified, content)
            if isinstance(value, Rejection):
                head.state = HeadState.INVALID
                self._record(Fact.ARTIFACT_REJECTED, value, source=head.source)
                return
            self._learn(verified, value, content, now)
        self._supersede(head)
        self._apply(head, verified)
        self._tell_held(verified, now)

    def _tell_held(self, verified: VerifiedManifest, now: Now) -> None:
        if prefix_of(verified.manifest_hash) in self._untold:
            self.tell(verified, now)
        else:
            self._unadvertised.append(verified)

    @property
    def has_unadvertised(self) -> bool:
        """Whether something came to be held that neighbours were not told of."""
        return bool(self._unadvertised)

    def advertise(self, now: Now) -> None:
        """Tell neighbours what came to be held since the last time."""
        held = [one for one in self._unadvertised if one.manifest.content_hash in self._held]
        self._unadvertised.clear()
        self._m.disclosure.advertise(held, now)

    def _read_again(self, verified: VerifiedManifest) -> None:
        """The content is held under another manifest: its bytes come from our own disk."""
        self._m.out.append(
            ReceiveContent(wanted=wanted_from(verified, is_read=True), traffic=traffic_of(verified))
        )

    def _learn(
        self, verified: VerifiedManifest, value: ReadContent, content: bytes, now: Now
    ) -> None:
        m, namespace = self._m, verified.manifest.namespace.text
        match value:
            case TrustBundle():
                if m.beliefs.on_bundle(verified, value, now):
                    self._bundle_changed(verified, value, content)
                    self._judge_heads_again(now)
            case RevocationList():
                if m.beliefs.on_revocations(verified, value):
                    self.facts_changed = True
                    self._keep_revoked()
                    self._judge_heads_again(now)
                m.out.append(Record(fact=Fact.REVOCATION_ACCEPTED, fields=_fields(verified, "")))
            case PeerDirectory():
                m.neighbors.on_directory(namespace, value)
                self.facts_changed = True
            case StorageDirectory():
                m.placement.on_directory(namespace, value)
            case Snapshot():
                pass

    def _keep_revoked(self) -> None:
        """All that was ever revoked outlives the list it stood in, and this process."""
        entries = tuple(
            sorted((kind.value, value) for kind, value in self._m.beliefs.facts.revoked.values)
        )
        self._m.out.append(Persist(token=self._token(), changes=(PutRevoked(entries=entries),)))

    def _bundle_changed(
        self, verified: VerifiedManifest, bundle: TrustBundle, content: bytes
    ) -> None:
        self.facts_changed = True
        self._m.dissemination.forget()
        put = PutTrust(version=bundle.bundle_version, envelope=verified.envelope, content=content)
        self._m.out.append(Persist(token=self._token(), changes=(put,)))
        self._m.out.append(Record(fact=Fact.BUNDLE_ACCEPTED, fields=_fields(verified, "")))

    def _apply(self, head: Head, verified: VerifiedManifest) -> None:
        manifest = verified.manifest
        if not matches(manifest.audience, self._m.beliefs.facts.own):
            head.state = HeadState.HELD
            return
        head.state = HeadState.APPLYING
        token = self._token()
        self._materializing[token] = (manifest.namespace.text, verified)
        self._m.out.append(
            Materialize(
                token=token,
                namespace=manifest.namespace.text,
                order=manifest.order,
                manifest=manifest,
                envelope=verified.envelope,
                keep_versions=self._m.placement.keep_versions,
                activate=manifest.artifact_type not in STAGED_TYPES,
            )
        )

    def _on_materialized(self, token: Token, now: Now, *, ok: bool) -> None:
        namespace, verified = self._materializing.pop(token)
        head = self._m.catalog.find(namespace)
        if not ok:
            fields = (("operation", "materialize"), ("namespace", namespace))
            self._m.out.append(Record(fact=Fact.STORAGE_FAILED, fields=fields))
            if head is not None and head.state is HeadState.APPLYING:
                head.state = HeadState.UNAPPLIED
            return
        if head is None or head.verified is not verified or head.state is not HeadState.APPLYING:
            return
        head.state = HeadState.CURRENT
        head.current_since = now.unix
        staged = verified.manifest.artifact_type in STAGED_TYPES
        fact = Fact.ARTIFACT_STAGED if staged else Fact.ARTIFACT_CURRENT
        self._m.out.append(Record(fact=fact, fields=_fields(verified, head.source)))

    def apply_again(self) -> None:
        """Try every switch that failed once more."""
        for head in self._m.catalog.heads():
            if head.state is HeadState.UNAPPLIED:
                self._apply(head, head.verified)

    def on_expiry(self, now: Now, count: int) -> None:
        """Withdraw what has expired, at most `count` at a time."""
        for head in self._m.catalog.on_expired(now.unix, count):
            self._withdraw(head, HeadState.EXPIRED)

    def _withdraw(self, head: Head, state: HeadState) -> None:
        """Neither applied nor served from now on, and not wanted either."""
        head.state = state
        manifest = head.manifest
        self._supersede(head)
        if self._m.fetching.find(manifest.content_hash) is not None and not any(
            one.state not in GONE_STATES
            for one, _ in self._m.catalog.by_content(manifest.content_hash)
        ):
            self._void(manifest.content_hash)
        self._withdraw_local(manifest.namespace.text)
        if manifest.artifact_type is ArtifactType.PEER_DIRECTORY:
            self._m.neighbors.on_directory(manifest.namespace.text, None)
            self.facts_changed = True
        if manifest.artifact_type is ArtifactType.STORAGE_DIRECTORY:
            self._m.placement.on_directory(manifest.namespace.text, None)
        record = Record(fact=Fact.ARTIFACT_WITHHELD, fields=_fields(head.verified, state.value))
        self._m.out.append(record)

    def _withdraw_local(self, namespace: str) -> None:
        """Where nothing was ever applied, there is nothing to withdraw and nothing happens."""
        self._m.out.append(Materialize(token=self._token(), namespace=namespace, order=None))

    def _void(self, content_hash: ContentHash) -> None:
        want = self._m.fetching.on_void(content_hash)
        if want is not None:
            why = "its version was superseded or withdrawn; ask again"
            self.failed_requests += [(request, why) for request in want.requests]

    def _judge_heads_again(self, now: Now) -> None:
        """A restriction reaches what was accepted before it."""
        for head in self._m.catalog.heads():
            if head.state in GONE_STATES or not head.is_durable:
                continue
            if head.manifest.artifact_type in TRUST_TYPES:
                continue
            verdict = self._m.beliefs.recall(head.verified.envelope, now)
            if isinstance(verdict, Rejection):
                self._record(Fact.ARTIFACT_REJECTED, verdict, source=head.source)
                self._withdraw(head, HeadState.REFUSED)

    def check(self) -> None:
        """Assert that what heads call held is held."""
        for head in self._m.catalog.heads():
            assert not head.is_held or head.manifest.content_hash in self._held


def _is_settled_already(head: Head, verified: VerifiedManifest) -> bool:
    """Whether a content that came once more changes nothing for a head."""
    if head.state in GONE_STATES:
        return True
    return verified is head.verified and head.is_held and head.state in HOLDING_STATES


def _trust_first(heads: tuple[StoredHead, ...]) -> list[StoredHead]:
    """Revocation lists before what they may take away, increments after their snapshots."""
    return sorted(heads, key=lambda one: (one.is_increment, not one.is_trust))


def _fields(verified: VerifiedManifest, source: str) -> tuple[tuple[str, str | int], ...]:
    manifest = verified.manifest
    return (
        ("namespace", manifest.namespace.text),
        ("family", manifest.artifact_type.value),
        ("epoch", manifest.authority_epoch),
        ("version", manifest.config_version),
        ("content_hash", manifest.content_hash.hex()),
        ("source", source),
    )
