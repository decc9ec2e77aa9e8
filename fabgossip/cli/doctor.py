"""`fabgossip doctor`: what is wrong with this node's state folder, with no daemon running."""

import argparse
import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from fabgossip.cli.output import (
    EXIT_DEGRADED,
    EXIT_FAILURE,
    EXIT_OK,
    print_json,
    print_table,
    safe,
    say,
)
from fabgossip.cli.run import DEFAULT_CONFIG
from fabgossip.daemon.config import Config, read_config
from fabgossip.daemon.driver import read_clocks
from fabgossip.daemon.papers import load_papers
from fabgossip.daemon.preflight import preflight
from fabgossip.daemon.state import LockedError, lock
from fabgossip.daemon.views import rfc3339
from fabgossip.model.moment import UnixTime, is_past
from fabgossip.model.persistence import HeldBack, Pin
from fabgossip.storage.inspection import REBUILD, Finding, Grade, inspect, rebuild_index

_EXITS = {Grade.OK: EXIT_OK, Grade.WARN: EXIT_DEGRADED, Grade.FAIL: EXIT_FAILURE}


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser("doctor")
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIG, help=f"the file ({DEFAULT_CONFIG})"
    )
    parser.add_argument("--hash", action="store_true", help="read and hash every content as well")
    parser.add_argument(
        "--rebuild-index", action="store_true", help="make the index anew from the files"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(run=run_doctor)


def run_doctor(arguments: argparse.Namespace) -> int:
    """`fabgossip doctor`: 0 all well, 4 something to look at, 1 something is broken."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    config = read_config(arguments.config, Path(credentials) if credentials else None)
    if arguments.rebuild_index:
        return _rebuild(config, as_json=arguments.json)
    findings = (
        *_configuration(config),
        *_lock_and_space(config),
        *(_of(one, config) for one in inspect(config.storage, hashes=arguments.hash)),
    )
    if arguments.json:
        print_json({"items": [_item(one) for one in findings]})
    else:
        rows = [(one.grade.value, one.subject, one.detail) for one in findings]
        print_table(("", "SUBJECT", "FOUND"), rows)
        for one in findings:
            if one.next_step:
                say(f"{one.subject}: {one.next_step}")
    worst = max((one.grade for one in findings), key=list(Grade).index)
    return _EXITS[worst]


def _of(one: Finding, config: Config) -> Finding:
    """What to type next is about this very node."""
    if one.next_step != REBUILD:
        return one
    return replace(one, next_step=f"{REBUILD} --config {config.path}")


def _item(one: Finding) -> dict[str, object]:
    return {
        "subject": one.subject,
        "grade": one.grade.value,
        "detail": one.detail,
        "next": one.next_step,
    }


def _configuration(config: Config) -> list[Finding]:
    """What the next start would be refused for."""
    met = preflight(config, read_clocks())
    step = f"fabgossip check-config --config {config.path}"
    found = [
        Finding(
            subject="configuration", grade=Grade.FAIL, next_step=step,
            detail=f"{one.key}: {one.detail}" if one.key else one.detail,
        )
        for one in met.problems
    ]  # fmt: skip
    if not found:
        found = [Finding(subject="configuration", grade=Grade.OK, detail=str(config.path))]
    if met.warning:
        step = "fabgossip control enroll NODE --renew, where the authority folder is"
        found.append(
            Finding(subject="certificate", grade=Grade.WARN, detail=met.warning, next_step=step)
        )
    return found


def _lock_and_space(config: Config) -> list[Finding]:
    if not config.storage.is_dir():
        return []
    try:
        os.close(lock(config.storage))
        served = Finding(subject="daemon", grade=Grade.OK, detail="none serves the folder now")
    except LockedError as error:
        served = Finding(subject="daemon", grade=Grade.OK, detail=str(error))
    found = os.statvfs(config.storage)
    free, limits = found.f_bavail * found.f_frsize, config.space
    detail = f"{free} bytes and {found.f_favail} inodes are free"
    is_short = free < limits.free_bytes_min or found.f_favail < limits.free_inodes_min
    space = Finding(
        subject="space",
        grade=Grade.FAIL if is_short else Grade.OK,
        detail=detail,
        next_step="make room: below storage.disk_free_min nothing is stored" if is_short else "",
    )
    return [served, space]


def _rebuild(config: Config, *, as_json: bool) -> int:
    """Under the lock: a daemon that runs is not disturbed."""
    papers = load_papers(config, read_clocks().unix)
    with closing(_Held(lock(config.storage))):
        rebuilt = rebuild_index(config.storage, papers.node_id)
    gone = None if rebuilt.orders is None else _gone(*rebuilt.orders, read_clocks().unix)
    if as_json:
        print_json(
            {
                "aside": rebuilt.aside,
                "adopted": rebuilt.adopted,
                "damaged": rebuilt.damaged,
                "foreign": rebuilt.foreign,
                "gone": gone,
            }
        )
        return EXIT_OK
    print(f"{rebuilt.adopted} contents taken up, {rebuilt.damaged} damaged ones set aside")
    say(f"the index before is kept as {config.storage / rebuilt.aside}")
    say("the node starts in amnesia and hears from its peers what these contents are")
    if gone is None:
        say("pins and holds are gone; which there were, the index before does not say any more")
    for one in gone or ():
        say(
            f"gone: {one['order']} of {safe(one['namespace'])} until {one['until']}, by "
            f"{safe(one['owner'])}: {safe(one['reason'])}"
        )
    return EXIT_OK


def _gone(
    pins: tuple[Pin, ...], holds: tuple[HeldBack, ...], now: UnixTime
) -> list[dict[str, object]]:
    """The pins and holds that still stood, to be made anew by whoever needs them."""
    named: list[tuple[str, Pin | HeldBack]] = [(f"pin {one.pin_id}", one) for one in pins]
    named += [(f"hold at {one.order}", one) for one in holds]
    return [
        {
            "order": order,
            "namespace": one.namespace,
            "until": rfc3339(one.until),
            "owner": one.owner,
            "reason": one.reason,
        }
        for order, one in named
        if not is_past(one.until, now)
    ]


class _Held:
    """The lock of a state folder."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def close(self) -> None:
        os.close(self._descriptor)
