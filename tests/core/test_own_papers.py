"""The own certificate: a node says that it ends while there is time, and takes up another one."""

from dataclasses import replace
from typing import Final

import pytest

from fabgossip.core.catalog import HeadState
from fabgossip.core.effects import Fact, Record
from fabgossip.core.events import OwnPapers, PapersRead
from fabgossip.core.problems import ProblemCode
from fabgossip.model.authority import NodeIdentity, Revocation, RevokedKind
from fabgossip.model.messages import Claims
from fabgossip.model.mode import Mode
from fabgossip.model.moment import UnixTime
from tests.core.artifacts import acme_routes, revocations
from tests.core.story import Story, claims_of, identity
from tests.trust import factory

LIFE: Final = 7 * factory.DAY


def papers(
    *, left: int = LIFE, claims: bytes | None = None, certificate: NodeIdentity | None = None
) -> OwnPapers:
    """A certificate of seven days with so many seconds left."""
    ends_at = UnixTime(factory.NOW + left)
    return OwnPapers(
        certificate=certificate or replace(identity("n1"), expires_at=ends_at),
        certificate_times=(UnixTime(ends_at - LIFE), ends_at),
        claims=claims or claims_of("n1", factory.OPENINGS, ("edge",)),
        openings=factory.OPENINGS,
    )


def problems(story: Story) -> dict[ProblemCode, str]:
    return {one.code: one.because for one in story.node.view.snapshot(story.now).problems}


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (LIFE // 3 + 1, None),
        (LIFE // 3, "ends in 2 days"),
        (60, "ends in 60 s"),
        (0, "ended 0 s ago"),
        (-2 * factory.DAY, "ended 2 days ago"),
    ],
)
def test_its_end_is_a_problem_from_the_last_third_on(left: int, words: str | None) -> None:
    story = Story().when(PapersRead(papers=papers(left=left)))
    found = problems(story).get(ProblemCode.CERTIFICATE_ENDING)
    assert found is None if words is None else found is not None and words in found
    shown = story.node.view.snapshot(story.now).certificate_expires_at
    assert shown == factory.NOW + left


def test_files_that_are_not_fit_are_a_problem_until_others_are_read() -> None:
    story = Story().when(PapersRead(papers=None, fault="node.crt: half a file"))
    assert "half a file" in problems(story)[ProblemCode.RENEWAL_REFUSED]
    assert Fact.RENEWAL_REFUSED in story.facts()
    story.when(PapersRead(papers=None))
    assert ProblemCode.RENEWAL_REFUSED not in problems(story)
    story.when(PapersRead(papers=None, fault="again")).when(PapersRead(papers=papers()))
    assert ProblemCode.RENEWAL_REFUSED not in problems(story)


def test_another_certificate_is_recorded_and_ends_what_was_revoked_of_the_first() -> None:
    story = Story()
    origin = story.link("n2")
    entry = Revocation(
        kind=RevokedKind.CERTIFICATE,
        value=identity("n1").certificate_hash,
        reason="lost",
        since_epoch=1,
        since=factory.NOW,
        until=UnixTime(0),
    )
    story.announce(revocations(8, entry), origin).persisted()
    story.stored(revocations(8, entry), origin)
    assert story.node.view.snapshot(story.now).mode is Mode.REVOKED
    fresh = replace(identity("n1"), certificate_hash=b"f" * 32)
    story.when(PapersRead(papers=papers(certificate=fresh)))
    assert story.node.view.snapshot(story.now).mode is not Mode.REVOKED
    (fact,) = [one for one in story.find(Record) if one.fact is Fact.IDENTITY_RENEWED]
    assert dict(fact.fields)["expires_at"] == fresh.expires_at


def test_claims_that_came_with_it_are_shown_on_the_links_there_are() -> None:
    """Else they would end there with the claims of before."""
    story = Story()
    link = story.link("n2")
    statement = replace(factory.claims(), roles=("edge",))
    claims = factory.signed_claims(
        replace(statement, expires_at=UnixTime(statement.expires_at + 60))
    )
    story.when(PapersRead(papers=papers(claims=claims)))
    shown = [one for one in story.sent(link) if isinstance(one, Claims)]
    assert [one.claims for one in shown] == [claims]


def test_what_narrower_claims_do_not_cover_any_more_is_taken_away_at_once() -> None:
    story = Story()
    link = story.link("n2")
    story.accept(acme_routes(), link)
    narrower = factory.signed_claims(replace(factory.claims(()), claims_version=2))
    story.when(PapersRead(papers=papers(claims=narrower)))
    head = story.node.view.find(acme_routes().manifest.namespace.text)
    assert head is not None
    assert head.state is HeadState.REFUSED
    assert story.node.view.shown(acme_routes().manifest.namespace.text) is None
