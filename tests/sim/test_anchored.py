"""S6 and S21 fail where a node's words and local state run ahead of its disk, or behind it."""

from dataclasses import dataclass, field, replace

import pytest

from fabgossip.model.artifact import ArtifactType, Order, VerifiedManifest
from fabgossip.model.authority import RevokedKind
from fabgossip.model.messages import Announce, Announced, Heads
from fabgossip.model.persistence import PutRevoked
from fabgossip.sim.anchored import Anchored
from fabgossip.sim.authority import Issued
from fabgossip.sim.checkers import Docket
from fabgossip.sim.kept import Kept, Local
from fabgossip.sim.ledger import Ledger
from fabgossip.sim.run import Run
from fabgossip.wire.contents import parse_revocations
from tests.sim.factory import OFTEN, SEVEN, TOPOLOGY, run_of, scenario

EDGE = 2
ROUTES = "platform/p1/cluster/c1/routes/core"
LIST = "platform/p1/cluster/c1/trust/revocations"


@dataclass
class Truth:
    """A fabric whose list names a node."""

    run: Run
    docket: Docket = field(default_factory=Docket)

    @property
    def ledger(self) -> Ledger:
        return self.run.watch.ledger

    def newest(self, name: str) -> Issued:
        issued = self.ledger.newest(name)
        assert issued is not None
        return issued

    @property
    def verified(self) -> VerifiedManifest:
        return self.run.hosts[EDGE].disk.heads[ROUTES]

    def signatures(self) -> list[str]:
        return [one.signature for one in self.docket.violations]


@pytest.fixture(scope="module")
def ran() -> Run:
    act = 'act = [{ kind = "revoke_node", at = "11s", node = "edge-3" }]'
    run = run_of(scenario('phases = { quiet = "13s" }', OFTEN, act, TOPOLOGY, SEVEN), 1)
    assert run.run().violations == ()
    return run


@pytest.fixture
def truth(ran: Run) -> Truth:
    return Truth(ran)


def test_s6_finds_a_version_told_as_the_newest_below_a_floor(truth: Truth) -> None:
    checker, issued = Anchored(truth.ledger, truth.docket), truth.newest(ROUTES)
    messages = (
        Announce(entries=(Announced(issued.envelope, 0),)),
        Heads(envelopes=(issued.envelope,)),
    )
    order = issued.manifest.order
    checker.on_durable_manifest(EDGE, truth.verified, order)
    for message in messages:
        checker.on_sent(EDGE, message)
    assert truth.signatures() == []
    checker.on_durable_manifest(EDGE, truth.verified, Order(order.epoch, order.version + 1))
    for message in messages:
        checker.on_sent(EDGE, message)
        checker.on_sent(EDGE + 1, message)
    assert truth.signatures() == ["S6/told"] * 2
    checker.on_wiped(EDGE)
    checker.on_sent(EDGE, messages[0])
    assert len(truth.docket.violations) == 2


def test_s21_finds_a_version_shown_before_its_floor_is_durable(truth: Truth) -> None:
    checker, issued = Anchored(truth.ledger, truth.docket), truth.newest(ROUTES)
    local = Local(current=issued.manifest.order)
    checker.on_durable_manifest(EDGE, truth.verified, issued.manifest.order)
    checker.on_materialized(EDGE, ROUTES, local)
    assert truth.signatures() == []
    later = replace(issued.manifest, config_version=issued.manifest.config_version + 1)
    checker.on_materialized(EDGE, ROUTES, Local(current=later.order))
    assert truth.signatures() == ["S21/applied"]


def test_s21_finds_a_list_served_before_its_entries_are_durable(truth: Truth) -> None:
    checker, issued = Anchored(truth.ledger, truth.docket), truth.newest(LIST)
    assert issued.manifest.artifact_type is ArtifactType.REVOCATION_LIST
    entries = tuple(
        (one.kind.value, one.value) for one in parse_revocations(issued.content).entries
    )
    assert [kind for kind, _ in entries] == [RevokedKind.NODE.value]
    checker.on_content_sent(EDGE, issued.manifest.content_hash)
    assert truth.signatures() == ["S21/list"]
    checker.on_committed(EDGE, (PutRevoked(epoch=1, entries=entries),))
    checker.on_fell_back(EDGE + 1, Kept(revoked=set(entries)))
    for index in (EDGE, EDGE + 1):
        checker.on_content_sent(index, issued.manifest.content_hash)
    assert truth.signatures() == ["S21/list"]
