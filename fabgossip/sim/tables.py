"""The tables of a scenario file, as written: text and numbers, nothing worked out.

Decides: which keys there are.
Keeps: an unknown key or a value of another type is refused by its dotted path, all at once. Keys
that are words of Python stand with an underscore here and without it in the file.
Must not know: what a value leads to.
"""

from dataclasses import dataclass, field
from typing import Annotated, Final, cast

from fabgossip.model.bounds import Bounds
from fabgossip.wire.tables import Problem, TableError, parse_toml, structure_table

NODES_MAX: Final = 100_000
_WORDS: Final = {"for": "for_"}
_LISTS: Final = {("group", "orgs"), ("group", "services"), ("publication", "size")}
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyTable:
    """`[topology]`."""

    regions: tuple[RegionTable, ...]
    orgs: tuple[OrgTable, ...] = ()
    link: tuple[LinkTable, ...]
    group: tuple[GroupTable, ...]


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
    through: str
    """The group that receives it first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActTable:
    """`act`: something done once."""

    kind: str
    """`crash` or `restart`."""
    at: str
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NemesisTable:
    """`nemesis`: a fault with a beginning and an end."""

    kind: str
    """`cut`."""
    at: str
    for_: str
    between: tuple[str, ...]
    """Two sides, each a region, a group or a node."""


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
    act: tuple[ActTable, ...] = ()
    nemesis: tuple[NemesisTable, ...] = ()
    topology: TopologyTable


def read_table(text: str) -> ScenarioTable:
    """The tables of a scenario text.

    Raises:
        TableError: all problems at once, each with its dotted path as the file has it.
    """
    try:
        return structure_table(_spelled(parse_toml(text), ""), ScenarioTable)
    except TableError as error:
        raise TableError(tuple(_as_written(one) for one in error.problems)) from error


def _spelled(value: object, table: str) -> object:
    """The document with Python's words marked, and lists where a text may stand for one."""
    if isinstance(value, list):
        return [_spelled(one, table) for one in value]
    if not isinstance(value, dict):
        return value
    spelled: dict[str, object] = {}
    for key, inner in cast("dict[str, object]", value).items():
        is_short = (table, key) in _LISTS and isinstance(inner, str)
        spelled[_WORDS.get(key, key)] = [inner] if is_short else _spelled(inner, key)
    return spelled


def _as_written(problem: Problem) -> Problem:
    key, suggestion = problem.key, problem.suggestion
    for word, marked in _WORDS.items():
        key, suggestion = key.replace(marked, word), suggestion.replace(marked, word)
    return Problem(code=problem.code, key=key, detail=problem.detail, suggestion=suggestion)
