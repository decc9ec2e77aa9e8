"""What a process was handling when it ended: noted before each step that judges envelopes, taken
back after it.

A manifest that ends the process is offered again after the restart, by every peer, to every node
that may have it. So what was noted and not taken back counts: twice within an hour if the step
raised, three times if the process just ended, for it may have been killed over something else. Then
the envelope is left alone until an hour after the last time. What comes beside a suspect is handled
step by step, so that the next note names one envelope.

A note is one `pwrite`, without fsync: it need outlive the process, not the machine. It is no
mapped memory, which a full disk turns into a signal.
"""

import os
import struct
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from fabgossip.core.effects import Persist
from fabgossip.core.events import (
    Event,
    MessageReceived,
    RequestMade,
    SubmitRequest,
    UseRequest,
)
from fabgossip.model.ids import HASH_BYTES
from fabgossip.model.messages import Announce, Chain, Heads, Manifests, Message
from fabgossip.model.moment import Duration, UnixTime, seconds_between
from fabgossip.model.persistence import PutHead, PutIncrement

FOLDER: Final = "crashes"
SPAN_S: Final = 3_600
"""How long an end counts, and an envelope is left alone (*start*)."""
RAISED_MAX: Final = 2
ENDED_MAX: Final = 3
"""Of steps that raised, and of ends in all, over one envelope (*start*)."""
HANDLED_MAX: Final = 256
"""Envelopes noted of a step: no frame has room for more."""
ENDS_MAX: Final = 4_096
"""Ends kept of the last hour, each over one envelope; beyond, the oldest leave (*start*)."""
_HEADER: Final = struct.Struct(">QI?")
_NOTHING: Final = bytes(_HEADER.size)


class _End(NamedTuple):
    at: UnixTime
    is_raised: bool
    digest: bytes

    def line(self) -> str:
        return f"{self.at} {int(self.is_raised)} {self.digest.hex()}\n"


class CrashMarks:
    """The notes of one state folder, which is locked."""

    def __init__(self, folder: Path, now: UnixTime) -> None:
        """Count what the process before this one left. Raises `OSError`."""
        place = folder / FOLDER
        place.mkdir(mode=0o700, exist_ok=True)
        self._history = place / "history"
        self._note = os.open(
            place / "handling", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        left = self._left()
        ends = [one for one in (*self._ends(), *left) if 0 <= seconds_between(one.at, now) < SPAN_S]
        if left:
            with suppress(OSError):
                # A full disk keeps nobody from starting.
                self._keep(ends[-ENDS_MAX:])
            self.take_back()
        self.shunned = _shunned(ends, now)
        """What is to be left alone, and for how long."""
        shunned = {digest for digest, _ in self.shunned}
        suspects = dict.fromkeys(one.digest for one in ends if one.digest not in shunned)
        self.suspects = dict.fromkeys(tuple(suspects)[-HANDLED_MAX:]).keys()
        """Over one of these a process ended of late: the start, which reads them from the disk, may
        do so, and a peer may bring them again."""

    def note(self, digests: tuple[bytes, ...], now: UnixTime, *, is_raised: bool = False) -> None:
        """A step begins that handles these envelopes, or has raised over them."""
        kept = digests[:HANDLED_MAX]
        with suppress(OSError):
            # A disk that takes no note must not stop the node.
            os.pwrite(self._note, _HEADER.pack(now, len(kept), is_raised) + b"".join(kept), 0)

    def take_back(self) -> None:
        """The step is over."""
        with suppress(OSError):
            os.pwrite(self._note, _NOTHING, 0)

    def close(self) -> None:
        """Nothing more is handled."""
        os.close(self._note)

    def _left(self) -> list[_End]:
        raw = os.pread(self._note, _HEADER.size + HANDLED_MAX * HASH_BYTES, 0)
        if len(raw) < _HEADER.size:
            return []
        at, count, is_raised = _HEADER.unpack_from(raw)
        starts = range(_HEADER.size, len(raw) - HASH_BYTES + 1, HASH_BYTES)[:count]
        return [_End(UnixTime(at), is_raised, raw[one : one + HASH_BYTES]) for one in starts]

    def _ends(self) -> list[_End]:
        """Those before the last; a line that is none tells of nothing."""
        ends = []
        with suppress(FileNotFoundError):
            for line in self._history.read_text("ascii", "replace").splitlines():
                with suppress(ValueError):
                    at, is_raised, digest = line.split(" ")
                    ends.append(_End(UnixTime(int(at)), is_raised == "1", bytes.fromhex(digest)))
        return ends

    def _keep(self, ends: list[_End]) -> None:
        """Durable before the note is taken back."""
        fresh = self._history.with_suffix(".new")
        with fresh.open("w", encoding="ascii") as file:
            file.writelines(one.line() for one in ends)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._history)


def _shunned(ends: list[_End], now: UnixTime) -> tuple[tuple[bytes, Duration], ...]:
    in_all = Counter(one.digest for one in ends)
    raised = Counter(one.digest for one in ends if one.is_raised)
    newest = {one.digest: one.at for one in ends}
    return tuple(
        (digest, Duration(1_000 * (SPAN_S - seconds_between(at, now))))
        for digest, at in newest.items()
        if raised[digest] >= RAISED_MAX or in_all[digest] >= ENDED_MAX
    )


def one_by_one(message: Message) -> tuple[Message, ...]:
    """A message as several of one envelope each, which say the same, so that a process that ends
    over one of them casts no suspicion on the others. A chain is one thing, and stays whole."""
    match message:
        case Announce(entries=entries):
            return tuple(Announce(entries=(one,)) for one in entries)
        case Heads(envelopes=envelopes, question=question) if envelopes:
            return tuple(Heads(envelopes=(one,), question=question) for one in envelopes)
        case Manifests(envelopes=envelopes) if envelopes:
            first = tuple(
                replace(
                    message, answered=min(1, max(0, message.answered - place)), envelopes=(one,)
                )
                for place, one in enumerate(envelopes[:-1])
            )
            settled = message.answered - sum(one.answered for one in first)
            return (*first, replace(message, answered=settled, envelopes=envelopes[-1:]))
        case _:
            return (message,)


def digests_of(envelopes: Iterable[bytes]) -> tuple[bytes, ...]:
    """What names envelopes before anybody has read them."""
    return tuple(sha256(one).digest() for one in envelopes)


def envelopes_in(event: Event) -> tuple[bytes, ...]:
    """The envelopes that an event brings to be judged."""
    if isinstance(event, MessageReceived):
        return envelopes_of(event.message)
    if isinstance(event, RequestMade) and isinstance(event.body, SubmitRequest | UseRequest):
        return (event.body.envelope,)
    return ()


def envelopes_of(message: Message) -> tuple[bytes, ...]:
    """The envelopes that a message carries to be judged."""
    match message:
        case Announce(entries=entries):
            return tuple(one.envelope for one in entries)
        case (
            Manifests(envelopes=envelopes) | Heads(envelopes=envelopes) | Chain(envelopes=envelopes)
        ):
            return envelopes
        case _:
            return ()


def envelopes_kept(effect: Persist) -> tuple[bytes, ...]:
    """The envelopes that an effect makes durable: what follows is a step of its own."""
    return tuple(
        one.verified.envelope for one in effect.changes if isinstance(one, PutHead | PutIncrement)
    )
