"""S11 and S12 fail where they must, and the disk of a whole run gives them something to judge."""

from dataclasses import dataclass, replace

import pytest

from fabgossip.core.effects import ServeItem
from fabgossip.core.events import Started
from fabgossip.model.artifact import Order, VerifiedManifest, chunk_size_of
from fabgossip.model.messages import Holdings, HoldingsEntry, HoldingsMode
from fabgossip.model.persistence import PutHead, PutHeldBack, PutPin, PutRevoked
from fabgossip.sim.authority import Issued
from fabgossip.sim.checkers import Docket
from fabgossip.sim.intact import Served, Survived
from fabgossip.sim.kept import Kept, Local
from fabgossip.sim.ledger import Ledger
from tests.core.test_holdbacks import held_back
from tests.core.test_retention import pin as pin_of
from tests.sim.factory import OFTEN, SEVEN, TOPOLOGY, run_of, scenario

EDGE = 2
BUNDLE = "platform/p1/cluster/c1/org/acme/services/dns"


@dataclass
class Truth:
    """A fabric that has published."""

    ledger: Ledger
    acme: Issued
    verified: VerifiedManifest
    kept: Kept
    docket: Docket

    def signatures(self) -> list[str]:
        return [one.signature for one in self.docket.violations]


@pytest.fixture(scope="module")
def fabric() -> tuple[Ledger, Issued, VerifiedManifest, Kept]:
    run = run_of(scenario('phases = { quiet = "12s" }', OFTEN, TOPOLOGY, SEVEN), 1)
    outcome = run.run()
    assert outcome.violations == ()
    issued = run.watch.ledger.newest(BUNDLE)
    assert issued is not None
    disk = run.hosts[EDGE].disk
    return run.watch.ledger, issued, disk.heads[BUNDLE], disk.image()


@pytest.fixture
def truth(fabric: tuple[Ledger, Issued, VerifiedManifest, Kept]) -> Truth:
    return Truth(*fabric, Docket())


def survived(truth: Truth) -> Survived:
    """A checker that saw one disk come to what it has."""
    checker = Survived(truth.ledger, truth.docket)
    checker.on_fell_back(EDGE, truth.kept)
    return checker


def begin(truth: Truth, checker: Survived, started: Started, local: dict[str, Local]) -> list[str]:
    checker.on_started(EDGE, started, local)
    return truth.signatures()


def test_s11_lets_a_start_from_what_was_durable_pass(truth: Truth) -> None:
    kept = truth.kept.image()
    assert begin(truth, survived(truth), kept.started(), kept.local) == []
    assert truth.docket.counts["S11"].state == "held"


def test_s11_finds_a_head_that_was_durable_and_is_gone(truth: Truth) -> None:
    kept = truth.kept.image()
    del kept.heads[BUNDLE]
    assert begin(truth, survived(truth), kept.started(), kept.local) == ["S11/head"]


def test_s11_knows_what_was_written_since(truth: Truth) -> None:
    checker, kept = survived(truth), truth.kept.image()
    entries = ((1, b"k" * 32),)
    changes = (
        PutHeldBack(held_back=held_back()),
        PutPin(pin=pin_of(7, truth.acme.manifest.content_hash)),
        PutRevoked(epoch=kept.revoked_epoch, entries=entries),
        PutHead(verified=truth.verified),
    )
    checker.on_committed(EDGE, changes)
    assert begin(truth, checker, kept.started(), kept.local) == [
        "S11/revoked",
        "S11/pins",
        "S11/held back",
    ]
    for _ in kept.commit(changes):
        pass
    truth.docket.violations.clear()
    assert begin(truth, checker, kept.started(), kept.local) == []


def test_s11_finds_what_is_shown_in_half_or_was_not_shown(truth: Truth) -> None:
    kept = truth.kept.image()
    order = truth.acme.manifest.order
    assert kept.local[BUNDLE].newest == order
    half = {order: truth.acme.content[:-1]}
    kept.local[BUNDLE] = replace(kept.local[BUNDLE], versions=half)
    assert begin(truth, survived(truth), kept.started(), kept.local) == ["S11/half"]
    truth.docket.violations.clear()
    older = Order(order.epoch, order.version - 1)
    kept.local[BUNDLE] = Local({older: b""}, {older: truth.acme.envelope}, current=older)
    found = begin(truth, survived(truth), kept.started(), kept.local)
    assert found[0] == "S11/shown"


def item_of(issued: Issued) -> ServeItem:
    manifest = issued.manifest
    return ServeItem(
        item=0,
        content_hash=manifest.content_hash,
        size=manifest.content_size,
        chunk_hashes=manifest.chunk_hashes,
        first_chunk=0,
        chunk_count=1,
    )


def test_s12_finds_a_served_chunk_that_was_never_issued(truth: Truth) -> None:
    checker, item = Served(truth.ledger, truth.docket), item_of(truth.acme)
    assert item.chunk_hashes, "it is of several chunks"
    size = chunk_size_of(item.size)
    second = truth.acme.content[size : 2 * size]
    checker.on_piece_sent(EDGE, item, 1, second)
    assert truth.signatures() == []
    checker.on_piece_sent(EDGE, item, 0, second)
    assert truth.signatures() == ["S12/served"]


def test_s12_finds_a_content_told_of_after_it_was_read_damaged(truth: Truth) -> None:
    checker, content_hash = Served(truth.ledger, truth.docket), truth.acme.manifest.content_hash
    entry = HoldingsEntry(truth.acme.manifest.audience, HoldingsMode.ONLY, (truth.acme.prefix,))
    told = Holdings(sequence=1, is_whole=False, entries=(entry,))
    checker.on_damaged(EDGE, content_hash)
    checker.on_sent(EDGE, told)
    truth.docket.now_ns = 1
    checker.on_sent(EDGE + 1, told)
    assert truth.signatures() == [], "it did not know yet, and another one is not it"
    checker.on_sent(EDGE, told)
    assert truth.signatures() == ["S12/told"]
    checker.on_durable_content(EDGE, content_hash)
    checker.on_sent(EDGE, told)
    assert truth.signatures() == ["S12/told"], "a sound one came"
