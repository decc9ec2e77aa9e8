"""One seed, one trace: in any process and under any hash seed; and a leak of the world shows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
def test_another_seed_gives_another_trace() -> None:
    assert trace_hash("none", 5, 1) != trace_hash("none", 6, 1)


@pytest.mark.slow
@pytest.mark.parametrize("leak", ["set", "clock"])
def test_a_planted_leak_shows(leak: str) -> None:
    assert len({trace_hash(leak, 5, hash_seed) for hash_seed in (1, 2, 3)}) > 1
