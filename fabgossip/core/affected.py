"""Which statements a change of whom we believe affects.

Decides: whether a statement has to be judged again after a change of the facts.
Keeps: whatever could be judged otherwise is affected, by what the trust gate looks at when it
judges a statement that is held; a change that takes nothing from any statement, as a list that ends
nodes, certificates or grants, a bundle that names the same signers, claims that cover the same,
affects none.
Must not know: heads, what judging again does.

A node that stores for a large cluster holds tens of thousands of statements, each of which takes
long enough to judge for all of them to keep its links waiting (`tests/core/test_affected.py`).
"""

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.authority import RevokedKind, Right, TrustBundle
from fabgossip.model.ids import KeyId
from fabgossip.model.scope import Entitlements, matches, may_hold
from fabgossip.trust.facts import TrustFacts
from fabgossip.trust.revocation import Revoked

IsAffected: TypeAlias = Callable[[VerifiedManifest], bool]
"""Whether a statement has to be judged again."""
_OF_STATEMENTS: Final = frozenset(
    {RevokedKind.SIGNING_KEY, RevokedKind.MANIFEST, RevokedKind.CONTENT}
)
"""What takes something from a statement that was admitted; all else is about peers and grants."""


def _everything(_: VerifiedManifest) -> bool:
    """Each statement may be judged otherwise."""
    return True


def affected_by(before: TrustFacts, after: TrustFacts) -> IsAffected | None:
    """What a change of the facts affects; None where that is nothing."""
    if _are_of_another_kind(before, after):
        return _everything
    parts = (
        _by_revoked(before.revoked, after.revoked),
        _by_bundle(before.bundle, after.bundle),
        _by_own(before.own, after.own),
    )
    tests = tuple(one for one in parts if one is not None)
    return (lambda verified: any(one(verified) for one in tests)) if tests else None


def _are_of_another_kind(before: TrustFacts, after: TrustFacts) -> bool:
    """Another epoch ends what was signed before it; and who has no claims cannot know what is not
    for it, and lets stand what it would refuse with some."""
    one, other = before.bundle, after.bundle
    is_other_epoch = one.authority_epoch != other.authority_epoch
    return is_other_epoch or bool(before.own.scope_ids) is not bool(after.own.scope_ids)


def _by_revoked(before: Revoked, after: Revoked) -> IsAffected | None:
    """Whatever an epoch before had revoked may be back with the next one."""
    values = {one for one in after.values ^ before.values if one[0] in _OF_STATEMENTS}
    if not values:
        return None

    def is_affected(verified: VerifiedManifest) -> bool:
        named = (
            (RevokedKind.MANIFEST, verified.manifest_hash),
            (RevokedKind.CONTENT, verified.manifest.content_hash),
            # Named by the statement: a key that did not count when it was admitted may be what it
            # stands on since.
            *((RevokedKind.SIGNING_KEY, one) for one in verified.manifest.signer_key_ids),
        )
        return not values.isdisjoint(named)

    return is_affected


def _by_bundle(before: TrustBundle, after: TrustBundle) -> IsAffected | None:
    """By the keys that changed, or may speak of a kind no more, or newly; where the rights on a
    kind are others, all of that kind is affected, as where another size is the largest. What signs
    bundles, issues nodes or gives roles takes nothing from what is held."""
    keys = {one.key_id for one in {*before.keys} ^ {*after.keys}}
    caps = {*before.content_caps} ^ {*after.content_caps}  # one of a type at most
    kinds = {one.artifact_type.value for one in caps}
    keys_of: dict[str, frozenset[KeyId]] = {}
    for kind in {one.kind for one in (*before.rights, *after.rights)}:
        rights = _rights_on(kind, before.rights), _rights_on(kind, after.rights)
        if rights[0].keys() != rights[1].keys():
            kinds.add(kind)
        else:
            none: frozenset[KeyId] = frozenset()
            keys_of[kind] = none.union(*(rights[0][one] ^ rights[1][one] for one in rights[0]))
    if not (keys or kinds or any(keys_of.values())):
        return None

    def is_affected(verified: VerifiedManifest) -> bool:
        kind, signers = verified.manifest.artifact_type.value, verified.manifest.signer_key_ids
        changed = keys_of.get(kind, frozenset())
        return kind in kinds or any(one in keys or one in changed for one in signers)

    return is_affected


def _rights_on(kind: str, rights: Iterable[Right]) -> dict[tuple[str, int], frozenset[KeyId]]:
    """By prefix and threshold, who may speak of a kind."""
    return {
        (one.prefix, one.threshold): frozenset(one.key_ids) for one in rights if one.kind == kind
    }


def _by_own(before: Entitlements, after: Entitlements) -> IsAffected | None:
    """What this node may hold, or apply, by the ones and not by the others."""
    if before == after:
        return None

    def is_affected(verified: VerifiedManifest) -> bool:
        manifest = verified.manifest
        about = manifest.audience, manifest.artifact_type.value, manifest.namespace.text
        may_hold_otherwise = may_hold(*about, before) is not may_hold(*about, after)
        applies = [matches(manifest.audience, own) for own in (before, after)]
        return may_hold_otherwise or applies[0] is not applies[1]

    return is_affected
