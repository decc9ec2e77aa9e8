"""A whole fabric on loopback, as a program drives it: an authority, daemons as separate processes,
and the truth.

The truth is what the control plane signed and whom it entitled; what nodes say of themselves is
compared with it.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from calendar import timegm
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

from fabgossip.cli.client import Reply, StatusClient, UnreachableError
from fabgossip.cli.publishing import submitter
from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.enrollment import NodeRow, entitlements_of
from fabgossip.control.node_folder import NodePlaces, enroll_node
from fabgossip.control.publishing import Delivery, publish
from fabgossip.control.signing import SignedArtifact
from fabgossip.control.sources.folder import read_source
from fabgossip.errors import ServiceError
from fabgossip.model.artifact import ArtifactType, Manifest
from fabgossip.model.authority import ContentCap
from fabgossip.model.ids import parse_cluster_id, parse_platform_id
from fabgossip.model.moment import UnixTime
from fabgossip.model.scope import Entitlements, matches, may_hold

HOST: Final = "127.0.0.1"
POLL_S: Final = 0.02
STOP_S: Final = 10.0
HELD_STATES: Final = frozenset({"current", "held", "stale"})

Key = tuple[str, str]
"""Namespace and content hash."""


def percentile(values: list[float], percent: int) -> float:
    """Nearest rank, one decimal; 0 of nothing."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return round(ordered[max(0, -(-len(ordered) * percent // 100) - 1)], 1)


def free_addresses(count: int) -> list[str]:
    """Addresses nobody listens on right now; held together so that no two are equal."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [f"{HOST}:{one.getsockname()[1]}" for one in sockets]


@dataclass(slots=True)
class Publication:
    """What one publish handed over, and when it began with each (seconds since 1970)."""

    title: str
    artifacts: list[SignedArtifact]
    began: dict[Key, float]
    increment_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Deliveries that should be, that are, and that must not be."""

    entitled: int
    delivered: int
    unentitled: int


class Node:
    """One daemon of the fabric, as a process."""

    def __init__(self, row: NodeRow, folder: Path, cluster_id: str) -> None:
        self.row = row
        self.folder = folder
        self.socket = folder / "s"
        self.held_by_right: Entitlements = entitlements_of(row, cluster_id)
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running process."""
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the daemon in a session of its own, so that a Ctrl-C at the terminal is ours to
        handle."""
        command = [sys.executable, "-P", "-m", "fabgossip.cli.main", "run", "--config"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and our own file
                [*command, str(self.folder / "fabgossip.toml")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "MALLOC_ARENA_MAX": "2"},  # as the unit has it
            )

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until the status socket answers; raises `ServiceError` with the end of the log."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                if self._ask("/v1/ready").code == 200:
                    return
            except UnreachableError:
                pass
            if self._process is not None and self._process.poll() is not None:
                break
            time.sleep(POLL_S)
        tail = self._log.read_text(errors="replace")[-2_000:] if self._log.exists() else ""
        raise ServiceError(f"{self.row.node_id} did not start:\n{tail}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if the process runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def freeze(self) -> None:
        """Hang: the process stops, its kernel goes on acknowledging."""
        self.signal(signal.SIGSTOP)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        """Ask to stop, then insist."""
        self.ask_to_stop()
        self.wait_stopped()

    def ask_to_stop(self) -> None:
        """SIGTERM, also to one that hangs."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)

    def wait_stopped(self) -> None:
        """Wait for the end of one that was asked to stop; whoever does not is killed."""
        if self._process is not None:
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def get(self, target: str) -> dict[str, object]:
        """Ask the status socket."""
        return self._ask(target).body

    def _ask(self, target: str) -> Reply:
        with closing(StatusClient(self.socket)) as client:
            return client.get(target)

    def received_bytes(self) -> dict[str, int]:
        """What came over each open link, by peer and when the link opened, as the node counts it:
        everything, TLS apart."""
        peers = self.get("/v1/peers")["items"]
        assert isinstance(peers, list)
        return {f"{one['node_id']} {one['direction']}": int(one["received_bytes"]) for one in peers}

    def chains(self) -> dict[str, object]:
        """Snapshots made of increments since the start."""
        counts = self.get("/v1/status")["chains"]
        assert isinstance(counts, dict)
        return counts

    def fetch(self, content_hash: str) -> None:
        """Get a content now; raises `ServiceError`."""
        with closing(StatusClient(self.socket)) as client:
            reply = client.post(f"/v1/fetch?content_hash={content_hash}")
        if reply.code != 200:
            raise ServiceError(f"{self.row.node_id}: fetch: {reply.body.get('detail')}")

    def ladder(self, namespace: str) -> list[dict[str, object]]:
        """Every try to get a namespace's content."""
        rows = self.get(f"/v1/why?namespace={quote(namespace)}")["ladder"]
        assert isinstance(rows, list)
        return rows

    def wait_for_advertisement(self, namespace: str, node_id: str, timeout_s: float) -> None:
        """Wait until a peer has said that it holds a content; raises `ServiceError`."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            holders = self.get(f"/v1/why?namespace={quote(namespace)}").get("advertised_by", [])
            if isinstance(holders, list) and node_id in holders:
                return
            time.sleep(POLL_S)
        raise ServiceError(f"{node_id} never told {self.row.node_id} that it holds {namespace}")

    def items(self) -> list[dict[str, object]]:
        """Everything the node knows of."""
        items: list[dict[str, object]] = []
        after = ""
        while True:
            body = self.get(f"/v1/artifacts?limit=1000&after={quote(after)}")
            rows = body["items"]
            assert isinstance(rows, list)
            items += rows
            if body["next"] is None:
                return items
            after = str(body["next"])

    def held(self) -> set[Key]:
        """Namespaces and contents the node has, ready to use or to serve."""
        try:
            items = self.items()
        except UnreachableError:
            return set()
        return {
            (str(one["namespace"]), str(one["content_hash"]))
            for one in items
            if one["state"] in HELD_STATES
        }

    def local(self, namespace: str) -> Path:
        """The current version of a namespace as consumers on the node see it."""
        return (self.folder / "state" / "local").joinpath(*namespace.split("/")) / "current"

    def arrivals(self) -> dict[Key, float]:
        """When each content became the local state, in seconds since 1970, from the node's own
        log."""
        found: dict[Key, float] = {}
        for line in self._log.read_text(errors="replace").splitlines():
            if '"artifact_current"' in line or '"artifact_staged"' in line:
                row = json.loads(line)
                at = time.strptime(row["at"][:19], "%Y-%m-%dT%H:%M:%S")
                moment = float(timegm(at)) + float(row["at"][19:23])
                found.setdefault((row["namespace"], row["content_hash"]), moment)
        return found


@dataclass(slots=True)
class Fabric:
    """An authority and its daemons below one folder."""

    folder: Path
    nodes: list[Node] = field(default_factory=list)
    superseded: set[Key] = field(default_factory=set)
    """What was current once and is not any more."""
    prefix: str = ""

    @property
    def authority_folder(self) -> Path:
        """The control plane's folder."""
        return self.folder / "authority"

    @property
    def source(self) -> Path:
        """The folder of configuration files."""
        return self.folder / "source"

    def create(
        self,
        platform: str,
        cluster: str,
        rows: tuple[NodeRow, ...],
        caps: tuple[ContentCap, ...] = (),
    ) -> None:
        """Make the authority and enroll the nodes, each on a free port."""
        authority = AuthorityFolder(self.authority_folder)
        now = UnixTime(int(time.time()))
        bundle = authority.create(parse_platform_id(platform), parse_cluster_id(cluster), now, caps)
        self.prefix = bundle.prefix
        for row, address in zip(rows, free_addresses(len(rows)), strict=True):
            placed = replace(row, addresses=(address,))
            folder = self.folder / row.node_id
            places = NodePlaces(listen=address, storage="state", socket="s", operator_group="")
            enrolled = enroll_node(authority, placed, folder, places, now)
            self.nodes.append(Node(enrolled, folder, cluster))

    def start(self, timeout_s: float) -> None:
        """Start every daemon and wait until all answer."""
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_ready(timeout_s)

    def stop(self) -> None:
        """Stop every daemon."""
        for node in self.nodes:
            node.ask_to_stop()
        for node in self.nodes:
            node.wait_stopped()

    def node(self, node_id: str) -> Node:
        """A node by id."""
        return next(one for one in self.nodes if one.row.node_id == node_id)

    def publish(self, title: str) -> Publication:
        """Compile the source folder and hand what is new to the first node; raises `ServiceError`
        on refusal."""
        authority = AuthorityFolder(self.authority_folder)
        before = {key: one.manifest for key, one in authority.published().items()}
        signed = authority.compile(read_source(self.source), UnixTime(int(time.time())))
        began: dict[Key, float] = {}
        with closing(StatusClient(self.nodes[0].socket)) as client:
            submit = submitter(client)

            def submit_and_note(artifact: SignedArtifact) -> Delivery:
                began[_key(artifact.manifest)] = time.time()
                return submit(artifact)

            now = UnixTime(int(time.time()))
            deliveries = publish(authority, submit_and_note, now, everything=False)
        refused = [one for one in deliveries if not one.is_accepted]
        if refused:
            raise ServiceError(
                f"refused: {refused[0].artifact.manifest.namespace.text}: {refused[0].detail}"
            )
        for one in signed:
            old = before.get(one.manifest.namespace.text)
            if old is not None:
                self.superseded.add((old.namespace.text, old.content_hash.hex()))
        increments = [
            one for one in signed if one.manifest.artifact_type is ArtifactType.SNAPSHOT_INCREMENT
        ]
        size = sum(len(one.content) + len(one.envelope) for one in increments)
        return Publication(title, [one.artifact for one in deliveries], began, size)

    def content_hash_of(self, namespace: str) -> str:
        """The current content of a namespace, by the truth."""
        return (
            AuthorityFolder(self.authority_folder)
            .published()[namespace]
            .manifest.content_hash.hex()
        )

    def expected_at(self, node: Node, manifests: list[Manifest] | None = None) -> set[Key]:
        """What a node should hold of the current versions: what it applies, and what it stores for
        others."""
        if manifests is None:
            manifests = [
                one.manifest for one in AuthorityFolder(self.authority_folder).published().values()
            ]
        rule = {
            one.artifact_type for one in read_source(self.source).replication.rules if one.on_demand
        }
        return {
            _key(one) for one in manifests if _should_hold(one, node, rule) and not _is_pinned(one)
        }

    def wait_for(
        self, publication: Publication, timeout_s: float, except_for: tuple[str, ...] = ()
    ) -> None:
        """Wait until every entitled node has what was published; raises `ServiceError` naming who
        has not."""
        wholes = [one.manifest for one in publication.artifacts if one.manifest.base is None]
        deadline = time.monotonic() + timeout_s
        waiting = [one for one in self.nodes if one.row.node_id not in except_for]
        while waiting:
            waiting = [one for one in waiting if not self.expected_at(one, wholes) <= one.held()]
            if waiting and time.monotonic() > deadline:
                node = waiting[0]
                missing = sorted(self.expected_at(node, wholes) - node.held())
                raise ServiceError(f"{publication.title}: {node.row.node_id} lacks {missing[0][0]}")
            time.sleep(POLL_S)

    def delays_ms(self, publication: Publication) -> list[float]:
        """Per artifact of a publication: from publish to the last node that applies it, by the
        nodes' own logs."""
        arrivals = [one.arrivals() for one in self.nodes]
        delays = []
        for artifact in publication.artifacts:
            key = _key(artifact.manifest)
            moments = [one[key] for one in arrivals if key in one]
            if moments:
                delays.append(max(0.0, (max(moments) - publication.began[key]) * 1_000))
        return delays

    def compare_with_truth(self) -> Truth:
        """Every node's holdings against what it is entitled to."""
        current = [
            one.manifest for one in AuthorityFolder(self.authority_folder).published().values()
        ]
        allowed = {_key(one): one for one in current}
        entitled = delivered = unentitled = 0
        for node in self.nodes:
            expected, held = self.expected_at(node, current), node.held()
            entitled += len(expected)
            delivered += len(expected & held)
            for one in node.items():
                manifest = allowed.get((str(one["namespace"]), str(one["content_hash"])))
                unentitled += manifest is None or not _may_hold(manifest, node)
        return Truth(entitled=entitled, delivered=delivered, unentitled=unentitled)


def _key(manifest: Manifest) -> Key:
    return manifest.namespace.text, manifest.content_hash.hex()


def _is_pinned(manifest: Manifest) -> bool:
    """The first trust bundle: every node has it as a file, and none need hold its artifact."""
    return manifest.artifact_type is ArtifactType.TRUST_BUNDLE and manifest.config_version == 1


def _may_hold(manifest: Manifest, node: Node) -> bool:
    return may_hold(
        manifest.audience, manifest.artifact_type.value, manifest.namespace.text, node.held_by_right
    )


def _should_hold(manifest: Manifest, node: Node, on_demand: set[ArtifactType]) -> bool:
    if matches(manifest.audience, node.held_by_right):
        return True
    return manifest.artifact_type not in on_demand and _may_hold(manifest, node)
