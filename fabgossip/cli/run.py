"""`fabgossip run` and `fabgossip check-config`."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import trio

from fabgossip.cli.output import EXIT_OK, print_json, say
from fabgossip.daemon.config import ConfigProblemsError, problems_error, read_config
from fabgossip.daemon.driver import read_clocks
from fabgossip.daemon.kernel_clock import is_kernel_synchronized
from fabgossip.daemon.preflight import preflight
from fabgossip.daemon.service import Environment, run_daemon
from fabgossip.daemon.systemd import NotifyEnvironment
from fabgossip.errors import FabgossipError

DEFAULT_CONFIG = Path("/etc/fabgossip/fabgossip.toml")
EXIT_CONFIG = 78


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands."""
    _command(commands, "run", run_run)
    parser = _command(commands, "check-config", run_check)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name)
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIG, help=f"the file ({DEFAULT_CONFIG})"
    )
    parser.set_defaults(run=run)
    return parser


def _credentials() -> Path | None:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(folder) if folder else None


def _number(name: str) -> int:
    text = os.environ.pop(name, "")
    return int(text) if text.isdigit() else 0


def run_run(arguments: argparse.Namespace) -> int:
    """`fabgossip run`."""
    config = read_config(arguments.config, _credentials())
    notify = NotifyEnvironment(
        socket=os.environ.pop("NOTIFY_SOCKET", ""),
        watchdog_usec=_number("WATCHDOG_USEC"),
        watchdog_pid=_number("WATCHDOG_PID"),
    )
    environment = Environment(
        notify=notify,
        log_to_terminal=sys.stderr.isatty(),
        entropy=os.urandom,
        wall=time.time,
        clock_is_synchronized=is_kernel_synchronized,
    )
    stopped_by: list[FabgossipError] = []
    try:
        trio.run(run_daemon, config, environment)
    except* FabgossipError as group:
        # Raised in here, it would be wrapped in a group again.
        stopped_by.append(_first(group))
    if stopped_by:
        raise stopped_by[0]
    return EXIT_OK


def _first(group: BaseExceptionGroup[FabgossipError]) -> FabgossipError:
    """One line and one exit code for whatever stopped the daemon."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, FabgossipError)
    return error


def run_check(arguments: argparse.Namespace) -> int:
    """`fabgossip check-config`."""
    try:
        config = read_config(arguments.config, _credentials())
        found = preflight(config, read_clocks())
        if found.problems:
            raise problems_error(config, found.problems)
    except ConfigProblemsError as error:
        if not arguments.json:
            raise
        rows = [asdict(problem) for problem in error.problems]
        print_json({"problems": rows, "warning": ""})
        return EXIT_CONFIG
    if arguments.json:
        print_json({"problems": [], "warning": found.warning})
    else:
        print(f"{config.path}: good")
        if found.warning:
            say(f"warning: {config.certificate}: {found.warning}")
    return EXIT_OK
