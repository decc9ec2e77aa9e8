"""The gate's answers: what they rest on, and that they say so."""

from dataclasses import replace
from typing import Final

import pytest

from fabgossip.core.effects import Answer, Fact, Record
from fabgossip.core.events import (
    AuditChanged,
    AuditState,
    GateRequest,
    RefreshDue,
    RequestId,
    RequestMade,
    TimerFired,
)
from fabgossip.core.problems import ProblemCode
from fabgossip.core.requests import UNKNOWN_ACTION
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.ids import ArtifactId
from fabgossip.model.mode import RISKS, Permit, PermitCode, Risk
from fabgossip.model.moment import UnixTime
from fabgossip.trust.modes import PARTITIONED_AFTER_S
from tests.core.artifacts import artifact, sealed
from tests.core.story import Story
from tests.trust import factory

LASTING: Final = artifact(
    ArtifactType.ROUTE_POLICY_BUNDLE,
    "routes/r1",
    refresh_by=factory.NOW + 9 * factory.DAY,
    expires_at=factory.NOW + 10 * factory.DAY,
)
NAMESPACE: Final = LASTING.manifest.namespace.text


def gate(story: Story, action: str, namespace: str | None = NAMESPACE) -> Permit:
    body = GateRequest(action=action, namespace=namespace)
    story.when(RequestMade(request=RequestId(1), body=body))
    (answer,) = story.find(Answer)
    assert answer.permit is not None
    return answer.permit


@pytest.fixture
def story() -> Story:
    """A node that reads its routes."""
    told = Story()
    told.accept(LASTING, told.link("n2"))
    assert gate(told, "read-config").code is PermitCode.ALLOWED
    return told


def test_without_claims_it_says_what_to_renew_whatever_is_named(story: Story) -> None:
    """The routes are on the disk, and `artifacts` lists them: "no such artifact" sends whoever asks
    to look for them. A name that never was gets the same words."""
    story.now = replace(story.now, unix=UnixTime(factory.NOW + 2 * factory.DAY))
    story.when(TimerFired(timer=RefreshDue()))
    assert ProblemCode.NO_CLAIMS in {
        one.code for one in story.node.view.snapshot(story.now).problems
    }
    answers = [gate(story, "read-config", name) for name in (NAMESPACE, f"{NAMESPACE}x")]
    for one in answers:
        assert (one.allowed, one.code) == (False, PermitCode.NOT_USABLE)
        assert "claims" in one.reason
        assert one.help == "fabgossip status"
    assert answers[0] == answers[1]


def test_with_claims_what_is_not_here_is_unknown(story: Story) -> None:
    assert gate(story, "read-config", f"{NAMESPACE}x").code is PermitCode.UNKNOWN


@pytest.mark.parametrize("action", RISKS)
def test_a_known_action_is_answered_by_its_risk_without_more_words(
    action: str, story: Story
) -> None:
    permit = gate(story, action)
    assert (permit.allowed, permit.risk, permit.reason) == (
        True,
        RISKS[action],
        "fresh allows it",
    )


def test_an_action_nobody_knows_is_of_high_risk_and_told_to_be_unknown(story: Story) -> None:
    """While all is well the answer to a misspelt action is yes, and hides the slip until the day
    it matters."""
    permit = gate(story, "rout")
    assert (permit.allowed, permit.risk) == (True, Risk.HIGH)
    assert permit.reason == "fresh allows it (rout is no known action: judged as high risk)"
    story.wait((PARTITIONED_AFTER_S + 1) * 1_000)
    refused = gate(story, "rout")
    assert not refused.allowed
    assert "rout is no known action" in refused.reason


@pytest.mark.parametrize("state", [AuditState.STOPPED, AuditState.DAMAGED])
def test_nothing_of_high_risk_is_allowed_unless_the_audit_log_is_intact(state: AuditState) -> None:
    story = Story()
    story.accept(LASTING, story.link("n2"))
    allowed = gate(story, "activate-update")
    story.when(AuditChanged(state=state))
    refused = gate(story, "activate-update")
    assert (allowed.allowed, refused.allowed, refused.code) == (True, False, PermitCode.AUDIT)
    assert refused.reason == "the audit log is not intact"
    assert gate(story, "route").allowed
    story.when(AuditChanged(state=AuditState.INTACT))
    assert gate(story, "activate-update").allowed


def test_names_made_up_by_a_caller_are_one_subject_of_the_audit() -> None:
    """Each is on record once, and none makes a record of its own out of the next."""
    story = Story()
    subjects = []
    for name in ("frobnicate", "rout"):
        story.when(RequestMade(request=RequestId(1), body=GateRequest(action=name)))
        (record,) = [one for one in story.find(Record) if one.fact is Fact.GATE_ANSWERED]
        fields = dict(record.fields)
        subjects.append((fields["action"], fields["asked"]))
    assert subjects == [(UNKNOWN_ACTION, "frobnicate"), (UNKNOWN_ACTION, "rout")]


def newer(story: Story) -> Story:
    """A newer version of the routes is announced, and its content not here."""
    statement = replace(LASTING.manifest, config_version=LASTING.manifest.config_version + 1)
    story.announce(sealed(statement, b"not here"), story.link("n3")).persisted()
    return story


@pytest.mark.parametrize("action", ["read-config", "keep-running", "route", "start-service"])
def test_a_newer_version_that_is_not_here_takes_nothing_from_who_goes_on(
    action: str, story: Story
) -> None:
    """Every publication would stop every consumer, until its content has come."""
    permit = gate(newer(story), action)
    assert (permit.allowed, permit.code) == (True, PermitCode.ALLOWED_STALE)
    assert permit.reason == "fresh allows it; 2.7 is in use, 2.8 not here"


@pytest.mark.parametrize("action", ["activate-update", "widen-scope", "admit-peer", "use-grant"])
def test_for_what_is_of_high_risk_or_authority_the_newest_version_counts(
    action: str, story: Story
) -> None:
    permit = gate(newer(story), action)
    assert (permit.allowed, permit.code) == (False, PermitCode.NOT_USABLE)
    assert permit.reason == "it is behind"


def test_without_a_version_before_there_is_nothing_to_go_on_with() -> None:
    story = Story()
    story.announce(LASTING, story.link("n2")).persisted()
    assert gate(story, "read-config").reason == "it is behind"


def test_the_version_in_use_is_judged_by_its_own_age(story: Story) -> None:
    """The newer one is in time; what is read is not, and no policy speaks of it."""
    newer(story)
    past = LASTING.manifest.refresh_by - factory.NOW
    assert gate(story, "read-config").valid_until <= LASTING.manifest.refresh_by
    story.wait((past + 1) * 1_000)
    assert gate(story, "read-config").code in (PermitCode.POLICY, PermitCode.MODE)


def test_a_dispute_is_not_over_because_something_newer_is_announced() -> None:
    """The control plane's own cure would let software go on with what was contradicted."""
    story = Story()
    link = story.link("n2")
    story.accept(LASTING, link)
    rival = replace(LASTING.manifest, artifact_id=ArtifactId("a-rival"))
    story.announce(sealed(rival, b"another content"), link).persisted()
    assert not gate(story, "route").allowed
    newer(story)
    assert not gate(story, "route").allowed
    assert gate(story, "read-config").allowed
