"""S7 and S14 fail where a node takes up what nobody signed, or what an epoch put an end to."""

from dataclasses import dataclass, field, replace

import pytest

from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.ids import ManifestHash
from fabgossip.sim.authentic import BINDS_NS, Authentic
from fabgossip.sim.checkers import Docket
from fabgossip.sim.kept import Kept
from fabgossip.sim.ledger import Ledger
from tests.sim.factory import OFTEN, SEVEN, TOPOLOGY, run_of, scenario

EDGE = 2
ROUTES = "platform/p1/cluster/c1/routes/core"
BUNDLE = "platform/p1/cluster/c1/trust/bundle"


@dataclass
class Truth:
    """What was signed, and what a disk has of it."""

    ledger: Ledger
    heads: dict[str, VerifiedManifest]
    docket: Docket = field(default_factory=Docket)

    def of_epoch(self, name: str, epoch: int) -> VerifiedManifest:
        verified = self.heads[name]
        return replace(verified, manifest=replace(verified.manifest, authority_epoch=epoch))

    def signatures(self) -> list[str]:
        return [one.signature for one in self.docket.violations]


@pytest.fixture(scope="module")
def fabric() -> tuple[Ledger, dict[str, VerifiedManifest]]:
    run = run_of(scenario('phases = { quiet = "12s" }', OFTEN, TOPOLOGY, SEVEN), 1)
    run.run()
    return run.watch.ledger, run.hosts[EDGE].disk.heads


@pytest.fixture
def truth(fabric: tuple[Ledger, dict[str, VerifiedManifest]]) -> Truth:
    return Truth(*fabric)


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
