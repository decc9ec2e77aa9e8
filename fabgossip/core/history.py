"""Increments kept beside the head of a namespace, and the chains they make.

Decides: which increments lead from one content to another; which are worth keeping.
Keeps: the order of steps strictly rises along a chain, so that no chain has an end in itself.
Must not know: who signed an increment, where its content comes from.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from fabgossip.model.artifact import Base, VerifiedManifest
from fabgossip.model.ids import ContentHash
from fabgossip.model.messages import CHAIN_STEPS_MAX

KEPT_MAX: Final = CHAIN_STEPS_MAX
"""Of one namespace: a longer chain is used by nobody."""
CHAIN_SHARE: Final = 2
"""A chain may cost at most this part of its snapshot, the half; beyond, the snapshot itself costs
little more, and one request."""


@dataclass(slots=True)
class Kept:
    """An increment, and whether its content is here."""

    verified: VerifiedManifest
    is_held: bool = False

    @property
    def base(self) -> Base:
        """What it starts from and what it makes."""
        return base_of(self.verified)


def base_of(verified: VerifiedManifest) -> Base:
    """What an increment starts from and what it makes."""
    base = verified.manifest.base
    assert base is not None, "exactly an increment has a base"
    return base


def chain_between(
    kept: Iterable[Kept], base: ContentHash, result: ContentHash
) -> tuple[Kept, ...] | None:
    """The increments that lead from one content to another, in the order they are applied; None if
    these do not. `kept` in falling order of version. Cost: O(kept)."""
    steps: list[Kept] = []
    for one in _steps_to(kept, result):
        steps.append(one)
        if one.base.content_hash == base:
            return tuple(reversed(steps))
    return None


def worth_keeping(kept: Iterable[Kept], result: ContentHash, result_bytes: int) -> tuple[Kept, ...]:
    """Those that lead to a content, as far back as a chain of them may be used. `kept`, and what is
    given, in falling order of version."""
    steps: list[Kept] = []
    left = result_bytes // CHAIN_SHARE
    for one in _steps_to(kept, result):
        left -= one.verified.manifest.content_size
        if left < 0 or len(steps) == KEPT_MAX:
            break
        steps.append(one)
    return tuple(steps)


def _steps_to(kept: Iterable[Kept], result: ContentHash) -> Iterator[Kept]:
    for one in kept:
        if one.base.result_hash == result:
            yield one
            result = one.base.content_hash
