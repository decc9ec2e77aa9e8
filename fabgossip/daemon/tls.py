"""TLS over a socket stream: the standard library's `SSLObject` between two memory buffers.

The record layer hands out at most 16 KiB a call; a general-purpose wrapper pays its locks and
checkpoints for each. Here everything that arrived in one read of the socket is decrypted before
anybody is woken: on loopback a content moved twice as fast (decision 0007). One task reads and one
writes; what the record layer wants to send by itself goes out in order.
"""

import socket
import ssl
from typing import Final, Protocol, runtime_checkable

import trio

READ_BYTES: Final = 256 << 10
"""Taken from the socket at once."""


@runtime_checkable
class _Socket(Protocol):
    """What a stream over memory is not."""

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """See `socket.setsockopt`."""
        ...


class TlsStream:
    """An authenticated, encrypted byte stream, after `do_handshake`."""

    def __init__(
        self, transport: trio.abc.Stream, context: ssl.SSLContext, *, server_side: bool
    ) -> None:
        self._transport = transport
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        self._plain = memoryview(bytearray(READ_BYTES))
        self._sending = trio.Lock()
        self._unsent = memoryview(b"")
        """Encrypted and not handed to the kernel, because whoever did so was cancelled."""
        self._is_over = False

    async def do_handshake(self) -> None:
        """Agree on keys and identities.

        Raises:
            ssl.SSLError: the peer, or its certificate, was refused.
            trio.BrokenResourceError: the connection ended.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._receive()
                if self._is_over:
                    raise trio.BrokenResourceError(
                        "the connection ended in the handshake"
                    ) from None
                continue
            except ssl.SSLError:
                # The alert says why: without it the peer would see nothing but the end.
                await self._flush()
                raise
            await self._flush()
            return

    def alpn(self) -> str | None:
        """The application protocol both ends chose."""
        return self._tls.selected_alpn_protocol()

    def peer_certificate(self) -> bytes | None:
        """The DER of the peer's certificate."""
        return self._tls.getpeercert(binary_form=True)

    async def receive_some(self) -> memoryview:
        """Bytes that have arrived, empty at the end; valid until the next call.

        Raises:
            trio.BrokenResourceError: the connection broke, or the record layer refused what came.
        """
        while True:
            count = self._decrypt()
            if self._outgoing.pending:
                await self._flush()
            if count or self._is_over:
                return self._plain[:count]
            await self._receive()

    def _decrypt(self) -> int:
        count = 0
        try:
            while count < READ_BYTES:
                # Into a buffer, the call gives a count, which its type does not say.
                got = int(self._tls.read(READ_BYTES - count, self._plain[count:]))
                if not got:
                    self._is_over = True
                    break
                count += got
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self._is_over = True
        except ssl.SSLError as error:
            raise trio.BrokenResourceError(f"TLS: {error}") from error
        return count

    async def _receive(self) -> None:
        data = await self._transport.receive_some(READ_BYTES)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
            self._is_over = True

    async def send_all(self, data: bytes) -> None:
        """Encrypt and hand all of `data` to the kernel; raises `trio.BrokenResourceError`."""
        async with self._sending:
            # What is encrypted must be sent: a record that is left out makes all after it, the
            # last word of a link among them, unreadable (`tests/attacks/test_flood.py`).
            await trio.lowlevel.checkpoint_if_cancelled()
            try:
                self._tls.write(data)
            except ssl.SSLError as error:
                raise trio.BrokenResourceError(f"TLS: {error}") from error
            await self._hand_over()

    async def _flush(self) -> None:
        async with self._sending:
            if self._outgoing.pending:
                await self._hand_over()

    async def _hand_over(self) -> None:
        """Give the kernel what is encrypted, behind what is left of a record somebody gave up."""
        fresh = self._outgoing.read()
        self._unsent = memoryview(bytes(self._unsent) + fresh if self._unsent else fresh)
        if not isinstance(self._transport, trio.SocketStream):
            data, self._unsent = self._unsent, memoryview(b"")
            await self._transport.send_all(data)
            return
        try:
            while self._unsent:
                # Cancelled, this call has sent nothing.
                self._unsent = self._unsent[await self._transport.socket.send(self._unsent) :]
        except OSError as error:
            if self._transport.socket.fileno() < 0:
                raise trio.ClosedResourceError("this end is closed") from error
            raise trio.BrokenResourceError(f"socket: {error}") from error

    def limit_unsent(self, size: int) -> None:
        """Let the kernel ask for more only once less than `size` bytes are unsent: what it has
        taken leaves before anything more urgent that is written later."""
        if isinstance(self._transport, _Socket):
            self._transport.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, size)

    async def aclose_forcefully(self) -> None:
        """Close the socket, without a word: the last frame was the farewell."""
        await trio.aclose_forcefully(self._transport)
