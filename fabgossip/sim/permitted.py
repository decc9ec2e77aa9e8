"""Whether a node does what the condition it is in forbids, judged by its disk and its kernel.

Decides: held, violated or unproved.
Keeps: the condition is worked out from what is durable and from what the kernel said, never from
what the node believes; it binds from a second after it began, for what was begun before may land.
Must not know: what a node decides, or why.

| id | an honest node never ... |
|---|---|
| S22 | serves with amnesia or revoked, applies then or by a doubtful clock |
"""

from enum import Enum, auto
from typing import Final

from fabgossip.core.events import Started
from fabgossip.model.artifact import Order
from fabgossip.model.authority import RevokedKind
from fabgossip.model.ids import ClusterId, ContentHash
from fabgossip.model.persistence import Change, PutClockDoubt, PutMemory, PutRevoked
from fabgossip.sim.checkers import Docket
from fabgossip.sim.kept import Kept, Local
from fabgossip.sim.ledger import Ledger
from fabgossip.sim.scenario import CLUSTER
from fabgossip.sim.world import NS_PER_S
from fabgossip.trust.revocation import node_token

BINDS_NS: Final = NS_PER_S
"""From the beginning of a condition until it binds (*start*)."""


class Condition(Enum):
    """What a node can be in, as far as its disk and its kernel tell."""

    AMNESIA = auto()
    REVOKED = auto()
    CLOCK_DOUBTED = auto()
    CLOCK_LOOSE = auto()
    """The kernel keeps it in step with nothing."""


_FORBIDS: Final = {
    "serve": frozenset({Condition.AMNESIA, Condition.REVOKED}),
    "apply": frozenset(Condition),
}


class Permitted:
    """S22: what is forbidden is not done."""

    def __init__(self, ledger: Ledger, docket: Docket) -> None:
        self._ledger = ledger
        self._docket = docket
        self._count = docket.open("S22")
        self._since: dict[tuple[int, Condition], int] = {}
        self._tokens = {
            index: node_token(ClusterId(CLUSTER), ledger.node_id(index))
            for index in ledger.indices()
        }
        self._shown: dict[tuple[int, str], Order | None] = {}
        for index in ledger.indices():
            self._note(index, Condition.AMNESIA, is_on=True)  # a new disk remembers nothing

    def _note(self, index: int, condition: Condition, *, is_on: bool) -> None:
        if is_on:
            self._since.setdefault((index, condition), self._docket.now_ns)
        else:
            self._since.pop((index, condition), None)

    def on_committed(self, index: int, changes: tuple[Change, ...]) -> None:
        """A transaction is durable."""
        for change in changes:
            match change:
                case PutMemory():
                    self._note(index, Condition.AMNESIA, is_on=not change.is_whole)
                case PutClockDoubt():
                    self._note(index, Condition.CLOCK_DOUBTED, is_on=change.is_doubted)
                case PutRevoked():
                    if self._names(index, change.entries):
                        self._note(index, Condition.REVOKED, is_on=True)
                case _:
                    continue

    def on_asked(self, index: int, changes: tuple[Change, ...]) -> None:
        """A process wants this to be durable: a condition ends with the wish, for whoever crashes
        before finds itself in it again."""
        for change in changes:
            match change:
                case PutMemory() if change.is_whole:
                    self._note(index, Condition.AMNESIA, is_on=False)
                case PutClockDoubt() if not change.is_doubted:
                    self._note(index, Condition.CLOCK_DOUBTED, is_on=False)
                case _:
                    continue

    def on_started(self, index: int, started: Started) -> None:
        """A process found this on its disk."""
        memory = started.memory
        self._note(index, Condition.AMNESIA, is_on=not memory.is_whole)
        self._note(index, Condition.CLOCK_DOUBTED, is_on=memory.is_clock_doubted)

    def _names(self, index: int, entries: tuple[tuple[int, bytes], ...]) -> bool:
        return (RevokedKind.NODE.value, self._tokens[index]) in entries

    def on_fell_back(self, index: int, kept: Kept) -> None:
        """Its disk is that of an earlier moment."""
        self.on_wiped(index)
        self._note(index, Condition.AMNESIA, is_on=not kept.is_whole)
        self._note(index, Condition.CLOCK_DOUBTED, is_on=kept.is_clock_doubted)
        is_revoked = self._names(index, tuple(kept.revoked))
        self._note(index, Condition.REVOKED, is_on=is_revoked)
        for name, local in kept.local.items():
            self._shown[(index, name)] = local.newest

    def on_wiped(self, index: int) -> None:
        """Its disk is another one."""
        for condition in (Condition.REVOKED, Condition.CLOCK_DOUBTED):
            self._note(index, condition, is_on=False)
        self._note(index, Condition.AMNESIA, is_on=False)
        self._note(index, Condition.AMNESIA, is_on=True)
        self._shown = {key: order for key, order in self._shown.items() if key[0] != index}

    def on_clock_word(self, index: int, *, is_synchronized: bool) -> None:
        """Its kernel said something of its clock."""
        self._note(index, Condition.CLOCK_LOOSE, is_on=not is_synchronized)

    def on_content_sent(self, sender: int, content_hash: ContentHash) -> None:
        """Bytes of a content left."""
        self._judge("serve", sender, content_hash.hex())

    def on_materialized(self, index: int, namespace: str, local: Local) -> None:
        """A namespace was switched; what takes away, or shows what was shown, is always allowed."""
        before = self._shown.get((index, namespace))
        self._shown[(index, namespace)] = local.newest
        if local.newest is not None and local.newest != before:
            self._judge("apply", index, f"{namespace} {local.newest}")

    def _judge(self, action: str, index: int, name: str) -> None:
        self._count.checks += 1
        for condition in Condition:
            since = self._since.get((index, condition))
            is_bound = since is not None and self._docket.now_ns - since > BINDS_NS
            if is_bound and condition in _FORBIDS[action]:
                told = condition.name.lower()
                detail = f"{self._ledger.node_id(index)}: {action} {name}, {told}"
                self._docket.violated("S22", f"{action}/{told}", index, detail)
