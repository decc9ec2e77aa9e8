"""What local software asks: submit, fetch, also under a grant, pin, use, gate; and when each is
answered.

Decides: nothing its machines do not decide.
Keeps: every request is answered once; a submit once its manifest and content are durable; the
gate's answer is on record before it is given.
Must not know: who asks, over what.
"""

from typing import Final, assert_never

from fabgossip.core.activation import Activation
from fabgossip.core.catalog import GONE_STATES, prefix_of
from fabgossip.core.effects import Answer, Fact, Outcome, Record, SetTimer
from fabgossip.core.events import (
    ContentFailed,
    FetchRequest,
    GateRequest,
    GrantedRequest,
    PinRequest,
    ReleaseRequest,
    RequestDue,
    RequestId,
    RequestMade,
    SubmitRequest,
    UnpinRequest,
    UseRequest,
)
from fabgossip.core.intake import Intake
from fabgossip.core.keeping import Keeping
from fabgossip.core.machines import Machines
from fabgossip.core.own_contents import OwnContents
from fabgossip.core.permits import Permits
from fabgossip.core.using import Using
from fabgossip.core.wants import DISK_WAITS, FAILURE_CODES, Want, WantState
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.ids import ContentHash
from fabgossip.model.mode import RISKS
from fabgossip.model.moment import Duration, Now, later
from fabgossip.trust.rejections import Rejection

UNKNOWN_ACTION: Final = "unknown action"
"""The subject of the audit's record of an action that is not among `RISKS`."""


class Requests:
    """Takes requests of local software and owes each an answer."""

    __slots__ = (
        "_activation",
        "_contents",
        "_intake",
        "_keeping",
        "_m",
        "_permits",
        "_requests",
        "_submits",
        "_using",
    )

    def __init__(
        self,
        machines: Machines,
        intake: Intake,
        contents: OwnContents,
        keeping: Keeping,
        activation: Activation,
        using: Using,
    ) -> None:
        self._m = machines
        self._intake = intake
        self._contents = contents
        self._keeping = keeping
        self._activation = activation
        self._using = using
        self._permits = Permits(machines.beliefs)
        self._submits: dict[RequestId, tuple[VerifiedManifest, Outcome]] = {}
        self._requests: dict[RequestId, ContentHash] = {}

    def on_request(self, event: RequestMade, now: Now) -> None:
        """Local software asks for something."""
        match event.body:
            case SubmitRequest():
                self._on_submit(event.request, event.body.envelope, now)
            case FetchRequest():
                self._on_fetch(event.request, event.body, now)
            case GrantedRequest():
                self._m.granted.on_request(event.request, event.body, now)
            case PinRequest():
                self._keeping.on_pin(event.request, event.body, now)
            case UnpinRequest():
                self._keeping.on_unpin(event.request, event.body)
            case UseRequest():
                self._using.on_use(event.request, event.body, now)
            case ReleaseRequest():
                self._using.on_release(event.request, event.body, now)
            case GateRequest():
                self._on_gate(event.request, event.body, now)
            case _:
                assert_never(event.body)

    def _on_gate(self, request: RequestId, body: GateRequest, now: Now) -> None:
        """Every answer is on record before it is given."""
        head = None if body.namespace is None else self._m.catalog.find(body.namespace)
        if body.content_hash is not None:
            named = self._m.catalog.by_content(body.content_hash)
            head = next((one for one, verified in named if verified is one.verified), None)
        names_artifact = body.namespace is not None or body.content_hash is not None
        shown = None if head is None else self._activation.shown(head.manifest.namespace.text)
        is_held_back = (
            head is not None and self._m.holdbacks.find(head.manifest.namespace.text) is not None
        )
        permit = self._permits.decide(
            body.action,
            head,
            shown,
            now,
            names_artifact=names_artifact,
            is_held_back=is_held_back,
        )
        is_known = permit.action in RISKS
        fields = (
            # Names nobody knows are one subject: whoever makes them up would fill the log.
            ("action", permit.action if is_known else UNKNOWN_ACTION),
            ("decision", "allow" if permit.allowed else "deny"),
            ("code", permit.code.value),
            ("mode", permit.mode.value),
            ("namespace", body.namespace or ""),
            ("asked", "" if is_known else permit.action),
        )
        self._m.out.append(Record(fact=Fact.GATE_ANSWERED, fields=fields))
        self._m.out.append(Answer(request=request, outcome=Outcome.DECIDED, permit=permit))

    def _on_submit(self, request: RequestId, envelope: bytes, now: Now) -> None:
        """A local file passes the same gate as a stranger's bytes; it is answered once it is
        durable."""
        verdict = self._intake.on_envelope(envelope, None, 0, now, source="submit", request=request)
        if isinstance(verdict, VerifiedManifest):
            self._record_submitted(verdict)
            self._submits[request] = (verdict, Outcome.ADMITTED)
            return
        assert verdict is not None
        found = self._known_already(verdict)
        if found is None:
            self._answer_refused(request, verdict)
            return
        self._submits[request] = (found, Outcome.ALREADY_CURRENT)
        if not self._intake.is_settled(found) and found.manifest.tombstone is None:
            self._contents.take(found, request)
        self.answer_settled()

    def _record_submitted(self, verified: VerifiedManifest) -> None:
        """An operator's deed; a refused one is on record as a rejection from here."""
        manifest = verified.manifest
        fields = (
            ("source", "submit"),
            ("namespace", manifest.namespace.text),
            ("order", str(manifest.order)),
        )
        self._m.out.append(Record(fact=Fact.SUBMITTED, fields=fields))

    def _known_already(self, verdict: Rejection) -> VerifiedManifest | None:
        if not verdict.is_known_already or verdict.manifest_hash is None:
            return None
        found = self._m.catalog.by_prefix(prefix_of(verdict.manifest_hash))
        return None if found is None else found[1]

    def _answer_refused(self, request: RequestId, verdict: Rejection) -> None:
        self._m.out.append(
            Answer(
                request=request,
                outcome=Outcome.REFUSED,
                code=verdict.code.value,
                detail=verdict.detail,
                namespace=verdict.namespace,
            )
        )

    def answer_failed(self) -> None:
        """Requests that cannot be answered any more are told so."""
        for request, why in self._m.unsettled.failed_requests:
            self._submits.pop(request, None)
            self._requests.pop(request, None)
            self._m.out.append(Answer(request=request, outcome=Outcome.FAILED, detail=why))
        self._m.unsettled.failed_requests.clear()

    def answer_settled(self) -> None:
        """Submitted manifests whose content is durable too are acknowledged now, and not before;
        what proved to be no content of its type is refused."""
        refused = {
            verified.manifest_hash: verdict
            for verified, verdict in self._m.unsettled.refused_contents
        }
        self._m.unsettled.refused_contents.clear()
        for request, (verified, _) in tuple(self._submits.items()):
            verdict = refused.get(verified.manifest_hash)
            if verdict is not None:
                del self._submits[request]
                self._answer_refused(request, verdict)
        settled = [
            request
            for request, (verified, _) in self._submits.items()
            if self._intake.is_settled(verified)
        ]
        for request in settled:
            verified, outcome = self._submits.pop(request)
            self._m.out.append(
                Answer(
                    request=request,
                    outcome=outcome,
                    content_hash=verified.manifest.content_hash,
                    namespace=verified.manifest.namespace.text,
                )
            )

    def on_persisted(self, *, ok: bool) -> None:
        """Something became durable, or could not be made so."""
        if not ok:
            self._fail_superseded()
        self.answer_settled()

    def _fail_superseded(self) -> None:
        """The disk refuses something: what a newer one replaced may never have been durable, nor
        is that."""
        for request, (verified, _) in tuple(self._submits.items()):
            if not self._intake.is_named(verified) and not self._intake.is_settled(verified):
                self._m.unsettled.failed_requests.append(
                    (request, "the disk refused what replaced it")
                )

    def on_submit_failed(self, event: ContentFailed, request: RequestId, now: Now) -> None:
        """The manifest stands, its content did not fit: it is wanted from whoever has it."""
        submitted = self._submits.pop(request, None)
        is_full = event.reason in DISK_WAITS
        detail = f"the content does not fit its manifest: {event.reason.value}"
        if is_full:
            detail = "the disk takes no more, or failed: fabgossip status says why"
        self._m.out.append(
            Answer(
                request=request,
                outcome=Outcome.FAILED if is_full else Outcome.REFUSED,
                code=FAILURE_CODES[event.reason],
                detail=detail,
            )
        )
        if submitted is not None:
            self._contents.want(submitted[0], None, now)

    def _on_fetch(self, request: RequestId, body: FetchRequest, now: Now) -> None:
        found = self._wanted_by(body)
        if not found:
            detail = "no verified manifest names it here"
            self._m.out.append(Answer(request=request, outcome=Outcome.UNKNOWN, detail=detail))
            return
        held = next((one for one in found if self._contents.is_held(one.manifest)), None)
        if held is not None:
            self._m.retention.on_touched(held.manifest.content_hash)
            self._answer_held(request, held)
            return
        wants = [self._contents.want(one, None, now) for one in found]
        awaited = [
            want is not None and self._m.fetching.on_request(want, request) for want in wants
        ]
        if not any(awaited):
            self._m.out.append(
                Answer(request=request, outcome=Outcome.FAILED, detail="too many wants are open")
            )
            return
        self._requests[request] = found[0].manifest.content_hash
        at = later(now.instant, Duration(body.timeout_ms))
        self._m.out.append(SetTimer(timer=RequestDue(request=request), at=at))

    def _wanted_by(self, body: FetchRequest) -> tuple[VerifiedManifest, ...]:
        """The durable, unexpired manifests that name what is asked for. What is true of a hash is
        not known before it is here: it is awaited under all of them."""
        if body.content_hash is not None:
            found = self._m.catalog.by_content(body.content_hash)
        else:
            head = None if body.namespace is None else self._m.catalog.find(body.namespace)
            found = () if head is None else ((head, head.verified),)
        return tuple(
            verified
            for head, verified in found
            if head.is_durable and head.state not in GONE_STATES
        )

    def on_request_due(self, request: RequestId) -> None:
        """Local software waited as long as it said it would."""
        self._m.granted.on_due(request)
        content_hash = self._requests.pop(request, None)
        if content_hash is None:
            return
        self._m.fetching.on_request_over(content_hash, request)
        self._m.out.append(
            Answer(
                request=request,
                outcome=Outcome.TIMED_OUT,
                detail="no source could serve it in time",
            )
        )

    def on_content(self, ended: tuple[Want, ...]) -> None:
        """A content is here, and with it the end of wants, if anybody waited for them."""
        self.answer_settled()
        for want in ended:
            if want.state is WantState.SATISFIED:
                for request in want.requests:
                    if self._requests.pop(request, None) is not None:
                        self._answer_held(request, want.verified)
        for want in ended:
            why = "its manifest says another size than it has"
            self._m.unsettled.failed_requests += [
                (request, why) for request in want.requests if request in self._requests
            ]

    def _answer_held(self, request: RequestId, verified: VerifiedManifest) -> None:
        self._m.out.append(
            Answer(
                request=request,
                outcome=Outcome.HELD,
                content_hash=verified.manifest.content_hash,
                namespace=verified.manifest.namespace.text,
            )
        )
