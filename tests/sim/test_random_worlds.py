"""Worlds drawn whole from a seed: all that may be drawn is in some of them, and a leak shows."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from fabgossip.cli.sim_authority import SeededAuthority
from fabgossip.cli.sim_worlds import keep_world
from fabgossip.core.node import Node
from fabgossip.core.setup import NodeSetup
from fabgossip.sim.host import SimulatedNode
from fabgossip.sim.random_worlds import FAULTS, HONEST_OBSERVERS, STOPPING, random_scenario_text
from fabgossip.sim.run import Engine
from fabgossip.sim.scenario import Scenario, parse_scenario
from fabgossip.sim.worlds import run_in_each
from fabgossip.trust.signatures import Verifier
from tests.sim.factory import VERIFIER
from tests.sim.test_worlds import OneStream, SlowToRefuse, WideRoot

SEEDS = range(1, 41)


@cache
def drawn(seed: int) -> Scenario:
    return parse_scenario(random_scenario_text(seed), str(seed))


def test_the_same_seed_gives_the_same_world_and_another_another() -> None:
    assert len({random_scenario_text(seed) for seed in SEEDS}) == len(SEEDS)
    assert random_scenario_text(7) == random_scenario_text(7)


def test_every_world_hides_something_from_five_of_whom_one_is_hostile() -> None:
    for made in map(drawn, SEEDS):
        observers = [one for one in made.nodes if one.index in made.observers]
        assert len(observers) == HONEST_OBSERVERS + 1
        assert sum(one.hostility is not None for one in observers) == 1
        (org,) = {one.orgs for one in observers}
        hidden = [one for one in made.publications if one.name in made.differ]
        assert hidden
        assert not any(f"org/{org[0]}/" in one.namespace for one in hidden)
        in_use = {one.audience for one in made.publications if one.name not in made.differ}
        assert {one.audience for one in hidden} <= in_use, "a directory would show a first one"


def test_all_that_may_be_drawn_is_drawn_by_some_seed() -> None:
    worlds = [drawn(seed) for seed in SEEDS]
    kinds = {one.kind for made in worlds for one in made.nemeses}
    assert kinds == {kind for kind, _ in FAULTS}
    assert {len(made.nemeses) for made in worlds} >= {0, 1, 2, 3}
    assert {len({one.place.region for one in made.nodes}) for made in worlds} == {1, 2, 3}
    assert {made.differ for made in worlds} == {("secret", "served"), ("secret", "served", "db")}
    assert any(made.acts for made in worlds)
    assert not all(made.acts for made in worlds)


def test_who_stops_is_never_who_is_handed_what_is_hidden() -> None:
    for made in map(drawn, SEEDS):
        edges = {one.index for one in made.nodes if one.role == "edge"}
        for one in made.nemeses:
            assert one.kind not in STOPPING or set(one.candidates) <= edges


@pytest.mark.slow
@pytest.mark.parametrize("leak", [SlowToRefuse, WideRoot, OneStream])
def test_a_planted_leak_is_found_in_a_world_of_the_first_seeds(
    leak: Callable[[NodeSetup, Verifier], SimulatedNode],
) -> None:
    def differs(seed: int) -> bool:
        engine = Engine(make_authority=SeededAuthority, verifier=VERIFIER, make_node=leak)
        return run_in_each(drawn(seed), seed, engine).difference is not None

    assert any(differs(seed) for seed in SEEDS[:4])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [95])
def test_worlds_that_once_differed_are_alike(seed: int) -> None:
    """95: who was shut out for an audience was so for all of them."""
    engine = Engine(make_authority=SeededAuthority, verifier=VERIFIER, make_node=Node)
    assert run_in_each(drawn(seed), seed, engine).difference is None


def test_a_world_that_fails_is_kept_as_a_scenario_of_its_own(tmp_path: Path) -> None:
    keep_world(7, {"failure": None}, tmp_path)
    assert list(tmp_path.iterdir()) == []
    result: dict[str, object] = {"failure": {"checker": "S4"}}
    keep_world(7, result, tmp_path)
    path = tmp_path / "worlds" / "random-7.toml"
    assert result["files"] == {"replay": None, "scenario": str(path)}
    assert parse_scenario(path.read_text(), "x") == drawn(7)
