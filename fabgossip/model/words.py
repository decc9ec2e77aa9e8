"""Enumerations whose members are looked up, for every frame or every artifact.

Decides: nothing.
Keeps: a member hashes as the value it is, by the interpreter itself. The hash of `Enum` is a
function in Python, and every look-up asks for it.
Must not know: what is enumerated.
"""

from enum import IntEnum, StrEnum


class Word(StrEnum):
    """A text."""

    __hash__ = str.__hash__


class Number(IntEnum):
    """A number."""

    __hash__ = int.__hash__
