"""S3 fails where a node goes on with what its claims cover no more, and nowhere else."""

from dataclasses import dataclass, field

import pytest

from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.messages import Announce, Announced
from fabgossip.model.mode import Mode
from fabgossip.model.scope import Entitlements
from fabgossip.sim.checkers import Applied, Disclosed, Docket
from fabgossip.sim.kept import Kept, Local
from fabgossip.sim.ledger import Ledger
from fabgossip.sim.run import Run
from fabgossip.sim.scoped import BINDS_NS, PURGES_NS, Scoped
from tests.sim.factory import OFTEN, SEVEN, TOPOLOGY, run_of, scenario

ACME, STORE = 2, 6
BUNDLE = "platform/p1/cluster/c1/org/acme/services/dns"
OWN = "platform/p1/cluster/c1/snapshots/node/edge-0"


@dataclass
class Truth:
    """`edge-0` is of acme no more; its disk may know."""

    run: Run
    docket: Docket = field(default_factory=Docket)

    @property
    def ledger(self) -> Ledger:
        return self.run.watch.ledger

    @property
    def own(self) -> VerifiedManifest:
        return self.run.hosts[ACME].disk.heads[OWN]

    def shrink(self) -> None:
        held = self.ledger.entitlements(ACME)
        left = frozenset(one for one in held.scope_ids if one.text != "org:acme")
        self.ledger.on_claims(ACME, Entitlements(left), self.own.manifest.order)

    def signatures(self) -> list[str]:
        return [one.signature for one in self.docket.violations]


@pytest.fixture
def truth() -> Truth:
    run = run_of(scenario('phases = { quiet = "12s" }', OFTEN, TOPOLOGY, SEVEN), 1)
    assert run.run().violations == ()
    return Truth(run)


def test_s3_binds_who_learned_of_it_and_a_second_later(truth: Truth) -> None:
    checker, issued = Scoped(truth.ledger, truth.docket), truth.ledger.newest(BUNDLE)
    assert issued is not None
    told = Announce(entries=(Announced(issued.envelope, 0),))
    local = Local(current=issued.manifest.order)

    def act() -> None:
        checker.on_sent(ACME, told)
        checker.on_content_sent(ACME, issued.manifest.content_hash)
        checker.on_materialized(ACME, BUNDLE, local)
        checker.on_materialized(ACME, BUNDLE, Local())

    act()
    truth.shrink()
    truth.docket.now_ns = 10 * BINDS_NS
    act()
    assert truth.signatures() == [], "it has not heard"
    checker.on_durable_manifest(ACME, truth.own)
    act()
    assert truth.signatures() == [], "it just heard"
    truth.docket.now_ns += BINDS_NS + 1
    act()
    assert truth.signatures() == ["S3/told", "S3/served", "S3/applied"]
    checker.on_sent(STORE, told)
    assert len(truth.docket.violations) == 3, "another one may"


def test_s1_and_s2_go_by_the_newest_claims_a_node_durably_has(truth: Truth) -> None:
    issued = truth.ledger.newest(BUNDLE)
    assert issued is not None
    told = Announce(entries=(Announced(issued.envelope, 0),))
    disclosed = Disclosed(truth.ledger, truth.docket)
    applied = Applied(truth.ledger, truth.docket)
    local = Local(versions={issued.manifest.order: issued.content}, current=issued.manifest.order)
    truth.shrink()
    disclosed.on_sent(STORE, ACME, told)
    applied.on_materialized(ACME, BUNDLE, local)
    truth.ledger.on_claims_seen(STORE, truth.ledger.node_id(ACME), 1)
    disclosed.on_sent(STORE, ACME, told)
    assert truth.signatures() == [], "the old ones are all they have"
    truth.ledger.on_claims_seen(STORE, truth.ledger.node_id(ACME), 2)
    disclosed.on_sent(STORE, ACME, told)
    assert truth.signatures() == ["S1/sent/announce"]
    assert truth.ledger.on_own_snapshot(ACME, truth.own.manifest.order)
    applied.on_materialized(ACME, BUNDLE, local)
    assert truth.signatures() == ["S1/sent/announce", "S2/materialized"]


def test_s3_lets_no_software_read_what_a_node_only_stores_a_minute_after_it_may_no_more(
    truth: Truth,
) -> None:
    issued = truth.ledger.newest(BUNDLE)
    assert issued is not None
    versions = {issued.manifest.order: issued.content}
    shown = Kept(local={BUNDLE: Local(versions=versions, current=issued.manifest.order)})
    put_away = Kept(local={BUNDLE: Local(versions=versions)})
    checker = Scoped(truth.ledger, truth.docket)
    held = truth.ledger.entitlements(ACME)
    left = frozenset(one for one in held.scope_ids if one.text != "org:acme")
    duty = truth.ledger.entitlements(STORE).assignments
    truth.ledger.on_claims(ACME, Entitlements(left, duty), truth.own.manifest.order)
    checker.on_durable_manifest(ACME, truth.own)
    truth.docket.now_ns += PURGES_NS
    checker.on_audit(ACME, shown, Mode.FRESH)
    assert truth.signatures() == []
    truth.docket.now_ns += 1
    checker.on_audit(ACME, put_away, Mode.FRESH)
    assert truth.signatures() == []
    checker.on_audit(ACME, shown, Mode.FRESH)
    assert truth.signatures() == ["S3/shown"]


def test_s3_lets_bytes_stay_for_a_minute_and_while_the_node_is_not_fresh(truth: Truth) -> None:
    checker, issued = Scoped(truth.ledger, truth.docket), truth.ledger.newest(BUNDLE)
    assert issued is not None
    disk = Kept(
        contents={issued.manifest.content_hash: issued.content},
        local={BUNDLE: Local(versions={issued.manifest.order: issued.content})},
    )
    truth.shrink()
    checker.on_durable_manifest(ACME, truth.own)
    truth.docket.now_ns += PURGES_NS
    checker.on_audit(ACME, disk, Mode.FRESH)
    truth.docket.now_ns += 1
    checker.on_audit(ACME, disk, Mode.STALE)
    checker.on_disturbed(ACME)
    checker.on_audit(ACME, disk, Mode.FRESH)
    checker.on_audit(STORE, disk, Mode.FRESH)
    assert truth.signatures() == []
    truth.docket.now_ns += PURGES_NS + 1
    checker.on_audit(ACME, Kept(), Mode.FRESH)
    assert truth.signatures() == []
    checker.on_audit(ACME, disk, Mode.FRESH)
    assert truth.signatures() == ["S3/kept", "S3/kept for consumers"]
