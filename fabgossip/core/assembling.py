"""Snapshots assembled from increments instead of fetched whole: the way from an older one to a
newer, and back to the full snapshot wherever it breaks.

Decides: where a chain begins; what of an answer links; what each fault means.
Keeps: every increment passes the gate before its content is wanted; whatever breaks ends in the
full snapshot; a peer is blamed for what it sent, never for a chain that does not link.
Must not know: whom to ask, how a result is made, which source brings a content.
"""

from typing import Final

from fabgossip.core.accepting import Accepting
from fabgossip.core.breaking import Breaking, fields_of_attempt
from fabgossip.core.catalog import Head, prefix_of
from fabgossip.core.chains import (
    FETCHED_WITHIN,
    Attempt,
    Gap,
    Stage,
    fault_of,
)
from fabgossip.core.durability import Durability, Provenance
from fabgossip.core.effects import Assemble, Fact, Record
from fabgossip.core.events import AssemblyFailed, LinkId
from fabgossip.core.history import KEPT_MAX, base_of, chain_between
from fabgossip.core.inquiring import Inquiring
from fabgossip.core.lasting import is_for_lack_of_claims, is_good
from fabgossip.core.lines import Lines
from fabgossip.core.machines import Machines
from fabgossip.core.own_contents import OwnContents
from fabgossip.core.recording import rejected
from fabgossip.core.sessions import Session
from fabgossip.core.wants import wanted_from
from fabgossip.model.artifact import ArtifactType, VerifiedManifest
from fabgossip.model.ids import ContentHash, NodeId
from fabgossip.model.increments import AssemblyFault, has_mark
from fabgossip.model.messages import (
    CHAIN_STEPS_MAX,
    Chain,
)
from fabgossip.model.moment import Now
from fabgossip.trust.facts import Asked
from fabgossip.trust.rejections import Blame, Rejection, RejectionCode

_TAKEN_AWAY: Final = frozenset(
    {
        RejectionCode.ARTIFACT_REVOKED,
        RejectionCode.KEY_REVOKED,
        RejectionCode.KEY_RETIRED,
        RejectionCode.TOMBSTONED,
        RejectionCode.EXPIRED,
    }
)
_OTHER_EPOCH: Final = frozenset({RejectionCode.EPOCH_STALE, RejectionCode.EPOCH_UNKNOWN})


class Assembling:
    """Goes from a snapshot that is held to the one that is wanted."""

    __slots__ = (
        "_accepting",
        "_breaking",
        "_contents",
        "_durability",
        "_inquiring",
        "_lines",
        "_m",
    )

    def __init__(
        self,
        machines: Machines,
        durability: Durability,
        contents: OwnContents,
        accepting: Accepting,
        lines: Lines,
    ) -> None:
        self._m = machines
        self._durability = durability
        self._contents = contents
        self._breaking = Breaking(machines, durability, contents)
        self._inquiring = Inquiring(machines, self._breaking)
        self._accepting = accepting
        self._lines = lines

    # Where a chain begins.

    def begin(self, head: Head, origin: LinkId | None, now: Now) -> bool:
        """A durable head's content is wanted: whether that is seen to here, as a chain or as the
        whole."""
        before = self._m.chains.find(head.manifest.namespace.text)
        if before is not None:
            self._m.chains.on_overtaken(before)
        base = self._base_of(head)
        if base is None or (head.increment is None and not has_mark(head.manifest)):
            return False
        attempt = self._m.chains.begin(head.verified, base.manifest, origin, now.instant)
        if attempt is None:
            return False
        self._set_out(attempt, head, now)
        return True

    def _set_out(self, attempt: Attempt, head: Head, now: Now) -> None:
        manifest, base = head.manifest, attempt.base
        if base.authority_epoch != manifest.authority_epoch:
            self._breaking.gap(attempt, Gap.EPOCH_CHANGED, now)
        elif manifest.config_version - base.config_version > CHAIN_STEPS_MAX:
            self._breaking.gap(attempt, Gap.TOO_LONG, now)
        elif (steps := self._own_steps(head, attempt)) is not None:
            self._use_own(attempt, steps, now)
        else:
            self._inquiring.ask(attempt, Gap.BASE_UNKNOWN, now, detail="nobody linked can be asked")

    def _base_of(self, head: Head) -> Head | None:
        """The newest version before it whose content is here."""
        if head.manifest.artifact_type is not ArtifactType.CLUSTER_SNAPSHOT:
            return None
        before = head.replaces
        while before is not None and not self._contents.is_held(before.manifest):
            before = before.replaces
        return before if before is None or before.manifest.tombstone is None else None

    def _own_steps(self, head: Head, attempt: Attempt) -> tuple[VerifiedManifest, ...] | None:
        """The chain, where all increments of it are kept here."""
        found = chain_between(head.kept, attempt.base.content_hash, head.manifest.content_hash)
        return None if found is None else tuple(one.verified for one in found)

    # What comes.

    def on_announced(self, verified: VerifiedManifest, announcer: NodeId) -> bool:
        """One more tells of what a chain is tried for, and is asked where that breaks: whether the
        content, if it came along, is taken at once."""
        attempt = self._m.chains.find(verified.manifest.namespace.text)
        if (
            attempt is None
            or attempt.head.manifest_hash != verified.manifest_hash
            or not self._breaking.stands(attempt)
        ):
            return False
        attempt.on_announced(announcer)
        # What is being made is here as soon.
        return attempt.stage is not Stage.ASSEMBLING

    def on_kept(self, head: Head, increment: VerifiedManifest, now: Now) -> None:
        """An increment of a head is durable, and its content on its way: it may be what its chain
        lacked."""
        attempt = self._m.chains.find(head.manifest.namespace.text)
        if (
            attempt is None
            or attempt.stage is not Stage.ASKED
            or not self._breaking.stands(attempt)
        ):
            return
        steps = self._own_steps(head, attempt)
        if steps is not None:
            self._use_own(attempt, steps, now, coming=increment)

    def on_chain(self, session: Session, message: Chain, now: Now) -> None:
        """The answer to a question; to nothing that is asked, or not any more, it is nothing."""
        attempt = self._m.chains.asked(session.link, message.head)
        if attempt is None or not self._breaking.stands(attempt):
            return
        steps = self._judge(attempt, session, message, now)
        if isinstance(steps, Gap):
            self._inquiring.on_vain(attempt, steps, now)
        else:
            self._use(attempt, steps, now)

    def _judge(
        self, attempt: Attempt, session: Session, message: Chain, now: Now
    ) -> tuple[VerifiedManifest, ...] | Gap:
        """Every increment passes the gate, the last one first: each must make what the one after it
        starts from."""
        if not message.envelopes:
            return Gap.BASE_UNKNOWN
        steps: list[VerifiedManifest] = []
        result = attempt.head.manifest.content_hash
        for envelope in reversed(message.envelopes):
            asked = Asked(namespace=attempt.namespace, result_hash=result)
            verdict = self._m.beliefs.admit(envelope, asked, self._lines, now)
            if isinstance(verdict, Rejection):
                return self._refused(session, verdict, now)
            is_older = not steps or verdict.manifest.order < steps[-1].manifest.order
            if not is_older or self._m.chains.is_set_aside(verdict.manifest_hash):
                return Gap.LINK_MISSING
            steps.append(verdict)
            result = base_of(verdict).content_hash
        if result != attempt.base.content_hash:
            return Gap.LINK_MISSING
        chain = tuple(reversed(steps))
        return self._fault_of(attempt, chain, now) or chain

    def _fault_of(
        self, attempt: Attempt, steps: tuple[VerifiedManifest, ...], now: Now
    ) -> Gap | None:
        """Why a chain that links is of no use; None if it is."""
        fault = fault_of(attempt.head, steps)
        if fault is None and not all(is_good(self._m.beliefs, one, now) for one in steps):
            return Gap.WITHDRAWN
        return fault

    def _refused(self, session: Session, verdict: Rejection, now: Now) -> Gap:
        self._m.out.append(rejected(verdict, source=session.node_id))
        is_mine = is_for_lack_of_claims(self._m.beliefs, verdict)
        if verdict.blame is Blame.PEER and not is_mine:
            self._m.policing.on_failed(session, now.instant)
        if verdict.code in _TAKEN_AWAY:
            return Gap.WITHDRAWN
        return Gap.EPOCH_CHANGED if verdict.code in _OTHER_EPOCH else Gap.LINK_MISSING

    def _use_own(
        self,
        attempt: Attempt,
        steps: tuple[VerifiedManifest, ...],
        now: Now,
        *,
        coming: VerifiedManifest | None = None,
    ) -> None:
        """What is kept here is no better elsewhere: nobody is asked for another chain."""
        fault = self._fault_of(attempt, steps, now)
        if fault is None:
            self._use(attempt, steps, now, coming=coming)
        else:
            self._breaking.gap(attempt, fault, now)

    def _use(
        self,
        attempt: Attempt,
        steps: tuple[VerifiedManifest, ...],
        now: Now,
        *,
        coming: VerifiedManifest | None = None,
    ) -> None:
        """The contents of a chain are wanted, all at once."""
        link, attempt.link = attempt.link, None
        self._m.chains.enter(attempt, Stage.FETCHING)
        self._make_room(attempt.namespace, steps)
        attempt.steps = tuple(self._keep(one, link, attempt.peer or "") for one in steps)
        self._inquiring.look_again(attempt, FETCHED_WITHIN, now)
        for one in attempt.steps:
            # What is on its way to the disk is wanted once it is there, or came along.
            is_coming = one is coming or self._m.catalog.is_on_its_way(one.manifest_hash)
            if not self._contents.is_held(one.manifest) and not is_coming:
                self._contents.want(one, link or attempt.origin, now)
        self.on_content(now)

    def on_refused(self, increment: VerifiedManifest, now: Now) -> None:
        """The disk did not take an increment: nobody may be told of it, and no chain goes on with
        what a restart would take away. Whoever needs it asks for it anew."""
        self._give_up(increment, Gap.LINK_MISSING, now)

    def on_bad(self, increment: VerifiedManifest, now: Now) -> None:
        """Today's trust admits an increment no more."""
        self._give_up(increment, Gap.WITHDRAWN, now)

    def _give_up(self, increment: VerifiedManifest, why: Gap, now: Now) -> None:
        for attempt in self._m.chains.attempts():
            hashes = {one.manifest_hash for one in attempt.steps}
            if increment.manifest_hash in hashes and attempt.stage is not Stage.ASSEMBLING:
                self._breaking.gap(attempt, why, now)
        self._breaking.forget(increment)

    def _make_room(self, namespace: str, steps: tuple[VerifiedManifest, ...]) -> None:
        """Increments beside a chain are kept as far as there is room beside it."""
        head = self._m.catalog.find(namespace)
        needed = {one.manifest_hash for one in steps}
        kept = () if head is None else head.kept
        others = [one.verified for one in kept if one.verified.manifest_hash not in needed]
        for one in others[KEPT_MAX - len(steps) :]:
            self._breaking.forget(one)

    def _keep(
        self, increment: VerifiedManifest, link: LinkId | None, source: str
    ) -> VerifiedManifest:
        """Keep an increment of a chain, and give it as it is kept; the newest is as good as one
        that was announced."""
        head = self._m.catalog.find(increment.manifest.namespace.text)
        assert head is not None, "a chain leads to a head"
        for one in head.kept:
            if one.verified.manifest_hash == increment.manifest_hash:
                return one.verified
        audience, prefix = increment.manifest.audience, prefix_of(increment.manifest_hash)
        self._m.dissemination.on_accepted(increment.envelope, audience, prefix, link)
        if increment.manifest.order == head.manifest.order:
            self._accepting.accept(increment, Provenance(link, is_late=True), source)
        else:
            self._durability.keep(*self._accepting.keep(increment))
        return increment

    def on_content(self, now: Now) -> None:
        """A content came: chains whose increments are all here wait for their assembly, and
        snapshots that came otherwise for none."""
        for attempt in self._m.chains.attempts():
            is_here = self._contents.is_held(attempt.head.manifest)
            if is_here or not self._breaking.stands(attempt):
                if attempt.stage is not Stage.ASSEMBLING:
                    self._m.chains.on_overtaken(attempt)
                    if is_here:
                        self._breaking.let_go(attempt)
            elif attempt.stage is Stage.FETCHING and all(
                self._contents.is_held(one.manifest) for one in attempt.steps
            ):
                self._m.chains.enter(attempt, Stage.WAITING)
        self._assemble_next()

    def _assemble_next(self) -> None:
        attempt = self._m.chains.next_assembly()
        if attempt is not None:
            self._m.out.append(
                Assemble(
                    wanted=wanted_from(attempt.head, is_read=True),
                    increments=tuple(one.manifest for one in attempt.steps),
                )
            )

    def on_stored(self, content_hash: ContentHash, now: Now) -> None:
        """A content is durable here, and was followed: the result of an assembly, or a part of
        one."""
        built = self._m.chains.on_built(content_hash)
        if built is not None:
            self._m.chains.on_assembled(built)
            fields = (*fields_of_attempt(built), ("size", built.head.manifest.content_size))
            self._m.out.append(Record(fact=Fact.CHAIN_ASSEMBLED, fields=fields))
        self.on_content(now)

    # Where it breaks.

    def on_failed(self, event: AssemblyFailed, now: Now) -> None:
        """An assembly came to nothing."""
        attempt = self._m.chains.on_built(event.wanted.content_hash)
        if attempt is not None:
            self._on_broken(attempt, event, now)
        self._assemble_next()

    def _on_broken(self, attempt: Attempt, event: AssemblyFailed, now: Now) -> None:
        step = attempt.steps[event.place]
        match event.fault:
            case AssemblyFault.BASE:
                self._breaking.on_damage(attempt.base.content_hash, now)
                self._breaking.gap(attempt, Gap.BASE_DAMAGED, now)
            case AssemblyFault.INCREMENT:
                self._breaking.on_damage(step.manifest.content_hash, now)
                self._breaking.gap(attempt, Gap.LINK_MISSING, now)
            case AssemblyFault.RESULT:
                self._breaking.set_aside(step)
                self._breaking.gap(attempt, Gap.MISMATCH, now)
            case AssemblyFault.DISK:
                self._breaking.gap(attempt, Gap.TIMEOUT, now, detail="the disk refused the result")

    def on_stuck(self, verified: VerifiedManifest, now: Now) -> bool:
        """Nobody brings a content, or what is signed about it is not true: whether it is that of an
        increment, and its chain broke."""
        attempt = self._m.chains.find(verified.manifest.namespace.text)
        steps = () if attempt is None else attempt.steps
        hashes = {one.manifest_hash for one in steps}
        if attempt is None or verified.manifest_hash not in hashes:
            return False
        self._breaking.gap(attempt, Gap.LINK_MISSING, now, detail="an increment cannot be had")
        return True

    def on_due(self, namespace: str, generation: int, now: Now) -> None:
        """An attempt took as long as it may."""
        attempt = self._m.chains.find(namespace)
        if attempt is None or attempt.generation != generation:
            return
        if attempt.stage is Stage.ASKED:
            self._inquiring.on_vain(attempt, Gap.TIMEOUT, now)
        else:
            self._breaking.gap(attempt, Gap.TIMEOUT, now)

    def on_lost(self, link: LinkId, now: Now) -> None:
        """A link ended: what was asked of it is not answered any more."""
        for attempt in self._m.chains.attempts():
            if attempt.link == link:
                self._inquiring.on_vain(attempt, Gap.TIMEOUT, now, detail="the link ended")
