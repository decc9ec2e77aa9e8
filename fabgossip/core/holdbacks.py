"""What operators put back: the namespaces in which local software reads an older version.

Decides: whether a namespace is held back now, and which hold's time is over.
Keeps: a namespace is held back once at most, and from the moment an operator asks for it.
Must not know: links, folders, what trust says of a version, who may ask.

A hold changes what local software reads and nothing else: floors, heads, what is fetched and what
is served or told to peers stay as they are.
"""

from typing import Final

from fabgossip.model.artifact import ArtifactType
from fabgossip.model.moment import UnixTime, is_past
from fabgossip.model.persistence import Change, DropHeldBack, HeldBack, PutHeldBack

NEVER_BACK_TYPES: Final = frozenset(
    {
        ArtifactType.TRUST_BUNDLE,
        ArtifactType.REVOCATION_LIST,
        ArtifactType.PEER_DIRECTORY,
        ArtifactType.STORAGE_DIRECTORY,
        ArtifactType.UPDATE_MANIFEST,
    }
)
"""An older one of the first four would give back what was taken from somebody; the last is never
`current`: its consumer starts it, and asks the gate."""


class Holdbacks:
    """The holds, by namespace."""

    __slots__ = ("_held_back",)

    def __init__(self) -> None:
        self._held_back: dict[str, HeldBack] = {}
        """At most one for each namespace that has a head here: the catalogue's limit bounds it."""

    def on_hold(self, held_back: HeldBack) -> None:
        """A namespace is held back from now on, durably or not yet."""
        self._held_back[held_back.namespace] = held_back

    def on_over(self, namespace: str) -> HeldBack | None:
        """A namespace is held back no longer; gives what it was put back to."""
        return self._held_back.pop(namespace, None)

    def find(self, namespace: str) -> HeldBack | None:
        """What a namespace is put back to."""
        return self._held_back.get(namespace)

    def all(self) -> tuple[HeldBack, ...]:
        """All holds, in order of namespace."""
        return tuple(self._held_back[one] for one in sorted(self._held_back))

    def ended(self, now: UnixTime) -> tuple[HeldBack, ...]:
        """The holds whose time is over."""
        return tuple(one for one in self.all() if is_past(one.until, now))

    def is_overtaken(self, change: Change) -> bool:
        """Whether a change that the disk refused would undo what was asked for since."""
        match change:
            case DropHeldBack():
                return change.namespace in self._held_back
            case PutHeldBack():
                return self.find(change.held_back.namespace) != change.held_back
            case _:
                return False

    def check(self) -> None:
        """Assert that each is filed under its namespace."""
        assert all(name == one.namespace for name, one in self._held_back.items())
