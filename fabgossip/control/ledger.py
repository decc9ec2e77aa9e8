"""The control plane's ledger: who did what, and in which order.

What is about to be done is recorded before it is done, so that an action whose record cannot be
written does not happen; a checkpoint over the record is signed once it is done. What was begun and
failed is followed by a record that says so. A ledger that is not the one that was signed is told of
in the ledger itself, and stops the command that finds it, not those after it: to take trust away
must stay possible.

The key that signs checkpoints has a right to nothing else: every node refuses a trust bundle that
gives it one.
"""

import os
import pwd
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Final

from fabgossip.control.keystore import ArtifactKey, random_bytes
from fabgossip.control.signing import signed_envelope
from fabgossip.errors import ControlError, StorageError
from fabgossip.model.authority import LEDGER_OWNER, AuditCheckpoint
from fabgossip.model.envelope import PayloadKind
from fabgossip.model.ids import BOOT_ID_BYTES, BootId, ClusterId
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import KeptCheckpoint
from fabgossip.storage.checkpoints import CheckpointFile
from fabgossip.storage.records import LEDGER_FOLDER, Entry, RecordChain, gap_entry, read_records
from fabgossip.trust.checkpoints import LedgerKeys, verify_ledger_checkpoint
from fabgossip.trust.rejections import Rejection
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.statements import checkpoint_bytes

SEGMENTS_MAX: Final = 4_096
"""32 GiB: what an authority did is kept for longer than what befell a node (*start*)."""
Inputs = tuple[tuple[str, str | int], ...]
_LOGIN: Final = Path("/proc/self/loginuid")
_NOBODY: Final = 2**32 - 1


class Act(StrEnum):
    """What the control plane does that somebody may ask for later; names for ever."""

    AUTHORITY_CREATED = "authority_created"
    KEY_ROTATED = "key_rotated"
    NODE_ENROLLED = "node_enrolled"
    NODE_RENEWED = "node_renewed"
    NODE_CHANGED = "node_changed"
    STORAGE_ROLE_ASSIGNED = "storage_role_assigned"
    STORAGE_ROLE_REMOVED = "storage_role_removed"
    REPLICATION_POLICY_CHANGED = "replication_policy_changed"
    ARTIFACT_SIGNED = "artifact_signed"
    ARTIFACT_TOMBSTONED = "artifact_tombstoned"
    ARTIFACT_PUBLISHED = "artifact_published"
    ARTIFACT_REVOKED = "artifact_revoked"
    IDENTITY_REVOKED = "identity_revoked"
    KEY_REVOKED = "key_revoked"
    GRANT_REVOKED = "grant_revoked"
    GRANT_ISSUED = "grant_issued"
    ACTION_FAILED = "action_failed"
    """What the records `first` to `last` say was begun, and did not come to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One thing that is about to be done; who does it, and why, is the ledger's to say."""

    act: Act
    object: str
    inputs: Inputs = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSigner:
    """The key that signs from now on, and those that signed before."""

    cluster_id: ClusterId
    key: ArtifactKey
    known: LedgerKeys


class LedgerDamagedError(ControlError):
    """What was signed is not what is there; exit code of a refusal by verification."""

    exit_code: ClassVar[int] = 5


class Ledger:
    """The ledger of an authority folder, as one command sees it. One command at a time may use
    it."""

    def __init__(self, authority: Path, reason: str = "") -> None:
        self._folder = authority / LEDGER_FOLDER
        self._reason = reason
        self._command = BootId(random_bytes(BOOT_ID_BYTES))

    @contextmanager
    def noting(
        self, deeds: Sequence[Deed], signer: LedgerSigner, now: UnixTime, *, is_first: bool = False
    ) -> Iterator[None]:
        """Record these deeds, let them be done, sign; `is_first` of a new authority, whose ledger
        begins.

        Raises:
            ControlError: nothing was recorded, and nothing may be done.
            LedgerDamagedError: the ledger is not what was signed, and says so now.
        """
        chain = RecordChain(self._folder, self._command.hex(), segments_max=SEGMENTS_MAX)
        checkpoints = CheckpointFile(self._folder)
        try:
            with _said(self._folder, "nothing was done"):
                chain.open()
                signed = _own(checkpoints.open(), signer)
                first = self._begin(chain, signed, deeds, now, is_first=is_first)
            if first is None:
                self._sign(chain, checkpoints, signer, now)
                raise LedgerDamagedError(
                    f"{self._folder}: what was signed is gone or changed, so nothing was done; "
                    "fabgossip audit verify --authority names the place. The ledger says so now, "
                    "and the same command goes on from there"
                )
            is_done = False
            try:
                yield
                is_done = True
            finally:
                with _said(self._folder, "what was recorded is not signed"):
                    if not is_done:
                        inputs = (("first", first), ("last", chain.head.size))
                        failed = Deed(act=Act.ACTION_FAILED, object="", inputs=inputs)
                        chain.append([self._entry(failed, now)])
                    self._sign(chain, checkpoints, signer, now)
        finally:
            chain.close()

    def _begin(
        self,
        chain: RecordChain,
        signed: KeptCheckpoint | None,
        deeds: Sequence[Deed],
        now: UnixTime,
        *,
        is_first: bool,
    ) -> int | None:
        """Record the deeds; the number of the first, None if instead the ledger was found damaged
        and says so."""
        entries = [self._entry(one, now) for one in deeds]
        size, covered = chain.head.size, 0 if signed is None else signed.size
        code = None if is_first else _damage(chain, signed)
        if code is not None:
            _append(chain, [gap_entry(entries[0], code, ("signed", covered))])
            return None
        if size > covered:
            # A command was cut short after these, or somebody else wrote them: it takes a look.
            unsigned = ("first", covered + 1), ("last", size)
            entries.insert(0, gap_entry(entries[0], "unsigned", *unsigned))
        _append(chain, entries)
        return chain.head.size - len(deeds) + 1

    def _entry(self, deed: Deed, now: UnixTime) -> Entry:
        reason = (("reason", self._reason),) if self._reason else ()
        return Entry(
            wall=now,
            mono=0,  # commands have no common clock but the wall's
            event=deed.act.value,
            subject=user_name(os.getuid()),
            object=deed.object,
            inputs=(*_who(), *reason, *deed.inputs),
        )

    def _sign(
        self, chain: RecordChain, checkpoints: CheckpointFile, signer: LedgerSigner, now: UnixTime
    ) -> None:
        checkpoint = AuditCheckpoint(
            cluster_id=signer.cluster_id,
            node_id=LEDGER_OWNER,
            boot_id=self._command,
            size=chain.head.size,
            head=chain.head.line_hash,
            wall=now,
        )
        payload = checkpoint_bytes(checkpoint)
        envelope = signed_envelope(PayloadKind.AUDIT_CHECKPOINT, payload, (signer.key,))
        checkpoints.append(_kept(checkpoint, envelope))


def _append(chain: RecordChain, entries: Sequence[Entry]) -> None:
    while entries:
        entries = entries[chain.append(entries) :]


def _kept(checkpoint: AuditCheckpoint, envelope: bytes) -> KeptCheckpoint:
    return KeptCheckpoint(
        size=checkpoint.size, head=checkpoint.head, wall=checkpoint.wall, envelope=envelope
    )


@contextmanager
def _said(folder: Path, consequence: str) -> Iterator[None]:
    """What the disk refuses is the control plane's failure; raises `ControlError`."""
    try:
        yield
    except StorageError as error:
        raise ControlError(f"{error}: the ledger of {folder}; {consequence}") from error


def _own(envelope: bytes | None, signer: LedgerSigner) -> KeptCheckpoint | None:
    """The newest checkpoint, if one of our keys signed it about our ledger."""
    if envelope is None:
        return None
    known = signer.known.with_key(signer.key.public_key)
    found = verify_ledger_checkpoint(envelope, known, signer.cluster_id, Ed25519Verifier())
    return None if isinstance(found, Rejection) else _kept(found, envelope)


def _damage(chain: RecordChain, signed: KeptCheckpoint | None) -> str | None:
    """How the ledger differs from what was signed last, as far as one line tells."""
    if signed is None:
        return "unsigned" if chain.head.size else "cut"
    if signed.size > chain.head.size:
        return "cut"
    found = read_records(chain.folder, signed.size - 1, 1)
    is_there = bool(found) and sha256(found[0][1]).digest() == signed.head
    return None if is_there else "altered"


def user_name(uid: int) -> str:
    """The name of a user, its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _who() -> Iterable[tuple[str, str | int]]:
    """The user, and who logged in where that is another one: the kernel remembers it, whatever
    name was taken on since."""
    uid = os.getuid()
    yield "uid", uid
    try:
        login = int(_LOGIN.read_text("ascii"))
    except (OSError, ValueError):
        return
    if login not in (uid, _NOBODY):
        yield "login", user_name(login)
