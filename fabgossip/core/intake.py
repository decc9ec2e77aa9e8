"""Envelopes: judged, remembered, made durable, and handed on once they are.

Decides: what becomes of the verdict of the trust gate on an envelope.
Keeps: durable before told; exactly the same bytes are judged once; what may be good once more is
known waits, unserved.
Must not know: sockets, what a peer may know, what follows from a durable manifest.
"""

from hashlib import sha256

from fabgossip.core.accepting import Accepting
from fabgossip.core.activation import Activation
from fabgossip.core.affected import affected_by
from fabgossip.core.announcing import Announcing
from fabgossip.core.assembling import Assembling
from fabgossip.core.catalog import Head, prefix_of
from fabgossip.core.disputes import Disputes
from fabgossip.core.durability import Durability, Provenance
from fabgossip.core.events import LinkId, RequestId, Token
from fabgossip.core.following import Following
from fabgossip.core.lasting import has_lost_trust, is_good
from fabgossip.core.lines import Lines
from fabgossip.core.machines import Machines
from fabgossip.core.own_contents import OwnContents
from fabgossip.core.recording import rejected
from fabgossip.core.telling import Untold
from fabgossip.core.variants import Variant
from fabgossip.core.waiting import WAITING_FOR, Waiting
from fabgossip.model.artifact import (
    TRUST_TYPES,
    TYPE_RULES,
    ArtifactType,
    Manifest,
    VerifiedManifest,
)
from fabgossip.model.moment import Now, later
from fabgossip.trust.facts import ANYTHING
from fabgossip.trust.rejections import HELD_BACK, Rejection, RejectionCode


class Intake:
    """Judges envelopes, and goes on once they are durable."""

    __slots__ = (
        "_accepting",
        "_activation",
        "_announcing",
        "_assembling",
        "_contents",
        "_disputes",
        "_durability",
        "_following",
        "_lines",
        "_m",
    )

    def __init__(
        self,
        machines: Machines,
        durability: Durability,
        contents: OwnContents,
        announcing: Announcing,
        assembling: Assembling,
        activation: Activation,
        disputes: Disputes,
        accepting: Accepting,
        following: Following,
        lines: Lines,
    ) -> None:
        self._m = machines
        self._durability = durability
        self._contents = contents
        self._announcing = announcing
        self._assembling = assembling
        self._activation = activation
        self._disputes = disputes
        self._accepting = accepting
        self._following = following
        self._lines = lines

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
        judged before, or are left alone. What is late is no news: no tree carries it on."""
        if self._m.shunned.is_shunned(raw, now.instant):
            return None if request is None else self._shunned()
        outer, self._m.shunned.judging = self._m.shunned.judging, raw
        verdict = self._judge(
            raw, origin, hops, now, source=source, request=request, content=content, is_late=is_late
        )
        # Not where it raised: whoever catches that is to see over what.
        self._m.shunned.judging = outer
        return verdict

    def _shunned(self) -> Rejection:
        verdict = Rejection(
            code=RejectionCode.SHUNNED,
            detail="the daemon ended over this envelope: it is not looked at for an hour",
        )
        self._m.out.append(rejected(verdict, source="submit"))
        return verdict

    def _judge(
        self,
        raw: bytes,
        origin: LinkId | None,
        hops: int,
        now: Now,
        *,
        source: str,
        request: RequestId | None,
        content: bytes | None,
        is_late: bool,
    ) -> VerifiedManifest | Rejection | None:
        m = self._m
        prefix = m.dissemination.seen_prefix(raw)
        if prefix is not None and request is None:
            self._announced_again(prefix, content, origin, now)
            return None
        verdict = self._room_for(m.beliefs.admit(raw, ANYTHING, self._lines, now))
        if isinstance(verdict, Rejection):
            self._refused(raw, verdict, source, origin, content, now)
            if (
                verdict.code in HELD_BACK or self._disputes.is_unopposed(verdict)
            ) and request is None:
                until = later(now.instant, WAITING_FOR)
                m.waiting.on_held(
                    Waiting(raw, origin, source, hops, until, verdict.namespace, content)
                )
            return verdict
        if verdict.manifest.artifact_type is ArtifactType.TRUST_BUNDLE:
            judged = self._judge_variant(verdict, origin, source, request)
            if judged is not None:
                return judged
        audience, prefix = verdict.manifest.audience, prefix_of(verdict.manifest_hash)
        was_asked = origin is not None and m.dissemination.was_asked(origin, prefix)
        provenance = Provenance(origin, request, hops, is_late=is_late or was_asked)
        provenance.content = self._fitting(verdict, content, origin, now)
        m.dissemination.on_accepted(raw, audience, prefix, origin)
        m.beliefs.on_accepted(verdict)
        self._accepting.accept(verdict, provenance, source)
        namespace = verdict.manifest.namespace.text
        for one in m.waiting.on_accepted(namespace, now.instant):
            self._on_waited(one, now)
        return verdict

    def _on_waited(self, one: Waiting, now: Now) -> None:
        self.on_envelope(
            one.envelope, one.origin, one.hops, now, source=one.source, content=one.content
        )

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
            self._m.out.append(rejected(value, source=source))
            return value
        head = self._m.catalog.find(verified.manifest.namespace.text)
        if head is None or head.is_held or head.verified.manifest_hash != verified.manifest_hash:
            return None
        prefix = prefix_of(verified.manifest_hash)
        if self._m.variants.add(Variant(verified, origin, source)):
            audience = verified.manifest.audience
            self._m.dissemination.on_accepted(verified.envelope, audience, prefix, origin)
        if request is not None:
            self._contents.take(verified, request)
        return verified

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
            self._m.out.append(rejected(wrong, source=session.node_id))
            self._m.policing.on_failed(session, now.instant)
        return None

    def _room_for(self, verdict: VerifiedManifest | Rejection) -> VerifiedManifest | Rejection:
        """A new namespace needs a floor, and floors are bounded; for what proved to be no increment
        there is none."""
        if isinstance(verdict, Rejection):
            return verdict
        namespace = verdict.manifest.namespace.text
        if self._m.chains.is_set_aside(verdict.manifest_hash):
            return Rejection(
                code=RejectionCode.CONTENT_INVALID,
                detail="an increment that does not make the result it names",
                namespace=namespace,
                manifest_hash=verdict.manifest_hash,
                was_signed=True,
            )
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

    def _announced_again(
        self, prefix: bytes, content: bytes | None, origin: LinkId | None, now: Now
    ) -> None:
        """Who tells of what is wanted may have it, and whoever brought it along need not be asked:
        of many who announce, the one that has it may be the last to get a try."""
        found = self._m.catalog.by_prefix(prefix)
        announcer = None if origin is None else self._m.sessions.peer_of(origin)
        if found is None or announcer is None:
            return
        want = self._m.fetching.find(found[1])
        if want is not None:
            self._m.fetching.on_announced(want, announcer, now.instant)
        elif not self._assembling.on_announced(found[1], announcer):
            return
        fitting = self._fitting(found[1], content, origin, now)
        if fitting is not None:
            self._contents.store(found[1], fitting)

    def _refused(
        self,
        raw: bytes,
        verdict: Rejection,
        source: str,
        origin: LinkId | None,
        content: bytes | None,
        now: Now,
    ) -> None:
        is_unopposed = self._disputes.is_unopposed(verdict)
        if self._accepting.join(verdict, origin):
            assert verdict.verified is not None
            self._contents.void(verdict.verified.manifest.content_hash)
            return
        if verdict.manifest_hash is not None and not is_unopposed:
            self._remember(raw, verdict, prefix_of(verdict.manifest_hash), origin)
        if verdict.is_known_already:
            assert verdict.manifest_hash is not None
            self._announced_again(prefix_of(verdict.manifest_hash), content, origin, now)
            return
        self._m.out.append(rejected(verdict, source=source))
        if verdict.code is RejectionCode.EQUIVOCATION and not is_unopposed:
            assert verdict.verified is not None
            self._disputes.on_equivocation(verdict.verified, source, origin)
        if verdict.verified is not None and verdict.code is RejectionCode.TRUST_FORK:
            self._disputes.on_fork(verdict.verified, source, origin)

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

    def on_persisted(self, token: Token, now: Now, *, ok: bool) -> None:
        """A manifest is durable, or a namespace was switched."""
        if self._activation.on_persisted(token, now, ok=ok):
            return
        if self._durability.on_kept(token, ok=ok):
            return
        provenance = self._durability.on_persisted(token)
        found = self._m.catalog.on_persisted(token, ok=ok)
        if found is None or provenance is None:
            return
        head, verified = found
        if not ok:
            self._durability.on_refused(verified, provenance)
            if verified.manifest.base is not None:
                self._assembling.on_refused(verified, now)
            return
        if verified is head.verified and self._has_turned_bad(head, now):
            self._following.judge_again(head, now)
            return
        untold = Untold(
            hops=provenance.hops + 1,
            origin=provenance.origin,
            content=provenance.content,
            is_late=provenance.is_late,
        )
        self._announcing.on_durable(verified, untold)
        self._following.follow(head, verified, provenance, now)

    def _has_turned_bad(self, head: Head, now: Now) -> bool:
        """Whether whom we believe changed while a manifest was on its way to the disk, and affects
        what is said of its order: heads are judged again only once they are durable."""
        if head.manifest.artifact_type in TRUST_TYPES:
            return False
        beliefs = self._m.beliefs
        if not head.manifest.is_restriction and not is_good(beliefs, head.verified, now):
            return True
        return any(has_lost_trust(beliefs, one, now) for one in head.rivals)

    def persist_again(self) -> None:
        """Try once more what the disk refused, unless something newer took its place."""
        self._durability.keep_again()
        self._activation.take_away_again()
        self._durability.persist_again()

    def on_other_mode(self, now: Now) -> None:
        """Claims of our own that the mode let nobody take up before may be taken up now."""
        before = self._m.beliefs.facts
        self._m.beliefs.on_own_claims(now)
        if self._m.beliefs.facts.own != before.own:
            self._m.unsettled.facts_changed = True
            self._m.unsettled.own_claims_changed = True
            self._following.judge_affected(affected_by(before, self._m.beliefs.facts), now)

    def on_more_known(self, now: Now) -> None:
        """What this node believes, or may do, changed: what waited for that is judged again, and
        what was held and not applied is tried once more."""
        for one in self._m.waiting.on_more_known(now.instant):
            self._on_waited(one, now)
        self._activation.apply_again(now)
        self._activation.withhold(now)

    def is_settled(self, verified: VerifiedManifest) -> bool:
        """Whether a manifest and its content are durable here, or a newer one took its place."""
        found = self._m.catalog.by_prefix(prefix_of(verified.manifest_hash))
        if found is None:
            return self._is_superseded(verified.manifest)
        head, current = found
        if not head.is_durable or self._m.catalog.is_on_its_way(verified.manifest_hash):
            return False
        manifest = current.manifest
        if manifest.tombstone is not None:
            return True
        if current is head.verified and TYPE_RULES[manifest.artifact_type].is_read:
            return head.is_held  # held under another manifest is not read under this one
        return self._contents.is_held(manifest)

    def _is_superseded(self, manifest: Manifest) -> bool:
        """Whether what took its place is durable; a bundle is superseded by one in force only."""
        if manifest.artifact_type is ArtifactType.TRUST_BUNDLE:
            return self._m.beliefs.facts.bundle.bundle_version >= manifest.config_version
        head = self._m.catalog.find(manifest.namespace.text)
        return head is not None and head.is_durable

    def is_named(self, verified: VerifiedManifest) -> bool:
        """Whether a statement stands at the head of its namespace."""
        return self._m.catalog.by_prefix(prefix_of(verified.manifest_hash)) is not None
