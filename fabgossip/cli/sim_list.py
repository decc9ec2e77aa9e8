"""`fabgossip sim list`: what there is, by name."""

import argparse
import json
from typing import Final, cast

from fabgossip.cli.output import EXIT_OK, print_table
from fabgossip.cli.sim_checkers import checker_titles
from fabgossip.cli.sim_seed import LIBRARY, library, read_text
from fabgossip.errors import ScenarioError
from fabgossip.sim.campaign import parse_campaign
from fabgossip.sim.faults import KINDS, PICKS
from fabgossip.sim.hostility import SCRIPTS
from fabgossip.sim.nemeses import FILTERS
from fabgossip.sim.scenario import MEASURES
from fabgossip.sim.world import NS_PER_MS


def run_list(arguments: argparse.Namespace) -> int:
    """`fabgossip sim list`."""
    rows = _LISTS[arguments.what]()
    if arguments.json:
        body = {"schema_version": 1, "kind": "sim-list", arguments.what: rows}
        print(json.dumps(body))
        return EXIT_OK
    if arguments.what == "scenarios":
        _print_scenarios(rows)
        return EXIT_OK
    for row in rows:
        print(f"{row['name']}  {row['title']}")
    return EXIT_OK


def _print_scenarios(rows: list[dict[str, object]]) -> None:
    cells = [
        (
            row["name"],
            row["nodes"],
            f"{int(str(row['virtual_ms'])) / 1_000:g} s",
            " ".join(cast("list[str]", row["tags"])) or None,
            row["title"],
        )
        for row in rows
    ]
    print_table(("NAME", "NODES", "VIRTUAL", "TAGS", "TITLE"), cells)


def _found(rows: list[dict[str, object]], what: str) -> list[dict[str, object]]:
    """Raises `ScenarioError` where there are none: who asks from elsewhere would believe it."""
    if not rows:
        raise ScenarioError(
            f"there is no folder ./{LIBRARY} with {what} here: "
            "go where there is one, such as a checkout of fabgossip"
        )
    return rows


def _scenarios() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = [
        {"name": one.name, "title": one.title, "file": str(path), "tags": list(one.tags),
         "proves": list(one.proves), "nodes": len(one.nodes),
         "virtual_ms": one.end_ns // NS_PER_MS}
        for path, one in library()
    ]  # fmt: skip
    return _found(rows, "scenarios")


def _campaigns() -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for path in sorted((LIBRARY / "campaigns").glob("*.toml")):
        one = parse_campaign(read_text(path), str(path))
        found.append({"name": one.name, "title": one.title, "file": str(path)})
    return _found(found, "campaigns")


def _nemeses() -> list[dict[str, object]]:
    return [
        {"name": name, "title": title, "with": sorted(parameters)}
        for name, (title, parameters) in KINDS.items()
    ]


def _selectors() -> list[dict[str, object]]:
    picks = {f"pick = {name}": f"of those left {title}" for name, title in PICKS.items()}
    return [{"name": name, "title": title} for name, title in (FILTERS | picks).items()]


def _checkers() -> list[dict[str, object]]:
    return [{"name": name, "title": title} for name, title in checker_titles().items()]


def _measures() -> list[dict[str, object]]:
    return [{"name": name, "title": title} for name, title in MEASURES.items()]


def _adversaries() -> list[dict[str, object]]:
    return [{"name": name, "title": title} for name, title in SCRIPTS.items()]


_LISTS: Final = {
    "scenarios": _scenarios,
    "campaigns": _campaigns,
    "nemeses": _nemeses,
    "selectors": _selectors,
    "checkers": _checkers,
    "measures": _measures,
    "adversaries": _adversaries,
}
