"""What every verb of `fabgossip control` shares: the authority folder, its passphrase, the time."""

import argparse
import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from stat import S_IRWXG, S_IRWXO, S_ISREG
from typing import Final

from fabgossip.control.authority import AuthorityFolder
from fabgossip.errors import ControlError
from fabgossip.model.moment import UnixTime

OTHERS: Final = S_IRWXG | S_IRWXO
PASSPHRASE_BYTES_MAX: Final = 4_096


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
    """What encrypts the private keys; raises `ControlError`, also for a file others can read: then
    the keys are as good as not encrypted."""
    path: Path | None = arguments.passphrase_file
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            # Of the open file, so that none is put in its place after it was looked at. A pipe, as
            # a shell makes of `<(...)`, is its maker's alone whatever its mode says.
            status = os.fstat(file.fileno())
            if S_ISREG(status.st_mode) and status.st_mode & OTHERS:
                raise ControlError(
                    f"{path}: is readable for others than its owner; chmod 600 {path}"
                )
            lines = file.readline(PASSPHRASE_BYTES_MAX).splitlines()
    except OSError as error:
        raise ControlError(f"{path}: cannot be read: {error.strerror}") from error
    if not lines or not lines[0]:
        raise ControlError(f"{path}: is empty, or its first line is; that line is the passphrase")
    return lines[0]


def typed(arguments: argparse.Namespace, words: str) -> str:
    """A further command for the same authority, as it can be pasted."""
    options = f"--authority {shlex.quote(str(arguments.authority))}"
    if arguments.passphrase_file is not None:
        options += f" --passphrase-file {shlex.quote(str(arguments.passphrase_file))}"
    return f"fabgossip control {words} {options}"


def authority_of(arguments: argparse.Namespace) -> AuthorityFolder:
    """The authority folder a command works on."""
    return AuthorityFolder(
        arguments.authority, passphrase_of(arguments), reason=arguments.reason or ""
    )
