"""Under which hash seed Python runs a simulation: always a known one, so that an order that hangs
on it shows and can be shown again."""

import argparse
import json
import os
import re
import sys
from typing import Final

from fabgossip.errors import UsageError

HASH_SEED_MAX: Final = 2**32 - 1
_VARIABLE: Final = "PYTHONHASHSEED"


def hash_seed_of(seed: int) -> int:
    """The hash seed that goes with a seed; never 0, under which no set shows its order."""
    return 1 + seed % HASH_SEED_MAX


def current_hash_seed() -> int | None:
    """The one Python runs under; None where nobody knows it."""
    given = os.environ.get(_VARIABLE, "random")
    return int(given) if given.isdigit() else None


def under(hash_seed: int) -> dict[str, str]:
    """The environment of a process with this hash seed."""
    return {**os.environ, _VARIABLE: str(hash_seed)}


def restart(arguments: argparse.Namespace) -> None:
    """Start again under an explicit hash seed: the one asked for, else the one in the environment,
    else that of the replay file or of the first seed. Python reads it once, at its start."""
    asked: int | None = getattr(arguments, "hash_seed", None)
    if asked is not None and not 0 <= asked <= HASH_SEED_MAX:
        raise UsageError(f"--hash-seed: 0 to {HASH_SEED_MAX}")
    known = current_hash_seed()
    wanted = asked if asked is not None else known
    if wanted is None:
        wanted = _recorded(arguments)
    if wanted is None:
        wanted = hash_seed_of(_first_seed(arguments))
    if wanted != known:
        command = [sys.executable, "-m", "fabgossip.cli.main", *sys.argv[1:]]
        sys.stdout.flush()
        os.execve(sys.executable, command, under(wanted))  # noqa: S606  # our own program, no shell


def _first_seed(arguments: argparse.Namespace) -> int:
    """As typed; 1, which nearly every scenario begins with, where no seed is."""
    typed = str(getattr(arguments, "seed", None) or getattr(arguments, "seeds", None) or 1)
    found = re.match(r"[0-9]+", typed)
    return int(found[0]) if found else 1


def _recorded(arguments: argparse.Namespace) -> int | None:
    """What a replay file says; whatever is wrong with it is told when it is read."""
    path = getattr(arguments, "file", None)
    if path is None:
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["hash_seed"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, int) and 0 <= found <= HASH_SEED_MAX else None
