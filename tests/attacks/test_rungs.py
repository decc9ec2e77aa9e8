"""No rung relaxes anything.

The attacker is a source of a higher rung: an endpoint the snapshot or the configuration names, a
storage node of another region, or the control plane's own. It may answer with whatever bytes it
likes, show any claims that were once signed for it, and outlive every nearer source. It wants bytes
believed that were not signed, or to hear of what it may not know, because the asker is in need.
"""

import pytest

from fabgossip.core.effects import Dial, Fact, ReceiveContent, Record, Send
from fabgossip.core.events import ContentFailed, FetchFailure, LinkId, LostReason, PeerLost
from fabgossip.core.ladder import Step
from fabgossip.core.wants import Want, WantState
from fabgossip.model.artifact import ArtifactType, Order
from fabgossip.model.authority import Revocation, RevokedKind
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import Message
from fabgossip.model.moment import UnixTime
from fabgossip.model.policy import DegradedPolicy, DegradedRule
from fabgossip.sim.codec import Codec
from fabgossip.trust.revocation import node_token
from tests.core.artifacts import (
    Artifact,
    acme_routes,
    artifact,
    endpoint,
    node_snapshot,
    peers,
    record,
    revocations,
    routes,
    stores,
)
from tests.core.story import Peer, Story
from tests.trust import factory

CLUSTER_ONLY = tuple(
    one for one in factory.OPENINGS if one.item.scope is None or "org:" not in one.item.scope
)
RUNGS = [Step.RUNG_1, Step.RUNG_3, Step.RUNG_4]


def climbed_to(rung: Step, wanted: Artifact, attacker: Peer) -> tuple[Story, LinkId]:
    """A node that lost every source below `rung`, and the attacker, who stands there."""
    story = Story()
    first = story.link("announcer")
    names = ("attacker", "other") if rung is Step.RUNG_4 else ("attacker",)
    place = "r2/z1/k1" if rung is Step.RUNG_3 else "r1/z1/k2"
    placed = tuple(record(one, place=place, is_storage=True, audiences=()) for one in names)
    story.accept(peers(record("n1"), record("announcer"), *placed), first)
    if rung is Step.RUNG_4:
        story.accept(stores(*names), first)
        story.accept(node_snapshot(endpoints=(endpoint("attacker"),)), first)
    elif rung is Step.RUNG_1:
        story.accept(stores(*names), first)
    else:
        story.accept(node_snapshot(endpoints=(endpoint("attacker"),)), first)
    story.announce(wanted, first).persisted()
    fail(story, FetchFailure.MISSING)
    link = LinkId(0)
    while want_of(story, wanted).state is WantState.DIALING:
        name = waited_for(story, wanted)
        if name != "attacker":
            lost = PeerLost(link=None, node_id=name, reason=LostReason.CONNECT_FAILED)
            story.when(lost)
            continue
        link = story.link(attacker)
    return story, link


def waited_for(story: Story, wanted: Artifact) -> NodeId:
    source = want_of(story, wanted).source
    assert source is not None
    return source.node_id


def want_of(story: Story, wanted: Artifact) -> Want:
    want = story.node.view.want_of(wanted.verified)
    assert isinstance(want, Want)
    return want


def fail(story: Story, reason: FetchFailure) -> Story:
    tried = story.only(ReceiveContent)
    failed = ContentFailed(
        wanted=tried.wanted, link=tried.link, request=None, reason=reason, received=0
    )
    return story.when(failed)


def roles_at(rung: Step) -> tuple[str, ...]:
    return ("control-endpoint",) if rung is Step.RUNG_4 else ("edge",)


@pytest.mark.parametrize("rung", RUNGS)
def test_what_a_rung_brings_is_asked_for_by_the_same_signed_hash(rung: Step) -> None:
    """The interpreter judges each byte by what the effect says; that is the manifest's own word."""
    attacker = Peer(name="attacker", roles=roles_at(rung))
    story, link = climbed_to(rung, routes(), attacker)
    asked = story.only(ReceiveContent)
    assert (asked.link, want_of(story, routes()).step) == (link, rung)
    assert asked.wanted == routes().wanted


@pytest.mark.parametrize("rung", RUNGS)
def test_a_wrong_byte_bars_whoever_sent_it_and_nothing_is_believed(rung: Step) -> None:
    attacker = Peer(name="attacker", roles=roles_at(rung))
    story, _ = climbed_to(rung, routes(), attacker)
    before = story.trusted
    fail(story, FetchFailure.BAD_HASH)
    rejected = [one for one in story.find(Record) if one.fact is Fact.ARTIFACT_REJECTED]
    assert [dict(one.fields)["source"] for one in rejected] == ["attacker"]
    assert "attacker" in want_of(story, routes()).barred
    assert story.trusted == before
    assert story.trusted[routes().tail] == (Order(2, 7), "behind")


@pytest.mark.parametrize("rung", RUNGS)
def test_who_may_not_know_of_it_is_not_asked_and_hears_nothing(rung: Step) -> None:
    """It is in no organisation; in need as in calm, the hash of what it may not know is not for
    it."""
    attacker = Peer(name="attacker", holds=CLUSTER_ONLY, shows=CLUSTER_ONLY, roles=roles_at(rung))
    secret = acme_routes()
    story, link = climbed_to(rung, secret, attacker)
    assert link != LinkId(0) or rung is Step.RUNG_1
    assert [one.link for one in story.find(ReceiveContent)] == []
    told = [one.message for one in story.find(Send) if one.link == link]
    assert not any(secret.prefix.hex() in hex_of(one) for one in told)
    outcomes = {one.node_id: one.outcome for one in want_of(story, secret).attempts}
    assert outcomes.get(NodeId("attacker")) in (None, "barred")


def hex_of(message: Message) -> str:
    """The bytes a message is on the wire."""
    return Codec().encode(message)[1].hex()


def test_the_last_valid_version_stays_what_it_was() -> None:
    """Rung 5 accepts nothing, lowers no floor, prolongs nothing and switches nothing."""
    policy = DegradedPolicy(
        rules=(DegradedRule(artifact_type=ArtifactType.ROUTE_POLICY_BUNDLE, max_age_s=3_600),)
    )
    story = Story()
    first = story.link("announcer")
    story.accept(node_snapshot(degraded=policy), first).accept(routes(6), first)
    story.announce(routes(7), first).persisted()
    facts, floors = story.node.view.trust, story.node.view.floors()
    fail(story, FetchFailure.MISSING)
    assert want_of(story, routes(7)).last_good is not None
    assert story.node.view.trust == facts
    assert story.node.view.floors() == floors
    assert {type(one).__name__ for one in story.effects} <= {"SetTimer", "Record", "Send"}
    assert story.trusted[routes(7).tail] == (Order(2, 7), "behind")


def test_a_version_past_its_expiry_is_not_left_in_use_whatever_the_policy_says() -> None:
    rule = DegradedRule(artifact_type=ArtifactType.ROUTE_POLICY_BUNDLE, max_age_s=10_000_000)
    old = artifact(
        ArtifactType.ROUTE_POLICY_BUNDLE,
        routes().tail,
        version=6,
        content=b"routes 6",
        refresh_by=factory.NOW + 50,
        expires_at=factory.NOW + 100,
    )
    story = Story()
    first = story.link("announcer")
    story.accept(node_snapshot(degraded=DegradedPolicy(rules=(rule,))), first).accept(old, first)
    story.announce(routes(7), first).persisted()
    story.wait(101_000)
    fail(story, FetchFailure.MISSING)
    last_good = want_of(story, routes(7)).last_good
    assert last_good is not None
    assert (last_good.is_allowed, last_good.reason) == (False, "it has expired")


def test_a_revoked_node_dials_nobody_to_be_helped() -> None:
    story = Story()
    first = story.link("announcer")
    story.accept(peers(record("n1"), record("announcer"), record("s1", is_storage=True)), first)
    story.accept(stores("s1"), first)
    own = Revocation(
        kind=RevokedKind.NODE,
        value=node_token(factory.CLUSTER, NodeId("n1")),
        reason="stolen",
        since_epoch=1,
        since=factory.NOW,
        until=UnixTime(0),
    )
    story.announce(routes(), first).persisted()
    tried = story.effects
    story.accept(revocations(8, own), first)
    story.effects = tried
    fail(story, FetchFailure.LOST)
    assert story.find(Dial) == []
    assert want_of(story, routes()).state is WantState.PARKED
