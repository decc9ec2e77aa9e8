"""Which pinned trust bundle a state folder was made under, and whether another may take its place.

Decides: nothing is sent before this has been settled. Keeps: the folder never changes its roots
because a file was swapped by accident. Roots that were stolen or lost are replaced only by an
operator who says which file the new one replaces, and only by a bundle of a higher epoch, so that
nothing signed under the old roots outranks what the new ones sign. Floors are kept.
"""

from hashlib import sha256

from fabgossip.daemon.config import TrustTable
from fabgossip.errors import ConfigError, WireError
from fabgossip.model.authority import TrustBundle
from fabgossip.model.persistence import StoredTrust
from fabgossip.storage.index import NodeIndex, PinRow
from fabgossip.trust.bundle import PinnedTrust
from fabgossip.wire.contents import parse_bundle


def settle_pin(table: TrustTable, pinned: PinnedTrust, index: NodeIndex) -> bool:
    """Remember the pinned bundle of a state folder; whether it starts over under other roots.
    Raises as `judge_pin`."""
    starts_over = judge_pin(table, pinned, index)
    index.put_pin(_row(table, pinned), starts_over=starts_over)
    return starts_over


def judge_pin(table: TrustTable, pinned: PinnedTrust, index: NodeIndex) -> bool:
    """Whether a state folder would start over under other roots; nothing is written.

    Raises:
        ConfigError: the folder belongs to another bundle and nobody said that it is replaced.
    """
    bundle, before = pinned.bundle, index.pin()
    if before is None or before == _row(table, pinned):
        return False
    chain = index.trust_chain()
    if _continues(pinned, before, chain):
        return False
    if table.rebootstrap != before.fingerprint:
        raise ConfigError(
            f"trust.bootstrap: the state folder was made under another bundle, SHA-256 "
            f"{before.fingerprint}; put that file back, or, if its roots are stolen or lost, set "
            "trust.rebootstrap to that SHA-256"
        )
    highest = max(
        [index.highest_epoch(), *(one.authority_epoch for one in map(_bundle, chain) if one)]
    )
    if bundle.authority_epoch <= highest:
        raise ConfigError(
            f"trust.rebootstrap: the bundle has epoch {bundle.authority_epoch}, this node has seen "
            f"epoch {highest}; make the new authority with: "
            f"fabgossip control init --epoch {highest + 1} ..."
        )
    return True


def _row(table: TrustTable, pinned: PinnedTrust) -> PinRow:
    return PinRow(fingerprint=table.bootstrap_sha256, roots=roots_hash(pinned.bundle))


def _continues(pinned: PinnedTrust, before: PinRow, chain: tuple[StoredTrust, ...]) -> bool:
    """Whether the bundle is a step of the stored chain, or a later one of the same roots: what a
    node enrolled anew by the same authority pins."""
    if any(step.version == pinned.bundle.bundle_version for step in chain):
        return any(_bundle(step) == pinned.bundle for step in chain)
    newest = _bundle(chain[-1]) if chain else None
    roots = before.roots if newest is None else roots_hash(newest)
    is_later = newest is None or pinned.bundle.bundle_version > newest.bundle_version
    return is_later and roots == roots_hash(pinned.bundle)


def _bundle(step: StoredTrust) -> TrustBundle | None:
    try:
        return parse_bundle(step.content)
    except WireError:
        return None  # damaged on disk: the core finds that when it verifies the chain


def roots_hash(bundle: TrustBundle) -> str:
    """Names the root keys of a cluster and how many must sign."""
    text = f"{bundle.platform_id}\n{bundle.cluster_id}\n{bundle.root_threshold}\n"
    return sha256(text.encode("ascii") + b"".join(bundle.root_keys)).hexdigest()
