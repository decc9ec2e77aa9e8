"""`fabgossip control`: the commands of the control plane."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from fabgossip.cli.client import StatusClient
from fabgossip.cli.output import EXIT_OK, EXIT_REFUSED, print_json, print_table, say
from fabgossip.control.authority import AuthorityFolder, fingerprint
from fabgossip.control.enrollment import NodeRow
from fabgossip.control.node_folder import NodePlaces, enroll_node, renew_node
from fabgossip.control.publishing import Delivery, publish
from fabgossip.control.signing import SignedArtifact
from fabgossip.control.sources.folder import read_source
from fabgossip.errors import ControlError, ModelError, UsageError
from fabgossip.model.artifact import CONTENT_BYTES_MAX, ArtifactType
from fabgossip.model.authority import DEMO_PREFIX, ContentCap
from fabgossip.model.ids import parse_cluster_id, parse_platform_id
from fabgossip.model.moment import UnixTime
from fabgossip.model.topology import PeerClass

_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20}


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command group."""
    text = "the control plane: keys, nodes, artifacts"
    verbs = commands.add_parser("control", help=text, description=text).add_subparsers(
        metavar="VERB", required=True
    )
    init = _verb(
        verbs, "init", "make an authority: keys, trust bundle 1, the file nodes pin", run_init
    )
    init.add_argument(
        "--platform", required=True, help=f"platform id; {DEMO_PREFIX}... has throw-away keys"
    )
    init.add_argument("--cluster", required=True, help="cluster id")
    init.add_argument(
        "--content-cap", action="append", default=[], metavar="TYPE=SIZE", help="e.g. 256MiB"
    )
    enroll = _verb(verbs, "enroll", "register a node and write its complete folder", run_enroll)
    enroll.add_argument("node", metavar="NODE", help="node id")
    enroll.add_argument("--out", type=Path, required=True, help="the node's folder to write")
    enroll.add_argument(
        "--renew", action="store_true", help="only a new certificate and new claims"
    )
    enroll.add_argument("--address", default="", metavar="HOST:PORT", help="where peers reach it")
    enroll.add_argument(
        "--listen", default="", metavar="HOST:PORT", help="where it listens (--address)"
    )
    enroll.add_argument("--org", action="append", default=[], help="an organisation it belongs to")
    enroll.add_argument("--service", action="append", default=[], help="a service it runs")
    enroll.add_argument("--role", action="append", default=[], help="a role it has")
    enroll.add_argument(
        "--stores",
        action="append",
        default=[],
        metavar="cluster|ORG",
        help="what it stores for others",
    )
    enroll.add_argument(
        "--class",
        dest="peer_class",
        default="full",
        choices=[one.name.lower() for one in PeerClass],
    )
    for name, value in (("region", "r1"), ("zone", "z1"), ("rack", "k1")):
        enroll.add_argument(f"--{name}", default=value, help=f"failure domain ({value})")
    enroll.add_argument(
        "--storage", default="state", help="its data folder (state, beside the configuration)"
    )
    enroll.add_argument("--socket", default="status.sock", help="its status socket (status.sock)")
    compile_ = _verb(
        verbs, "compile", "nodes and a folder of files become signed artifacts", run_compile
    )
    compile_.add_argument("source", type=Path, help="folder with fabric.toml")
    publish_ = _verb(verbs, "publish", "hand what is new to a running node", run_publish)
    publish_.add_argument("--socket", type=Path, required=True, help="the node's status socket")
    publish_.add_argument(
        "--all", action="store_true", help="everything current, not only what is new"
    )


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    text: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=text)
    parser.add_argument("--authority", type=Path, required=True, help="the authority folder")
    parser.add_argument(
        "--passphrase-file", type=Path, help="first line: what encrypts the private keys"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(run=run)
    return parser


def _now() -> UnixTime:
    return UnixTime(int(time.time()))


def _passphrase(arguments: argparse.Namespace) -> bytes | None:
    path: Path | None = arguments.passphrase_file
    if path is None:
        return None
    try:
        first = path.read_bytes().splitlines()[0]
    except (OSError, IndexError) as error:
        raise ControlError(f"{path}: no passphrase in it: {error}") from error
    return first


def _authority(arguments: argparse.Namespace) -> AuthorityFolder:
    return AuthorityFolder(arguments.authority, _passphrase(arguments))


def _cap(text: str) -> ContentCap:
    name, _, size = text.partition("=")
    unit = size[-3:]
    try:
        size_max = int(size.removesuffix(unit)) * _UNITS[unit]
        artifact_type = ArtifactType(name)
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"--content-cap {text!r}: expected TYPE=SIZE, e.g. service_assignment_bundle=256MiB"
        ) from error
    if not 0 < size_max <= CONTENT_BYTES_MAX:
        raise UsageError(f"--content-cap {text!r}: at most {CONTENT_BYTES_MAX >> 20}MiB")
    return ContentCap(artifact_type=artifact_type, size_max=size_max)


def run_init(arguments: argparse.Namespace) -> int:
    """`fabgossip control init`."""
    try:
        platform, cluster = (
            parse_platform_id(arguments.platform),
            parse_cluster_id(arguments.cluster),
        )
    except ModelError as error:
        raise UsageError(str(error)) from error
    passphrase = _passphrase(arguments)
    if passphrase is None and not platform.startswith(DEMO_PREFIX):
        raise UsageError(
            "private keys are encrypted: give --passphrase-file, "
            f"or name the platform {DEMO_PREFIX}..."
        )
    authority = AuthorityFolder(arguments.authority, passphrase)
    caps = tuple(map(_cap, arguments.content_cap))
    bundle = authority.create(platform, cluster, _now(), caps)
    pinned = fingerprint(authority.bootstrap())
    if arguments.json:
        where = str(arguments.authority)
        print_json({"authority": where, "cluster": cluster, "bootstrap_sha256": pinned})
        return EXIT_OK
    roots = f"{bundle.root_threshold} of {len(bundle.root_keys)}"
    print(f"authority for cluster {cluster} in {arguments.authority}")
    print(f"  roots      {roots}; move keys/root away from this machine")
    print(f"  bootstrap  {authority.folder / 'trust' / 'bootstrap'}  sha256 {pinned}")
    say(
        f"next: fabgossip control enroll NODE --authority {arguments.authority} "
        "--out FOLDER --address HOST:PORT"
    )
    return EXIT_OK


def run_enroll(arguments: argparse.Namespace) -> int:
    """`fabgossip control enroll`."""
    authority = _authority(arguments)
    with authority.locked():
        if arguments.renew:
            row = renew_node(authority, arguments.node, arguments.out, _now())
        else:
            row = enroll_node(authority, _row(arguments), arguments.out, _places(arguments), _now())
    if arguments.json:
        print_json(
            {"node_id": row.node_id, "folder": str(arguments.out), "renewed": arguments.renew}
        )
    else:
        print(f"{'renewed' if arguments.renew else 'enrolled'} {row.node_id} in {arguments.out}")
        say(f"next: fabgossip run --config {arguments.out / 'fabgossip.toml'}")
    return EXIT_OK


def _row(arguments: argparse.Namespace) -> NodeRow:
    if not arguments.address:
        raise UsageError("enroll: --address HOST:PORT says where peers reach the node")
    try:
        return NodeRow(
            node_id=arguments.node,
            addresses=(arguments.address,),
            region=arguments.region,
            zone=arguments.zone,
            rack=arguments.rack,
            peer_class=arguments.peer_class,
            orgs=tuple(sorted(set(arguments.org))),
            services=tuple(sorted(set(arguments.service))),
            roles=tuple(sorted(set(arguments.role))),
            stores=tuple(sorted(set(arguments.stores))),
        )
    except (ModelError, ValueError) as error:
        raise UsageError(f"enroll: {error}") from error


def _places(arguments: argparse.Namespace) -> NodePlaces:
    return NodePlaces(
        listen=arguments.listen or arguments.address,
        storage=arguments.storage,
        socket=arguments.socket,
    )


def run_compile(arguments: argparse.Namespace) -> int:
    """`fabgossip control compile`."""
    authority = _authority(arguments)
    with authority.locked():
        signed = authority.compile(read_source(arguments.source), _now())
    rows = [
        (
            one.manifest.namespace.text,
            one.manifest.artifact_type.value,
            str(one.manifest.order),
            len(one.content),
        )
        for one in signed
    ]
    if arguments.json:
        items = [
            dict(zip(("namespace", "family", "order", "size"), row, strict=True)) for row in rows
        ]
        print_json({"compiled": items})
    elif rows:
        print_table(("NAMESPACE", "TYPE", "VERSION", "BYTES"), rows)
    else:
        print("nothing changed")
    return EXIT_OK


def submitter(client: StatusClient) -> Callable[[SignedArtifact], Delivery]:
    """Hands one artifact at a time to a node."""

    def submit(artifact: SignedArtifact) -> Delivery:
        body = client.submit(artifact.envelope, artifact.content).body
        return Delivery(
            artifact=artifact,
            outcome=str(body.get("outcome", "refused")),
            code=str(body.get("code", "")),
            detail=str(body.get("detail", "")),
        )

    return submit


def run_publish(arguments: argparse.Namespace) -> int:
    """`fabgossip control publish`."""
    authority = _authority(arguments)
    with authority.locked():
        deliveries = publish(
            authority, submitter(StatusClient(arguments.socket)), everything=arguments.all
        )
    refused = [one for one in deliveries if not one.is_accepted]
    if arguments.json:
        items = [
            {
                "namespace": one.artifact.manifest.namespace.text,
                "outcome": one.outcome,
                "code": one.code,
            }
            for one in deliveries
        ]
        print_json({"published": items, "refused": len(refused)})
    else:
        for one in refused:
            say(f"fabgossip: {one.artifact.manifest.namespace.text}: {one.code}: {one.detail}")
        print(f"{len(deliveries) - len(refused)} handed over, {len(refused)} refused")
    return EXIT_REFUSED if refused else EXIT_OK
