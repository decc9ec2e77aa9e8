"""What every verb of `fabgossip control` shares: the authority folder, its passphrase, the time."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from fabgossip.control.authority import AuthorityFolder
from fabgossip.errors import ControlError
from fabgossip.model.moment import UnixTime


def add_verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    text: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    """A verb with the options all of them have."""
    parser = verbs.add_parser(name, help=text, description=text)
    parser.add_argument("--authority", type=Path, required=True, help="the authority folder")
    parser.add_argument(
        "--passphrase-file", type=Path, help="first line: what encrypts the private keys"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(run=run)
    return parser


def add_reason(parser: argparse.ArgumentParser) -> None:
    """The option that says why, for the ledger and nobody else."""
    parser.add_argument("--reason", metavar="TEXT", help="why, for the ledger alone")


def add_root_keys(parser: argparse.ArgumentParser) -> None:
    """The option that says where root keys lie that are not in the authority folder."""
    parser.add_argument(
        "--root-keys",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="where further root keys lie, as FOLDER/*.pem; repeatable",
    )


def wall_now() -> UnixTime:
    """The time signed into what is made."""
    return UnixTime(int(time.time()))


def passphrase_of(arguments: argparse.Namespace) -> bytes | None:
    """What encrypts the private keys; raises `ControlError`."""
    path: Path | None = arguments.passphrase_file
    if path is None:
        return None
    try:
        first = path.read_bytes().splitlines()[0]
    except (OSError, IndexError) as error:
        raise ControlError(f"{path}: no passphrase in it: {error}") from error
    return first


def authority_of(arguments: argparse.Namespace) -> AuthorityFolder:
    """The authority folder a command works on."""
    return AuthorityFolder(
        arguments.authority, passphrase_of(arguments), reason=arguments.reason or ""
    )
