"""What can be configured, asked and refused is documented, and nothing else is."""

import argparse
import dataclasses
import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, get_args, get_origin

import pytest

import fabgossip.cli
from fabgossip.cli.main import DEFAULT_SOCKET
from fabgossip.control.ledger import Act
from fabgossip.core.events import LostReason
from fabgossip.core.problems import ProblemCode
from fabgossip.daemon.config import ConfigTable
from fabgossip.model.artifact import TYPE_RULES
from fabgossip.model.bounds import Bounds
from fabgossip.trust.rejections import RejectionCode
from fabgossip.wire.framing import BODY_BYTES_MAX, FrameKind
from fabgossip.wire.tables import field_types
from tests.docs.pages import CHECKOUT, DOCS, README, REFERENCE, anchor, pages, prose, rows

CONFIGURATION = REFERENCE / "configuration.md"
COMMAND_LINE = REFERENCE / "command-line.md"
ASKING_OPTIONS = {"--socket", "--json", "--help", "-h"}
CONTROL_OPTIONS = {"--authority", "--passphrase-file", "--reason", "--json", "--help", "-h"}
ELSEWHERE = {"sim"}
"""Commands with a page of their own."""


def config_keys(table: type, prefix: str = "") -> Iterator[tuple[str, tuple[str, str]]]:
    """Every key of a table with its default and its bounds, as the page writes them."""
    types = field_types(table)
    for field in dataclasses.fields(table):
        key, kind = prefix + field.name, types[field.name]
        inner = get_args(kind)[0] if get_origin(kind) is tuple else kind
        if isinstance(inner, type) and dataclasses.is_dataclass(inner):
            yield from config_keys(inner, f"{key}{'[]' if inner is not kind else ''}.")
            continue
        is_required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        default = "required" if is_required else f"`{json.dumps(field.default)}`"
        limits = ""
        if get_origin(kind) is Annotated:
            bounds = get_args(kind)[1]
            assert isinstance(bounds, Bounds)
            limits = f"{bounds.low}..{bounds.high}"
        yield key, (default, limits)


KEYS = tuple(config_keys(ConfigTable))


def documented_keys() -> dict[str, tuple[str, str]]:
    found = {}
    for row in rows(CONFIGURATION):
        if re.fullmatch(r"`[a-z0-9_.\[\]]+`", row[0]) and len(row) == 5:
            found[row[0].strip("`")] = (row[2], row[3])
    return found


def test_every_key_of_the_configuration_is_documented_and_no_other() -> None:
    assert documented_keys().keys() == dict(config_keys(ConfigTable)).keys()


@pytest.mark.parametrize(("key", "values"), KEYS, ids=[key for key, _ in KEYS])
def test_a_key_is_documented_with_its_default_and_bounds(key: str, values: tuple[str, str]) -> None:
    default, bounds = documented_keys()[key]
    assert default == values[0]
    assert not values[1] or bounds == values[1]


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command of the command line with its parser."""
    commands = argparse.ArgumentParser().add_subparsers()
    for module_info in pkgutil.iter_modules(fabgossip.cli.__path__):
        module = importlib.import_module(f"fabgossip.cli.{module_info.name}")
        register = getattr(module, "register", None)
        if register is not None:
            asks = "socket" in inspect.signature(register).parameters
            register(commands, DEFAULT_SOCKET) if asks else register(commands)
    for name, parser in commands.choices.items():
        verbs = [
            one.choices
            for one in parser._actions  # noqa: SLF001  # argparse has no public way to list them
            if isinstance(one.choices, dict)
        ]
        if name in ELSEWHERE:
            continue
        if not verbs or parser.get_default("run") is not None:
            yield name, parser
        for group in verbs:
            yield from ((f"{name} {verb}", one) for verb, one in group.items())


COMMANDS = tuple(parsers())


def command_section(name: str) -> str:
    """What the page says under the heading of a command."""
    text = COMMAND_LINE.read_text("utf-8")
    found = re.search(rf"^### `{name}\b[^\n]*`$(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no heading for {name}"
    return found[0]


@pytest.mark.parametrize(("name", "parser"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_a_command_is_documented_with_its_options_and_no_other(
    name: str, parser: argparse.ArgumentParser
) -> None:
    options = {
        option
        for action in parser._actions  # noqa: SLF001  # argparse has no public way to list them
        for option in action.option_strings
    }
    common = CONTROL_OPTIONS if name.startswith("control ") else ASKING_OPTIONS
    told = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", command_section(name)))
    assert options - told - common == set()
    assert told - options == set()


def test_every_documented_command_exists() -> None:
    headings = re.findall(r"^### `([^`]+)`$", COMMAND_LINE.read_text("utf-8"), re.MULTILINE)
    known = {name for name, _ in parsers()}
    assert {
        max((one for one in known if re.match(rf"{one}\b", heading)), key=len, default=heading)
        for heading in headings
    } == known


def test_every_rejection_code_is_documented_and_no_other() -> None:
    told = {row[0].strip("`") for row in rows(REFERENCE / "rejection-codes.md")} - {"code", "---"}
    assert told == {one.value for one in RejectionCode}


def test_every_event_of_the_ledger_is_documented_and_no_other() -> None:
    """Events of a node have no such table: a row with three cells is of the ledger."""
    told = {
        word
        for row in rows(DOCS / "how-to" / "audit.md")
        if len(row) == 3
        for word in re.findall(r"`([a-z]+_[a-z_]+)`", row[0])
    }
    assert told == {one.value for one in Act}


def test_every_problem_has_a_runbook_and_no_other() -> None:
    assert {page.stem for page in (DOCS / "runbooks").iterdir()} == {
        one.value for one in ProblemCode
    }
    for code in ProblemCode:
        page = DOCS / "runbooks" / f"{code.value}.md"
        assert page.read_text("utf-8").startswith(f"# `{code.value}`: ")
        assert f"(runbooks/{code.value}.md)" in (DOCS / "index.md").read_text("utf-8")


def test_every_reason_for_which_a_link_ends_has_a_row_and_no_other() -> None:
    told = [
        word
        for row in rows(DOCS / "runbooks" / "no_neighbors.md")
        for word in re.findall(r"`(\w+)`", row[0])
    ]
    assert sorted(told) == sorted(one.value for one in LostReason)


def test_every_frame_kind_is_documented_with_its_number_and_limit() -> None:
    told: dict[int, tuple[str, str]] = {}
    for row in rows(REFERENCE / "protocol.md"):
        if len(row) == 4 and re.fullmatch(r"\d+(, \d+)*", row[0]):
            numbers, names, limits = (row[i].split(", ") for i in range(3))
            told |= {
                int(number): (name, limit)
                for number, name, limit in zip(numbers, names, limits, strict=True)
            }
    assert told == {
        kind.value: (kind.name.lower().replace("_", " "), _limit(BODY_BYTES_MAX[kind]))
        for kind in FrameKind
    }


def _limit(count: int) -> str:
    whole, rest = divmod(count, 1 << 10)
    return str(count) if not whole else f"{whole} KiB" + (f" + {rest}" if rest else "")


def test_every_type_is_documented_with_its_limits() -> None:
    told = {
        row[0].strip("`"): (row[2], row[3], row[4], row[5])
        for row in rows(REFERENCE / "artifact-format.md")
        if len(row) == 6 and row[0].startswith("`")
    }
    assert told == {
        kind.value: (
            _bytes(rule.size_max),
            _span(rule.refresh_s),
            _span(rule.expiry_s),
            "yes" if rule.is_read else "no",
        )
        for kind, rule in TYPE_RULES.items()
    }


def _bytes(count: int) -> str:
    return f"{count >> 20} MiB" if count >> 20 else f"{count >> 10} KiB"


def _span(seconds: int) -> str:
    days, hours = seconds // 86_400, seconds // 3_600
    return f"{days} d" if days else f"{hours} h"


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_relative_link_resolves(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target:
            continue
        name, _, fragment = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.is_file(), target
        if fragment:
            headings = re.findall(r"^#+ (.+)$", linked.read_text("utf-8"), re.MULTILINE)
            assert fragment in {anchor(one) for one in headings}, target


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, todo = set(), [README]
    while todo:
        page = todo.pop()
        if page in seen:
            continue
        seen.add(page)
        links = re.findall(r"\]\(([^)#\s]+\.md)", prose(page))
        todo += [(page.parent / one).resolve() for one in links]
    assert set(DOCS.rglob("*.md")) - seen == set()


def test_every_test_named_in_a_page_exists() -> None:
    named = {one for page in pages() for one in re.findall(r"`(test_\w+)`", prose(page))}
    defined = {
        one
        for path in (CHECKOUT / "tests").rglob("test_*.py")
        for one in re.findall(r"def (test_\w+)", path.read_text("utf-8"))
    }
    assert named
    assert named - defined == set()
