"""From what an operator wants changed to the next trust bundle in force.

Everything that could be wrong is found before a byte is written. Then, in this order: the record of
the ledger; the new private keys, which nothing names yet; the book of revocations, whose marks
count from the new epoch on; the bundle, whose envelope puts it in force. A crash between leaves the
state before.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from fabgossip.control.authority import AuthorityFolder, new_keys
from fabgossip.control.bundles import (
    OldKeys,
    Rotation,
    key_role,
    next_bundle,
)
from fabgossip.control.compiler import bundle_step
from fabgossip.control.deeds import rotation_deed, signed_deeds
from fabgossip.control.enrollment import certificate_der, node_ca_certificate
from fabgossip.control.keystore import ArtifactKey, new_node_key
from fabgossip.control.signing import sign_successor
from fabgossip.errors import ControlError
from fabgossip.model.authority import KeyStatus, TrustBundle
from fabgossip.model.moment import UnixTime


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationWish:
    """What an operator wants the next bundle to change."""

    roles: tuple[str, ...] = ()
    old_keys: OldKeys = OldKeys.KEEP
    roots: bool = False
    node_ca: bool = False
    old_node_cas: KeyStatus = KeyStatus.ACTIVE
    opens_epoch: bool = False
    lifted: tuple[str, ...] = ()
    """Entries of the revocation list that end with the epoch."""
    protocol_min: int | None = None


def rotate(
    authority: AuthorityFolder,
    wish: RotationWish,
    now: UnixTime,
    root_folders: tuple[Path, ...] = (),
) -> TrustBundle:
    """Make the next trust bundle and put it in force.

    Raises:
        ControlError: before anything is written: every fault the bundle would have, or roots
            that are not at hand.
    """
    if wish.lifted and not wish.opens_epoch:
        raise ControlError("an entry is lifted only with --new-epoch")
    bundle = authority.bundle()
    ring = authority.keys.ring(root_folders)
    fresh = [(name, new_keys(key_role(name).count)) for name in sorted(set(wish.roles))]
    if wish.roots:
        fresh.append(("root", new_keys(len(bundle.root_keys))))
    ca_key = new_node_key()
    ca = certificate_der(node_ca_certificate(ca_key, bundle.cluster_id, now))
    successor = next_bundle(bundle, _rotation(wish, fresh, ca), now)
    book = authority.book()
    if wish.opens_epoch:
        book = book.lifted(wish.lifted, successor.authority_epoch, now)
    unsigned = bundle_step(bundle, successor, now)
    signed = sign_successor(
        (bundle, successor), ring.with_keys(fresh), unsigned.manifest, unsigned.content
    )
    # The ledger's key may be what is rotated, as its old one is lost or stolen: the new one signs.
    signers = replace(authority.signers(now), bundle=successor)
    deeds = (rotation_deed(bundle, successor, wish.lifted), *signed_deeds((signed,)))
    with authority.noted_by(deeds, signers, ring.with_keys(fresh), now):
        for role, keys in fresh:
            for key in keys:
                authority.keys.add(role, key)
        if wish.node_ca:
            authority.keys.add_node_ca(ca_key, ca)
        if wish.opens_epoch:
            authority.save_book(book)
        authority.put_in_force(successor, signed)
    return successor


def _rotation(
    wish: RotationWish, fresh: list[tuple[str, tuple[ArtifactKey, ...]]], ca: bytes
) -> Rotation:
    roots = next((keys for name, keys in fresh if name == "root"), None)
    return Rotation(
        keys=tuple((name, keys) for name, keys in fresh if name != "root"),
        old_keys=wish.old_keys,
        root_keys=None if roots is None else tuple(key.public_key for key in roots),
        node_ca=ca if wish.node_ca else None,
        old_node_cas=wish.old_node_cas,
        opens_epoch=wish.opens_epoch,
        protocol_min=wish.protocol_min,
    )
