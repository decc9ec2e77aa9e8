"""One enrolled node's folder, made once and copied for every test that spoils it."""

import shutil
from pathlib import Path

from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.enrollment import NodeRow
from fabgossip.control.node_folder import NodePlaces, enroll_node
from fabgossip.daemon.driver import read_clocks
from fabgossip.model.ids import ClusterId, PlatformId
from fabgossip.model.moment import seconds_after


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
    return shutil.copytree(source, target / "n1", symlinks=True)
