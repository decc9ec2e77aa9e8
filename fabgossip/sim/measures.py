"""How fast and how completely publications arrived: exact numbers from facts, never samples.

Decides: nothing.
Keeps: integers of true time; a node's own belief is no fact.
Must not know: how anything arrived.

- A pair is a publication's version and a node in its audience other than the first that accepted
  it. It is measured from the moment that version was durable at the first node until the moment
  this version, or a newer one of its namespace, was the pair's local state.
- `t99_bound_ms` is the same quantile over the same pairs if news took the shortest way over the
  links open when it was accepted, between nodes that may know it, and only distance cost time.
- `t99_ratio` is `t99_ms` over `t99_bound_ms`, to a thousandth, from the times before rounding.
- `rmr` is m / (n - 1) - 1, mean over the versions: m envelopes of it sent in announcements and in
  answers to who asked for them, lost ones included, n nodes that stored it, the first included.
- `ldh` is the greatest number of hops of a first delivery; what came because it was asked for has
  none.
- A tombstone has arrived where it is durable: where nothing was applied, nothing is switched.
- `missed` counts pairs that never came to that although the node was up throughout; nodes that
  were down meanwhile are counted apart as `interrupted`.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TypeAlias

from fabgossip.model.artifact import Order, VerifiedManifest
from fabgossip.model.messages import Announce, Heads, Manifests, Message
from fabgossip.sim.authority import Issued
from fabgossip.sim.kept import Local
from fabgossip.sim.ledger import Ledger
from fabgossip.sim.places import Places

Ways: TypeAlias = dict[int, list[tuple[int, int]]]
"""By node, the nodes it has a link to, and how many nanoseconds they are away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The measures of one publication, or of all."""

    t50_ms: int | None
    t99_ms: int | None
    t_last_ms: int | None
    t99_bound_ms: int | None
    t99_ratio: float | None
    rmr: float | None
    ldh: int | None
    missed: int
    interrupted: int
    pairs: int


@dataclass(slots=True)
class _Accepted:
    """A version where it was first durable."""

    issued: Issued
    first: int
    at_ns: int
    arrived: dict[int, int] = field(default_factory=dict)
    """By node."""
    bound: dict[int, int] = field(default_factory=dict)
    """The shortest time to each node, by distance alone, in nanoseconds."""
    stored: Places = field(default_factory=Places)
    """Nodes at which the manifest is durable."""
    sent: int = 0
    """Its envelopes in announcements and answers."""
    hops: int = 0
    """Most hops of a first delivery."""
    down: set[int] = field(default_factory=set)
    """Nodes that were down at some time before it arrived."""


class Measures:
    """Listens to a run."""

    def __init__(
        self, ledger: Ledger, is_up: Callable[[int], bool], links: Callable[[], Ways]
    ) -> None:
        self._ledger = ledger
        self._is_up = is_up
        self._links = links
        self._accepted: dict[tuple[str, Order], _Accepted] = {}
        self._lines: dict[str, dict[Order, _Accepted]] = {}
        """The same by namespace."""
        self._names: dict[str, str] = {}
        self._delivered: defaultdict[bytes, Places] = defaultdict(Places)
        """By prefix."""
        self._unentitled: set[tuple[int, bytes]] = set()
        self.refused: list[str] = []

    def on_named(self, namespace: str, name: str) -> None:
        """A namespace belongs to a publication of the scenario."""
        self._names[namespace] = name

    def on_refused(self, issued: Issued, outcome: str) -> None:
        """The first node did not take an artifact."""
        self.refused.append(f"{issued.manifest.namespace.text}: {outcome}")

    def on_durable_manifest(self, index: int, verified: VerifiedManifest, now_ns: int) -> None:
        """A manifest is durable at a node."""
        manifest = verified.manifest
        key = (manifest.namespace.text, manifest.order)
        issued = self._ledger.by_order(*key)
        if issued is None or manifest.base is not None:
            return
        if key in self._accepted:
            self._accepted[key].stored.add(index)
            if manifest.tombstone is not None:
                self._accepted[key].arrived.setdefault(index, now_ns)
            return
        accepted = _Accepted(issued, index, now_ns)
        accepted.stored.add(index)
        if manifest.namespace.text in self._names:
            accepted.bound = self._shortest(index, issued)
        accepted.down = {one for one in self._ledger.indices() if not self._is_up(one)}
        self._accepted[key] = accepted
        self._lines.setdefault(key[0], {})[key[1]] = accepted

    def _shortest(self, first: int, issued: Issued) -> dict[int, int]:
        """Dijkstra over the links between nodes that may know an artifact."""
        ways, reached = self._links(), dict[int, int]()
        heap = [(0, first)]
        while heap:
            time_ns, index = heappop(heap)
            if index in reached:
                continue
            reached[index] = time_ns
            for other, way_ns in ways.get(index, ()):
                if other not in reached and self._ledger.may_know(other, issued):
                    heappush(heap, (time_ns + way_ns, other))
        return reached

    def on_sent(self, message: Message) -> None:
        """A message left a node."""
        match message:
            case Announce():
                envelopes = tuple(one.envelope for one in message.entries)
            case Manifests():
                envelopes = message.envelopes
            case _:
                return
        for envelope in envelopes:
            issued = self._ledger.by_envelope(envelope)
            if issued is not None:
                key = (issued.manifest.namespace.text, issued.manifest.order)
                if key in self._accepted:
                    self._accepted[key].sent += 1

    def on_materialized(self, index: int, namespace: str, local: Local, now_ns: int) -> None:
        """A namespace was switched."""
        if local.newest is None:
            return
        for order, accepted in self._lines.get(namespace, {}).items():
            if order <= local.newest:
                accepted.arrived.setdefault(index, now_ns)

    def on_crashed(self, index: int) -> None:
        """A node went down, or is of the fabric no more: whatever it had not yet does not count
        against it."""
        for accepted in self._accepted.values():
            if index not in accepted.arrived:
                accepted.down.add(index)

    def on_message(self, index: int, message: Message) -> None:
        """A message arrived."""
        match message:
            case Announce():
                envelopes = tuple(one.envelope for one in message.entries)
                self._on_hops(index, message)
            case Heads() | Manifests():
                envelopes = message.envelopes
            case _:
                return
        for envelope in envelopes:
            issued = self._ledger.by_envelope(envelope)
            if issued is not None:
                self._on_delivered(index, issued)

    def _on_hops(self, index: int, message: Announce) -> None:
        for one in message.entries:
            issued = self._ledger.by_envelope(one.envelope)
            if issued is None or index in self._delivered[issued.prefix]:
                continue
            key = (issued.manifest.namespace.text, issued.manifest.order)
            if key in self._accepted:
                row = self._accepted[key]
                row.hops = max(row.hops, one.hops)

    def on_stored(self, index: int, issued: tuple[Issued, ...]) -> None:
        """A whole content arrived: it counts for whichever artifact entitles to it."""
        entitled = [one for one in issued if self._ledger.might_know(index, one)]
        for one in entitled or issued:
            self._on_delivered(index, one)

    def _on_delivered(self, index: int, issued: Issued) -> None:
        self._delivered[issued.prefix].add(index)
        if not self._ledger.might_know(index, issued):
            self._unentitled.add((index, issued.prefix))

    @property
    def deliveries(self) -> int:
        """Artifacts, by envelope or content, that came to nodes: each once per node."""
        return sum(map(len, self._delivered.values()))

    @property
    def unentitled_deliveries(self) -> int:
        """Those the node may not know of."""
        return len(self._unentitled)

    def by_publication(self) -> dict[str, Spread]:
        """The spread of each publication of the scenario, in order of name."""
        names = sorted(set(self._names.values()))
        return {name: self._spread(self._of(name)) for name in names}

    def over_all(self) -> Spread:
        """The spread over all publications of the scenario."""
        return self._spread([one for name in self._names.values() for one in self._of(name)])

    def firsts(self, name: str) -> list[int]:
        """The node that accepted each version of a publication first."""
        return [one.first for one in self._of(name)]

    def _of(self, name: str) -> list[_Accepted]:
        return [
            accepted
            for (namespace, _), accepted in self._accepted.items()
            if self._names.get(namespace) == name
        ]

    def _spread(self, rows: list[_Accepted]) -> Spread:
        times: list[int] = []
        bounds: list[int] = []
        missed = interrupted = 0
        for row in rows:
            for index in self._ledger.indices():
                if index == row.first or not self._ledger.applies(index, row.issued):
                    continue
                if index in row.down:
                    interrupted += 1
                elif index in row.arrived:
                    times.append(row.arrived[index] - row.at_ns)
                    if index in row.bound:
                        bounds.append(row.bound[index])
                else:
                    missed += 1
        times.sort()
        bounds.sort()
        return Spread(
            t50_ms=_quantile_ms(times, 50),
            t99_ms=_quantile_ms(times, 99),
            t_last_ms=_quantile_ms(times, 100),
            t99_bound_ms=_quantile_ms(bounds, 99),
            t99_ratio=_ratio(_quantile(times, 99), _quantile(bounds, 99)),
            rmr=_rmr(rows),
            ldh=max((row.hops for row in rows), default=0) or None,
            missed=missed,
            interrupted=interrupted,
            pairs=len(times) + missed,
        )

    def behind(self, local_of: Callable[[int, str], Local | None]) -> list[str]:
        """L1: the nodes that are up and lack the newest accepted version of what they are entitled
        to."""
        newest: dict[str, _Accepted] = {}
        for (namespace, order), accepted in self._accepted.items():
            if namespace not in newest or newest[namespace].issued.manifest.order < order:
                newest[namespace] = accepted
        lacking = []
        for namespace in sorted(newest):
            issued = newest[namespace].issued
            for index in self._ledger.indices():
                if not self._is_up(index) or not self._ledger.applies(index, issued):
                    continue
                local = local_of(index, namespace)
                shown = None if local is None else local.newest
                if issued.manifest.tombstone is not None:
                    is_behind = shown is not None
                else:
                    is_behind = shown is None or shown < issued.manifest.order
                if is_behind:
                    lacking.append(f"{self._ledger.node_id(index)} {namespace}")
        return lacking


def _rmr(rows: list[_Accepted]) -> float | None:
    """Mean over versions that reached anybody, to a thousandth."""
    ratios = [
        row.sent * 1_000 // (len(row.stored) - 1) - 1_000 for row in rows if len(row.stored) > 1
    ]
    return sum(ratios) // len(ratios) / 1_000 if ratios else None


def _ratio(time_ns: int | None, bound_ns: int | None) -> float | None:
    """To a thousandth, up; None where distance costs nothing."""
    if time_ns is None or not bound_ns:
        return None
    return -(-time_ns * 1_000 // bound_ns) / 1_000


def _quantile_ms(ordered: list[int], percent: int) -> int | None:
    """The nearest-rank quantile, rounded to a millisecond."""
    found = _quantile(ordered, percent)
    return None if found is None else (found + 500_000) // 1_000_000


def _quantile(ordered: list[int], percent: int) -> int | None:
    """The nearest-rank quantile."""
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else None
