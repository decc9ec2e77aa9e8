"""What a head replaced: how much of it stays, and for how long."""

from fabgossip.core.catalog import Head
from fabgossip.core.effects import Remove
from fabgossip.core.events import FetchRequest, LinkId, RequestId, RequestMade
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import ClaimItem, Opening
from fabgossip.model.policy import ReplicationPolicy, ReplicationRule
from fabgossip.model.scope import StorageAssignment, parse_scope_id
from tests.core.artifacts import Artifact, artifact, routes, stores
from tests.core.story import Story
from tests.trust import factory


def for_globex(version: int) -> Artifact:
    """What no node of the stories applies, and none holds by duty."""
    return artifact(
        ArtifactType.SERVICE_ASSIGNMENT_BUNDLE,
        "org/globex/services/web",
        version=version,
        content=b"web %d" % version,
    )


def on_demand(
    kind: ArtifactType = ArtifactType.SERVICE_ASSIGNMENT_BUNDLE,
    holds: tuple[Opening, ...] = factory.OPENINGS,
) -> tuple[Story, LinkId]:
    """A node that fetches of such artifacts only what is asked for."""
    rule = ReplicationRule(artifact_type=kind, replicas=1, on_demand=True)
    story = Story(holds=holds)
    origin = story.link("n2")
    story.accept(stores("s1", replication=ReplicationPolicy(rules=(rule,))), origin)
    return story, origin


def replaced(story: Story, one: Artifact) -> list[int]:
    """The versions remembered behind the head of an artifact, newest first."""
    head: Head | None = story.node.view.find(one.manifest.namespace.text)
    assert head is not None
    versions = []
    while (head := head.replaces) is not None:
        versions.append(head.manifest.config_version)
    return versions


def test_of_what_is_known_only_nothing_is_remembered_but_the_newest() -> None:
    story, origin = on_demand()
    for version in range(7, 17):
        story.announce(for_globex(version), origin).persisted()
    assert story.trusted[for_globex(16).tail][1] == "known"
    assert replaced(story, for_globex(16)) == []


def test_bytes_that_nobody_wants_any_more_leave_with_the_next_version() -> None:
    """They were asked for once; the next version is not wanted."""
    story, origin = on_demand()
    old = for_globex(7)
    story.announce(old, origin).persisted()
    body = FetchRequest(content_hash=old.content_hash, namespace=None, timeout_ms=1_000)
    story.when(RequestMade(request=RequestId(1), body=body)).stored(old, origin)
    story.announce(for_globex(8), origin).persisted()
    assert story.only(Remove).content_hash == old.content_hash
    assert replaced(story, for_globex(8)) == []


def test_of_versions_that_never_came_nothing_is_remembered() -> None:
    """The last one here stays until a newer one is; of those between, the one on its way."""
    story = Story()
    origin = story.link("n2")
    story.accept(routes(7), origin)
    for version in range(8, 18):
        story.announce(routes(version), origin).persisted()
        assert story.find(Remove) == []
    assert replaced(story, routes()) == [8, 7], "version 8 is on its way"
    snapshot = story.node.view.snapshot(story.now)
    assert snapshot.fetching.wanted == 2
    story.stored(routes(17), origin)
    assert story.only(Remove).content_hash == routes(7).content_hash
    assert replaced(story, routes()) == []


def test_what_consumers_still_read_stays_although_the_next_version_is_not_for_this_node() -> None:
    """It may know of it, for it is assigned to store such things."""
    kind, tail = ArtifactType.ROUTE_POLICY_BUNDLE, "routes/r1"
    scopes = (f"cluster:{factory.CLUSTER}", "role:core")
    assignment = StorageAssignment(tuple(map(parse_scope_id, scopes)), (kind.value,))
    stores_core = factory.opening(ClaimItem(assignment=assignment), 7)
    story, origin = on_demand(kind, (stores_core,))
    story.accept(routes(7), origin)
    assert story.trusted[tail][1] == "current"
    core = factory.audience(*scopes)
    for version in (8, 9):
        narrower = artifact(kind, tail, version=version, content=b"%d" % version, audience=core)
        story.announce(narrower, origin).persisted()
        assert story.trusted[tail][1] == "known"
        assert story.find(Remove) == []
    assert replaced(story, routes()) == [7]
