"""An operator puts what local software reads back to an older version, and ends that.

Decides: whether a version may be put back, and when a hold ends by its time.
Keeps: only what today's trust admits, for this node and within its age, is put back; a hold is
durable before anything is switched by it; the newest version waits, and no floor moves; a clock
nobody believes ends no hold; of a namespace one switch back is under way.
Must not know: folders and links, how the bytes of a version are found sound.

Going back is an operator's word and never the daemon's own: falling back by itself would be a
rollback whoever can make a version fail might choose. Where the newest version was withdrawn or
revoked there is nothing to go back to: the control plane publishes a higher one.
"""

from dataclasses import dataclass
from typing import Final

from fabgossip.core.activation import Activation
from fabgossip.core.catalog import GONE_STATES, Head
from fabgossip.core.durability import Durability
from fabgossip.core.effects import Answer, Fact, Outcome, Persist, Record
from fabgossip.core.events import ReleaseRequest, RequestId, Token, UseRequest
from fabgossip.core.holdbacks import NEVER_BACK_TYPES
from fabgossip.core.lasting import is_for, is_for_lack_of_claims
from fabgossip.core.machines import Machines
from fabgossip.core.recording import hold_fields
from fabgossip.core.withholding import BY_POLICY
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.mode import Action
from fabgossip.model.moment import Now, seconds_after
from fabgossip.model.persistence import DropHeldBack, HeldBack, PutHeldBack
from fabgossip.trust.rejections import Rejection, RejectionCode

UNDER_WAY: Final = "it is being put back just now: ask again"
OVERTAKEN: Final = "it was taken away meanwhile: fabgossip why says what stands there now"
DAMAGED: Final = (
    "is not what was signed any more, or the disk refused: storage_failed in the log of the "
    "daemon says which"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Use:
    """A hold on its way."""

    request: RequestId | None
    """Who waits; None for one that a process before this one began."""
    held_back: HeldBack
    verified: VerifiedManifest
    earlier: HeldBack | None
    """What the namespace was put back to before: where this one fails, that stays."""


class Using:
    """Holds namespaces back, and releases them."""

    __slots__ = ("_activation", "_durability", "_m", "_switching", "_waiting")

    def __init__(self, machines: Machines, durability: Durability, activation: Activation) -> None:
        self._m = machines
        self._durability = durability
        self._activation = activation
        self._waiting: dict[Token, _Use] = {}
        """Holds on their way to the disk."""
        self._switching: dict[Token, _Use] = {}
        """Durable holds whose version is being switched to."""

    def on_use(self, request: RequestId, body: UseRequest, now: Now) -> None:
        """An operator wants an older version in use."""
        head = self._m.catalog.find(body.namespace)
        if head is None or not is_for(head.manifest, self._m.beliefs):
            detail = f"{body.namespace}: no artifact here that this node uses"
            self._m.out.append(Answer(request=request, outcome=Outcome.UNKNOWN, detail=detail))
            return
        if self._is_under_way(body.namespace):
            self._fail(request, UNDER_WAY)
            return
        judged = self._judge(body, head, now)
        if isinstance(judged, VerifiedManifest):
            self._hold(request, body, judged, now)
            return
        code, why = judged
        detail = f"{body.namespace} {body.order}: {why}"
        answer = Answer(request=request, outcome=Outcome.REFUSED, code=code, detail=detail)
        self._m.out.append(answer)

    def _judge(self, body: UseRequest, head: Head, now: Now) -> VerifiedManifest | tuple[str, str]:
        """What the evidence stands for, or the code and the words of why not."""
        kind = head.manifest.artifact_type
        if kind in NEVER_BACK_TYPES:
            return "type", f"is a {kind.value}, of which no older version is ever used again"
        if head.state in GONE_STATES:
            return (
                "gone",
                f"{head.manifest.order} is {head.state.value}: only a higher version helps",
            )
        if body.order >= head.manifest.order:
            return "newest", f"the newest is {head.manifest.order}: there is nothing to go back to"
        if self._m.shunned.is_shunned(body.envelope, now.instant):
            why = "the daemon ended over its envelope: it is not looked at for an hour"
            return RejectionCode.SHUNNED.value, why
        permission = self._m.beliefs.may(Action.CONTINUE_LAST_GOOD, now, BY_POLICY)
        if not permission.allowed:
            return "mode", f"whether it is still good cannot be told: {permission.reason}"
        return self._judge_envelope(body, now)

    def _judge_envelope(self, body: UseRequest, now: Now) -> VerifiedManifest | tuple[str, str]:
        verdict = self._m.beliefs.recall(body.envelope, now)
        if isinstance(verdict, Rejection):
            return verdict.code.value, f"today's trust refuses it: {verdict.detail}"
        manifest = verdict.manifest
        named = (manifest.namespace.text, manifest.order)
        if named != (body.namespace, body.order) or manifest.artifact_type in NEVER_BACK_TYPES:
            return "damaged", "its folder in local/ holds the envelope of something else"
        if not is_for(manifest, self._m.beliefs):
            return RejectionCode.AUDIENCE_NOT_OURS.value, "it is not for this node"
        if self._m.withholding.is_over_age(verdict, now):
            return "too_old", "it is older than the signed policy lets it be used"
        return verdict

    def _hold(
        self, request: RequestId, body: UseRequest, verified: VerifiedManifest, now: Now
    ) -> None:
        earlier = self._m.holdbacks.find(body.namespace)
        shown = self._activation.shown(body.namespace)
        before = None if shown is None else shown.manifest_hash
        held_back = HeldBack(
            namespace=body.namespace,
            order=body.order,
            envelope=body.envelope,
            before=before if earlier is None else earlier.before,
            owner=body.owner,
            reason=body.reason,
            until=seconds_after(now.unix, body.seconds),
        )
        self._m.holdbacks.on_hold(held_back)
        token = self._durability.next_token()
        self._waiting[token] = _Use(
            request=request, held_back=held_back, verified=verified, earlier=earlier
        )
        self._m.out.append(Persist(token=token, changes=(PutHeldBack(held_back=held_back),)))

    def _is_under_way(self, namespace: str) -> bool:
        uses = (*self._waiting.values(), *self._switching.values())
        return any(one.held_back.namespace == namespace for one in uses)

    def waits_for(self, token: Token) -> bool:
        """Whether a hold, or the switch by one, is on its way to the disk under this token."""
        return token in self._waiting or token in self._switching

    def on_persisted(self, token: Token, now: Now, *, ok: bool) -> None:
        """A hold is durable, or its version is in use; or the disk refused."""
        if token in self._waiting:
            self._on_held_back(self._waiting.pop(token), now, ok=ok)
            return
        use = self._switching.pop(token)
        self._activation.on_persisted(token, now, ok=ok)
        self._on_switched(use, now, ok=ok)

    def _on_held_back(self, use: _Use, now: Now, *, ok: bool) -> None:
        if not self._stands(use):
            self._fail(use.request, OVERTAKEN)
        elif ok:
            fields = hold_fields(use.held_back, use.held_back.owner)
            self._m.out.append(Record(fact=Fact.HELD_BACK, fields=fields))
            self._switching[self._activation.put_back(use.verified)] = use
        else:
            fields = (("operation", "persist"), ("namespace", use.held_back.namespace))
            self._m.out.append(Record(fact=Fact.STORAGE_FAILED, fields=fields))
            self._m.holdbacks.on_over(use.held_back.namespace)
            # A commit that is said to have failed may be on the disk all the same.
            self._durability.keep(DropHeldBack(namespace=use.held_back.namespace))
            self._restore(use, now)
            self._fail(use.request, "the disk refused it")

    def _on_switched(self, use: _Use, now: Now, *, ok: bool) -> None:
        namespace = use.held_back.namespace
        if not self._stands(use):
            self._fail(use.request, OVERTAKEN)
        elif ok and self._activation.shown(namespace) is use.verified:
            self._answer(use.request, Outcome.HELD_BACK, use.held_back)
        else:
            self._activation.end_hold(namespace, "taken away" if ok else "not switched to")
            self._restore(use, now)
            where = f"{namespace} {use.held_back.order}: its folder in local/"
            self._fail(use.request, OVERTAKEN if ok else f"{where} {DAMAGED}")

    def _stands(self, use: _Use) -> bool:
        """Whether nothing ended a hold since it was asked for."""
        return self._m.holdbacks.find(use.held_back.namespace) is use.held_back

    def _restore(self, use: _Use, now: Now) -> None:
        """A hold came to nothing: what stood before it stands."""
        if use.earlier is None:
            self._activation.apply_newest(use.held_back, now)
        else:
            self._m.holdbacks.on_hold(use.earlier)
            self._durability.keep(PutHeldBack(held_back=use.earlier))

    def on_release(self, request: RequestId, body: ReleaseRequest, now: Now) -> None:
        """An operator wants the newest version in use again."""
        if self._is_under_way(body.namespace):
            self._fail(request, UNDER_WAY)
            return
        held_back = self._activation.end_hold(body.namespace, "released", body.owner)
        if held_back is None:
            detail = f"{body.namespace}: no older version is held in use here"
            self._m.out.append(Answer(request=request, outcome=Outcome.UNKNOWN, detail=detail))
            return
        self._activation.apply_newest(held_back, now)
        self._answer(request, Outcome.RELEASED, held_back)

    def on_refresh(self, now: Now) -> None:
        """Holds end; a clock nobody believes ends none."""
        if self._m.beliefs.facts.freshness.is_clock_suspect:
            return
        for one in self._m.holdbacks.ended(now.unix):
            if not self._is_under_way(one.namespace):
                self._activation.end_hold(one.namespace, "its time is over")
                self._activation.apply_newest(one, now)

    def on_started(self, now: Now) -> None:
        """What a process before this one held back, judged once more; where it ended between a
        hold and its switch, that is done now."""
        for held_back in self._m.holdbacks.all():
            if self._m.shunned.is_shunned(held_back.envelope, now.instant):
                continue  # in `local/` all stays as it is
            verdict = self._m.beliefs.recall(held_back.envelope, now)
            if not isinstance(verdict, Rejection):
                self._take_up(held_back, verdict)
            elif not is_for_lack_of_claims(self._m.beliefs, verdict):
                self._activation.end_hold(held_back.namespace, "today's trust refuses it")
                self._activation.apply_newest(held_back, now)

    def _take_up(self, held_back: HeldBack, verified: VerifiedManifest) -> None:
        shown = self._activation.shown(held_back.namespace)
        if shown is None:
            # Put away for its age: it comes back as anything that was.
            self._m.withholding.on_away(verified)
        elif shown.manifest_hash != verified.manifest_hash:
            use = _Use(request=None, held_back=held_back, verified=verified, earlier=None)
            self._switching[self._activation.put_back(verified)] = use

    def _fail(self, request: RequestId | None, detail: str) -> None:
        if request is not None:
            self._m.out.append(Answer(request=request, outcome=Outcome.FAILED, detail=detail))

    def _answer(self, request: RequestId | None, outcome: Outcome, held_back: HeldBack) -> None:
        if request is None:
            return
        answer = Answer(
            request=request, outcome=outcome, namespace=held_back.namespace, held_back=held_back
        )
        self._m.out.append(answer)
