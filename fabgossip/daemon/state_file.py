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
from fabgossip.daemon.waits import REST_TIMES
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
        """Write it until cancelled; why it cannot be written is logged once."""
        refused: str | None = None
        while True:
            told, started = self._driver.recent.told, trio.current_time()
            body = self._body(read_clocks())
            rest_s = max(SETTLE_S, REST_TIMES * (trio.current_time() - started))
            error = await trio.to_thread.run_sync(_write, self._path, body)
            if error is not None and str(error) != refused:
                self._driver.log_fault("state_file_failed", error)
            refused = None if error is None else str(error)
            with trio.move_on_after(RENEWED_S):
                while self._driver.recent.told == told:  # some may have come during the write
                    await self._driver.recent.next()
                await trio.sleep(rest_s)

    def _body(self, now: Now) -> dict[str, object]:
        node = self._driver.node
        snapshot = node.view.snapshot(now)
        found = sorted(node.awaiting.of_all(now), key=lambda one: one.namespace)
        return {
            "schema_version": 1,
            "mode": snapshot.mode.value,
            "summary": snapshot.summary,
            "written_at": rfc3339(now.unix),
            "valid_until": rfc3339(seconds_after(now.unix, VALID_S)),
            "namespaces": {one.namespace: _row(one, now.unix) for one in found[:NAMESPACES_MAX]},
            "namespaces_omitted": max(0, len(found) - NAMESPACES_MAX),
        }


def _row(one: Awaited, now: UnixTime) -> dict[str, object]:
    late_s = 0 if one.refresh_by is None else max(0, now - one.refresh_by)
    return {
        "version": None if one.order is None else str(one.order),
        "usable": one.arrival is Arrival.REACHED,
        "stale_seconds": late_s,
        "why": one.reason,
    }


def _write(path: Path, body: dict[str, object]) -> OSError | None:
    """Whole or not at all, also where the power is cut; gives what hindered it."""
    fresh = path.with_name(f"{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, flags, FILE_MODE), "wb") as file:
            file.write(json.dumps(body).encode("ascii") + b"\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    except OSError as error:
        return error
    return None
