"""The verbs of `fabgossip control` that change whom nodes believe: rotate, revoke, tombstone,
grant."""

import argparse
import re
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fabgossip.cli.authority import (
    add_reason,
    add_root_keys,
    add_verb,
    authority_of,
    typed,
    wall_now,
)
from fabgossip.cli.output import EXIT_OK, print_json, print_table, say
from fabgossip.control.authority import AuthorityFolder, fingerprint
from fabgossip.control.bundles import KEY_ROLES, OldKeys, key_role, role_key_ids
from fabgossip.control.granting import (
    GrantWish,
    make_grant,
    published_at,
    read_certificate,
    wish_for,
)
from fabgossip.control.keystore import write_private
from fabgossip.control.revoking import RevocationRow
from fabgossip.control.rotation import RotationWish, rotate
from fabgossip.errors import ControlError, ModelError, UsageError
from fabgossip.model.artifact import ArtifactType, Tombstone
from fabgossip.model.authority import (
    GRANT_ID_BYTES,
    GRANT_LIFE_MAX_S,
    KeyStatus,
    RevokedKind,
    SigningKey,
    TrustBundle,
)
from fabgossip.model.ids import (
    HASH_BYTES,
    KeyId,
    ManifestHash,
    NodeId,
    key_id_of,
    parse_content_hash,
    parse_id,
    parse_key_id,
)
from fabgossip.model.moment import UnixTime
from fabgossip.model.scope import parse_scope_id
from fabgossip.trust.identity import certificate_hash_of
from fabgossip.trust.revocation import grant_token, node_token

KEY_DIGITS_MIN: Final = 12
"""As many digits of a key's id as `why` shows name it."""
_UNITS: Final = {"s": 1, "m": 60}


def add_trust_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verbs to the command group."""
    _add_rotate(verbs)
    _add_revoke(verbs)
    tombstone = add_verb(
        verbs, "tombstone", "withdraw a namespace by a signed statement", run_tombstone
    )
    tombstone.add_argument("namespace", metavar="NAMESPACE", help="as in fabric.toml")
    tombstone.add_argument("--reason", required=True, metavar="ID", help="one word; nodes see it")
    tombstone.add_argument(
        "--purge", action="store_true", help="nodes remove its bytes, not only its use"
    )
    _add_grant(verbs)


def _add_rotate(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = add_verb(verbs, "rotate", "make the next trust bundle and sign it", run_rotate)
    parser.add_argument(
        "--role",
        action="append",
        default=[],
        choices=[one.name for one in KEY_ROLES],
        help="new keys for this role; repeatable",
    )
    parser.add_argument(
        "--keep-old",
        choices=[OldKeys.RETIRE.value, OldKeys.REVOKE.value],
        help="old keys of the role: retired (destroyed) or revoked (stolen); else one day more",
    )
    parser.add_argument("--roots", action="store_true", help="a new set of root keys")
    parser.add_argument("--node-ca", action="store_true", help="a new CA for node certificates")
    old = parser.add_mutually_exclusive_group()
    old.add_argument("--retire-node-ca", action="store_true", help="end all CAs but the newest")
    old.add_argument(
        "--revoke-old", action="store_true", help="with --node-ca: old CAs are revoked at once"
    )
    parser.add_argument("--new-epoch", action="store_true", help="everything is signed anew")
    parser.add_argument(
        "--lift",
        action="append",
        default=[],
        metavar="ENTRY",
        help="with --new-epoch: an entry the revocation list drops; repeatable",
    )
    parser.add_argument("--min-protocol", type=int, metavar="N", help="peers speak N or newer")
    add_root_keys(parser)
    add_reason(parser)


def _wish(arguments: argparse.Namespace) -> RotationWish:
    if arguments.keep_old and not arguments.role:
        raise UsageError("rotate: --keep-old goes with --role")
    if arguments.revoke_old and not arguments.node_ca:
        raise UsageError("rotate: --revoke-old goes with --node-ca")
    if arguments.lift and not arguments.new_epoch:
        raise UsageError("rotate: --lift goes with --new-epoch: within an epoch nothing is lifted")
    old_node_cas = KeyStatus.REVOKED if arguments.revoke_old else KeyStatus.ACTIVE
    return RotationWish(
        roles=tuple(arguments.role),
        old_keys=OldKeys(arguments.keep_old or OldKeys.KEEP),
        roots=arguments.roots,
        node_ca=arguments.node_ca,
        old_node_cas=KeyStatus.RETIRED if arguments.retire_node_ca else old_node_cas,
        opens_epoch=arguments.new_epoch,
        lifted=tuple(arguments.lift),
        protocol_min=arguments.min_protocol,
    )


def run_rotate(arguments: argparse.Namespace) -> int:
    """`fabgossip control rotate`."""
    wish = _wish(arguments)
    authority = authority_of(arguments)
    now = wall_now()
    with authority.locked():
        before = authority.bundle()
        bundle = rotate(authority, wish, now, tuple(arguments.root_keys))
    roots = {"new": _root_ids(bundle), "old": _root_ids(before)} if wish.roots else {}
    keys = {name: _key_changes(before, bundle, name, now) for name in sorted(set(wish.roles))}
    steps = _next_steps(wish, arguments)
    if arguments.json:
        print_json(
            {
                "bundle_version": bundle.bundle_version,
                "epoch": bundle.authority_epoch,
                "bootstrap_sha256": fingerprint(authority.bootstrap()),
                "keys": keys,
                "roots": roots,
                "next": steps,
            }
        )
        return EXIT_OK
    print(f"trust bundle {bundle.bundle_version}, epoch {bundle.authority_epoch}")
    for name, rows in keys.items():
        for row in rows:
            ends = f" until {row['until']}" if row["status"] == "active" else f" {row['status']}"
            print(f"  {name.ljust(10)}  {row['age']} {row['key']}{ends if row['until'] else ''}")
    for age, ids in roots.items():
        # A key is its file's name: nothing else tells the files of keys/root apart.
        print(f"  {'root'.ljust(10)}  {age} {', '.join(ids)}")
    for number, step in enumerate(steps, 1):
        say(f"next {number}: {step}")
    return EXIT_OK


def _root_ids(bundle: TrustBundle) -> list[str]:
    return [key_id_of(root).hex() for root in bundle.root_keys]


def _key_changes(
    before: TrustBundle, bundle: TrustBundle, role: str, now: UnixTime
) -> list[dict[str, str | None]]:
    """The new keys of a role and those that signed for it, with what became of each."""
    signed = role_key_ids(before, key_role(role))
    could = [
        key.key_id
        for key in before.keys
        if key.key_id in signed and key.status is KeyStatus.ACTIVE and key.not_after >= now
    ]
    fresh = role_key_ids(bundle, key_role(role)) - signed
    rows: list[dict[str, str | None]] = []
    for key in (*_picked(bundle, fresh), *_picked(bundle, could)):
        is_new = key.key_id in fresh
        rows.append(
            {
                "age": "new" if is_new else "old",
                "key": key.key_id.hex(),
                "status": key.status.name.lower(),
                "until": None if is_new else _shown(key.not_after),
            }
        )
    return rows


def _picked(bundle: TrustBundle, key_ids: Collection[KeyId]) -> list[SigningKey]:
    return [key for key in bundle.keys if key.key_id in key_ids]


def _next_steps(wish: RotationWish, arguments: argparse.Namespace) -> list[str]:
    steps = [typed(arguments, one) for one in ("compile SOURCE", "publish --socket SOCKET")]
    enroll = typed(arguments, "enroll NODE --renew --out FOLDER")
    renew = f"{enroll}, for every node; carry both files"
    if wish.node_ca:
        steps.append(renew)
        if wish.old_node_cas is KeyStatus.ACTIVE:
            retire = typed(arguments, "rotate --retire-node-ca")
            steps.append(f"{retire}, once every node has them")
    elif "claims" in wish.roles and wish.old_keys is not OldKeys.KEEP:
        steps.append(renew)
    if wish.roots:
        steps.append("move the new files of keys/root away; destroy the old ones once all have it")
    return steps


def _add_revoke(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    revoke = add_verb(verbs, "revoke", "take trust away by the revocation list", run_revoke)
    what = revoke.add_mutually_exclusive_group(required=True)
    what.add_argument("--node", metavar="ID", help="a node's membership")
    what.add_argument(
        "--key", metavar="KEYID", help=f"a signing key, by its id or {KEY_DIGITS_MIN} digits of it"
    )
    what.add_argument("--certificate", type=Path, metavar="FILE", help="a node's certificate")
    what.add_argument("--grant", metavar="HEX", help="a fetch grant, by its id")
    what.add_argument("--manifest", metavar="HASH", help="one signed statement")
    what.add_argument("--content", metavar="HASH", help="bytes, whatever names them")
    what.add_argument("--list", action="store_true", help="show what is revoked")
    what.add_argument("--lift", metavar="ENTRY", help="refused: see control rotate --new-epoch")
    revoke.add_argument("--reason", metavar="TEXT", help="at most 63 characters; nodes see it")
    revoke.add_argument(
        "--until", metavar="TIME", help="when it ends, as 2027-01-31 or 2027-01-31T12:00:00Z"
    )


def run_revoke(arguments: argparse.Namespace) -> int:
    """`fabgossip control revoke`."""
    if arguments.lift is not None:
        raise ControlError(
            f"{arguments.lift}: within an epoch the list only grows, as every node keeps the union "
            f"of all it saw; fabgossip control rotate --new-epoch --lift {arguments.lift}"
        )
    authority = authority_of(arguments)
    if arguments.list:
        return _show_list(authority, as_json=arguments.json)
    if not arguments.reason:
        raise UsageError("revoke: --reason TEXT says why, to every node")
    now = wall_now()
    with authority.locked():
        row = _revocation(authority, arguments, now)
        is_new = authority.revoke(row, now)
    if arguments.json:
        print_json({"entry": row.entry_id, "kind": row.kind.lower(), "new": is_new})
        return EXIT_OK
    done = "revoked" if is_new else "is revoked already:"
    print(f"{done} {row.kind.lower()} {row.subject}  entry {row.entry_id}")
    say(f"next: {typed(arguments, 'compile SOURCE')}")
    say(f"next: {typed(arguments, 'publish --socket SOCKET')}")
    if row.revoked_kind is RevokedKind.SIGNING_KEY:
        say(f"then: {typed(arguments, 'rotate --role ROLE --keep-old revoke')}")
    return EXIT_OK


def _revocation(
    authority: AuthorityFolder, arguments: argparse.Namespace, now: UnixTime
) -> RevocationRow:
    kind, value, subject = _revoked(authority, arguments)
    return RevocationRow(
        kind=kind.name,
        value=value.hex(),
        subject=subject,
        reason=arguments.reason,
        since_epoch=authority.bundle().authority_epoch,
        since=now,
        until=_until(arguments.until, now),
    )


def _revoked(
    authority: AuthorityFolder, arguments: argparse.Namespace
) -> tuple[RevokedKind, bytes, str]:
    """Kind and value of an entry, and how the operator named it; raises `UsageError`,
    `ControlError`."""
    try:
        if arguments.node is not None:
            row = authority.enrolled(arguments.node)
            token = node_token(authority.bundle().cluster_id, NodeId(row.node_id))
            return RevokedKind.NODE, token, row.node_id
        if arguments.key is not None:
            key_id = _key_id(authority.bundle(), arguments.key)
            return RevokedKind.SIGNING_KEY, key_id, key_id.hex()
        if arguments.certificate is not None:
            certificate = read_certificate(arguments.certificate)
            value = certificate_hash_of(certificate)
            return RevokedKind.CERTIFICATE, value, arguments.certificate.name
        if arguments.grant is not None:
            if re.fullmatch(rf"[0-9a-f]{{{2 * GRANT_ID_BYTES}}}", arguments.grant) is None:
                raise UsageError(
                    f"revoke: --grant {arguments.grant!r}: expected {2 * GRANT_ID_BYTES} "
                    "hexadecimal digits, as control grant printed them"
                )
            grant_id = bytes.fromhex(arguments.grant)
            return RevokedKind.GRANT, grant_token(grant_id), arguments.grant
        if arguments.manifest is not None:
            return RevokedKind.MANIFEST, parse_content_hash(arguments.manifest), arguments.manifest
        return RevokedKind.CONTENT, parse_content_hash(arguments.content), arguments.content
    except (ModelError, ValueError) as error:
        raise UsageError(f"revoke: {error}") from error


def _key_id(bundle: TrustBundle, text: str) -> KeyId:
    """The id a person names, of a bundle's keys also by as many digits as `why` shows; raises
    `ModelError`, `ControlError`."""
    if re.fullmatch(rf"[0-9a-f]{{{KEY_DIGITS_MIN},{2 * HASH_BYTES - 1}}}", text) is None:
        return parse_key_id(text)
    known = [*(key.key_id for key in bundle.keys), *map(key_id_of, bundle.root_keys)]
    found = [one for one in known if one.hex().startswith(text)]
    if len(found) != 1:
        raise ControlError(f"{text}: {len(found)} keys of the trust bundle begin so; name all 64")
    return found[0]


def _until(text: str | None, now: UnixTime) -> int:
    if text is None:
        return 0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"revoke: --until {text!r}: expected a date or a time") from error
    until = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    if until <= now:
        raise UsageError(f"revoke: --until {text!r} is past")
    return until


def _show_list(authority: AuthorityFolder, *, as_json: bool) -> int:
    epoch, version = authority.bundle().authority_epoch, authority.list_version()
    rows = authority.book().in_force(epoch, wall_now())
    signed = {row: row.first_list(epoch) <= version for row in rows}
    if as_json:
        entries = [
            {
                "entry": row.entry_id,
                "kind": row.kind.lower(),
                "subject": row.subject,
                "reason": row.reason,
                "since": _shown(row.since),
                "until": _shown(row.until),
                "signed": signed[row],
            }
            for row in rows
        ]
        print_json({"version": version, "entries": entries})
        return EXIT_OK
    lines = [
        (
            row.entry_id,
            row.kind.lower(),
            row.subject,
            "yes" if signed[row] else "no",
            _shown(row.since),
            _shown(row.until),
            row.reason,
        )
        for row in rows
    ]
    print_table(("ENTRY", "KIND", "SUBJECT", "SIGNED", "SINCE", "UNTIL", "REASON"), lines)
    return EXIT_OK


def _shown(moment: int) -> str | None:
    return datetime.fromtimestamp(moment, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def run_tombstone(arguments: argparse.Namespace) -> int:
    """`fabgossip control tombstone`."""
    authority = authority_of(arguments)
    path = arguments.namespace.removeprefix(f"{authority.bundle().prefix}/")
    try:
        reason = parse_id(arguments.reason, "reason")
        with authority.locked():
            tombstone = Tombstone(reason=reason, purge=arguments.purge)
            signed = authority.tombstone(path, tombstone, wall_now())
    except ModelError as error:
        raise UsageError(f"tombstone: {error}") from error
    manifest = signed.manifest
    if arguments.json:
        print_json({"namespace": manifest.namespace.text, "order": str(manifest.order)})
        return EXIT_OK
    print(f"withdrawn: {path}, everything up to {manifest.order}")
    publish = typed(arguments, "publish --socket SOCKET")
    say(f"next: take it out of fabric.toml; {publish}")
    return EXIT_OK


def _add_grant(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    grant = add_verb(verbs, "grant", "let one node fetch something for some minutes", run_grant)
    grant.add_argument("node", metavar="NODE", help="node id of the holder")
    grant.add_argument(
        "--certificate", type=Path, required=True, metavar="FILE", help="the holder's, now"
    )
    grant.add_argument(
        "--artifact", metavar="NAMESPACE", help="what it is for, as in fabric.toml: its newest"
    )
    grant.add_argument(
        "--envelope", type=Path, metavar="FILE", help="with --artifact: write that envelope too"
    )
    grant.add_argument("--type", action="append", default=[], help="artifact type; repeatable")
    grant.add_argument(
        "--scope", action="append", default=[], help="service:, role: or node: id; repeatable"
    )
    grant.add_argument(
        "--manifest", action="append", default=[], metavar="HASH", help="only these; repeatable"
    )
    grant.add_argument("--uses", type=int, default=1, metavar="N", help="how many fetches (1)")
    grant.add_argument(
        "--for", dest="life", default="10m", metavar="TIME", help="such as 90s or 10m (10m)"
    )
    grant.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write")
    add_reason(grant)


def run_grant(arguments: argparse.Namespace) -> int:
    """`fabgossip control grant`."""
    is_named = bool(arguments.type or arguments.scope or arguments.manifest)
    if (arguments.artifact is not None) is is_named or (is_named and arguments.envelope):
        raise UsageError("grant: either --artifact, or --type and --scope")
    certificate = read_certificate(arguments.certificate)
    authority = authority_of(arguments)
    wish = _grant_wish(arguments)
    with authority.locked():
        if arguments.artifact is not None:
            artifact = published_at(authority, arguments.artifact)
            wish = wish_for(artifact, wish)
            if arguments.envelope is not None:
                write_private(arguments.envelope, artifact.envelope)
        signed = make_grant(authority, wish, certificate, wall_now())
    write_private(arguments.out, signed.envelope)
    grant_id, ends = signed.grant.grant_id.hex(), _shown(signed.grant.expires_at)
    if arguments.json:
        print_json({"grant": grant_id, "file": str(arguments.out), "expires_at": ends})
        return EXIT_OK
    print(f"grant {grant_id} for {wish.node_id} until {ends}: {arguments.out}")
    say("next, on the node: fabgossip fetch --grant FILE --envelope FILE --out FILE")
    return EXIT_OK


def _grant_wish(arguments: argparse.Namespace) -> GrantWish:
    try:
        return GrantWish(
            node_id=NodeId(parse_id(arguments.node, "node id")),
            types=tuple(map(_type, arguments.type)),
            scope_ids=tuple(parse_scope_id(one) for one in arguments.scope),
            manifest_hashes=tuple(
                ManifestHash(parse_content_hash(one)) for one in arguments.manifest
            ),
            uses=arguments.uses,
            life_s=_seconds(arguments.life),
        )
    except (ModelError, ValueError) as error:
        raise UsageError(f"grant: {error}") from error


def _type(name: str) -> ArtifactType:
    try:
        return ArtifactType(name)
    except ValueError as error:
        known = ", ".join(one.value for one in ArtifactType)
        raise UsageError(f"grant: --type {name!r}: expected one of {known}") from error


def _seconds(text: str) -> int:
    number, unit = text[:-1], text[-1:]
    if not number.isdecimal() or unit not in _UNITS:
        raise UsageError(f"--for {text!r}: expected such as 90s or 10m")
    seconds = int(number) * _UNITS[unit]
    if not 0 < seconds <= GRANT_LIFE_MAX_S:
        raise UsageError(f"--for {text!r}: at most {GRANT_LIFE_MAX_S // 60}m")
    return seconds
