"""`local/state.json`: what this node applies and whether it may be used, for software that reads
files and asks no socket.

Written anew whenever something happens and each twenty seconds, whole under its name or not at all.
It is no evidence and decides nothing: whoever acts on something asks the gate. Past `valid_until`
nobody keeps it up any more, so what it says is to be taken for stale.
"""

import json
import os
from pathlib import Path
from typing import Final

import trio

from fabgossip.core.awaiting import Arrival, Awaited
from fabgossip.daemon.driver import Driver, read_clocks
from fabgossip.daemon.views import rfc3339
from fabgossip.model.moment import Now, UnixTime, seconds_after
from fabgossip.storage.materialized import FILE_MODE, LOCAL

NAME: Final = "state.json"
RENEWED_S: Final = 20.0
VALID_S: Final = 60
"""Two renewals may fail before nobody believes it any more (*start*)."""
SETTLE_S: Final = 0.5
"""What happens together is written together, and no busy node writes more often (*start*)."""
NAMESPACES_MAX: Final = 4_096
"""Further ones are counted, not named."""


class StateFile:
    """Keeps the file up."""

    def __init__(self, driver: Driver, storage: Path) -> None:
        self._driver = driver
        self._path = storage / LOCAL / NAME

    async def keep(self) -> None:
        """Write it until cancelled. A disk that refuses it is told of by what else it refuses."""
        while True:
            told, content = self._driver.facts_told, self._content(read_clocks())
            await trio.to_thread.run_sync(_write, self._path, content)
            with trio.move_on_after(RENEWED_S):
                while self._driver.facts_told == told:  # some may have come during the write
                    await self._driver.next_fact()
                await trio.sleep(SETTLE_S)

    def _content(self, now: Now) -> bytes:
        node = self._driver.node
        snapshot = node.view.snapshot(now)
        found = sorted(node.awaiting.of_all(now), key=lambda one: one.namespace)
        body = {
            "schema_version": 1,
            "mode": snapshot.mode.value,
            "summary": snapshot.summary,
            "written_at": rfc3339(now.unix),
            "valid_until": rfc3339(seconds_after(now.unix, VALID_S)),
            "namespaces": {one.namespace: _row(one, now.unix) for one in found[:NAMESPACES_MAX]},
            "namespaces_omitted": max(0, len(found) - NAMESPACES_MAX),
        }
        return json.dumps(body, indent=2).encode("ascii") + b"\n"


def _row(one: Awaited, now: UnixTime) -> dict[str, object]:
    late_s = 0 if one.refresh_by is None else max(0, now - one.refresh_by)
    return {
        "version": None if one.order is None else str(one.order),
        "usable": one.arrival is Arrival.REACHED,
        "stale_seconds": late_s,
        "why": one.reason,
    }


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all; a cut of power may leave the one before, whose time is over then."""
    fresh = path.with_name(f"{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, flags, FILE_MODE), "wb") as file:
            file.write(content)
        fresh.rename(path)
    except OSError:
        return
