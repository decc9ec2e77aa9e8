"""S7 and S14 fail where a node takes up what nobody signed, or what an epoch put an end to."""

from dataclasses import dataclass, field, replace

import pytest

from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.ids import ContentHash, ManifestHash
from fabgossip.model.persistence import PutEvidence
from fabgossip.sim.authentic import BINDS_NS, Authentic, Contradicted
from fabgossip.sim.kept import Kept, Local
from tests.sim import truth as ground
from tests.sim.truth import BUNDLE, EDGE, ROUTES

OWN = "platform/p1/cluster/c1/snapshots/node/edge-0"


@dataclass
class Truth(ground.Truth):
    """What was signed, and what a disk has of it."""

    heads: dict[str, VerifiedManifest] = field(default_factory=lambda: ground.heads_of(EDGE))

    def of_epoch(self, name: str, epoch: int) -> VerifiedManifest:
        verified = self.heads[name]
        return replace(verified, manifest=replace(verified.manifest, authority_epoch=epoch))

    def of_version(self, version: int, content: bytes = b"") -> VerifiedManifest:
        """Routes of a version; with other content, another statement of it."""
        verified = self.heads[ROUTES]
        manifest = replace(verified.manifest, config_version=version)
        name = ManifestHash((b"%d " % version + content).ljust(32))
        return replace(verified, manifest=manifest, manifest_hash=name)


@pytest.fixture
def truth() -> Truth:
    return Truth()


def test_s14_knows_what_was_signed(truth: Truth) -> None:
    checker = Authentic(truth.ledger, truth.docket)
    for verified in truth.heads.values():
        checker.on_durable_manifest(EDGE, verified)
    assert truth.signatures() == []
    assert truth.docket.counts["S14"].state == "held"
    forged = replace(truth.heads[ROUTES], manifest_hash=ManifestHash(b"nobody signed it" * 2))
    checker.on_durable_manifest(EDGE, forged)
    assert truth.signatures() == ["S14/stored"]


def test_s7_binds_a_second_after_a_bundle_of_a_newer_epoch_is_durable(truth: Truth) -> None:
    checker = Authentic(truth.ledger, truth.docket)
    old = truth.of_epoch(ROUTES, 1)
    checker.on_durable_manifest(EDGE, truth.of_epoch(BUNDLE, 1))
    checker.on_durable_manifest(EDGE, old)
    assert truth.docket.counts["S7"].state == "unproved", "there was one epoch ever"
    checker.on_durable_manifest(EDGE, truth.of_epoch(BUNDLE, 2))
    checker.on_durable_manifest(EDGE, truth.of_epoch(BUNDLE, 1))
    truth.docket.now_ns = BINDS_NS
    checker.on_durable_manifest(EDGE, old)
    assert truth.signatures() == []
    truth.docket.now_ns += 1
    checker.on_durable_manifest(EDGE, truth.of_epoch(ROUTES, 2))
    checker.on_durable_manifest(EDGE + 1, old)
    assert truth.signatures() == []
    checker.on_durable_manifest(EDGE, old)
    assert truth.signatures() == ["S7/stored"]


def test_s7_goes_by_the_disk_there_is(truth: Truth) -> None:
    checker, old = Authentic(truth.ledger, truth.docket), truth.of_epoch(ROUTES, 1)
    checker.on_durable_manifest(EDGE, truth.of_epoch(BUNDLE, 2))
    truth.docket.now_ns = 2 * BINDS_NS
    checker.on_wiped(EDGE)
    checker.on_durable_manifest(EDGE, old)
    checker.on_fell_back(EDGE, Kept(heads={BUNDLE: truth.of_epoch(BUNDLE, 1)}))
    truth.docket.now_ns += 2 * BINDS_NS
    checker.on_durable_manifest(EDGE, old)
    assert truth.signatures() == []
    checker.on_fell_back(EDGE, Kept(heads={BUNDLE: truth.of_epoch(BUNDLE, 2)}))
    truth.docket.now_ns += 2 * BINDS_NS
    checker.on_durable_manifest(EDGE, old)
    assert truth.signatures() == ["S7/stored"]


def shows(checker: Contradicted, index: int, verified: VerifiedManifest) -> None:
    """A node wants a version shown, and it is."""
    checker.on_switching(index, ROUTES)
    checker.on_materialized(index, ROUTES, Local(current=verified.manifest.order))


def test_s7_binds_who_has_two_statements_of_one_order(truth: Truth) -> None:
    checker = Contradicted(truth.ledger, truth.docket)
    one, other = truth.of_version(9), truth.of_version(9, b"other")
    checker.on_durable_manifest(EDGE, one)
    checker.on_durable_manifest(EDGE, one)
    truth.docket.now_ns = 2 * BINDS_NS
    shows(checker, EDGE, one)
    assert truth.docket.counts["S7"].state == "unproved", "there is one statement"
    checker.on_materialized(EDGE, ROUTES, Local())
    checker.on_committed(EDGE, (PutEvidence(verified=other),))
    checker.on_materialized(EDGE, ROUTES, Local(current=one.manifest.order))
    truth.docket.now_ns += 1
    shows(checker, EDGE, one)
    assert truth.signatures() == [], "it was wanted before, and what is applied stays"
    checker.on_materialized(EDGE, ROUTES, Local())
    shows(checker, EDGE, other)
    shows(checker, EDGE + 1, other)
    assert truth.signatures() == ["S7/applied"], "the other node has heard of nothing"


def test_s7_ends_with_a_higher_order_and_with_the_disk(truth: Truth) -> None:
    checker = Contradicted(truth.ledger, truth.docket)
    one, other = truth.of_version(9), truth.of_version(9, b"other")

    def hear_both() -> None:
        checker.on_durable_manifest(EDGE, one)
        checker.on_durable_manifest(EDGE, other)
        truth.docket.now_ns += 2 * BINDS_NS

    hear_both()
    checker.on_wiped(EDGE)
    shows(checker, EDGE, one)
    hear_both()
    checker.on_durable_manifest(EDGE, truth.of_version(10))
    shows(checker, EDGE, other)
    shows(checker, EDGE, truth.of_version(10))
    assert truth.signatures() == []
    checker.on_wiped(EDGE)
    kept = Kept(heads={ROUTES: one}, evidence={(ROUTES, bytes(other.manifest_hash)): other})
    checker.on_fell_back(EDGE, kept)
    truth.docket.now_ns += 2 * BINDS_NS
    shows(checker, EDGE, one)
    assert truth.signatures() == ["S7/applied"]


def test_s7_sees_half_of_an_equivocation_served(truth: Truth) -> None:
    checker, head = Contradicted(truth.ledger, truth.docket), truth.heads[ROUTES]
    content = head.manifest.content_hash
    checker.on_durable_manifest(EDGE, head)
    other = replace(head, manifest_hash=ManifestHash(b"another statement".ljust(32)))
    checker.on_durable_manifest(EDGE, other)
    truth.docket.now_ns = BINDS_NS
    checker.on_content_sent(EDGE, content)
    assert truth.signatures() == [], "it has just heard"
    truth.docket.now_ns += 1
    checker.on_content_sent(EDGE, ContentHash(b"of something else".ljust(32)))
    checker.on_content_sent(EDGE + 1, content)
    assert truth.signatures() == []
    checker.on_content_sent(EDGE, content)
    assert truth.signatures() == ["S7/served"]


def test_s7_lets_both_sides_of_a_snapshot_be_handed_out(truth: Truth) -> None:
    checker, head = Contradicted(truth.ledger, truth.docket), truth.heads[OWN]
    checker.on_durable_manifest(EDGE, head)
    other = replace(head, manifest_hash=ManifestHash(b"another statement".ljust(32)))
    checker.on_durable_manifest(EDGE, other)
    truth.docket.now_ns = 2 * BINDS_NS
    checker.on_content_sent(EDGE, head.manifest.content_hash)
    assert truth.signatures() == []
