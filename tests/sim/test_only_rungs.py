"""Each rung has a scenario in which it is the only one that can bring the content, or decide."""

from pathlib import Path

import pytest

from fabgossip.sim.scenario import parse_scenario
from tests.sim.factory import run_of

SCENARIOS = sorted(Path("simulations/scenarios").glob("only-rung-*.toml"))


def test_every_rung_has_one() -> None:
    assert [one.stem for one in SCENARIOS] == [f"only-rung-{number}" for number in range(1, 6)]


@pytest.mark.slow
@pytest.mark.parametrize("path", SCENARIOS, ids=lambda one: one.stem)
def test_a_rung_does_what_no_other_can(path: Path) -> None:
    outcome = run_of(parse_scenario(path.read_text(), str(path)), 1).run()
    assert [one.detail for one in (*outcome.violations, *outcome.failures)] == []
    assert outcome.checkers["S13"].state == "held"
    assert [one.measure for one in outcome.expectations if not one.held] == []
    assert outcome.behind == ()
