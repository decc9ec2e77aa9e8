"""A scenario: what a run is made of, read from its file and worked out before the first event.

Decides: where each node stands and what it belongs to; when everything planned happens.
Keeps: a file is refused whole: first all problems of form, then all problems of meaning, each by
its dotted path; everything here is frozen and in integers.
Must not know: how a node, a network or a disk works.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from fabgossip.core.config import NodeConfig
from fabgossip.errors import ModelError, ScenarioError
from fabgossip.model.artifact import TYPE_RULES, ArtifactType
from fabgossip.model.ids import NodeId, parse_id
from fabgossip.model.scope import ScopeId, parse_namespace, parse_scope_id
from fabgossip.sim.paths import JITTERS, LinkRule, Place
from fabgossip.sim.quantities import parse_duration, parse_share, parse_size
from fabgossip.sim.tables import (
    NODES_MAX,
    ActTable,
    GroupTable,
    LinkTable,
    NemesisTable,
    PublicationTable,
    ScenarioTable,
    read_table,
)
from fabgossip.wire.tables import TableError, structure_table

PLATFORM: Final = "p1"
CLUSTER: Final = "c1"
PREFIX: Final = f"platform/{PLATFORM}/cluster/{CLUSTER}"
DISK_PROFILES: Final = ("instant", "nvme", "ssd", "hdd")
PUBLICATIONS_MAX: Final = 10_000
PUBLISHED_TYPES: Final = (
    ArtifactType.CLUSTER_SNAPSHOT,
    ArtifactType.SERVICE_ASSIGNMENT_BUNDLE,
    ArtifactType.ROUTE_POLICY_BUNDLE,
    ArtifactType.QOS_POLICY_BUNDLE,
    ArtifactType.UPDATE_MANIFEST,
)
"""The other types are the control plane's own."""
_NAME: Final = re.compile(r"[a-z0-9-]{1,64}")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimNode:
    """One node of the topology."""

    index: int
    """Place in the world: 1 and above, in order of node id."""
    node_id: NodeId
    group: str
    role: str
    place: Place
    orgs: tuple[str, ...]
    services: tuple[str, ...]
    assigned: tuple[str, ...]
    """`cluster`, and organisations by name."""
    peer_class: str
    disk_profile: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What is published under a name, and when."""

    name: str
    artifact_type: ArtifactType
    namespace: str
    audience: tuple[ScopeId, ...]
    size_min: int
    size_max: int
    at_ns: tuple[int, ...]
    through: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A crash or a restart."""

    kind: str
    at_ns: int
    node_id: NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """No packet passes between two sides for a while."""

    at_ns: int
    until_ns: int
    sides: tuple[frozenset[int], frozenset[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """All a run is made of, beside its seed."""

    name: str
    title: str
    proves: tuple[str, ...]
    tags: tuple[str, ...]
    seeds: tuple[int, ...]
    config: NodeConfig
    end_ns: int
    nodes: tuple[SimNode, ...]
    links: tuple[LinkRule, ...]
    publications: tuple[Publication, ...]
    acts: tuple[Act, ...]
    cuts: tuple[Cut, ...]


class _Problems:
    """What is wrong, by dotted path, in the order of the file."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, path: str, detail: object) -> None:
        """Note a problem."""
        self.lines.append(f"{path}: {detail}")

    def read(self, path: str, parse: Callable[[str], T], text: str, instead: T) -> T:
        """`parse(text)`; where that fails, note it and go on with `instead`."""
        try:
            return parse(text)
        except (ValueError, ModelError) as error:
            self.add(path, error)
            return instead


def parse_scenario(text: str, origin: str) -> Scenario:
    """The scenario of a file's text.

    Raises:
        ScenarioError: all problems, a line each.
    """
    try:
        table = read_table(text)
    except TableError as error:
        lines = [f"{one.key or 'file'}: {one.detail} {one.suggestion}" for one in error.problems]
        raise _refused(origin, lines) from error
    problems = _Problems()
    scenario = _worked_out(table, problems)
    if problems.lines:
        raise _refused(origin, problems.lines)
    return scenario


def _refused(origin: str, lines: list[str]) -> ScenarioError:
    return ScenarioError("\n".join(f"{origin}: {line}".rstrip() for line in lines))


def _worked_out(table: ScenarioTable, problems: _Problems) -> Scenario:
    if _NAME.fullmatch(table.name) is None:
        problems.add("name", f"{table.name!r} is not 1 to 64 of a-z 0-9 -")
    phases = table.phases
    named = ("start", "quiet", "faults", "heal", "liveness")
    end_ns = sum(
        problems.read(f"phases.{one}", parse_duration, getattr(phases, one), 0) for one in named
    )
    nodes = _nodes(table, problems)
    return Scenario(
        name=table.name,
        title=table.title,
        proves=table.proves,
        tags=table.tags,
        seeds=table.seeds,
        config=_config(table.config, problems),
        end_ns=end_ns,
        nodes=nodes,
        links=_links(table, problems),
        publications=tuple(
            _publication(f"publication[{number}]", one, end_ns, table, problems)
            for number, one in enumerate(table.publication)
        ),
        acts=tuple(
            _act(f"act[{number}]", one, nodes, problems) for number, one in enumerate(table.act)
        ),
        cuts=tuple(
            _cut(f"nemesis[{number}]", one, nodes, problems)
            for number, one in enumerate(table.nemesis)
        ),
    )


def _config(overrides: dict[str, int], problems: _Problems) -> NodeConfig:
    sections: dict[str, dict[str, int]] = {}
    for key, value in overrides.items():
        section, _, name = key.partition(".")
        sections.setdefault(section, {})[name] = value
    try:
        return structure_table(sections, NodeConfig)
    except TableError as error:
        for one in error.problems:
            problems.add(f"config.{one.key}", f"{one.detail} {one.suggestion}".rstrip())
        return NodeConfig()


def _nodes(table: ScenarioTable, problems: _Problems) -> tuple[SimNode, ...]:
    regions = {one.name: one for one in table.topology.regions}
    made: list[tuple[str, GroupTable, Place, int]] = []
    for number, group in enumerate(table.topology.group):
        path = f"topology.group[{number}]"
        _check_group(path, group, table, problems)
        known = [regions[one] for one in group.regions if one in regions]
        for index in range(group.count if known else 0):
            region = known[index % len(known)]
            turn = index // len(known)
            zone, rack = turn % region.zones, turn // region.zones % region.racks
            place = Place(region.name, f"z{zone + 1}", f"k{rack + 1}")
            made.append((f"{group.name}-{index}", group, place, index))
    if len({name for name, _, _, _ in made}) != len(made):
        problems.add("topology.group", "two groups have the same name")
    if len(made) > NODES_MAX:
        problems.add("topology.group", f"{len(made)} nodes, at most {NODES_MAX}")
    return tuple(
        _node(place_in_world, one, table)
        for place_in_world, one in enumerate(sorted(made, key=lambda one: one[0]), 1)
    )


def _check_group(path: str, group: GroupTable, table: ScenarioTable, problems: _Problems) -> None:
    for word in (group.name, group.role):
        problems.read(path, lambda text: parse_id(text, "name"), word, "")
    regions = {one.name for one in table.topology.regions}
    orgs = {one.name for one in table.topology.orgs}
    services = {service for one in table.topology.orgs for service in one.services}
    if not group.regions:
        problems.add(f"{path}.regions", "names no region")
    for field, words, known in (
        ("regions", group.regions, regions),
        ("orgs", group.orgs, orgs | {"one", "all"}),
        ("services", group.services, services | {"one", "all"}),
        ("assigned", group.assigned, {f"cluster:{CLUSTER}"} | {f"org:{one}" for one in orgs}),
    ):
        for word in words:
            if word not in known:
                problems.add(f"{path}.{field}", f"{word!r} is none of {', '.join(sorted(known))}")
    for field, word, choices in (
        ("peer_class", group.peer_class, ("core", "full", "thin")),
        ("disk.profile", group.disk.profile, DISK_PROFILES),
    ):
        if word not in choices:
            problems.add(f"{path}.{field}", f"{word!r} is none of {', '.join(choices)}")


def _node(index: int, made: tuple[str, GroupTable, Place, int], table: ScenarioTable) -> SimNode:
    name, group, place, turn = made
    orgs = _chosen(group.orgs, tuple(one.name for one in table.topology.orgs), turn)
    rows = [one for one in table.topology.orgs if one.name in orgs]
    offered = tuple(sorted({service for one in rows for service in one.services}))
    if not group.orgs:
        offered = tuple(sorted({one for row in table.topology.orgs for one in row.services}))
    return SimNode(
        index=index,
        node_id=NodeId(name),
        group=group.name,
        role=group.role,
        place=place,
        orgs=orgs,
        services=_chosen(group.services, offered, turn // max(1, len(table.topology.orgs))),
        assigned=tuple(one.removeprefix("org:").partition(":")[0] for one in group.assigned),
        peer_class=group.peer_class,
        disk_profile=group.disk.profile,
    )


def _chosen(words: tuple[str, ...], known: tuple[str, ...], turn: int) -> tuple[str, ...]:
    if words == ("all",):
        return known
    if words == ("one",):
        return (known[turn % len(known)],) if known else ()
    return words


def _links(table: ScenarioTable, problems: _Problems) -> tuple[LinkRule, ...]:
    regions = {one.name for one in table.topology.regions} | {"*"}
    rules = []
    for number, link in enumerate(table.topology.link):
        path = f"topology.link[{number}]"
        if bool(link.within) == bool(link.between):
            problems.add(path, "exactly one of within and between is needed")
        if link.within and link.within not in ("rack", "zone", "region"):
            problems.add(f"{path}.within", f"{link.within!r} is none of rack, zone, region")
        if link.between and len(link.between) != 2:
            problems.add(f"{path}.between", "names two regions")
        for one in link.between:
            if one not in regions:
                problems.add(f"{path}.between", f"{one!r} is no region")
        rules.append(_link(path, link, problems))
    return tuple(rules)


def _link(path: str, link: LinkTable, problems: _Problems) -> LinkRule:
    if link.jitter not in JITTERS:
        problems.add(f"{path}.jitter", f"{link.jitter!r} is none of {', '.join(JITTERS)}")
    loss_ppm = 0
    try:
        loss_ppm = parse_share(link.loss)
    except ValueError as error:
        problems.add(f"{path}.loss", error)
    return LinkRule(
        within=link.within,
        between=(link.between[0], link.between[-1]) if link.between else ("", ""),
        rtt_ns=problems.read(f"{path}.rtt", parse_duration, link.rtt, 0),
        rtt_spread_ns=problems.read(f"{path}.rtt_spread", parse_duration, link.rtt_spread, 0),
        jitter=link.jitter,
        jitter_ns=problems.read(f"{path}.jitter_scale", parse_duration, link.jitter_scale, 0),
        loss_ppm=loss_ppm,
        rate_bps=link.rate_mbit * 1_000_000,
    )


def _publication(
    path: str, one: PublicationTable, end_ns: int, table: ScenarioTable, problems: _Problems
) -> Publication:
    known = ", ".join(kind.value for kind in PUBLISHED_TYPES)
    kind = next((each for each in PUBLISHED_TYPES if each.value == one.type), None)
    if kind is None:
        problems.add(f"{path}.type", f"{one.type!r} is none of {known}")
        kind = ArtifactType.ROUTE_POLICY_BUNDLE
    else:
        namespace = problems.read(
            f"{path}.namespace", lambda text: parse_namespace(f"{PREFIX}/{text}"), one.namespace,
            None,
        )  # fmt: skip
        if namespace is not None and namespace.family not in TYPE_RULES[kind].families:
            problems.add(f"{path}.namespace", f"{one.type} does not live there")
    if not 1 <= len(one.size) <= 2:
        problems.add(f"{path}.size", "is one size or two")
    sizes = [problems.read(f"{path}.size", parse_size, each, 0) for each in one.size] or [0]
    if one.through not in {group.name for group in table.topology.group}:
        problems.add(f"{path}.through", f"{one.through!r} is no group")
    scopes = [
        problems.read(f"{path}.audience", parse_scope_id, each, None) for each in one.audience
    ]
    return Publication(
        name=one.name,
        artifact_type=kind,
        namespace=one.namespace,
        audience=tuple(each for each in scopes if each is not None),
        size_min=min(sizes),
        size_max=max(sizes),
        at_ns=_times(path, one, end_ns, problems),
        through=one.through,
    )


def _times(path: str, one: PublicationTable, end_ns: int, problems: _Problems) -> tuple[int, ...]:
    at = problems.read(f"{path}.at", parse_duration, one.at, 0)
    if not one.every:
        return (at,)
    every = problems.read(f"{path}.every", parse_duration, one.every, 0)
    until = problems.read(f"{path}.until", parse_duration, one.until, 0) if one.until else end_ns
    if every <= 0 or (until - at) // every > PUBLICATIONS_MAX:
        problems.add(f"{path}.every", f"gives no publication or more than {PUBLICATIONS_MAX}")
        return (at,)
    return tuple(range(at, until, every))


def _act(path: str, one: ActTable, nodes: tuple[SimNode, ...], problems: _Problems) -> Act:
    if one.kind not in ("crash", "restart"):
        problems.add(f"{path}.kind", f"{one.kind!r} is none of crash, restart")
    if one.node not in {node.node_id for node in nodes}:
        problems.add(f"{path}.node", f"{one.node!r} is no node of the topology")
    at_ns = problems.read(f"{path}.at", parse_duration, one.at, 0)
    return Act(kind=one.kind, at_ns=at_ns, node_id=NodeId(one.node))


def _cut(path: str, one: NemesisTable, nodes: tuple[SimNode, ...], problems: _Problems) -> Cut:
    if one.kind != "cut":
        problems.add(f"{path}.kind", f"{one.kind!r} is not cut")
    if len(one.between) != 2:
        problems.add(f"{path}.between", "names two sides")
    sides = []
    for word in one.between[:2]:
        side = frozenset(
            node.index for node in nodes if word in (node.place.region, node.group, node.node_id)
        )
        if not side:
            problems.add(f"{path}.between", f"{word!r} is no region, group or node")
        sides.append(side)
    at_ns = problems.read(f"{path}.at", parse_duration, one.at, 0)
    lasts_ns = problems.read(f"{path}.for", parse_duration, one.for_, 0)
    first, second = sides[0] if sides else frozenset(), sides[-1] if sides else frozenset()
    return Cut(at_ns=at_ns, until_ns=at_ns + lasts_ns, sides=(first, second))
