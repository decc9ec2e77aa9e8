"""S23 fails where what must stay leaves, and nowhere else."""

from dataclasses import dataclass, field, replace

import pytest

from fabgossip.model.authority import Revocation, RevocationList, RevokedKind
from fabgossip.model.ids import ContentHash
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import DropPin, Pin, PutPin
from fabgossip.sim.clock import FIRST_UNIX
from fabgossip.sim.kept import Kept
from fabgossip.sim.staying import Staying
from fabgossip.wire.contents import revocations_bytes
from tests.sim import truth as ground
from tests.sim.truth import ACME, EDGE, LIST, ROUTES, STORE


@dataclass
class Truth(ground.Truth):
    """What was signed, and what time it is."""

    unix: int = FIRST_UNIX + 12
    checker: Staying = field(init=False)

    def __post_init__(self) -> None:
        self.checker = Staying(self.ledger, self.docket, lambda: UnixTime(self.unix))

    def content(self, name: str) -> ContentHash:
        return self.newest(name).manifest.content_hash

    def drops(self, index: int, name: str, *, is_damaged: bool = False) -> list[str]:
        """What is found when a node holds the newest of a namespace and lets go of it."""
        before = len(self.docket.violations)
        self.checker.on_durable_content(index, self.content(name))
        self.checker.on_removed(index, self.content(name), is_damaged=is_damaged)
        return self.signatures()[before:]


@pytest.fixture
def truth() -> Truth:
    return Truth()


def pin_of(truth: Truth, name: str) -> Pin:
    return Pin(
        pin_id=1, content_hash=truth.content(name), namespace=name, owner="me", reason="",
        until=UnixTime(truth.unix + 60),
    )  # fmt: skip


def test_the_last_copy_of_what_is_current_stays(truth: Truth) -> None:
    truth.checker.on_durable_content(STORE, truth.content(ROUTES))
    assert truth.drops(EDGE, ROUTES) == [], "a store has it"
    truth.checker.on_wiped(STORE)
    assert truth.drops(EDGE, ROUTES, is_damaged=True) == [], "it was none any more"
    assert truth.drops(EDGE, ROUTES) == ["S23/last"]
    truth.checker.on_fell_back(STORE, Kept(contents={truth.content(ROUTES): b""}))
    assert truth.drops(EDGE, ROUTES) == []


def test_what_nobody_is_to_have_may_leave(truth: Truth) -> None:
    zed = truth.index_of("edge-1")
    assert truth.drops(zed, ACME) == [], "it is not for that node"
    older = next(one for one in truth.ledger.all_issued() if one.manifest.namespace.text == ROUTES)
    assert older is not truth.newest(ROUTES)
    truth.checker.on_removed(EDGE, older.manifest.content_hash, is_damaged=False)
    assert truth.signatures() == [], "another took its place"


def test_what_is_over_or_taken_back_may_leave(truth: Truth) -> None:
    truth.unix = truth.newest(ROUTES).manifest.expires_at
    assert truth.drops(EDGE, ROUTES) == []
    truth.unix -= 1
    assert truth.drops(EDGE, ROUTES) == ["S23/last"]
    entry = Revocation(
        kind=RevokedKind.MANIFEST, value=truth.newest(ROUTES).manifest_hash, reason="",
        since_epoch=1, since=UnixTime(0), until=UnixTime(0),
    )  # fmt: skip
    content = revocations_bytes(RevocationList(entries=(entry,)))
    truth.checker.on_issued(replace(truth.newest(LIST), content=content))
    assert truth.drops(EDGE, ROUTES) == []


def test_a_pin_holds_until_it_is_durably_gone(truth: Truth) -> None:
    pin = pin_of(truth, ROUTES)
    truth.checker.on_durable_content(STORE, truth.content(ROUTES))
    truth.checker.on_committed(EDGE, (PutPin(pin=pin),))
    assert truth.drops(EDGE, ROUTES) == ["S23/pinned"]
    truth.checker.on_committed(EDGE, (DropPin(pin_id=1),))
    assert truth.drops(EDGE, ROUTES) == []
    truth.checker.on_fell_back(EDGE, Kept(pins={1: pin}))
    assert truth.drops(EDGE, ROUTES) == ["S23/pinned"]
    truth.checker.on_wiped(EDGE)
    assert truth.drops(EDGE, ROUTES) == []
