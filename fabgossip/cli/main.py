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
from dataclasses import dataclass
from typing import Final, NoReturn

from fabgossip.cli.output import EXIT_FAILURE, EXIT_USAGE, print_json, say
from fabgossip.errors import FabgossipError, UsageError

DEFAULT_SOCKET = "/run/fabgossip/status.sock"


@dataclass(frozen=True, slots=True)
class _Command:
    """Which module knows a command, and what it is for."""

    module: str
    text: str


_COMMANDS: Final = {
    "run": _Command("run", "run the daemon of this node"),
    "check-config": _Command("run", "check a configuration and the files it names"),
    "status": _Command("query", "is this node healthy, and if not why"),
    "artifacts": _Command("query", "what this node holds, and in which state"),
    "peers": _Command("query", "who this node is linked to"),
    "why": _Command("query", "why an artifact is, or is not, as it should be"),
    "fetch": _Command("query", "get a content this node may hold, now"),
    "submit": _Command("query", "hand a signed artifact to this node"),
    "gate": _Command("query", "may this be done now: any exit but 0 means no"),
    "wait": _Command("waiting", "until the configuration of this node may be used"),
    "events": _Command("following", "what happened lately, and what happens now"),
    "verify": _Command("verify", "judge an envelope, and its content, by a pinned trust bundle"),
    "audit": _Command("audit", "the log of what provably happened on a node"),
    "control": _Command("control", "the control plane: keys, nodes, artifacts"),
    "sim": _Command(
        "sim", "run many nodes in virtual time, with faults, and judge them by the truth"
    ),
    "demo": _Command("demo", "seven daemons on loopback: publish, cut, climb, heal"),
    "doctor": _Command("doctor", "what is wrong with this node's state folder, daemon or none"),
    "deploy": _Command("deploy", "print a unit file or another file for packaging"),
    "version": _Command("version", "version of this package and its protocol"),
}
"""Said here, so that a list of the commands loads none of them."""
_ASKING = ("query", "audit", "waiting", "following")
"""Modules whose commands ask a daemon."""


def main() -> int:
    """The console script."""
    return run(sys.argv[1:], is_program=True)


def run(arguments: Sequence[str], *, is_program: bool = False) -> int:
    """Run one command; gives its exit code. `is_program`: nothing else runs in this process, so
    that a command may take its place."""
    command = next((one for one in arguments if not one.startswith("-")), None)
    parser = _parser(None if command is None else _COMMANDS.get(command))
    # As typed: of arguments that make no sense nothing was parsed.
    as_json = "--json" in arguments
    try:
        parsed = parser.parse_args(arguments)
        chosen: Callable[[argparse.Namespace], int] | None = getattr(parsed, "run", None)
        if chosen is None:
            parser.print_help(sys.stderr)
            return EXIT_USAGE
        parsed.is_program = is_program
        return chosen(parsed)
    except _MisuseError as error:
        return _failed(error, as_json=as_json)
    except FabgossipError as error:
        say(f"fabgossip: {error}")
        return _failed(error, as_json=as_json)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE


def _failed(error: FabgossipError, *, as_json: bool) -> int:
    """The exit code; whoever reads standard output as JSON finds an object there."""
    if as_json:
        detail, code = str(error), error.exit_code
        print_json({"error": error.family, "detail": detail, "exit_code": code})
    return error.exit_code


class _MisuseError(UsageError):
    """What the parser makes no sense of, and has said."""


class _Parser(argparse.ArgumentParser):
    """Names the nearest word beside one that is none; its subparsers are of its kind."""

    def parse_known_args(  # type: ignore[override]  # of its two ways to be called, ours
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Nothing is left to the parser above, which would show its own usage for it."""
        found, left = super().parse_known_args(args, namespace)
        if left:
            self.error(f"unrecognized arguments: {' '.join(left)}{self._near(left)}")
        return found, left

    def _near(self, left: list[str]) -> str:
        name = next((one for one in left if one.startswith("-")), "").partition("=")[0]
        near = difflib.get_close_matches(name, self._option_string_actions, n=1)
        return f"; did you mean {near[0]}?" if near else ""

    def error(self, message: str) -> NoReturn:
        """Say it, with the usage."""
        found = _CHOICE.search(message)
        near = found and difflib.get_close_matches(found[1], _QUOTED.findall(found[2]), n=1)
        if found and near:
            message = f"{message[: found.start()]}no {found[1]!r}; did you mean {near[0]!r}?"
        self.print_usage(sys.stderr)
        say(f"{self.prog}: error: {message}")
        raise _MisuseError(message)


_CHOICE: Final = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)$")
"""How argparse says it."""
_QUOTED: Final = re.compile(r"'([^']*)'")


def _parser(command: _Command | None) -> argparse.ArgumentParser:
    """What takes a command, of whose module alone it knows; of none, all it can is list them."""
    parser = _Parser(
        prog="fabgossip",
        description="A peer-to-peer gossip cache daemon for signed configuration.",
        epilog="Exit codes: 0 ok, 1 failure, 2 usage, 3 daemon unreachable, 4 degraded, 5 refused, "
        "75 try again, 78 bad configuration.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    if command is None:
        for name, one in _COMMANDS.items():
            commands.add_parser(name, help=one.text)
        return parser
    module = importlib.import_module(f"fabgossip.cli.{command.module}")
    if command.module in _ASKING:
        module.register(commands, os.environ.get("FABGOSSIP_SOCKET", DEFAULT_SOCKET))
    else:
        module.register(commands)
    for name, its in commands.choices.items():
        its.description = _COMMANDS[name].text
    return parser


if __name__ == "__main__":
    sys.exit(main())
