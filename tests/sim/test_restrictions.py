"""What was taken away stays away: each checker fails where it must, and where it must not it
holds; acts take away through the control plane's own compiler."""

from dataclasses import dataclass

import pytest

from fabgossip.model.artifact import ArtifactType, Order
from fabgossip.model.authority import RevokedKind
from fabgossip.model.messages import Announce, Announced, Have, Heads, Message
from fabgossip.sim.authority import Issued
from fabgossip.sim.checkers import Docket
from fabgossip.sim.kept import Local
from fabgossip.sim.ledger import Ledger
from fabgossip.sim.restrictions import CLOSE_WITHIN_NS, Revoked, Withdrawn
from fabgossip.sim.run import Run
from fabgossip.wire.contents import parse_revocations
from tests.sim.factory import SEVEN, TOPOLOGY, run_of, scenario

CONTROL, GONE, OTHER = 1, 2, 3
"""`control-0`, `edge-0`, which is revoked, and `edge-1`."""
PUBLICATIONS = """
publication = [
  { name = "bad", type = "route_policy_bundle", namespace = "routes/bad", size = "1KiB", at = "5s", through = "control" },
  { name = "old", type = "qos_policy_bundle", namespace = "qos/old", size = "1KiB", at = "5s", through = "control" },
]
act = [
  { kind = "revoke_node", at = "7s", node = "edge-0" },
  { kind = "revoke", at = "8s", publication = "bad" },
  { kind = "tombstone", at = "9s", publication = "old" },
]
"""  # noqa: E501  # a row of a scenario
PREFIX = "platform/p1/cluster/c1"


@dataclass
class Truth:
    """A fabric from which things were taken away."""

    run: Run
    ledger: Ledger
    docket: Docket
    list_: Issued
    bad: Issued
    old: Issued
    stone: Issued

    def late(self) -> None:
        """Long enough has passed."""
        self.docket.now_ns += CLOSE_WITHIN_NS + 1

    @property
    def signatures(self) -> list[str]:
        return [one.signature for one in self.docket.violations]


@pytest.fixture(scope="module")
def run() -> Run:
    run = run_of(scenario('phases = { quiet = "13s" }', PUBLICATIONS, TOPOLOGY, SEVEN), 1)
    outcome = run.run()
    assert outcome.violations == ()
    assert outcome.behind == ()
    assert {outcome.checkers[name].state for name in ("S8", "S9", "S10")} == {"held"}
    return run


@pytest.fixture
def truth(run: Run) -> Truth:
    ledger = run.watch.ledger

    def find(namespace: str, order: Order) -> Issued:
        found = ledger.by_order(f"{PREFIX}/{namespace}", order)
        assert found is not None
        return found

    lists = [
        one
        for one in ledger.all_issued()
        if one.manifest.artifact_type is ArtifactType.REVOCATION_LIST
    ]
    return Truth(
        run=run,
        ledger=ledger,
        docket=Docket(),
        list_=lists[-1],
        bad=find("routes/bad", Order(1, 1)),
        old=find("qos/old", Order(1, 1)),
        stone=find("qos/old", Order(1, 2)),
    )


def words_about(issued: Issued) -> list[Message]:
    return [
        Announce(entries=(Announced(issued.envelope, 0),)),
        Heads(envelopes=(issued.envelope,)),
        Have(audience=issued.manifest.audience, prefixes=(issued.prefix,)),
    ]


def shown(issued: Issued) -> tuple[str, Local]:
    order = issued.manifest.order
    local = Local(versions={order: issued.content}, current=order)
    return issued.manifest.namespace.text, local


def test_acts_take_away_what_they_name(truth: Truth) -> None:
    entries = parse_revocations(truth.list_.content).entries
    assert {one.kind for one in entries} == {RevokedKind.NODE, RevokedKind.MANIFEST}
    assert truth.bad.manifest_hash in {one.value for one in entries}
    assert truth.stone.manifest.tombstone is not None
    names = {index: truth.ledger.node_id(index) for index in (CONTROL, GONE, OTHER)}
    assert names == {CONTROL: "control-0", GONE: "edge-0", OTHER: "edge-1"}
    process = truth.run.hosts[GONE].process
    assert process is not None
    assert truth.run.local_of(OTHER, f"{PREFIX}/qos/old") == Local(
        versions={Order(1, 1): truth.old.content}, envelopes={Order(1, 1): truth.old.envelope}
    )


@pytest.mark.parametrize("number", range(3))
def test_s8_finds_a_word_about_what_is_revoked(truth: Truth, number: int) -> None:
    word = words_about(truth.bad)[number]
    checker = Revoked(truth.ledger, truth.docket)
    checker.on_durable_content(CONTROL, truth.list_.manifest.content_hash)
    checker.on_sent(CONTROL, OTHER, word)
    truth.late()
    checker.on_sent(OTHER, CONTROL, word)
    assert truth.signatures == []
    checker.on_sent(CONTROL, OTHER, word)
    assert truth.signatures == ["S8/told"]


def test_s8_finds_what_is_shown_to_consumers(truth: Truth) -> None:
    checker = Revoked(truth.ledger, truth.docket)
    checker.on_durable_content(OTHER, truth.list_.manifest.content_hash)
    truth.late()
    checker.on_materialized(OTHER, *shown(truth.old))
    assert truth.signatures == []
    checker.on_materialized(OTHER, *shown(truth.bad))
    assert truth.signatures == ["S8/materialized"]


def test_s9_finds_words_with_a_revoked_node_until_the_disk_is_another(truth: Truth) -> None:
    checker = Revoked(truth.ledger, truth.docket)
    checker.on_durable_content(CONTROL, truth.list_.manifest.content_hash)
    truth.late()
    (word, *_) = words_about(truth.old)
    checker.on_sent(CONTROL, OTHER, word)
    checker.on_sent(OTHER, GONE, word)
    checker.on_judged(CONTROL, GONE, is_let_in=False)
    assert truth.signatures == []
    checker.on_sent(CONTROL, GONE, word)
    checker.on_arrived(CONTROL, GONE)
    checker.on_judged(CONTROL, GONE, is_let_in=True)
    assert truth.signatures == ["S9/sent", "S9/heard", "S9/let in"]
    checker.on_wiped(CONTROL)
    checker.on_arrived(CONTROL, GONE)
    assert len(truth.signatures) == 3


@pytest.mark.parametrize("number", range(3))
def test_s10_finds_a_word_about_what_a_tombstone_withdrew(truth: Truth, number: int) -> None:
    checker = withdrawn_at_control(truth)
    word = words_about(truth.old)[number]
    checker.on_sent(CONTROL, word)
    truth.late()
    checker.on_sent(CONTROL, words_about(truth.stone)[number])
    checker.on_sent(OTHER, word)
    assert truth.signatures == []
    checker.on_sent(CONTROL, word)
    assert truth.signatures == ["S10/told"]


def test_s10_finds_what_is_served_or_shown(truth: Truth) -> None:
    checker = withdrawn_at_control(truth)
    truth.late()
    checker.on_content_sent(CONTROL, truth.bad.manifest.content_hash)
    assert truth.signatures == []
    checker.on_content_sent(CONTROL, truth.old.manifest.content_hash)
    checker.on_materialized(CONTROL, *shown(truth.old))
    assert truth.signatures == ["S10/served", "S10/materialized"]


def withdrawn_at_control(truth: Truth) -> Withdrawn:
    """The tombstone has just become durable there."""
    checker = Withdrawn(truth.ledger, truth.docket)
    verified = truth.run.hosts[CONTROL].disk.heads[f"{PREFIX}/qos/old"]
    assert verified.manifest_hash == truth.stone.manifest_hash
    checker.on_durable_manifest(CONTROL, verified)
    return checker
