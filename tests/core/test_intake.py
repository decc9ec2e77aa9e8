"""What comes in: judged once, durable before relied on, and believed again only after proof."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from fabgossip.core.config import DisseminationConfig, NodeConfig
from fabgossip.core.effects import (
    Disconnect,
    Fact,
    Materialize,
    Persist,
    ReceiveContent,
    Remove,
    Send,
    ServeContent,
)
from fabgossip.core.events import (
    LostReason,
    PartingDue,
    PingDue,
    RefreshDue,
    SilenceDue,
    Started,
    TimerFired,
)
from fabgossip.model.artifact import ArtifactType, Order
from fabgossip.model.authority import RevokedKind
from fabgossip.model.ids import ManifestHash, NodeId
from fabgossip.model.messages import Announce, ContentAsk, GetContent, GetHeads, HeadKnown
from fabgossip.model.persistence import (
    PutIncrement,
    PutTrust,
    StoredFloor,
    StoredMemory,
    StoredTrust,
)
from fabgossip.trust.revocation import node_token
from tests.core.artifacts import (
    Artifact,
    acme_routes,
    artifact,
    increment,
    node_snapshot,
    revocations,
    revoked,
    routes,
    sealed,
    stored_head,
    tombstone,
    trust,
)
from tests.core.story import NOTHING_STORED, Story, announcement, identity
from tests.trust import factory
from tests.wire.samples import ping

NAME = routes().manifest.namespace.text
SUCCESSOR = replace(factory.BUNDLE, bundle_version=4)
SECOND = replace(factory.BUNDLE, bundle_version=5)


def started(*held: Artifact, floors: dict[str, Order] | None = None) -> Started:
    rows = tuple(stored_head(one) for one in held)
    kept = tuple(
        StoredFloor(namespace=name, order=order, manifest_hash=ManifestHash(bytes(32)))
        for name, order in (floors or {}).items()
    )
    return Started(trust=(), heads=rows, floors=kept)


def test_a_copy_costs_a_look_up_and_no_second_verdict() -> None:
    story = Story()
    first, second = story.link("n2"), story.link("n3")
    story.accept(routes(), first)
    story.announce(routes(), second)
    assert story.effects == []


def test_at_the_limit_the_oldest_envelope_is_forgotten_and_judged_again() -> None:
    """`seen_max` at its edge: 16 later envelopes push the first out, 15 do not."""
    story = Story(config=NodeConfig(dissemination=DisseminationConfig(seen_max=16)))
    origin = story.link("n2")
    story.accept(routes(7), origin)
    for number in range(15):
        story.accept(routes(7, name=f"later{number}"), origin)
    assert story.announce(routes(7), origin).effects == []
    story.accept(routes(7, name="one-more"), origin)
    assert story.announce(routes(7), origin).effects == []
    older = routes(6)
    story.announce(older, origin)
    assert story.facts() == [Fact.ARTIFACT_REJECTED]


def test_an_older_version_is_refused_and_says_why() -> None:
    story = Story()
    origin = story.link("n2")
    story.accept(routes(8), origin).announce(routes(7), origin)
    assert story.find(Persist) == []
    assert story.facts() == [Fact.ARTIFACT_REJECTED]
    assert story.trusted == {"routes/r1": (Order(2, 8), "current")}


def test_a_floor_survives_a_restart_without_its_head() -> None:
    """A node that lost the bytes still refuses to go back."""
    story = Story(started=started(floors={NAME: Order(2, 8)}))
    origin = story.link("n2")
    story.announce(routes(7), origin)
    assert story.find(Persist) == []
    story.announce(routes(9), origin)
    assert len(story.find(Persist)) == 1


def test_what_was_held_is_applied_again_after_a_restart_and_not_fetched() -> None:
    story = Story(started=started(routes()))
    assert story.only(Materialize).order == Order(2, 7)
    assert story.find(ReceiveContent) == []
    assert story.find(Persist) == []


def test_what_was_known_and_not_held_is_wanted_after_a_restart() -> None:
    rows = (stored_head(routes(), is_held=False),)
    story = Story(started=replace(NOTHING_STORED, heads=rows))
    assert story.trusted == {"routes/r1": (Order(2, 7), "behind")}
    story.link("n2")
    want = story.node.view.want_of(routes().verified)
    assert want is not None


@pytest.mark.parametrize(
    "poison",
    [
        lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
        lambda raw: raw[:-3],
        lambda _: b"",
        lambda _: factory.signed(routes(9).manifest, factory.STRANGER),
    ],
    ids=["a flipped bit", "truncated", "empty", "another signer"],
)
def test_a_poisoned_row_of_our_own_index_is_refused(poison: Callable[[bytes], bytes]) -> None:
    """Whoever can write the file can at most take away: nothing unsigned comes back."""
    row = stored_head(routes())
    rows = (replace(row, envelope=poison(row.envelope)),)
    story = Story(started=replace(NOTHING_STORED, heads=rows))
    assert Fact.ARTIFACT_REJECTED in story.facts()
    assert [(one.namespace, one.order) for one in story.find(Materialize)] == [
        (routes().manifest.namespace.text, None)
    ]
    assert story.trusted == {}


def test_the_trust_chain_is_verified_again_step_by_step() -> None:
    chain = tuple(
        StoredTrust(
            version=bundle.bundle_version,
            envelope=trust(bundle).envelope,
            content=trust(bundle).content,
        )
        for bundle in (factory.BUNDLE, SUCCESSOR, SECOND)
    )
    story = Story(started=Started(trust=chain, heads=(), floors=()))
    assert story.node.view.trust.bundle == SECOND


@pytest.mark.parametrize("fault", ["a gap", "another content", "a stranger's"])
def test_a_broken_step_ends_the_chain_there(fault: str) -> None:
    good, bad = trust(SUCCESSOR), trust(SECOND)
    steps = [StoredTrust(version=4, envelope=good.envelope, content=good.content)]
    match fault:
        case "a gap":
            steps = []
        case "another content":
            bad = Artifact(bad.manifest, bad.envelope, good.content)
        case _:
            forged = factory.signed(bad.manifest, factory.STRANGER, factory.COMPILER)
            bad = Artifact(bad.manifest, forged, bad.content)
    steps.append(StoredTrust(version=5, envelope=bad.envelope, content=bad.content))
    story = Story(started=Started(trust=tuple(steps), heads=(), floors=()))
    assert story.node.view.trust.bundle == (SUCCESSOR if len(steps) == 2 else factory.BUNDLE)
    assert Fact.ARTIFACT_REJECTED in story.facts()


def test_the_next_bundle_is_in_force_once_read_and_its_step_is_kept() -> None:
    story = Story()
    origin = story.link("n2")
    story.announce(trust(SUCCESSOR), origin).persisted()
    assert story.node.view.trust.bundle == factory.BUNDLE
    story.stored(trust(SUCCESSOR), origin)
    assert story.node.view.trust.bundle == SUCCESSOR
    one = trust(SUCCESSOR)
    (change,) = story.find(Persist)[0].changes
    assert change == PutTrust(version=4, envelope=one.envelope, content=one.content)


def test_a_bundle_that_skips_a_version_makes_the_node_ask_for_the_one_between() -> None:
    story = Story()
    origin = story.link("n2")
    story.announce(trust(SECOND), origin)
    assert story.find(Persist) == []
    assert isinstance(story.sent(origin)[0], GetHeads)


def test_a_revocation_list_is_told_at_once_and_cuts_who_is_in_it() -> None:
    """Before its content is here the others know of it; once it is read nobody revoked stays."""
    story = Story()
    origin, bad, other = story.link("n2"), story.link("n3"), story.link("n4")
    token = node_token(factory.CLUSTER, NodeId("n3"))
    listed = revocations(8, revoked(RevokedKind.NODE, token))
    story.announce(listed, origin).persisted()
    assert story.sent(other) == [announcement(listed, inline=False)]
    story.stored(listed, origin)
    assert Fact.SESSION_CUT in story.facts()
    assert story.newest(PartingDue) <= 1_000
    story.due(PartingDue)
    closed = story.only(Disconnect)
    assert (closed.link, closed.lost) == (bad, LostReason.REVOKED)


def test_a_revoked_certificate_cuts_the_link_it_stands_behind() -> None:
    story = Story()
    origin, bad = story.link("n2"), story.link("n3")
    listed = revocations(8, revoked(RevokedKind.CERTIFICATE, identity("n3").certificate_hash))
    story.announce(listed, origin).persisted().stored(listed, origin)
    story.due(PartingDue)
    assert [one.link for one in story.find(Disconnect)] == [bad]


def test_a_revoked_peer_gets_the_list_that_says_so_and_nothing_else() -> None:
    """Its operator has to see why it is alone; from the step on that took its trust it is told,
    served and believed nothing more."""
    story = Story()
    origin, bad = story.link("n2"), story.link("n3")
    story.accept(routes(7), origin)
    token = node_token(factory.CLUSTER, NodeId("n3"))
    listed = revocations(8, revoked(RevokedKind.NODE, token))
    story.announce(listed, origin).persisted().stored(listed, origin)
    assert announcement(listed, hops=0) in story.sent(bad)

    def asked(artifact: Artifact) -> GetContent:
        ask = ContentAsk(artifact.verified.manifest_hash, artifact.content_hash, 0, 1)
        return GetContent(items=(ask,))

    assert story.hear(bad, asked(routes(7)), 2).find(ServeContent) == []
    served = story.hear(bad, asked(listed), 4).only(ServeContent)
    assert [one.content_hash for one in served.items] == [listed.content_hash]
    names = (HeadKnown(routes().manifest.namespace.text, 0, 0),)
    for message in (GetHeads(known=names), announcement(routes(8)), ping(1)):
        assert story.hear(bad, message).effects == []
    for timer in (PingDue(link=bad), SilenceDue(link=bad)):
        assert story.when(TimerFired(timer=timer)).effects == [], "nor asked whether it lives"
    story.announce(routes(9), origin).persisted()
    assert story.sent(bad) == []
    assert bad not in {one.link for one in story.stored(routes(9), origin).find(Send)}


def test_a_start_counts_no_evidence_that_its_own_list_revokes() -> None:
    """Killed between a list and what follows from it, the node learns of both from its disk: the
    list is read after the evidence was found, and before the head it is about."""
    head, other = routes(7), routes(7, content=b"the other side")
    name = other.verified.manifest_hash
    listed = revocations(8, revoked(RevokedKind.MANIFEST, name))
    start = started(listed, head)
    story = Story(started=replace(start, memory=StoredMemory(evidence=(other.envelope,))))
    assert story.trusted["routes/r1"] == (Order(2, 7), "applying")
    assert Fact.ARTIFACT_DISPUTED not in story.facts()


def test_a_revoked_key_signs_nothing_any_more() -> None:
    story = Story()
    origin = story.link("n2")
    listed = revocations(8, revoked(RevokedKind.SIGNING_KEY, factory.POLICY.key_id))
    story.accept(listed, origin).announce(routes(), origin)
    assert story.find(Persist) == []
    assert story.facts() == [Fact.ARTIFACT_REJECTED]


def test_revocations_are_recalled_before_what_they_take_away() -> None:
    """Whatever the order of rows, a restart does not bring a revoked artifact back."""
    listed = revocations(8, revoked(RevokedKind.MANIFEST, routes().verified.manifest_hash))
    story = Story(started=started(routes(), listed))
    assert set(story.trusted) == {"trust/revocations"}


def test_expired_is_withdrawn_at_the_next_turn_and_not_before() -> None:
    short = artifact(
        ArtifactType.QOS_POLICY_BUNDLE, refresh_by=factory.NOW + 30, expires_at=factory.NOW + 60
    )
    story = Story()
    story.accept(short, story.link("n2"))
    turn = TimerFired(timer=RefreshDue())
    story.wait(59_000).when(turn)
    assert story.find(Materialize) == []
    story.wait(1_000).when(turn)
    assert (story.only(Materialize).namespace, story.only(Materialize).order) == (
        short.manifest.namespace.text,
        None,
    )
    assert story.trusted["qos/q1"][1] == "expired"
    assert Fact.ARTIFACT_WITHHELD in story.facts()


def test_a_tombstone_withdraws_every_order_up_to_its_own() -> None:
    story = Story()
    origin = story.link("n2")
    story.accept(tombstone(8), origin)
    story.announce(routes(7), origin)
    assert story.find(Persist) == []
    story.announce(routes(9), origin)
    assert len(story.find(Persist)) == 1


def test_an_increment_stands_beside_its_snapshot_and_needs_it() -> None:
    story = Story()
    origin = story.link("n2")
    story.announce(increment(), origin)
    assert story.find(Persist) == []
    assert story.facts() == [Fact.ARTIFACT_REJECTED]
    story = Story()
    origin = story.link("n2")
    story.accept(node_snapshot(), origin).announce(increment(), origin)
    (change,) = story.only(Persist).changes
    assert isinstance(change, PutIncrement)
    assert change.verified.manifest == increment().manifest


def test_a_content_that_does_not_say_what_its_type_demands_is_not_applied() -> None:
    """Signed nonsense: the bytes are right, their meaning is not."""
    nonsense = sealed(factory.manifest(ArtifactType.PEER_DIRECTORY), b"nonsense")
    story = Story()
    origin, other = story.link("n2"), story.link("n3")
    story.announce(nonsense, origin).persisted().stored(nonsense, origin)
    assert story.find(Materialize) == []
    assert story.trusted == {nonsense.tail: (Order(2, 7), "invalid")}
    assert not [one for one in story.sent(other) if isinstance(one, Announce)]


def test_what_is_for_others_is_held_and_not_applied() -> None:
    """A storage node holds for an organisation it is no member of."""
    for_globex = artifact(
        ArtifactType.SERVICE_ASSIGNMENT_BUNDLE, "org/globex/services/web", content=b"web"
    )
    story = Story()
    story.accept(for_globex, story.link("n2"))
    assert story.find(Materialize) == []
    assert story.trusted == {"org/globex/services/web": (Order(2, 7), "held")}


def test_what_this_node_may_not_know_is_refused_and_the_sender_blamed() -> None:
    elsewhere = artifact(ArtifactType.ROUTE_POLICY_BUNDLE, "org/globex/routes/r1")
    story = Story()
    origin = story.link("n2")
    for _ in range(8):
        story.announce(elsewhere, origin)
    assert story.trusted == {}


def test_the_same_content_under_two_names_is_fetched_once() -> None:
    story = Story()
    origin = story.link("n2")
    story.accept(routes(7, content=b"same"), origin)
    story.announce(routes(7, name="r2", content=b"same"), origin).persisted()
    assert story.find(ReceiveContent) == []
    assert story.only(Materialize).namespace.endswith("routes/r2")


def test_a_content_named_twice_stays_until_both_are_superseded() -> None:
    story = Story()
    origin = story.link("n2")
    for name in ("r1", "r2"):
        story.accept(routes(7, name=name, content=b"same"), origin)
    same = Remove(content_hash=routes(7, content=b"same").content_hash)
    removed = []
    for name in ("r1", "r2"):
        fresh = routes(8, name=name, content=name.encode())
        story.announce(fresh, origin).persisted().stored(fresh, origin)
        removed.append(story.find(Remove))
    assert removed == [[], [same]]


def test_an_organisation_s_artifact_is_admitted_by_its_member() -> None:
    story = Story()
    story.accept(acme_routes(), story.link("n2"))
    assert story.trusted == {"org/acme/routes/r1": (Order(2, 7), "current")}
