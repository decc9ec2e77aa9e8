"""Handing artifacts to running nodes: each passes the node's own gate, and doing it twice changes
nothing."""

from collections.abc import Callable
from dataclasses import dataclass

from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.signing import SignedArtifact
from fabgossip.model.artifact import ArtifactType
from fabgossip.trust.rejections import RejectionCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of one artifact at one node."""

    artifact: SignedArtifact
    outcome: str
    code: str
    detail: str

    @property
    def is_accepted(self) -> bool:
        """Whether the node has it now. A step of the trust chain it is past, it had."""
        is_past = (
            self.artifact.manifest.artifact_type is ArtifactType.TRUST_BUNDLE
            and self.code == RejectionCode.VERSION_ROLLBACK
        )
        return is_past or self.outcome in ("admitted", "already_current")


Submit = Callable[[SignedArtifact], Delivery]


def publish(
    authority: AuthorityFolder, submit: Submit, *, everything: bool
) -> tuple[Delivery, ...]:
    """Hand over what no node has accepted yet, or everything; notes what was accepted."""
    artifacts = authority.heads() if everything else authority.undelivered()
    deliveries = tuple(submit(artifact) for artifact in artifacts)
    authority.mark_delivered(tuple(one.artifact for one in deliveries if one.is_accepted))
    return deliveries
