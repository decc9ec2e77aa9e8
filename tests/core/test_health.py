"""The verdict: every problem says why and what to type, and a healthy node has none."""

from dataclasses import replace

import pytest

from fabgossip.core.events import (
    AuditChanged,
    AuditState,
    ContentFailed,
    FetchFailure,
    LinkId,
    LostReason,
    PeerLost,
)
from fabgossip.core.health import BEHIND_GRACE_MS, PROBLEMS_MAX, Level, NodeSnapshot
from fabgossip.core.problems import ProblemCode
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import Bye, ByeReason, NeighborAsk, NeighborPurpose
from fabgossip.model.mode import Mode
from tests.core.artifacts import (
    Artifact,
    artifact,
    peers,
    record,
    revocations,
    routes,
    sealed,
    tombstone,
    trust,
)
from tests.core.story import Story
from tests.trust import factory

FRESH_LIST = sealed(
    replace(factory.manifest(ArtifactType.REVOCATION_LIST), issued_at=factory.NOW),
    revocations(7).content,
)


def healthy() -> tuple[Story, int]:
    story = Story()
    origin = story.link("n2")
    story.accept(FRESH_LIST, origin)
    return story, origin


def seen(story: Story) -> NodeSnapshot:
    return story.node.view.snapshot(story.now)


def codes(story: Story) -> list[ProblemCode]:
    return [one.code for one in seen(story).problems]


def accept(story: Story, *artifacts: Artifact) -> None:
    origin = story.node.view.sessions()[0].link
    for one in artifacts:
        story.accept(one, origin)


def test_a_healthy_node_has_no_problem_and_says_so() -> None:
    story, _ = healthy()
    accept(story, routes())
    snapshot = seen(story)
    assert (snapshot.level, snapshot.mode, snapshot.problems) == (Level.OK, Mode.FRESH, ())
    assert (snapshot.namespaces.total, snapshot.namespaces.fresh) == (3, 3)


def test_a_node_alone_without_a_revocation_list_is_degraded_for_both() -> None:
    snapshot = seen(Story(is_fresh=False))
    assert snapshot.level is Level.DEGRADED
    assert {one.code for one in snapshot.problems} == {
        ProblemCode.TRUST_STALE,
        ProblemCode.NO_NEIGHBORS,
    }
    assert all(one.next_step.startswith("fabgossip ") for one in snapshot.problems)


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (AuditState.STOPPED, ProblemCode.AUDIT_STOPPED),
        (AuditState.DAMAGED, ProblemCode.AUDIT_DAMAGED),
    ],
)
def test_a_log_that_is_not_intact_is_a_problem_of_its_own(
    state: AuditState, code: ProblemCode
) -> None:
    """A full disk mends itself; a log somebody changed does not, and is no matter of space."""
    story, _ = healthy()
    story.when(AuditChanged(state=state))
    assert codes(story) == [code]
    story.when(AuditChanged(state=AuditState.INTACT))
    assert codes(story) == []


def test_a_content_nobody_has_becomes_a_problem_after_a_grace_and_names_the_last_try() -> None:
    story, _ = healthy()
    origin = story.node.view.sessions()[0].link
    story.announce(routes(), origin).persisted()
    failed = ContentFailed(
        wanted=routes().wanted,
        link=origin,
        request=None,
        reason=FetchFailure.MISSING,
        received=0,
    )
    story.when(failed)
    story.wait(BEHIND_GRACE_MS - 1)
    assert codes(story) == []
    story.wait(1)
    (problem,) = seen(story).problems
    assert problem.code is ProblemCode.CONTENT_MISSING
    assert problem.namespace.endswith("routes/r1")
    assert "n2: missing" in problem.because


def test_past_its_refresh_time_a_namespace_is_stale_and_still_in_use() -> None:
    story, _ = healthy()
    accept(story, routes())
    story.step_clock(factory.HOUR - 1)
    assert ProblemCode.REFRESH_OVERDUE not in codes(story)
    story.step_clock(1)
    assert ProblemCode.REFRESH_OVERDUE in codes(story)
    assert seen(story).namespaces.stale == 2
    assert story.trusted["routes/r1"][1] == "current"


def test_what_the_end_of_an_epoch_left_behind_is_a_problem() -> None:
    """It is served to nobody and the gate says no: a status that called it fresh would hide that a
    node never heard the new epoch out."""
    story, _ = healthy()
    accept(story, routes())
    bundle = factory.BUNDLE
    after = replace(
        bundle, bundle_version=bundle.bundle_version + 1, authority_epoch=bundle.authority_epoch + 1
    )
    accept(story, trust(after))
    assert story.trusted["routes/r1"][1] == "outdated"
    outdated = [one for one in seen(story).problems if one.code is ProblemCode.OUTDATED]
    names = [one.namespace.rpartition("prod/")[2] for one in outdated]
    assert names == ["routes/r1", "snapshots/node/n1"]
    assert seen(story).level is Level.DEGRADED


def test_what_is_still_on_its_way_is_not_said_to_be_here() -> None:
    story, origin = healthy()
    story.announce(routes(), LinkId(origin)).persisted()
    snapshot = seen(story)
    assert (snapshot.level, snapshot.problems) == (Level.OK, ())
    assert snapshot.summary == "1 on the way, all else here and fresh"


def test_invalid_and_withdrawn_are_counted_apart() -> None:
    story, _ = healthy()
    nonsense = sealed(factory.manifest(ArtifactType.PEER_DIRECTORY), b"nonsense")
    origin = story.node.view.sessions()[0].link
    story.announce(nonsense, origin).persisted().stored(nonsense, origin)
    accept(story, tombstone(8))
    counts = seen(story).namespaces
    assert (counts.invalid, counts.withdrawn) == (1, 1)
    assert codes(story) == [ProblemCode.CONTENT_INVALID]


def test_the_list_of_problems_is_cut_and_says_by_how_many() -> None:
    story, _ = healthy()
    many = [
        artifact(ArtifactType.QOS_POLICY_BUNDLE, f"qos/q{number}", refresh_by=factory.NOW + 60)
        for number in range(PROBLEMS_MAX + 2)
    ]
    accept(story, *many)
    story.step_clock(60)
    snapshot = seen(story)
    assert (len(snapshot.problems), snapshot.problems_omitted) == (PROBLEMS_MAX, 2)


def few(story: Story) -> list[str]:
    """Why one failure more would leave the node alone."""
    problems = story.node.view.snapshot(story.now).problems
    return [one.because for one in problems if one.code is ProblemCode.FEW_NEIGHBORS]


def test_one_neighbor_of_several_there_are_is_a_problem() -> None:
    story = Story()
    story.accept(peers(record("n1"), record("n2"), record("n3")), story.link("n2"))
    assert few(story) == ["1 neighbour, 2 wanted: one more lost, and none is left"]
    story.link("n3")
    assert not few(story)


def test_one_neighbor_where_there_is_one_is_none() -> None:
    story = Story()
    story.accept(peers(record("n1"), record("n2")), story.link("n2"))
    assert not few(story)


def test_neighbors_of_one_zone_where_there_are_two_are_a_problem() -> None:
    story = Story()
    there = [record(one) for one in ("n1", "n2", "n3")]
    first, _ = story.link("n2"), story.link("n3")
    story.accept(peers(*there, record("n4", place="r1/z2/k1")), first)
    assert few(story) == ["all neighbours stand in one zone, of 2 there are"]
    ask = NeighborAsk(purpose=NeighborPurpose.QUOTA, is_needed=False)
    story.hear(story.link("n4"), ask)
    assert not few(story)


def test_who_is_missing_is_named_with_the_reason_until_it_is_back() -> None:
    """An operator at night asks who, why and since when; a list of links that are open is empty."""
    story = Story()
    story.accept(peers(record("n1"), record("n2"), record("n3")), story.link("n2"))
    third = story.link("n3")
    story.hear(third, Bye(reason=ByeReason.RESTART, retry_after_s=2))
    story.when(PeerLost(link=third, node_id=NodeId("n3"), reason=LostReason.BYE))
    story.wait(9_000)
    assert few(story) == [
        "1 neighbour, 2 wanted: one more lost, and none is left; "
        "n3 (n3.example:7420): bye_restart 9 s ago"
    ]
    (down,) = seen(story).neighbors.down
    assert (down.node_id, down.ago_ms, down.dials_in_ms) == ("n3", 9_000, 0)
    story.when(PeerLost(link=None, node_id=NodeId("n3"), reason=LostReason.CONNECT_FAILED))
    (down,) = seen(story).neighbors.down
    assert (down.reason, down.ago_ms) == ("connect_failed", 0)
    assert down.dials_in_ms > 0
    story.link("n3")
    assert seen(story).neighbors.down == ()


def test_who_let_go_or_is_dialled_no_more_is_not_missing() -> None:
    story = Story()
    for reason, is_missing in ((LostReason.EVICTED, False), (LostReason.RESET, True)):
        third = story.link("n3")
        story.when(PeerLost(link=third, node_id=NodeId("n3"), reason=reason))
        assert bool(seen(story).neighbors.down) is is_missing
    story.wait(60_000)
    assert seen(story).neighbors.down == ()


def test_a_node_alone_says_whom_it_cannot_reach() -> None:
    story = Story(is_fresh=False)
    story.when(PeerLost(link=None, node_id=NodeId("n2"), reason=LostReason.CONNECT_FAILED))
    (alone,) = (one for one in seen(story).problems if one.code is ProblemCode.NO_NEIGHBORS)
    assert alone.because == "no link is open: n2: connect_failed 0 s ago"
