"""S16 fails where more is said than was asked for, or more asked than may be."""

from dataclasses import dataclass, field, replace

import pytest

from fabgossip.core.config import RecoveryConfig
from fabgossip.core.events import LinkId
from fabgossip.core.ladder import Step
from fabgossip.core.wants import Want, goal_of, wanted_from
from fabgossip.model.messages import (
    Announce,
    Announced,
    GetManifests,
    Graft,
    Manifests,
    Message,
    Ping,
    Pong,
    SaltId,
    TrafficClass,
)
from fabgossip.model.moment import Instant
from fabgossip.sim.frugal import ANSWER_MAX, Frugal
from fabgossip.wire.framing import HEADER_BYTES
from tests.core.artifacts import routes
from tests.sim import truth as ground
from tests.sim.truth import EDGE, LIST, ROUTES, STORE

SALT = SaltId(bundle_version=1, day=1)
LINK = LinkId(7)
PING = Ping(sequence=1, salt=SALT, link_root=bytes(16))
QUESTION = GetManifests(set_id=bytes(16), salt=SALT, ids=(bytes(8),))
CONFIG = RecoveryConfig(
    endpoints_every_ms=100, endpoints_burst=2, control_every_ms=1_000, control_burst=1
)


@dataclass
class Truth(ground.Truth):
    """What was signed, and who talks too much."""

    checker: Frugal = field(init=False)

    def __post_init__(self) -> None:
        self.checker = Frugal(self.ledger, self.docket, CONFIG)

    def answers(self, message: Message, size: int) -> list[str]:
        self.checker.on_sent(STORE, LINK, message, size)
        return self.signatures()


@pytest.fixture
def truth() -> Truth:
    return Truth()


def manifests(*envelopes: bytes, answered: int = 1) -> Manifests:
    return Manifests(set_id=bytes(16), answered=answered, envelopes=envelopes)


def test_an_answer_is_paid_for_by_its_question(truth: Truth) -> None:
    asked = 20
    truth.checker.on_heard(STORE, LINK, QUESTION, asked)
    paid = ANSWER_MAX * (HEADER_BYTES + asked) - HEADER_BYTES
    assert truth.answers(manifests(bytes(5_000)), paid + 5_000) == [], "envelopes are free"
    assert truth.answers(manifests(), 0) == ["S16/answer/Manifests"]


def test_another_question_pays_for_nothing(truth: Truth) -> None:
    for link in (LINK, LinkId(2)):
        truth.checker.on_heard(STORE, link, QUESTION, 1_000)
    truth.checker.on_heard(EDGE, LINK, PING, 1_000)
    assert truth.answers(manifests(answered=0), 100) == [], "nobody asked for it"
    assert truth.answers(Pong(sequence=1), 3) == ["S16/answer/Pong"]


def test_what_was_not_answered_is_not_saved_up(truth: Truth) -> None:
    """A link that ends takes its questions along, and the next ping the place of the last one."""
    truth.checker.on_heard(STORE, LINK, QUESTION, 1_000)
    truth.checker.on_lost(STORE, LINK)
    assert truth.answers(manifests(), 0) == ["S16/answer/Manifests"]
    for _ in range(9):
        truth.checker.on_heard(STORE, LINK, PING, 0)
    for _ in range(ANSWER_MAX):
        truth.checker.on_sent(STORE, LINK, Pong(sequence=1), 0)
    assert len(truth.signatures()) == 1
    truth.checker.on_sent(STORE, LINK, Pong(sequence=1), 0)
    assert truth.signatures()[1:] == ["S16/answer/Pong"]


def test_nothing_is_announced_twice_on_a_link_that_did_not_ask(truth: Truth) -> None:
    issued, link, other = truth.newest(ROUTES), LinkId(1), LinkId(2)
    told = Announce(entries=(Announced(issued.envelope, 0),))
    truth.checker.on_announced(STORE, link, told)
    truth.checker.on_announced(STORE, other, told)
    truth.checker.on_grafted(
        STORE, link, Graft(audience=issued.manifest.audience, prefixes=(issued.prefix,))
    )
    truth.checker.on_announced(STORE, link, told)
    truth.checker.on_lost(STORE, link)
    truth.checker.on_announced(STORE, link, told)
    truth.checker.on_begun(STORE)
    truth.checker.on_announced(STORE, link, told)
    restricts = Announce(entries=(Announced(truth.newest(LIST).envelope, 0),))
    for _ in range(2):
        truth.checker.on_announced(STORE, link, restricts)
    assert truth.signatures() == []
    truth.checker.on_announced(STORE, link, told)
    assert truth.signatures() == ["S16/twice"]


def at(step: Step, now: int, *, since: int | None = None) -> Want:
    """A want whose token was used now, and whose climb began then."""
    verified, begin = routes().verified, Instant(0)
    wanted = wanted_from(verified, is_read=False)
    want = Want(goal_of(verified), wanted, verified, TrafficClass.POLICY, begin, Instant(now))
    return replace(want, step=step, climb_since=None if since is None else Instant(since))


def test_a_node_asks_at_rung_3_at_its_pace_in_whatever_order_links_open(truth: Truth) -> None:
    for now in (1_100, 1_000, 1_200, 1_000):
        truth.checker.on_asked(EDGE, at(Step.RUNG_3, now))
    truth.checker.on_asked(EDGE, at(Step.RUNG_2, 1_000))
    truth.checker.on_begun(EDGE)
    truth.checker.on_asked(EDGE, at(Step.RUNG_3, 1_050))
    truth.checker.on_asked(EDGE, at(Step.RUNG_3, 1_050))
    assert truth.signatures() == []
    truth.checker.on_asked(EDGE, at(Step.RUNG_3, 1_149))
    assert truth.signatures() == ["S16/allowance of rung 3"]


def test_one_token_of_rung_4_is_good_for_all_that_waited(truth: Truth) -> None:
    for since in (500, 900, 1_000):
        truth.checker.on_asked(EDGE, at(Step.RUNG_4, 1_000, since=since))
    assert truth.signatures() == []
    truth.checker.on_asked(EDGE, at(Step.RUNG_4, 1_999, since=1_500))
    assert truth.signatures() == ["S16/allowance of rung 4"]
