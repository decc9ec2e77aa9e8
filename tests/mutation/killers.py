"""Which test notices when a check is missing: the table the command writes."""

import json
from pathlib import Path
from typing import Final

KILLERS: Final = Path(__file__).with_name("killers.json")


def known_killers() -> dict[str, str]:
    """Check to first red test, as it was last written."""
    return dict(json.loads(KILLERS.read_text())) if KILLERS.exists() else {}


def wording(rows: dict[str, str]) -> str:
    """The table as it is kept."""
    return json.dumps(rows, indent=2) + "\n"
