"""A node that loses the right to apply something, and stores it for others still."""

from dataclasses import replace
from typing import Final

from fabgossip.core.events import PapersRead
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import ClaimItem
from fabgossip.model.ids import NodeId
from fabgossip.model.scope import StorageAssignment, parse_scope_id
from tests.core.artifacts import artifact
from tests.core.story import Story
from tests.core.test_own_papers import papers
from tests.trust import factory

_ROUTES_OF_ALL: Final = StorageAssignment(
    (parse_scope_id("cluster:prod"),), (ArtifactType.ROUTE_POLICY_BUNDLE.value,)
)
STORED: Final = (factory.opening(ClaimItem(assignment=_ROUTES_OF_ALL), 9),)
EDGES: Final = factory.audience("cluster:prod", "role:edge")
FOR_EDGES: Final = artifact(
    ArtifactType.ROUTE_POLICY_BUNDLE, "routes/r1", content=b"for edges", audience=EDGES
)


def no_more_an_edge(story: Story) -> Story:
    """Its next claims name another role, and the same duty to store."""
    statement = replace(
        factory.claims(STORED), node_id=NodeId("n1"), claims_version=2, roles=("other",)
    )
    claims = factory.signed_claims(statement)
    return story.when(PapersRead(papers=replace(papers(claims=claims), openings=STORED)))
