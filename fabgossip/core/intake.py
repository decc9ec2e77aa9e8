"""What comes in: envelopes judged, made durable, their content wanted, read and applied.

Decides: what follows from an admitted manifest and from a content that is here.
Keeps: durable before told, told before forgotten; nothing read before its hash matched; a
restriction needs no wait.
Must not know: sockets, what a peer may know (it asks `Disclosure`).

A node tells others of an artifact once it can serve it, or at once where it does not want the
content itself: so the first neighbour to be asked has it. Revocation lists, tombstones and stuck
contents are told at once; a trust bundle once it was read and met the thresholds of both sides.
"""

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final, TypeGuard

from fabgossip.core.beliefs import is_restriction
from fabgossip.core.catalog import (
    BINDING_TYPES,
    GONE_STATES,
    HOLDING_STATES,
    Floor,
    Head,
    HeadState,
    Refusal,
    prefix_of,
)
from fabgossip.core.disclosure import traffic_of
from fabgossip.core.effects import (
    Fact,
    Materialize,
    Persist,
    ReceiveContent,
    Record,
    Remove,
)
from fabgossip.core.events import LinkId, RequestId, Started, Token
from fabgossip.core.machines import Machines
from fabgossip.core.telling import Untold
from fabgossip.core.variants import Variant
from fabgossip.core.waiting import WAITING_FOR, Waiting
from fabgossip.core.wants import Want, wanted_from
from fabgossip.model.artifact import (
    NO_ORDER,
    TRUST_TYPES,
    TYPE_RULES,
    ArtifactType,
    Manifest,
    VerifiedManifest,
)
from fabgossip.model.authority import RevocationList, TrustBundle
from fabgossip.model.ids import ContentHash, ManifestHash
from fabgossip.model.messages import INLINE_BYTES_MAX
from fabgossip.model.mode import Action
from fabgossip.model.moment import Now, is_past, later
from fabgossip.model.persistence import (
    Change,
    DropHead,
    PutEvidence,
    PutFloor,
    PutHead,
    PutIncrement,
    PutRevoked,
    PutTrust,
    StoredHead,
)
from fabgossip.model.scope import Family, Namespace, matches
from fabgossip.model.topology import Listing, PeerDirectory, Snapshot, StorageDirectory
from fabgossip.trust.gate import ANYTHING, Line, Listed, ReadContent
from fabgossip.trust.rejections import HELD_BACK, Blame, Rejection, RejectionCode

FORKS_MAX: Final = 64
"""Contradicting bundles told apart; only who holds the roots can make one (*start*)."""
STAGED_TYPES: Final = frozenset({ArtifactType.UPDATE_MANIFEST})
"""Never activated by the daemon itself: what they do is for their consumer to start."""


@dataclass(slots=True)
class _Pending:
    """Where a manifest on its way to the disk came from."""

    manifest_hash: ManifestHash
    origin: LinkId | None
    request: RequestId | None
    hops: int
    content: bytes | None = None
    """What came with the announcement, and fits."""
    is_late: bool = False
    """Whether it was asked for because a list names it."""


class Intake:
    """Everything between an envelope and a materialised file."""

    __slots__ = (
        "_forks",
        "_held",
        "_kept",
        "_m",
        "_materializing",
        "_next_token",
        "_pending",
        "_shown",
        "_unadvertised",
        "_unkept",
        "_unpersisted",
        "_untold",
        "_unwithdrawn",
        "_withdrawing",
        "facts_changed",
        "failed_requests",
        "own_claims_changed",
        "refused_contents",
    )

    def __init__(self, machines: Machines) -> None:
        self._m = machines
        self._next_token = 0
        self._pending: dict[Token, _Pending] = {}
        self._materializing: dict[Token, tuple[str, VerifiedManifest]] = {}
        self._forks: dict[ManifestHash, None] = {}
        """Bundles that contradict the one in force."""
        self._held: dict[ContentHash, int] = {}
        """The contents on this disk and their sizes: a manifest that says another does not name
        what is held."""
        self._untold: dict[bytes, Untold] = {}
        """Prefixes of durable manifests not announced yet."""
        self._unadvertised: list[VerifiedManifest] = []
        self._unpersisted: list[tuple[VerifiedManifest, _Pending]] = []
        self._kept: dict[Token, tuple[Change, ...]] = {}
        """Changes on their way that are of no one manifest."""
        self._unkept: list[tuple[Change, ...]] = []
        self._shown: dict[str, VerifiedManifest] = {}
        """What consumers read, or may start, by namespace."""
        self._withdrawing: dict[Token, tuple[str, bool]] = {}
        self._unwithdrawn: dict[str, bool] = {}
        """Namespaces the disk would not withdraw, and whether they are to be purged."""
        self.refused_contents: list[tuple[VerifiedManifest, Rejection]] = []
        """Contents that do not say what their type demands; the node clears it."""
        self.failed_requests: list[tuple[RequestId, str]] = []
        """Local requests that cannot be answered any more, and why; the node clears it."""
        self.facts_changed = False
        """Whether links, and what waits for more trust, must be judged again; the node clears it.
        """
        self.own_claims_changed = False
        """Whether peers must be shown other claims of ours; the node clears it."""

    def next_token(self) -> Token:
        """A number for something to be made durable."""
        self._next_token += 1
        return Token(self._next_token)

    def on_started(self, started: Started, now: Now) -> None:
        """Recall what the disk holds: trust first, then revocations, then the rest."""
        m = self._m
        broken = m.beliefs.on_started(started.trust, started.revoked, started.memory, now)
        if broken is not None:
            self._record(Fact.ARTIFACT_REJECTED, broken, source="disk")
        accepted = {(one.namespace, one.order) for one in started.heads if not one.is_increment}
        for row in started.floors:
            # What was only listed contradicts nobody; what lists it says so itself.
            stood = row.manifest_hash if (row.namespace, row.order) in accepted else None
            m.catalog.on_floor(row.namespace, Floor(row.order, stood))
        evidence, sides = started.memory.evidence, list[VerifiedManifest]()
        contents = {sha256(one).digest(): one for one in started.evidence_contents}
        for group in _what_judges_first(started.heads):
            found, evidence = self._recall_evidence(evidence, now)
            # A list of the group before may have taken the trust of a side already found.
            sides = [one for one in (*sides, *found) if not self._has_lost_trust(one, now)]
            for stored in group:
                verified = m.beliefs.recall(stored.envelope, now)
                if isinstance(verified, Rejection):
                    self._recall_refused(stored, verified, sides)
                else:
                    self._recall(stored, verified, now, sides)
                self._read_sides(stored.namespace, contents, now)
        for side in sides:
            self._recall_side(side)
        for namespace, envelope in started.visible:
            self._recall_visible(namespace, envelope, now)
        for namespace, envelope in started.put_away:
            self._recall_put_away(namespace, envelope, now)
        # Only now: after a new epoch the claims a node was enrolled with are of the past, and those
        # of its own snapshot count.
        refused = m.beliefs.on_own_claims(now)
        if refused is not None:
            self._record(Fact.ARTIFACT_REJECTED, refused, source="disk")
        m.beliefs.on_recalled()

    def _read_sides(self, namespace: str, contents: dict[bytes, bytes], now: Now) -> None:
        """What was read of the other sides before binds from the start, and ahead of what it
        lists."""
        head = self._m.catalog.find(namespace)
        for side in () if head is None else tuple(head.sides):
            content_hash = side.manifest.content_hash
            content = contents.get(content_hash)
            if content is not None and len(content) == side.manifest.content_size:
                self._held[content_hash] = len(content)
                self._on_side_held(side, content, now)
            elif side.manifest.artifact_type is ArtifactType.CLUSTER_SNAPSHOT:
                self.want(side, None, now)

    def _recall_side(self, side: VerifiedManifest) -> None:
        """The head it stood beside lost its trust, and the end of that was not written yet: it
        stands there, with all others that did."""
        namespace, order = side.manifest.namespace.text, side.manifest.order
        if side.manifest.artifact_type is ArtifactType.TRUST_BUNDLE:
            return
        if self._m.catalog.floor(namespace) == Floor(order, None):
            self._accept(side, _Pending(side.manifest_hash, None, None, 0), "disk")
        else:
            self._contradict(side, None)

    def _recall_visible(self, namespace: str, envelope: bytes, now: Now) -> None:
        """What consumers read may be older than the head, whose content never came: it is judged
        for itself."""
        verdict = self._m.beliefs.recall(envelope, now)
        shown = verdict.verified if isinstance(verdict, Rejection) else verdict
        if shown is None or shown.manifest.namespace.text != namespace:
            self._withdraw_local(namespace)
            return
        self._shown[namespace] = shown
        self._withdraw_if_bad(namespace, shown, now)

    def _recall_put_away(self, namespace: str, envelope: bytes, now: Now) -> None:
        """Consumers read the head once, and find no link now: it was too old before this start."""
        head = self._m.catalog.find(namespace)
        if head is None or head.state is not HeadState.HELD or head.verified.envelope != envelope:
            return
        if is_past(head.manifest.refresh_by, now.unix):
            head.state = HeadState.WITHHELD
            self._m.withholding.on_away(head.verified)

    def _withdraw_if_bad(self, namespace: str, shown: VerifiedManifest, now: Now) -> None:
        verdict = self._m.beliefs.recall(shown.envelope, now)
        if isinstance(verdict, Rejection) and not self._is_last_good(verdict):
            self._withdraw_local(namespace)

    def _recall_refused(
        self, stored: StoredHead, verdict: Rejection, sides: list[VerifiedManifest]
    ) -> None:
        """The last good one of an older epoch stays where consumers read it; all else goes."""
        named = replace(verdict, namespace=stored.namespace)
        self._record(Fact.ARTIFACT_REJECTED, named, source="disk")
        if stored.is_increment or not self._is_last_good(verdict):
            self._withdraw_local(stored.namespace)
            if verdict.code is not RejectionCode.EXPIRED and not stored.is_increment:
                self._m.catalog.on_refused(stored.namespace, stored.order)
            return
        assert verdict.verified is not None
        self._m.catalog.on_head(verdict.verified, "disk")
        head = self._recall_sides(stored.namespace, sides)
        head.state = HeadState.OUTDATED
        self._recall_held(stored, verdict.verified)
        head.is_held = self.is_held(head.manifest)

    def _recall_evidence(
        self, evidence: tuple[bytes, ...], now: Now
    ) -> tuple[list[VerifiedManifest], tuple[bytes, ...]]:
        """The evidence that is good by what is believed so far, and the rest. It comes before the
        heads it is about: what is disputed is not applied anew by a start."""
        judged = [(one, self._standing(one, now)) for one in evidence]
        rest = tuple(one for one, side in judged if side is None)
        sides = [side for _, side in judged if side is not None]
        for one in sides:
            manifest, bundle = one.manifest, self._m.beliefs.facts.bundle
            if manifest.artifact_type is ArtifactType.REVOCATION_LIST:
                self._m.beliefs.on_list_dispute(manifest.order)
            if manifest.artifact_type is ArtifactType.TRUST_BUNDLE and (
                manifest.config_version == bundle.bundle_version
            ):
                self._m.beliefs.on_fork()
        return sides, rest

    def _recall(
        self,
        stored: StoredHead,
        verified: VerifiedManifest,
        now: Now,
        sides: list[VerifiedManifest],
    ) -> None:
        m = self._m
        audience, prefix = verified.manifest.audience, prefix_of(verified.manifest_hash)
        m.dissemination.on_accepted(stored.envelope, audience, prefix, None)
        self._recall_held(stored, verified)
        head: Head | None
        if stored.is_increment:
            head = m.catalog.on_increment(verified)
        else:
            m.catalog.on_head(verified, "disk")
            head = self._recall_sides(stored.namespace, sides)
            verified = head.verified
            self._judge_listing(head)
        m.beliefs.on_accepted(verified)
        if head is not None:
            self._follow(head, verified, None, now, content=stored.content)

    def _recall_sides(self, namespace: str, sides: list[VerifiedManifest]) -> Head:
        for side in sides:
            if side.manifest.namespace.text == namespace:
                self._m.catalog.on_side(side)
        head = self._m.catalog.find(namespace)
        assert head is not None
        head.is_durable = True
        return head

    def _recall_held(self, stored: StoredHead, verified: VerifiedManifest) -> None:
        if stored.held_bytes is not None:
            self._held[verified.manifest.content_hash] = stored.held_bytes

    def on_envelope(
        self,
        raw: bytes,
        origin: LinkId | None,
        hops: int,
        now: Now,
        *,
        source: str,
        request: RequestId | None = None,
        content: bytes | None = None,
        is_late: bool = False,
    ) -> VerifiedManifest | Rejection | None:
        """Judge an envelope, and the content that came with it; None if exactly these bytes were
        judged before. What is late is no news: no tree carries it on."""
        m = self._m
        prefix = m.dissemination.seen_prefix(raw)
        if prefix is not None and request is None:
            self._announced_again(prefix, origin)
            return None
        verdict = self._room_for(m.beliefs.admit(raw, ANYTHING, self, now))
        if isinstance(verdict, Rejection):
            self._refused(raw, verdict, source, origin)
            if (verdict.code in HELD_BACK or self._is_unopposed(verdict)) and request is None:
                until = later(now.instant, WAITING_FOR)
                m.waiting.on_held(Waiting(raw, origin, source, hops, until, verdict.namespace))
            return verdict
        if verdict.manifest.artifact_type is ArtifactType.TRUST_BUNDLE:
            judged = self._judge_variant(verdict, origin, source, request)
            if judged is not None:
                return judged
        audience, prefix = verdict.manifest.audience, prefix_of(verdict.manifest_hash)
        pending = _Pending(verdict.manifest_hash, origin, request, hops)
        pending.is_late = is_late or (
            origin is not None and m.dissemination.was_asked(origin, prefix)
        )
        pending.content = self._fitting(verdict, content, origin, now)
        m.dissemination.on_accepted(raw, audience, prefix, origin)
        m.beliefs.on_accepted(verdict)
        self._accept(verdict, pending, source)
        namespace = verdict.manifest.namespace.text
        for one in m.waiting.on_accepted(namespace, now.instant):
            self.on_envelope(one.envelope, one.origin, one.hops, now, source=one.source)
        return verdict

    def _judge_variant(
        self,
        verified: VerifiedManifest,
        origin: LinkId | None,
        source: str,
        request: RequestId | None,
    ) -> VerifiedManifest | Rejection | None:
        """Judge another copy of a bundle that is on its way, or keep it until its content is here;
        None if it is to be taken as usual."""
        content = self._m.variants.content_of(verified)
        if content is not None:
            value = self._m.beliefs.read(verified, content)
            if not isinstance(value, Rejection):
                return None
            self._record(Fact.ARTIFACT_REJECTED, value, source=source)
            return value
        head = self._m.catalog.find(verified.manifest.namespace.text)
        if head is None or head.is_held or head.verified.manifest_hash != verified.manifest_hash:
            return None
        prefix = prefix_of(verified.manifest_hash)
        if self._m.variants.add(Variant(verified, origin, source)):
            audience = verified.manifest.audience
            self._m.dissemination.on_accepted(verified.envelope, audience, prefix, origin)
        if request is not None:
            self.take(verified, request)
        return verified

    def _is_unopposed(self, verdict: Rejection) -> bool:
        """Whether a statement contradicts only what a snapshot lists: the other one is not here, so
        there is no evidence yet, and another listing may be of this one."""
        if verdict.code is not RejectionCode.EQUIVOCATION or verdict.verified is None:
            return False
        manifest = verdict.verified.manifest
        head = self._m.catalog.find(manifest.namespace.text)
        is_there = head is not None and head.manifest.order == manifest.order
        return head is None or not is_there or head.state is HeadState.REFUSED

    def _fitting(
        self, verified: VerifiedManifest, content: bytes | None, origin: LinkId | None, now: Now
    ) -> bytes | None:
        """The content that came with an announcement, if it is what was signed; who sends another
        is to blame, and it is wanted as usual."""
        manifest = verified.manifest
        if content is None:
            return None
        if sha256(content).digest() == manifest.content_hash:
            # Of another size than was signed, its manifest contradicts itself, whoever brings it.
            return content if len(content) == manifest.content_size else None
        session = None if origin is None else self._m.sessions.find(origin)
        if session is not None:
            wrong = Rejection(
                code=RejectionCode.HASH_MISMATCH,
                detail="the content beside the announcement is not the one signed",
                namespace=manifest.namespace.text,
                manifest_hash=verified.manifest_hash,
            )
            self._record(Fact.ARTIFACT_REJECTED, wrong, source=session.node_id)
            self._m.policing.on_failed(session, now.instant)
        return None

    def _room_for(self, verdict: VerifiedManifest | Rejection) -> VerifiedManifest | Rejection:
        """A new namespace needs a floor, and floors are bounded."""
        if isinstance(verdict, Rejection):
            return verdict
        namespace = verdict.manifest.namespace.text
        epoch = self._m.beliefs.facts.bundle.authority_epoch
        if self._m.catalog.has_room(namespace, epoch):
            return verdict
        return Rejection(
            code=RejectionCode.STORE_FULL,
            detail="no room for another namespace",
            namespace=namespace,
            manifest_hash=verdict.manifest_hash,
            was_signed=True,
        )

    def on_other_mode(self, now: Now) -> None:
        """Claims of our own that the mode let nobody take up before may be taken up now."""
        before = self._m.beliefs.facts.own
        self._m.beliefs.on_own_claims(now)
        if self._m.beliefs.facts.own != before:
            self.facts_changed = True
            self.own_claims_changed = True
            self._judge_heads_again(now)

    def on_more_known(self, now: Now) -> None:
        """What this node believes, or may do, changed: what waited for that is judged again, and
        what was held and not applied is tried once more."""
        for one in self._m.waiting.on_more_known(now.instant):
            self.on_envelope(one.envelope, one.origin, one.hops, now, source=one.source)
        self.apply_again(now)
        self.withhold(now)

    def _announced_again(self, prefix: bytes, origin: LinkId | None) -> None:
        found = self._m.catalog.by_prefix(prefix)
        if found is None or origin is None:
            return
        want = self._m.fetching.find(found[1])
        if want is not None:
            self._m.fetching.on_announced(want, origin)

    def _refused(self, raw: bytes, verdict: Rejection, source: str, origin: LinkId | None) -> None:
        is_unopposed = self._is_unopposed(verdict)
        if self._join(verdict, origin):
            return
        if verdict.manifest_hash is not None and not is_unopposed:
            self._remember(raw, verdict, prefix_of(verdict.manifest_hash), origin)
        if verdict.is_known_already:
            assert verdict.manifest_hash is not None
            self._announced_again(prefix_of(verdict.manifest_hash), origin)
            return
        self._record(Fact.ARTIFACT_REJECTED, verdict, source=source)
        if verdict.code is RejectionCode.EQUIVOCATION and not is_unopposed:
            assert verdict.verified is not None
            self._on_equivocation(verdict.verified, source, origin)
        if verdict.verified is not None and verdict.code is RejectionCode.TRUST_FORK:
            self._on_fork(verdict.verified, source, origin)

    def _join(self, verdict: Rejection, origin: LinkId | None) -> bool:
        """Take what is held, in an envelope with further signatures that count: how many keys it
        can lose must not depend on who passed it on. True also while that has to wait."""
        other = verdict.verified
        if not verdict.is_known_already or other is None:
            return False
        found = self._m.catalog.by_prefix(prefix_of(other.manifest_hash))
        if found is None or found[1] is not found[0].verified:
            return False
        if other.manifest.artifact_type is ArtifactType.TRUST_BUNDLE:
            return False  # whoever takes its place is signed by all who must, or is none
        head, held = found
        if head.state in GONE_STATES or set(other.signed_by) <= set(held.signed_by):
            return False
        if head.is_durable:
            self._accept_joined(head, self._m.beliefs.joined(held, other), origin)
        return True

    def _accept_joined(self, head: Head, joined: VerifiedManifest, origin: LinkId | None) -> None:
        head.verified = joined
        token = self.next_token()
        self._pending[token] = _Pending(joined.manifest_hash, origin, None, 0)
        increment = () if head.increment is None else (PutIncrement(verified=head.increment),)
        changes = (*_changes_for(head, joined), *increment)
        self._m.out.append(Persist(token=token, changes=changes))
        self._m.catalog.on_persisting(token, joined)

    def _remember(
        self, raw: bytes, verdict: Rejection, prefix: bytes, origin: LinkId | None
    ) -> None:
        """What need not be judged again, and what its list need not be asked for."""
        memory = self._m.dissemination
        found = self._m.catalog.by_prefix(prefix) if verdict.is_known_already else None
        if found is not None:
            memory.on_accepted(raw, found[1].manifest.audience, prefix, origin)
        elif verdict.code is RejectionCode.AUDIENCE_NOT_OURS:
            # A peer that believes other claims of ours says nothing new by saying it again.
            memory.on_unwanted(raw, prefix)
        elif verdict.is_final:
            memory.on_refused(raw, prefix, was_signed=verdict.was_signed)

    def _on_equivocation(
        self, verified: VerifiedManifest, source: str, origin: LinkId | None
    ) -> None:
        """Two statements of one order: whoever came first, neither is applied or served from now
        on, and others learn of both."""
        if self._contradict(verified, origin):
            record = Record(fact=Fact.ARTIFACT_DISPUTED, fields=_fields(verified, source))
            self._m.out.append(record)

    def _contradict(self, verified: VerifiedManifest, origin: LinkId | None) -> bool:
        """A statement stands beside the head of its order; whether it was not known to."""
        head = self._m.catalog.on_side(verified)
        if head is None:
            return False
        self._judge_listing(head)
        self._keep_evidence(_changes_for(head, verified), verified, origin)
        if verified.manifest.artifact_type is ArtifactType.REVOCATION_LIST:
            self._m.beliefs.on_list_dispute(verified.manifest.order)
            self.facts_changed = True
        if verified.manifest.artifact_type is ArtifactType.CLUSTER_SNAPSHOT:
            self._contradict_snapshot(head)
        return True

    def _contradict_snapshot(self, head: Head) -> None:
        """Nothing that either lists counts from now on, and neither speaks to this node."""
        m, manifest = self._m, head.manifest
        if manifest.namespace.node_id == m.beliefs.facts.own_node_id:
            m.beliefs.on_own_snapshot_gone()
            self.facts_changed = True
        if m.listings.on_contradicted(manifest.namespace.text, _hashes(head)):
            self._judge_listings(is_quiet=True)
            self.facts_changed = True

    def _keep_evidence(
        self, changes: tuple[Change, ...], verified: VerifiedManifest, origin: LinkId | None
    ) -> None:
        token = self.next_token()
        self._pending[token] = _Pending(verified.manifest_hash, origin, None, 0)
        self._m.catalog.on_persisting(token, verified)
        self._m.out.append(Persist(token=token, changes=changes))

    def _on_fork(self, verified: VerifiedManifest, source: str, origin: LinkId | None) -> None:
        """Another bundle of the version in force: the roots, or a thief of them, contradict
        themselves. Another envelope of what is known proves nothing more."""
        if verified.manifest_hash in self._forks:
            return
        if len(self._forks) < FORKS_MAX:
            self._forks[verified.manifest_hash] = None
        self._m.catalog.on_side(verified)
        self._m.beliefs.on_fork()
        self.facts_changed = True
        self._keep_evidence((PutEvidence(verified=verified),), verified, origin)
        self._m.out.append(Record(fact=Fact.TRUST_FORKED, fields=_fields(verified, source)))

    def _record(self, fact: Fact, verdict: Rejection, *, source: str) -> None:
        is_ours = source == "disk" and verdict.blame is Blame.PEER  # no peer brought it
        blame = Blame.NONE if is_ours else verdict.blame
        fields = (
            ("code", verdict.code.value),
            ("detail", verdict.detail),
            ("namespace", verdict.namespace or ""),
            ("source", source),
            ("blame", blame.name.lower()),
        )
        self._m.out.append(Record(fact=fact, fields=fields))

    def line_of(self, namespace: Namespace) -> Line:
        """See `Known`."""
        head = self._m.catalog.find(namespace.text)
        floor = self._m.catalog.floor(namespace.text)
        line = Line(
            floor=floor.order,
            manifest_hash=floor.manifest_hash,
            withdrawn=NO_ORDER,
            is_here=head is not None and head.verified.manifest_hash == floor.manifest_hash,
        )
        if head is not None:
            withdrawn = head.manifest.order if head.manifest.tombstone is not None else NO_ORDER
            line = replace(line, withdrawn=withdrawn, has_increment=head.increment is not None)
            if head.state is HeadState.REFUSED and line.is_here:
                line = replace(line, manifest_hash=None, is_here=False)
        if namespace.family is Family.TRUST_BUNDLE:
            in_force, content_hash, issued_at = self._m.beliefs.bundle_line()
            line = replace(
                line,
                manifest_hash=in_force,
                is_here=head is not None and head.verified.manifest_hash == in_force,
                content_hash=content_hash,
                issued_at=issued_at,
            )
        return line

    def listed(self, manifest: Manifest) -> Listed | None:
        """See `Known`."""
        return self._m.listings.listed(manifest)

    def _accept(self, verified: VerifiedManifest, pending: _Pending, source: str) -> None:
        m = self._m
        if self._is_other_list(verified):
            self._on_equivocation(verified, source, pending.origin)
            return
        token = self.next_token()
        self._pending[token] = pending
        if verified.manifest.artifact_type is ArtifactType.SNAPSHOT_INCREMENT:
            m.catalog.on_increment(verified)
            m.out.append(Persist(token=token, changes=(PutIncrement(verified=verified),)))
        else:
            head, before = m.catalog.on_head(verified, source)
            head.replaces = before
            self._judge_listing(head)
            m.out.append(Persist(token=token, changes=(PutHead(verified=verified),)))
        m.catalog.on_persisting(token, verified)
        m.out.append(Record(fact=Fact.ARTIFACT_ACCEPTED, fields=_fields(verified, source)))

    def _is_other_list(self, verified: VerifiedManifest) -> bool:
        """Whether another revocation list stands at the order of this one: both restrict."""
        manifest = verified.manifest
        head = self._m.catalog.find(manifest.namespace.text)
        return (
            manifest.artifact_type is ArtifactType.REVOCATION_LIST
            and head is not None
            and head.manifest.order == manifest.order
            and head.verified.manifest_hash != verified.manifest_hash
        )

    def persist_again(self) -> None:
        """Try once more what the disk refused, unless something newer took its place."""
        self._keep_again()
        for namespace, purge in tuple(self._unwithdrawn.items()):
            self._withdraw_local(namespace, purge=purge)
        failed, self._unpersisted = self._unpersisted, []
        for verified, pending in failed:
            found = self._m.catalog.by_prefix(prefix_of(verified.manifest_hash))
            if found is None:
                continue
            token = self.next_token()
            self._pending[token] = pending
            changes = _changes_for(found[0], verified)
            self._m.out.append(Persist(token=token, changes=changes))
            self._m.catalog.on_persisting(token, verified)

    def _supersede(self, head: Head) -> None:
        """Its content is here, or it has none: what it replaced leaves the disk where nothing
        names it. Until then the last good content stays, whatever becomes of the new one."""
        before, head.replaces = head.replaces, None
        while before is not None:
            for verified in before.statements:
                self._untold.pop(prefix_of(verified.manifest_hash), None)
                self._release(verified.manifest.content_hash)
            before = before.replaces

    def _release(self, content_hash: ContentHash) -> None:
        """A manifest that named a content is gone."""
        self._void(content_hash)
        if any(not _is_mere_evidence(*row) for row in self._m.catalog.by_content(content_hash)):
            return
        if any(step.content_hash == content_hash for step in self._m.beliefs.chain):
            return  # whoever is still at an older bundle needs every step
        if content_hash in self._held:
            del self._held[content_hash]
            self._m.out.append(Remove(content_hash=content_hash))

    def on_vanished(self, content_hash: ContentHash) -> None:
        """A content that was held cannot be read any more."""
        self._held.pop(content_hash, None)
        for head, verified in self._m.catalog.by_content(content_hash):
            if verified is head.verified:
                head.is_held = False
                head.state = HeadState.BEHIND if head.state in HOLDING_STATES else head.state
                self._m.catalog.touch(head.manifest.namespace.text)

    def on_persisted(self, token: Token, now: Now, *, ok: bool) -> None:
        """A manifest is durable, or a namespace was switched."""
        if token in self._materializing:
            self._on_materialized(token, now, ok=ok)
            return
        if token in self._withdrawing:
            self._on_withdrawn(token, ok=ok)
            return
        if token in self._kept:
            self._on_kept(token, ok=ok)
            return
        pending = self._pending.pop(token, None)
        found = self._m.catalog.on_persisted(token, ok=ok)
        if found is None or pending is None:
            return
        head, verified = found
        if not ok:
            self._not_persisted(verified, pending)
            return
        if verified is head.verified and self._has_turned_bad(head, now):
            self._judge_again(head, now)
            return
        self._untold[prefix_of(verified.manifest_hash)] = Untold(
            hops=pending.hops + 1,
            origin=pending.origin,
            content=pending.content,
            is_late=pending.is_late,
        )
        self._follow(head, verified, pending, now)

    def keep(self, *changes: Change) -> None:
        """Make changes durable that are of no one manifest, however often the disk refuses."""
        token = self.next_token()
        self._kept[token] = changes
        self._m.out.append(Persist(token=token, changes=changes))

    def _on_kept(self, token: Token, *, ok: bool) -> None:
        changes = self._kept.pop(token)
        if not ok:
            self._unkept.append(changes)
            self._m.out.append(Record(fact=Fact.STORAGE_FAILED, fields=(("operation", "persist"),)))

    def _keep_again(self) -> None:
        unkept, self._unkept = self._unkept, []
        for changes in unkept:
            is_overtaken = any(self._m.beliefs.is_overtaken(one) for one in changes)
            if not is_overtaken and not self._is_replaced(changes):
                self.keep(*changes)

    def _is_replaced(self, changes: tuple[Change, ...]) -> bool:
        """Whether changes that discard a head, and put the one before back, came too late: another
        one stands in the namespace by now."""
        dropped = next((one for one in changes if isinstance(one, DropHead)), None)
        if dropped is None:
            return False
        head = self._m.catalog.find(dropped.namespace)
        put_back = next((one for one in changes if isinstance(one, PutHead)), None)
        stands = None if head is None else head.verified.manifest_hash
        meant = None if put_back is None else put_back.verified.manifest_hash
        return stands != meant

    def _has_turned_bad(self, head: Head, now: Now) -> bool:
        """Whether whom we believe changed while a manifest was on its way to the disk, and reaches
        what is said of its order: heads are judged again only once they are durable."""
        if head.manifest.artifact_type in TRUST_TYPES:
            return False
        is_good = is_restriction(head.manifest) or self._is_good(head.verified, now)
        return not is_good or any(self._has_lost_trust(one, now) for one in head.rivals)

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
        if verified in head.sides:
            self._follow_side(verified, None if pending is None else pending.origin, now)
            return
        if head.state in GONE_STATES:
            return
        if manifest.tombstone is not None:
            self._withdraw(head, HeadState.WITHDRAWN, now)
            self.tell(verified, now)
            return
        if self.is_held(manifest):
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
        if pending is not None and pending.content is not None:
            self._keep_content(verified, pending.content, now)
            return
        self.want(verified, None if pending is None else pending.origin, now)
        if manifest.artifact_type is ArtifactType.REVOCATION_LIST:
            self.tell(verified, now)

    def _keep_content(self, verified: VerifiedManifest, content: bytes, now: Now) -> None:
        """The content came along: others are told at once, and carry it on."""
        is_read = TYPE_RULES[verified.manifest.artifact_type].is_read
        wanted = wanted_from(verified, is_read=is_read)
        self._m.out.append(
            ReceiveContent(wanted=wanted, content=content, traffic=traffic_of(verified))
        )
        if verified.manifest.artifact_type is not ArtifactType.TRUST_BUNDLE:
            self.tell(verified, now)

    def _follow_side(self, verified: VerifiedManifest, origin: LinkId | None, now: Now) -> None:
        """The evidence is passed on; a list or a snapshot restricts even so, and its content is
        wanted, first from whoever showed it."""
        self.tell(verified, now)
        if verified.manifest.artifact_type in BINDING_TYPES and verified.manifest.tombstone is None:
            self.want(verified, origin, now)

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
            return self._is_superseded(verified.manifest)
        head, current = found
        if not head.is_durable or self._is_on_its_way(verified):
            return False
        manifest = current.manifest
        if manifest.tombstone is not None:
            return True
        if current is head.verified and TYPE_RULES[manifest.artifact_type].is_read:
            return head.is_held  # held under another manifest is not read under this one
        return self.is_held(manifest)

    def _is_superseded(self, manifest: Manifest) -> bool:
        """Whether what took its place is durable; a bundle is superseded by one in force only."""
        if manifest.artifact_type is ArtifactType.TRUST_BUNDLE:
            return self._m.beliefs.facts.bundle.bundle_version >= manifest.config_version
        head = self._m.catalog.find(manifest.namespace.text)
        return head is not None and head.is_durable

    def is_named(self, verified: VerifiedManifest) -> bool:
        """Whether a statement stands at the head of its namespace."""
        return self._m.catalog.by_prefix(prefix_of(verified.manifest_hash)) is not None

    def _is_on_its_way(self, verified: VerifiedManifest) -> bool:
        return any(
            pending.manifest_hash == verified.manifest_hash for pending in self._pending.values()
        )

    def is_held(self, manifest: Manifest) -> bool:
        """Whether the content a manifest names is durable here."""
        return self._held.get(manifest.content_hash) == manifest.content_size

    def tell(self, verified: VerifiedManifest, now: Now) -> None:
        """Announce a durable manifest, once."""
        untold = self._untold.pop(prefix_of(verified.manifest_hash), None)
        if untold is not None:
            self._m.telling.tell(verified, untold, now)

    def on_stuck(self, verified: VerifiedManifest, now: Now) -> None:
        """Its content cannot be had right now: others may know of it all the same; of a trust
        bundle only once it was read."""
        if verified.manifest.artifact_type is not ArtifactType.TRUST_BUNDLE:
            self.tell(verified, now)

    def on_content(
        self, content_hash: ContentHash, size: int, content: bytes | None, now: Now
    ) -> None:
        """A content is durable here: apply it to every head that names it, and say that we hold
        it."""
        if not self._m.catalog.is_named(content_hash):
            self._m.out.append(Remove(content_hash=content_hash))
            return
        self._held[content_hash] = size
        for head, verified in self._m.catalog.by_content(content_hash):
            if (
                head.is_durable
                and self.is_held(verified.manifest)
                and not _is_settled_already(head, verified)
            ):
                self._on_held(head, verified, content, now)

    def _on_held(
        self, head: Head, verified: VerifiedManifest, content: bytes | None, now: Now
    ) -> None:
        if verified in head.sides:
            self._on_side_held(verified, content, now)
            return
        if verified is not head.verified:
            head.increment_is_held = True
            self._tell_held(verified, now)
            return
        if head.state is HeadState.OUTDATED:
            head.is_held = True  # nothing follows from it until it is believed again
            return
        is_read = TYPE_RULES[verified.manifest.artifact_type].is_read
        if is_read and content is None:
            self._read_again(verified)
            return
        head.is_held = True
        self._m.catalog.touch(verified.manifest.namespace.text)
        if is_read and content is not None:
            value = self._m.beliefs.read(verified, content)
            if isinstance(value, Rejection) and self._has_better(verified, content):
                return
            if isinstance(value, Rejection):
                head.state = HeadState.INVALID
                self.refused_contents.append((verified, value))
                self._record(Fact.ARTIFACT_REJECTED, value, source=head.source)
                if verified.manifest.artifact_type is ArtifactType.TRUST_BUNDLE:
                    self._discard(head, now)
                return
            self._learn(verified, value, content, now)
        self._supersede(head)
        self._apply(head, verified, now)
        self._tell_held(verified, now, content)

    def _has_better(self, verified: VerifiedManifest, content: bytes) -> bool:
        """Whether another copy of a bundle is signed by all who must sign it: it takes the place of
        this one."""
        if verified.manifest.artifact_type is not ArtifactType.TRUST_BUNDLE:
            return False
        self._m.variants.on_content(verified.manifest.content_hash, content)
        for one in self._m.variants.take(verified.manifest_hash):
            if not isinstance(self._m.beliefs.read(one.verified, content), Rejection):
                pending = _Pending(verified.manifest_hash, one.origin, None, 0)
                self._accept(one.verified, pending, one.source)
                return True
        return False

    def _discard(self, head: Head, now: Now) -> None:
        """A bundle that proved to be none leaves nothing behind: the one in force stands as before,
        here and on the disk."""
        before = self._m.catalog.on_discarded(head)
        namespace = head.manifest.namespace.text
        drop = DropHead(namespace=namespace, manifest_hash=head.verified.manifest_hash)
        changes: tuple[Change, ...] = (drop,)
        if before is not None:
            changes = (drop, *_changes_for(before, before.verified))
        self._untold.pop(prefix_of(head.verified.manifest_hash), None)
        self.keep(*changes)
        self._release(head.manifest.content_hash)
        if before is not None and not before.is_held:
            self._follow(before, before.verified, None, now)

    def _on_side_held(self, verified: VerifiedManifest, content: bytes | None, now: Now) -> None:
        """Both of two lists restrict; both of two snapshots cover, and raise floors."""
        if verified.manifest.artifact_type not in BINDING_TYPES or content is None:
            return
        value = self._m.beliefs.read(verified, content)
        if isinstance(value, RevocationList):
            self._restrict(verified, value, now, is_side=True)
        if isinstance(value, Snapshot):
            self._learn_listings(verified, value)

    def _tell_held(
        self, verified: VerifiedManifest, now: Now, content: bytes | None = None
    ) -> None:
        prefix = prefix_of(verified.manifest_hash)
        untold = self._untold.get(prefix)
        if untold is not None:
            if content is not None and len(content) <= INLINE_BYTES_MAX:
                self._untold[prefix] = replace(untold, content=content)
            self.tell(verified, now)
        else:
            self._unadvertised.append(verified)

    @property
    def has_unadvertised(self) -> bool:
        """Whether something came to be held that neighbours were not told of."""
        return bool(self._unadvertised)

    def advertise(self, now: Now) -> None:
        """Tell neighbours what came to be held since the last time."""
        held = [one for one in self._unadvertised if self.is_held(one.manifest)]
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
                self._restrict(verified, value, now, is_side=False)
                m.out.append(Record(fact=Fact.REVOCATION_ACCEPTED, fields=_fields(verified, "")))
            case PeerDirectory():
                content_hash = verified.manifest.content_hash
                cluster_id = m.beliefs.facts.bundle.cluster_id
                roster = m.rosters.roster_of(cluster_id, content_hash, value)
                m.neighbors.on_directory(namespace, roster)
                self.facts_changed = True
            case StorageDirectory():
                m.placement.on_directory(namespace, value)
            case Snapshot():
                self._learn_snapshot(verified, value, now)

    def _restrict(
        self, verified: VerifiedManifest, listed: RevocationList, now: Now, *, is_side: bool
    ) -> None:
        before = self._m.beliefs.facts
        took = self._m.beliefs.on_revocations(verified, listed, now, is_side=is_side)
        self.facts_changed = True
        if took or before.revoked.epoch != self._m.beliefs.facts.revoked.epoch:
            self._keep_revoked()
        # Claims of our own that waited for a fresh list may be taken up by it, and be narrower.
        is_other = before.own != self._m.beliefs.facts.own
        self.own_claims_changed |= is_other
        if took or is_other:
            self._judge_heads_again(now)

    def _learn_snapshot(
        self, verified: VerifiedManifest, snapshot: Snapshot | None, now: Now
    ) -> None:
        """A snapshot is in force, or (None) gone: what it lists, and what it says to this node."""
        m, manifest = self._m, verified.manifest
        if manifest.namespace.node_id == m.beliefs.facts.own_node_id:
            self.facts_changed = True
            head = m.catalog.find(manifest.namespace.text)
            is_disputed = head is not None and head.is_disputed
            if m.beliefs.on_own_snapshot(verified, snapshot, now, is_disputed=is_disputed):
                self.own_claims_changed = True
                self._judge_heads_again(now)
        if snapshot is not None:
            self._learn_listings(verified, snapshot)
        elif m.listings.on_gone(manifest.namespace.text):
            self._judge_listings(is_quiet=True)
            self.facts_changed = True

    def _learn_listings(self, verified: VerifiedManifest, snapshot: Snapshot) -> None:
        head = self._m.catalog.find(verified.manifest.namespace.text)
        assert head is not None
        if self._m.listings.on_snapshot(verified, snapshot, _hashes(head)):
            self._raise_floors(snapshot.listings)
            self._judge_listings(is_quiet=head.is_disputed)
            self.facts_changed = True

    def _raise_floors(self, listings: tuple[Listing, ...]) -> None:
        """What a snapshot lists binds at once, even before it is here."""
        raised = tuple(
            PutFloor(namespace=one.namespace, order=one.order, manifest_hash=one.manifest_hash)
            for one in listings
            if self._m.catalog.has_room(one.namespace, one.order.epoch)
            and self._m.catalog.on_floor(one.namespace, Floor(one.order, None))
        )
        if raised:
            self.keep(*raised)

    def _judge_listings(self, *, is_quiet: bool) -> None:
        """Mark what its covering snapshot does not list, or no more; nothing is deleted by that."""
        for head in self._m.catalog.heads():
            before = head.is_unlisted
            is_lower = self._judge_listing(head)
            if is_lower and not before and not is_quiet:
                fields = _fields(head.verified, head.source)
                self._m.out.append(Record(fact=Fact.SILENT_REMOVAL, fields=fields))

    def _judge_listing(self, head: Head) -> bool:
        """Mark a head that is not what is listed, or older than what ever was: a floor outlives the
        snapshot that raised it. Whether less is listed than is held."""
        manifest = head.manifest
        if manifest.artifact_type in TRUST_TYPES:
            return False
        listed = None if manifest.tombstone is not None else self._m.listings.listed(manifest)
        is_other = listed is not None and listed.manifest_hash not in _hashes(head)
        floor = self._m.catalog.floor(manifest.namespace.text)
        is_unlisted = is_other or manifest.order < floor.order
        if is_unlisted != head.is_unlisted:
            head.is_unlisted = is_unlisted
            self._m.catalog.touch(manifest.namespace.text)
        return is_other and listed is not None and listed.order < manifest.order

    def _keep_revoked(self) -> None:
        """All that was revoked in an epoch outlives the list it stood in, and this process."""
        revoked = self._m.beliefs.facts.revoked
        entries = tuple(sorted((kind.value, value) for kind, value in revoked.values))
        self.keep(PutRevoked(epoch=revoked.epoch, entries=entries))

    def _bundle_changed(
        self, verified: VerifiedManifest, bundle: TrustBundle, content: bytes
    ) -> None:
        self.facts_changed = True
        self.own_claims_changed = True
        for head in self._m.catalog.heads():
            # Of what is not judged again, lists and tombstones, the epoch decides what counts.
            self._m.catalog.touch(head.manifest.namespace.text)
        self._m.dissemination.forget()
        self._forks.clear()
        put = PutTrust(version=bundle.bundle_version, envelope=verified.envelope, content=content)
        self.keep(put)
        self._m.out.append(Record(fact=Fact.BUNDLE_ACCEPTED, fields=_fields(verified, "")))

    def _may_apply(self, head: Head, now: Now) -> bool:
        """Only what is for this node, undisputed, listed where it must be, within its refresh time,
        in a mode that allows it; what widens an audience only while everything is fresh."""
        beliefs, manifest = self._m.beliefs, head.manifest
        is_own_lane = manifest.namespace.node_id == beliefs.facts.own_node_id
        if not is_own_lane and not matches(manifest.audience, beliefs.facts.own):
            return False
        if not head.is_current_at(now.unix) or not beliefs.may(Action.APPLY, now).allowed:
            return False
        return not head.widens or beliefs.may(Action.HIGH_RISK, now).allowed

    def _apply(self, head: Head, verified: VerifiedManifest, now: Now) -> None:
        if not self._may_apply(head, now):
            head.state = HeadState.HELD
            return
        head.state = HeadState.APPLYING
        self._switch(verified)

    def _switch(self, verified: VerifiedManifest) -> None:
        manifest = verified.manifest
        token = self.next_token()
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
        self._shown[namespace] = verified
        self._m.withholding.on_shown(namespace)
        self._unwithdrawn.pop(namespace, None)
        self._withdraw_if_bad(namespace, verified, now)
        if head is None or head.verified is not verified or head.state is not HeadState.APPLYING:
            return
        head.state = HeadState.CURRENT
        head.current_since = now.unix
        staged = verified.manifest.artifact_type in STAGED_TYPES
        fact = Fact.ARTIFACT_STAGED if staged else Fact.ARTIFACT_CURRENT
        self._m.out.append(Record(fact=fact, fields=_fields(verified, head.source)))

    def apply_again(self, now: Now) -> None:
        """Try every switch once more that failed, or was not allowed before."""
        for head in self._m.catalog.heads():
            waits = head.state is HeadState.HELD and self._may_apply(head, now)
            if head.state is HeadState.UNAPPLIED or waits:
                self._apply(head, head.verified, now)

    def on_expiry(self, now: Now, count: int) -> None:
        """Withdraw what has expired, at most `count` at a time. A revocation list stays where local
        software reads it: who finds none would take nothing for revoked. A clock nobody believes
        takes nothing away: it could not be given back."""
        if self._m.beliefs.facts.freshness.is_clock_suspect:
            return
        for head in self._m.catalog.on_expired(now.unix, count):
            self._withdraw(head, HeadState.EXPIRED, now)
        for namespace, shown in tuple(self._shown.items()):
            is_list = shown.manifest.artifact_type is ArtifactType.REVOCATION_LIST
            if not is_list and is_past(shown.manifest.expires_at, now.unix):
                self._withdraw_local(namespace)

    def withhold(self, now: Now) -> None:
        """Put away what is older than the signed policy lets consumers read, and bring back what it
        lets them read again."""
        for namespace, shown in tuple(self._shown.items()):
            if self._m.withholding.is_over_age(shown, now):
                self._put_away(namespace, shown)
        for verified in self._m.withholding.next_back(now):
            self._bring_back(verified, now)

    def _put_away(self, namespace: str, shown: VerifiedManifest) -> None:
        """Its content stays, is served as stale until it expires, and may come back."""
        self._withdraw_local(namespace)
        self._m.withholding.on_away(shown)
        head = self._m.catalog.find(namespace)
        if _is_head(head, shown) and head.state in HOLDING_STATES:
            head.state, head.current_since = HeadState.WITHHELD, None
        record = Record(fact=Fact.ARTIFACT_WITHHELD, fields=_fields(shown, "over age"))
        self._m.out.append(record)

    def _bring_back(self, verified: VerifiedManifest, now: Now) -> None:
        namespace = verified.manifest.namespace.text
        head = self._m.catalog.find(namespace)
        is_under_way = any(name == namespace for name, _ in self._materializing.values())
        is_here = self.is_held(verified.manifest)
        if is_under_way or not is_here or not self._is_good(verified, now):
            return
        if _is_head(head, verified):
            if head.is_disputed or head.is_unlisted:
                return
            head.state = HeadState.APPLYING
        self._switch(verified)

    def _withdraw(self, head: Head, state: HeadState, now: Now) -> None:
        """Neither applied nor served from now on, and not wanted either."""
        head.state = state
        self._m.catalog.touch(head.manifest.namespace.text)
        manifest = head.manifest
        self._supersede(head)
        self._void(manifest.content_hash)
        tombstone = manifest.tombstone
        is_purge = state is HeadState.WITHDRAWN and tombstone is not None and tombstone.purge
        self._withdraw_local(manifest.namespace.text, purge=is_purge)
        if is_purge:
            fields = _fields(head.verified, head.source)
            self._m.out.append(Record(fact=Fact.CONTENT_PURGED, fields=fields))
        if manifest.artifact_type is ArtifactType.CLUSTER_SNAPSHOT:
            self._learn_snapshot(head.verified, None, now)
        if manifest.artifact_type is ArtifactType.PEER_DIRECTORY:
            self._m.neighbors.on_directory(manifest.namespace.text, None)
            self.facts_changed = True
        if manifest.artifact_type is ArtifactType.STORAGE_DIRECTORY:
            self._m.placement.on_directory(manifest.namespace.text, None)
        record = Record(fact=Fact.ARTIFACT_WITHHELD, fields=_fields(head.verified, state.value))
        self._m.out.append(record)

    def _withdraw_local(self, namespace: str, *, purge: bool = False) -> None:
        """Where nothing was ever applied, there is nothing to withdraw and nothing happens."""
        self._shown.pop(namespace, None)
        token = self.next_token()
        self._withdrawing[token] = (namespace, purge)
        self._m.out.append(Materialize(token=token, namespace=namespace, order=None, purge=purge))

    def _on_withdrawn(self, token: Token, *, ok: bool) -> None:
        namespace, purge = self._withdrawing.pop(token)
        if ok:
            self._unwithdrawn.pop(namespace, None)
            return
        self._unwithdrawn[namespace] = purge
        fields = (("operation", "withdraw"), ("namespace", namespace))
        self._m.out.append(Record(fact=Fact.STORAGE_FAILED, fields=fields))

    def _void(self, content_hash: ContentHash) -> None:
        """Nothing is wanted any more behind which no manifest stands."""
        named = tuple(
            one
            for head, one in self._m.catalog.by_content(content_hash)
            if head.state not in GONE_STATES and not _is_mere_evidence(head, one)
        )
        for want in self._m.fetching.on_named(content_hash, named):
            self.fail_requests(want, "its version was superseded or withdrawn; ask again")

    def fail_requests(self, want: Want, why: str) -> None:
        """A want ended without its content: who waited for that alone waits for nothing."""
        content_hash = want.goal.content_hash
        self.failed_requests += [
            (request, why)
            for request in want.requests
            if not self._m.fetching.is_awaited(content_hash, request)
        ]

    def _judge_heads_again(self, now: Now) -> None:
        """Whom we believe changed: that reaches what was accepted before it, either way."""
        for head in self._m.catalog.heads():
            if head.is_durable and head.manifest.artifact_type not in TRUST_TYPES:
                self._judge_again(head, now)
        for namespace, shown in tuple(self._shown.items()):
            self._withdraw_if_bad(namespace, shown, now)

    def _judge_again(self, head: Head, now: Now) -> None:
        left = tuple(one for one in head.rivals if not self._has_lost_trust(one, now))
        if head.is_disputed and len(left) < len(head.rivals):
            # What was refused for contradicting the lost ones is worth another look.
            self._m.dissemination.forget()
        if left and len(left) < len(head.rivals):
            self._settle(head, left)
        elif left and head.state in (HeadState.WITHDRAWN, HeadState.EXPIRED):
            return
        elif self._is_good(head.verified, now):
            self._believe_again(head, now)
        elif head.state is not HeadState.REFUSED:
            self._doubt(head, now)

    def _is_good(self, verified: VerifiedManifest, now: Now) -> bool:
        return not isinstance(self._m.beliefs.recall(verified.envelope, now), Rejection)

    def _has_lost_trust(self, verified: VerifiedManifest, now: Now) -> bool:
        return self._standing(verified.envelope, now) is None

    def _standing(self, envelope: bytes, now: Now) -> VerifiedManifest | None:
        """A statement that still contradicts others of its order: it may have expired, or be of an
        older epoch; what was revoked contradicts nobody."""
        verdict = self._m.beliefs.recall(envelope, now)
        if not isinstance(verdict, Rejection):
            return verdict
        is_late = verdict.code is RejectionCode.EXPIRED
        return verdict.verified if is_late or self._is_last_good(verdict) else None

    def _settle(self, head: Head, left: tuple[VerifiedManifest, ...]) -> None:
        """A side of a dispute lost its trust: what is left stands, alone or disputed as before."""
        fresh = self._m.catalog.on_rivals(head, left)
        self._judge_listing(fresh)
        self._keep_evidence(_changes_for(fresh, fresh.verified), fresh.verified, None)
        if not fresh.is_disputed:
            fields = _fields(fresh.verified, fresh.source)
            self._m.out.append(Record(fact=Fact.DISPUTE_SETTLED, fields=fields))

    def _believe_again(self, head: Head, now: Now) -> None:
        if head.state not in (HeadState.OUTDATED, HeadState.REFUSED):
            return
        head.state, head.refusal = HeadState.BEHIND, None
        self._m.catalog.touch(head.manifest.namespace.text)
        self._follow(head, head.verified, None, now)

    def _doubt(self, head: Head, now: Now) -> None:
        verdict = self._m.beliefs.recall(head.verified.envelope, now)
        assert isinstance(verdict, Rejection)
        if self._is_last_good(verdict):
            head.state = HeadState.OUTDATED
            self._m.catalog.touch(head.manifest.namespace.text)
            return
        # The first checks refuse before a namespace is read; here it is known.
        named = replace(verdict, namespace=head.manifest.namespace.text)
        self._record(Fact.ARTIFACT_REJECTED, named, source=head.source)
        head.refusal = Refusal(code=verdict.code, detail=verdict.detail, at=now.unix)
        self._withdraw(head, HeadState.REFUSED, now)

    def _is_last_good(self, verdict: Rejection) -> bool:
        """A change of epoch, or of our claims, that has not reached us whole takes nothing away: it
        is no revocation. Consumers keep the last good one; nobody is served it."""
        if verdict.verified is None:
            return False
        if verdict.code is RejectionCode.EPOCH_STALE:
            return True
        no_claims = not self._m.beliefs.facts.own.scope_ids
        return verdict.code is RejectionCode.AUDIENCE_NOT_OURS and no_claims

    def check(self) -> None:
        """Assert that what heads call held is held."""
        for head in self._m.catalog.heads():
            assert not head.is_held or self.is_held(head.manifest)


def _is_head(head: Head | None, verified: VerifiedManifest) -> TypeGuard[Head]:
    """Whether a statement is the head of its namespace, also one read from the disk anew."""
    return head is not None and head.verified.manifest_hash == verified.manifest_hash


def _changes_for(head: Head, verified: VerifiedManifest) -> tuple[Change, ...]:
    """What makes a statement of a head durable; a head takes the evidence before it along."""
    if verified in head.sides:
        return (PutEvidence(verified=verified),)
    if verified.manifest.artifact_type is ArtifactType.SNAPSHOT_INCREMENT:
        return (PutIncrement(verified=verified),)
    return (PutHead(verified=verified), *(PutEvidence(verified=one) for one in head.sides))


def _hashes(head: Head) -> frozenset[ManifestHash]:
    return frozenset(one.manifest_hash for one in head.rivals)


def _is_mere_evidence(head: Head, verified: VerifiedManifest) -> bool:
    """Whether nothing follows from the content of a statement: it only contradicts another one."""
    return verified in head.sides and verified.manifest.artifact_type not in BINDING_TYPES


def _is_settled_already(head: Head, verified: VerifiedManifest) -> bool:
    """Whether a content that came once more changes nothing for a head."""
    if head.state in GONE_STATES:
        return True
    return verified is head.verified and head.is_held and head.state in HOLDING_STATES


def _what_judges_first(heads: tuple[StoredHead, ...]) -> list[list[StoredHead]]:
    """Revocation lists before what they may take away, snapshots before what they list, increments
    after their snapshots."""
    groups: list[list[StoredHead]] = [[], [], [], []]
    for one in heads:
        if one.is_increment:
            groups[3].append(one)
        elif one.is_trust:
            groups[0].append(one)
        else:
            groups[1 if "/snapshots/" in one.namespace else 2].append(one)
    return groups


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
