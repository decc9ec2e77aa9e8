"""`fabgossip sim list`: what there is, by name."""

import argparse
import json
from dataclasses import fields
from typing import Final

from fabgossip.cli.output import EXIT_OK, say
from fabgossip.cli.sim_seed import LIBRARY, library, read_text
from fabgossip.sim.campaign import parse_campaign
from fabgossip.sim.faults import KINDS, PICKS
from fabgossip.sim.hostility import SCRIPTS
from fabgossip.sim.judges import JUDGES
from fabgossip.sim.scenario import MEASURES
from fabgossip.sim.tables import SelectTable


def run_list(arguments: argparse.Namespace) -> int:
    """`fabgossip sim list`."""
    rows = _LISTS[arguments.what]()
    if arguments.json:
        body = {"schema_version": 1, "kind": "sim-list", arguments.what: rows}
        print(json.dumps(body))
        return EXIT_OK
    if not rows:
        say(
            f"there is no folder ./{LIBRARY} with {arguments.what} here: "
            "go where there is one, such as a checkout of fabgossip"
        )
    for row in rows:
        print(f"{row['name']}  {row['title']}")
    return EXIT_OK


def _scenarios() -> list[dict[str, object]]:
    return [
        {"name": one.name, "title": one.title, "file": str(path), "tags": list(one.tags),
         "proves": list(one.proves), "nodes": len(one.nodes)}
        for path, one in library()
    ]  # fmt: skip


def _campaigns() -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for path in sorted((LIBRARY / "campaigns").glob("*.toml")):
        one = parse_campaign(read_text(path), str(path))
        found.append({"name": one.name, "title": one.title, "file": str(path)})
    return found


def _nemeses() -> list[dict[str, object]]:
    return [
        {"name": name, "title": title, "with": sorted(parameters)}
        for name, (title, parameters) in KINDS.items()
    ]


def _selectors() -> list[dict[str, object]]:
    filters = [one.name for one in fields(SelectTable) if one.name != "pick"]
    rows: list[dict[str, object]] = [{"name": one, "title": "a filter"} for one in filters]
    rows += [{"name": f"pick = {one}", "title": "how many of those left"} for one in PICKS]
    return rows


def _checkers() -> list[dict[str, object]]:
    """From the tables that open the modules of the checkers; one may have a row in several."""
    titles: dict[str, list[str]] = {}
    for text in (one.__doc__ for one in JUDGES):
        for line in (text or "").splitlines():
            cells = [cell.strip() for cell in line.split("|")]
            if len(cells) == 4 and cells[1][1:].isdigit():
                titles.setdefault(cells[1], []).append(cells[2])
    return [{"name": name, "title": "; ".join(told)} for name, told in titles.items()]


def _measures() -> list[dict[str, object]]:
    return [{"name": one, "title": "an expectation can be about it"} for one in MEASURES]


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
