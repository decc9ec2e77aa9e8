"""What this node may hold no more leaves its disk, and nothing else ever does by that way."""

from dataclasses import replace

import pytest

from fabgossip.core.catalog import HeadState
from fabgossip.core.departing import STAYS_S
from fabgossip.core.effects import Fact, Materialize, Persist, Remove
from fabgossip.core.events import (
    AuditChanged,
    AuditState,
    Persisted,
    PinRequest,
    RefreshDue,
    RequestId,
    RequestMade,
    TimerFired,
)
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import Opening, RevokedKind
from fabgossip.model.ids import ContentHash, NodeId
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import DropPin, Pin, StoredPin
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.topology import Snapshot
from fabgossip.wire.contents import snapshot_bytes
from tests.core.artifacts import (
    Artifact,
    acme_peers,
    acme_routes,
    artifact,
    revocations,
    revoked,
    routes,
    stored_head,
    trust,
)
from tests.core.story import NOTHING_STORED, Story
from tests.trust import factory

WITHOUT_ACME = (factory.SERVICE_OPENING, factory.ASSIGNMENT_OPENING)
OURS = acme_routes()
CONTENT = OURS.manifest.content_hash
OLD = ContentHash(b"an older version, which is pinned"[:32])


def own_snapshot(openings: tuple[Opening, ...], version: int) -> Artifact:
    """The node's own snapshot, with claims of these openings."""
    claims = replace(
        factory.claims(openings),
        node_id=NodeId("n1"),
        claims_version=version,
        issued_at=UnixTime(factory.NOW),
    )
    snapshot = Snapshot(
        endpoints=(),
        degraded=DegradedPolicy(),
        settings=b"",
        claims=factory.signed_claims(claims),
    )
    content = snapshot_bytes(snapshot)
    return artifact(ArtifactType.CLUSTER_SNAPSHOT, version=version + 10, content=content)


def member() -> Story:
    """A node of acme that holds and applies routes of acme, and of everybody."""
    story = Story()
    link = story.link("n2")
    story.accept(acme_peers("n1", "n2"), link)
    story.accept(OURS, link)
    story.accept(routes(), link)
    return story


def leave(story: Story, openings: tuple[Opening, ...] = WITHOUT_ACME, version: int = 2) -> Story:
    """Its newest claims name acme no more."""
    link, ours = story.link("n3"), own_snapshot(openings, version)
    story.announce(ours, link).persisted().stored(ours, link)
    for one in story.find(Materialize):
        story.when(Persisted(token=one.token, ok=True))
    return story


def refresh(story: Story) -> Story:
    return story.when(TimerFired(timer=RefreshDue()))


def removed(story: Story) -> set[ContentHash]:
    return {one.content_hash for one in story.find(Remove)}


def purged(story: Story) -> set[str]:
    return {one.namespace for one in story.find(Materialize) if one.purge}


def test_bytes_outside_the_claims_leave_within_a_minute() -> None:
    """Contents, and what lies in the local state; what is still for the node stays."""
    story = leave(member())
    assert not removed(story)
    refresh(story.wait(1_000 * STAYS_S - 1))
    assert not removed(story)
    refresh(story.wait(1))
    assert removed(story) == {CONTENT, acme_peers("n1", "n2").manifest.content_hash}
    assert OURS.manifest.namespace.text in purged(story)
    assert story.facts().count(Fact.CONTENT_PURGED) == 2
    refresh(story.wait(1_000))
    assert (removed(story), purged(story)) == (set(), set())


def test_nothing_leaves_while_the_node_is_not_fresh() -> None:
    """An outage takes nothing away, not even where claims say so: it could not be given back."""
    story = leave(member())
    refresh(story.wait(3_600_000))
    assert (removed(story), purged(story)) == (set(), set())


def test_who_comes_back_in_time_has_lost_nothing() -> None:
    story = leave(member())
    leave(story, factory.OPENINGS, version=3)
    refresh(story.wait(1_000 * STAYS_S))
    assert (removed(story), purged(story)) == (set(), set())


def test_who_comes_back_later_fetches_it_again_and_may_leave_again() -> None:
    story = leave(member())
    refresh(story.wait(1_000 * STAYS_S))
    leave(story, factory.OPENINGS, version=3)
    heads = {one.manifest.namespace.text: one for one in story.node.view.heads_after("", 100)}
    assert heads[OURS.manifest.namespace.text].state is HeadState.BEHIND
    story.stored(OURS, story.link("n4"))
    leave(story, WITHOUT_ACME, version=4)
    refresh(story.wait(1_000 * STAYS_S))
    assert CONTENT in removed(story)


def test_a_pin_does_not_outrank_claims() -> None:
    story = member()
    body = PinRequest(content_hash=CONTENT, namespace=None, owner="op", reason="", seconds=3_600)
    story.when(RequestMade(request=RequestId(1), body=body)).persisted()
    leave(story)
    refresh(story.wait(1_000 * STAYS_S))
    assert CONTENT in removed(story)
    assert [one for row in story.find(Persist) for one in row.changes if isinstance(one, DropPin)]
    assert Fact.UNPINNED in story.facts()


def test_a_pin_on_an_older_version_does_not_either() -> None:
    """No head names that version any more; the namespace says whose it was."""
    story = member()
    body = PinRequest(content_hash=CONTENT, namespace=None, owner="op", reason="", seconds=3_600)
    story.when(RequestMade(request=RequestId(1), body=body)).persisted()
    story.accept(acme_routes(8), story.link("n4"))
    leave(story)
    refresh(story.wait(1_000 * STAYS_S))
    assert CONTENT in removed(story)
    assert not story.node.view.pins()


def test_nothing_leaves_while_the_audit_log_takes_no_record() -> None:
    story = leave(member()).when(AuditChanged(state=AuditState.STOPPED))
    refresh(story.wait(1_000 * STAYS_S))
    assert (removed(story), purged(story)) == (set(), set())
    story.when(AuditChanged(state=AuditState.INTACT))
    assert CONTENT in removed(refresh(story))


def test_what_was_revoked_before_the_node_left_goes_too() -> None:
    story = member()
    listed = revocations(2, revoked(RevokedKind.MANIFEST, OURS.verified.manifest_hash))
    story.announce(listed, story.link("n4")).persisted().stored(listed, None)
    leave(story)
    refresh(story.wait(1))
    assert CONTENT in removed(story)


def test_bytes_that_another_namespace_needed_leave_once_it_does_not() -> None:
    story = member()
    link = story.link("n4")
    story.accept(routes(name="twin", content=OURS.content), link)
    leave(story)
    refresh(story.wait(1_000 * STAYS_S))
    story.accept(routes(8, "twin"), link)
    assert CONTENT not in removed(story), "the head that left names it still"
    refresh(story.wait(1_000))
    assert CONTENT in removed(story)
    assert not purged(story), "once is enough"


def test_no_step_of_the_trust_chain_leaves_under_another_name() -> None:
    """Whoever may publish for an organisation could take it from all who leave."""
    story = member()
    link, version = story.link("n4"), factory.BUNDLE.bundle_version
    steps = [trust(replace(factory.BUNDLE, bundle_version=version + more)) for more in (1, 2)]
    for step in steps:
        story.accept(step, link)
    named = artifact(
        ArtifactType.ROUTE_POLICY_BUNDLE, "org/acme/routes/zz", content=steps[0].content
    )
    story.accept(named, link)
    leave(story)
    refresh(story.wait(1_000 * STAYS_S))
    assert CONTENT in removed(story)
    assert steps[0].content_hash not in removed(story)


def test_a_content_that_is_for_the_node_by_another_name_stays() -> None:
    story = member()
    twin = routes(name="twin", content=OURS.content)
    story.accept(twin, story.link("n4"))
    leave(story)
    refresh(story.wait(1_000 * STAYS_S))
    assert CONTENT not in removed(story)
    assert OURS.manifest.namespace.text in purged(story)


@pytest.mark.parametrize("is_held", [True, False], ids=["held", "shown alone"])
@pytest.mark.parametrize("holds", [factory.OPENINGS, WITHOUT_ACME], ids=["covered", "left"])
def test_what_a_process_before_left_goes_likewise(
    holds: tuple[Opening, ...],
    is_held: bool,  # noqa: FBT001
) -> None:
    """It ended after the claims came and before the bytes had gone: they wait as long as ever."""
    is_covered = holds is factory.OPENINGS
    heads = (stored_head(OURS, is_held=is_held), stored_head(routes()))
    pin = Pin(
        pin_id=1, content_hash=OLD, namespace=OURS.manifest.namespace.text, owner="op",
        reason="", until=UnixTime(factory.NOW + factory.DAY),
    )  # fmt: skip
    pins = (StoredPin(pin=pin, held_bytes=9),)
    story = Story(started=replace(NOTHING_STORED, heads=heads, pins=pins), holds=holds)
    refresh(story.wait(1_000 * STAYS_S - 1))
    assert removed(story) == set()
    refresh(story.wait(1))
    left = {CONTENT, OLD} if is_held else {OLD}
    assert removed(story) == (set() if is_covered else left)
    assert len(story.find(Remove)) == (0 if is_covered else len(left)), "each once"
    assert (OURS.manifest.namespace.text in purged(story)) is not is_covered
    refresh(story.wait(1_000))
    assert not removed(story)


def test_what_newer_claims_cover_again_stays() -> None:
    """A start judges by the claims it finds; newer ones may be a moment away."""
    narrow = stored_head(own_snapshot(WITHOUT_ACME, 2))
    story = Story(started=replace(NOTHING_STORED, heads=(narrow, stored_head(OURS))))
    assert OURS.manifest.namespace.text not in {
        one.manifest.namespace.text for one in story.node.view.heads_after("", 100)
    }
    leave(story, factory.OPENINGS, version=3)
    refresh(story.wait(1_000 * STAYS_S))
    assert (removed(story), purged(story)) == (set(), set())
