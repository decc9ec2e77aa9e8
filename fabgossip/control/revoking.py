"""What was revoked: the control plane's own book of entries, from which each list is made.

`revocations.json` holds one row per entry, oldest first. An entry lies in every list of the epoch
it was made in, and of later ones, until a rotation that opened an epoch lifted it or until a day
after its `until`. Nodes keep the union of all lists of an epoch, so within one nothing is ever
given back.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Final

from fabgossip.control.files import replace_file
from fabgossip.errors import ControlError, WireError
from fabgossip.model.authority import Revocation, RevocationList, RevokedKind
from fabgossip.model.bounds import Bounds
from fabgossip.model.ids import parse_hash
from fabgossip.model.moment import UnixTime, is_past, seconds_after
from fabgossip.wire.contents import parse_revocations, revocations_bytes
from fabgossip.wire.tables import TableError, structure_table

KEEP_PAST_UNTIL_S: Final = 86_400
"""An entry outlives its end by a day: clocks of a fabric are not equal."""
ID_DIGITS: Final = 12
"""As many digits of its value name an entry."""
_INT_MAX: Final = 2**53 - 1
_SUBJECTS: Final = (RevokedKind.SIGNING_KEY, RevokedKind.NODE)
"""What, once revoked, anything newer must not be acted on without knowing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationRow:
    """One entry, as the control plane knows it."""

    kind: str
    value: str
    """Hexadecimal."""
    subject: str
    """What the operator named; it never leaves this folder."""
    reason: str
    since_epoch: Annotated[int, Bounds(1, _INT_MAX)]
    since: Annotated[int, Bounds(0, _INT_MAX)]
    until: Annotated[int, Bounds(0, _INT_MAX)] = 0
    listed_in: Annotated[int, Bounds(1, _INT_MAX)] = 1
    """Version of the first list it lies in, in the epoch it was made in."""
    lifted_in: Annotated[int, Bounds(0, _INT_MAX)] = 0
    """Epoch from which on it counts no more; 0: none."""

    def __post_init__(self) -> None:
        """A file that was edited by hand says where it went wrong, before a list is made of it."""
        kinds = [one.name for one in RevokedKind]
        if self.kind not in kinds:
            raise ValueError(f"kind {self.kind!r}: expected {', '.join(kinds)}")
        parse_hash(self.value, "value")

    @property
    def entry_id(self) -> str:
        """How commands name it."""
        return self.value[:ID_DIGITS]

    @property
    def revoked_kind(self) -> RevokedKind:
        """What it takes away."""
        return RevokedKind[self.kind]

    def first_list(self, epoch: int) -> int:
        """Version of the first list of this epoch that has it, signed or not. The first of all has
        what is older than the epoch."""
        return self.listed_in if self.since_epoch == epoch else 1

    def is_in_force(self, epoch: int, now: UnixTime) -> bool:
        """Whether the list of this epoch has it now."""
        is_lifted = 0 < self.lifted_in <= epoch
        end = seconds_after(UnixTime(self.until), KEEP_PAST_UNTIL_S)
        return not is_lifted and not (self.until and is_past(end, now))


@dataclass(frozen=True, slots=True)
class RevocationBook:
    """All entries ever made."""

    rows: tuple[RevocationRow, ...] = ()

    def in_force(self, epoch: int, now: UnixTime) -> tuple[RevocationRow, ...]:
        """The entries of the list of this epoch."""
        return tuple(row for row in self.rows if row.is_in_force(epoch, now))

    def listed(self, epoch: int, now: UnixTime) -> RevocationList:
        """The list of this epoch, ascending by kind and value."""
        entries = (
            Revocation(
                kind=row.revoked_kind,
                value=bytes.fromhex(row.value),
                reason=row.reason,
                since_epoch=row.since_epoch,
                since=UnixTime(row.since),
                until=UnixTime(row.until),
            )
            for row in self.in_force(epoch, now)
        )
        return RevocationList(
            entries=tuple(sorted(entries, key=lambda one: (one.kind.value, one.value)))
        )

    def version_min(self, epoch: int, now: UnixTime) -> int:
        """The list a node must know before it acts on anything newer: the first that has all keys
        and nodes revoked so far; 0 if none is."""
        return max(
            (
                row.first_list(epoch)
                for row in self.in_force(epoch, now)
                if row.revoked_kind in _SUBJECTS
            ),
            default=0,
        )

    def with_row(self, row: RevocationRow, now: UnixTime) -> "RevocationBook":
        """The book with one more entry; the same book if that is in force already.

        Raises:
            ControlError: no list may hold it.
        """
        epoch = row.since_epoch
        if any((one.kind, one.value) == (row.kind, row.value) for one in self.in_force(epoch, now)):
            return self
        book = RevocationBook((*self.rows, row))
        try:
            parse_revocations(revocations_bytes(book.listed(epoch, now)))
        except WireError as error:
            raise ControlError(f"{row.subject}: {error.detail}") from error
        return book

    def lifted(self, entry_ids: Iterable[str], epoch: int, now: UnixTime) -> "RevocationBook":
        """The book in which exactly these entries, of those in force, end with the epoch before
        `epoch`. Marks of an epoch that never came are taken back.

        Raises:
            ControlError: an id that names no entry in force, or several.
        """
        marked = set()
        for entry_id in entry_ids:
            found = [
                row
                for row in self.in_force(epoch - 1, now)
                if entry_id and row.value.startswith(entry_id)
            ]
            if len(found) != 1:
                raise ControlError(
                    f"entry {entry_id!r}: {len(found)} entries in force have this id; "
                    "fabgossip control revoke --list shows them"
                )
            marked.add(found[0])
        return RevocationBook(
            tuple(
                replace(row, lifted_in=epoch if row in marked else _kept_mark(row, epoch))
                for row in self.rows
            )
        )


def _kept_mark(row: RevocationRow, epoch: int) -> int:
    return row.lifted_in if row.lifted_in < epoch else 0


def read_book(path: Path) -> RevocationBook:
    """The book of a file, empty if there is none; raises `ControlError`."""
    try:
        return structure_table({"rows": json.loads(path.read_bytes())}, RevocationBook)
    except FileNotFoundError:
        return RevocationBook()
    except (OSError, ValueError, TableError) as error:
        raise ControlError(f"{path}: {error}") from error


def write_book(path: Path, book: RevocationBook) -> None:
    """Replace the book, old or new, never between."""
    rows = [asdict(row) for row in book.rows]
    replace_file(path, json.dumps(rows, indent=1).encode())
