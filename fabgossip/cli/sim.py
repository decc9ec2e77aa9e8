"""`fabgossip sim run` and `fabgossip sim list`: many nodes in virtual time, judged by the truth.

Here the control plane is plugged into the simulator: keys from the seed, time from the run.
"""

import argparse
import gc
import json
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from fabgossip.cli.output import EXIT_OK, say
from fabgossip.control.bundles import KEY_ROLES, ROOTS, first_bundle
from fabgossip.control.compiler import bundle_step, compile_artifacts, head_after
from fabgossip.control.drafts import CompileInput, PublishedHead
from fabgossip.control.enrollment import (
    NodeRow,
    claims_envelope,
    entitlements_of,
    openings_of,
    salts_for,
)
from fabgossip.control.keystore import ArtifactKey, KeyRing, artifact_key_from_seed
from fabgossip.control.signing import SignedArtifact, sign_artifact
from fabgossip.control.sources.folder import Document, Source
from fabgossip.core.setup import OwnIdentity
from fabgossip.errors import ScenarioError, UsageError
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import (
    CERT_LIFE_MAX_S,
    CONTROL_ENDPOINT_ROLE,
    NodeIdentity,
    RevocationList,
)
from fabgossip.model.ids import ClusterId, NodeId, PlatformId
from fabgossip.model.moment import UnixTime, seconds_after
from fabgossip.model.topology import Endpoint
from fabgossip.sim.authority import Draft, Issued, Papers
from fabgossip.sim.checkers import Violation
from fabgossip.sim.host import default_node
from fabgossip.sim.measures import Spread
from fabgossip.sim.quantities import parse_duration
from fabgossip.sim.run import Engine, Run, RunOutcome
from fabgossip.sim.scenario import CLUSTER, PLATFORM, Scenario, parse_scenario
from fabgossip.sim.streams import Streams
from fabgossip.sim.topology import SimNode
from fabgossip.trust.bundle import PinnedTrust, bundle_from_pinned
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.envelopes import parse_envelope

EXIT_SAFETY: Final = 10
EXIT_LIVENESS: Final = 11
EXIT_SIMULATOR: Final = 70
LIBRARY: Final = Path("simulations")
NODE_CA: Final = b"node certificate authority of a simulated cluster"
"""Nobody parses it here: in a simulation certificates are verified facts."""
PORT: Final = 7946
BOOTSTRAP_ENTRIES: Final = 8
PROGRESS_S: Final = 0.2


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    text = "run many nodes in virtual time, with faults, and judge them by the truth"
    parser = commands.add_parser("sim", help=text, description=text)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    run = verbs.add_parser(
        "run",
        help="run one scenario with one seed",
        description="Run one scenario with one seed.",
        epilog="Exit codes: 0 held, 10 safety violated, 11 liveness or expectation violated, "
        "70 simulator fault, 78 bad scenario.",
    )
    run.add_argument("scenario", help="a file, or a name below ./simulations")
    run.add_argument("--seed", type=int, default=1, help="of all chance (1)")
    run.add_argument("--until", metavar="DUR", help="end there, such as 30s")
    run.add_argument("--hash-seed", type=int, metavar="N", help="restart under PYTHONHASHSEED=N")
    run.add_argument("--json", action="store_true", help="one JSON object on standard output")
    run.set_defaults(run=run_sim)
    listed = verbs.add_parser("list", help="the scenarios of ./simulations")
    listed.add_argument("--json", action="store_true", help="one JSON object on standard output")
    listed.set_defaults(run=run_list)


class SeededAuthority:
    """The control plane's own compiler and signer, with keys and salts from the run's streams."""

    def __init__(self, scenario: Scenario, streams: Streams, now: UnixTime) -> None:
        roles = [(role.name, role.count) for role in KEY_ROLES] + [("root", ROOTS)]
        self._keys = {
            name: tuple(_key(streams, f"{name}/{number}") for number in range(count))
            for name, count in roles
        }
        self._ring = KeyRing((role, key) for role, ring in self._keys.items() for key in ring)
        self._bundle = first_bundle(
            PlatformId(PLATFORM), ClusterId(CLUSTER), self._keys, NODE_CA, now
        )
        self._rows = {node.node_id: _row(node, streams) for node in scenario.nodes}
        self._streams = streams
        self._now = now
        self._documents: dict[str, Document] = {}
        self._published: dict[str, PublishedHead] = {}
        self._pinned = self._pin()

    @property
    def prefix(self) -> str:
        """See `Authority`."""
        return self._bundle.prefix

    def _compile(self, now: UnixTime) -> tuple[SignedArtifact, ...]:
        given = CompileInput(
            bundle=self._bundle,
            nodes=tuple(self._rows.values()),
            source=Source(documents=tuple(self._documents.values())),
            revocations=RevocationList(),
            published=self._published,
            now=now,
            claims_keys=self._keys["claims"],
        )
        return tuple(
            sign_artifact(self._bundle, self._ring, one.manifest, one.content)
            for one in compile_artifacts(given)
        )

    def _pin(self) -> PinnedTrust:
        unsigned = bundle_step(None, self._bundle, self._now)
        signed = sign_artifact(self._bundle, self._ring, unsigned.manifest, unsigned.content)
        return bundle_from_pinned(signed.envelope, signed.content, Ed25519Verifier())

    def publish(self, drafts: tuple[Draft, ...], now: UnixTime) -> tuple[Issued, ...]:
        """See `Authority`."""
        for draft in drafts:
            self._documents[draft.namespace] = Document(
                artifact_type=draft.artifact_type,
                namespace=draft.namespace,
                audience=draft.audience,
                content=draft.content,
            )
        signed = self._compile(now)
        for one in signed:
            if one.manifest.base is None:
                name = one.manifest.namespace.text
                keeps = one.manifest.artifact_type is ArtifactType.CLUSTER_SNAPSHOT
                self._published[name] = head_after(
                    self._published.get(name), one.manifest, one.content if keeps else None
                )
        return tuple(
            Issued(
                manifest=one.manifest,
                manifest_hash=parse_envelope(one.envelope).manifest_hash,
                envelope=one.envelope,
                content=one.content,
            )
            for one in signed
        )

    def papers(self, node_id: NodeId) -> Papers:
        """See `Authority`."""
        row = self._rows[node_id]
        times = (self._now, seconds_after(self._now, CERT_LIFE_MAX_S))
        own = OwnIdentity(
            node_id=node_id,
            claims=claims_envelope(row, self._bundle, self._keys["claims"], times),
            openings=openings_of(row, CLUSTER),
            pinned=self._pinned,
        )
        certificate = NodeIdentity(
            node_id=node_id,
            certificate_hash=self._streams.of(f"authority/certificate/{node_id}").bytes(32),
            expires_at=times[1],
        )
        return Papers(
            own=own,
            certificate=certificate,
            entitlements=entitlements_of(row, CLUSTER),
            bootstrap=self._bootstrap(node_id),
        )

    def _bootstrap(self, node_id: NodeId) -> tuple[Endpoint, ...]:
        """As enrolment writes it: storage nodes, the control plane's endpoint first."""
        rows = [row for row in self._rows.values() if row.stores and row.node_id != node_id]
        rows.sort(key=lambda row: (CONTROL_ENDPOINT_ROLE not in row.roles, row.node_id))
        return tuple(
            Endpoint(address=row.addresses[0], node_id=NodeId(row.node_id))
            for row in rows[:BOOTSTRAP_ENTRIES]
        )


def _key(streams: Streams, name: str) -> ArtifactKey:
    return artifact_key_from_seed(streams.of(f"authority/key/{name}").bytes(32))


def _row(node: SimNode, streams: Streams) -> NodeRow:
    row = NodeRow(
        node_id=node.node_id,
        addresses=(f"{node.node_id}.sim:{PORT}",),
        region=node.place.region,
        zone=node.place.zone,
        rack=node.place.rack,
        peer_class=node.peer_class,
        orgs=node.orgs,
        services=node.services,
        roles=(node.role,),
        stores=node.assigned,
    )
    entropy = streams.of(f"authority/salts/{node.node_id}").bytes
    return replace(row, salts=salts_for(row, CLUSTER, entropy))


def find_scenario(name: str) -> Path:
    """The file of a path, or of a name in the library; raises `ScenarioError`."""
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return path
    for folder in ("scenarios", "regressions"):
        inside = LIBRARY / folder / f"{name}.toml"
        if inside.is_file():
            return inside
    raise ScenarioError(f"{name}: no file, and no scenario of ./{LIBRARY}; see fabgossip sim list")


def read_scenario(path: Path) -> Scenario:
    """The scenario of a file; raises `ScenarioError`."""
    try:
        return parse_scenario(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: {error}") from error


def run_sim(arguments: argparse.Namespace) -> int:
    """`fabgossip sim run`."""
    if arguments.hash_seed is not None:
        _restart_under(arguments.hash_seed)
    scenario = read_scenario(find_scenario(arguments.scenario))
    until_ns = None
    if arguments.until is not None:
        try:
            until_ns = parse_duration(arguments.until)
        except ValueError as error:
            raise UsageError(f"--until: {error}") from error
    progress = _Progress(scenario.end_ns if until_ns is None else until_ns)
    engine = Engine(
        make_authority=SeededAuthority,
        verifier=Ed25519Verifier(),
        make_node=default_node,
        on_progress=progress.show,
    )
    began = time.monotonic()
    gc.disable()  # little is garbage before a run ends, and looking for it takes time
    try:
        outcome = Run(scenario, arguments.seed, engine).run(until_ns)
    except ScenarioError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever is left is the simulator's own fault
        progress.end()
        say(f"fabgossip: simulator fault: {type(error).__name__}: {error}")
        return EXIT_SIMULATOR
    finally:
        gc.enable()
    wall_ms = int((time.monotonic() - began) * 1_000)
    progress.end()
    verdict = judge(outcome)
    if arguments.json:
        print(json.dumps(report(outcome, verdict, wall_ms)))
    else:
        _print_summary(outcome, verdict, wall_ms)
    return verdict.exit_code


def _restart_under(hash_seed: int) -> None:
    """Python reads the hash seed once, at its start."""
    if not 0 <= hash_seed < 2**32:
        raise UsageError("--hash-seed: 0 to 4294967295")
    if os.environ.get("PYTHONHASHSEED") != str(hash_seed):
        environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
        command = [sys.executable, "-m", "fabgossip.cli.main", *sys.argv[1:]]
        sys.stdout.flush()
        os.execve(sys.executable, command, environment)  # noqa: S606  # our own program, no shell


class _Progress:
    """A line on standard error, on a terminal only."""

    def __init__(self, end_ns: int) -> None:
        self._end_ns = max(1, end_ns)
        self._shown_at = 0.0
        self._is_shown = sys.stderr.isatty()

    def show(self, events: int, time_ns: int) -> None:
        """So far."""
        now = time.monotonic()
        if self._is_shown and now - self._shown_at > PROGRESS_S:
            self._shown_at = now
            share = 100 * time_ns // self._end_ns
            print(f"\r{share:3d} %  {events} events", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Clear the line."""
        if self._is_shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


class Verdict:
    """What a run comes to: safety before liveness."""

    def __init__(self, word: str, exit_code: int, failure: dict[str, object] | None) -> None:
        self.word = word
        self.exit_code = exit_code
        self.failure = failure


def judge(outcome: RunOutcome) -> Verdict:
    """The verdict of an outcome."""
    if outcome.violations:
        return Verdict("safety", EXIT_SAFETY, _violation(outcome, outcome.violations[0]))
    details = []
    if outcome.refused:
        details.append(("expectation", f"not accepted: {outcome.refused[0]}"))
    if outcome.over_all.missed:
        details.append(("missed", f"{outcome.over_all.missed} of {outcome.over_all.pairs} pairs"))
    if outcome.behind:
        details.append(("L1", f"{len(outcome.behind)} behind, first {outcome.behind[0]}"))
    if not details:
        return Verdict("held", EXIT_OK, None)
    checker, detail = details[0]
    failure: dict[str, object] = {"checker": checker, "signature": checker, "detail": detail}
    return Verdict("liveness", EXIT_LIVENESS, failure)


def _violation(outcome: RunOutcome, one: Violation) -> dict[str, object]:
    return {
        "checker": one.checker,
        "signature": one.signature,
        "node": outcome.node_ids.get(one.index),
        "at_ns": one.at_ns,
        "detail": one.detail,
    }


def report(outcome: RunOutcome, verdict: Verdict, wall_ms: int) -> dict[str, object]:
    """What `--json` prints. Only `wall_ms` differs between two runs of one seed."""
    hash_seed = os.environ.get("PYTHONHASHSEED", "random")
    return {
        "schema_version": 1,
        "kind": "sim-run",
        "scenario": outcome.scenario,
        "seed": outcome.seed,
        "verdict": verdict.word,
        "exit_code": verdict.exit_code,
        "failure": verdict.failure,
        "trace_hash": outcome.trace_hash,
        "t99_ms": outcome.over_all.t99_ms,
        "missed": outcome.over_all.missed,
        "unentitled_deliveries": outcome.unentitled_deliveries,
        "run": {
            "nodes": outcome.nodes,
            "events": outcome.events,
            "virtual_ms": outcome.virtual_ms,
            "wall_ms": wall_ms,
            "checkpoints": len(outcome.checkpoints),
            "hash_seed": int(hash_seed) if hash_seed.isdigit() else None,
            "frames": outcome.frames_sent,
            "bytes": outcome.bytes_sent,
        },
        "checkers": {
            name: {"state": one.state, "checks": one.checks, "violations": one.violations}
            for name, one in outcome.checkers.items()
        },
        "deliveries": outcome.deliveries,
        "entitled_deliveries": outcome.deliveries - outcome.unentitled_deliveries,
        "behind": list(outcome.behind),
        "refused": list(outcome.refused),
        "measures": {name: asdict(one) for name, one in outcome.by_publication.items()},
    }


def _print_summary(outcome: RunOutcome, verdict: Verdict, wall_ms: int) -> None:
    print(f"{outcome.scenario}, seed {outcome.seed}: {verdict.word}")
    print(
        f"  {outcome.nodes} nodes, {outcome.events} events, "
        f"{outcome.virtual_ms / 1_000:g} s virtual in {wall_ms / 1_000:g} s"
    )
    print(f"  trace {outcome.trace_hash}")
    if verdict.failure is not None:
        print(f"  {verdict.failure['signature']}: {verdict.failure['detail']}")
    print(f"  deliveries {outcome.deliveries}, unentitled {outcome.unentitled_deliveries}")
    width = max((len(name) for name in outcome.by_publication), default=0)
    for name, one in outcome.by_publication.items():
        print(f"  {name.ljust(width)}  {_spread(one)}")
    states = ", ".join(f"{name} {one.state}" for name, one in outcome.checkers.items())
    print(f"  {states}")


def _spread(one: Spread) -> str:
    return (
        f"t50 {one.t50_ms} ms, t99 {one.t99_ms} ms (bound {one.t99_bound_ms} ms), "
        f"rmr {one.rmr}, missed {one.missed} of {one.pairs}"
    )


def run_list(arguments: argparse.Namespace) -> int:
    """`fabgossip sim list`."""
    found = [
        (path, read_scenario(path))
        for folder in ("scenarios", "regressions")
        for path in sorted((LIBRARY / folder).glob("*.toml"))
    ]
    if arguments.json:
        rows = [
            {"name": one.name, "title": one.title, "file": str(path), "tags": list(one.tags),
             "proves": list(one.proves), "nodes": len(one.nodes)}
            for path, one in found
        ]  # fmt: skip
        print(json.dumps({"schema_version": 1, "kind": "sim-list", "scenarios": rows}))
        return EXIT_OK
    for _, one in found:
        print(f"{one.name}  {len(one.nodes)} nodes: {one.title}")
    return EXIT_OK
