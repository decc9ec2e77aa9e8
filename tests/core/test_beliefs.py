"""What a node believes: its entitlements follow the bundle in force, the trust lane never ends."""

from dataclasses import replace

import pytest

from fabgossip.core.effects import Disconnect, Materialize, Persist
from fabgossip.model.authority import KeyStatus, Revocation, RevokedKind
from fabgossip.model.mode import Mode
from fabgossip.model.moment import UnixTime
from tests.core.artifacts import node_snapshot, revocations, routes, sealed, trust
from tests.core.story import Story
from tests.trust import factory

EPOCH = replace(factory.BUNDLE, bundle_version=4, authority_epoch=3)
NO_CLAIMER = replace(
    factory.BUNDLE,
    bundle_version=4,
    keys=tuple(
        replace(key, status=KeyStatus.REVOKED) if key.key_id == factory.CLAIMER.key_id else key
        for key in factory.BUNDLE.keys
    ),
)


def revoked_key(story: Story) -> frozenset[tuple[RevokedKind, bytes]]:
    return story.node.view.trust.revoked.values


def test_a_node_whose_claims_count_no_more_keeps_the_trust_lane_and_nothing_else() -> None:
    """It must be able to hear of the bundle that ends its exile; and nobody is blamed for it."""
    story = Story()
    origin = story.link("n2")
    story.accept(trust(NO_CLAIMER), origin)
    assert story.node.view.trust.own.scope_ids == frozenset()
    story.announce(routes(), origin)
    assert story.find(Persist) == []
    for version in range(2, 13):
        story.accept(revocations(version), origin)
        assert story.find(Disconnect) == []
    assert story.node.view.trust.revoked.version == 12
    back = trust(replace(factory.BUNDLE, bundle_version=5))
    story.announce(back, origin).persisted().stored(back, origin)
    assert story.node.view.trust.own.scope_ids == factory.OWN.scope_ids


def test_the_next_epoch_voids_the_claims_of_the_last() -> None:
    story = Story()
    story.accept(trust(EPOCH), story.link("n2"))
    assert story.node.view.trust.bundle.authority_epoch == 3
    assert story.node.view.trust.own.scope_ids == frozenset()


def test_revocations_only_add_up() -> None:
    """A later list that no longer names a key does not give it its trust back."""
    story = Story()
    origin = story.link("n2")
    entry = Revocation(
        kind=RevokedKind.SIGNING_KEY,
        value=factory.POLICY.key_id,
        reason="stolen",
        since_epoch=1,
        since=factory.NOW,
        until=UnixTime(0),
    )
    story.accept(revocations(2, entry), origin).accept(revocations(3), origin)
    assert (RevokedKind.SIGNING_KEY, factory.POLICY.key_id) in revoked_key(story)
    assert story.node.view.trust.revoked.version == 3


def test_a_bundle_whose_content_is_another_is_not_believed() -> None:
    """Signed by the roots, but it does not describe what it carries."""
    story = Story()
    origin = story.link("n2")
    lie = replace(trust(EPOCH).manifest, authority_epoch=2)
    story.announce(sealed(lie, trust(EPOCH).content), origin).persisted()
    story.stored(sealed(lie, trust(EPOCH).content), origin)
    assert story.node.view.trust.bundle == factory.BUNDLE
    assert story.find(Materialize) == []


def test_the_mode_follows_the_revocation_list() -> None:
    story = Story(is_fresh=False)
    origin = story.link("n2")
    assert story.node.view.snapshot(story.now).mode is Mode.STALE
    story.accept(revocations(1), origin).accept(node_snapshot(), origin)
    assert story.node.view.snapshot(story.now).mode is Mode.PARTITIONED
    story.wait(factory.HOUR * 1_000)
    assert story.node.view.snapshot(story.now).mode is Mode.STALE


def test_a_full_set_makes_nothing_fresh_and_contradicts_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was left out may be anybody: the node counts as stale until a higher epoch, but no
    signer is accused of a second list."""
    monkeypatch.setattr("fabgossip.trust.revocation.REVOKED_MAX", 1)
    story = Story()
    entries = [
        Revocation(
            kind=RevokedKind.MANIFEST,
            value=bytes([number]) * 32,
            reason="withdrawn",
            since_epoch=1,
            since=factory.NOW,
            until=UnixTime(0),
        )
        for number in (1, 2)
    ]
    story.accept(revocations(2, *entries), story.link("n2"))
    freshness = story.node.view.trust.freshness
    assert len(revoked_key(story)) == 1
    assert (freshness.has_full_revocations, freshness.is_disputed) == (True, False)
    assert story.node.view.trust.revoked.version == 2
