"""Which candidate to take next: the one that heals the most open rules.

Decides: whom to dial, whom to ask, and for what.
Keeps: the cost follows the neighbours, not the directory: of a large audience some are drawn; round
trips play no part, or everybody would crowd to the near; recent failures do.
Must not know: how a dial goes, what a link costs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from fabgossip.core.config import NeighborsConfig
from fabgossip.core.directories import Directories
from fabgossip.core.rules import OpenRule, Present, Rule, open_rules
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import NeighborPurpose

DRAWN: Final = 32
"""Members drawn for each open rule where there are more (*start*)."""


@dataclass(frozen=True, slots=True)
class Pick:
    """Somebody to take, and what for."""

    node_id: NodeId
    purpose: NeighborPurpose


@dataclass(frozen=True, slots=True)
class Scene:
    """What a choice rests on."""

    present: tuple[Present, ...]
    far: NodeId | None
    may_take: Callable[[NodeId], bool]
    has_failed: Callable[[NodeId], bool]


class Choice:
    """Picks by need, ties by the machine's own chance."""

    __slots__ = ("_config", "_directories", "_rng")

    def __init__(self, config: NeighborsConfig, directories: Directories, rng: Random) -> None:
        self._config = config
        self._directories = directories
        self._rng = rng

    def picks(self, scene: Scene, count: int, among: Sequence[NodeId] | None = None) -> list[Pick]:
        """At most so many, each counted before the next is chosen; of `among` alone if given."""
        present, picked = list(scene.present), list[Pick]()
        while len(picked) < count:
            rules = open_rules(self._directories.seats, present, scene.far, self._config)
            pick = self._best(rules, scene, {one.node_id for one in picked}, among)
            if pick is None:
                break
            picked.append(pick)
            present.append(
                Present(pick.node_id, self._directories.zone_of(pick.node_id), is_dialed=True)
            )
        return picked

    def _best(
        self,
        rules: list[OpenRule],
        scene: Scene,
        taken: set[NodeId],
        among: Sequence[NodeId] | None,
    ) -> Pick | None:
        best: tuple[int, bool, bool, int] | None = None
        found: Pick | None = None
        for node_id in self._candidates(rules, among):
            if node_id in taken or not scene.may_take(node_id):
                continue
            zone = self._directories.zone_of(node_id)
            healed = [one.rule for one in rules if one.heals(node_id, zone)]
            if not healed:
                continue
            is_upward = Rule.UPWARD in healed
            key = (
                len(healed), is_upward, not scene.has_failed(node_id), self._rng.getrandbits(32),
            )  # fmt: skip
            if best is None or key > best:
                best, found = key, Pick(node_id, _purpose(healed))
        return found

    def _candidates(
        self, rules: list[OpenRule], among: Sequence[NodeId] | None
    ) -> Sequence[NodeId]:
        if among is not None:
            return [one for one in among if self._directories.shared(one)]
        found: dict[NodeId, None] = {}
        for rule in rules:
            members, count = rule.candidates()
            found.update(dict.fromkeys(self.drawn(members, count)))
        return tuple(found)

    def drawn(self, members: Sequence[NodeId], count: int) -> Sequence[NodeId]:
        """Of the first `count` members all, or some where there are many."""
        if count <= DRAWN:
            return members[:count]
        return [members[self._rng.randrange(count)] for _ in range(DRAWN)]


def _purpose(healed: list[Rule]) -> NeighborPurpose:
    if Rule.THIN in healed:
        return NeighborPurpose.THIN
    if Rule.UPWARD in healed:
        return NeighborPurpose.UPWARD
    return NeighborPurpose.FAR if healed == [Rule.FAR] else NeighborPurpose.QUOTA
