"""What was decided and is in nothing signed yet: no node can know of it, whatever is handed over.

A change of address or place is not found here: it is in directories, and what those say depends on
the source as well.
"""

from dataclasses import dataclass

from fabgossip.control.drafts import CompileInput
from fabgossip.control.revoking import RevocationBook, RevocationRow
from fabgossip.control.snapshots import is_told


@dataclass(frozen=True, slots=True)
class Uncompiled:
    """What waits for the next compile."""

    entries: tuple[RevocationRow, ...] = ()
    """Revocations in force that no signed list has."""
    nodes: tuple[str, ...] = ()
    """Enrolled nodes whose newest own snapshot has not the claims that are registered, by id."""

    def __bool__(self) -> bool:
        """Whether anything does."""
        return bool(self.entries or self.nodes)


def uncompiled_of(given: CompileInput, book: RevocationBook, list_version: int) -> Uncompiled:
    """What waits, of this book and these nodes; `list_version` is that of the newest signed list.
    Cost: O(nodes), a snapshot read for each."""
    epoch = given.bundle.authority_epoch
    rows = book.in_force(epoch, given.now)
    return Uncompiled(
        entries=tuple(row for row in rows if row.first_list(epoch) > list_version),
        nodes=tuple(one for one, row in given.members.items() if not is_told(given, row)),
    )
