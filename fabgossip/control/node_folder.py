"""A complete, ready node folder: configuration, key, certificate, pinned trust, claims."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fabgossip.control.authority import AuthorityFolder, fingerprint
from fabgossip.control.bundles import CLAIMS_ROLE
from fabgossip.control.deeds import node_deeds
from fabgossip.control.enrollment import (
    NodeRow,
    certificate_pem,
    claims_envelope,
    entitlements_of,
    node_certificate,
    openings_of,
    salts_for,
)
from fabgossip.control.files import ensure_folder, make_folder, said
from fabgossip.control.keystore import (
    ArtifactKey,
    new_artifact_key,
    new_node_key,
    private_pem,
    random_bytes,
    replace_private,
    write_private,
)
from fabgossip.control.ledger import Act
from fabgossip.errors import ControlError, WireError
from fabgossip.model.authority import CONTROL_ENDPOINT_ROLE, TrustBundle
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import UnixTime, seconds_after
from fabgossip.model.topology import is_loopback
from fabgossip.wire.envelopes import parse_envelope
from fabgossip.wire.statements import own_claims_bytes, parse_claims, parse_own_claims

BOOTSTRAP_ENTRIES: Final = 8
PINNED_MODE: Final = 0o444


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlaces:
    """Where the node keeps its state and its socket, and where it listens."""

    listen: str
    storage: str
    socket: str
    operator_group: str = "fabgossip-admin"
    rebootstrap: str = ""
    """SHA-256 of the pinned file its state was made under, where an authority replaces another."""


def enroll_node(
    authority: AuthorityFolder, row: NodeRow, folder: Path, places: NodePlaces, now: UnixTime
) -> NodeRow:
    """Register a new node and write its folder.

    Raises:
        ControlError: the node or the folder exists already, or it would not start.
    """
    if authority.find_node(row.node_id) is not None:
        authority.member(row.node_id, now)  # of a revoked one the options below say no as well
        raise ControlError(
            f"{row.node_id} is enrolled already; --renew gives it a new certificate and claims, "
            "--change other entitlements"
        )
    _check_addresses(authority, row, now)
    bundle = authority.bundle()
    _check_listen(bundle, places)
    audit_key = new_artifact_key()
    row = replace(
        row,
        salts=salts_for(row, bundle.cluster_id, random_bytes),
        audit_key=audit_key.public_key.hex(),
    )
    if folder.exists():
        raise ControlError(f"{folder}: exists already")
    with authority.noted(node_deeds(Act.NODE_ENROLLED, row, None), now):
        _write_folder(authority, row, folder, places, now, audit_key)
        authority.save_node(row)
    return row


def _check_addresses(authority: AuthorityFolder, row: NodeRow, now: UnixTime) -> None:
    """Peers would dial the one and find the other, whom they take for an impostor."""
    for one in authority.members(now):
        taken = sorted(set(one.addresses) & set(row.addresses))
        if one.node_id != row.node_id and taken:
            raise ControlError(f"{taken[0]} is the address of {one.node_id}")


def _check_listen(bundle: TrustBundle, places: NodePlaces) -> None:
    """Such a node would not start; on a demo platform because peers from elsewhere could connect to
    throw-away keys."""
    try:
        is_safe = is_loopback(places.listen) or not bundle.is_demo
    except ValueError as error:
        raise ControlError(f"listen: {error}") from error
    if not is_safe:
        raise ControlError(
            f"{places.listen}: platform {bundle.platform_id} has throw-away keys, its nodes listen "
            "on 127.0.0.1 or [::1] only; give --listen, or make an authority whose --platform does "
            "not begin with demo-"
        )


def _write_folder(
    authority: AuthorityFolder,
    row: NodeRow,
    folder: Path,
    places: NodePlaces,
    now: UnixTime,
    audit_key: ArtifactKey,
) -> None:
    for one in (folder, folder / "identity", folder / "trust"):
        make_folder(one)
    key = new_node_key()
    write_private(folder / "identity" / "node.key", private_pem(key, None))
    write_private(folder / "identity" / "audit.key", private_pem(audit_key.private, None))
    pinned = authority.bootstrap()
    write_private(folder / "trust" / "bootstrap", pinned)
    with said(folder):
        (folder / "trust" / "bootstrap").chmod(PINNED_MODE)
    _write_papers(authority, row, folder, key.public_key(), now)
    config = _config_text(authority, row, places, authority.bundle(), fingerprint(pinned))
    write_private(folder / "fabgossip.toml", config.encode())


def renew_node(
    authority: AuthorityFolder,
    node_id: str,
    folder: Path,
    now: UnixTime,
    *,
    state_generation: int | None = None,
) -> NodeRow:
    """Write a new certificate and new claims, for the same key, into a node's folder; from
    `state_generation` starts on, a disk of this node that counts fewer is an old one. Raises
    `ControlError`."""
    row = authority.member(node_id, now)
    try:
        key = serialization.load_pem_private_key(
            (folder / "identity" / "node.key").read_bytes(), None
        )
    except OSError as error:
        raise ControlError(
            f"{folder}/identity/node.key: {error.strerror}; name the folder that enroll wrote for "
            f"{node_id}"
        ) from error
    except (ValueError, TypeError) as error:
        raise ControlError(f"{folder}/identity/node.key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ControlError(f"{folder}/identity/node.key: not an elliptic-curve key")
    _check_owner(folder, node_id)
    before = row
    if state_generation is not None:
        if state_generation < row.state_generation:
            raise ControlError(
                f"{node_id}: state generation {state_generation}, it has {row.state_generation}"
            )
        row = replace(row, state_generation=state_generation)
    with authority.noted(node_deeds(Act.NODE_RENEWED, row, before), now):
        if row != before:
            authority.save_node(row)
        _write_papers(authority, row, folder, key.public_key(), now)
    return row


def change_node(
    authority: AuthorityFolder, wanted: NodeRow, folder: Path, now: UnixTime
) -> NodeRow:
    """Give an enrolled node the entitlements, place and addresses of `wanted`, and write its new
    claims with their openings into a folder; raises `ControlError`.

    The row is saved first: claims of one version must never say two things. Doing it again with the
    same wish only writes the file again.
    """
    before = authority.member(wanted.node_id, now)
    _check_addresses(authority, wanted, now)
    if (folder / "identity" / "claims").exists():
        _check_owner(folder, wanted.node_id)
    row = replace(
        wanted,
        salts=before.salts,
        audit_key=before.audit_key,
        state_generation=before.state_generation,
        claims_version=before.claims_version,
    )
    bundle = authority.bundle()
    if entitlements_of(row, bundle.cluster_id) != entitlements_of(before, bundle.cluster_id):
        row = replace(row, claims_version=before.claims_version + 1)
    row = replace(row, salts=salts_for(row, bundle.cluster_id, random_bytes))
    keys = authority.signing_keys(CLAIMS_ROLE, now)
    with authority.noted(node_deeds(Act.NODE_CHANGED, row, before), now):
        authority.save_node(row)
        ensure_folder(folder / "identity")
        times = (now, seconds_after(now, bundle.cert_life_max_s))
        replace_private(folder / "identity" / "claims", _claims_file(authority, row, keys, times))
    return row


def _check_owner(folder: Path, node_id: str) -> None:
    """A folder of another node would lose its identity."""
    try:
        envelope, _ = parse_own_claims((folder / "identity" / "claims").read_bytes())
        owner = parse_claims(parse_envelope(envelope).payload).node_id
    except OSError as error:
        raise ControlError(f"{folder}/identity/claims: {error.strerror}") from error
    except WireError as error:
        raise ControlError(f"{folder}/identity/claims: {error}") from error
    if owner != node_id:
        raise ControlError(f"{folder}: is the folder of node {owner}, not of {node_id}")


def _write_papers(
    authority: AuthorityFolder,
    row: NodeRow,
    folder: Path,
    public_key: ec.EllipticCurvePublicKey,
    now: UnixTime,
) -> None:
    bundle = authority.bundle()
    times = (now, seconds_after(now, bundle.cert_life_max_s))
    certificate = node_certificate(
        NodeId(row.node_id), public_key, bundle, authority.node_ca(), times
    )
    keys = authority.signing_keys(CLAIMS_ROLE, now)
    replace_private(folder / "identity" / "node.crt", certificate_pem(certificate))
    replace_private(folder / "identity" / "claims", _claims_file(authority, row, keys, times))


def _claims_file(
    authority: AuthorityFolder,
    row: NodeRow,
    keys: tuple[ArtifactKey, ...],
    times: tuple[UnixTime, UnixTime],
) -> bytes:
    bundle, minimums = authority.bundle(), authority.minimums(times[0])
    versions = (minimums.trust, minimums.revocation)
    claims = claims_envelope(row, bundle, keys, times, versions)
    return own_claims_bytes(claims, openings_of(row, bundle.cluster_id))


def _config_text(
    authority: AuthorityFolder, row: NodeRow, places: NodePlaces, bundle: TrustBundle, pinned: str
) -> str:
    """The configuration, as an operator would write it; strings are quoted as TOML and JSON agree
    on."""
    starts = [
        one
        for one in authority.nodes()
        if one.stores and one.node_id != row.node_id and one.addresses
    ]
    starts.sort(key=lambda one: (CONTROL_ENDPOINT_ROLE not in one.roles, one.node_id))
    lines = [
        f"# fabgossip node {row.node_id} of cluster {bundle.cluster_id}",
        "schema = 1",
        "",
        "[identity]",
        'certificate = "identity/node.crt"',
        'private_key = "identity/node.key"',
        'claims = "identity/claims"',
        "",
        "[trust]",
        'bootstrap = "trust/bootstrap"',
        f"bootstrap_sha256 = {json.dumps(pinned)}",
        *([f"rebootstrap = {json.dumps(places.rebootstrap)}"] if places.rebootstrap else []),
        f"allow_demo = {'true' if bundle.is_demo else 'false'}",
        "",
        "[listen]",
        f"addresses = [{json.dumps(places.listen)}]",
        "",
        "[storage]",
        f"path = {json.dumps(places.storage)}",
        "",
        "[audit]",
        'key = "identity/audit.key"',
        "",
        "[status]",
        f"socket = {json.dumps(places.socket)}",
        f"operator_group = {json.dumps(places.operator_group)}",
        "",
        "[clock]",
        # Containers, where throw-away fabrics run, are mostly not told what keeps their clock.
        f"require_synchronized = {'false' if bundle.is_demo else 'true'}",
    ]
    for one in starts[:BOOTSTRAP_ENTRIES]:
        lines += [
            "",
            "[[bootstrap]]",
            f"address = {json.dumps(one.addresses[0])}",
            f"node_id = {json.dumps(one.node_id)}",
        ]
    return "\n".join(lines) + "\n"
