"""All modules with checkers: each opens with the table of its own.

Decides: nothing.
Keeps: whoever lists checkers lists these.
Must not know: what a checker judges.
"""

from types import ModuleType
from typing import Final

from fabgossip.sim import (
    anchored,
    authentic,
    builds,
    checkers,
    frugal,
    intact,
    landing,
    liveness,
    permitted,
    replicated,
    reporting,
    restrictions,
    scoped,
    staying,
)

JUDGES: Final[tuple[ModuleType, ...]] = (
    checkers,
    anchored,
    authentic,
    restrictions,
    intact,
    permitted,
    scoped,
    staying,
    frugal,
    builds,
    reporting,
    liveness,
    landing,
    replicated,
)
