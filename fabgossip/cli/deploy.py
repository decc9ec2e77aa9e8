"""`fabgossip deploy show NAME`: prints a file that is shipped with the package."""

import argparse
import importlib.resources

from fabgossip.cli.output import EXIT_OK
from fabgossip.errors import UsageError


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser("deploy")
    parser.add_argument("verb", choices=["show"])
    parser.add_argument("name", nargs="?", default="", help="without a name: lists them")
    parser.set_defaults(run=run_deploy)


def run_deploy(arguments: argparse.Namespace) -> int:
    """`fabgossip deploy show`."""
    folder = importlib.resources.files("fabgossip") / "deploy"
    names = sorted(one.name for one in folder.iterdir() if one.is_file())
    if not arguments.name:
        print("\n".join(names))
        return EXIT_OK
    if arguments.name not in names:
        raise UsageError(
            f"deploy show: {arguments.name!r} is not shipped; known: {', '.join(names)}"
        )
    print((folder / arguments.name).read_text(encoding="utf-8"), end="")
    return EXIT_OK
