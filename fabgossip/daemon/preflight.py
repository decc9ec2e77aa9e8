"""Everything that `run` would refuse before it listens, found at once and with nothing changed.

The daemon may be running meanwhile, or may never have: the state folder is neither made nor locked,
and an index of an earlier release is left for the daemon to carry over. Folders are judged for
whoever asks: as another user than the daemon's the answer is of that user.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fabgossip.daemon.audit import FOLDER
from fabgossip.daemon.config import Config
from fabgossip.daemon.papers import (
    Papers,
    check_tls,
    judge_certificate,
    known_bundles,
    load_papers,
)
from fabgossip.daemon.pinning import judge_pin
from fabgossip.daemon.status_socket import fault_at
from fabgossip.errors import ConfigError, StorageError
from fabgossip.model.moment import Now
from fabgossip.storage.contents import INCOMING, OBJECTS
from fabgossip.storage.index import INDEX_NAME, NodeIndex, OtherSchemaError
from fabgossip.storage.materialized import LOCAL
from fabgossip.wire.tables import Problem

_PARTS: Final = (OBJECTS, INCOMING, LOCAL, FOLDER)
"""Folders below the state folder that the daemon makes, or finds."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """What a start with a configuration would meet."""

    problems: tuple[Problem, ...]
    """What would end it."""
    warning: str
    """What keeps peers from speaking to a node that starts, empty where nothing is known to."""


def preflight(config: Config, now: Now) -> Preflight:
    """Judge a start with this configuration, which itself was read without a fault."""
    problems: list[Problem] = []
    warnings: list[str] = []
    papers = None
    with _noted(problems, "conflict"):
        papers = load_papers(config, now.unix)
    if papers is not None:
        with _noted(problems, "key_mismatch"):
            check_tls(papers)
    problems += _folder_faults("storage.path", config.storage)
    for name in _PARTS:
        if os.path.lexists(config.storage / name):
            problems += _folder_faults("storage.path", config.storage / name)
    if papers is not None:
        problems += _state_problems(config, papers, now, warnings)
    problems += _folder_faults("status.socket", config.socket.parent)
    fault = fault_at(config.socket)
    if fault is not None:
        problems.append(Problem(code="unusable_path", key="status.socket", detail=fault))
    return Preflight(tuple(problems), "".join(warnings))


@contextmanager
def _noted(problems: list[Problem], code: str) -> Iterator[None]:
    """What is refused in here becomes a problem a line."""
    try:
        yield
    except OtherSchemaError:
        pass  # the daemon carries it over when it starts
    except (ConfigError, StorageError) as error:
        problems += [_problem(code, line) for line in str(error).splitlines()]


def _problem(code: str, line: str) -> Problem:
    """A line that begins with the key it is about, or says a whole sentence."""
    key, colon, detail = line.partition(": ")
    if colon and all(part.isidentifier() for part in key.split(".")):
        return Problem(code=code, key=key, detail=detail)
    return Problem(code=code, key="", detail=line)


def _state_problems(config: Config, papers: Papers, now: Now, warnings: list[str]) -> list[Problem]:
    """What the state folder itself has against these papers."""
    problems: list[Problem] = []
    own, path = papers.own_identity(), config.storage / INDEX_NAME
    if not path.exists():
        with _noted(problems, "conflict"):
            warnings.append(judge_certificate(papers, (own.pinned.bundle,)).warning)
        return problems
    with _noted(problems, "conflict"), NodeIndex(path).reading() as index:
        index.check_owner(papers.node_id)
        with _noted(problems, "conflict"):
            bundles = known_bundles(own, index, now)
            warnings.append(judge_certificate(papers, bundles).warning)
        with _noted(problems, "conflict"):
            judge_pin(config.table.trust, papers.pinned, index)
    return problems


def _folder_faults(key: str, folder: Path) -> list[Problem]:
    """Whether a folder can be used, or made: judged by the nearest that is there."""
    nearest = next(one for one in (folder, *folder.parents) if os.path.lexists(one))
    if not nearest.is_dir():
        return [Problem(code="unusable_path", key=key, detail=f"{nearest} is no folder")]
    if os.access(nearest, os.W_OK | os.X_OK, effective_ids=True):
        return []
    what = "cannot be written" if nearest == folder else f"cannot be made: {nearest} refuses"
    suggestion = f"make it the daemon's own: install -d -o USER {folder}"
    detail = f"{folder} {what}"
    return [Problem(code="unusable_path", key=key, detail=detail, suggestion=suggestion)]
