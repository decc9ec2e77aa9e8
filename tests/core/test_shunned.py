"""What brought the daemon down is not looked at for a while; everything else is, and it is said."""

from dataclasses import replace
from hashlib import sha256
from typing import Final

import pytest

from fabgossip.core.accepting import Accepting
from fabgossip.core.effects import Answer, Fact, Materialize, Outcome, Persist, Record
from fabgossip.core.events import RefreshDue, RequestId, RequestMade, SubmitRequest, TimerFired
from fabgossip.core.problems import ProblemCode
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.authority import RevokedKind
from fabgossip.model.messages import Announce, Announced
from fabgossip.model.moment import Duration
from fabgossip.model.persistence import PutHead, StoredFloor
from tests.core.artifacts import Artifact, revocations, revoked, routes, stored_head
from tests.core.story import NOTHING_STORED, Story
from tests.trust import factory

HOUR: Final = Duration(3_600_000)
POISON: Final = routes(7)
DIGEST: Final = sha256(POISON.envelope).digest()


def story(*stored: Artifact) -> Story:
    heads = tuple(stored_head(one) for one in stored)
    return Story(started=replace(NOTHING_STORED, heads=heads, shunned=((DIGEST, HOUR),)))


def problems(told: Story) -> list[ProblemCode]:
    return [one.code for one in told.node.view.snapshot(told.now).problems]


def test_it_is_named_in_a_fact_and_a_problem_for_as_long_as_it_lasts() -> None:
    told = story()
    (fact,) = [one for one in told.find(Record) if one.fact is Fact.ENVELOPE_SHUNNED]
    assert dict(fact.fields) == {"envelope": DIGEST.hex(), "seconds": 3_600}
    (problem,) = [
        one
        for one in told.node.view.snapshot(told.now).problems
        if one.code is ProblemCode.ENVELOPE_SHUNNED
    ]
    assert DIGEST.hex() in problem.because
    told.wait(HOUR)
    assert ProblemCode.ENVELOPE_SHUNNED not in problems(told)


def test_it_is_not_judged_and_its_neighbor_in_the_frame_is() -> None:
    told = story()
    link = told.link("n2")
    other = routes(7, "r2")
    told.hear(link, Announce(entries=tuple(Announced(one.envelope, 0) for one in (POISON, other))))
    assert told.only(Persist).changes == (PutHead(verified=other.verified),)
    told.wait(HOUR).announce(POISON, link).persisted()
    assert POISON.tail in told.trusted


def test_over_which_of_a_frame_a_step_raised_is_to_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    accept = Accepting.accept

    def raising(accepting: Accepting, verified: VerifiedManifest, *rest: object) -> None:
        if verified.envelope == POISON.envelope:
            raise ZeroDivisionError
        accept(accepting, verified, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Accepting, "accept", raising)
    told = Story()
    link = told.link("n2")
    entries = tuple(Announced(one.envelope, 0) for one in (routes(7, "r2"), POISON))
    with pytest.raises(ZeroDivisionError):
        told.hear(link, Announce(entries=entries))
    assert told.node.view.judging == POISON.envelope


def test_who_submits_it_is_told() -> None:
    told = story()
    body = SubmitRequest(envelope=POISON.envelope)
    told.when(RequestMade(request=RequestId(1), body=body))
    answer = told.only(Answer)
    assert (answer.outcome, answer.code) == (Outcome.REFUSED, "SHUNNED")
    assert Fact.ARTIFACT_REJECTED in told.facts()


def test_a_start_does_not_read_it_from_the_disk_and_takes_what_follows_it_or_itself_later() -> None:
    assert story(POISON).trusted == {}
    told = story(POISON)
    assert told.accept(routes(8), told.link("n2")).trusted.keys() == {POISON.tail}
    told = story(POISON)
    link = told.link("n2")
    told.wait(HOUR).announce(POISON, link).persisted()
    assert told.trusted.keys() == {POISON.tail}


LEFT = routes(7, content=b"good")
LEFT_DIGEST = sha256(LEFT.envelope).digest()


def left_alone() -> Story:
    """A node whose consumers read something that ended the process before this one."""
    namespace = LEFT.manifest.namespace.text
    floor = StoredFloor(
        namespace=namespace,
        order=LEFT.manifest.order,
        manifest_hash=LEFT.verified.manifest_hash,
    )
    started = replace(
        NOTHING_STORED,
        heads=(stored_head(LEFT),),
        floors=(floor,),
        visible=((namespace, LEFT.envelope),),
        shunned=((LEFT_DIGEST, Duration(3_600_000)),),
    )
    return Story(started=started)


def test_what_is_left_alone_contradicts_another_statement_of_its_order_all_the_same() -> None:
    """Else whoever brings a process down opens the way for what a thief signed."""
    story = left_alone()
    link = story.link("n2")
    story.announce(routes(7, content=b"a thief's"), link)
    assert not story.find(Persist)
    assert not story.find(Materialize)


def test_a_revocation_reaches_what_is_left_alone() -> None:
    story = left_alone()
    link = story.link("n2")
    listed = revocations(9, revoked(RevokedKind.MANIFEST, LEFT.verified.manifest_hash))
    story.announce(listed, link).persisted().stored(listed, link)
    (taken,) = [one for one in story.find(Materialize) if one.order is None]
    assert taken.namespace == LEFT.manifest.namespace.text


def test_what_was_left_alone_is_judged_like_all_else_once_its_time_is_over() -> None:
    """It expires then."""
    told = left_alone()
    ends = LEFT.manifest.expires_at - factory.NOW
    told.wait(1_000 * ends - 1).when(TimerFired(timer=RefreshDue()))
    assert not told.find(Materialize)
    told.wait(1_000).when(TimerFired(timer=RefreshDue()))
    assert {one.order for one in told.find(Materialize)} == {None}
