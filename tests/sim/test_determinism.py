"""One seed, one trace: in any process and under any hash seed; and a leak of the world shows."""

import copyreg
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from fabgossip.core.effects import Effect
from fabgossip.core.events import Event
from fabgossip.core.node import Node
from fabgossip.core.setup import NodeSetup
from fabgossip.model.moment import Now
from fabgossip.trust.signatures import Verifier
from tests.sim.factory import FIVE, ROUTES, TOPOLOGY, run_of, scenario

CHECKOUT = Path(__file__).parents[2]


def trace_hash(leak: str, seed: int, hash_seed: int) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "tests.sim.leaky", leak, str(seed)]
    ran = subprocess.run(
        command, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    return ran.stdout


@pytest.mark.slow
def test_two_processes_agree_whatever_the_hash_seed() -> None:
    assert trace_hash("none", 5, 1) == trace_hash("none", 5, 2)


@pytest.mark.slow
def test_faults_of_every_kind_agree_whatever_the_hash_seed() -> None:
    told = [trace_hash("faults", 5, hash_seed) for hash_seed in (1, 2)]
    assert len(set(told)) == 1
    assert int(told[0].split()[1]) > 1_000, "something happened"


def _copied_view(view: MappingProxyType[Any, Any]) -> tuple[type, tuple[dict[Any, Any]]]:
    return MappingProxyType, (dict(view),)


copyreg.pickle(MappingProxyType, _copied_view)


class Doubled(Node):
    """Before each twentieth event it is copied; the copy must do what it does."""

    def __init__(self, setup: NodeSetup, verifier: Verifier) -> None:
        super().__init__(setup, verifier)
        self.shared = {id(one): one for one in (verifier, setup, setup.rosters)}
        self.handled = self.compared = 0

    def handle(self, event: Event, now: Now) -> list[Effect]:
        """As the node does, twice."""
        self.handled += 1
        if self.handled % 20:
            return super().handle(event, now)
        copied = deepcopy(self, dict(self.shared))
        expected = Node.handle(copied, event, now)
        effects = super().handle(event, now)
        assert effects == expected
        self.compared += 1
        return effects


@pytest.mark.slow
def test_a_copy_of_a_node_does_what_the_node_does() -> None:
    """Nothing it decides by lies outside it, or is shared with what it gave away."""
    made: list[Doubled] = []

    def make(setup: NodeSetup, verifier: Verifier) -> Doubled:
        made.append(Doubled(setup, verifier))
        return made[-1]

    calm = scenario(
        'phases = { quiet = "24s" }', f"publication = [{ROUTES % 'store'}]", TOPOLOGY, FIVE
    )
    outcome = run_of(calm, 5, make).run()
    assert outcome.violations == ()
    assert sum(one.compared for one in made) > 30


@pytest.mark.slow
def test_another_seed_gives_another_trace() -> None:
    assert trace_hash("none", 5, 1) != trace_hash("none", 6, 1)


@pytest.mark.slow
@pytest.mark.parametrize("leak", ["set", "clock"])
def test_a_planted_leak_shows(leak: str) -> None:
    assert len({trace_hash(leak, 5, hash_seed) for hash_seed in (1, 2, 3)}) > 1
