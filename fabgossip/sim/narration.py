"""The last of what happened before a moment, in words: what a failure is looked at with.

Decides: nothing.
Keeps: a run is the same whether it is told or not; no more lines than asked for.
Must not know: what a failure is.

- A line is one record of the trace: its number, true time, place, source and kind, and what the
  node there was given and wanted, by type and message; of a node's own words nothing.
"""

from collections import deque
from dataclasses import dataclass

from fabgossip.core.effects import Effect, Send
from fabgossip.core.events import Event, MessageReceived, TimerFired
from fabgossip.core.view import View
from fabgossip.model.moment import Now
from fabgossip.sim.host import NodeMaker, SimulatedNode
from fabgossip.sim.trace import Happened, Key, Kind


@dataclass(frozen=True, slots=True)
class Line:
    """One record, and what the node made of it."""

    number: int
    key: Key
    kind: Kind
    said: str


class Narration:
    """The last lines up to a time."""

    def __init__(self, until_ns: int, lines_max: int) -> None:
        self._until_ns = until_ns
        self._steps: list[str] = []
        """Since the last record."""
        self.lines: deque[Line] = deque(maxlen=lines_max)

    def on_record(self, number: int, key: Key, happened: Happened) -> None:
        """An event is over and in the trace."""
        if key[0] <= self._until_ns:
            self.lines.append(Line(number, key, happened[0], "; ".join(self._steps)))
        self._steps.clear()

    def told(self, make_node: NodeMaker) -> NodeMaker:
        """Makes nodes whose steps are told."""
        return lambda setup, verifier: _Told(make_node(setup, verifier), self._steps)


class _Told:
    """A node, and what it was given and wanted."""

    def __init__(self, node: SimulatedNode, steps: list[str]) -> None:
        self._node = node
        self._steps = steps

    def handle(self, event: Event, now: Now) -> list[Effect]:
        """See `Node.handle`."""
        self._steps.append(_named(event))
        effects = self._node.handle(event, now)
        self._steps[-1] = f"{_named(event)} -> {', '.join(map(_named, effects)) or 'nothing'}"
        return effects

    def check(self) -> None:
        """See `Node.check`."""
        self._node.check()

    @property
    def view(self) -> View:
        """See `Node.view`."""
        return self._node.view


def _named(what: Event | Effect) -> str:
    name = type(what).__name__
    match what:
        case MessageReceived(message=message) | Send(message=message):
            return f"{name}({type(message).__name__})"
        case TimerFired(timer=timer):
            return f"{name}({type(timer).__name__})"
        case _:
            return name
