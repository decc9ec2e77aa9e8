"""One enrolled node's folder, made once and copied for every test that spoils it."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.enrollment import NodeRow
from fabgossip.control.node_folder import NodePlaces, enroll_node
from fabgossip.daemon.config import Config, read_config
from fabgossip.daemon.driver import read_clocks
from fabgossip.daemon.service import UMASK, Environment, open_daemon
from fabgossip.daemon.systemd import NotifyEnvironment
from fabgossip.model.ids import ClusterId, PlatformId
from fabgossip.model.moment import seconds_after

HANG_S: Final = 60


def make(folder: Path, age_s: int = 0) -> Path:
    """A throw-away authority, and the folder of its node n1, made so long ago."""
    now = seconds_after(read_clocks().unix, -age_s)
    authority = AuthorityFolder(folder / "authority")
    authority.create(PlatformId("demo-test"), ClusterId("prod"), now, ())
    row = NodeRow(node_id="n1", addresses=("127.0.0.1:7420",), stores=("cluster",))
    places = NodePlaces(listen="127.0.0.1:0", storage="state", socket="status.sock")
    enroll_node(authority, row, folder / "n1", places, now)
    return folder / "n1"


def copied(source: Path, target: Path) -> Path:
    """A copy with the same modes, to be spoilt."""
    return shutil.copytree(source, target / source.name, symlinks=True)


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Config]:
    """The node of a folder serves, in this process."""
    environment = Environment(
        notify=NotifyEnvironment(),
        log_to_terminal=False,
        entropy=bytes,
        wall=lambda: 0.0,
        clock_is_synchronized=lambda: True,
    )
    umask = os.umask(UMASK)
    try:
        with trio.fail_after(HANG_S):
            config = read_config(folder / "fabgossip.toml", None)
            async with open_daemon(config, environment):
                yield config
    finally:
        os.umask(umask)
