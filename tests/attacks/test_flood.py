"""Floods: far more than anybody honest sends, from who need not be anybody.

Powers: the attacker reaches the port, from one address and without a certificate; or it is a member
and says what leads to nothing, as fast as it can.
"""

import socket
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

import pytest
import trio

from fabgossip.daemon.endpoints import BACKLOG, HANDSHAKE_S, handshake, serve_listener
from tests.daemon.fabric import HANG_S, End, bundle_of, contexts, driver_of, judge_by

ATTACKER: Final = "127.0.0.9"
MEMBER: Final = "127.0.0.2"
RATE: Final = 20
"""Handshakes a second, as a node is delivered."""


def silent_from(host: str, port: int) -> socket.socket:
    """A connection whose owner never says a word."""
    one = socket.socket()
    one.bind((host, 0))
    one.setblocking(False)  # noqa: FBT003  # the only way to say it
    one.connect_ex(("127.0.0.1", port))
    return one


@pytest.mark.slow
async def test_one_address_keeps_nobody_else_from_a_link(tmp_path: Path) -> None:
    """All the kernel keeps waiting is the attacker's. Were each of them charged to the rate of all,
    a member would wait longer than a handshake may take."""
    assert (BACKLOG - 8) / RATE > HANDSHAKE_S
    member, judge = contexts(tmp_path, "n2").client, judge_by(bundle_of("CA"))
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            with closing(End(tmp_path / "disk", nursery)) as end, ExitStack() as held:
                driver = driver_of(
                    end, contexts(tmp_path, "n1"), nursery, handshakes_per_second_max=RATE
                )
                address = await nursery.start(serve_listener, "127.0.0.1:0", driver.on_stream)
                port = int(address.rpartition(":")[2])
                for _ in range(BACKLOG - 8):
                    held.enter_context(closing(silent_from(ATTACKER, port)))
                stream = await trio.open_tcp_stream("127.0.0.1", port, local_address=MEMBER)
                link, identity = await handshake(stream, member, judge, is_server=False)
                assert identity.node_id == "n1"
                assert driver.refused_connections == BACKLOG - 8 - 2
                await link.aclose_forcefully()
                nursery.cancel_scope.cancel()
