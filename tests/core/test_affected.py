"""What a change of the facts affects is judged again, and nothing else is looked at."""

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TypeVar

import pytest

from fabgossip.core.affected import affected_by
from fabgossip.core.catalog import HeadState
from fabgossip.core.effects import Fact, Materialize, Record
from fabgossip.core.events import LinkId
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import RevokedKind, TrustBundle
from fabgossip.model.ids import NodeId
from fabgossip.model.scope import parse_scope_id
from fabgossip.trust.facts import TrustFacts
from fabgossip.trust.revocation import NOTHING_REVOKED, node_token
from tests.core.artifacts import (
    Artifact,
    acme_routes,
    artifact,
    revocations,
    revoked,
    routes,
    trust,
)
from tests.core.chain_story import Chained
from tests.core.chained import NAME, snapshot_of, step
from tests.core.narrowing import FOR_EDGES, STORED, no_more_an_edge
from tests.core.story import VERIFIER, Story
from tests.trust import factory

T = TypeVar("T", bound=Hashable)
PEER = revoked(RevokedKind.NODE, node_token(factory.CLUSTER, NodeId("n9")))
VERIFIED = routes().verified
AFFECTING = {
    "its key": (RevokedKind.SIGNING_KEY, VERIFIED.signed_by[0]),
    "its manifest": (RevokedKind.MANIFEST, VERIFIED.manifest_hash),
    "its content": (RevokedKind.CONTENT, VERIFIED.manifest.content_hash),
}


class Counting:
    """A verifier that counts what it is asked to read."""

    def __init__(self) -> None:
        self.reads = 0

    def is_good(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        return VERIFIER.is_good(public_key, message, signature)

    def read(self, parse: Callable[[bytes], T], data: bytes) -> T:
        self.reads += 1
        return VERIFIER.read(parse, data)


def of(*values: tuple[RevokedKind, bytes], epoch: int = 1) -> TrustFacts:
    revoked = replace(NOTHING_REVOKED, values=frozenset(values), epoch=epoch)
    return replace(factory.FACTS, revoked=revoked)


@pytest.mark.parametrize("named", AFFECTING.values(), ids=AFFECTING)
def test_what_names_a_statement_affects_it_alone(named: tuple[RevokedKind, bytes]) -> None:
    is_affected = affected_by(of(), of(named))
    assert is_affected is not None
    assert is_affected(VERIFIED)
    other = affected_by(of(), of((named[0], bytes(32))))
    assert other is not None
    assert not other(VERIFIED)


def test_what_is_revoked_already_affects_nothing_anew_and_what_is_not_any_more_does() -> None:
    named = AFFECTING["its key"]
    assert affected_by(of(named), of(named)) is None
    back = affected_by(of(named), of(epoch=2))
    assert back is not None
    assert back(VERIFIED)


@pytest.mark.parametrize("kind", [RevokedKind.NODE, RevokedKind.CERTIFICATE, RevokedKind.GRANT])
def test_what_is_about_peers_affects_no_statement(kind: RevokedKind) -> None:
    assert affected_by(of(), of((kind, bytes(32)))) is None


def take(story: Story, listed: Artifact, link: LinkId) -> None:
    """A list comes and is read."""
    story.announce(listed, link).persisted().stored(listed, link)


def given_to(
    signer: factory.Signer, kind: str, beside: factory.Signer | None = None
) -> TrustBundle:
    """The next bundle: the right on a kind is another signer's, instead of or beside the one that
    had it."""
    signers = [signer] if beside is None else sorted((signer, beside), key=lambda one: one.key_id)
    rights = tuple(one for one in factory.BUNDLE.rights if one.kind != kind)
    return replace(
        factory.NEXT_BUNDLE,
        keys=(*factory.BUNDLE.keys, factory.signing_key(signer)),
        rights=(*rights, factory.right(kind, *signers)),
    )


def reads_of(taken: Artifact, heads: int) -> int:
    """What a node with so many heads reads to take up a list, or a bundle."""
    verifier = Counting()
    story = Story(verifier=verifier)
    link = story.link("n2")
    for number in range(heads):
        story.accept(routes(name=f"r{number}"), link)
    before = verifier.reads
    take(story, taken, link)
    return verifier.reads - before


def test_to_cut_a_node_off_takes_no_longer_where_much_is_held() -> None:
    peer = revocations(2, PEER)
    assert reads_of(peer, 40) == reads_of(peer, 2)
    key = revocations(2, revoked(*AFFECTING["its key"]))
    assert reads_of(key, 40) > reads_of(key, 2) + 38


def test_to_take_up_a_bundle_takes_no_longer_where_much_is_held() -> None:
    """One more signer, beside those that signed it all."""
    other = factory.signer("policy 2")
    kind = VERIFIED.manifest.artifact_type.value
    added = given_to(other, kind, beside=factory.POLICY)
    assert reads_of(trust(added), 40) == reads_of(trust(added), 2)
    instead = given_to(other, kind)
    assert reads_of(trust(instead), 40) > reads_of(trust(instead), 2) + 38


def test_of_two_changes_at_once_each_affects_what_it_may() -> None:
    before = of()
    own = replace(before.own, scope_ids=before.own.scope_ids - {parse_scope_id("org:acme")})
    after = replace(of(AFFECTING["its manifest"]), own=own)
    is_affected = affected_by(before, after)
    assert is_affected is not None
    assert is_affected(VERIFIED)
    assert is_affected(acme_routes().verified)
    assert not is_affected(routes(name="other").verified)


def test_claims_that_cover_more_affect_only_what_they_cover() -> None:
    wider = replace(
        factory.FACTS.own, scope_ids=factory.FACTS.own.scope_ids | {parse_scope_id("org:globex")}
    )
    after = replace(of(), own=wider)
    is_affected = affected_by(of(), after)
    assert is_affected is not None
    assert not is_affected(VERIFIED)
    theirs = artifact(ArtifactType.ROUTE_POLICY_BUNDLE, "org/globex/routes/r1", content=b"globex")
    assert is_affected(factory.admitted(theirs.envelope, after))


def test_what_a_node_only_stores_from_now_on_is_taken_from_its_software() -> None:
    """A duty to store is no right to apply."""
    story = Story(holds=STORED)
    story.accept(FOR_EDGES, story.link("n2"))
    namespace = FOR_EDGES.manifest.namespace.text
    assert story.node.view.shown(namespace) is not None
    no_more_an_edge(story)
    head = story.node.view.find(namespace)
    assert head is not None
    assert (head.state, head.is_held) == (HeadState.HELD, True)
    assert story.node.view.shown(namespace) is None
    assert [one.order for one in story.find(Materialize)] == [None]
    (told,) = (one for one in story.find(Record) if one.fact is Fact.ARTIFACT_WITHHELD)
    assert dict(told.fields)["source"] == "only stored here"


def test_an_increment_whose_key_lost_its_right_is_handed_to_nobody() -> None:
    """Its snapshot stands, signed by another key."""
    other = factory.signer("compiler 2")
    kind = ArtifactType.SNAPSHOT_INCREMENT.value
    bundle = given_to(other, kind)
    story = Chained().hear_of(snapshot_of(6), step(6))

    def kept() -> int:
        head = story.node.view.find(NAME)
        assert head is not None
        assert head.state is not HeadState.REFUSED
        return len(head.kept)

    assert kept() == 1
    take(story, trust(bundle), story.peer)
    assert kept() == 0


def test_of_two_only_the_revoked_one_ends() -> None:
    story = Story()
    link = story.link("n2")
    story.accept(routes(), link).accept(acme_routes(), link)
    take(story, revocations(2, revoked(*AFFECTING["its content"])), link)
    states = [
        story.node.view.find(one.manifest.namespace.text) for one in (routes(), acme_routes())
    ]
    assert [one.state for one in states if one is not None] == [
        HeadState.REFUSED,
        HeadState.CURRENT,
    ]


def test_a_key_the_statement_stands_on_only_since_a_later_bundle_is_affected() -> None:
    """Signed by two, admitted by the right of one, which then goes to the other."""
    other = factory.signer("policy 2")
    signers = sorted((factory.POLICY, other), key=lambda one: one.key_id)
    statement = replace(routes().manifest, signer_key_ids=tuple(one.key_id for one in signers))
    both = Artifact(statement, factory.signed(statement, *signers), routes().content)
    bundle = given_to(other, statement.artifact_type.value)
    story = Story()
    link = story.link("n2")
    story.accept(both, link)
    take(story, trust(bundle), link)
    take(story, revocations(2, revoked(RevokedKind.SIGNING_KEY, other.key_id)), link)
    head = story.node.view.find(statement.namespace.text)
    assert head is not None
    assert head.state is HeadState.REFUSED


def test_the_other_side_of_two_lists_affects_what_it_names_as_well() -> None:
    """Both restrict, whichever came first."""
    story = Story()
    link = story.link("n2")
    story.accept(routes(), link)
    take(story, revocations(2, PEER), link)
    other = revocations(2, revoked(*AFFECTING["its content"]))
    story.announce(other, link).stored(other, link)
    head = story.node.view.find(routes().manifest.namespace.text)
    assert head is not None
    assert head.state is HeadState.REFUSED
