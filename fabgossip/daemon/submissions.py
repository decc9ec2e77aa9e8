"""A body that local software hands over, as it comes in: how long, how fast, and where it rests."""

from hashlib import sha256
from typing import Final

import trio

from fabgossip.core.pace import BYTES_PER_S_MIN
from fabgossip.daemon.conversations import DIGITS_MAX, REQUEST_S, RefusedError, Request
from fabgossip.daemon.driver import Driver
from fabgossip.daemon.submitted import Submission, is_spooled
from fabgossip.model.artifact import CONTENT_BYTES_MAX, chunk_count_of, chunk_size_of
from fabgossip.model.envelope import ENVELOPE_BYTES_MAX
from fabgossip.model.ids import ContentHash

SUBMIT_S: Final = 120.0
"""Longest time a submitted body may take, whatever its size."""


def length_in(request: Request, header: bytes) -> int:
    """How many bytes of the body an envelope has, as a header says."""
    length = request.headers.get(header, b"")
    if not (length.isdigit() and len(length) <= DIGITS_MAX) or not (
        0 < int(length) <= ENVELOPE_BYTES_MAX
    ):
        name = header.decode("ascii").title()
        raise RefusedError(400, "envelope", f"header {name}: 1 to {ENVELOPE_BYTES_MAX}")
    return int(length)


def submit_s(body_bytes: int) -> float:
    """How long a submitted body of this size may take: the pace of a peer's content is its least
    too, so that a trickle holds no connection."""
    return min(REQUEST_S + body_bytes / BYTES_PER_S_MIN, SUBMIT_S)


class SubmitBody:
    """A submitted envelope and content as they come in, hashed on the way; large contents go to a
    file."""

    def __init__(self, driver: Driver, envelope_bytes: int, body_bytes: int) -> None:
        self.envelope = bytearray()
        self._envelope_bytes = envelope_bytes
        self._size = body_bytes - envelope_bytes
        if not 0 <= self._size <= CONTENT_BYTES_MAX:
            raise RefusedError(413, "content", f"a content has at most {CONTENT_BYTES_MAX} bytes")
        self._received = 0
        self._whole = sha256()
        self._chunk_bytes = chunk_size_of(self._size) if chunk_count_of(self._size) else 0
        self._chunk = bytearray()
        self._chunk_hashes: list[ContentHash] = []
        self._data = bytearray()
        self._incoming = None
        if is_spooled(self._size):
            try:
                name = ContentHash(sha256(b"submission").digest())
                self._incoming = driver.transfers.open_incoming(name, self._size)
            except OSError as error:
                raise RefusedError(507, "storage", error.strerror or "no space") from error

    @property
    def is_complete(self) -> bool:
        """Whether all announced bytes came."""
        return len(self.envelope) == self._envelope_bytes and self._received == self._size

    async def add(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        missing = self._envelope_bytes - len(self.envelope)
        self.envelope += data[:missing]
        content = data[missing:] if missing else data
        if not content:
            return
        if self._incoming is None:
            self._data += content
            self._whole.update(content)
        else:
            await trio.to_thread.run_sync(self._spool, self._received, content)
        self._received += len(content)

    def _spool(self, offset: int, content: bytes) -> None:
        assert self._incoming is not None
        self._incoming.write_at(offset, content)
        self._whole.update(content)
        self._chunk += content
        while len(self._chunk) >= self._chunk_bytes:
            self._chunk_hashes.append(
                ContentHash(sha256(self._chunk[: self._chunk_bytes]).digest())
            )
            del self._chunk[: self._chunk_bytes]

    def submission(self) -> Submission:
        """What the driver needs to judge and store the content."""
        if self._chunk:
            self._chunk_hashes.append(ContentHash(sha256(self._chunk).digest()))
        return Submission(
            data=None if self._incoming is not None else bytes(self._data),
            incoming=self._incoming,
            size=self._received,
            whole_hash=ContentHash(self._whole.digest()),
            chunk_hashes=tuple(self._chunk_hashes),
        )

    def drop(self) -> None:
        """Forget what came."""
        if self._incoming is not None:
            self._incoming.drop()
