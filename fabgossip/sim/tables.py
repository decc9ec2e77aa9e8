"""The tables of a scenario file, as written: text and numbers, nothing worked out.

Decides: which keys there are.
Keeps: an unknown key or a value of another type is refused by its dotted path, all at once. Keys
that are words of Python stand with an underscore here and without it in the file.
Must not know: what a value leads to.
"""

import re
from dataclasses import dataclass, field
from typing import Annotated, Final, cast

from fabgossip.model.bounds import Bounds
from fabgossip.wire.tables import Problem, TableError, parse_toml, structure_table

NODES_MAX: Final = 100_000
CHECKERS: Final = (
    "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "S12", "S13", "S14", "S15",
    "S16", "S17", "S18", "S19", "S20", "S21", "S22", "S23", "S24",
    "L1", "L2", "L3", "L4", "L5", "L6", "L7", "L8", "L9",
)  # fmt: skip
"""What `proves` can name."""
_WORDS: Final = {"for": "for_", "with": "with_"}
_LISTS: Final = {("group", "orgs"), ("group", "services"), ("publication", "size"),
          ("nemesis", "for")}  # fmt: skip
"""Where one text may stand for a list of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhasesTable:
    """`phases`: the run from its start to its end, one after the other."""

    start: str = "0s"
    """The fabric forms; nothing is judged."""
    quiet: str = "60s"
    faults: str = "0s"
    heal: str = "0s"
    liveness: str = "0s"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionTable:
    """`regions`: zones and racks are named z1.. and k1.. inside it."""

    name: str
    zones: Annotated[int, Bounds(1, 64)] = 1
    racks: Annotated[int, Bounds(1, 256)] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgTable:
    """`orgs`: an organisation and the services it uses."""

    name: str
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTable:
    """`link`: exactly one of `within` and `between`; the most specific entry wins."""

    within: str = ""
    """`rack`, `zone` or `region`."""
    between: tuple[str, ...] = ()
    """Two regions; `*` is any."""
    rtt: str
    rtt_spread: str = "0ms"
    """Each pair of nodes has a round trip of its own, up to this much longer."""
    jitter: str = "none"
    """`none`, `uniform` or `long_tail`."""
    jitter_scale: str = "0ms"
    loss: float = 0.0
    rate_mbit: Annotated[int, Bounds(0, 1_000_000)] = 0
    """0: no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskTable:
    """`disk` of a group."""

    profile: str = "nvme"
    """`instant`, `nvme`, `ssd` or `hdd`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockTable:
    """`clock` of a group."""

    skew: str = "0ms"
    """Each wall clock is ahead or behind by up to this much."""
    drift_ppm: Annotated[int, Bounds(0, 1_000)] = 0
    """Each boot clock is faster or slower by up to this much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateTable:
    """`rate_mbit` of a group: what a node sends and receives at most; 0: no limit."""

    up: Annotated[int, Bounds(0, 1_000_000)] = 0
    down: Annotated[int, Bounds(0, 1_000_000)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptTable:
    """`with` of a hostile group."""

    every: str = "1s"
    """How often it acts."""
    count: Annotated[int, Bounds(1, 100_000)] = 1
    """How much it does each time, on each link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTable:
    """`group`: nodes `<name>-0`.., spread over regions, zones and racks in turn."""

    name: str
    role: str
    count: Annotated[int, Bounds(1, NODES_MAX)]
    regions: tuple[str, ...]
    orgs: tuple[str, ...] = ()
    """`one` (in turn), `all`, or names."""
    services: tuple[str, ...] = ()
    """`one` (in turn), `all`, or names; of the organisations the node is in."""
    assigned: tuple[str, ...] = ()
    """What it stores for others: `cluster:ID` and `org:ID`."""
    peer_class: str = "full"
    disk: DiskTable = DiskTable()
    clock: ClockTable = ClockTable()
    cpu_percent: Annotated[int, Bounds(1, 100_000)] = 100
    """How long its work takes, of the usual."""
    rate_mbit: RateTable = RateTable()
    wire: str = "n"
    """`n`: this build; `n+1`: one that speaks the next protocol version too."""
    adversary: str = ""
    """The script of hostile nodes; empty: honest."""
    papers: str = "good"
    """Of hostile nodes: `good`, `expired` or `revoked` certificates."""
    with_: ScriptTable = ScriptTable()


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyTable:
    """`[topology]`."""

    regions: tuple[RegionTable, ...]
    orgs: tuple[OrgTable, ...] = ()
    link: tuple[LinkTable, ...]
    group: tuple[GroupTable, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughTable:
    """`through`: whom a publication is given first; a text alone names the group."""

    group: str
    """`*` is all honest nodes."""
    pick: str = "first"
    """Of those that run: `first`, or `one`, drawn for each version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationTable:
    """`publication`: an artifact with random content, published once or again and again."""

    name: str
    type: str
    namespace: str
    """Below `platform/p1/cluster/c1/`."""
    audience: tuple[str, ...] = ()
    """Scope ids beside those the namespace implies."""
    size: tuple[str, ...]
    """One size, or two: drawn between them each time."""
    at: str
    every: str = ""
    until: str = ""
    through: ThroughTable
    edit: float = 1.0
    """Share of its bytes, in one piece, in which a version differs from the first; what differs at
    all has the greater size."""
    increments: bool = False
    """Whether the control plane signs increments to a `cluster_snapshot`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActTable:
    """`act`: something done once, to a node or to what a publication published last. Whoever
    equivocates signs two next versions, and gives each to another node."""

    kind: str
    """`crash`, `restart`, `revoke_node`, `change_claims` or `enroll`, of a `node`; `revoke`,
    `tombstone` or `equivocate`, of a `publication`; `pin`, by a `node` of a `publication`;
    `rotate_key`, `retire_key` or `revoke_key`, of a `role`; `open_epoch`."""
    at: str
    node: str = ""
    publication: str = ""
    role: str = ""
    orgs: tuple[str, ...] = ()
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectTable:
    """`select`: the nodes all filters leave, and how many of them."""

    role: str = ""
    region: str = ""
    zone: str = ""
    rack: str = ""
    org: str = ""
    service: str = ""
    group: str = ""
    nodes: tuple[str, ...] = ()
    pick: str = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class WithTable:
    """`with`: what a nemesis is given; each kind takes its own."""

    direction: str = "both"
    """`both`, `out` (what the targets send) or `in`."""
    disk: str = "keep"
    """`keep` or `wipe`."""
    add: str = "0ms"
    p: float = 0.0
    up: str = "0s"
    down: str = "0s"
    within: str = "0s"
    rate_kbit: Annotated[int, Bounds(0, 1_000_000_000)] = 0
    by: Annotated[int, Bounds(-(2**31), 2**31)] = 0
    """Seconds."""
    offset: Annotated[int, Bounds(-86_400, 86_400)] = 0
    """Seconds after an expiry."""
    ppm: Annotated[int, Bounds(-500_000, 500_000)] = 0
    op: str = ""
    """`read`, `write` or `sync`."""
    point: str = ""
    """Of a write: see `fault_kinds.POINTS`."""
    factor: Annotated[int, Bounds(1, 10_000)] = 1
    count: Annotated[int, Bounds(0, 1_000)] = 0
    batch: Annotated[int, Bounds(0, NODES_MAX)] = 0
    gap: str = "0s"
    lag: str = "0s"
    age: str = "0s"
    quota: str = "0B"
    passes: str = "0B"


@dataclass(frozen=True, slots=True, kw_only=True)
class NemesisTable:
    """`nemesis`: a fault with a beginning and an end."""

    name: str = ""
    kind: str
    at: str
    every: str = ""
    until: str = ""
    for_: tuple[str, ...]
    """One duration, or two: drawn between them each time."""
    between: tuple[str, ...] = ()
    """Of a `cut`: two sides, each a region, a group or a node."""
    select: SelectTable = SelectTable()
    with_: WithTable = WithTable()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTable:
    """`model`: how the world behaves."""

    cpu: str = "free"
    """`charged`: a node is busy while it works."""
    renew: str = "5m"
    """How often the control plane signs anew what is due; `0s`: never."""
    check_every: Annotated[int, Bounds(0, 10_000)] = 0
    """A node checks itself after so many of its events; 0: as suits the number of nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectTable:
    """`expect`: a bound on a measure over all publications, or on one of them."""

    measure: str
    of: str = ""
    max: float | None = None
    min: float | None = None
    equals: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldsTable:
    """`worlds`: what differs between two worlds, and who must not notice."""

    differ: tuple[str, ...] = ()
    """Publications."""
    observers: tuple[str, ...] = ()
    """Groups or nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioTable:
    """A whole scenario file."""

    schema: Annotated[int, Bounds(1, 1)]
    name: str
    title: str
    proves: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    seeds: tuple[Annotated[int, Bounds(0, 2**63 - 1)], ...] = (1,)
    config: dict[str, int] = field(default_factory=dict)
    """Settings of every node, by the daemon's own dotted names."""
    phases: PhasesTable = PhasesTable()
    publication: tuple[PublicationTable, ...] = ()
    model: ModelTable = ModelTable()
    swarm: float = 1.0
    """Each nemesis is kept with this probability, by seed."""
    expect: tuple[ExpectTable, ...] = ()
    act: tuple[ActTable, ...] = ()
    worlds: WorldsTable = WorldsTable()
    nemesis: tuple[NemesisTable, ...] = ()
    topology: TopologyTable


def read_table(text: str, changes: tuple[str, ...] = ()) -> ScenarioTable:
    """The tables of a scenario text as it is after these changes, each `PATH=VALUE`.

    Raises:
        TableError: all problems at once, each with its dotted path as the file has it.
    """
    document = parse_toml(text)
    for change in changes:
        _change(document, change)
    try:
        return structure_table(_spelled(document, ""), ScenarioTable)
    except TableError as error:
        raise TableError(tuple(_as_written(one) for one in error.problems)) from error


def _change(document: dict[str, object], change: str) -> None:
    """Set one value; what is no value of TOML is a text."""
    path, equals, text = change.partition("=")
    steps = _steps(path)
    if not equals or not steps:
        raise _unusable(change, "is not PATH=VALUE, such as nemesis[0].for=5s")
    try:
        value = parse_toml(f"value = {text}")["value"]
    except (TableError, KeyError):
        value = text
    place: object = document
    for step, inner in zip(steps, [*steps[1:], None], strict=True):
        if not _takes(place, step):
            raise _unusable(change, f"there is no {step!r}")
        holder = cast("dict[str | int, object]", place)
        if inner is None:
            holder[step] = value
        else:
            place = holder.setdefault(step, {}) if isinstance(place, dict) else holder[step]


def _takes(place: object, step: str | int) -> bool:
    """Whether a value can be put there: anywhere in a table, over what is there in a list."""
    if isinstance(place, list):
        return isinstance(step, int) and step < len(place)
    return isinstance(place, dict) and isinstance(step, str)


def _steps(path: str) -> list[str | int]:
    """Keys and places in lists; a setting of `config` is one key, dots and all."""
    if path.startswith("config."):
        return ["config", path.removeprefix("config.")]
    steps: list[str | int] = []
    for part in path.split("."):
        found = _STEP.fullmatch(part)
        if found is None:
            return []
        steps += [found[1], *(int(one) for one in found[2].replace("[", "").split("]")[:-1])]
    return steps


_STEP: Final = re.compile(r"([A-Za-z0-9_-]+)((?:\[[0-9]{1,6}\])*)")


def _unusable(change: str, detail: str) -> TableError:
    return TableError((Problem(code="wrong_type", key=change, detail=detail, suggestion=""),))


def _spelled(value: object, table: str) -> object:
    """The document with Python's words marked, and lists where a text may stand for one."""
    if isinstance(value, list):
        return [_spelled(one, table) for one in value]
    if not isinstance(value, dict):
        return value
    spelled: dict[str, object] = {}
    for key, inner in cast("dict[str, object]", value).items():
        spelled[_WORDS.get(key, key)] = _spelled(_in_full(table, key, inner), key)
    return spelled


def _in_full(table: str, key: str, inner: object) -> object:
    """What a text alone stands for."""
    if not isinstance(inner, str):
        return inner
    if (table, key) == ("publication", "through"):
        return {"group": inner}
    return [inner] if (table, key) in _LISTS else inner


def _as_written(problem: Problem) -> Problem:
    key, suggestion = problem.key, problem.suggestion
    for word, marked in _WORDS.items():
        key, suggestion = key.replace(marked, word), suggestion.replace(marked, word)
    return Problem(code=problem.code, key=key, detail=problem.detail, suggestion=suggestion)
