"""Whether consumers may read now what they wait for.

Decides: nothing that the gate and the local state do not say.
Keeps: what is asked here is no question of the gate: nothing is on record, and nobody may act on it
later; who acts asks the gate.
Must not know: who waits, for how long.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fabgossip.core.activation import Activation
from fabgossip.core.catalog import Head
from fabgossip.core.machines import Machines
from fabgossip.core.permits import GONE_FOR_ALL, Permits
from fabgossip.model.artifact import Order, VerifiedManifest
from fabgossip.model.moment import Now, UnixTime

READ: Final = "read-config"
"""What whoever waits for a usable version wants to do, as the gate calls it."""


class Arrival(StrEnum):
    """What became of something that is waited for."""

    REACHED = "reached"
    NOT_YET = "not_yet"
    GONE = "gone"
    """Withdrawn or revoked: only a higher version ends that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """Where a namespace stands for who waits for it."""

    namespace: str
    arrival: Arrival
    order: Order | None
    """Of what consumers read now."""
    reason: str
    refresh_by: UnixTime | None = None
    """Of what consumers read now: past it, that is stale."""


class Awaiting:
    """Looks at namespaces as who waits does."""

    __slots__ = ("_activation", "_m", "_permits")

    def __init__(self, machines: Machines, activation: Activation) -> None:
        self._m = machines
        self._activation = activation
        self._permits = Permits(machines.beliefs)

    def of(
        self, namespace: str, at_least: Order | None, now: Now, *, must_be_usable: bool
    ) -> Awaited:
        """Whether consumers read that version or a later one, and may, if they must."""
        head = self._m.catalog.find(namespace)
        if head is None or not self._permits.is_ours(head):
            return self._without(namespace, head)
        shown = self._activation.shown(namespace)
        if shown is None:
            reason = f"{head.manifest.order} is {head.state.value}, and nothing before it is in use"
            return _not_yet(namespace, None, reason)
        order = shown.manifest.order
        if at_least is not None and order < at_least:
            return _not_yet(namespace, shown, f"{order} is in use, {at_least} is waited for")
        if must_be_usable:
            is_held_back = self._m.holdbacks.find(namespace) is not None
            permit = self._permits.decide(
                READ, head, shown, now, names_artifact=True, is_held_back=is_held_back
            )
            if not permit.allowed:
                reason = f"{order} is in use, and not usable: {permit.reason}"
                return _not_yet(namespace, shown, reason)
        return Awaited(
            namespace=namespace,
            arrival=Arrival.REACHED,
            order=order,
            reason=f"{order} is in use",
            refresh_by=shown.manifest.refresh_by,
        )

    def _without(self, namespace: str, head: Head | None) -> Awaited:
        """What is absent and what is not for this node get the same words."""
        if head is not None and self._permits.is_meant(head) and head.state in GONE_FOR_ALL:
            reason = f"{head.manifest.order} is {head.state.value}: a higher version is needed"
            return Awaited(namespace=namespace, arrival=Arrival.GONE, order=None, reason=reason)
        return _not_yet(namespace, None, "no artifact that this node uses has come here")

    def of_all(self, now: Now) -> tuple[Awaited, ...]:
        """Every namespace this node is to use, whether or not it may. Cost: O(heads)."""
        return tuple(
            self.of(head.manifest.namespace.text, None, now, must_be_usable=True)
            for head in self._m.catalog.heads()
            if self._permits.is_ours(head)
        )


def _not_yet(namespace: str, shown: VerifiedManifest | None, reason: str) -> Awaited:
    return Awaited(
        namespace=namespace,
        arrival=Arrival.NOT_YET,
        order=None if shown is None else shown.manifest.order,
        reason=reason,
        refresh_by=None if shown is None else shown.manifest.refresh_by,
    )
