"""What consumers read no more because it is too old, and when they may read it again.

Decides: whether the signed degraded policy puts something away; whether what was put away may come
back.
Keeps: only a rule of the policy that says `withhold` puts anything away; nothing comes back by
absence: without a rule, in amnesia, on a revoked node or by a clock nobody believes it stays away.
Must not know: links, folders, what the head of a namespace is.

Age counts from `refresh_by`, in every mode, by the time everything is judged by. A clock that runs
ahead can so put something away too early; once it is set right, that comes back.
"""

from typing import Final

from fabgossip.core.beliefs import Beliefs
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.mode import Action, Mode
from fabgossip.model.moment import Now, is_past, seconds_after
from fabgossip.trust.modes import Circumstances

BY_POLICY: Final = Circumstances(policy=frozenset({Mode.PARTITIONED, Mode.STALE}))
"""A rule for the type is the policy's leave to go on, as for `keep-running`; a suspect clock cannot
say how old a thing is."""


class Withholding:
    """What was put away, by namespace."""

    __slots__ = ("_away", "_beliefs")

    def __init__(self, beliefs: Beliefs) -> None:
        self._beliefs = beliefs
        self._away: dict[str, VerifiedManifest] = {}

    def on_away(self, verified: VerifiedManifest) -> None:
        """Consumers do not find it any more."""
        self._away[verified.manifest.namespace.text] = verified

    def on_over(self, namespace: str) -> None:
        """Something is shown in a namespace again, or what was put away must never come back."""
        self._away.pop(namespace, None)

    def away(self, namespace: str) -> VerifiedManifest | None:
        """What was put away in a namespace."""
        return self._away.get(namespace)

    def is_over_age(self, verified: VerifiedManifest, now: Now) -> bool:
        """Whether the signed policy says to put it away."""
        manifest = verified.manifest
        rule = self._beliefs.policy.rule_for(manifest.artifact_type)
        if rule is None or not rule.withhold:
            return False
        return is_past(seconds_after(manifest.refresh_by, rule.max_age_s), now.unix)

    def next_back(self, now: Now) -> tuple[VerifiedManifest, ...]:
        """What was put away and is not kept away by its age any more."""
        if not self._away:
            return ()
        if not self._beliefs.may(Action.CONTINUE_LAST_GOOD, now, BY_POLICY).allowed:
            return ()
        policy = self._beliefs.policy
        return tuple(
            one
            for one in self._away.values()
            if policy.rule_for(one.manifest.artifact_type) is not None
            and not self.is_over_age(one, now)
        )
