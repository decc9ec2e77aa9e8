"""One want per content and signers, also where signatures join later."""

from dataclasses import replace

from fabgossip.core.effects import ReceiveContent
from fabgossip.core.events import FetchFailure
from fabgossip.core.wants import WantState
from fabgossip.model.artifact import ArtifactType
from tests.core.artifacts import Artifact
from tests.core.story import Story
from tests.core.test_fetching import fail
from tests.trust import factory
from tests.trust.factory import RELEASES

CONTENT = b"u" * 20_000


def update(name: str, *signers: factory.Signer) -> Artifact:
    """An update that three may sign and two must."""
    statement = replace(
        factory.manifest(ArtifactType.UPDATE_MANIFEST, f"updates/{name}"),
        content_hash=factory.hash_of(CONTENT),
        content_size=len(CONTENT),
        signer_key_ids=tuple(sorted(one.key_id for one in RELEASES)),
    )
    return Artifact(statement, factory.signed(statement, *signers), CONTENT)


BY_TWO, BY_ALL = update("u1", *RELEASES[:2]), update("u1", *RELEASES)


def test_a_want_goes_on_when_its_manifest_is_signed_by_more() -> None:
    """It is not asked for twice, and its try counts: the next one is who brought the signature."""
    story = Story()
    first, second = story.link("n2"), story.link("n3")
    story.announce(BY_TWO, first).persisted()
    under_way = story.only(ReceiveContent)
    story.announce(BY_ALL, second).persisted()
    assert story.find(ReceiveContent) == []
    (want,) = story.node.view.wants_of(BY_ALL.content_hash)
    assert len(want.goal.signed_by) == len(RELEASES)
    story.effects = [under_way]
    fail(story, BY_TWO, FetchFailure.MISSING)
    assert story.only(ReceiveContent).link == second
    story.stored(BY_ALL, second)
    assert want.state is WantState.SATISFIED
    assert story.node.view.wants_of(BY_ALL.content_hash) == ()


def test_a_want_ends_when_its_manifest_is_signed_by_more_and_that_is_wanted_already() -> None:
    """Another manifest of the same content and all signers came first."""
    story = Story()
    first, second = story.link("n2"), story.link("n3")
    story.announce(update("u0", *RELEASES), second).persisted()
    story.announce(BY_TWO, first).persisted()
    assert len(story.node.view.wants_of(BY_ALL.content_hash)) == 2
    story.announce(BY_ALL, second).persisted()
    (want,) = story.node.view.wants_of(BY_ALL.content_hash)
    assert len(want.goal.signed_by) == len(RELEASES)
