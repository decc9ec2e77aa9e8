"""`fabgossip version`."""

import argparse
import importlib.metadata

from fabgossip.cli.output import EXIT_OK, print_json
from fabgossip.model.messages import PROTOCOL


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser("version")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(run=run_version)


def run_version(arguments: argparse.Namespace) -> int:
    """`fabgossip version`."""
    version = importlib.metadata.version("fabgossip")
    if arguments.json:
        print_json({"version": version, "protocol": PROTOCOL})
    else:
        print(f"fabgossip {version} (protocol {PROTOCOL})")
    return EXIT_OK
