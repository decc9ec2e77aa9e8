"""What consumers on this node read: switched to, put away, brought back, taken away.

Decides: whether a content that is held may be applied, and when a failed switch is tried again.
Keeps: consumers read only what today's trust lets stand, and what was taken away never comes back;
what more nodes may read than what consumers read last waits until everything is fresh; where an
operator put them back, nothing newer is switched to until that ends, and whatever is taken away
there ends it; a revocation list is never taken away for its age, since who finds none would take
nothing for revoked.
Must not know: folders and links, how a content came here.
"""

from typing import Final, TypeGuard

from fabgossip.core.affected import IsAffected
from fabgossip.core.catalog import HOLDING_STATES, Head, HeadState, is_narrower
from fabgossip.core.durability import Durability
from fabgossip.core.effects import Fact, Materialize, Record
from fabgossip.core.events import LocalDamaged, Token
from fabgossip.core.lasting import is_for, is_for_lack_of_claims, is_good, is_last_good
from fabgossip.core.machines import Machines
from fabgossip.core.own_contents import OwnContents
from fabgossip.core.recording import fields_of, hold_fields
from fabgossip.core.withholding import BY_POLICY
from fabgossip.model.artifact import ArtifactType, Manifest, VerifiedManifest
from fabgossip.model.ids import ContentHash
from fabgossip.model.mode import Action
from fabgossip.model.moment import Now, is_past
from fabgossip.model.persistence import DropHeldBack, HeldBack
from fabgossip.trust.rejections import Rejection

STAGED_TYPES: Final = frozenset({ArtifactType.UPDATE_MANIFEST})
"""Never activated by the daemon itself: what they do is for their consumer to start."""
_IN_USE: Final = frozenset({HeadState.CURRENT, HeadState.APPLYING, HeadState.UNAPPLIED})
_BEFORE_ALL: Final = Token(0)


class Activation:
    """Switches namespaces, and takes them away."""

    __slots__ = (
        "_contents",
        "_durability",
        "_left_alone",
        "_m",
        "_materializing",
        "_shown",
        "_unwithdrawn",
        "_withdrawing",
    )

    def __init__(self, machines: Machines, durability: Durability, contents: OwnContents) -> None:
        self._m = machines
        self._durability = durability
        self._contents = contents
        self._materializing: dict[Token, tuple[str, VerifiedManifest]] = {}
        self._shown: dict[str, VerifiedManifest] = {}
        """What consumers read, or may start, by namespace."""
        self._withdrawing: dict[Token, tuple[str, bool]] = {}
        self._unwithdrawn: dict[str, bool] = {}
        """Namespaces the disk would not withdraw, and whether they are to be purged."""
        self._left_alone: dict[str, bytes] = {}
        """What consumers read and this process has not looked at, as one before it ended over it:
        namespace and envelope."""

    def on_recalled(self, namespace: str, envelope: bytes, now: Now) -> None:
        """What consumers read may be older than the head, whose content never came: it is judged
        for itself."""
        if self._is_leaving(namespace):
            return
        verdict = self._m.beliefs.recall(envelope, now)
        shown = verdict.verified if isinstance(verdict, Rejection) else verdict
        if shown is None or shown.manifest.namespace.text != namespace:
            self.take_away(namespace)
            return
        self._shown[namespace] = shown
        self._take_away_if_bad(namespace, shown, now)

    def leave_alone(self, namespace: str, envelope: bytes) -> None:
        """What consumers read stays where it is, without a look at it for now."""
        self._left_alone[namespace] = envelope

    def _look_at_last(self, namespaces: list[str], now: Now) -> None:
        for namespace in namespaces:
            envelope = self._left_alone.pop(namespace)
            if namespace not in self._shown:
                self.on_recalled(namespace, envelope, now)

    def on_recalled_away(self, namespace: str, envelope: bytes, now: Now) -> None:
        """Consumers read the head once, and find no link now: it was too old before this start."""
        head = self._m.catalog.find(namespace)
        if head is None or head.state is not HeadState.HELD or head.verified.envelope != envelope:
            return
        if is_past(head.manifest.refresh_by, now.unix):
            head.state = HeadState.WITHHELD
            self._m.withholding.on_away(head.verified)

    def shown(self, namespace: str) -> VerifiedManifest | None:
        """What consumers read, or may start, in a namespace."""
        return self._shown.get(namespace)

    def shown_of(self, content_hash: ContentHash) -> tuple[VerifiedManifest, ...]:
        """What consumers read, or may start, of a content. Cost: O(what is shown)."""
        return tuple(
            one for one in self._shown.values() if one.manifest.content_hash == content_hash
        )

    def on_damaged(self, event: LocalDamaged, now: Now) -> None:
        """What consumers read is not what was signed: it is written anew where its content is held,
        and taken away where it is not, until something can be switched to."""
        namespace, shown = event.namespace, self._shown.get(event.namespace)
        is_under_way = any(name == namespace for name, _ in self._materializing.values())
        if shown is None or shown.manifest_hash != event.manifest_hash or is_under_way:
            return  # nobody reads that any more
        head = self._m.catalog.find(namespace)
        self._m.out.append(Record(fact=Fact.LOCAL_DAMAGED, fields=fields_of(shown, "local disk")))
        if not self._contents.is_held(shown.manifest):
            self._lose(namespace, now)
            return
        if _is_head(head, shown) and head.state is HeadState.CURRENT:
            head.state = HeadState.APPLYING
        self._switch(shown, is_damaged=True)

    def unclaimed(self) -> tuple[VerifiedManifest, ...]:
        """What consumers read, or may start, in namespaces without a head, in order: the index was
        lost, and nobody announced them since. Cost: O(what is shown)."""
        return tuple(
            self._shown[one] for one in sorted(self._shown) if self._m.catalog.find(one) is None
        )

    def apply(self, head: Head, verified: VerifiedManifest, now: Now) -> None:
        """Switch to a content that is held, if this node may."""
        if not self._may_apply(head, now):
            head.state = self._unapplied_state(head)
            return
        head.state = HeadState.APPLYING
        self._switch(verified)

    def _unapplied_state(self, head: Head) -> HeadState:
        is_held_back = self._m.holdbacks.find(head.manifest.namespace.text) is not None
        return HeadState.HELD_BACK if is_held_back else HeadState.HELD

    def put_back(self, verified: VerifiedManifest) -> Token:
        """Switch to an older version whose folder is still there, as an operator asked; what is
        switched to under this token is judged once more when it is there."""
        return self._switch(verified, is_kept=True)

    def end_hold(self, namespace: str, why: str, owner: str = "") -> HeldBack | None:
        """What an operator put back is so no longer, durably; gives what it was."""
        held_back = self._m.holdbacks.on_over(namespace)
        if held_back is not None:
            self._durability.keep(DropHeldBack(namespace=namespace))
            fields = hold_fields(held_back, owner or held_back.owner)
            self._m.out.append(Record(fact=Fact.RELEASED, fields=(*fields, ("reason", why))))
        return held_back

    def apply_newest(self, held_back: HeldBack, now: Now) -> None:
        """A hold is over: the newest is switched to as any, and what was read before the hold
        also past its refresh time."""
        head = self._m.catalog.find(held_back.namespace)
        if head is None or head.state is not HeadState.HELD_BACK:
            return
        head.state = HeadState.HELD
        if self._may_apply(head, now) or self._may_read_again(head, held_back, now):
            head.state = HeadState.APPLYING
            self._switch(head.verified)

    def _may_read_again(self, head: Head, held_back: HeldBack, now: Now) -> bool:
        """Whether the head is what consumers read before a hold, and may."""
        if head.verified.manifest_hash != held_back.before:
            return False
        beliefs, is_doubted = self._m.beliefs, head.is_disputed or head.is_unlisted
        may_go_on = beliefs.may(Action.CONTINUE_LAST_GOOD, now, BY_POLICY).allowed
        is_old = self._m.withholding.is_over_age(head.verified, now)
        return may_go_on and not is_doubted and not is_old and is_good(beliefs, head.verified, now)

    def apply_superseded(self, head: Head, before: Head, now: Now) -> None:
        """Switch to a version although a newer one is known: it came while that one is still on
        its way. Where versions follow each other faster than their contents come, consumers would
        else never get a newer one."""
        if self._may_apply_superseded(head, before, now):
            self._switch(before.verified)

    def _may_apply_superseded(self, head: Head, before: Head, now: Now) -> bool:
        """As strict as for a head, and only forward."""
        beliefs, verified, manifest = self._m.beliefs, before.verified, before.manifest
        if not self._may_switch(manifest):
            return False
        if head.state is not HeadState.BEHIND or not before.is_current_at(now.unix):
            return False
        if not is_good(beliefs, verified, now) or not beliefs.may(Action.APPLY, now).allowed:
            return False
        namespace = manifest.namespace.text
        last = self._shown.get(namespace) or self._m.withholding.away(namespace)
        if last is not None and last.manifest.order >= manifest.order:
            return False
        is_wider = last is None or not is_narrower(manifest, last.manifest)
        return not is_wider or beliefs.may(Action.HIGH_RISK, now).allowed

    def _may_apply(self, head: Head, now: Now) -> bool:
        """Only what is for this node, undisputed, listed where it must be, within its refresh time,
        in a mode that allows it; what widens an audience only while everything is fresh."""
        beliefs, manifest = self._m.beliefs, head.manifest
        if not self._may_switch(manifest):
            return False
        if not head.is_current_at(now.unix) or not beliefs.may(Action.APPLY, now).allowed:
            return False
        return not self._widens(head) or beliefs.may(Action.HIGH_RISK, now).allowed

    def _may_switch(self, manifest: Manifest) -> bool:
        """Whether it is for this node, and no operator put the namespace back."""
        if self._m.holdbacks.find(manifest.namespace.text) is not None:
            return False
        return is_for(manifest, self._m.beliefs)

    def _widens(self, head: Head) -> bool:
        """Whether it opens the namespace to more nodes than what consumers read last. Versions that
        were held back count for nothing: the control plane signs the same again every day."""
        namespace = head.manifest.namespace.text
        last = self._shown.get(namespace) or self._m.withholding.away(namespace)
        return head.widens if last is None else not is_narrower(head.manifest, last.manifest)

    def _switch(
        self, verified: VerifiedManifest, *, is_kept: bool = False, is_damaged: bool = False
    ) -> Token:
        manifest = verified.manifest
        token = self._durability.next_token()
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
                is_kept=is_kept,
                is_damaged=is_damaged,
            )
        )
        return token

    def apply_again(self, now: Now) -> None:
        """Try every switch once more that failed, or was not allowed before. Cost: O(heads)."""
        is_allowed = self._m.beliefs.may(Action.APPLY, now).allowed
        unused = {HeadState.HELD, HeadState.HELD_BACK} if is_allowed else set[HeadState]()
        for head in self._m.catalog.heads():
            waits = head.state in unused and self._may_apply(head, now)
            if head.state is HeadState.UNAPPLIED or waits:
                self.apply(head, head.verified, now)

    def on_persisted(self, token: Token, now: Now, *, ok: bool) -> bool:
        """A namespace was switched or taken away, or could not be; False if the token stands for
        neither."""
        if token in self._materializing:
            self._on_materialized(token, now, ok=ok)
            return True
        if token in self._withdrawing:
            self._on_taken_away(token, ok=ok)
            return True
        return False

    def _on_materialized(self, token: Token, now: Now, *, ok: bool) -> None:
        namespace, verified = self._materializing.pop(token)
        head = self._m.catalog.find(namespace)
        if not ok:
            fields = (("operation", "materialize"), ("namespace", namespace))
            self._m.out.append(Record(fact=Fact.STORAGE_FAILED, fields=fields))
            is_its = head is not None and head.verified is verified
            if head is not None and is_its and head.state is HeadState.APPLYING:
                head.state = HeadState.UNAPPLIED
                self._contents.read_again(verified)  # what is damaged is applied by no second try
            return
        if self._is_leaving(namespace, after=token):
            return
        self._shown[namespace] = verified
        self._m.withholding.on_over(namespace)
        self._unwithdrawn.pop(namespace, None)
        self._take_away_if_bad(namespace, verified, now)
        if head is not None and verified.manifest.order < head.manifest.order:
            is_back = head.state in (HeadState.CURRENT, HeadState.HELD_BACK)
            why = "held back" if is_back else "superseded"
            late = Record(fact=Fact.ARTIFACT_CURRENT, fields=fields_of(verified, why))
            self._m.out.append(late)
            if head.state is HeadState.CURRENT:
                head.state, head.current_since = HeadState.HELD_BACK, None
        if head is None or head.verified is not verified or head.state is not HeadState.APPLYING:
            return
        head.state = HeadState.CURRENT
        head.current_since = now.unix
        staged = verified.manifest.artifact_type in STAGED_TYPES
        fact = Fact.ARTIFACT_STAGED if staged else Fact.ARTIFACT_CURRENT
        self._m.out.append(Record(fact=fact, fields=fields_of(verified, head.source)))

    def _on_taken_away(self, token: Token, *, ok: bool) -> None:
        namespace, purge = self._withdrawing.pop(token)
        if ok:
            self._unwithdrawn.pop(namespace, None)
            return
        self._unwithdrawn[namespace] = purge
        fields = (("operation", "withdraw"), ("namespace", namespace))
        self._m.out.append(Record(fact=Fact.STORAGE_FAILED, fields=fields))

    def withhold(self, now: Now) -> None:
        """Put away what is older than the signed policy lets consumers read, and bring back what it
        lets them read again."""
        shunned = self._m.shunned
        self._look_at_last(
            [
                namespace
                for namespace, envelope in self._left_alone.items()
                if not shunned.is_shunned(envelope, now.instant)
            ],
            now,
        )
        for namespace, shown in tuple(self._shown.items()):
            if self._m.withholding.is_over_age(shown, now):
                self._put_away(namespace, shown)
        for verified in self._m.withholding.next_back(now):
            self._bring_back(verified, now)

    def _put_away(self, namespace: str, shown: VerifiedManifest) -> None:
        """Its content stays, is served as stale until it expires, and may come back."""
        self._unlink(namespace, purge=False)
        self._m.withholding.on_away(shown)
        head = self._m.catalog.find(namespace)
        if _is_head(head, shown) and head.state in HOLDING_STATES:
            head.state, head.current_since = HeadState.WITHHELD, None
        record = Record(fact=Fact.ARTIFACT_WITHHELD, fields=fields_of(shown, "over age"))
        self._m.out.append(record)

    def _bring_back(self, verified: VerifiedManifest, now: Now) -> None:
        namespace = verified.manifest.namespace.text
        head = self._m.catalog.find(namespace)
        is_under_way = any(name == namespace for name, _ in self._materializing.values())
        held_back = self._m.holdbacks.find(namespace)
        is_kept = held_back is not None and held_back.envelope == verified.envelope
        is_here = is_kept or self._contents.is_held(verified.manifest)
        if is_under_way or not is_here or not is_good(self._m.beliefs, verified, now):
            return
        if self._is_for_others(verified.manifest):
            return
        if _is_head(head, verified):
            if head.is_disputed or head.is_unlisted:
                return
            head.state = HeadState.APPLYING
        self._switch(verified, is_kept=is_kept)

    def take_away(self, namespace: str, *, purge: bool = False) -> None:
        """For good: what was put away before does not come back either. Where nothing was ever
        applied, there is nothing to withdraw and nothing happens. Where it was put back, that is
        over."""
        self._m.withholding.on_over(namespace)
        self.end_hold(namespace, "taken away")
        self._unlink(namespace, purge=purge)

    def _unlink(self, namespace: str, *, purge: bool) -> None:
        self._shown.pop(namespace, None)
        token = self._durability.next_token()
        self._withdrawing[token] = (namespace, purge)
        self._m.out.append(Materialize(token=token, namespace=namespace, order=None, purge=purge))
        head = self._m.catalog.find(namespace)
        if head is not None and head.state is HeadState.APPLYING:
            # What was shown goes, and not what is being switched to: the disk does both in turn.
            self._switch(head.verified)

    def take_away_again(self) -> None:
        """Try once more what the disk would not take away."""
        for namespace, purge in tuple(self._unwithdrawn.items()):
            self._unlink(namespace, purge=purge)

    def _is_leaving(self, namespace: str, after: Token = _BEFORE_ALL) -> bool:
        """Whether the disk was asked, after something else, to take it away, and has not yet."""
        return any(
            name == namespace and token > after for token, (name, _) in self._withdrawing.items()
        )

    def judge_again(self, is_affected: IsAffected, now: Now) -> None:
        """Whom we believe changed: what is not believed any more is taken from consumers. What was
        left alone is looked at for that: a revocation is worth the risk."""
        self._look_at_last(list(self._left_alone), now)
        for namespace, shown in tuple(self._shown.items()):
            if is_affected(shown):
                self._take_away_if_bad(namespace, shown, now)

    def on_expiry(self, now: Now) -> None:
        """Take away what has expired. A revocation list stays where local software reads it: who
        finds none would take nothing for revoked."""
        for namespace, shown in tuple(self._shown.items()):
            is_list = shown.manifest.artifact_type is ArtifactType.REVOCATION_LIST
            if not is_list and is_past(shown.manifest.expires_at, now.unix):
                self._lose(namespace, now)

    def _take_away_if_bad(self, namespace: str, shown: VerifiedManifest, now: Now) -> None:
        verdict = self._m.beliefs.recall(shown.envelope, now)
        if not isinstance(verdict, Rejection):
            if self._is_for_others(shown.manifest):
                self._leave_to_others(namespace, shown, now)
            return
        if not is_last_good(self._m.beliefs, verdict):
            self._lose(namespace, now)
        elif not is_for_lack_of_claims(self._m.beliefs, verdict):
            # Of an epoch that is over: it stays until something newer comes, and no longer.
            self._end_bad_hold(namespace, now)

    def _is_for_others(self, manifest: Manifest) -> bool:
        """Whether this node only stores it: no assignment lets it apply. Who has no claims does not
        know."""
        beliefs = self._m.beliefs
        return bool(beliefs.facts.own.scope_ids) and not is_for(manifest, beliefs)

    def _leave_to_others(self, namespace: str, shown: VerifiedManifest, now: Now) -> None:
        """Its content is held on, and consumers here have no right to it any more."""
        fields = fields_of(shown, "only stored here")
        self._m.out.append(Record(fact=Fact.ARTIFACT_WITHHELD, fields=fields))
        head = self._m.catalog.find(namespace)
        if head is not None and head.state in _IN_USE and self._is_for_others(head.manifest):
            head.state, head.current_since = HeadState.HELD, None
        self._lose(namespace, now)

    def _end_bad_hold(self, namespace: str, now: Now) -> None:
        held_back = self.end_hold(namespace, "its epoch is over")
        if held_back is not None:
            self.apply_newest(held_back, now)

    def _lose(self, namespace: str, now: Now) -> None:
        """What consumers read is no good any more; where it was put back, the newest may be."""
        held_back = self._m.holdbacks.find(namespace)
        self.take_away(namespace)
        if held_back is not None:
            self.apply_newest(held_back, now)


def _is_head(head: Head | None, verified: VerifiedManifest) -> TypeGuard[Head]:
    """Whether a statement is the head of its namespace, also one read from the disk anew."""
    return head is not None and head.verified.manifest_hash == verified.manifest_hash
