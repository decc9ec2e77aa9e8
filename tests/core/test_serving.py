"""In which class a content leaves: a large one holds up nothing that is small, but for trust."""

import pytest

from fabgossip.core.effects import ServeContent
from fabgossip.core.serving import BULK_ABOVE_BYTES
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.messages import ContentAsk, GetContent, TrafficClass
from tests.core.artifacts import Artifact, artifact, revocations, routes
from tests.core.story import Story


def ask(one: Artifact) -> ContentAsk:
    return ContentAsk(one.wanted.manifest_hash, one.content_hash, 0, 1)


def large(size: int) -> Artifact:
    return artifact(ArtifactType.ROUTE_POLICY_BUNDLE, "routes/large", content=b"x" * size)


@pytest.mark.parametrize(
    ("asked", "traffic"),
    [
        ((large(BULK_ABOVE_BYTES),), TrafficClass.POLICY),
        ((large(BULK_ABOVE_BYTES + 1),), TrafficClass.BULK),
        ((routes(),), TrafficClass.POLICY),
        ((revocations(8),), TrafficClass.TRUST),
        ((routes(), large(BULK_ABOVE_BYTES + 1)), TrafficClass.POLICY),
    ],
    ids=["64 KiB", "one byte more", "small", "trust", "both"],
)
def test_what_is_served_travels_by_its_size_and_its_kind(
    asked: tuple[Artifact, ...], traffic: TrafficClass
) -> None:
    story = Story()
    origin, link = story.link("n3"), story.link("n2")
    for one in asked:
        story.accept(one, origin)
    story.hear(link, GetContent(items=tuple(map(ask, asked))), 2)
    assert story.only(ServeContent).traffic is traffic
