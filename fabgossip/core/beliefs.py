"""What this node believes: the trust facts, and how they change.

Decides: nothing the trust gate does not decide; applies its verdicts to the facts, which are
replaced whole.
Keeps: the stored trust chain is verified again from the pinned bundle before anything else is
judged by it; a restriction lands whatever the mode, new authority only where the mode allows it.
Must not know: links, contents, disks.
"""

from dataclasses import dataclass, replace
from hashlib import sha256

from fabgossip.core.claims_seen import ClaimsSeen
from fabgossip.core.clock_watch import ClockWatch
from fabgossip.core.events import OwnPapers
from fabgossip.core.own_claims import OwnClaims
from fabgossip.core.own_trust import OwnRevocation, OwnTrust
from fabgossip.core.recovering import Recovering
from fabgossip.core.setup import OwnIdentity
from fabgossip.model.artifact import Manifest, Order, VerifiedManifest
from fabgossip.model.authority import (
    FetchGrant,
    NodeIdentity,
    Opening,
    RevocationList,
    RevokedKind,
    TrustBundle,
    VerifiedClaims,
    VerifiedGrant,
)
from fabgossip.model.ids import ContentHash, ManifestHash, NodeId
from fabgossip.model.mode import Action, Cause, Freshness, Mode, Permission
from fabgossip.model.moment import Now, UnixTime, is_past
from fabgossip.model.persistence import (
    Change,
    PutClaimsSeen,
    PutClockDoubt,
    PutMemory,
    PutRevoked,
    StoredMemory,
    StoredTrust,
)
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.scope import Entitlements
from fabgossip.model.topology import Snapshot
from fabgossip.trust.facts import ANYTHING, NOTHING_KNOWN, Asked, Known, TrustFacts
from fabgossip.trust.gate import ReadContent, TrustGate
from fabgossip.trust.grants import verify_grant
from fabgossip.trust.identity import ClaimsTrust, verify_claims
from fabgossip.trust.membership import may_link
from fabgossip.trust.modes import NONE, Circumstances, conditions_of, may
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.trust.revocation import NOTHING_REVOKED, Revoked, revoked_after
from fabgossip.trust.signatures import Verifier


@dataclass(frozen=True, slots=True)
class ChainStep:
    """A bundle that was in force here, as it is handed to who lacks it."""

    verified: VerifiedManifest
    content_hash: ContentHash


class Beliefs:
    """The trust facts of a node."""

    __slots__ = (
        "_clock",
        "_conditions",
        "_fork_version",
        "_gate",
        "_is_kept_doubted",
        "_is_loss_untold",
        "_list_dispute",
        "_own",
        "_own_trust",
        "_pinned_hash",
        "_recovering",
        "_verifier",
        "audit_is_writable",
        "chain",
        "claims_seen",
        "facts",
        "generation",
        "own_claims",
        "policy",
        "renewal_fault",
    )

    def __init__(self, own: OwnIdentity, verifier: Verifier) -> None:
        self._own = own
        self._verifier = verifier
        self._gate = TrustGate(verifier)
        pinned = own.pinned
        self._pinned_hash = pinned.manifest_hash
        self._clock = ClockWatch(pinned.manifest.issued_at)
        self._own_trust = OwnTrust(own)
        self._list_dispute: Order | None = None
        self._fork_version: int | None = None
        self._conditions: tuple[Mode, ...] = ()
        self._is_loss_untold = False
        """Whether the disk must be told yet that something was forgotten."""
        self._is_kept_doubted = False
        """Whether the disk says that the clock is in doubt."""
        self._recovering = Recovering()
        self.chain: list[ChainStep] = []
        """Bundles after the pinned one, oldest first."""
        self.generation = 1
        self.policy = DegradedPolicy()
        """Of the node's own snapshot; without one nothing degraded is allowed."""
        self.audit_is_writable = True
        self.renewal_fault = ""
        """What is wrong with the files that were to renew this node's identity, if anything."""
        self.own_claims = OwnClaims(own, verifier)
        self.claims_seen = ClaimsSeen()
        self.facts = TrustFacts(
            bundle=pinned.bundle,
            revoked=NOTHING_REVOKED,
            own=Entitlements(frozenset()),
            own_node_id=own.node_id,
            bundle_expires_at=pinned.manifest.expires_at,
            freshness=Freshness(
                newest_issued_at=pinned.manifest.issued_at,
                bundle_refresh_by=pinned.manifest.refresh_by,
                revocations_refresh_by=None,
                snapshot_refresh_by=None,
            ),
        )

    def on_memory(self, memory: StoredMemory, *, is_synchronized: bool) -> None:
        """What the disk remembers of time and of amnesia, and what the kernel says of its clock:
        the start itself is judged by that."""
        self._put_freshness(has_amnesia=not memory.is_whole)
        self._is_kept_doubted = memory.is_clock_doubted
        self._clock.on_started(memory.time_floor, is_doubted=memory.is_clock_doubted)
        self._clock.is_synchronized = is_synchronized

    def on_clock(self, now: Now, *, is_synchronized: bool) -> None:
        """The kernel says that its clock is in step with others, or is not any more."""
        self._clock.is_synchronized = is_synchronized
        self._look_at_clock(now)

    def on_started(
        self,
        chain: tuple[StoredTrust, ...],
        revoked: tuple[tuple[int, bytes], ...],
        memory: StoredMemory,
        now: Now,
    ) -> Rejection | None:
        """Verify the stored chain again, step by step; the first step that fails ends it, and the
        node has forgotten what it knew."""
        self.generation = memory.generation
        self.claims_seen.on_started(memory.claims_seen)
        values = frozenset((RevokedKind(kind), value) for kind, value in revoked)
        self._put(revoked=Revoked(version=0, values=values, epoch=memory.revoked_epoch))
        broken = self._recall_chain(chain, now)
        if broken is not None:
            self._on_loss()
        if not self.facts.freshness.has_amnesia:
            # Who forgot what it knew, or was given another bootstrap, begins as it was enrolled.
            self.own_claims.on_started(self.claims_seen.newest_of(self.facts.own_node_id))
        self.on_own_claims(now)
        self._look_at_self()
        return broken

    def _on_loss(self) -> None:
        """This node has forgotten something it once knew."""
        if not self.facts.freshness.has_amnesia:
            self._is_loss_untold = True
            self._put_freshness(has_amnesia=True)

    def _put(self, **changes: object) -> None:
        self.facts = replace(self.facts, **changes)  # type: ignore[arg-type]  # names of its fields

    def _put_freshness(self, **changes: object) -> None:
        self._put(freshness=replace(self.facts.freshness, **changes))  # type: ignore[arg-type]  # as above

    def _recall_chain(self, chain: tuple[StoredTrust, ...], now: Now) -> Rejection | None:
        for step in chain:
            if step.version <= self.facts.bundle.bundle_version:
                continue
            verified = self._gate.admit(
                step.envelope, ANYTHING, self.facts, NOTHING_KNOWN, now.unix
            )
            if isinstance(verified, Rejection):
                return verified
            value = self.read(verified, step.content)
            if isinstance(value, Rejection):
                return value
            assert isinstance(value, TrustBundle)
            self.on_bundle(verified, value, now)
        return None

    def on_time(self, now: Now) -> Now:
        """An event comes: look at the clock, and give the time everything is judged by."""
        self._clock.on_time(now)
        self._look_at_clock(now)
        return self._clock.judged_by(now)

    def _look_at_clock(self, now: Now) -> None:
        is_suspect = self._clock.is_suspect(now)
        if is_suspect is not self.facts.freshness.is_clock_suspect:
            self._put_freshness(is_clock_suspect=is_suspect)

    def next_conditions(self, now: Now) -> tuple[Mode, ...] | None:
        """The conditions that hold, once whenever they are others than before."""
        held = conditions_of(self.facts.freshness, now.unix)
        if held == self._conditions:
            return None
        self._conditions = held
        return held

    def next_time_floor(self) -> UnixTime | None:
        """A time floor to make durable, None if the durable one is young enough."""
        return self._clock.next_floor()

    def on_recalled(self) -> None:
        """All that the disk holds was judged: of what it says, nothing ends amnesia."""
        self._recovering.on_recalled(self.facts)

    def next_memory(self) -> tuple[PutMemory | PutClockDoubt | PutClaimsSeen, ...]:
        """What the disk must know of amnesia that was noticed since, of doubts about the clock that
        came or went, and of claims of our own that were taken up."""
        noticed = list[PutMemory | PutClockDoubt | PutClaimsSeen]()
        if self._is_loss_untold:
            self._is_loss_untold = False
            noticed.append(PutMemory(is_whole=False))
        if self._clock.is_doubted is not self._is_kept_doubted:
            self._is_kept_doubted = self._clock.is_doubted
            noticed.append(PutClockDoubt(is_doubted=self._is_kept_doubted))
        own = self.own_claims.next_kept()
        if own is not None:
            node_id = self.facts.own_node_id
            noticed.append(PutClaimsSeen(node_id=node_id, epoch=own.epoch, version=own.version))
        return tuple(noticed)

    def is_overtaken(self, change: Change) -> bool:
        """Whether something the disk refused says what holds no more: written again, it would take
        the place of what does."""
        match change:
            case PutRevoked():
                return change.epoch != self.facts.revoked.epoch
            case PutMemory():
                return change.is_whole is self.facts.freshness.has_amnesia
            case PutClockDoubt():
                return change.is_doubted is not self._is_kept_doubted
            case _:
                return False

    def has_recovered(self, now: Now) -> bool:
        """Whether the node had amnesia and knows again all a fresh one must know, and has claims
        it may go by then: newer ones than it knew it takes up no sooner. Once."""
        has_amnesia = self.facts.freshness.has_amnesia
        if not has_amnesia or not self._recovering.is_over(self.facts, now.unix):
            return False
        sound = replace(self.facts.freshness, has_amnesia=False)
        if not self.own_claims.has_some(replace(self.facts, freshness=sound), now):
            return False
        self.generation = max(self.generation, self.own_claims.generation)
        self._put_freshness(has_amnesia=False)
        return True

    def on_own_claims(self, now: Now) -> Rejection | None:
        """Judge our own claims under today's facts; why none counts, if so."""
        entitlements, refused = self.own_claims.judge(self.facts, now)
        self._put(own=entitlements)
        if self.own_claims.generation > self.generation:
            self._on_loss()
        return refused

    def on_bundle(self, verified: VerifiedManifest, bundle: TrustBundle, now: Now) -> bool:
        """A bundle whose content was found good is in force; whether it is another than before."""
        fresh = self.facts.freshness
        manifest = verified.manifest
        if bundle == self.facts.bundle:
            self._put(bundle_expires_at=max(self.facts.bundle_expires_at, manifest.expires_at))
            self._put_freshness(bundle_refresh_by=max(fresh.bundle_refresh_by, manifest.refresh_by))
            return False
        self.chain.append(ChainStep(verified, manifest.content_hash))
        is_new_epoch = bundle.authority_epoch > self.facts.bundle.authority_epoch
        self._put(previous=self.facts.bundle, bundle=bundle, bundle_expires_at=manifest.expires_at)
        self._put_freshness(bundle_refresh_by=manifest.refresh_by)
        if is_new_epoch:
            # The union of the old epoch keeps restricting until the first list of the new one.
            self._put(revocations_expires_at=None, revoked=replace(self.facts.revoked, version=0))
            self._put_freshness(revocations_refresh_by=None, snapshot_refresh_by=None)
        if self._fork_version is not None and bundle.bundle_version > self._fork_version:
            self._fork_version = None
        self._note_disputes()
        self.on_own_claims(now)
        self._look_at_self()
        return True

    def on_fork(self) -> None:
        """Another bundle of the version in force is signed as well: nothing of high risk until a
        later one ends it."""
        self._fork_version = self.facts.bundle.bundle_version
        self._note_disputes()

    def on_revocations(
        self, verified: VerifiedManifest, listed: RevocationList, now: Now, *, is_side: bool
    ) -> bool:
        """A revocation list is in force, or (`is_side`) restricts although another stands at its
        version; whether it took anything away."""
        before, manifest = self.facts.revoked, verified.manifest
        order = manifest.order
        after = revoked_after(before, order.epoch, order.version, listed)
        self._put(revoked=after)
        self._own_trust.on_list(listed, self.facts)
        if is_side:
            self._list_dispute = order
        elif self._list_dispute is not None and order > self._list_dispute:
            self._list_dispute = None
        if not is_side:
            self._put(revocations_expires_at=manifest.expires_at)
            self._put_freshness(revocations_refresh_by=manifest.refresh_by)
            if self._recovering.is_recalled:
                # The disk's own list is nothing new: a doubt outlives a restart.
                self._clock.on_confirmed(manifest.issued_at, manifest.refresh_by, now)
        self._note_disputes()
        self.on_own_claims(now)
        self._look_at_self()
        return after.values != before.values

    def on_list_dispute(self, order: Order) -> None:
        """Two lists stand at one order: both restrict, neither counts as fresh."""
        self._list_dispute = order
        self._note_disputes()

    def _note_disputes(self) -> None:
        disputed = self._list_dispute is not None or self._fork_version is not None
        is_full = self.facts.revoked.is_full
        self._put_freshness(is_disputed=disputed, has_full_revocations=is_full)

    def _look_at_self(self) -> None:
        """Whether this node, its certificate or the CA of that lost its trust."""
        self._put_freshness(is_revoked=self.own_revocation() is not None)

    def on_papers(self, papers: OwnPapers, now: Now) -> bool:
        """Another certificate, or other claims, are this node's from now on; whether its claims
        changed by it."""
        self._own = replace(
            self._own,
            certificate=papers.certificate,
            certificate_times=papers.certificate_times,
            claims=papers.claims,
            openings=papers.openings,
        )
        self._own_trust.on_papers(self._own)
        self.own_claims.on_papers(self._own)
        self._look_at_self()
        before = (self.own_claims.envelope, self.facts.own)
        self.on_own_claims(now)
        return (self.own_claims.envelope, self.facts.own) != before

    @property
    def certificate_times(self) -> tuple[UnixTime, UnixTime] | None:
        """From when until when the own certificate is good."""
        return self._own.certificate_times

    def own_revocation(self) -> OwnRevocation | None:
        """What of this node lost its trust, the gravest; None: nothing."""
        return self._own_trust.revocation(self.facts)

    def may_link(self, identity: NodeIdentity) -> bool:
        """See `membership.may_link`."""
        facts = self.facts
        return may_link(identity, facts.bundle, facts.previous, facts.revoked)

    def on_own_snapshot_gone(self) -> None:
        """No snapshot speaks to this node: nothing degraded is allowed, and it counts as stale."""
        self.policy = DegradedPolicy()
        self._put_freshness(snapshot_refresh_by=None)

    def on_own_snapshot(
        self, verified: VerifiedManifest, snapshot: Snapshot | None, now: Now, *, is_disputed: bool
    ) -> bool:
        """The node's own snapshot is this one (None: gone); whether our claims changed by it. Of a
        disputed one only the claims count, which are signed for themselves."""
        if snapshot is None or is_disputed:
            self.on_own_snapshot_gone()
        if snapshot is None:
            return False
        if not is_disputed:
            self.policy = snapshot.degraded
            self._recovering.on_own_snapshot(verified.manifest.order)
            self._put_freshness(snapshot_refresh_by=verified.manifest.refresh_by)
        before = (self.own_claims.envelope, self.facts.own)
        if snapshot.claims:
            self.own_claims.on_snapshot(snapshot.claims)
            self.on_own_claims(now)
        return (self.own_claims.envelope, self.facts.own) != before

    def on_accepted(self, verified: VerifiedManifest) -> None:
        """Something newly signed arrived."""
        issued_at = verified.manifest.issued_at
        self._clock.on_signed(issued_at)
        newest = max(self.facts.freshness.newest_issued_at, issued_at)
        if newest != self.facts.freshness.newest_issued_at:
            self._put_freshness(newest_issued_at=newest)

    def admit(
        self, raw: bytes, asked: Asked, known: Known, now: Now
    ) -> VerifiedManifest | Rejection:
        """See `TrustGate.admit`; what the mode lets nobody accept is held back."""
        verdict = self._gate.admit(raw, asked, self.facts, known, now.unix)
        if isinstance(verdict, Rejection):
            if verdict.code is RejectionCode.FUTURE_ISSUED:
                self._clock.on_from_future(verdict.signed_by)
            return verdict
        return self._mode_refusal(verdict, now) or verdict

    def _mode_refusal(self, verified: VerifiedManifest, now: Now) -> Rejection | None:
        manifest = verified.manifest
        action = Action.RESTRICT if manifest.is_restriction else Action.ACCEPT_CONTENT
        about = Circumstances(is_trust_lane=self.is_own_lane(manifest))
        permission = may(action, self.facts.freshness, now.unix, about)
        if permission.allowed:
            return None
        return Rejection(
            code=RejectionCode.MODE_DENIED,
            detail=permission.reason,
            namespace=manifest.namespace.text,
            manifest_hash=verified.manifest_hash,
            was_signed=True,
        )

    def lane_namespaces(self) -> tuple[str, ...]:
        """Where the trust lane stands: a node asks anybody for these."""
        return self.facts.bundle.lane_of(self._own.node_id)

    def is_own_lane(self, manifest: Manifest) -> bool:
        """Whether a manifest is in the trust lane of this node, which tombstones are in as well."""
        return manifest.is_restriction or manifest.is_lane_of(self._own.node_id)

    def recall(self, raw: bytes, now: Now) -> VerifiedManifest | Rejection:
        """See `TrustGate.recall`."""
        return self._gate.recall(raw, self.facts, now.unix)

    def joined(self, held: VerifiedManifest, other: VerifiedManifest) -> VerifiedManifest:
        """See `TrustGate.joined`."""
        return self._gate.joined(held, other)

    def read(self, verified: VerifiedManifest, content: bytes) -> ReadContent | Rejection:
        """See `TrustGate.read`; hashed once more, for bytes of the node's own disk, a step of its
        trust chain among them, are believed no more than a peer's
        (`tests/attacks/test_bootstrap.py`). HASH_MISMATCH"""
        manifest = verified.manifest
        if sha256(content).digest() != manifest.content_hash:
            return Rejection(
                code=RejectionCode.HASH_MISMATCH,
                detail="not the content that was signed",
                namespace=manifest.namespace.text,
            )
        return self._gate.read(verified, content, self.facts)

    def _claims_trust(self) -> ClaimsTrust:
        return ClaimsTrust(self.facts.bundle, self.facts.revoked, self._verifier)

    def claims_of(
        self, raw: bytes, openings: tuple[Opening, ...], node_id: NodeId, now: Now
    ) -> VerifiedClaims | Rejection:
        """What a peer is entitled to by claims and openings, under today's facts; claims older than
        the newest seen of it are refused."""
        claims = verify_claims(raw, openings, node_id, self._claims_trust(), now)
        if not isinstance(claims, Rejection) and self.claims_seen.is_older(claims.claims):
            return Rejection(
                code=RejectionCode.CLAIMS_INVALID, detail="older than claims seen of this node"
            )
        return claims

    def may_accept(self, issued_at: UnixTime, now: Now) -> Permission:
        """Whether new authority that was issued then may be taken up."""
        return self.may(Action.ACCEPT_AUTHORITY, now, Circumstances(issued_at=issued_at))

    def grant_of(self, raw: bytes, holder: NodeIdentity, now: Now) -> VerifiedGrant | Rejection:
        """A fetch grant shown by a peer, if it is good now and the mode lets us honour it."""
        grant = verify_grant(raw, holder, self._claims_trust(), now.unix)
        if isinstance(grant, Rejection):
            return grant
        permission = self.may_accept(grant.grant.not_before, now)
        if permission.allowed:
            return grant
        code, detail = RejectionCode.GRANT_INVALID, permission.reason
        return Rejection(code=code, detail=detail, in_good_faith=True)

    def own_grant(self, raw: bytes, now: Now) -> VerifiedGrant | Rejection:
        """A fetch grant somebody gave this node, if its peers could honour it now and the mode lets
        us take it up."""
        holder = self._own.certificate
        if holder is None or is_past(holder.expires_at, now.unix):
            detail = "this node's own certificate is out of its time"
            return Rejection(code=RejectionCode.GRANT_INVALID, detail=detail)
        return self.grant_of(raw, holder, now)

    def admit_granted(
        self, raw: bytes, grant: FetchGrant, now: Now
    ) -> VerifiedManifest | Rejection:
        """See `TrustGate.admit_granted`."""
        return self._gate.admit_granted(raw, grant, self.facts, now.unix)

    def may(self, action: Action, now: Now, about: Circumstances = NONE) -> Permission:
        """Whether the mode, and for what is of high risk the audit log, allow an action."""
        permission = may(action, self.facts.freshness, now.unix, about)
        if action is Action.HIGH_RISK and permission.allowed and not self.audit_is_writable:
            return Permission(cause=Cause.AUDIT, mode=permission.mode)
        return permission

    def mode(self, now: Now) -> Mode:
        """The gravest condition that holds."""
        return conditions_of(self.facts.freshness, now.unix)[-1]

    @property
    def freshness(self) -> Freshness:
        """The signed times the mode rests on."""
        return self.facts.freshness

    def bundle_line(self) -> tuple[ManifestHash, ContentHash, UnixTime]:
        """Of the bundle in force: manifest hash, content hash, when it was issued."""
        if self.chain:
            verified = self.chain[-1].verified
            manifest = verified.manifest
            return verified.manifest_hash, manifest.content_hash, manifest.issued_at
        manifest = self._own.pinned.manifest
        return self._pinned_hash, manifest.content_hash, manifest.issued_at

    def check(self) -> None:
        """Assert that the chain ends in the bundle in force."""
        self._clock.check()
        self.claims_seen.check()
        if self.chain:
            last = self.chain[-1].verified.manifest
            assert last.config_version == self.facts.bundle.bundle_version
