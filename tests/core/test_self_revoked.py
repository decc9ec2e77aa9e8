"""A revoked node: it says what of it was revoked and why, and complains of nothing that follows."""

from dataclasses import replace
from typing import Final

import pytest

from fabgossip.core.effects import Fact, Record
from fabgossip.core.health import NodeSnapshot
from fabgossip.core.problems import ProblemCode
from fabgossip.model.authority import KeyStatus, NodeCa, Revocation, RevokedKind
from fabgossip.model.ids import NodeId, short_hash
from fabgossip.model.mode import Mode
from fabgossip.model.moment import UnixTime
from fabgossip.trust.revocation import node_token
from tests.core.artifacts import peers, record, revocations, trust
from tests.core.story import NOTHING_STORED, Story, identity
from tests.trust import factory

OWN: Final = identity("n1")
NAMES: Final = {
    "node": (RevokedKind.NODE, node_token(factory.CLUSTER, NodeId("n1"))),
    "certificate": (RevokedKind.CERTIFICATE, OWN.certificate_hash),
    "node_ca": (RevokedKind.CERTIFICATE, OWN.issuer_hash),
}
WORDS: Final = {
    "node": ("the node n1", "enroll NODE under another id"),
    "certificate": ("the certificate of n1", "enroll n1 --renew"),
    "node_ca": ("the CA that issued the certificate of n1", "enroll n1 --renew"),
}


def entry(part: str) -> Revocation:
    kind, value = NAMES[part]
    return Revocation(
        kind=kind,
        value=value,
        reason="stolen laptop",
        since_epoch=1,
        since=UnixTime(factory.NOW - 340),
        until=UnixTime(0),
    )


def seen(story: Story) -> NodeSnapshot:
    return story.node.view.snapshot(story.now)


@pytest.mark.parametrize("part", NAMES)
def test_it_says_what_when_why_and_what_to_do(part: str) -> None:
    story = Story()
    origin = story.link("n2")
    story.accept(peers(*map(record, ("n1", "n2", "n3"))), origin)
    assert seen(story).neighbors.target > 0
    told = entry(part)
    story.announce(revocations(8, told), origin).persisted()
    story.stored(revocations(8, told), origin)
    snapshot = seen(story)
    assert (snapshot.mode, snapshot.neighbors.target) == (Mode.REVOKED, 0)
    (problem,) = snapshot.problems
    what, step = WORDS[part]
    name = short_hash(told.value)
    assert problem.because == f'{what} was revoked 5 minutes ago: "stolen laptop" (entry {name})'
    assert step in problem.next_step
    (fact,) = (one for one in story.find(Record) if one.fact is Fact.MODE_CHANGED)
    fields = dict(fact.fields)
    assert (fields["revoked"], fields["entry"]) == (part, name)
    assert fields["reason"] == "stolen laptop"


@pytest.mark.parametrize("part", NAMES)
def test_where_no_list_is_here_any_more_it_says_what(part: str) -> None:
    """Kinds and values outlive the lists they stood in."""
    kind, value = NAMES[part]
    memory = replace(NOTHING_STORED.memory, revoked_epoch=factory.BUNDLE.authority_epoch)
    stored = replace(NOTHING_STORED, revoked=((kind.value, value),), memory=memory)
    problems = {one.code: one for one in seen(Story(started=stored, is_fresh=False)).problems}
    assert ProblemCode.NO_NEIGHBORS not in problems
    problem = problems[ProblemCode.REVOKED]
    assert problem.because == f"{WORDS[part][0]} is revoked"
    assert WORDS[part][1] in problem.next_step


def test_a_ca_that_a_bundle_revoked_is_said_to_be_that() -> None:
    ended = NodeCa(der=factory.NODE_CA.der, status=KeyStatus.REVOKED)
    node_cas = (ended, NodeCa(der=factory.authority("its successor").der))
    bundle = replace(factory.NEXT_BUNDLE, node_cas=node_cas)
    story = Story()
    story.accept(trust(bundle), story.link("n2"))
    problem = next(one for one in seen(story).problems if one.code is ProblemCode.REVOKED)
    assert problem.because == "the CA that issued the certificate of n1 is revoked"
    assert "enroll n1 --renew" in problem.next_step
