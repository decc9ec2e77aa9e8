"""Wants that wait: none keeps a newer one from its look, and none is looked at without a reason."""

from collections.abc import Callable
from random import Random
from typing import Final

import pytest

from fabgossip.core.asking import LOOKS_MAX
from fabgossip.core.config import FetchingConfig, NodeConfig, RecoveryConfig
from fabgossip.core.effects import ReceiveContent
from fabgossip.core.events import FetchFailure, LadderDue, LinkId
from fabgossip.core.fetching import Fetching
from fabgossip.core.ladder import Step
from fabgossip.core.silence import UNKNOWN_MS
from fabgossip.core.sources import Supply, Turn
from fabgossip.core.wants import Origin, Source, Want, WantState
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.authority import RevokedKind
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import TrafficClass
from fabgossip.model.moment import Duration, Instant, later
from tests.attacks.powers import revokes
from tests.core.artifacts import Artifact, revocations, routes
from tests.core.story import Story
from tests.core.test_fetching import advertise, fail

STUCK: Final = 300
ASKER: Final = NodeId("asker")


def linked(name: str, verified: VerifiedManifest, *, says: bool | None = None) -> Source:
    """A neighbour that may be asked."""
    return Source(
        link=LinkId(int.from_bytes(name.encode())),
        node_id=NodeId(name),
        is_storage=False,
        distance=0,
        verified=verified,
        says=says,
        is_named=says is True,
    )


def absent(name: str, *, origin: Origin | None = None) -> Source:
    """A node to be dialled: an endpoint to start from, else a storage endpoint."""
    return Source(
        link=None,
        node_id=NodeId(name),
        is_storage=origin is None,
        distance=0,
        verified=None,
        says=None,
        addresses=(f"{name}:1",),
        origin=origin,
    )


class Wanting:
    """A node's wants, and the time; what may be asked is said by `supply`."""

    def __init__(self, supply: Callable[[Want], Supply], config: FetchingConfig | None = None):
        self.fetching = Fetching(config or FetchingConfig(), RecoveryConfig(), Random(1))
        self.supply = supply
        self.now = Instant(1_000)
        self.looks = 0
        self.may_dial = 4

    def want(self, artifact: Artifact, *announcers: str) -> Want:
        want = self.fetching.on_wanted(
            artifact.verified, TrafficClass.POLICY, None, self.now, is_read=False
        )
        assert want is not None
        for one in announcers:
            self.fetching.on_announced(want, NodeId(one), self.now)
        return want

    def step(self) -> Turn:
        """What one event leads to."""

        def supply_of(want: Want) -> Supply:
            self.looks += 1
            return self.supply(want)

        turn = self.fetching.next_transfers(supply_of, lambda: self.may_dial, self.now)
        for want in turn.parked:
            self.fetching.on_last_good(want, None, self.now)
        self.fetching.check()
        return turn

    def settle(self) -> Turn:
        """As many steps as are due at once."""
        turn = self.step()
        while turn.look_at is not None and turn.look_at <= self.now:
            self.fetching.on_turns_over(self.now)
            turn = self.step()
        return turn

    def wait(self, milliseconds: int) -> None:
        self.now = later(self.now, Duration(milliseconds))


def of_announcers(want: Want) -> Supply:
    """Whoever announced it is linked."""
    return Supply(ASKER, tuple(linked(one, want.verified) for one in want.announcers))


def only_endpoint(want: Want) -> Supply:
    """Everybody who announced it, and an endpoint that everybody turns to."""
    return Supply(
        ASKER, of_announcers(want).linked, lambda: (absent("b1", origin=Origin.CONFIGURED),)
    )


def stuck(node: Wanting) -> list[Want]:
    """Wants nobody serves, each waiting for a token of rung 3."""
    wants = [node.want(routes(name=f"r{one}", content=b"%d" % one)) for one in range(STUCK)]
    node.settle()
    assert all(one.step is Step.RUNG_3 for one in wants)
    return wants


def test_a_new_want_is_asked_for_at_once_however_many_wait() -> None:
    node = Wanting(only_endpoint)
    stuck(node)
    fresh = node.want(routes(name="fresh", content=b"fresh"), "n2")
    assert node.step().started == (fresh,)


def test_nothing_is_looked_at_without_a_reason() -> None:
    """One look for each of those for whom a token is there, none for the others."""
    node = Wanting(only_endpoint)
    stuck(node)
    node.looks = 0
    assert node.step().started == ()
    assert node.looks == 0
    node.wait(499)
    assert node.step().look_at == later(node.now, Duration(1))
    assert node.looks == 0
    node.wait(1)
    node.step()
    assert node.looks == 1


def test_of_those_whose_time_is_over_a_new_want_waits_for_a_few_only() -> None:
    """The step of all is over at one moment: one event looks at so many, the rest is next."""
    node = Wanting(only_endpoint)
    wants = stuck(node)
    node.wait(5_000)
    fresh = node.want(routes(name="fresh", content=b"fresh"), "n2")
    node.looks = 0
    turn = node.step()
    assert fresh in turn.started
    assert node.looks <= STUCK // 4
    assert turn.look_at is not None
    assert turn.look_at <= node.now
    node.settle()
    assert all(one.state in (WantState.PARKED, WantState.DIALING) for one in wants)


@pytest.mark.parametrize("is_parked", [True, False])
def test_news_of_old_wants_puts_none_of_them_before_a_newer_one(*, is_parked: bool) -> None:
    """An attacker that says something new of each, again and again."""
    node = Wanting(only_endpoint)
    wants = stuck(node)
    if is_parked:
        node.wait(5_000)
        node.settle()
    for one in wants:
        node.fetching.on_advertised(NodeId("m1"), one.verified, node.now)
    fresh = node.want(routes(name="fresh", content=b"fresh"), "n2")
    steps = 1
    while fresh not in node.step().started:
        steps += 1
        for one in wants[:LOOKS_MAX]:
            node.fetching.on_advertised(NodeId("m1"), one.verified, node.now)
        assert steps <= STUCK // LOOKS_MAX + 1


def test_every_free_slot_is_used_by_the_first_in_line() -> None:
    """From one source so many at once as may be, the oldest first, and the next as one ends."""
    node = Wanting(of_announcers, FetchingConfig(per_link_bytes_max=8_192))
    wants = [node.want(routes(name=f"r{n}", content=b"%d" % n), "n2") for n in range(6)]
    assert node.step().started == tuple(wants[:2])
    for ended, begun in zip(wants[:4], wants[2:], strict=True):
        node.looks = 0
        node.fetching.on_stored(ended.wanted, None, node.now)
        assert node.step().started == (begun,)
        assert node.looks == 1


def test_a_source_that_has_its_fill_makes_nobody_climb() -> None:
    """It serves; the endpoints everybody turns to have no more slots for that."""
    node = Wanting(only_endpoint, FetchingConfig(per_link_bytes_max=4_096))
    wants = [node.want(routes(name=f"r{n}", content=b"%d" % n), "n2") for n in range(3)]
    node.step()
    node.wait(60_000)
    node.step()
    assert [one.step for one in wants] == [Step.NORMAL] * 3


def test_who_has_its_fill_keeps_nobody_from_another_neighbor_that_has_it() -> None:
    """The first one holds its slots; after the time of the step the other one is asked."""

    def supply(want: Want) -> Supply:
        return Supply(ASKER, (*of_announcers(want).linked, linked("n3", want.verified, says=True)))

    node = Wanting(supply, FetchingConfig(per_link_bytes_max=4_096))
    wants = [node.want(routes(name=f"r{n}", content=b"%d" % n), "n2") for n in range(2)]
    turn = node.step()
    assert turn.started == (wants[0],)
    assert turn.look_at == later(node.now, Duration(UNKNOWN_MS)), "the first one may be silent"
    node.wait(UNKNOWN_MS)
    turn = node.step()
    assert (turn.started, turn.look_at) == ((), later(node.now, Duration(1_000 - UNKNOWN_MS)))
    node.wait(1_000 - UNKNOWN_MS)
    assert node.step().started == (wants[1],)
    assert wants[1].source is not None
    assert wants[1].source.node_id == "n3"


def test_without_room_to_dial_a_step_ends_all_the_same() -> None:
    node = Wanting(lambda _: Supply(ASKER, (), lambda: (absent("s1"),)))
    node.may_dial = 0
    want = node.want(routes())
    assert node.step().look_at == later(node.now, Duration(1_000))
    node.may_dial = 1
    assert node.step().dialing == (want,)
    node.fetching.on_unreached(NodeId("s1"), node.now, for_company=False)
    node.may_dial = 0
    assert node.step().parked == (want,)


def test_the_turn_of_a_dialed_node_ends_for_each_want_on_its_own() -> None:
    """One wants it as an endpoint, for 5 s; the other as a storage endpoint, for 1 s."""
    patient, hasty = routes(name="ra", content=b"a"), routes(name="rb", content=b"b")
    sources = {
        patient.content_hash: absent("x", origin=Origin.SNAPSHOT),
        hasty.content_hash: absent("x"),
    }
    node = Wanting(lambda want: Supply(ASKER, (), lambda: (sources[want.goal.content_hash],)))
    node.want(patient)
    node.step()
    node.wait(100)
    want = node.want(hasty)
    assert node.step().look_at == later(node.now, Duration(1_000))
    node.wait(1_000)
    node.fetching.on_turns_over(node.now)
    assert want.state is WantState.QUEUED


def test_trust_is_asked_of_a_source_that_has_its_fill_of_other_contents() -> None:
    story = Story(config=NodeConfig(fetching=FetchingConfig(per_link_bytes_max=4_096)))
    link = story.link("n2")
    story.announce(routes(), link).persisted()
    assert story.only(ReceiveContent).link == link
    story.announce(revocations(9, revokes(RevokedKind.MANIFEST, b"m" * 32)), link).persisted()
    assert story.only(ReceiveContent).link == link


def test_a_content_waits_for_a_full_source_no_longer_than_its_step_if_another_has_it() -> None:
    """The whole node: its timer comes, and the neighbour that advertised it is asked."""
    story = Story(config=NodeConfig(fetching=FetchingConfig(per_link_bytes_max=4_096)))
    first, second = story.link("n2"), story.link("n3")
    story.announce(routes(name="r1", content=b"1" * 20_000), first).persisted()
    other = routes(name="r2", content=b"2" * 20_000)
    story.announce(other, first).persisted()
    assert story.find(ReceiveContent) == []
    advertise(story, second, other)
    story.due(LadderDue)
    assert story.find(ReceiveContent) == [], "the first one is silent, and nobody else announced it"
    story.due(LadderDue)
    assert story.only(ReceiveContent).link == second
    fail(story, other, FetchFailure.MISSING)
