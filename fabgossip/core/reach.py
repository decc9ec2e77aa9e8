"""Which statements a change of whom we believe can reach.

Decides: whether a statement has to be judged again by what was revoked.
Keeps: whatever could be judged otherwise is reached; a list that takes nothing from any statement,
as one that ends nodes, certificates or grants, reaches none.
Must not know: heads, what judging again does.

A node that stores for a large cluster holds thousands of statements, and judging one takes longer
than cutting off whom the list is about (`tests/core/test_reach.py`).
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.authority import RevokedKind
from fabgossip.trust.revocation import Revoked

Reach: TypeAlias = Callable[[VerifiedManifest], bool]
"""Whether a statement has to be judged again."""
_OF_STATEMENTS: Final = frozenset(
    {RevokedKind.SIGNING_KEY, RevokedKind.MANIFEST, RevokedKind.CONTENT}
)
"""What takes something from a statement that was admitted; all else is about peers and grants."""


def everything(_: VerifiedManifest) -> bool:
    """Rights, keys or claims of our own are others: each statement may be judged otherwise."""
    return True


def reach_of(before: Revoked, after: Revoked) -> Reach | None:
    """What a list reaches that made one set of another; None where that is nothing. Whatever an
    epoch before had revoked may be back with the next one."""
    values = {one for one in after.values ^ before.values if one[0] in _OF_STATEMENTS}
    if not values:
        return None

    def is_reached(verified: VerifiedManifest) -> bool:
        named = (
            (RevokedKind.MANIFEST, verified.manifest_hash),
            (RevokedKind.CONTENT, verified.manifest.content_hash),
            # Named by the statement: a key that did not count when it was admitted may be what it
            # stands on since.
            *((RevokedKind.SIGNING_KEY, one) for one in verified.manifest.signer_key_ids),
        )
        return not values.isdisjoint(named)

    return is_reached
