"""Two worlds that differ in what some nodes may not know look alike to them, and a leak shows."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b

import pytest

from fabgossip.cli.sim_authority import SeededAuthority
from fabgossip.core.effects import Effect, Persist, Send, SetTimer
from fabgossip.core.events import AdvertiseDue, AnswersDue, Event, LinkId, MessageReceived
from fabgossip.core.node import Node
from fabgossip.core.setup import NodeSetup
from fabgossip.errors import ScenarioError
from fabgossip.model.ids import ManifestHash, NodeId
from fabgossip.model.messages import GetContent, NotAvailable, Ping
from fabgossip.model.moment import Duration, Now, later
from fabgossip.model.persistence import PutHead
from fabgossip.sim.host import NodeMaker, SimulatedNode, default_node
from fabgossip.sim.observing import Observers, Seen
from fabgossip.sim.run import Engine
from fabgossip.sim.scenario import Act, Scenario
from fabgossip.sim.scripts import CONTENT_ASKED_FROM
from fabgossip.sim.worlds import (
    Worlds,
    first_difference,
    other_world,
    revoked_world,
    run_in_each,
    unlike_answer,
)
from fabgossip.trust.signatures import Verifier
from tests.sim.factory import TOPOLOGY, VERIFIER, scenario

HIDDEN = """
phases = { quiet = "14s" }
publication = [
  { name = "first", type = "route_policy_bundle", namespace = "org/zed/routes/first", size = "1KiB", at = "4s", through = "store" },
  { name = "acme", type = "route_policy_bundle", namespace = "org/acme/routes/r1", size = "1KiB", at = "5s", every = "900ms", until = "13s", through = "store" },
  { name = "zed", type = "route_policy_bundle", namespace = "org/zed/routes/r1", size = "1KiB", at = "5s", every = "500ms", until = "13s", through = "store" },
]
worlds = { differ = ["zed"], observers = ["acme", "probe"] }
"""  # noqa: E501  # a row of a scenario
SIX = """
group = [
  { name = "control", role = "control-endpoint", count = 1, regions = ["eu"], peer_class = "core", assigned = ["cluster:c1", "org:acme", "org:zed"] },
  { name = "store", role = "storage", count = 1, regions = ["eu"], peer_class = "core", assigned = ["cluster:c1", "org:acme", "org:zed"] },
  { name = "both", role = "edge", count = 1, regions = ["us"], orgs = "all" },
  { name = "acme", role = "edge", count = 1, regions = ["us"], orgs = ["acme"] },
  { name = "zed", role = "edge", count = 1, regions = ["eu"], orgs = ["zed"] },
  { name = "probe", role = "edge", count = 1, regions = ["eu"], orgs = ["acme"], adversary = "scope_prober", with = { every = "400ms", count = 2 } },
]
"""  # noqa: E501  # a row of a scenario
SEEDS = (1, 2)
LATE_MS = 50


def both_of(seed: int, make_node: NodeMaker = default_node) -> Worlds:
    engine = Engine(make_authority=SeededAuthority, verifier=VERIFIER, make_node=make_node)
    return run_in_each(hidden(), seed, engine)


def hidden() -> Scenario:
    return scenario(HIDDEN, TOPOLOGY, SIX)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_who_may_not_know_cannot_tell_the_worlds_apart(seed: int) -> None:
    both = both_of(seed)
    assert both.difference is None
    assert [one.violations for one in both.outcomes] == [(), (), ()]
    assert both.secrets > 0
    assert both.seen > 100


class Knowing(Node):
    """Counts what it keeps, which is more than any one peer may know of."""

    def __init__(self, setup: NodeSetup, verifier: Verifier) -> None:
        super().__init__(setup, verifier)
        self.kept: set[ManifestHash] = set()

    def handle(self, event: Event, now: Now) -> list[Effect]:
        """As the node does."""
        effects = super().handle(event, now)
        for one in effects:
            if isinstance(one, Persist):
                for change in one.changes:
                    if isinstance(change, PutHead):
                        self.kept.add(change.verified.manifest_hash)
        return [self.leaking(event, one) for one in effects]

    def leaking(self, event: Event, effect: Effect) -> Effect:
        """What is done instead."""
        raise NotImplementedError


class SlowToRefuse(Knowing):
    """Looks longer at what it has than at what there is not."""

    def leaking(self, event: Event, effect: Effect) -> Effect:
        """A later slot for the no to a hash it knows."""
        asked = event.message if isinstance(event, MessageReceived) else None
        if (
            isinstance(effect, SetTimer)
            and isinstance(effect.timer, AnswersDue)
            and isinstance(asked, GetContent)
            and any(one.manifest_hash in self.kept for one in asked.items)
        ):
            return replace(effect, at=later(effect.at, Duration(10)))
        return effect


class WideRoot(Knowing):
    """Its root stands for all it keeps, not for what the peer may know of it."""

    def leaking(self, event: Event, effect: Effect) -> Effect:
        """A root over too much."""
        if isinstance(effect, Send) and isinstance(effect.message, Ping):
            root = blake2b(b"".join(sorted(self.kept)), digest_size=8).digest()
            return replace(effect, message=replace(effect.message, link_root=root))
        return effect


class TellsOfRevoked(Knowing):
    """Once something is revoked, it says no in another way to what it kept."""

    def __init__(self, setup: NodeSetup, verifier: Verifier) -> None:
        super().__init__(setup, verifier)
        self._told_apart: set[tuple[LinkId, int]] = set()

    def leaking(self, event: Event, effect: Effect) -> Effect:
        """Another number in the answer."""
        asked = event.message if isinstance(event, MessageReceived) else None
        if (
            isinstance(event, MessageReceived)
            and isinstance(asked, GetContent)
            and self._m.beliefs.facts.revoked.values
            and any(one.manifest_hash in self.kept for one in asked.items)
        ):
            self._told_apart.add((event.link, event.stream))
        if (
            isinstance(effect, Send)
            and isinstance(effect.message, NotAvailable)
            and (effect.link, effect.stream) in self._told_apart
        ):
            return replace(effect, message=NotAvailable(item=1))
        return effect


class OneStream(Knowing):
    """What it keeps and when it advertises draw from one stream of chance."""

    def __init__(self, setup: NodeSetup, verifier: Verifier) -> None:
        super().__init__(setup, verifier)
        self._shared = setup.chance("shared")

    def handle(self, event: Event, now: Now) -> list[Effect]:
        """As the node does, and a draw for each thing it keeps."""
        before = len(self.kept)
        effects = super().handle(event, now)
        for _ in range(len(self.kept) - before):
            self._shared.getrandbits(32)
        return effects

    def leaking(self, event: Event, effect: Effect) -> Effect:
        """What it holds is told a little later, as that stream has it."""
        if isinstance(effect, SetTimer) and isinstance(effect.timer, AdvertiseDue):
            return replace(effect, at=later(effect.at, Duration(self._shared.randrange(LATE_MS))))
        return effect


@pytest.mark.slow
@pytest.mark.parametrize(
    ("leak", "signature"),
    [
        (SlowToRefuse, "S4/worlds/moment/not_available"),
        (WideRoot, "S4/worlds/bytes/ping"),
        (OneStream, "S4/worlds/"),
        (TellsOfRevoked, "S4/worlds/bytes/not_available"),
    ],
)
def test_a_planted_leak_is_found_and_told(
    leak: Callable[[NodeSetup, Verifier], SimulatedNode], signature: str
) -> None:
    found = both_of(SEEDS[0], leak).difference
    assert found is not None
    assert found.signature.startswith(signature)
    assert found.observer in ("acme-0", "probe-0")


def test_the_other_world_has_the_hidden_otherwise_and_nothing_else() -> None:
    made = hidden()
    others = [other_world(made, seed) for seed in range(24)]
    seen = set[tuple[frozenset[str], int]]()
    for each in others:
        other = [one for one in each.publications if one.name == "zed-other"]
        seen.add((frozenset(one.namespace for one in other), len(each.acts)))
        assert {one.namespace for one in each.acts} <= {one.namespace for one in other}
        assert all(one.at_ns > other[0].at_ns[-1] for one in each.acts)
        left = tuple(one for one in each.publications if one not in other)
        assert left == tuple(one for one in made.publications if one.name != "zed")
        assert replace(each, publications=(), acts=()) == replace(made, publications=(), acts=())
    same, renamed = frozenset({"org/zed/routes/r1"}), frozenset({"org/zed/routes/r1-other"})
    assert seen == {(frozenset(), 0), (same, 0), (same, 1), (renamed, 0), (renamed, 1)}


def test_what_is_withdrawn_in_one_world_is_left_alone_where_it_never_was() -> None:
    act = Act(kind="tombstone", at_ns=13 * 10**9, node_id=NodeId(""), namespace="org/zed/routes/r1")
    open_act = replace(act, namespace="org/acme/routes/r1")
    made = replace(hidden(), acts=(act, open_act))
    assert all(open_act in other_world(made, seed).acts for seed in range(8))
    assert all(act not in other_world(made, seed).acts for seed in range(8))


def test_a_name_that_says_who_is_meant_stays() -> None:
    made = hidden()
    served = replace(made.publications[2], namespace="org/zed/services/dns")
    made = replace(made, publications=(*made.publications[:2], served))
    names = {one.namespace for seed in range(24) for one in other_world(made, seed).publications}
    assert names == {one.namespace for one in made.publications}


def test_an_observer_that_may_know_what_differs_is_refused() -> None:
    made = replace(hidden(), differ=("acme",))
    engine = Engine(make_authority=SeededAuthority, verifier=VERIFIER, make_node=default_node)
    with pytest.raises(ScenarioError, match=r"may know of .*/org/acme/"):
        run_in_each(made, 1, engine)
    with pytest.raises(ScenarioError, match="needs observers"):
        run_in_each(replace(made, observers=()), 1, engine)


A, B = 1, 2
NAMES = {A: NodeId("a-0"), B: NodeId("b-0")}


def seen(*rows: Seen) -> Observers:
    observers = Observers(frozenset({A}))
    observers.seen[(A, B)] = list(rows)
    return observers


PING = Seen(5, "ping", 0, 0, b"one")


@pytest.mark.parametrize(
    ("rows", "signature"),
    [
        ((PING,), None),
        ((replace(PING, at_ns=6),), "S4/worlds/moment/ping"),
        ((replace(PING, body=b"two"),), "S4/worlds/bytes/ping"),
        ((replace(PING, stream=2),), "S4/worlds/bytes/ping"),
        ((), "S4/worlds/frames/ping"),
        ((PING, replace(PING, kind="have")), "S4/worlds/frames/have"),
    ],
)
def test_each_difference_has_a_signature(rows: tuple[Seen, ...], signature: str | None) -> None:
    found = first_difference(seen(PING), seen(*rows), NAMES)
    assert (None if found is None else found.signature) == signature


NO = Seen(5, "not_available", 4, CONTENT_ASKED_FROM, b"no")


@pytest.mark.parametrize(
    ("row", "signature"),
    [
        (replace(NO, at_ns=9, stream=CONTENT_ASKED_FROM + 2), None),
        (replace(NO, body=b"never"), "S4/worlds/bytes/not_available"),
        (replace(NO, kind="content"), "S4/worlds/frames/not_available"),
        (replace(NO, kind="get_content", body=b"a question of another hostile node"), None),
        (replace(NO, stream=3, body=b"an answer to an honest question"), None),
    ],
)
def test_hostile_questions_get_one_answer_in_all_worlds(row: Seen, signature: str | None) -> None:
    worlds = (seen(NO), seen(), seen(PING, NO, row))
    found = unlike_answer(worlds, NAMES)
    assert (None if found is None else found.signature) == signature


def test_in_the_third_world_what_differs_is_revoked_after_half_of_its_versions() -> None:
    made = hidden()
    (act,) = revoked_world(made).acts
    (zed,) = (one for one in made.publications if one.name == "zed")
    assert (act.kind, act.namespace) == ("revoke", zed.namespace)
    assert zed.at_ns[0] < act.at_ns < zed.at_ns[-1]
    assert replace(revoked_world(made), acts=()) == made
