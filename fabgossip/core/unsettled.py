"""What one room noticed and others take up before the step ends.

Decides: nothing.
Keeps: each is taken up once.
Must not know: who notices, who takes it up.
"""

from fabgossip.core.events import RequestId
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.trust.rejections import Rejection


class Unsettled:
    """Emptied within every step."""

    __slots__ = ("facts_changed", "failed_requests", "own_claims_changed", "refused_contents")

    def __init__(self) -> None:
        self.facts_changed = False
        """Whether links, and what waits for more trust, must be judged again."""
        self.own_claims_changed = False
        """Whether peers must be shown other claims of ours."""
        self.failed_requests: list[tuple[RequestId, str]] = []
        """Local requests that cannot be answered any more, and why."""
        self.refused_contents: list[tuple[VerifiedManifest, Rejection]] = []
        """Contents that do not say what their type demands."""
