"""One line per event: JSON for machines, plain text on a terminal.

Text that came from a peer is escaped and cut. Never logged: content, envelopes, keys, certificates
in full. Lines a peer can cause are limited, all together and of one event and peer; what is held
back is counted and said a second later.
"""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from enum import IntEnum

TEXT_MAX = 200
LINES_PER_SECOND_MAX = 100
LINES_OF_ONE_MAX = 50
"""Of one event and one peer in a second: the other half is for what is said of others (*start*)."""


class LogLevel(IntEnum):
    """In order of urgency."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


class Log:
    """Writes to standard error; `wall` gives seconds since 1970."""

    __slots__ = (
        "_as_json", "_held_back", "_in_second", "_level", "_of_one", "_second", "_wall", "_write",
    )  # fmt: skip

    def __init__(
        self,
        level: LogLevel,
        wall: Callable[[], float],
        *,
        as_json: bool,
        write: Callable[[str], None] | None = None,
    ) -> None:
        self._level = level
        self._wall = wall
        self._as_json = as_json
        self._write = write or _stderr
        self._second = 0
        self._in_second = 0
        self._of_one: dict[tuple[str, str | int], int] = {}
        """Lines of this second by event and peer."""
        self._held_back = 0

    def emit(
        self, event: str, level: LogLevel, fields: tuple[tuple[str, str | int], ...] = ()
    ) -> None:
        """Write one line, unless the level or the rate forbids it."""
        if level < self._level:
            return
        now = self._wall()
        if int(now) != self._second:
            self._second, self._in_second, self._of_one = int(now), 0, {}
            if self._held_back:
                held_back, self._held_back = self._held_back, 0
                self._line(now, "log_suppressed", LogLevel.WARNING, (("lines", held_back),))
        if level < LogLevel.ERROR and not self._has_room((event, dict(fields).get("peer", ""))):
            self._held_back += 1
            return
        self._line(now, event, level, fields)

    def _has_room(self, kind: tuple[str, str | int]) -> bool:
        """Whether a line may be written, which it is then."""
        of_one = self._of_one.get(kind, 0)
        if self._in_second == LINES_PER_SECOND_MAX or of_one == LINES_OF_ONE_MAX:
            return False
        self._in_second += 1
        self._of_one[kind] = of_one + 1
        return True

    def _line(
        self, now: float, event: str, level: LogLevel, fields: tuple[tuple[str, str | int], ...]
    ) -> None:
        at = (
            datetime.fromtimestamp(now, tz=UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z")
        )
        shown = {name: _safe(value) for name, value in fields if value != ""}
        if self._as_json:
            row = {"at": at, "level": level.name.lower(), "event": event, **shown}
            self._write(json.dumps(row, ensure_ascii=True) + "\n")
            return
        words = " ".join(f"{name}={value}" for name, value in shown.items())
        self._write(f"{at} {level.name.lower():7} {event} {words}".rstrip() + "\n")


def _safe(value: str | int) -> str | int:
    return value if isinstance(value, int) else ascii(value[:TEXT_MAX])[1:-1]


def _stderr(line: str) -> None:
    try:
        sys.stderr.write(line)
        sys.stderr.flush()
    except OSError:
        return
