"""Whether what must reach everybody did, in time: restrictions, and version after version.

Decides: held, violated or unproved, per checker of liveness.
Keeps: a node is judged only from the end of the heal phase on, and from when it came up; time runs
from the moment the first node had it durably.
Must not know: what a node decides, or why.

| id | after the heal phase |
|---|---|
| L3 | each revocation list, trust bundle and tombstone is durable at every node it is for |
| L4 | while the control plane is dark, nothing is taken away from local software that holds |
| L8 | no node that is up is more than three versions behind while others go on |
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from fabgossip.model.artifact import NO_ORDER, ArtifactType, Order, VerifiedManifest
from fabgossip.model.moment import UnixTime, is_past
from fabgossip.sim.authority import Issued
from fabgossip.sim.checkers import Docket
from fabgossip.sim.kept import Local
from fabgossip.sim.ledger import Ledger

BEHIND_MAX: Final = 3
_BINDING: Final = frozenset({ArtifactType.TRUST_BUNDLE, ArtifactType.REVOCATION_LIST})


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """What landing is judged by."""

    judged_ns: int
    """From when on; never, if there is no liveness phase."""
    end_ns: int
    within_ns: int
    """Two ping intervals and eight times the longest round trip by log2 of the nodes."""


@dataclass(slots=True)
class _Landing:
    """One version on its way to everybody."""

    issued: Issued
    since_ns: int
    is_binding: bool
    reached: set[int] = field(default_factory=set)


class Landed:
    """L3 and L8: it comes to everybody, and to everybody about as soon."""

    def __init__(
        self, ledger: Ledger, docket: Docket, is_up: Callable[[int], bool], given: Deadlines
    ) -> None:
        self._ledger = ledger
        self._docket = docket
        self._binding = docket.open("L3")
        self._even = docket.open("L8")
        self._is_up = is_up
        self._given = given
        self._up_since: dict[int, int] = {}
        self._held: dict[tuple[int, str], Order] = {}
        self._landings: dict[str, list[_Landing]] = {}
        """By namespace, oldest first."""

    def on_begun(self, index: int) -> None:
        """A process began."""
        self._up_since[index] = self._docket.now_ns

    def on_wiped(self, index: int) -> None:
        """Its disk is another one."""
        self._held = {key: order for key, order in self._held.items() if key[0] != index}
        for landings in self._landings.values():
            for one in landings:
                one.reached.discard(index)

    def on_durable(self, index: int, verified: VerifiedManifest, issued: Issued) -> None:
        """A head is on the disk of a node."""
        name, order = issued.manifest.namespace.text, issued.manifest.order
        landings = self._landings.setdefault(name, [])
        if not landings or landings[-1].issued.manifest.order < order:
            is_binding = (
                issued.manifest.artifact_type in _BINDING or verified.manifest.tombstone is not None
            )
            landings.append(_Landing(issued, self._docket.now_ns, is_binding))
            self._check_even(name, landings)
        if order <= self._held.get((index, name), NO_ORDER):
            return
        self._held[(index, name)] = order
        for one in landings:
            if one.issued.manifest.order <= order and index not in one.reached:
                one.reached.add(index)
                if one.is_binding:
                    self._check_late(index, one)

    def _due_ns(self, index: int, landing: _Landing) -> int:
        begun = max(
            landing.since_ns, self._given.judged_ns, self._up_since.get(index, self._given.end_ns)
        )
        return begun + self._given.within_ns

    def _check_late(self, index: int, landing: _Landing) -> None:
        self._binding.checks += self._docket.now_ns >= self._given.judged_ns
        if self._docket.now_ns > self._due_ns(index, landing):
            self._violated("L3", "late", index, landing.issued)

    def _check_even(self, name: str, landings: list[_Landing]) -> None:
        """A version came: whoever was up as long as it takes has the one three before."""
        if self._docket.now_ns < self._given.judged_ns + self._given.within_ns:
            return
        if len(landings) <= BEHIND_MAX:
            return
        owed = landings[-BEHIND_MAX - 1]
        for index in self._ledger.indices():
            if not self._is_up(index) or not self._ledger.applies(index, owed.issued):
                continue
            self._even.checks += 1
            held = self._held.get((index, name), NO_ORDER)
            is_due = self._docket.now_ns > self._due_ns(index, owed)
            if is_due and held < owed.issued.manifest.order:
                self._violated("L8", "behind", index, owed.issued)

    def is_owed(self, index: int, issued: Issued) -> bool:
        """Whether a version came so long ago that a node that is up should have it, and is the
        newest that came."""
        landings = self._landings.get(issued.manifest.namespace.text)
        if not landings or landings[-1].issued is not issued or not self._is_up(index):
            return False
        return self._docket.now_ns > self._due_ns(index, landings[-1])

    def on_end(self) -> None:
        """The run is over."""
        for landings in self._landings.values():
            for one in landings:
                if one.is_binding and one is landings[-1]:
                    self._check_missing(one)

    def _check_missing(self, landing: _Landing) -> None:
        for index in self._ledger.indices():
            is_owed = self._is_up(index) and self._ledger.applies(index, landing.issued)
            if is_owed and self._docket.now_ns > self._due_ns(index, landing):
                self._binding.checks += 1
                if index not in landing.reached:
                    self._violated("L3", "missing", index, landing.issued)

    def _violated(self, checker: str, what: str, index: int, issued: Issued) -> None:
        name = f"{issued.manifest.namespace.text} {issued.manifest.order}"
        self._docket.violated(checker, what, index, f"{self._ledger.node_id(index)}: {name}")


class Lasting:
    """L4: what was published stays where it is used, though nobody publishes."""

    def __init__(self, ledger: Ledger, docket: Docket, clock_of: Callable[[int], UnixTime]) -> None:
        self._ledger = ledger
        self._docket = docket
        self._count = docket.open("L4")
        self._clock_of = clock_of
        self._dark: set[int] = set()
        self._shown: dict[tuple[int, str], Order | None] = {}

    def on_dark(self, number: int, *, is_dark: bool) -> None:
        """A fault of the control plane began, or ended."""
        if is_dark:
            self._dark.add(number)
            self._count.checks += len(self._shown)
        else:
            self._dark.discard(number)

    def on_materialized(self, index: int, namespace: str, local: Local) -> None:
        """A namespace was switched."""
        before = self._shown.get((index, namespace))
        self._shown[(index, namespace)] = local.newest
        if not self._dark or local.newest is not None or before is None:
            return
        shown, newest = self._ledger.by_order(namespace, before), self._ledger.newest(namespace)
        is_gone = newest is None or newest.manifest.tombstone is not None
        if shown is None or is_gone or is_past(shown.manifest.expires_at, self._clock_of(index)):
            return
        detail = f"{self._ledger.node_id(index)}: {namespace} {before} taken away in the dark"
        self._docket.violated("L4", "taken away", index, detail)
