"""Whom a node believes changes while something is under way: what comes late is judged by today.

Each of these was found by the model of `tests/properties/test_authority.py`.
"""

from dataclasses import replace

import pytest

from fabgossip.core.effects import Materialize, Persist, ReceiveContent, ServeContent
from fabgossip.core.events import Persisted
from fabgossip.model.artifact import ArtifactType, Order
from fabgossip.model.authority import Revocation, RevokedKind
from fabgossip.model.messages import ContentAsk, GetContent
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.scope import parse_scope_id
from fabgossip.model.topology import Snapshot
from fabgossip.wire.contents import snapshot_bytes
from tests.core.artifacts import (
    ACME,
    acme_routes,
    artifact,
    revocations,
    revoked,
    routes,
    tombstone,
    trust,
)
from tests.core.story import Story
from tests.trust import factory


@pytest.mark.parametrize(
    "entry",
    [
        revoked(RevokedKind.SIGNING_KEY, factory.POLICY.key_id),
        revoked(RevokedKind.MANIFEST, routes().verified.manifest_hash),
    ],
    ids=["its key", "itself"],
)
def test_what_was_revoked_while_it_was_written_is_not_believed(entry: Revocation) -> None:
    story = Story()
    origin = story.link("n2")
    story.announce(routes(), origin)
    token = story.only(Persist).token
    story.accept(revocations(8, entry), origin)
    story.when(Persisted(token=token, ok=True))
    assert story.trusted["routes/r1"] == (Order(2, 7), "refused")
    assert story.find(ReceiveContent) == []


def test_a_tombstone_that_was_revoked_while_it_was_written_gives_nothing_back() -> None:
    """It counts no more than wherever the revocation came first; but it is durable, so its floor
    stays, and what stood below that is gone from where consumers read it."""
    story = Story()
    origin = story.link("n2")
    story.accept(routes(7), origin)
    story.announce(tombstone(8), origin)
    token = story.only(Persist).token
    entry = revoked(RevokedKind.MANIFEST, tombstone(8).verified.manifest_hash)
    story.accept(revocations(8, entry), origin)
    story.when(Persisted(token=token, ok=True))
    assert story.trusted["routes/r1"] == (Order(2, 8), "refused")
    assert [one.order for one in story.find(Materialize)] == [None]
    assert story.node.view.floors()[routes().manifest.namespace.text] == Order(2, 8)


def test_a_content_that_comes_late_revives_no_head_of_an_older_epoch() -> None:
    story = Story()
    origin = story.link("n2")
    story.announce(routes(), origin).persisted()
    story.accept(trust(replace(factory.NEXT_BUNDLE, authority_epoch=3)), origin)
    story.stored(routes(), origin)
    assert story.trusted["routes/r1"] == (Order(2, 7), "outdated")
    assert story.find(Materialize) == []
    ask = ContentAsk(routes().verified.manifest_hash, routes().content_hash, 0, 1)
    story.hear(origin, GetContent(items=(ask,)), stream=1)
    assert story.find(ServeContent) == []


def test_the_bundle_in_force_said_again_does_not_push_out_its_successor() -> None:
    story = Story()
    origin = story.link("n2")
    fourth, fifth = trust(factory.NEXT_BUNDLE), trust(replace(factory.BUNDLE, bundle_version=5))
    story.accept(fourth, origin)
    story.announce(fifth, origin).persisted()
    story.announce(fourth, origin)
    assert story.find(Persist) == []
    story.stored(fifth, origin)
    assert story.node.view.trust.bundle.bundle_version == 5


def test_narrower_claims_that_waited_for_a_fresh_list_reach_what_is_held() -> None:
    """They are no renewal, so a stale node leaves them; the list that ends this takes them up."""
    claims = replace(
        factory.claims((factory.SERVICE_OPENING,)), claims_version=2, issued_at=factory.NOW
    )
    snapshot = artifact(
        ArtifactType.CLUSTER_SNAPSHOT,
        refresh_by=factory.NOW + 9 * factory.HOUR,
        content=snapshot_bytes(
            Snapshot(
                endpoints=(),
                degraded=DegradedPolicy(),
                settings=b"",
                claims=factory.signed_claims(claims),
            )
        ),
    )
    story = Story()
    origin = story.link("n2")
    story.accept(acme_routes(), origin)
    story.accept(revocations(3), origin)
    # Two lists of one version: neither counts as fresh.
    story.announce(revocations(3, revoked(RevokedKind.GRANT, bytes(32))), origin)
    story.accept(snapshot, origin)
    assert story.trusted["org/acme/routes/r1"][1] == "current"
    story.announce(revocations(4), origin).persisted().stored(revocations(4), origin)
    assert parse_scope_id(ACME) not in story.node.view.trust.own.scope_ids
    assert story.trusted["org/acme/routes/r1"][1] == "refused"
