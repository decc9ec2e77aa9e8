"""A restart: what the disk holds is judged whole, and only what is wrong then is told."""

from dataclasses import replace
from typing import Final

from fabgossip.core.effects import Fact, Materialize, ReceiveContent, Record
from fabgossip.core.events import Started
from fabgossip.core.problems import Problem, ProblemCode
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import NodeClaims
from fabgossip.model.persistence import StoredTrust
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.topology import Snapshot
from fabgossip.wire.contents import bundle_bytes, snapshot_bytes
from tests.core.artifacts import routes, sealed, stored_head, trust
from tests.core.story import NOTHING_STORED, Story
from tests.trust import factory

EPOCH: Final = factory.BUNDLE.authority_epoch + 1
BUNDLE: Final = replace(factory.BUNDLE, bundle_version=4, authority_epoch=EPOCH)
CLAIMS: Final = replace(factory.claims(factory.OPENINGS), authority_epoch=EPOCH)
"""What a node that was enrolled in the epoch before gets by its own snapshot."""


def disk(claims: NodeClaims | None) -> Started:
    """Of a node in the new epoch, its own snapshot with these claims, which it took up."""
    signed = b"" if claims is None else factory.signed_claims(claims)
    content = snapshot_bytes(
        Snapshot(endpoints=(), degraded=DegradedPolicy(), settings=b"", claims=signed)
    )
    manifest = replace(factory.manifest(ArtifactType.CLUSTER_SNAPSHOT), authority_epoch=EPOCH)
    step = StoredTrust(version=4, envelope=trust(BUNDLE).envelope, content=bundle_bytes(BUNDLE))
    seen = () if claims is None else ((claims.node_id, EPOCH, claims.claims_version),)
    return replace(
        NOTHING_STORED,
        trust=(step,),
        heads=(stored_head(sealed(manifest, content)),),
        memory=replace(NOTHING_STORED.memory, claims_seen=seen),
    )


def refusals(story: Story) -> list[dict[str, str | int]]:
    return [dict(one.fields) for one in story.find(Record) if one.fact is Fact.ARTIFACT_REJECTED]


def test_claims_of_the_epoch_before_are_no_fault_while_newer_ones_count() -> None:
    """The file the node was enrolled with stays as it was: a warning at each start would send the
    operator to every node of a healthy fabric."""
    story = Story(started=disk(CLAIMS), is_fresh=False)
    assert story.node.view.trust.bundle.authority_epoch == EPOCH
    assert story.node.view.trust.own.scope_ids
    assert refusals(story) == []


def test_without_newer_ones_they_are_told_and_no_peer_is_blamed() -> None:
    story = Story(started=disk(None), is_fresh=False)
    assert not story.node.view.trust.own.scope_ids
    (told,) = refusals(story)
    assert told["code"] == "EPOCH_STALE"
    assert (told["source"], told["blame"]) == ("disk", "none")


def test_what_lies_on_the_disk_without_a_name_is_not_fetched_once_it_has_one() -> None:
    """An index made anew knows the bytes and nothing else; what is read is hashed first."""
    one = routes()
    started = replace(NOTHING_STORED, loose=((one.content_hash, len(one.content)),))
    story = Story(started=started)
    story.announce(one, story.link("n2")).persisted()
    assert story.find(ReceiveContent) == []
    assert story.only(Materialize).namespace == one.manifest.namespace.text


def test_what_software_reads_and_no_head_names_is_a_problem_once_the_node_knows_again() -> None:
    """After an index made anew, a namespace that is not announced any more would be read for ever
    behind a status that calls all fresh."""
    one, forgot = routes(), replace(NOTHING_STORED.memory, is_whole=False)
    namespace = one.manifest.namespace.text
    shown = replace(NOTHING_STORED, visible=((namespace, one.envelope),))
    story = Story(started=replace(shown, memory=forgot))
    assert problems(story, ProblemCode.UNCLAIMED_LOCAL) == []  # amnesia says it all
    story = Story(started=shown)
    (problem,) = problems(story, ProblemCode.UNCLAIMED_LOCAL)
    assert problem.namespace == namespace
    assert f"local/ still shows {one.manifest.order}" in problem.because
    assert story.find(Materialize) == []  # the last good one stays
    story.accept(one, story.link("n2"))
    assert problems(story, ProblemCode.UNCLAIMED_LOCAL) == []


def problems(story: Story, code: ProblemCode) -> list[Problem]:
    return [one for one in story.node.view.snapshot(story.now).problems if one.code is code]
