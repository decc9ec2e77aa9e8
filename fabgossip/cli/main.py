"""The command line: finds the command, runs it, turns errors into one line and one exit code.

A command's module is imported when it is called, so that `status` loads little. The only reader of
the environment.
"""

import argparse
import difflib
import importlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from fabgossip.errors import FabgossipError

DEFAULT_SOCKET = "/run/fabgossip/status.sock"
_GROUPS = {
    "run": "fabgossip.cli.run",
    "check-config": "fabgossip.cli.run",
    "status": "fabgossip.cli.query",
    "artifacts": "fabgossip.cli.query",
    "peers": "fabgossip.cli.query",
    "why": "fabgossip.cli.query",
    "fetch": "fabgossip.cli.query",
    "submit": "fabgossip.cli.query",
    "events": "fabgossip.cli.query",
    "gate": "fabgossip.cli.query",
    "verify": "fabgossip.cli.verify",
    "audit": "fabgossip.cli.audit",
    "control": "fabgossip.cli.control",
    "sim": "fabgossip.cli.sim",
    "demo": "fabgossip.cli.demo",
    "deploy": "fabgossip.cli.deploy",
    "version": "fabgossip.cli.version",
}
"""Which module knows each command."""
_ASKING = ("fabgossip.cli.query", "fabgossip.cli.audit")
"""Modules whose commands ask a daemon."""


def main() -> int:
    """The console script."""
    return run(sys.argv[1:])


def run(arguments: Sequence[str]) -> int:
    """Run one command; gives its exit code."""
    command = next((one for one in arguments if not one.startswith("-")), None)
    modules = [_GROUPS[command]] if command in _GROUPS else list(dict.fromkeys(_GROUPS.values()))
    parser = _parser(modules)
    parsed = parser.parse_args(arguments)
    chosen: Callable[[argparse.Namespace], int] | None = getattr(parsed, "run", None)
    if chosen is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        return chosen(parsed)
    except FabgossipError as error:
        print(f"fabgossip: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


class _Parser(argparse.ArgumentParser):
    """Names the nearest word beside one that is none; its subparsers are of its kind."""

    def error(self, message: str) -> NoReturn:
        """End with 2."""
        found = _CHOICE.search(message)
        near = found and difflib.get_close_matches(found[1], _QUOTED.findall(found[2]), n=1)
        if found and near:
            message = f"{message[: found.start()]}no {found[1]!r}; did you mean {near[0]!r}?"
        super().error(message)


_CHOICE: Final = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)$")
"""How argparse says it."""
_QUOTED: Final = re.compile(r"'([^']*)'")


def _parser(modules: list[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fabgossip",
        description="A peer-to-peer gossip cache daemon for signed configuration.",
        epilog="Exit codes: 0 ok, 1 failure, 2 usage, 3 daemon unreachable, 4 degraded, 5 refused, "
        "75 try again, 78 bad configuration.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name in modules:
        module = importlib.import_module(name)
        if name in _ASKING:
            module.register(commands, os.environ.get("FABGOSSIP_SOCKET", DEFAULT_SOCKET))
        else:
            module.register(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
