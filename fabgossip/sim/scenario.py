"""A scenario: what a run is made of, read from its file and worked out before the first event.

Decides: where each node stands and what it belongs to; when everything planned happens.
Keeps: a file is refused whole: first all problems of form, then all problems of meaning, each by
its dotted path; everything here is frozen and in integers.
Must not know: how a node, a network or a disk works.
"""

import re
from dataclasses import dataclass
from typing import Final

from fabgossip.core.chains import Gap
from fabgossip.core.config import NodeConfig
from fabgossip.errors import ScenarioError
from fabgossip.model.artifact import TYPE_RULES, ArtifactType
from fabgossip.model.ids import NodeId, parse_id
from fabgossip.model.messages import SPOKEN, Protocols
from fabgossip.model.scope import ScopeId, parse_namespace, parse_scope_id
from fabgossip.sim.faults import FAULTS_MAX, Nemesis, faults_most
from fabgossip.sim.hostility import read_hostility
from fabgossip.sim.nemeses import names_of, read_nemesis
from fabgossip.sim.paths import JITTERS, LinkRule, Place
from fabgossip.sim.problems import Problems
from fabgossip.sim.quantities import parse_duration, parse_share, parse_size
from fabgossip.sim.tables import (
    CHECKERS,
    NODES_MAX,
    ActTable,
    ExpectTable,
    GroupTable,
    LinkTable,
    PhasesTable,
    PublicationTable,
    ScenarioTable,
    read_table,
)
from fabgossip.sim.topology import SimNode
from fabgossip.wire.tables import TableError, structure_table

PLATFORM: Final = "p1"
CLUSTER: Final = "c1"
PREFIX: Final = f"platform/{PLATFORM}/cluster/{CLUSTER}"
WIRES: Final = {
    "n": SPOKEN,
    "n+1": Protocols(lowest=SPOKEN.highest, highest=SPOKEN.highest + 1),
}
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
NODE_ACTS: Final = ("crash", "restart", "revoke_node", "change_claims", "enroll")
PUBLICATION_ACTS: Final = ("revoke", "tombstone", "equivocate")
LOCAL_ACTS: Final = ("pin", "use", "release")
ROLE_ACTS: Final = ("rotate_key", "retire_key", "revoke_key")
CLUSTER_ACTS: Final = ("open_epoch",)
"""What an act can be, by what it befalls."""
KEY_ROLES: Final = ("compiler", "directory", "policy", "release", "revocation", "claims")
"""Whose keys sign what is published here."""
_NAME: Final = re.compile(r"[a-z0-9-]{1,64}")
_GAPS: Final = {
    Gap.BASE_UNKNOWN: "who was asked knows no chain from the version held",
    Gap.BASE_DAMAGED: "the version held is not what it was",
    Gap.LINK_MISSING: "what came does not link, or an increment cannot be had",
    Gap.TOO_LONG: "the version held is too many versions behind",
    Gap.TOO_LARGE: "the increments are more than half of the snapshot",
    Gap.EPOCH_CHANGED: "an epoch lies between",
    Gap.WITHDRAWN: "today's trust refuses an increment",
    Gap.MISMATCH: "an increment makes something else than was signed",
    Gap.TIMEOUT: "no answer or no contents in time",
}
MEASURES: Final = {
    "t50_ms": "time from a version's first node until half of the others it is for had it",
    "t99_ms": "the same until 99 % had it",
    "t_last_ms": "the same until the last had it",
    "t99_bound_ms": "t99_ms if news took the shortest way and only distance cost time",
    "t99_ratio": "t99_ms over t99_bound_ms",
    "rmr": "spare copies: envelopes sent for each node that had to get one, less one",
    "ldh": "the most hops of a first delivery",
    "missed": "versions that a node they are for, up throughout, never came to",
    "interrupted": "the same of nodes that were down meanwhile, which count nowhere else",
    "heal_ms": "from the last cut mended until all that are up hold the newest of their own",
    "idle_bytes_per_node_per_s": "bytes sent and received at rest",
    "false_evictions": "links given up although the other node was up and no fault excuses it",
    "won_normal": "contents a normal source brought",
    "won_rung_1": "contents a storage endpoint brought",
    "won_rung_2": "contents a neighbor brought",
    "won_rung_3": "contents an endpoint of snapshot, configuration or another region brought",
    "won_rung_4": "contents an endpoint beside the control plane brought",
    "exhausted": "climbs in which nobody brought the content",
    "assembled": "snapshots made of increments",
    "contradicted": "how often a node came to have two statements of one order",
    **{f"gap_{gap.value}": f"snapshots fetched whole: {why}" for gap, why in _GAPS.items()},
}
"""What an expectation can be about, and what each is."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Through:
    """Whom an artifact is given first."""

    group: str
    """`*`: all honest nodes."""
    is_drawn: bool = False
    """Anew for each version; else the first that runs."""


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
    through: Through
    edit_ppm: int
    has_increments: bool


NO_NODE: Final = NodeId("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something done once: by hand to a node, or by the control plane."""

    kind: str
    at_ns: int
    node_id: NodeId = NO_NODE
    """Of the node it befalls; empty where it befalls none."""
    namespace: str = ""
    """Of the publication it befalls."""
    role: str = ""
    """Whose keys it befalls."""
    orgs: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    """What a node is of from then on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """Where each phase ends."""

    start_ns: int
    quiet_ns: int
    faults_ns: int
    heal_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """A bound on a measure."""

    measure: str
    of: str
    """A publication; empty: over all."""
    least: float | None
    most: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """All a run is made of, beside its seed."""

    name: str
    title: str
    proves: tuple[str, ...]
    tags: tuple[str, ...]
    seeds: tuple[int, ...]
    config: NodeConfig
    phases: Phases
    renew_ns: int
    """0: never."""
    is_cpu_charged: bool
    check_every: int
    """Events of a node between two checks of itself; 0: as suits the number of nodes."""
    swarm_ppm: int
    expectations: tuple[Expectation, ...]
    nodes: tuple[SimNode, ...]
    links: tuple[LinkRule, ...]
    publications: tuple[Publication, ...]
    acts: tuple[Act, ...]
    nemeses: tuple[Nemesis, ...]
    differ: tuple[str, ...]
    """Publications that another world may have otherwise."""
    observers: tuple[int, ...]
    """Nodes that must not notice."""
    is_uncoupled: bool = False
    """Whether nothing of the world makes one frame wait for another."""

    @property
    def end_ns(self) -> int:
        """When the run ends."""
        return self.phases.end_ns


def parse_scenario(text: str, origin: str, changes: tuple[str, ...] = ()) -> Scenario:
    """The scenario of a file's text as it is after these changes, each `PATH=VALUE`.

    Raises:
        ScenarioError: all problems, a line each, which names the changes too: not all of it need
            be the file's fault.
    """
    if changes:
        origin = f"{origin} with {', '.join(changes)}"
    try:
        table = read_table(text, changes)
    except TableError as error:
        lines = [f"{one.key or 'file'}: {one.told}" for one in error.problems]
        raise _refused(origin, lines) from error
    problems = Problems()
    scenario = _worked_out(table, problems)
    if problems.lines:
        raise _refused(origin, problems.lines)
    return scenario


def _refused(origin: str, lines: list[str]) -> ScenarioError:
    return ScenarioError("\n".join(f"{origin}: {line}".rstrip() for line in lines))


def _worked_out(table: ScenarioTable, problems: Problems) -> Scenario:
    if _NAME.fullmatch(table.name) is None:
        problems.add("name", f"{table.name!r} is not 1 to 64 of a-z 0-9 -")
    phases = _phases(table.phases, problems)
    end_ns = phases.end_ns
    if table.model.cpu not in ("charged", "free"):
        problems.add("model.cpu", f"{table.model.cpu!r} is none of charged, free")
    nodes = _nodes(table, problems)
    publications = tuple(
        _publication(f"publication[{number}]", one, end_ns, table, problems)
        for number, one in enumerate(table.publication)
    )
    nemeses = _nemeses(table, nodes, (phases.quiet_ns, phases.faults_ns), problems)
    _check_words(table, problems)
    return Scenario(
        name=table.name,
        title=table.title,
        proves=table.proves,
        tags=table.tags,
        seeds=table.seeds,
        config=_config(table.config, problems),
        phases=phases,
        renew_ns=problems.read("model.renew", parse_duration, table.model.renew, 0),
        is_cpu_charged=table.model.cpu == "charged",
        check_every=table.model.check_every,
        swarm_ppm=problems.read("swarm", lambda _: parse_share(table.swarm), "", 0),
        expectations=tuple(
            _expectation(f"expect[{number}]", one, table, problems)
            for number, one in enumerate(table.expect)
        ),
        nodes=nodes,
        links=_links(table, problems),
        publications=publications,
        acts=tuple(
            _act(f"act[{number}]", one, nodes, publications, problems)
            for number, one in enumerate(table.act)
        ),
        nemeses=nemeses,
        differ=_differ(table, problems),
        observers=_observers(table, nodes, problems),
    )


def _check_words(table: ScenarioTable, problems: Problems) -> None:
    """What is told apart by a name has one of its own; what is meant by a name is there."""
    if not table.seeds:
        problems.add("seeds", "names none, so a sweep would run nothing")
    for word in table.proves:
        if word not in CHECKERS:
            problems.add("proves", f"{word!r} is none of {', '.join(CHECKERS)}")
    for field in ("name", "namespace"):
        words = [str(getattr(one, field)) for one in table.publication]
        for word in sorted({one for one in words if words.count(one) > 1}):
            problems.add("publication", f"two have the {field} {word!r}")


def _nemeses(
    table: ScenarioTable, nodes: tuple[SimNode, ...], phase: tuple[int, int], problems: Problems
) -> tuple[Nemesis, ...]:
    before = len(problems.lines)
    names = names_of(table.nemesis)
    if len(set(names)) < len(names):
        problems.add("nemesis", "two have the same name, hence the same chance")
    nemeses = tuple(
        read_nemesis(f"nemesis[{number}]", name, one, (nodes, phase), problems)
        for number, (name, one) in enumerate(zip(names, table.nemesis, strict=True))
    )
    most = sum(faults_most(one, phase[1]) for one in nemeses)
    if most > FAULTS_MAX and len(problems.lines) == before:
        problems.add("nemesis", f"may come to {most} faults, at most {FAULTS_MAX}")
    return nemeses


def _differ(table: ScenarioTable, problems: Problems) -> tuple[str, ...]:
    for word in table.worlds.differ:
        if word not in {one.name for one in table.publication}:
            problems.add("worlds.differ", f"{word!r} is no publication")
    return table.worlds.differ


def _observers(
    table: ScenarioTable, nodes: tuple[SimNode, ...], problems: Problems
) -> tuple[int, ...]:
    words = table.worlds.observers
    for word in words:
        if not any(word in (node.group, node.node_id) for node in nodes):
            problems.add("worlds.observers", f"{word!r} is no group or node")
    return tuple(node.index for node in nodes if node.group in words or node.node_id in words)


def _phases(table: PhasesTable, problems: Problems) -> Phases:
    ends = [0]
    for name in ("start", "quiet", "faults", "heal", "liveness"):
        lasts = problems.read(f"phases.{name}", parse_duration, getattr(table, name), 0)
        ends.append(ends[-1] + lasts)
    return Phases(
        start_ns=ends[1], quiet_ns=ends[2], faults_ns=ends[3], heal_ns=ends[4], end_ns=ends[5]
    )


def _expectation(
    path: str, one: ExpectTable, table: ScenarioTable, problems: Problems
) -> Expectation:
    if one.measure not in MEASURES:
        problems.add_unknown(f"{path}.measure", one.measure, MEASURES)
    if one.of and one.of not in {each.name for each in table.publication}:
        problems.add(f"{path}.of", f"{one.of!r} is no publication")
    if all(each is None for each in (one.max, one.min, one.equals)):
        problems.add(path, "needs max, min or equals")
    exact = one.equals
    return Expectation(
        measure=one.measure,
        of=one.of,
        least=one.min if exact is None else exact,
        most=one.max if exact is None else exact,
    )


def _config(overrides: dict[str, int], problems: Problems) -> NodeConfig:
    sections: dict[str, dict[str, int]] = {}
    for key, value in overrides.items():
        section, _, name = key.partition(".")
        sections.setdefault(section, {})[name] = value
    try:
        return structure_table(sections, NodeConfig)
    except TableError as error:
        for one in error.problems:
            problems.add(f"config.{one.key}", one.told)
        return NodeConfig()


def _nodes(table: ScenarioTable, problems: Problems) -> tuple[SimNode, ...]:
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


def _check_group(path: str, group: GroupTable, table: ScenarioTable, problems: Problems) -> None:
    for word in (group.name, group.role):
        problems.read(path, lambda text: parse_id(text, "name"), word, "")
    regions = {one.name for one in table.topology.regions}
    orgs = {one.name for one in table.topology.orgs}
    services = {service for one in table.topology.orgs for service in one.services}
    problems.read(f"{path}.clock.skew", parse_duration, group.clock.skew, 0)
    read_hostility(path, group, problems)
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
        ("wire", group.wire, tuple(WIRES)),
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
        skew_ns=parse_duration(group.clock.skew),
        drift_ppm=group.clock.drift_ppm,
        cpu_percent=group.cpu_percent,
        rates_bps=(group.rate_mbit.up * 1_000_000, group.rate_mbit.down * 1_000_000),
        protocols=WIRES.get(group.wire, SPOKEN),
        hostility=read_hostility(name, group, Problems()),
    )


def _chosen(words: tuple[str, ...], known: tuple[str, ...], turn: int) -> tuple[str, ...]:
    if words == ("all",):
        return known
    if words == ("one",):
        return (known[turn % len(known)],) if known else ()
    return words


def _links(table: ScenarioTable, problems: Problems) -> tuple[LinkRule, ...]:
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


def _link(path: str, link: LinkTable, problems: Problems) -> LinkRule:
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
    path: str, one: PublicationTable, end_ns: int, table: ScenarioTable, problems: Problems
) -> Publication:
    kind = next((each for each in PUBLISHED_TYPES if each.value == one.type), None)
    if kind is None:
        problems.add_unknown(f"{path}.type", one.type, [each.value for each in PUBLISHED_TYPES])
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
    if one.through.group not in {"*", *(group.name for group in table.topology.group)}:
        problems.add(f"{path}.through", f"{one.through.group!r} is no group")
    if one.through.pick not in ("first", "one"):
        problems.add(f"{path}.through.pick", f"{one.through.pick!r} is none of first, one")
    _check_size(path, one, max(sizes) * (2 if one.name in table.worlds.differ else 1), problems)
    if one.increments and kind is not ArtifactType.CLUSTER_SNAPSHOT:
        problems.add(f"{path}.increments", "only a cluster_snapshot has them")
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
        through=Through(group=one.through.group, is_drawn=one.through.pick == "one"),
        edit_ppm=problems.read(f"{path}.edit", lambda _: parse_share(one.edit), "", 0),
        has_increments=one.increments,
    )


def _check_size(path: str, one: PublicationTable, most: int, problems: Problems) -> None:
    """No node takes what is larger than its type may be; what differs has twice the size in the
    other world."""
    for kind in PUBLISHED_TYPES:
        if kind.value == one.type and most > TYPE_RULES[kind].size_max:
            cap = TYPE_RULES[kind].size_max
            problems.add(f"{path}.size", f"{most} bytes, {one.type} may have {cap}")


def _times(path: str, one: PublicationTable, end_ns: int, problems: Problems) -> tuple[int, ...]:
    at = problems.read(f"{path}.at", parse_duration, one.at, 0)
    if not one.every:
        return (at,)
    every = problems.read(f"{path}.every", parse_duration, one.every, 0)
    until = problems.read(f"{path}.until", parse_duration, one.until, 0) if one.until else end_ns
    if every <= 0 or (until - at) // every > PUBLICATIONS_MAX:
        problems.add(f"{path}.every", f"gives no publication or more than {PUBLICATIONS_MAX}")
        return (at,)
    return tuple(range(at, until, every))


def _act(
    path: str,
    one: ActTable,
    nodes: tuple[SimNode, ...],
    publications: tuple[Publication, ...],
    problems: Problems,
) -> Act:
    named = {each.name: each.namespace for each in publications}
    kinds = NODE_ACTS + PUBLICATION_ACTS + LOCAL_ACTS + ROLE_ACTS + CLUSTER_ACTS
    if one.kind not in kinds:
        problems.add_unknown(f"{path}.kind", one.kind, kinds)
    if one.node and one.node not in {node.node_id for node in nodes}:
        problems.add(f"{path}.node", f"{one.node!r} is no node of the topology")
    if one.publication and one.publication not in named:
        problems.add(f"{path}.publication", f"{one.publication!r} is no publication")
    if (one.orgs or one.services) and one.kind != "change_claims":
        problems.add(path, f"{one.kind} has neither orgs nor services")
    if one.role and one.role not in KEY_ROLES:
        problems.add(f"{path}.role", f"{one.role!r} is none of {', '.join(KEY_ROLES)}")
    first_ns = {each.name: min(each.at_ns, default=0) for each in publications}
    at_ns = problems.read(f"{path}.at", parse_duration, one.at, 0)
    if one.publication and at_ns <= first_ns.get(one.publication, -1):
        problems.add(f"{path}.at", f"{one.publication} is not published yet")
    for key, value, meant in (
        ("node", one.node, NODE_ACTS + LOCAL_ACTS),
        ("publication", one.publication, PUBLICATION_ACTS + LOCAL_ACTS),
        ("role", one.role, ROLE_ACTS),
    ):
        if one.kind in kinds and bool(value) is not (one.kind in meant):
            problems.add(f"{path}.{key}", f"{one.kind} {'needs one' if not value else 'has none'}")
    return Act(
        kind=one.kind,
        at_ns=at_ns,
        node_id=NodeId(one.node),
        namespace=named.get(one.publication, ""),
        role=one.role,
        orgs=one.orgs,
        services=one.services,
    )
