"""The nemeses of a scenario file: whom each may hit, when, and with what.

Decides: which nodes a selector leaves; whether a kind takes a parameter.
Keeps: every problem is told by its dotted path; nothing is drawn here.
Must not know: how a fault is carried out.
"""

from collections import Counter
from dataclasses import fields
from typing import Final

from fabgossip.sim.ailments import OPERATIONS
from fabgossip.sim.fault_kinds import POINTS
from fabgossip.sim.faults import FAULTS_MAX, KINDS, PICKS, Nemesis, Parameters, is_pick
from fabgossip.sim.problems import Problems
from fabgossip.sim.quantities import parse_duration, parse_share, parse_size
from fabgossip.sim.tables import NemesisTable, SelectTable, WithTable
from fabgossip.sim.topology import SimNode
from fabgossip.sim.world import NS_PER_S

FILTERS: Final = {
    "role": "nodes of groups of this role",
    "region": "nodes in this region",
    "zone": "nodes in zones of this name, z1.. in each region",
    "rack": "nodes in racks of this name, k1.. in each zone",
    "org": "nodes of this organisation",
    "service": "nodes that run this service",
    "group": "nodes of this group",
    "nodes": "these nodes, by name",
}
"""Keys of `select` beside `pick`, and whom each leaves."""
_NOTHING: Final = WithTable()
MAY_BE_LEFT_OUT: Final = frozenset({"direction", "disk", "offset"})
"""Of the parameters; all others a kind that takes them needs."""


def read_nemesis(
    path: str,
    name: str,
    table: NemesisTable,
    where: tuple[tuple[SimNode, ...], tuple[int, int]],
    problems: Problems,
) -> Nemesis:
    """A nemesis of the file, in a topology and a faults phase from then to then."""
    nodes, phase = where
    if table.kind not in KINDS:
        problems.add_unknown(f"{path}.kind", table.kind, KINDS)
    else:
        _check_given(path, table, problems)
    sides = _sides(path, table, nodes, problems) if table.kind == "cut" else None
    candidates = sides[0] if sides else _selected(path, table.select, nodes, problems)
    lasts = [problems.read(f"{path}.for", parse_duration, one, 0) for one in table.for_] or [0]
    if len(table.for_) not in (1, 2):
        problems.add(f"{path}.for", "is one duration or two")
    return Nemesis(
        name=name,
        kind=table.kind,
        at_ns=_times(path, table, phase, problems),
        lasts_ns=(min(lasts), max(lasts)),
        candidates=candidates,
        pick=table.select.pick if sides is None else "all",
        domains={node.index: node.place.region for node in nodes},
        others=None if sides is None else frozenset(sides[1]),
        parameters=_parameters(path, table.with_, problems),
    )


def names_of(tables: tuple[NemesisTable, ...]) -> list[str]:
    """Names of nemeses; who has none is counted among those of its kind, so that one more of
    another kind renames nobody."""
    counts: Counter[str] = Counter()
    names = []
    for one in tables:
        names.append(one.name or f"{one.kind}-{counts[one.kind]}")
        counts[one.kind] += not one.name
    return names


def _check_given(path: str, table: NemesisTable, problems: Problems) -> None:
    _, known = KINDS[table.kind]
    for field in fields(WithTable):
        is_given = getattr(table.with_, field.name) != getattr(_NOTHING, field.name)
        if is_given and field.name not in known:
            problems.add(f"{path}.with.{field.name}", f"{table.kind} takes none")
    for name in sorted(known - MAY_BE_LEFT_OUT):
        if getattr(table.with_, name) == getattr(_NOTHING, name):
            problems.add(f"{path}.with.{name}", f"{table.kind} needs it")
    if table.with_.direction not in ("both", "out", "in"):
        problems.add(f"{path}.with.direction", "is none of both, out, in")
    if table.with_.disk not in ("keep", "wipe"):
        problems.add(f"{path}.with.disk", "is none of keep, wipe")
    for name, words in (("op", OPERATIONS), ("point", POINTS)):
        if name in known and getattr(table.with_, name) not in words:
            problems.add(f"{path}.with.{name}", f"is none of {', '.join(words)}")


def _sides(
    path: str, table: NemesisTable, nodes: tuple[SimNode, ...], problems: Problems
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if len(table.between) != 2:
        problems.add(f"{path}.between", "names two sides")
    sides = []
    for word in table.between[:2]:
        side = tuple(
            node.index for node in nodes if word in (node.place.region, node.group, node.node_id)
        )
        if not side:
            problems.add(f"{path}.between", f"{word!r} is no region, group or node")
        sides.append(side)
    return (sides[0], sides[-1]) if sides else ((), ())


def _selected(
    path: str, select: SelectTable, nodes: tuple[SimNode, ...], problems: Problems
) -> tuple[int, ...]:
    """All nodes that pass every filter."""
    if not is_pick(select.pick):
        problems.add(f"{path}.select.pick", f"{select.pick!r} is none of {', '.join(PICKS)}")
    chosen = tuple(node.index for node in nodes if _passes(select, node))
    if not chosen:
        problems.add(f"{path}.select", "no node of the topology passes it")
    return chosen


def _passes(select: SelectTable, node: SimNode) -> bool:
    wanted = (
        (select.role, (node.role,)),
        (select.region, (node.place.region,)),
        (select.zone, (node.place.zone,)),
        (select.rack, (node.place.rack,)),
        (select.org, node.orgs),
        (select.service, node.services),
        (select.group, (node.group,)),
    )
    named = not select.nodes or node.node_id in select.nodes
    return named and all(not word or word in has for word, has in wanted)


def _times(
    path: str, table: NemesisTable, phase: tuple[int, int], problems: Problems
) -> tuple[int, ...]:
    """When its faults begin: in the faults phase alone, so that none is undone as it begins, and
    none disturbs what the others are held against."""
    begins, heal = phase
    at = problems.read(f"{path}.at", parse_duration, table.at, begins)
    if not begins <= at < heal:
        problems.add(f"{path}.at", f"{table.at} is not in the faults phase, {_told(phase)}")
        return (at,)
    if not table.every:
        return (at,)
    every = problems.read(f"{path}.every", parse_duration, table.every, 0)
    until = heal
    if table.until:
        until = problems.read(f"{path}.until", parse_duration, table.until, 0)
    if every <= 0 or until <= at or (until - at) // every > FAULTS_MAX:
        problems.add(f"{path}.every", "gives no fault or too many")
        return (at,)
    times = tuple(range(at, until, every))
    if times[-1] >= heal:
        problems.add(f"{path}.until", f"{table.until} is after the faults phase, {_told(phase)}")
    return times


def _told(phase: tuple[int, int]) -> str:
    """A phase for people."""
    return f"{phase[0] / NS_PER_S:g} s to {phase[1] / NS_PER_S:g} s"


def _parameters(path: str, given: WithTable, problems: Problems) -> Parameters:
    def duration(name: str, text: str) -> int:
        return problems.read(f"{path}.with.{name}", parse_duration, text, 0)

    def size(name: str, text: str) -> int:
        return problems.read(f"{path}.with.{name}", parse_size, text, 0)

    return Parameters(
        direction=given.direction,
        disk=given.disk,
        add_ns=duration("add", given.add),
        p_ppm=problems.read(f"{path}.with.p", lambda _: parse_share(given.p), "", 0),
        up_ns=duration("up", given.up),
        down_ns=duration("down", given.down),
        within_ns=duration("within", given.within),
        rate_bps=given.rate_kbit * 1_000,
        by_s=given.by,
        offset_s=given.offset,
        ppm=given.ppm,
        op=given.op,
        point=given.point,
        factor=given.factor,
        count=given.count,
        batch=given.batch,
        gap_ns=duration("gap", given.gap),
        lag_ns=duration("lag", given.lag),
        age_ns=duration("age", given.age),
        quota_bytes=size("quota", given.quota),
        passes_bytes=size("passes", given.passes),
    )
