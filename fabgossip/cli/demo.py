"""`fabgossip demo`: a control plane and seven daemons on loopback, with real input.

Shows: what is published arrives on every entitled node and on no other; a node that hangs delays
nobody; who has lost its nearest source climbs to the next; who was away catches up; a node that is
revoked is cut off by every neighbour and says why. Throw-away keys in a temporary folder; nothing
is left behind.
"""

import argparse
import lzma
import shutil
import signal
import sys
import tarfile
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from fabgossip.cli.fabric import Fabric, Key, Publication, Truth, percentile
from fabgossip.cli.output import EXIT_FAILURE, EXIT_OK, bold, print_json, say
from fabgossip.cli.revocation import Revocation, revoke_node
from fabgossip.control.enrollment import NodeRow
from fabgossip.errors import FabgossipError

CA_BUNDLE: Final = Path("/etc/ssl/certs/ca-certificates.crt")
SERVICES: Final = Path("/etc/services")
HISTORY_BYTES_MAX: Final = 16 << 20
ARRIVAL_S: Final = 60.0
REVOKED_NODE: Final = "zed-edge-2"
START_S: Final = 60.0

_STORES: Final = ("acme", "cluster", "zed")
_CORE: Final = NodeRow(node_id="core", addresses=(), region="eu", peer_class="core", stores=_STORES)
_EDGE: Final = NodeRow(node_id="edge", addresses=(), region="eu", roles=("edge",))
_ROWS: Final = (
    replace(_CORE, node_id="control-1", zone="b", roles=("control-endpoint",)),
    replace(_CORE, node_id="storage-1", zone="a"),
    replace(_CORE, node_id="storage-2", zone="a", rack="k2"),
    replace(_EDGE, node_id="acme-edge-1", zone="a", orgs=("acme",), services=("dns", "tls")),
    replace(
        _EDGE,
        node_id="acme-gate-1",
        zone="b",
        orgs=("acme",),
        services=("tls", "vpn"),
        roles=("gateway",),
    ),
    replace(_EDGE, node_id="zed-edge-1", zone="a", orgs=("zed",), services=("dns", "tls")),
    replace(_EDGE, node_id="zed-edge-2", zone="b", orgs=("zed",), services=("dns",)),
)

_SOURCE: Final = """schema = 1

[[artifact]]
type = "service_assignment_bundle"
namespace = "org/acme/services/dns"
file = "acme-dns.json"

[[artifact]]
type = "service_assignment_bundle"
namespace = "org/acme/services/vpn"
file = "acme-vpn.json"

[[artifact]]
type = "service_assignment_bundle"
namespace = "org/zed/services/dns"
file = "zed-dns.json"

[[artifact]]
type = "service_assignment_bundle"
namespace = "services/tls/ca-bundle"
file = "ca-bundle.pem"

[[artifact]]
type = "route_policy_bundle"
namespace = "routes/edge"
file = "routes.json"
audience = ["role:edge"]

[[artifact]]
type = "route_policy_bundle"
namespace = "org/acme/routes/private"
file = "acme-routes.json"
audience = ["role:edge", "role:gateway"]

[[artifact]]
type = "qos_policy_bundle"
namespace = "qos/default"
file = "qos.json"

[[artifact]]
type = "cluster_snapshot"
namespace = "snapshots/role/edge"
file = "snapshot.json"
increments = true

[[artifact]]
type = "update_manifest"
namespace = "updates/agent"
file = "update.json"
audience = ["role:edge"]

# Nobody applies it, and no storage node holds it before somebody asks.
[[artifact]]
type = "service_assignment_bundle"
namespace = "services/archive"
file = "archive.json"

[[replication]]
type = "service_assignment_bundle"
on_demand = true
"""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser("demo")
    parser.add_argument(
        "--json", action="store_true", help="the summary as one JSON object on standard output"
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="leave it running; print its folder, what to try next, and how to stop it",
    )
    parser.add_argument(
        "--history",
        type=Path,
        metavar="TAR.XZ",
        help="also publish every version of a document found in this archive",
    )
    parser.set_defaults(run=run_demo)


@dataclass(slots=True)
class _Story:
    """What the demonstration found out."""

    publications: list[Publication]
    climb: list[dict[str, object]]
    recovered: bool
    revocation: Revocation
    history: dict[str, object] | None
    truth: Truth
    """Counted before a node was revoked, which is entitled to nothing afterwards."""


def run_demo(arguments: argparse.Namespace) -> int:
    """`fabgossip demo`."""
    history = None if arguments.history is None else _read_history(arguments.history)
    # Short: a path of a Unix socket has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="fabgossip-"))
    fabric = Fabric(folder)
    kept = False
    # Asked to end by whoever started it, it cleans up as it does for a Ctrl-C.
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        story = _tell(fabric, history)
        good = _report(fabric, story, as_json=arguments.json)
        if arguments.keep:
            kept = True
            _print_next(fabric)
        return EXIT_OK if good else EXIT_FAILURE
    finally:
        if not kept:
            fabric.stop()
            shutil.rmtree(folder, ignore_errors=True)


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _tell(fabric: Fabric, history: list[bytes] | None) -> _Story:
    say("1  a control plane signs: trust bundle, node identities, claims")
    fabric.create("demo-fabric", "c1", _ROWS)
    say(f"2  seven daemons start: {', '.join(row.node_id for row in _ROWS)}")
    fabric.start(START_S)
    _write_source(fabric.source)
    say("3  publish: services, routes, QoS, a snapshot, an update manifest, the CA bundle")
    publications = [_published(fabric, "first configuration")]
    say("4  cut: storage-1 hangs; publish again; storage-2 fetches what storage-1 holds")
    climb, acknowledged = _cut(fabric, publications)
    say("5  heal: storage-1 is killed and started again")
    recovered = _heal(fabric, acknowledged)
    told = None
    if history is not None:
        say(f"6  publish {len(history)} versions of a real document, one after another")
        told = _publish_history(fabric, history, publications)
    say(f"{7 if history else 6}  revoke: {REVOKED_NODE} loses its trust")
    truth = fabric.compare_with_truth()
    revocation = revoke_node(fabric, REVOKED_NODE, ARRIVAL_S)
    return _Story(publications, climb, recovered, revocation, told, truth)


def _published(fabric: Fabric, title: str, *, except_for: tuple[str, ...] = ()) -> Publication:
    publication = fabric.publish(title)
    fabric.wait_for(publication, ARRIVAL_S, except_for)
    return publication


def _cut(
    fabric: Fabric, publications: list[Publication]
) -> tuple[list[dict[str, object]], set[Key]]:
    """What storage-2 tried while its nearest source hung, and what storage-1 had acknowledged."""
    archive = f"{fabric.prefix}/services/archive"
    first, second = fabric.node("storage-1"), fabric.node("storage-2")
    content_hash = fabric.content_hash_of(archive)
    first.fetch(content_hash)
    acknowledged = first.held()
    second.wait_for_advertisement(archive, "storage-1", ARRIVAL_S)
    first.freeze()
    (fabric.source / "routes.json").write_text(
        '{"default": "edge", "changed": "while storage-1 hangs"}\n'
    )
    publications.append(_published(fabric, "while storage-1 hangs", except_for=("storage-1",)))
    second.fetch(content_hash)
    return second.ladder(archive), acknowledged


def _heal(fabric: Fabric, acknowledged: set[Key]) -> bool:
    """The hung node is killed at whatever it was doing. Started again, it has all it acknowledged,
    and catches up."""
    node = fabric.node("storage-1")
    node.kill()
    node.start()
    node.wait_ready(START_S)
    deadline = time.monotonic() + ARRIVAL_S
    while time.monotonic() < deadline:
        held = node.held()
        if fabric.expected_at(node) <= held and acknowledged <= held | fabric.superseded:
            return True
        time.sleep(0.05)
    return False


def _read_history(path: Path) -> list[bytes]:
    try:
        with tarfile.open(path, "r:xz") as archive:
            members = [
                one
                for one in archive.getmembers()
                if one.isfile() and one.size <= HISTORY_BYTES_MAX
            ]
            files = [archive.extractfile(one) for one in sorted(members, key=lambda one: one.name)]
            return [file.read() for file in files if file is not None]
    except (OSError, tarfile.TarError, lzma.LZMAError) as error:
        raise FabgossipError(
            f"--history {path}: {error}; name a .tar.xz of successive versions"
        ) from error


def _publish_history(
    fabric: Fabric, versions: list[bytes], publications: list[Publication]
) -> dict[str, object]:
    delays: list[float] = []
    increments = unequal = 0
    namespace = f"{fabric.prefix}/snapshots/role/edge"
    before: Counter[str] = Counter()
    for number, version in enumerate(versions, 1):
        (fabric.source / "snapshot.json").write_bytes(version)
        publication = _published(fabric, f"version {number}")
        publications.append(publication)
        delays += fabric.delays_ms(publication)
        unequal += _unequal(fabric, namespace, version)
        if number == 1:
            before = _received(fabric)  # nothing led to it: it came as a whole
        else:
            increments += publication.increment_bytes
        if sys.stderr.isatty():
            print(f"\r        {number} of {len(versions)}", end="", file=sys.stderr)
    if sys.stderr.isatty():
        say("")
    # A link that was opened meanwhile counts from its first byte.
    wire = sum(max(0, count - before[link]) for link, count in _received(fabric).items())
    receivers = sum(any(name == namespace for name, _ in one.held()) for one in fabric.nodes) - 1
    whole = sum(map(len, versions[1:])) * receivers
    return {
        "versions": len(versions),
        "publish_to_last_node_ms": {"p50": percentile(delays, 50), "p99": percentile(delays, 99)},
        "snapshot_bytes": sum(map(len, versions[1:])),
        "increment_bytes": increments,
        "receivers": receivers,
        "wire_bytes": wire,
        "whole_bytes": whole,
        "wire_percent": round(100 * wire / whole, 2) if whole else None,
        "chains": {one.row.node_id: one.chains() for one in fabric.nodes},
        "unequal_files": unequal,
    }


def _received(fabric: Fabric) -> Counter[str]:
    """What came over every link of every node so far."""
    return Counter(
        {
            f"{node.row.node_id} {link}": count
            for node in fabric.nodes
            for link, count in node.received_bytes().items()
        }
    )


def _unequal(fabric: Fabric, namespace: str, version: bytes) -> int:
    """How many of the nodes that apply a snapshot have other bytes than were published."""
    files = [one.local(namespace) / "settings" for one in fabric.nodes]
    return sum(one.read_bytes() != version for one in files if one.exists())


def _report(fabric: Fabric, story: _Story, *, as_json: bool) -> bool:
    truth, revocation = story.truth, story.revocation
    delays = [delay for one in story.publications for delay in fabric.delays_ms(one)]
    summary: dict[str, object] = {
        "nodes": len(fabric.nodes),
        "artifacts_published": sum(len(one.artifacts) for one in story.publications),
        "entitled_deliveries": truth.entitled,
        "deliveries": truth.delivered,
        "unentitled_deliveries": truth.unentitled,
        "publish_to_last_node_ms": {"p50": percentile(delays, 50), "p99": percentile(delays, 99)},
        "ladder": story.climb,
        "recovered_after_cut": story.recovered,
        "revoked": {
            "node": REVOKED_NODE,
            "neighbors": len(revocation.cut_ms),
            "accepted_to_cut_ms": revocation.slowest_ms,
            "says": revocation.says,
        },
    }
    if story.history is not None:
        summary["history"] = story.history
    climbed = any(
        step["step"] != "normal" and step["outcome"] == "verified" for step in story.climb
    )
    arrived = truth.delivered == truth.entitled and not truth.unentitled
    is_equal = story.history is None or not story.history["unequal_files"]
    good = arrived and story.recovered and climbed and revocation.is_good and is_equal
    if as_json:
        print_json(summary)
    else:
        _print_summary(summary, story)
    return good


def _print_summary(summary: dict[str, object], story: _Story) -> None:
    delays = summary["publish_to_last_node_ms"]
    assert isinstance(delays, dict)
    say("")
    print(bold("What happened"))
    print(f"  published  {summary['artifacts_published']} artifacts to {summary['nodes']} nodes")
    print(f"  arrived    {summary['deliveries']} of {summary['entitled_deliveries']} entitled")
    print(f"  leaked     {summary['unentitled_deliveries']} to nodes that may not know")
    print(f"  took       {delays['p50']} ms to the last node (median), {delays['p99']} ms (99 %)")
    print("  climbed    storage-2, while its nearest source hung:")
    for step in story.climb:
        tried = f"{step['step']:7} {step['source'] or '-':10} {step['outcome']:9} {step['ms']} ms"
        print(f"             {tried}")
    recovered = "yes" if story.recovered else "NO"
    print(f"  recovered  {recovered}: storage-1, killed and started again")
    revocation = story.revocation
    print(f"  revoked    {REVOKED_NODE}: cut by {len(revocation.cut_ms)} neighbours, each at most")
    print(f"             {revocation.slowest_ms} ms after it accepted the list; it says:")
    print(f"             {revocation.says}")
    if story.history is not None:
        _print_history(story.history)


def _print_history(told: dict[str, object]) -> None:
    delays, chains = told["publish_to_last_node_ms"], told["chains"]
    assert isinstance(delays, dict)
    assert isinstance(chains, dict)
    assembled = sum(int(one["assembled"]) for one in chains.values())
    gaps = Counter[str]()
    for one in chains.values():
        gaps.update(one["gaps"])
    print(f"  history    {told['versions']} versions, {told['unequal_files']} files not equal")
    print(f"             {delays['p50']} ms to the last entitled node (median), {delays['p99']} ms")
    print(f"             {told['increment_bytes']} bytes of increments, manifests included, to")
    print(f"             {told['snapshot_bytes']} bytes of snapshots")
    print(f"             {told['wire_bytes']} bytes came over all links, announcements included:")
    print(f"             {told['wire_percent']} % of whole snapshots to {told['receivers']} nodes")
    broken = " ".join(f"{cause} {count}" for cause, count in gaps.items()) or "none"
    print(f"             {assembled} made of increments; fetched whole instead: {broken}")


def _print_next(fabric: Fabric) -> None:
    socket, control = fabric.node("acme-edge-1").socket, fabric.node("control-1").socket
    program = Path(sys.argv[0])
    is_program = program.name == "fabgossip"
    command = str(program) if is_program else f"{sys.executable} -P -m fabgossip.cli.main"
    authority = fabric.authority_folder
    say("")
    print(f"It keeps running in {fabric.folder}. Try:")
    print(f"  {command} status --socket {socket}")
    print(f"  {command} artifacts --socket {socket}")
    print(f"  {command} why {fabric.prefix}/routes/edge --socket {socket}")
    print(f"  {command} gate route --socket {socket}")
    print(f"  {command} events --socket {socket}")
    print(f"  edit {fabric.source}/routes.json, then")
    print(f"  {command} control compile {fabric.source} --authority {authority}")
    print(f"  {command} control publish --authority {authority} --socket {control}")
    print(f"Stop its {len(fabric.nodes)} daemons, and leave nothing behind:")
    pids = " ".join(str(one.pid) for one in fabric.nodes)
    print(f"  kill {pids}; sleep 2; rm -r {fabric.folder}")


def _write_source(folder: Path) -> None:
    ca_bundle = CA_BUNDLE if CA_BUNDLE.is_file() else SERVICES
    files = {
        "fabric.toml": _SOURCE,
        "acme-dns.json": '{"service": "dns", "org": "acme", "zones": ["acme.example"]}\n',
        "acme-vpn.json": '{"service": "vpn", "org": "acme", "pool": "198.51.100.0/24"}\n',
        "zed-dns.json": '{"service": "dns", "org": "zed", "zones": ["zed.example"]}\n',
        "routes.json": '{"default": "edge"}\n',
        "acme-routes.json": '{"198.51.100.0/24": "acme-gate-1"}\n',
        "qos.json": '{"classes": {"voice": 10, "bulk": 1}}\n',
        "snapshot.json": '{"region": "eu", "features": {"ipv6": true}}\n',
        "update.json": '{"agent": "2.4.1", "sha256": "see the release"}\n',
        "archive.json": '{"archive": "kept for who asks"}\n' * 64,
    }
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    content = ca_bundle.read_bytes() if ca_bundle.is_file() else b"no CA bundle on this system\n"
    (folder / "ca-bundle.pem").write_bytes(content)
