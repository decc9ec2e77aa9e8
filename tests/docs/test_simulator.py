"""The pages on the simulator say what it has, and what they tell to type works."""

import os
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import cast, get_args, get_type_hints

import pytest

from fabgossip.cli.sim_seed import LIBRARY, read_scenario
from fabgossip.cli.sim_sweep import scenario_hash
from fabgossip.sim.baselines import read_baseline
from fabgossip.sim.campaign import Campaign, parse_campaign
from fabgossip.sim.faults import CUTTING, KINDS
from fabgossip.sim.hostility import SCRIPTS
from fabgossip.sim.judges import JUDGES
from fabgossip.sim.liveness import DEAD_NS
from fabgossip.sim.scenario import parse_scenario
from fabgossip.sim.tables import CHECKERS, ScenarioTable
from fabgossip.sim.world import NS_PER_S
from tests.docs.pages import CHECKOUT, DOCS, REFERENCE, blocks, rows

PAGE = REFERENCE / "simulator.md"
HOW_TO = DOCS / "how-to" / "simulate.md"
SCENARIOS = sorted((CHECKOUT / LIBRARY / "scenarios").glob("*.toml"))
LINES_MAX = 60
"""But for those that have a line for each of many kinds of faults."""


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
    assert documented == {name for one in JUDGES for name in checkers_of(one.__doc__)}


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_scenario_of_the_library_is_short_says_what_it_proves_and_has_four_seeds(
    path: Path,
) -> None:
    scenario = read_scenario(path)
    assert scenario.name == path.stem
    assert scenario.proves
    assert len(scenario.seeds) >= 4
    assert len(path.read_text().splitlines()) <= LINES_MAX or len(scenario.nemeses) > 30
    assert path.read_text().startswith("# ")
    if any(one.kind in CUTTING for one in scenario.nemeses):
        assert scenario.phases.end_ns > scenario.phases.faults_ns, "cuts need time to heal"


CAMPAIGNS = sorted((CHECKOUT / LIBRARY / "campaigns").glob("*.toml"))


def campaign(name: str) -> Campaign:
    path = CHECKOUT / LIBRARY / "campaigns" / f"{name}.toml"
    return parse_campaign(path.read_text(), str(path))


@pytest.mark.parametrize("path", CAMPAIGNS, ids=lambda path: path.stem)
def test_every_campaign_is_documented_and_what_it_runs_can_be_read(path: Path) -> None:
    found = campaign(path.stem)
    assert found.name == path.stem
    assert f"`{path.stem}`" in {row[0] for row in rows(PAGE)}
    for one in found.run:
        scenario = CHECKOUT / LIBRARY / "scenarios" / f"{one.scenario}.toml"
        parse_scenario(scenario.read_text(), str(scenario), one.set)


def test_the_campaigns_run_what_they_say() -> None:
    scenarios = {path.stem: read_scenario(path) for path in SCENARIOS}
    smoke = {name for name, one in scenarios.items() if "smoke" in one.tags}
    assert {one.scenario for one in campaign("smoke").run} == smoke
    assert {one.scenario for one in campaign("gate").run} <= smoke
    large = {name for name, one in scenarios.items() if {"scale", "long"} & set(one.tags)}
    assert {one.scenario for one in campaign("library").run} == scenarios.keys() - large


def keys_of(table: object) -> set[str]:
    """All keys of a table and of those in it, as a file has them."""
    found: set[str] = set()
    for field in fields(cast("type[ScenarioTable]", table)):
        found.add(field.name.rstrip("_"))
        kind = get_type_hints(table)[field.name]
        for inner in (kind, *get_args(kind)):
            if is_dataclass(inner):
                found |= keys_of(inner)
    return found


@pytest.mark.parametrize("table", [ScenarioTable, Campaign])
def test_every_key_of_a_file_is_on_the_page(table: type) -> None:
    code = " ".join(re.findall(r"`([^`]*)`", PAGE.read_text()))
    documented = set(re.findall(r"[a-z_]+", code))
    assert keys_of(table) - documented == set()
    assert keys_of(table) > {"name", "seeds"}


def test_the_page_says_how_long_a_dead_neighbor_may_be_kept() -> None:
    said = next(row[1] for row in rows(PAGE) if row[0] == "L5")
    assert f"dead for {DEAD_NS // NS_PER_S} s is left" in said


def test_proves_can_name_every_checker_there_is() -> None:
    assert set(CHECKERS) == {name for one in JUDGES for name in checkers_of(one.__doc__)}


def test_every_scenario_that_gossip_is_judged_by_has_a_baseline_of_its_present_text() -> None:
    for one in campaign("gossip").run:
        text = CHECKOUT / LIBRARY / "scenarios" / f"{one.scenario}.toml"
        baseline = CHECKOUT / LIBRARY / "baselines" / f"{one.scenario}.json"
        assert read_baseline(baseline, scenario_hash(text, one.set))


def typed(folder: Path, scripts: list[str]) -> str:
    """What the commands of these blocks print, in a folder that looks like the checkout."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / "fabgossip").write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m fabgossip.cli.main "$@"\n'
    )
    (folder / "bin" / "fabgossip").chmod(0o755)
    if not (folder / LIBRARY).exists():
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
    out = typed(tmp_path, TOLD[:3])
    assert out.count("resets, seed 3: held") == 2


@pytest.mark.slow
def test_the_list_and_the_worlds_of_the_how_to_work(tmp_path: Path) -> None:
    out = typed(tmp_path, TOLD[4:6])
    assert "scope_prober  asks" in out
    assert "1 seeds, 0 failed" in out


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where the sweeps of the how-to were run, and what they said."""
    folder = tmp_path_factory.mktemp("swept")
    return folder, typed(folder, TOLD[3:4])


@pytest.mark.slow
def test_the_sweeps_of_the_how_to_work(swept: tuple[Path, str]) -> None:
    assert "2 seeds, 0 failed" in swept[1]


@pytest.mark.slow
def test_the_drawn_worlds_of_the_how_to_work(tmp_path: Path) -> None:
    assert "1 seeds, 0 failed" in typed(tmp_path, TOLD[6:7])


@pytest.mark.slow
def test_the_reports_of_the_how_to_work(swept: tuple[Path, str]) -> None:
    assert "resets missed 0.0 -> 0.0 same" in typed(swept[0], TOLD[7:])
