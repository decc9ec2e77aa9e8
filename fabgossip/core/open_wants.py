"""The wants there are, and the last ones there were.

Decides: nothing.
Keeps: one want per content and signer.
Must not know: where a want stands, who is asked.
"""

from collections import deque

from fabgossip.core.wants import EndedWant, Goal, Want, WantState, goal_of
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.ids import ContentHash


class OpenWants:
    """All open wants by what they are for, oldest first; of the ended ones the newest."""

    __slots__ = ("_by_content", "_by_goal", "_ended")

    def __init__(self, ended_max: int) -> None:
        self._by_goal: dict[Goal, Want] = {}
        self._by_content: dict[ContentHash, dict[Goal, Want]] = {}
        self._ended: deque[EndedWant] = deque(maxlen=ended_max)

    def __len__(self) -> int:
        return len(self._by_goal)

    def on_open(self, want: Want) -> None:
        """Something is wanted."""
        assert want.goal not in self._by_goal
        self._by_goal[want.goal] = want
        self._by_content.setdefault(want.goal.content_hash, {})[want.goal] = want

    def on_joined(self, want: Want, verified: VerifiedManifest) -> None:
        """What is wanted is signed by more keys than before."""
        self._drop(want.goal)
        want.goal, want.verified = goal_of(verified), verified
        self.on_open(want)

    def on_ended(self, want: Want, state: WantState) -> None:
        """Nothing is wanted any more, for this reason."""
        want.state = state
        self._drop(want.goal)
        ended = EndedWant(
            goal=want.goal,
            namespace=want.verified.manifest.namespace.text,
            state=state,
            attempts=want.attempts,
        )
        self._ended.append(ended)

    def _drop(self, goal: Goal) -> None:
        del self._by_goal[goal]
        rest = self._by_content[goal.content_hash]
        del rest[goal]
        if not rest:
            del self._by_content[goal.content_hash]

    def find(self, verified: VerifiedManifest) -> Want | None:
        """The open want behind which a manifest stands."""
        return self._by_goal.get(goal_of(verified))

    def of(self, content_hash: ContentHash) -> tuple[Want, ...]:
        """The open wants of a content."""
        return tuple(self._by_content.get(content_hash, {}).values())

    def all(self) -> tuple[Want, ...]:
        """Every open want, oldest first."""
        return tuple(self._by_goal.values())

    def ended(self, verified: VerifiedManifest) -> EndedWant | None:
        """The newest ended want behind which a manifest stood, while it is remembered."""
        goal = goal_of(verified)
        return next((one for one in reversed(self._ended) if one.goal == goal), None)

    def check(self) -> None:
        """Assert that both indices agree."""
        for goal, want in self._by_goal.items():
            assert want.goal == goal
            assert self._by_content[goal.content_hash][goal] is want
        assert len(self._by_goal) == sum(len(one) for one in self._by_content.values())
