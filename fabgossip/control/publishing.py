"""Handing artifacts to running nodes: each passes the node's own gate, and doing it twice changes
nothing."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.deeds import published_deeds
from fabgossip.control.signing import SignedArtifact
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.moment import UnixTime
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
        """Whether the node has it now. The bundle it pinned it has, and keeps no envelope of."""
        is_in_force = self.code == RejectionCode.ALREADY_CURRENT
        return is_in_force or self.outcome in ("admitted", "already_current")


NOT_YET: Final = frozenset(
    {RejectionCode.MODE_DENIED, RejectionCode.AHEAD, RejectionCode.AUDIENCE_NOT_OURS}
)
"""What a node may take once it knows more: its own snapshot with the claims of a new epoch, the
list of a covering one."""
Submit = Callable[[SignedArtifact], Delivery]


def publish(
    authority: AuthorityFolder, submit: Submit, now: UnixTime, *, everything: bool
) -> tuple[Delivery, ...]:
    """Hand over what no node has accepted yet, or everything; notes what was accepted.

    Earlier steps of the trust chain are refused by a node that is past them, each for a reason of
    its own: that the node accepted the newest says that it had them all.
    """
    handouts = authority.handouts(now, everything=everything)
    if not handouts:
        return ()
    with authority.noted(published_deeds(handouts), now):
        return _published(authority, handouts, submit)


def _published(
    authority: AuthorityFolder, handouts: tuple[SignedArtifact, ...], submit: Submit
) -> tuple[Delivery, ...]:
    deliveries = _hand_over(handouts, submit)
    bundles = [one for one in deliveries if _is_bundle(one)]
    earlier = bundles[:-1] if bundles and bundles[-1].is_accepted else []
    settled = [one for one in deliveries if one not in earlier or one.is_accepted]
    done = [one.artifact for one in deliveries if one.is_accepted or one in earlier]
    authority.mark_delivered(tuple(done))
    return tuple(settled)


def _hand_over(artifacts: tuple[SignedArtifact, ...], submit: Submit) -> list[Delivery]:
    """One after the other; what the node may not take yet is offered again once it took something
    else. A new node takes nothing before it has trust, the list and its own snapshot; below a
    covered prefix nothing newer than its list, which comes last."""
    deliveries: dict[int, Delivery] = {}
    waiting = list(range(len(artifacts)))
    while waiting:
        left: deque[int] = deque()
        for number in waiting:
            _offer(number, artifacts, submit, deliveries, left)
        if len(left) == len(waiting):
            break
        waiting = sorted(left)
    return [deliveries[number] for number in range(len(artifacts))]


def _offer(
    number: int,
    artifacts: tuple[SignedArtifact, ...],
    submit: Submit,
    deliveries: dict[int, Delivery],
    left: deque[int],
) -> None:
    """Hand one over; if it is taken, those refused before may be welcome now, the first of them
    first: whole nodes wait for their snapshots, and should not wait for all that follows."""
    deliveries[number] = submit(artifacts[number])
    if deliveries[number].code in NOT_YET:
        left.append(number)
        return
    while left and deliveries[number].is_accepted:
        deliveries[left[0]] = submit(artifacts[left[0]])
        if deliveries[left[0]].code in NOT_YET:
            return
        left.popleft()


def _is_bundle(delivery: Delivery) -> bool:
    return delivery.artifact.manifest.artifact_type is ArtifactType.TRUST_BUNDLE
