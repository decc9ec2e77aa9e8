"""How long a packet takes from one node to another.

Decides: the rule that holds between two places, and one packet's delay by the path's own stream.
Keeps: one draw per packet; integers only; loss is delay, as over TCP.
Must not know: connections, messages.
"""

from dataclasses import dataclass
from typing import Final

from fabgossip.sim.quantities import PPM
from fabgossip.sim.streams import Stream, Streams
from fabgossip.sim.world import NS_PER_S, PLACE_BITS

JITTERS: Final = ("none", "uniform", "long_tail")
RETRY_NS: Final = 200_000_000
"""First retransmission of a lost packet, doubling (*start*)."""
RETRIES_MAX: Final = 8
"""Lost this often in a row, the connection is reset."""
PATIENCE_NS: Final = 10 * NS_PER_S
"""So long a kernel waits for a word about what it sent: the daemon's limit."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node stands."""

    region: str
    zone: str
    rack: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRule:
    """What holds between two places."""

    within: str
    between: tuple[str, str]
    rtt_ns: int
    rtt_spread_ns: int
    """A pair's own round trip is up to this much longer, and stays so."""
    jitter: str
    jitter_ns: int
    loss_ppm: int
    rate_bps: int
    """0: no limit."""

    def rank(self, one: Place, other: Place) -> int:
        """How specific this rule is for two places; 0 where it does not hold."""
        if self.within:
            inside = {
                "rack": one == other,
                "zone": (one.region, one.zone) == (other.region, other.zone),
                "region": one.region == other.region,
            }
            return (1 + ["region", "zone", "rack"].index(self.within)) * 10 * inside[self.within]
        first, second = self.between
        if one.region == other.region and first != second:
            return 0
        pairs = ((first, second), (second, first))
        ranks = [
            1 + (left != "*") + (right != "*")
            for left, right in pairs
            if left in ("*", one.region) and right in ("*", other.region)
        ]
        return max(ranks, default=0)


class Paths:
    """All directed paths between the nodes of a run."""

    __slots__ = (
        "_places",
        "_rules",
        "_rules_by_places",
        "_streams",
        "_streams_by_path",
        "_ways",
    )

    def __init__(
        self, places: dict[int, Place], rules: tuple[LinkRule, ...], streams: Streams
    ) -> None:
        self._places = places
        self._rules = rules
        self._rules_by_places: dict[tuple[Place, Place], LinkRule | None] = {}
        self._ways: dict[int, tuple[LinkRule, int]] = {}
        self._streams = streams
        self._streams_by_path: dict[tuple[int, int], Stream] = {}

    def find_rule(self, source: int, destination: int) -> LinkRule | None:
        """The most specific rule between two nodes, None if the scenario has none."""
        key = (self._places[source], self._places[destination])
        if key not in self._rules_by_places:
            ranked = [(rule.rank(*key), -number) for number, rule in enumerate(self._rules)]
            best = max(ranked, default=(0, 0))
            self._rules_by_places[key] = self._rules[-best[1]] if best[0] else None
        return self._rules_by_places[key]

    def rule(self, source: int, destination: int) -> LinkRule:
        """The rule between two nodes; the run has checked that there is one."""
        return self._way(source, destination)[0]

    def base_ns(self, source: int, destination: int) -> int:
        """The way of a packet that nothing delays: half the round trip of the pair."""
        return self._way(source, destination)[1]

    def _way(self, source: int, destination: int) -> tuple[LinkRule, int]:
        """Rule and base of a path, worked out once: asked for by every packet."""
        key = source << PLACE_BITS | destination
        way = self._ways.get(key)
        if way is None:
            rule = self.find_rule(source, destination)
            assert rule is not None
            way = self._ways[key] = (rule, self._base_ns(rule, source, destination))
        return way

    def _base_ns(self, rule: LinkRule, source: int, destination: int) -> int:
        base = rule.rtt_ns // 2
        if rule.rtt_spread_ns:
            low, high = sorted((source, destination))
            draw = self._streams.number(f"pair/{low}>{high}")
            base += (draw * rule.rtt_spread_ns) >> 65
        return base

    def delay_ns(self, source: int, destination: int, more_loss_ppm: int = 0) -> int | None:
        """One packet's way, retransmissions included; None if it never arrives: it was lost too
        often, or for longer than a kernel waits. A fault may lose more packets than the rule."""
        rule, base = self._way(source, destination)
        loss_ppm = min(PPM, rule.loss_ppm + more_loss_ppm)
        if not rule.jitter_ns and not loss_ppm:
            return base
        stream = self._stream(source, destination)
        waited, retry = 0, RETRY_NS
        for _ in range(RETRIES_MAX):
            draw = stream.draw()
            if ((draw >> 40) * PPM) >> 24 >= loss_ppm:
                return base + waited + _jitter_ns(rule, draw & 0xFFFFFFFFFF)
            waited += retry
            retry *= 2
            if waited > PATIENCE_NS:
                break
        return None

    def _stream(self, source: int, destination: int) -> Stream:
        key = (source, destination)
        stream = self._streams_by_path.get(key)
        if stream is None:
            stream = self._streams.of(f"link/{source}>{destination}")
            self._streams_by_path[key] = stream
        return stream


def _jitter_ns(rule: LinkRule, draw: int) -> int:
    """A delay of 0 to `jitter_ns`; with a long tail one in 64 is up to 8, one in 1,024 up to 32
    times that."""
    scale = rule.jitter_ns
    if rule.jitter == "none":
        return 0
    if rule.jitter == "long_tail":
        tail = draw & 1_023
        if tail == 0:
            scale *= 32
        elif tail < 17:
            scale *= 8
    return ((draw >> 10) * scale) >> 30
