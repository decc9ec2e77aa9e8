"""What commands print: data on standard output, talk on standard error, one JSON object under
`--json`."""

import json
import os
import sys
from collections.abc import Iterable

SCHEMA_VERSION = 1
EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_DEGRADED = 4
EXIT_REFUSED = 5
EXIT_TRY_AGAIN = 75


def print_json(body: dict[str, object]) -> None:
    """One object, with the schema version first."""
    print(json.dumps({"schema_version": SCHEMA_VERSION, **body}, ensure_ascii=True))


def print_table(heads: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    """Columns wide enough for what stands in them; ids are never cut."""
    lines = [tuple(safe(cell) for cell in row) for row in rows]
    widths = [
        max(len(head), *(len(line[i]) for line in lines)) if lines else len(head)
        for i, head in enumerate(heads)
    ]
    for line in (heads, *lines):
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )


def safe(value: object) -> str:
    """Text that may have come from a peer: control characters are escaped."""
    text = "-" if value is None else str(value)
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def say(text: str) -> None:
    """Talk to the person at the terminal."""
    print(text, file=sys.stderr)


def bold(text: str) -> str:
    """Emphasis on a terminal that wants it."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[1m{text}\x1b[0m"
