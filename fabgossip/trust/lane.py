"""Which lane an envelope claims to be of, before anything about it is verified.

Decides: whether bytes say of themselves that they are a trust bundle or a revocation list.
Keeps: one comparison of the first bytes; the claim grants nothing but its own turn.
Must not know: whether the claim is true, who made it.
"""

from typing import Final

from fabgossip.model.artifact import TRUST_TYPES
from fabgossip.model.envelope import PayloadKind
from fabgossip.wire.envelopes import envelope_start

_STARTS: Final = tuple(sorted(envelope_start(PayloadKind(one.value)) for one in TRUST_TYPES))


def claims_trust(envelope: bytes) -> bool:
    """Whether an envelope says that it carries trust."""
    return envelope.startswith(_STARTS)
