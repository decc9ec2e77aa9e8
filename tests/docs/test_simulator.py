"""The pages on the simulator say what it has, and what they tell to type works."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fabgossip.cli.sim import LIBRARY, read_scenario
from fabgossip.cli.sim_sweep import scenario_hash
from fabgossip.sim import checkers, liveness, restrictions
from fabgossip.sim.baselines import read_baseline
from fabgossip.sim.campaign import parse_campaign
from fabgossip.sim.faults import CUTTING, KINDS
from fabgossip.sim.hostility import SCRIPTS
from tests.docs.pages import CHECKOUT, DOCS, REFERENCE, blocks, rows

PAGE = REFERENCE / "simulator.md"
HOW_TO = DOCS / "how-to" / "simulate.md"
SCENARIOS = sorted((CHECKOUT / LIBRARY / "scenarios").glob("*.toml"))
LINES_MAX = 60


def test_every_nemesis_is_documented_as_the_code_says() -> None:
    documented = {row[0].strip("`"): row[1].replace("`", "") for row in rows(PAGE) if len(row) == 3}
    for name, (title, _) in KINDS.items():
        assert documented[name].startswith(title.replace("`", "")), name


def test_every_adversary_is_documented_as_the_code_says() -> None:
    documented = {row[0].strip("`"): row[1] for row in rows(PAGE) if len(row) == 2}
    assert {name: documented.get(name) for name in SCRIPTS} == SCRIPTS


def checkers_of(text: str | None) -> set[str]:
    cells = [[one.strip() for one in line.split("|")] for line in (text or "").splitlines()]
    return {row[1] for row in cells if len(row) == 4 and row[1][1:].isdigit()}


def test_every_checker_is_documented() -> None:
    documented = {row[0] for row in rows(PAGE) if row[0][:1] in ("S", "L") and row[0][1:].isdigit()}
    modules = (checkers, restrictions, liveness)
    assert documented == {name for one in modules for name in checkers_of(one.__doc__)}


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_scenario_of_the_library_is_short_says_what_it_proves_and_has_four_seeds(
    path: Path,
) -> None:
    scenario = read_scenario(path)
    assert scenario.name == path.stem
    assert scenario.proves
    assert len(scenario.seeds) >= 4
    assert len(path.read_text().splitlines()) <= LINES_MAX
    assert path.read_text().startswith("# ")
    if any(one.kind in CUTTING for one in scenario.nemeses):
        assert scenario.phases.end_ns > scenario.phases.faults_ns, "cuts need time to heal"


def test_every_campaign_names_scenarios_there_are() -> None:
    names = {path.stem for path in SCENARIOS}
    for path in (CHECKOUT / LIBRARY / "campaigns").glob("*.toml"):
        campaign = parse_campaign(path.read_text(), str(path))
        assert campaign.name == path.stem
        assert {one.scenario for one in campaign.run} <= names


def test_every_scenario_of_a_campaign_has_a_baseline_of_its_present_text() -> None:
    for path in (CHECKOUT / LIBRARY / "campaigns").glob("*.toml"):
        for one in parse_campaign(path.read_text(), str(path)).run:
            text = CHECKOUT / LIBRARY / "scenarios" / f"{one.scenario}.toml"
            baseline = CHECKOUT / LIBRARY / "baselines" / f"{one.scenario}.json"
            assert read_baseline(baseline, scenario_hash(text))


def typed(folder: Path, scripts: list[str]) -> str:
    """What the commands of these blocks print, in a folder that looks like the checkout."""
    (folder / "bin").mkdir()
    (folder / "bin" / "fabgossip").write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m fabgossip.cli.main "$@"\n'
    )
    (folder / "bin" / "fabgossip").chmod(0o755)
    (folder / LIBRARY).symlink_to(CHECKOUT / LIBRARY)
    command = ["bash", "-c", "set -euo pipefail\n" + "".join(scripts)]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    ran = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


TOLD = [one.text for one in blocks(HOW_TO) if one.language == "sh"]


@pytest.mark.slow
def test_the_lists_and_the_run_of_the_how_to_work(tmp_path: Path) -> None:
    assert "resets, seed 3: held" in typed(tmp_path, TOLD[:2])


@pytest.mark.slow
def test_the_list_and_the_worlds_of_the_how_to_work(tmp_path: Path) -> None:
    out = typed(tmp_path, TOLD[3:5])
    assert "scope_prober  asks" in out
    assert "1 seeds, 0 failed" in out


@pytest.mark.slow
def test_the_drawn_worlds_of_the_how_to_work(tmp_path: Path) -> None:
    assert "1 seeds, 0 failed" in typed(tmp_path, TOLD[5:6])


@pytest.mark.slow
def test_the_sweeps_and_the_reports_of_the_how_to_work(tmp_path: Path) -> None:
    out = typed(tmp_path, TOLD[2:3] + TOLD[6:])
    assert "2 seeds, 0 failed" in out
    assert "resets missed 0.0 -> 0.0 same" in out
