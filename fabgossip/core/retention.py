"""What this node may still take, and what it keeps.

Decides: nothing yet the disk did not say.
Keeps: the last word of the disk about its space.
Must not know: how space is measured.
"""

from fabgossip.core.space import AMPLE, SpaceState


class Retention:
    """The space there is."""

    __slots__ = ("space",)

    def __init__(self) -> None:
        self.space: SpaceState = AMPLE
        """As the disk said it last."""

    def on_space(self, space: SpaceState) -> bool:
        """The disk fares differently; whether it takes again what it refused."""
        had_trouble = self.space.trouble is not None
        self.space = space
        return had_trouble and space.trouble is None
