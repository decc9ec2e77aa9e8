"""Who holds for others: the same on every node, as many as the policy says, never who may not."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fabgossip.core.effects import Materialize, ReceiveContent
from fabgossip.core.events import (
    ContentLost,
    FetchRequest,
    LinkId,
    RefreshDue,
    RequestId,
    RequestMade,
    TimerFired,
)
from fabgossip.core.placement import Placement
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.ids import NodeId
from fabgossip.model.policy import ReplicationPolicy, ReplicationRule
from fabgossip.model.topology import StorageDirectory
from fabgossip.wire.contents import parse_storage_directory
from tests.core.artifacts import Artifact, artifact, routes, stored_head, stores
from tests.core.story import NOTHING_STORED, Story

NAMES = [f"s{number}" for number in range(8)]
KIND = ArtifactType.ROUTE_POLICY_BUNDLE


def policy(replicas: int, *, on_demand: bool = False) -> ReplicationPolicy:
    rule = ReplicationRule(artifact_type=KIND, replicas=replicas, on_demand=on_demand)
    return ReplicationPolicy(rules=(rule,))


def directory(replication: ReplicationPolicy, *names: str) -> StorageDirectory:
    return parse_storage_directory(stores(*names, replication=replication).content)


def holders(one: StorageDirectory, name: str = "r1") -> set[str]:
    """Who says of itself that it holds the routes of this name."""
    found = set()
    for node_id in (*NAMES, "outsider"):
        placement = Placement(NodeId(node_id))
        placement.on_directory("storage", one)
        if placement.has_duty(routes(name=name).manifest):
            found.add(node_id)
    return found


@given(st.integers(1, 9), st.sets(st.sampled_from(NAMES), min_size=1))
def test_every_node_computes_the_same_holders_and_as_many_as_asked(
    replicas: int, names: set[str]
) -> None:
    found = holders(directory(policy(replicas), *names))
    assert found <= names
    assert len(found) == min(replicas, len(names))


def test_a_storage_node_that_goes_moves_only_what_it_held() -> None:
    """Rendezvous: losing one node gives its artifacts a new holder and moves no others."""
    before = directory(policy(2), *NAMES)
    after = directory(policy(2), *NAMES[1:])
    for number in range(12):
        old = holders(before, f"r{number}")
        assert holders(after, f"r{number}") >= old - {NAMES[0]}


def test_without_a_rule_whoever_may_hold_does() -> None:
    assert holders(directory(ReplicationPolicy(), *NAMES)) == {*NAMES, "outsider"}


def test_on_demand_nobody_holds_by_duty() -> None:
    assert holders(directory(policy(1, on_demand=True), *NAMES)) == set()


def test_a_directory_that_goes_takes_its_rules_along() -> None:
    placement = Placement(NodeId("s0"))
    placement.on_directory("storage", directory(policy(1, on_demand=True), *NAMES))
    assert placement.is_storage(NodeId("s1"))
    assert placement.keep_versions == 2
    placement.on_directory("storage", None)
    assert not placement.is_storage(NodeId("s1"))
    assert placement.has_duty(routes().manifest)
    assert placement.keep_versions == 0


SERVICES = ArtifactType.SERVICE_ASSIGNMENT_BUNDLE
OF_SERVICES = ReplicationRule(artifact_type=SERVICES, replicas=1, on_demand=True)
ON_DEMAND = stores("s1", replication=ReplicationPolicy(rules=(OF_SERVICES,)))
FOR_GLOBEX = artifact(SERVICES, "org/globex/services/web", content=b"web")


def without_duty() -> tuple[Story, LinkId, Artifact]:
    """A store that was told of a bundle which it holds on demand only, and by whom."""
    story = Story()
    origin = story.link("n2")
    story.accept(ON_DEMAND, origin)
    story.announce(FOR_GLOBEX, origin).persisted()
    return story, origin, FOR_GLOBEX


def test_what_is_not_ours_by_duty_is_known_and_not_fetched() -> None:
    """The manifest is kept and passed on; the bytes stay where they belong."""
    story, origin, for_globex = without_duty()
    assert story.find(ReceiveContent) == []
    assert story.trusted[for_globex.tail][1] == "known"

    body = FetchRequest(content_hash=for_globex.content_hash, namespace=None, timeout_ms=1_000)
    story.when(RequestMade(request=RequestId(1), body=body)).stored(for_globex, origin)
    assert story.trusted[for_globex.tail][1] == "held"
    story.when(ContentLost(content_hash=for_globex.content_hash))
    assert story.trusted[for_globex.tail][1] == "known"
    assert story.find(ReceiveContent) == []


def test_a_start_goes_by_the_rules_on_its_disk_whatever_comes_before_them() -> None:
    heads = (stored_head(FOR_GLOBEX, is_held=False), stored_head(ON_DEMAND))
    assert heads[0].namespace < heads[1].namespace
    story = Story(started=replace(NOTHING_STORED, heads=heads))
    assert story.trusted[FOR_GLOBEX.tail][1] == "known"
    assert story.node.view.wants_of(FOR_GLOBEX.content_hash) == ()


def test_a_new_duty_is_taken_up_for_what_was_known_before() -> None:
    """Where holders leave, those that take their place have long known what they are to hold."""
    story, origin, for_globex = without_duty()
    story.when(TimerFired(timer=RefreshDue()))
    assert story.trusted[for_globex.tail][1] == "known"
    story.accept(stores("s1", version=8), origin)
    story.when(TimerFired(timer=RefreshDue()))
    assert story.trusted[for_globex.tail][1] == "behind"
    assert story.node.view.wants_of(for_globex.content_hash)


def test_the_signed_number_of_versions_is_kept() -> None:
    story = Story()
    origin = story.link("n2")
    story.accept(stores("s1", keep_versions=5), origin).accept(routes(), origin)
    assert story.find(Materialize)[-1].keep_versions == 5
