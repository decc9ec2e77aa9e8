"""Attack: have something count that was revoked.

Powers: the attacker is a member with a good certificate and holds every revocation list that was
ever signed: it replays old ones, withholds new ones, brings them late. In some tests the issuer
contradicts itself, or its key is stolen: then two lists have one number.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from fabgossip.core.effects import ServeContent
from fabgossip.core.events import RefreshDue, TimerFired
from fabgossip.model.artifact import Order
from fabgossip.model.authority import Revocation, RevokedKind
from fabgossip.model.messages import GetContent, GetHeads, HeadKnown, Heads
from fabgossip.model.mode import Action, Mode
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import PutEvidence, PutHead, PutRevoked
from fabgossip.trust.modes import may
from tests.attacks.powers import (
    ask,
)
from tests.attacks.scene import (
    ATTACKER,
    Scene,
    Standing,
    asks_content,
)
from tests.core.artifacts import Artifact, acme_routes, revocations, routes, sealed, trust
from tests.trust import factory as f

LIST: Final = "trust/revocations"


def entry(one: Artifact) -> Revocation:
    """A revoked manifest."""
    return Revocation(
        kind=RevokedKind.MANIFEST,
        value=one.verified.manifest_hash,
        reason="stolen",
        since_epoch=1,
        since=f.NOW,
        until=UnixTime(0),
    )


def token(one: Artifact) -> tuple[RevokedKind, bytes]:
    return (RevokedKind.MANIFEST, one.verified.manifest_hash)


FIRST, SECOND = routes(7), acme_routes(7)


def allows_high_risk(scene: Scene) -> bool:
    facts = scene.node.view.trust
    return may(Action.HIGH_RISK, facts.freshness, scene.now.unix).allowed


def is_fresh(scene: Scene) -> bool:
    return scene.node.view.snapshot(scene.now).mode is Mode.FRESH


def test_asymmetry(tmp_path: Path) -> None:
    """Deny always lands, grant never lands late. An old list is ignored; the union never shrinks
    within an epoch, whatever a later list leaves out; a restart keeps it."""
    full, less = revocations(3, entry(FIRST), entry(SECOND)), revocations(4)
    scene = Scene().publish(FIRST, SECOND)
    assert allows_high_risk(scene)
    scene.offer(full).rest()
    both = {token(FIRST), token(SECOND)}
    assert scene.node.view.trust.revoked.values == both
    taken = [
        row
        for one in (SECOND, FIRST)
        for row in (
            ("artifact_rejected", "ARTIFACT_REVOKED", ATTACKER),
            ("artifact_withheld", "refused", f"{f.PREFIX}/{one.tail}"),
        )
    ]
    assert scene.audited == [*taken, ("revocation_accepted", "", "")]
    assert scene.requests == [asks_content(full)]
    assert scene.announced == [full.envelope]
    gone = [(SECOND.tail, None), (FIRST.tail, None)]
    assert scene.switched == [*gone, (LIST, Order(2, 3))]
    entries = tuple(sorted((kind.value, value) for kind, value in both))
    assert scene.durable == [PutHead(verified=full.verified), PutRevoked(epoch=2, entries=entries)]
    for one in (FIRST, SECOND):
        assert scene.state.heads[one.tail].state == "refused"
    scene.refuses(revocations(2), "VERSION_ROLLBACK")

    scene.caused.clear()
    scene.offer(less).rest()
    assert (scene.codes, scene.requests) == ([], [asks_content(less)])
    assert scene.audited == [("revocation_accepted", "", "")]
    assert scene.announced == [less.envelope]
    assert scene.switched == [(LIST, Order(2, 4))]
    assert scene.node.view.trust.revoked.values == both
    assert scene.node.view.trust.revoked.version == 4
    scene.refuses(FULL_AGAIN, "VERSION_ROLLBACK")
    again = scene.restarted(tmp_path)
    assert again.state.facts.revoked == scene.state.facts.revoked
    assert again.state.floors == scene.state.floors
    again.link("n9")
    assert not any(again.told(one) for one in (FIRST, SECOND))
    again.refuses(FIRST, "ARTIFACT_REVOKED")
    again.refuses(revocations(3), "VERSION_ROLLBACK")


FULL_AGAIN: Final = sealed(
    replace(revocations(3).manifest, issued_at=f.NOW), revocations(3, entry(FIRST)).content
)
"""The list before, with other times: bytes nobody saw."""


def late(version: int, *entries: Revocation) -> Artifact:
    """A list past its refresh time, or past its expiry altogether."""
    listed = revocations(version, *entries)
    old = replace(
        listed.manifest,
        issued_at=UnixTime(f.NOW - 9 * f.DAY),
        refresh_by=UnixTime(f.NOW - 8 * f.DAY),
        expires_at=UnixTime(f.NOW - 1),
    )
    return sealed(old, listed.content)


def test_a_late_list_restricts_and_makes_nothing_fresh(tmp_path: Path) -> None:
    """Withheld until it had expired: its entries land all the same, in the same tick; but with it
    as the newest, nothing of high risk is allowed. It is passed on, for it must land everywhere."""
    scene = Scene().publish(FIRST)
    assert is_fresh(scene)
    scene.offer(late(2, entry(FIRST))).rest()
    assert scene.codes == ["ARTIFACT_REVOKED"]
    assert scene.node.view.trust.revoked.values == {token(FIRST)}
    assert scene.state.heads[FIRST.tail].state == "refused"
    assert (is_fresh(scene), allows_high_risk(scene)) == (False, False)
    assert scene.told(late(2, entry(FIRST)))
    again = scene.restarted(tmp_path)
    assert again.node.view.trust.revoked.values == {token(FIRST)}
    assert not allows_high_risk(again)
    for one in (scene, again):
        hands_out(one, late(2, entry(FIRST)))


def hands_out(scene: Scene, listed: Artifact) -> None:
    """Who links now is told of a list when it asks, and gets what it says."""
    link = scene.link("n9")
    name = listed.manifest.namespace.text
    scene.hear(link, GetHeads(known=(HeadKnown(name, 0, 0),)))
    assert Heads(envelopes=(listed.envelope,)) in scene.sent(link)
    scene.hear(link, GetContent(items=(ask(listed),)), stream=2)
    served = [item for one in scene.find(ServeContent) for item in one.items]
    assert [one.content_hash for one in served] == [listed.content_hash]


def test_a_list_that_ends_here_goes_on_taking_away_and_being_handed_out() -> None:
    """Whoever keeps the next one back for a week must not get back what was revoked, nor keep it
    from others; content is served to nobody under a list that has ended, and local software still
    finds the list."""
    week = revocations(3, entry(FIRST))
    minute = replace(
        week.manifest, refresh_by=UnixTime(f.NOW + 30), expires_at=UnixTime(f.NOW + 60)
    )
    listed = sealed(minute, week.content)
    scene = Scene().publish(SECOND, listed)
    scene.wait(60_000).when(TimerFired(timer=RefreshDue()))
    assert (LIST, None) not in scene.switched
    assert scene.node.view.trust.revoked.values == {token(FIRST)}
    assert not is_fresh(scene)
    hands_out(scene, listed)
    scene.hear(scene.link("n8"), GetContent(items=(ask(SECOND),)), stream=2)
    assert scene.find(ServeContent) == []


def test_the_bundle_of_a_new_epoch_is_passed_on_before_its_first_list() -> None:
    """No list of the new epoch can be here yet; were one needed to tell of the bundle, it would be
    stuck wherever the two do not come together."""
    bundle = trust(replace(f.BUNDLE, bundle_version=4, authority_epoch=3))
    scene = Scene().offer(bundle).rest()
    assert scene.node.view.trust.bundle.authority_epoch == 3
    assert scene.told(bundle)


LEFT, RIGHT = revocations(2, entry(FIRST)), revocations(2, entry(SECOND))


@pytest.mark.parametrize(
    ("first", "second"), [(LEFT, RIGHT), (RIGHT, LEFT)], ids=["left first", "right first"]
)
def test_two_lists_of_one_version_both_apply(
    first: Artifact, second: Artifact, tmp_path: Path
) -> None:
    """Whichever came first: the union restricts, the two are disputed, nothing is fresh; a higher
    version ends the dispute and takes nothing back."""
    scene = Scene().publish(FIRST, SECOND, first)
    scene.offer(second).rest()
    assert scene.node.view.trust.revoked.values == {token(FIRST), token(SECOND)}
    assert {scene.state.heads[one.tail].state for one in (FIRST, SECOND)} == {"refused"}
    contents = tuple(sorted((LEFT.content_hash, RIGHT.content_hash)))
    assert scene.state.heads[LIST] == Standing(Order(2, 2), contents, "disputed")
    assert scene.node.view.trust.freshness.is_disputed
    assert (is_fresh(scene), allows_high_risk(scene)) == (False, False)
    assert ("artifact_disputed", "", ATTACKER) in scene.audited
    assert PutEvidence(verified=second.verified) in scene.durable
    assert [one for one in scene.durable if isinstance(one, PutRevoked)] != []
    assert scene.told(second)

    again = scene.restarted(tmp_path)
    assert again.node.view.trust.revoked.values == {token(FIRST), token(SECOND)}
    assert again.state.heads[LIST] == scene.state.heads[LIST]
    assert not is_fresh(again)

    for one in (scene, again):
        one.offer(revocations(3)).rest()
        assert one.node.view.trust.revoked.values == {token(FIRST), token(SECOND)}
        assert not one.node.view.trust.freshness.is_disputed
        assert is_fresh(one)


def of_epoch(one: Artifact, epoch: int) -> Artifact:
    return sealed(replace(one.manifest, authority_epoch=epoch), one.content)


def test_only_the_first_list_of_a_higher_epoch_shrinks_the_union() -> None:
    """The bundle alone does not: until that list comes, what was revoked stays so."""
    scene = Scene().publish(FIRST, revocations(2, entry(FIRST)))
    scene.offer(trust(replace(f.BUNDLE, bundle_version=4, authority_epoch=3))).rest()
    assert scene.node.view.trust.revoked.values == {token(FIRST)}
    assert not allows_high_risk(scene)
    scene.refuses(revocations(3), "EPOCH_STALE")
    scene.offer(of_epoch(revocations(1), 3)).rest()
    assert scene.node.view.trust.revoked.values == set()
    assert scene.node.view.trust.revoked.epoch == 3
