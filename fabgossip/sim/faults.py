"""The fault plan: every fault of a run, worked out before its first event.

Decides: whom a nemesis hits, when and for how long, by the streams of the plan.
Keeps: flat rows in time order, each frozen; one more nemesis leaves every other row equal.
Must not know: how a fault is carried out, what it does to a node.

- A nemesis is a kind of fault as the scenario names it; a fault is one planned occurrence of it.
- When the heal phase begins every fault is undone, but for `kill`, `rot` and `bit_rot`.
"""

from dataclasses import dataclass, replace
from typing import Final

from fabgossip.sim.fault_kinds import CLOCK_KINDS, DISK_KINDS, LINK_KINDS, PROCESS_KINDS
from fabgossip.sim.partitions import SHAPES, Shape, pieces_of
from fabgossip.sim.quantities import PPM
from fabgossip.sim.streams import Stream, Streams

CUTTING: Final = frozenset(
    {"cut", "partition", "isolate", "region_cut", *SHAPES} - {"swizzle_clog"}
)
"""No packet passes between the targets and the others."""
KINDS: Final[dict[str, tuple[str, frozenset[str]]]] = {
    "cut": ("no packet passes between two sides named by `between`", frozenset({"direction"})),
    "partition": ("the targets and all others are cut off", frozenset({"direction"})),
    "isolate": ("each target is cut off from everybody", frozenset({"direction"})),
    "region_cut": ("the regions of the targets are cut off", frozenset({"direction"})),
    "flap": ("the targets are cut off again and again", frozenset({"direction", "up", "down"})),
    "clog": ("packets wait until the end; no kernel gives up", frozenset({"direction"})),
    "latency": ("each packet of the targets takes longer", frozenset({"add"})),
    "loss": ("packets of the targets are lost, hence late", frozenset({"p"})),
    "reset": ("all connections of the targets are reset", frozenset()),
    "half_open": ("the targets lose all connections; the other ends do not learn", frozenset()),
    "slow_reader": ("the targets read no faster than a rate", frozenset({"rate_kbit"})),
    "crash": ("processes end at once and start again at the end", frozenset({"disk"})),
    "kill": ("machines lose their power, for good", frozenset()),
    "rot": ("contents kept in files vanish from the targets, found when one is read", frozenset()),
    "disk_full": ("others fill the disks of the targets until the end", frozenset()),
    "disk_error": ("every write of the targets fails until the end", frozenset()),
    "pause": ("processes stand still; their kernels do not", frozenset()),
    "mass_restart": ("all end at once and start again within a while", frozenset({"within"})),
    "wall_step": ("wall clocks are off until the end", frozenset({"by"})),
    "control_plane_dark": ("nothing is published or renewed", frozenset()),
    **SHAPES,
    **LINK_KINDS,
    **PROCESS_KINDS,
    **DISK_KINDS,
    **CLOCK_KINDS,
}
"""Each kind: what it does, and its parameters."""
FAULTS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What a nemesis is given beside its targets."""

    direction: str = "both"
    disk: str = "keep"
    add_ns: int = 0
    p_ppm: int = 0
    up_ns: int = 0
    down_ns: int = 0
    within_ns: int = 0
    rate_bps: int = 0
    by_s: int = 0
    offset_s: int = 0
    ppm: int = 0
    op: str = ""
    point: str = ""
    factor: int = 1
    count: int = 0
    batch: int = 0
    gap_ns: int = 0
    lag_ns: int = 0
    age_ns: int = 0
    quota_bytes: int = 0
    passes_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Nemesis:
    """A kind of fault as the scenario plans it; nothing is drawn yet."""

    name: str
    kind: str
    at_ns: tuple[int, ...]
    lasts_ns: tuple[int, int]
    """Least and greatest."""
    candidates: tuple[int, ...]
    pick: str
    domains: dict[int, str]
    """Region of each node."""
    others: frozenset[int] | None
    """The other side; None: everybody who is no target."""
    parameters: Parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One occurrence: a row of the plan."""

    number: int
    nemesis: str
    kind: str
    on_ns: int
    off_ns: int
    targets: tuple[int, ...]
    others: frozenset[int]
    parameters: Parameters


def expand(
    nemeses: tuple[Nemesis, ...], streams: Streams, heal_ns: int, swarm_ppm: int
) -> tuple[Fault, ...]:
    """The plan of a run, in time order."""
    rows: list[Fault] = []
    for nemesis in nemeses:
        chance = streams.of(f"plan/nemesis/{nemesis.name}")
        if chance.below(PPM) >= swarm_ppm:
            continue
        for at_ns in nemesis.at_ns:
            rows += _faults(nemesis, at_ns, heal_ns, chance)
    assert len(rows) <= FAULTS_MAX, "what may come to more is refused when it is read"
    rows.sort(key=lambda one: (one.on_ns, one.off_ns, one.nemesis, one.targets))
    return tuple(_numbered(number, row) for number, row in enumerate(rows, 1))


def faults_most(nemesis: Nemesis, heal_ns: int) -> int:
    """How many rows of the plan a nemesis comes to at most, whatever is drawn."""
    match nemesis.kind:
        case "flap":
            period = max(1, nemesis.parameters.down_ns + nemesis.parameters.up_ns)
            lasts = (min(nemesis.lasts_ns[1], max(0, heal_ns - at)) for at in nemesis.at_ns)
            return sum(-(-each // period) for each in lasts)
        case "isolate":
            return len(nemesis.at_ns) * _most_picked(nemesis)
        case _:
            return len(nemesis.at_ns)


def _numbered(number: int, row: Fault) -> Fault:
    return Fault(
        number=number,
        nemesis=row.nemesis,
        kind=row.kind,
        on_ns=row.on_ns,
        off_ns=row.off_ns,
        targets=row.targets,
        others=row.others,
        parameters=row.parameters,
    )


def _faults(nemesis: Nemesis, at_ns: int, heal_ns: int, chance: Stream) -> list[Fault]:
    least, most = nemesis.lasts_ns
    lasts = least + chance.below(most - least + 1)
    targets = _picked(nemesis, chance)
    if nemesis.kind == "region_cut":
        regions = {nemesis.domains[one] for one in targets}
        targets = tuple(one for one, region in nemesis.domains.items() if region in regions)
    times = [(at_ns, min(at_ns + lasts, heal_ns))]
    if nemesis.kind == "flap":
        times = _flaps(nemesis.parameters, *times[0])
    everybody = frozenset(nemesis.domains)
    if nemesis.kind in SHAPES:
        return _shaped(nemesis, times[0], targets, chance)
    sides = [(one,) for one in targets] if nemesis.kind == "isolate" else [targets]
    return [
        Fault(
            number=0,
            nemesis=nemesis.name,
            kind="cut" if nemesis.kind in CUTTING or nemesis.kind == "flap" else nemesis.kind,
            on_ns=on_ns,
            off_ns=off_ns,
            targets=side,
            others=everybody - set(side) if nemesis.others is None else nemesis.others,
            parameters=nemesis.parameters,
        )
        for on_ns, off_ns in times
        for side in sides
    ]


def _shaped(
    nemesis: Nemesis, times: tuple[int, int], targets: tuple[int, ...], chance: Stream
) -> list[Fault]:
    shape = Shape(
        kind=nemesis.kind,
        on_ns=times[0],
        off_ns=times[1],
        targets=targets,
        everybody=frozenset(nemesis.domains),
        count=nemesis.parameters.count,
        lag_ns=nemesis.parameters.lag_ns,
    )
    return [
        Fault(
            number=0,
            nemesis=nemesis.name,
            kind=piece.kind,
            on_ns=piece.on_ns,
            off_ns=piece.off_ns,
            targets=piece.targets,
            others=piece.others,
            parameters=replace(nemesis.parameters, direction=piece.direction),
        )
        for piece in pieces_of(shape, chance)
    ]


def _flaps(parameters: Parameters, at_ns: int, until_ns: int) -> list[tuple[int, int]]:
    times: list[tuple[int, int]] = []
    while at_ns < until_ns:
        times.append((at_ns, min(at_ns + parameters.down_ns, until_ns)))
        at_ns += parameters.down_ns + parameters.up_ns
    return times


def _picked(nemesis: Nemesis, chance: Stream) -> tuple[int, ...]:
    """The targets among the candidates, ascending."""
    word, _, number = nemesis.pick.partition(":")
    of = nemesis.candidates
    if word == "random":
        share = round(float(number) * PPM)
        return tuple(one for one in of if chance.below(PPM) < share)
    if word == "each_domain":
        firsts: dict[str, list[int]] = {}
        for one in of:
            firsts.setdefault(nemesis.domains[one], []).append(one)
        return tuple(sorted(row[chance.below(len(row))] for row in firsts.values()))
    left = list(of)
    chosen = [left.pop(chance.below(len(left))) for _ in range(_most_picked(nemesis))]
    return tuple(sorted(chosen)) if word != "all" else of


def _most_picked(nemesis: Nemesis) -> int:
    """How many targets a pick leaves, at most."""
    word, _, number = nemesis.pick.partition(":")
    of = len(nemesis.candidates)
    counts = {
        "one": 1,
        "n": int(number or 0) if word == "n" else 0,
        "minority_third": max(1, of // 3),
        "minority": max(1, (of - 1) // 2),
        "majority": of // 2 + 1,
    }
    return min(counts.get(word, of), of)


PICKS: Final = {
    "all": "all of them",
    "one": "one, drawn for each fault",
    "n:K": "K of them, drawn",
    "minority_third": "a third, at least one",
    "minority": "the most that are less than half, at least one",
    "majority": "the fewest that are more than half",
    "random:P": "each with probability P",
    "each_domain": "one of each region",
}
"""How many of the nodes that pass all filters are hit."""


def is_pick(text: str) -> bool:
    """Whether a pick is of the grammar."""
    word, colon, number = text.partition(":")
    if word == "n":
        return number.isdigit() and int(number) > 0
    if word == "random":
        try:
            return 0 <= float(number) <= 1
        except ValueError:
            return False
    return not colon and word in PICKS
