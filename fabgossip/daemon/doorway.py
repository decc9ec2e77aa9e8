"""How streams become links: TLS, and who the peer is, before anything is said over them.

Decides: whether a connection is taken at all.
Keeps: no more links than there may be, however many handshakes began while there was room; a
certificate the trust in force does not bear out opens nothing.
Must not know: what is said over a link.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from fabgossip.core.effects import Dial
from fabgossip.core.events import LostReason
from fabgossip.daemon.admission import Handshakes, Slot
from fabgossip.daemon.endpoints import DialError, LeafJudge, TlsContexts, accept_tls, dial
from fabgossip.daemon.logs import Log, LogLevel
from fabgossip.daemon.tls import TlsStream
from fabgossip.model.authority import NodeIdentity
from fabgossip.model.ids import NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What lies behind the doorway."""

    tls: Callable[[], TlsContexts]
    """The contexts of the trust in force; raises `DialError`."""
    judge: LeafJudge
    """Who a leaf certificate (DER) says its peer is."""
    is_full: Callable[[], bool]
    serve: Callable[[TlsStream, NodeIdentity, bool], Awaitable[None]]
    """One link from its first event to its last; whether we dialled it."""
    on_failed: Callable[[DialError, NodeId | None], None]
    """A handshake failed, of a node that was dialled or of whoever came."""
    log: Log


class Doorway:
    """All handshakes of a node. All methods are called from the loop."""

    def __init__(self, nursery: trio.Nursery, handshakes: Handshakes, house: House) -> None:
        self._nursery = nursery
        self._handshakes = handshakes
        self._house = house
        self._is_closed = False
        self.refused = 0
        """Connections turned away for want of room."""

    def close(self) -> None:
        """Turn new connections away; links that are open go on."""
        self._is_closed = True

    async def dial(self, effect: Dial) -> LostReason | None:
        """Dial a node, and serve the link until it ends; why there was none."""
        house = self._house
        try:
            contexts = house.tls()
            stream, identity = await dial(
                effect.addresses, effect.node_id, contexts.client, house.judge
            )
        except DialError as error:
            fields = (("peer", effect.node_id), ("detail", str(error)))
            house.log.emit("dial_failed", LogLevel.DEBUG, fields)
            house.on_failed(error, effect.node_id)
            return error.reason
        await house.serve(stream, identity, True)  # noqa: FBT003  # whether we dialled, by position
        return None

    def on_stream(self, stream: trio.SocketStream) -> None:
        """A connection was accepted: TLS next, unless there are too many."""
        slot = None if self._house.is_full() or self._is_closed else self._slot(stream)
        if slot is None:
            self.refused += 1
            stream.socket.close()
            return
        self._nursery.start_soon(self._accept, stream, slot, name="accept")

    def _slot(self, stream: trio.SocketStream) -> Slot | None:
        """Counted at once: the tasks of a burst of connections run only after all of it."""
        try:
            host = stream.socket.getpeername()[0]
        except OSError:
            return None  # gone already
        return self._handshakes.enter(host)

    async def _accept(self, stream: trio.SocketStream, slot: Slot) -> None:
        identified = await self._identify(stream, slot)
        if identified is None:
            return
        tls, identity = identified
        if self._house.is_full():
            # Full since: each of the handshakes under way found room when it began.
            self.refused += 1
            await tls.aclose_forcefully()
            return
        await self._house.serve(tls, identity, False)  # noqa: FBT003  # as above

    async def _identify(
        self, stream: trio.SocketStream, slot: Slot
    ) -> tuple[TlsStream, NodeIdentity] | None:
        house = self._house
        try:
            await self._await_turn(stream, slot)
            return await accept_tls(stream, house.tls().server, house.judge)
        except DialError as error:
            fields = (("reason", error.reason.value), ("detail", str(error)))
            house.log.emit("handshake_failed", LogLevel.INFO, fields)
            house.on_failed(error, None)
            return None
        finally:
            slot.leave()

    @staticmethod
    async def _await_turn(stream: trio.SocketStream, slot: Slot) -> None:
        try:
            await slot.turn()
        except trio.Cancelled:
            stream.socket.close()
            raise
