"""The range a setting may have, as part of its type: `Annotated[int, Bounds(1, 64)]`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """Least and greatest value of an integer field, both allowed."""

    low: int
    high: int
