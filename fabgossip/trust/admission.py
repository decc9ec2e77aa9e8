"""One envelope on its way through the gate: what its steps found out so far.

Decides: nothing; the steps do, and fill it from top to bottom.
Keeps: a step reads only what an earlier one has set.
Must not know: which steps there are, or their order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from fabgossip.model.artifact import Manifest
from fabgossip.model.authority import Right
from fabgossip.model.envelope import Envelope
from fabgossip.model.ids import KeyId
from fabgossip.model.moment import UnixTime
from fabgossip.trust.facts import Asked, Known, TrustFacts
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.trust.signatures import Verifier


@dataclass(slots=True)
class Admission:
    """What is known so far about one envelope; steps fill it from top to bottom."""

    raw: bytes
    asked: Asked
    facts: TrustFacts
    verifier: Verifier
    now: UnixTime
    known: Known
    is_held: bool = False
    """Whether this is of our own index: it was first seen in time."""
    parts: Envelope | None = None
    good: tuple[KeyId, ...] = ()
    statement: Manifest | None = None
    right: Right | None = None
    counted: tuple[KeyId, ...] = ()

    @property
    def envelope(self) -> Envelope:
        """Set by step `parse`."""
        assert self.parts is not None
        return self.parts

    @property
    def manifest(self) -> Manifest:
        """Set by step `decode`."""
        assert self.statement is not None
        return self.statement

    def refuse(self, code: RejectionCode, detail: str) -> Rejection:
        """The refusal, with what is known of its subject."""
        namespace = None if self.statement is None else self.statement.namespace.text
        manifest_hash = None if self.parts is None else self.parts.manifest_hash
        return Rejection(
            code=code,
            detail=detail,
            namespace=namespace,
            manifest_hash=manifest_hash,
            was_signed=bool(self.good),
            signed_by=self.counted,
        )


Step: TypeAlias = Callable[[Admission], Rejection | None]
