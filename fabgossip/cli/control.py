"""`fabgossip control`: the commands of the control plane."""

import argparse
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Final

from fabgossip.cli.authority import (
    add_reason,
    add_root_keys,
    add_verb,
    authority_of,
    passphrase_of,
    typed,
    wall_now,
)
from fabgossip.cli.output import (
    EXIT_OK,
    print_json,
    print_table,
    say,
)
from fabgossip.cli.publishing import add_publish_verb
from fabgossip.cli.trust import add_trust_verbs
from fabgossip.control.advice import (
    nodes_matching,
    source_warnings,
    storing_words,
    unserved_orgs,
)
from fabgossip.control.authority import AuthorityFolder, fingerprint
from fabgossip.control.enrollment import NodeRow
from fabgossip.control.node_folder import NodePlaces, change_node, enroll_node, renew_node
from fabgossip.control.signing import SignedArtifact
from fabgossip.control.sources.folder import Source, read_all
from fabgossip.control.sources.problems import SourceProblemsError, problems_in
from fabgossip.errors import ModelError, UsageError
from fabgossip.model.artifact import CONTENT_BYTES_MAX, ArtifactType
from fabgossip.model.authority import DEMO_PREFIX, ContentCap
from fabgossip.model.ids import parse_cluster_id, parse_platform_id
from fabgossip.model.moment import UnixTime
from fabgossip.model.topology import PeerClass, parse_peer_address

EPOCH_START_MAX: Final = 1 << 40
"""Leaves an authority more epochs than it can ever open, and its bundle within signed integers."""
_CHANGES: Final = (
    "address", "listen", "org", "service", "role", "stores", "peer_class", "region", "zone", "rack",
    "replaces",
)  # fmt: skip
"""Options of `enroll` that say something about a node."""
_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20}


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command group."""
    verbs = commands.add_parser("control").add_subparsers(metavar="VERB", required=True)
    init = add_verb(
        verbs, "init", "make an authority: keys, trust bundle 1, the file nodes pin", run_init
    )
    init.add_argument(
        "--platform", required=True, help=f"platform id; {DEMO_PREFIX}... has throw-away keys"
    )
    init.add_argument("--cluster", required=True, help="cluster id")
    init.add_argument(
        "--content-cap", action="append", default=[], metavar="TYPE=SIZE", help="e.g. 256MiB"
    )
    init.add_argument(
        "--epoch",
        type=int,
        default=1,
        metavar="N",
        help="first authority epoch: above the last one of an authority this replaces",
    )
    add_reason(init)
    _register_enroll(verbs)
    add_verb(verbs, "nodes", "who is enrolled, and what each is entitled to", run_nodes)
    compile_ = add_verb(
        verbs, "compile", "nodes and a folder of files become signed artifacts", run_compile
    )
    compile_.add_argument("source", type=Path, help="folder with fabric.toml")
    compile_.add_argument(
        "--restore",
        action="append",
        default=[],
        metavar="NAMESPACE",
        help="a withdrawn namespace that may come back; repeatable",
    )
    add_root_keys(compile_)
    add_reason(compile_)
    add_publish_verb(verbs)
    add_trust_verbs(verbs)


def _register_enroll(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    enroll = add_verb(verbs, "enroll", "register a node and write its complete folder", run_enroll)
    enroll.add_argument("node", metavar="NODE", help="node id")
    enroll.add_argument("--out", type=Path, required=True, help="the node's folder to write")
    enroll.add_argument(
        "--renew", action="store_true", help="only a new certificate and new claims"
    )
    enroll.add_argument(
        "--change",
        action="store_true",
        help="entitlements of an enrolled node as named now, and new claims",
    )
    enroll.add_argument(
        "--state-generation",
        type=int,
        metavar="N",
        help="with --renew: starts the node has behind it; a disk that counts fewer is an old one",
    )
    enroll.add_argument(
        "--replaces",
        default="",
        metavar="SHA256",
        help="bootstrap_sha256 the node had under an authority that this one replaces",
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
        choices=[one.name.lower() for one in PeerClass],
    )
    for name, value in (("region", "r1"), ("zone", "z1"), ("rack", "k1")):
        enroll.add_argument(f"--{name}", help=f"failure domain ({value})")
    enroll.add_argument(
        "--storage", default="state", help="its data folder (state, beside the configuration)"
    )
    enroll.add_argument("--socket", default="status.sock", help="its status socket (status.sock)")
    add_reason(enroll)


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
    passphrase = passphrase_of(arguments)
    if passphrase is None and not platform.startswith(DEMO_PREFIX):
        raise UsageError(
            "private keys are encrypted: give --passphrase-file, "
            f"or name the platform {DEMO_PREFIX}..."
        )
    if not 1 <= arguments.epoch <= EPOCH_START_MAX:
        raise UsageError(f"--epoch {arguments.epoch}: 1 to {EPOCH_START_MAX}")
    authority = AuthorityFolder(arguments.authority, passphrase, reason=arguments.reason or "")
    caps = tuple(map(_cap, arguments.content_cap))
    bundle = authority.create(platform, cluster, wall_now(), caps, arguments.epoch)
    pinned = fingerprint(authority.bootstrap())
    if arguments.json:
        where = str(arguments.authority)
        print_json({"authority": where, "cluster": cluster, "bootstrap_sha256": pinned})
        return EXIT_OK
    roots = f"{bundle.root_threshold} of {len(bundle.root_keys)}"
    print(f"authority for cluster {cluster} in {arguments.authority}")
    print(f"  roots      {roots}; move keys/root away from this machine")
    print(f"  bootstrap  {authority.folder / 'trust' / 'bootstrap'}  sha256 {pinned}")
    say(f"next: {typed(arguments, 'enroll NODE --out FOLDER --address HOST:PORT')}")
    return EXIT_OK


def run_enroll(arguments: argparse.Namespace) -> int:
    """`fabgossip control enroll`."""
    authority = authority_of(arguments)
    if arguments.renew and arguments.change:
        raise UsageError("enroll: --renew and --change are two commands")
    if arguments.replaces and re.fullmatch(r"[0-9a-f]{64}", arguments.replaces) is None:
        raise UsageError("enroll: --replaces takes the 64 hexadecimal digits of bootstrap_sha256")
    if arguments.renew and any(getattr(arguments, one) for one in _CHANGES):
        raise UsageError(
            "enroll: --renew leaves a node what it has; --change gives it what is named with it"
        )
    if arguments.change and arguments.listen:
        raise UsageError(
            "enroll: --change leaves the node's configuration as it is: "
            "set listen.addresses in its fabgossip.toml"
        )
    if arguments.state_generation is not None and not arguments.renew:
        raise UsageError("enroll: --state-generation goes with --renew")
    with authority.locked():
        row, done = _enroll(authority, arguments)
        warnings = _enroll_warnings(authority, row, arguments)
    if arguments.json:
        body = {"node_id": row.node_id, "folder": str(arguments.out), "renewed": arguments.renew}
        print_json({**body, "claims_version": row.claims_version, "warnings": warnings})
        return EXIT_OK
    print(f"{done} {row.node_id} in {arguments.out}")
    for one in warnings:
        say(f"warning: {one}")
    config = arguments.out / "fabgossip.toml"
    if arguments.renew:
        say(
            "next: carry identity/node.crt and identity/claims to the node; its daemon reads them "
            "within ten seconds (claims that systemd passes on as a credential: restart it)"
        )
    elif arguments.change:
        if arguments.address:
            say("next: set listen.addresses in its fabgossip.toml, unless it listens on all")
        say("next: compile and publish; carry identity/claims to the node and restart it")
    else:
        say(f"next: fabgossip run --config {config}, on the node; compile and publish")
    return EXIT_OK


def run_nodes(arguments: argparse.Namespace) -> int:
    """`fabgossip control nodes`: it changes nothing, so nothing is recorded, and for no reason."""
    authority = AuthorityFolder(arguments.authority)
    members = {row.node_id for row in authority.members(wall_now())}
    rows = authority.nodes()
    if arguments.json:
        items = [
            {
                "node_id": row.node_id,
                "revoked": row.node_id not in members,
                "class": row.peer_class,
                "failure_domain": str(row.domain),
                "addresses": list(row.addresses),
                "orgs": list(row.orgs),
                "services": list(row.services),
                "roles": list(row.roles),
                "stores": list(row.stores),
                "claims_version": row.claims_version,
            }
            for row in rows
        ]
        print_json({"nodes": items})
        return EXIT_OK
    lines = [
        (
            row.node_id,
            row.peer_class if row.node_id in members else "revoked",
            str(row.domain),
            *(
                ",".join(some) or None
                for some in (row.addresses, row.orgs, row.services, row.roles, row.stores)
            ),
        )
        for row in rows
    ]
    heads = ("NODE", "CLASS", "PLACE", "ADDRESS", "ORGS", "SERVICES", "ROLES", "STORES")
    print_table(heads, lines)
    return EXIT_OK


def _enroll_warnings(
    authority: AuthorityFolder, row: NodeRow, arguments: argparse.Namespace
) -> list[str]:
    return [
        f"no control endpoint stores for {org}: publishing there will be refused; "
        f"{typed(arguments, storing_words(endpoint, [org]))}"
        for org, endpoint in unserved_orgs(row, authority.members(wall_now()))
    ]


def _enroll(authority: AuthorityFolder, arguments: argparse.Namespace) -> tuple[NodeRow, str]:
    now = wall_now()
    if arguments.renew:
        generation = arguments.state_generation
        row = renew_node(authority, arguments.node, arguments.out, now, state_generation=generation)
        return row, "renewed"
    if arguments.change:
        wanted = _row(arguments, authority.member(arguments.node, now))
        return change_node(authority, wanted, arguments.out, now), "changed"
    if not arguments.address:
        raise UsageError("enroll: --address HOST:PORT says where peers reach the node")
    row = enroll_node(authority, _row(arguments, None), arguments.out, _places(arguments), now)
    return row, "enrolled"


def _row(arguments: argparse.Namespace, before: NodeRow | None) -> NodeRow:
    """All a node is entitled to is named each time; where it stands stays what it was."""
    try:
        base = before or NodeRow(node_id=arguments.node, addresses=())
        return replace(
            base,
            addresses=(arguments.address,) if arguments.address else base.addresses,
            region=arguments.region or base.region,
            zone=arguments.zone or base.zone,
            rack=arguments.rack or base.rack,
            peer_class=arguments.peer_class or base.peer_class,
            orgs=tuple(sorted(set(arguments.org))),
            services=tuple(sorted(set(arguments.service))),
            roles=tuple(sorted(set(arguments.role))),
            stores=tuple(sorted(set(arguments.stores))),
        )
    except (ModelError, ValueError) as error:
        raise UsageError(f"enroll: {error}") from error


def _places(arguments: argparse.Namespace) -> NodePlaces:
    try:
        listen = parse_peer_address(arguments.listen or arguments.address)
    except ValueError as error:
        raise UsageError(f"enroll: --listen {error}") from error
    return NodePlaces(
        listen=listen,
        storage=arguments.storage,
        socket=arguments.socket,
        rebootstrap=arguments.replaces,
    )


def run_compile(arguments: argparse.Namespace) -> int:
    """`fabgossip control compile`."""
    authority = authority_of(arguments)
    now, roots = wall_now(), tuple(arguments.root_keys)
    with authority.locked():
        signed = authority.compile_trust(now, roots)
        source, made = _compiled(authority, arguments, now)
        signed += made
        is_due = authority.is_bundle_due(now)
        nodes, bundle = authority.members(now), authority.bundle()
    if is_due:
        command = typed(arguments, f"compile {shlex.quote(str(arguments.source))}")
        say(f"the trust bundle needs fresh times: {command} --root-keys FOLDER")
    warnings = source_warnings(bundle, nodes, source)
    rows = [
        (
            one.manifest.namespace.text,
            one.manifest.artifact_type.value,
            str(one.manifest.order),
            len(one.content),
            nodes_matching(nodes, one.manifest.audience, bundle.cluster_id),
        )
        for one in signed
    ]
    if arguments.json:
        items = [
            dict(zip(("namespace", "family", "order", "size", "nodes"), row, strict=True))
            for row in rows
        ]
        print_json({"compiled": items, "warnings": list(warnings)})
        return EXIT_OK
    for warning in warnings:
        say(f"warning: {warning}")
    if rows:
        print_table(("NAMESPACE", "TYPE", "VERSION", "BYTES", "NODES"), rows)
    else:
        print("nothing changed")
    return EXIT_OK


def _compiled(
    authority: AuthorityFolder, arguments: argparse.Namespace, now: UnixTime
) -> tuple[Source, tuple[SignedArtifact, ...]]:
    """The source, and what is signed with what it makes; raises `SourceProblemsError` with what is
    wrong with the folder and with what can be read of it."""
    folder, restored = arguments.source, tuple(arguments.restore)
    source, problems = read_all(folder)
    if problems:
        more = authority.source_problems(source, now, restored)
        raise problems_in(folder, (*problems, *more))
    try:
        roots = tuple(arguments.root_keys)
        made = authority.compile(source, now, root_folders=roots, restored=restored)
    except SourceProblemsError as error:
        raise problems_in(folder, error.problems) from error
    return source, made
