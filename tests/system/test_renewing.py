"""What nears its refresh time climbs for something newer, by daemons, and `why` tells of it."""

import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from fabgossip.cli.fabric import Fabric
from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.sources.folder import read_source
from fabgossip.model.moment import UnixTime
from tests.system.conftest import edge, storage
from tests.system.fabrics import (
    HANG_S,
    Daemon,
    Document,
    daemon_of,
    enrolled,
    run_command,
    until,
    write_source,
)

pytestmark = [pytest.mark.system, pytest.mark.slow]

ROUTES = Document("route_policy_bundle", "routes/edge")
CONTROL, READER = "storage-1", "edge-1"
WORN_S = 20 * 3_600
"""Of the day until a version is to be refreshed."""


class Earlier:
    """The clock of a control plane that worked long ago."""

    monotonic = staticmethod(time.monotonic)  # noqa: TID251  # of the machine

    @staticmethod
    def time() -> float:
        return time.time() - WORN_S  # noqa: TID251  # of the machine, put back


@pytest.fixture
def fabric(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fabric]:
    """A reader that looks for what is due twice a second, and holds a version that was signed long
    ago and is named in no source any more, so nobody renews it; all else is of now."""
    monkeypatch.setattr("fabgossip.cli.fabric.time", Earlier)
    with enrolled((storage(CONTROL, "control-endpoint"), edge(READER))) as made:
        write_source(made.source, (ROUTES,))
        (made.source / ROUTES.file).write_text("worn\n")
        now = UnixTime(int(Earlier.time()))
        AuthorityFolder(made.authority_folder).compile(read_source(made.source), now)
        monkeypatch.undo()
        write_source(made.source, ())
        with (made.node(READER).folder / "fabgossip.toml").open("a") as file:
            file.write("\n[refresh]\ninterval_ms = 500\n")
        made.start(HANG_S)
        made.wait_for(made.publish("worn"), HANG_S)
        yield made


def tries(fabric: Fabric, reader: Daemon) -> list[tuple[str, str | None, str]]:
    """Step, source and outcome of each try for something newer."""
    namespace = quote(f"{fabric.prefix}/{ROUTES.namespace}")
    renewal = reader.get(f"/v1/why?namespace={namespace}")["renewal"]
    if renewal is None:
        return []
    assert isinstance(renewal, dict)
    return [(str(one["step"]), one["source"], str(one["outcome"])) for one in renewal["ladder"]]


def test_a_worn_version_climbs_and_why_says_so(fabric: Fabric) -> None:
    reader = daemon_of(fabric, READER)
    until(lambda: bool(tries(fabric, reader)), "a climb", HANG_S)
    until(lambda: tries(fabric, reader)[-1][0] == "rung 5", "its end", HANG_S)
    assert ("normal", CONTROL, "nothing_newer") in tries(fabric, reader)
    assert {one for one, *_ in tries(fabric, reader)} >= {"normal", "rung 5"}
    shown = run_command(
        "why", f"{fabric.prefix}/{ROUTES.namespace}", "--socket", reader.socket
    ).stdout
    assert "nothing_newer" in shown
    assert "  newer    " in shown
