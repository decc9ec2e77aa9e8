"""One run: a scenario and a seed in, an outcome out.

Decides: nothing but the order of building; everything planned is in the scenario.
Keeps: the same scenario, seed and code give the same trace; whoever is told of progress changes
nothing.
Must not know: how artifacts are signed, how an outcome is shown.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from fabgossip.core.rosters import Rosters
from fabgossip.errors import ScenarioError
from fabgossip.model.artifact import Manifest
from fabgossip.model.ids import ContentHash, NodeId
from fabgossip.model.moment import UnixTime
from fabgossip.sim.adversary import maker_of
from fabgossip.sim.agreement import Agreement
from fabgossip.sim.authority import Authority, AuthorityMaker, Draft, Issued
from fabgossip.sim.checkers import Count, Violation
from fabgossip.sim.clock import FIRST_UNIX, TRUE, Clock
from fabgossip.sim.codec import Codec
from fabgossip.sim.disk import COSTS, SimDisk
from fabgossip.sim.faults import Fault, expand
from fabgossip.sim.guard import Guard
from fabgossip.sim.handing_out import STORING, First, HandingOut
from fabgossip.sim.host import NodeMaker, Surroundings
from fabgossip.sim.injection import FaultCounts, Injection
from fabgossip.sim.kept import Local
from fabgossip.sim.landing import Deadlines
from fabgossip.sim.leaks import Leaks
from fabgossip.sim.ledger import Ledger
from fabgossip.sim.machine import Host
from fabgossip.sim.measures import Measures, Spread
from fabgossip.sim.network import Network
from fabgossip.sim.observing import Observers
from fabgossip.sim.paths import Paths
from fabgossip.sim.quantities import PPM
from fabgossip.sim.scenario import Act, Expectation, Publication, Scenario, Through
from fabgossip.sim.streams import Stream, Streams
from fabgossip.sim.topology import SimNode
from fabgossip.sim.trace import Checkpoint, Happened, Key, Kind, Trace, world_event
from fabgossip.sim.watch import Limits, Watch
from fabgossip.sim.world import EVENTS_MAX, NS_PER_MS, NS_PER_S, WORLD, SpinError, World
from fabgossip.trust.signatures import Verifier

STARTS_WITHIN_NS: Final = NS_PER_S
"""The nodes of a fabric start within this time, each at a moment of its own."""
FIRST_PUBLISH_NS: Final = NS_PER_S
"""When the control plane hands out trust and directories."""
IDLE_AFTER_NS: Final = 120 * NS_PER_S
"""This long after the last publication of the quiet phase, a fabric is idle."""
SETTLED_NS: Final = 60 * NS_PER_S
"""What the liveness phase gives a fabric before its messages are counted."""
EQUIVOCAL_BYTES: Final = 20_000
"""Too much to ride along with an announcement."""
SMALL_NODES_MAX: Final = 10
"""Up to here every node checks itself after each of its events; above, after as many events as
there are nodes, and at the end: a check costs ten times what an event does (measured 2026-11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What a run is given beside its scenario."""

    make_authority: AuthorityMaker
    verifier: Verifier
    make_node: NodeMaker
    on_progress: Callable[[int, int], None] = lambda _events, _time_ns: None
    observers: Observers = field(default_factory=lambda: Observers(frozenset()))
    on_record: Callable[[int, Key, Happened], None] | None = None
    """Told of each event once it is in the trace, with its number."""
    last_event: int | None = None
    """The run ends with this event of it, if it has so many."""
    leaks: Leaks | None = None
    """What hostile nodes know from elsewhere, as of another run; None: all of this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """What became of an expectation."""

    measure: str
    of: str
    value: float | None
    least: float | None
    most: float | None
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """All that is known after a run."""

    scenario: str
    seed: int
    nodes: int
    events: int
    virtual_ms: int
    is_whole: bool
    """Whether it came to the end of the scenario."""
    trace_hash: str
    checkpoints: tuple[Checkpoint, ...]
    checkers: dict[str, Count]
    violations: tuple[Violation, ...]
    """Of safety."""
    liveness: dict[str, Count]
    failures: tuple[Violation, ...]
    """Of liveness."""
    node_ids: dict[int, NodeId]
    by_publication: dict[str, Spread]
    over_all: Spread
    deliveries: int
    unentitled_deliveries: int
    behind: tuple[str, ...]
    refused: tuple[str, ...]
    frames_sent: int
    bytes_sent: int
    faults: FaultCounts
    heal_ms: int | None
    idle: "IdleBytes | None"
    false_evictions: int
    expectations: tuple[Met, ...]


@dataclass(frozen=True, slots=True)
class Traffic:
    """What had been sent at a time."""

    at_ns: int
    frames: int
    bytes_at: Counter[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleBytes:
    """Bytes sent and received by a node in a second of the idle part of the quiet phase."""

    mean: float
    p99: float


class Run:
    """One run from its first event to its last."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        engine: Engine,
        faults: tuple[Fault, ...] | None = None,
    ) -> None:
        """`faults`: a plan made before, in place of the seed's own."""
        self.scenario = scenario
        self._seed = seed
        self.faults = faults
        """The plan."""
        self._engine = engine
        self._streams = Streams(seed)
        self.world = World()
        self._authority: Authority = engine.make_authority(
            scenario, self._streams, UnixTime(FIRST_UNIX)
        )
        places = {node.index: node.place for node in scenario.nodes}
        paths = Paths(places, scenario.links, self._streams)
        _check_paths(paths, scenario.nodes)
        papers = {node.index: self._authority.papers(node.node_id) for node in scenario.nodes}
        ledger = Ledger(papers.items())
        rates = {node.index: node.rates_bps for node in scenario.nodes if any(node.rates_bps)}
        self.network = Network(self.world, paths, rates, is_prompt=scenario.is_uncoupled)
        self._revoked: set[int] = set()
        """Nodes that are of the fabric no more."""
        self._hostile = frozenset(one.index for one in scenario.nodes if one.hostility is not None)
        self.measures = Measures(ledger, self._is_judged, self.network.ways)
        self.watch = Watch(
            self.world,
            ledger,
            self.measures,
            Agreement(ledger, self._is_judged, self.network.ways),
            Limits(
                links_max=scenario.config.neighbors.links_max,
                is_up=self._is_judged,
                hostile=self._hostile,
                deadlines=_deadlines(scenario),
                now_at=lambda index: self.hosts[index].clock.at(self.world.now_ns),
                recovery=scenario.config.recovery,
                wires={node.index: node.protocols.highest for node in scenario.nodes},
            ),
            engine.observers,
        )
        self.leaks = Leaks() if engine.leaks is None else engine.leaks
        around = Surroundings(
            world=self.world,
            network=self.network,
            codec=Codec(),
            watch=self.watch,
            streams=self._streams,
            verifier=engine.verifier,
            rosters=Rosters(),
            config=scenario.config,
            make_node=engine.make_node,
            protocols={node.index: node.protocols for node in scenario.nodes},
            index_of={node.node_id: node.index for node in scenario.nodes},
            cpu_percents={
                node.index: node.cpu_percent if scenario.is_cpu_charged else 0
                for node in scenario.nodes
            },
            check_every=_check_every(scenario),
        )
        self.hosts: dict[int, Host] = {}
        contents: dict[ContentHash, bytes] = {}
        for node in scenario.nodes:
            chance = self._streams.of(f"disk/{node.node_id}")
            costs = COSTS[node.disk_profile]
            disk = SimDisk(self.world, node.index, costs, self.watch, chance, contents)
            clock = self._clock(node)
            make_process = maker_of(node, self.leaks)
            host = Host(around, node.index, papers[node.index], disk, clock, make_process)
            self.hosts[node.index] = host
        self._injection = Injection(self.world, self.network, self.hosts, self.watch, self._streams)
        self._handing_out = HandingOut(
            self.world, scenario.nodes, self.hosts, self._injection, self.measures, self._on_issued
        )
        self.trace = Trace(self._snapshots, len(self.hosts))
        self._is_renewal_late = False
        """Whether a renewal waits for the light."""
        self._counts: dict[str, Traffic] = {}
        self._plan()

    def _clock(self, node: SimNode) -> Clock:
        chance = self._streams.of(f"clock/{node.node_id}")
        skew_ns = chance.below(2 * node.skew_ns + 1) - node.skew_ns
        return Clock(skew_ns, chance.below(2 * node.drift_ppm + 1) - node.drift_ppm)

    def _is_up(self, index: int) -> bool:
        return self.hosts[index].process is not None

    def _is_judged(self, index: int) -> bool:
        is_member = index not in self._hostile and index not in self._revoked
        return is_member and self._is_up(index)

    def _snapshots(self) -> bytes:
        return "\n".join(host.snapshot() for host in self.hosts.values()).encode()

    def _plan(self) -> None:
        """Everything that is known beforehand, from chance of its own."""
        starts = self._streams.of("plan/starts")
        for host in self.hosts.values():
            at_ns = starts.below(STARTS_WITHIN_NS)
            self.world.schedule(at_ns, host.index, WORLD, host.start)
        self._at(FIRST_PUBLISH_NS, partial(self._publish, (), STORING))
        if self.scenario.renew_ns:
            for at_ns in range(
                self.scenario.renew_ns, self.scenario.end_ns, self.scenario.renew_ns
            ):
                self._at(at_ns, partial(self._publish, (), STORING))
        for at_ns, group in _planned(self.scenario.publications):
            self._at(at_ns, partial(self._publish_all, group))
        for act in self.scenario.acts:
            self._at(act.at_ns, partial(self._act, act))
        scenario = self.scenario
        phases = scenario.phases
        heal_ns = phases.faults_ns if phases.end_ns > phases.faults_ns else phases.end_ns
        if self.faults is None:
            self.faults = expand(scenario.nemeses, self._streams, heal_ns, scenario.swarm_ppm)
        self._injection.plan(self.faults)
        for at_ns in sorted({phases.quiet_ns, phases.faults_ns, phases.heal_ns}):
            self._at(at_ns, self._audit)
        self._plan_counts()

    def _audit(self) -> Happened:
        for index, host in self.hosts.items():
            if host.process is not None:
                node, links = host.process.node, host.process.links
                self.watch.audit(index, node.view, host.disk, links)
        return world_event(Kind.CHECK, "audit")

    def _plan_counts(self) -> None:
        """When traffic is counted: the quiet phase, its idle part, the end of the liveness
        phase."""
        phases = self.scenario.phases
        published = [at for one in self.scenario.publications for at in one.at_ns]
        last_ns = max((at for at in published if at < phases.quiet_ns), default=FIRST_PUBLISH_NS)
        idle_ns = max(phases.start_ns, last_ns + IDLE_AFTER_NS)
        if idle_ns < phases.quiet_ns:
            self._at(idle_ns, partial(self._count, "idle"))
        self._at(phases.start_ns, partial(self._count, "quiet"))
        self._at(phases.quiet_ns, partial(self._count, "quiet over"))
        if phases.end_ns > phases.heal_ns + SETTLED_NS:
            self._at(phases.heal_ns + SETTLED_NS, partial(self._count, "settled"))

    def _count(self, name: str) -> Happened:
        self._counts[name] = Traffic(
            self.world.now_ns, self.network.frames_sent, Counter(self.network.bytes_at)
        )
        return world_event(Kind.CHECK, name)

    def _at(self, at_ns: int, action: Callable[[], Happened]) -> None:
        self.world.schedule(at_ns, WORLD, WORLD, action)

    def _host(self, node_id: NodeId) -> Host:
        return next(one for one in self.hosts.values() if one.papers.own.node_id == node_id)

    def _act(self, act: Act) -> Happened:
        match act.kind:
            case "crash":
                return self._host(act.node_id).crash()
            case "restart":
                return self._host(act.node_id).start()
            case "enroll":
                return self._host(act.node_id).enroll(self._authority.papers(act.node_id))
            case "pin":
                return self._host(act.node_id).pin(f"{self._authority.prefix}/{act.namespace}")
            case "use":
                return self._host(act.node_id).use(f"{self._authority.prefix}/{act.namespace}")
            case "release":
                return self._host(act.node_id).release(f"{self._authority.prefix}/{act.namespace}")
            case _:
                return self._take_away(act)

    def _take_away(self, act: Act) -> Happened:
        """The control plane revokes, withdraws or rotates; in the dark it waits, as it does to
        publish."""
        if self._injection.is_dark:
            self._handing_out.once_light(partial(self._take_away, act))
            return world_event(Kind.PUBLISH, "dark")
        now = TRUE.at(self.world.now_ns).unix
        match act.kind:
            case "revoke_node":
                index = self._host(act.node_id).index
                self._revoked.add(index)
                self.watch.dismissed(index)
                return self._issue(self._authority.revoke_node(act.node_id, now))
            case "change_claims":
                return self._change_claims(act, now)
            case "rotate_key" | "retire_key" | "revoke_key":
                old_keys = _OLD_KEYS[act.kind]
                return self._issue(self._authority.rotate(act.role, old_keys, now))
            case "equivocate":
                return self._equivocate(act, now)
            case "open_epoch":
                return self._issue(self._authority.open_epoch(now))
            case "revoke":
                return self._issue(self._authority.revoke(act.namespace, now))
            case _:
                return self._issue(self._authority.withdraw(act.namespace, now))

    def _change_claims(self, act: Act, now: UnixTime) -> Happened:
        issued = self._authority.change_claims(act.node_id, act.orgs, act.services, now)
        own = next(one.manifest for one in issued if one.manifest.namespace.node_id == act.node_id)
        held = self._authority.papers(act.node_id).entitlements
        self.watch.claims_changed(self._host(act.node_id).index, held, own.order)
        return self._issue(issued)

    def _equivocate(self, act: Act, now: UnixTime) -> Happened:
        """One statement goes where all of the control plane goes, the other to some node."""
        chance = self._streams.of(f"act/equivocate/{act.namespace}/{act.at_ns}")
        contents = chance.bytes(EQUIVOCAL_BYTES), chance.bytes(EQUIVOCAL_BYTES)
        first, other = self._authority.equivocate(act.namespace, contents, now)
        self._issue((first,))
        return self._handing_out.issue((other,), First(group="*", lot=chance.draw()))

    def _publish_all(self, due: tuple[tuple[Publication, int], ...]) -> Happened:
        drafts = tuple(self._draft(one, version) for one, version in due)
        for one, _ in due:
            self.measures.on_named(f"{self._authority.prefix}/{one.namespace}", one.name)
        one, version = due[0]
        lot = self._streams.number(f"through/{one.name}/{version}")
        first = First(group=one.through.group, lot=lot if one.through.is_drawn else None)
        return self._publish(drafts, first)

    def _draft(self, one: Publication, version: int) -> Draft:
        return Draft(
            artifact_type=one.artifact_type,
            namespace=one.namespace,
            audience=one.audience,
            content=self._content(one, version),
            has_increments=one.has_increments,
        )

    def _content(self, one: Publication, version: int) -> bytes:
        chance = self._streams.of(f"publication/{one.name}/{version}")
        if one.edit_ppm >= PPM:
            return chance.bytes(one.size_min + chance.below(one.size_max - one.size_min + 1))
        # Of the same name twice, a stream goes on: every version starts from the same first one.
        first = Stream(self._streams.number(f"publication/{one.name}"))
        content = first.bytes(one.size_max)
        edited = max(1, one.size_max * one.edit_ppm // PPM)
        start = chance.below(one.size_max - edited + 1)
        return content[:start] + chance.bytes(edited) + content[start + edited :]

    def _publish(self, drafts: tuple[Draft, ...], first: First) -> Happened:
        """Compile and sign at once; hand out one after the other."""
        if self._injection.is_dark:
            if drafts or not self._is_renewal_late:
                self._is_renewal_late |= not drafts  # one that is late is enough for all
                self._handing_out.once_light(partial(self._publish_late, drafts, first))
            return world_event(Kind.PUBLISH, "dark")
        now = TRUE.at(self.world.now_ns).unix
        return self._handing_out.issue(self._authority.publish(drafts, now), first)

    def _publish_late(self, drafts: tuple[Draft, ...], first: First) -> Happened:
        """What could not be published when it was due."""
        if not drafts:
            self._is_renewal_late = False
        return self._publish(drafts, first)

    def _issue(self, issued: tuple[Issued, ...]) -> Happened:
        """Whoever stores for the cluster is given these."""
        return self._handing_out.issue(issued, STORING)

    def _on_issued(self, issued: Issued) -> None:
        self.watch.issued(issued)
        if self._engine.leaks is None:
            self.leaks.add(self.world.now_ns, issued)

    def local_of(self, index: int, namespace: str) -> Local | None:
        """The local state of a namespace at a node, in truth."""
        return self.hosts[index].disk.local.get(namespace)

    def run(self, until_ns: int | None = None) -> RunOutcome:
        """Let it all happen.

        Raises:
            SpinError: the world itself spins; a node that does violates S19.
            OutOfTimeError: more events than a run may have.
            LeakedWorldError: a node looked at the world itself.
        """
        end_ns = self.scenario.end_ns if until_ns is None else until_ns
        with Guard() as guard:
            try:
                self.world.run(end_ns, self._on_event)
            except SpinError as error:
                if error.place == WORLD:
                    raise
                self.watch.raised(error.place, "spin", error)
        if guard.leak is not None:
            raise guard.leak
        for host in self.hosts.values():
            if host.process is not None and not self.watch.docket.violations:
                host.process.is_sound()
        self._judge_end()
        self.trace.checkpoint(self.world.now_ns)
        counts, docket = self.watch.docket.counts, self.watch.docket
        by_publication, over_all = self.measures.by_publication(), self.measures.over_all()
        return RunOutcome(
            scenario=self.scenario.name,
            seed=self._seed,
            nodes=len(self.hosts),
            events=self.trace.events,
            virtual_ms=self.world.now_ns // NS_PER_MS,
            is_whole=self.world.now_ns >= self.scenario.end_ns,
            trace_hash=self.trace.hash_hex,
            checkpoints=tuple(self.trace.checkpoints),
            checkers={name: counts[name] for name in sorted(counts)},
            violations=tuple(docket.violations),
            liveness=dict(sorted(self.watch.liveness.counts.items())),
            failures=tuple(self.watch.liveness.violations),
            node_ids={index: host.papers.own.node_id for index, host in self.hosts.items()},
            by_publication=by_publication,
            over_all=over_all,
            expectations=tuple(
                self._met(one, by_publication.get(one.of, over_all))
                for one in self.scenario.expectations
            ),
            deliveries=self.measures.deliveries,
            unentitled_deliveries=self.measures.unentitled_deliveries,
            behind=tuple(self.measures.behind(self.local_of)),
            faults=self._injection.counts(tuple(one.name for one in self.scenario.nemeses)),
            heal_ms=self.watch.agreement.heal_ms,
            idle=self._idle(),
            false_evictions=self.watch.dropped.false_evictions,
            refused=tuple(self.measures.refused),
            frames_sent=self.network.frames_sent,
            bytes_sent=self.network.bytes_sent,
        )

    def _judge_end(self) -> None:
        """What a run comes to; liveness only where the whole run was and it has such a phase."""
        watch, phases = self.watch, self.scenario.phases
        watch.docket.now_ns = watch.liveness.now_ns = self.world.now_ns
        watch.counted.on_audit(self.network.books, self.network.waiting())
        watch.whole.on_newest(self.measures.behind(self.local_of))
        self._audit()
        if self.world.now_ns < phases.end_ns or phases.end_ns == phases.heal_ns:
            return
        watch.whole.on_pieces(watch.agreement)
        watch.landed.on_end()
        watch.replicated.on_end(self._holds)
        watch.dropped.on_end(
            [
                (index, other)
                for index, ways in self.network.sides().items()
                for other in ways
                if self._is_up(index)
            ]
        )
        counts = self._counts
        before, after, settled = counts["quiet"], counts["quiet over"], counts.get("settled")
        watch.calm.on_quiet(after.frames - before.frames, after.at_ns - before.at_ns)
        if settled is not None:
            sent = self.network.frames_sent - settled.frames
            watch.calm.on_end(sent, self.world.now_ns - settled.at_ns)

    def _holds(self, index: int, manifest: Manifest) -> bool:
        disk = self.hosts[index].disk
        return manifest.content_hash in disk.sizes or not disk.has_room(manifest.content_size)

    def _met(self, one: Expectation, spread: Spread) -> Met:
        idle = self._idle()
        whole = (
            {
                "heal_ms": self.watch.agreement.heal_ms,
                "idle_bytes_per_node_per_s": None if idle is None else idle.mean,
                "false_evictions": self.watch.dropped.false_evictions,
                "exhausted": self.watch.climbed.exhausted,
                "assembled": self.watch.chained.assembled,
                "contradicted": self.watch.contradicted.found,
            }
            | {f"gap_{gap.value}": count for gap, count in self.watch.chained.gaps.items()}
            | {
                f"won_{step.value.replace(' ', '_')}": count
                for step, count in self.watch.climbed.won.items()
            }
        )
        value: float | None = (
            whole[one.measure] if one.measure in whole else getattr(spread, one.measure)
        )
        held = value is not None and (
            (one.least is None or value >= one.least) and (one.most is None or value <= one.most)
        )
        return Met(
            measure=one.measure, of=one.of, value=value, least=one.least, most=one.most, held=held
        )

    def _idle(self) -> IdleBytes | None:
        began, ended = self._counts.get("idle"), self._counts.get("quiet over")
        if began is None or ended is None:
            return None
        passed_ns = ended.at_ns - began.at_ns
        rates = sorted(
            (ended.bytes_at[index] - began.bytes_at[index]) * NS_PER_S * 10 // passed_ns
            for index in self.hosts
        )
        rank = -(-len(rates) * 99 // 100)
        return IdleBytes(mean=sum(rates) // len(rates) / 10, p99=rates[rank - 1] / 10)

    def _on_event(self, key: Key, happened: Happened) -> None:
        self.trace.add(key, happened)
        if self._engine.on_record is not None:
            self._engine.on_record(self.trace.events, key, happened)
        if self.trace.events == self._engine.last_event:
            self.world.stop()
        if self.trace.events % 1_000 == 0:
            self._engine.on_progress(self.trace.events, key[0])


_OLD_KEYS: Final = {"rotate_key": "keep", "retire_key": "retire", "revoke_key": "revoke"}
"""What becomes of the keys there were."""


def _check_every(scenario: Scenario) -> int:
    """Where worlds are compared only at the end: the same run, coupled, is checked by itself."""
    if scenario.is_uncoupled:
        return EVENTS_MAX
    if scenario.check_every:
        return scenario.check_every
    return 1 if len(scenario.nodes) <= SMALL_NODES_MAX else len(scenario.nodes)


def _deadlines(scenario: Scenario) -> Deadlines:
    phases = scenario.phases
    longest_ns = max((one.rtt_ns + one.rtt_spread_ns for one in scenario.links), default=0)
    hops = len(scenario.nodes).bit_length()
    pings_ns = 2 * scenario.config.connections.ping_interval_ms * NS_PER_MS
    return Deadlines(
        judged_ns=phases.heal_ns if phases.end_ns > phases.heal_ns else phases.end_ns + 1,
        end_ns=phases.end_ns,
        within_ns=pings_ns + 8 * longest_ns * hops,
    )


def _planned(
    publications: tuple[Publication, ...],
) -> list[tuple[int, tuple[tuple[Publication, int], ...]]]:
    """What is published when; what falls on one moment and group is compiled together."""
    moments: dict[tuple[int, Through], list[tuple[Publication, int]]] = {}
    for one in publications:
        for version, at_ns in enumerate(one.at_ns):
            moments.setdefault((at_ns, one.through), []).append((one, version))
    return [(key[0], tuple(moments[key])) for key in sorted(moments)]


def _check_paths(paths: Paths, nodes: tuple[SimNode, ...]) -> None:
    """Every pair of places has a rule; raises `ScenarioError`."""
    samples = {node.place: node.index for node in nodes}
    for first, one in samples.items():
        for second, other in samples.items():
            if paths.find_rule(one, other) is None:
                raise ScenarioError(f"topology.link: nothing between {first} and {second}")
