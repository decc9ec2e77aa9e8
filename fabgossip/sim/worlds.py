"""S4: worlds that differ in what some nodes may not know look the same to them.

Decides: how the other world differs; which frame is the first that gives it away.
Keeps: all worlds have the same seed, faults and nodes; nothing that couples audiences by design
is in any: work and disks take no time, paths have no limit and no chance.
Must not know: how a node decides what to say.

- Each publication that differs is, by chance of its own, absent from the other world or another:
  of other contents, twice the size, half as often; where its name is nothing but a name, half of
  the time under another; withdrawn half of the time, whatever becomes of it in the first.
- What an observer got is compared sender by sender: kind, class, stream, every byte, the moment.
- In a third world each of them is revoked in the middle. The list of what is revoked is
  everybody's, so this world is another to all; but a hostile question for a content is answered
  with the same bytes in all three, be what it asks for absent, forbidden or revoked.
"""

from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Final

from fabgossip.errors import ScenarioError
from fabgossip.model.ids import NodeId
from fabgossip.model.scope import Family, parse_namespace
from fabgossip.sim.observing import Observers, Seen
from fabgossip.sim.run import Engine, Run, RunOutcome
from fabgossip.sim.scenario import PREFIX, Act, Publication, Scenario
from fabgossip.sim.scripts import CONTENT_ASKED_FROM
from fabgossip.sim.streams import Stream, Streams

EVERY_OTHER: Final = 2
WITHDRAWN_AFTER_NS: Final = 500_000_000
"""What is withdrawn in the other world is so, this long after its last version."""
REVOKED_AFTER_NS: Final = 300_000_000
ANSWERS: Final = ("not_available", "busy", "content")
FREELY_NAMED: Final = (Family.ROUTES, Family.QOS)
"""Families whose namespaces end in a name that says nothing of who is in their audience."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first frame that is not the same in both worlds."""

    observer: NodeId
    sender: NodeId
    number: int
    """Of what came from this sender, from 0."""
    first: Seen | None
    """In the world as the scenario has it; None: nothing more comes."""
    other: Seen | None

    @property
    def what(self) -> str:
        """What differs: that it came at all, its bytes or only its moment."""
        if self.first is None or self.other is None or self.first.kind != self.other.kind:
            return "frames"
        return "bytes" if self.first.said != self.other.said else "moment"

    @property
    def at_ns(self) -> int:
        """When the worlds part for the observer."""
        return min(one.at_ns for one in (self.first, self.other) if one is not None)

    @property
    def signature(self) -> str:
        """The same leak in another run has the same signature."""
        kind = next(one.kind for one in (self.first, self.other) if one is not None)
        return f"S4/worlds/{self.what}/{kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Worlds:
    """What came of one seed in all of them."""

    outcomes: tuple[RunOutcome, RunOutcome, RunOutcome]
    secrets: int
    """Artifacts signed in one of the first two worlds that no observer may know of and the other
    lacks."""
    seen: int
    """What observers noticed in the first."""
    difference: Difference | None


def require_worlds(scenario: Scenario) -> None:
    """Raises `ScenarioError` where nobody observes, or nothing differs."""
    if not scenario.observers or not scenario.differ:
        raise ScenarioError(
            f"{scenario.name}: worlds: needs observers, and what differs: a table [worlds], as "
            "scope-twins has"
        )


def run_in_each(scenario: Scenario, seed: int, engine: Engine) -> Worlds:
    """Run one seed in each world; hostile nodes know in all of them what was signed in the first.

    Raises:
        ScenarioError: no observers, nothing that differs, or an observer may know of it.
    """
    require_worlds(scenario)
    one, other, last = (Observers(frozenset(scenario.observers)) for _ in range(3))
    base = uncoupled(scenario)
    first = Run(base, seed, replace(engine, observers=one))
    first_outcome = first.run()
    second = Run(other_world(base, seed), seed, replace(engine, observers=other, leaks=first.leaks))
    second_outcome = second.run()
    third = Run(revoked_world(base), seed, replace(engine, observers=last, leaks=first.leaks))
    node_ids = first_outcome.node_ids
    return Worlds(
        outcomes=(first_outcome, second_outcome, third.run()),
        secrets=_secrets(scenario, first, second),
        seen=sum(len(rows) for rows in one.seen.values()),
        difference=first_difference(one, other, node_ids)
        or unlike_answer((one, other, last), node_ids),
    )


def _secrets(scenario: Scenario, first: Run, second: Run) -> int:
    ledgers = first.watch.ledger, second.watch.ledger
    found = 0
    for here, there in (ledgers, ledgers[::-1]):
        for issued in here.all_issued():
            if there.by_envelope(issued.envelope) is not None:
                continue
            found += 1
            for observer in scenario.observers:
                if here.may_know(observer, issued):
                    name = issued.manifest.namespace.text
                    raise ScenarioError(
                        f"{scenario.name}: worlds: {here.node_id(observer)} may know of {name}, "
                        "which differs"
                    )
    return found


def uncoupled(scenario: Scenario) -> Scenario:
    """The scenario without what couples audiences by design."""
    return replace(
        scenario,
        is_cpu_charged=False,
        is_uncoupled=True,
        nodes=tuple(
            replace(one, disk_profile="instant", rates_bps=(0, 0)) for one in scenario.nodes
        ),
        links=tuple(replace(one, jitter_ns=0, loss_ppm=0, rate_bps=0) for one in scenario.links),
    )


def other_world(scenario: Scenario, seed: int) -> Scenario:
    """The same world, but for the publications that may differ."""
    streams = Streams(seed)
    publications: list[Publication] = []
    secret = {one.namespace for one in scenario.publications if one.name in scenario.differ}
    acts = [one for one in scenario.acts if one.namespace not in secret]
    for one in scenario.publications:
        if one.name not in scenario.differ:
            publications.append(one)
            continue
        chance = streams.of(f"worlds/{one.name}")
        if chance.below(2):
            continue
        other = _altered(one, chance)
        publications.append(other)
        if chance.below(2):
            acts.append(_withdrawn(other))
    return replace(scenario, publications=tuple(publications), acts=tuple(acts))


def _altered(one: Publication, chance: Stream) -> Publication:
    family = parse_namespace(f"{PREFIX}/{one.namespace}").family
    is_renamed = family in FREELY_NAMED and chance.below(2) == 1
    return replace(
        one,
        name=f"{one.name}-other",
        namespace=f"{one.namespace}-other" if is_renamed else one.namespace,
        size_min=2 * one.size_min,
        size_max=2 * one.size_max,
        at_ns=one.at_ns[::EVERY_OTHER],
    )


def _withdrawn(one: Publication) -> Act:
    at_ns = one.at_ns[-1] + WITHDRAWN_AFTER_NS
    return Act(kind="tombstone", at_ns=at_ns, node_id=NodeId(""), namespace=one.namespace)


def revoked_world(scenario: Scenario) -> Scenario:
    """The same world, but what may differ is revoked once half of its versions are out."""
    acts = tuple(
        Act(
            kind="revoke",
            at_ns=one.at_ns[len(one.at_ns) // 2] + REVOKED_AFTER_NS,
            node_id=NodeId(""),
            namespace=one.namespace,
        )
        for one in scenario.publications
        if one.name in scenario.differ
    )
    return replace(scenario, acts=scenario.acts + acts)


def first_difference(
    one: Observers, other: Observers, node_ids: dict[int, NodeId]
) -> Difference | None:
    """What gave the other world away first; None where nobody noticed anything."""
    found: list[Difference] = []
    for observer, sender in sorted(one.seen.keys() | other.seen.keys()):
        pairs = zip_longest(
            one.seen.get((observer, sender), ()), other.seen.get((observer, sender), ())
        )
        for number, (first, second) in enumerate(pairs):
            if first != second:
                found.append(
                    Difference(
                        observer=node_ids[observer],
                        sender=node_ids[sender],
                        number=number,
                        first=first,
                        other=second,
                    )
                )
                break
    return min(found, key=lambda each: (each.at_ns, each.observer, each.sender), default=None)


def unlike_answer(worlds: tuple[Observers, ...], node_ids: dict[int, NodeId]) -> Difference | None:
    """An answer to a hostile question for a content that is not as all others are."""
    usual: Seen | None = None
    for observers in worlds:
        for observer, sender in sorted(observers.seen):
            answers = (
                seen
                for seen in observers.seen[observer, sender]
                if seen.kind in ANSWERS and seen.stream >= CONTENT_ASKED_FROM
            )
            for number, seen in enumerate(answers):
                usual = usual or seen
                if (seen.kind, seen.traffic, seen.body) != (usual.kind, usual.traffic, usual.body):
                    return Difference(
                        observer=node_ids[observer],
                        sender=node_ids[sender],
                        number=number,
                        first=usual,
                        other=seen,
                    )
    return None
