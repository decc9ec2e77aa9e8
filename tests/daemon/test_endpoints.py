"""Where links come from: what TLS and the leaf rules let through, and everything they do not."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from fabgossip.core.events import LostReason
from fabgossip.daemon.connections import Connection
from fabgossip.daemon.endpoints import (
    ALPN,
    DialError,
    LinkNumbers,
    TlsContexts,
    accept_tls,
    dial,
    serve_listener,
)
from fabgossip.errors import ServiceError
from fabgossip.model.ids import NodeId
from fabgossip.wire.framing import FrameKind
from tests.daemon.fabric import HANG_S, bundle_of, contexts, judge_by, linked, listening

Outcome = tuple[LostReason | str, LostReason | str]


async def attempt(
    client: ssl.SSLContext,
    server: ssl.SSLContext,
    *,
    asked: str = "b",
    judged_by: tuple[str, str] = ("CA", "CA"),
) -> Outcome:
    """What a dial comes to at the end that dials and at the end that accepts."""
    outcome: dict[str, LostReason | str] = {}
    done = trio.Event()

    async def accept(stream: trio.SocketStream) -> None:
        try:
            tls, identity = await accept_tls(stream, server, judge_by(bundle_of(judged_by[1])))
        except DialError as error:
            outcome["server"] = error.reason
        else:
            outcome["server"] = identity.node_id
            await tls.aclose_forcefully()
        done.set()

    with trio.fail_after(HANG_S):
        async with (
            trio.open_nursery() as nursery,
            listening(lambda stream: nursery.start_soon(accept, stream)) as address,
        ):
            judge = judge_by(bundle_of(judged_by[0]))
            try:
                tls, identity = await dial((address,), NodeId(asked), client, judge)
            except DialError as error:
                outcome["client"] = error.reason
            else:
                outcome["client"] = identity.node_id
                await tls.aclose_forcefully()
            await done.wait()
    return outcome["client"], outcome["server"]


async def test_each_end_learns_who_the_other_is(tmp_path: Path) -> None:
    found = await attempt(contexts(tmp_path, "a").client, contexts(tmp_path, "b").server)
    assert found == ("b", "a")


async def test_another_node_than_the_one_dialled_is_refused(tmp_path: Path) -> None:
    """A right certificate at the wrong address is not the peer we wanted."""
    client, _ = await attempt(
        contexts(tmp_path, "a").client, contexts(tmp_path, "b").server, asked="c"
    )
    assert client is LostReason.IDENTITY


async def test_a_certificate_of_another_ca_is_refused_whoever_dials(tmp_path: Path) -> None:
    stranger = contexts(tmp_path, "a", ca="other CA")
    ours = contexts(tmp_path, "b")
    _, server = await attempt(stranger.client, ours.server)
    assert server is LostReason.HANDSHAKE_FAILED
    client, _ = await attempt(ours.client, stranger.server, asked="a")
    assert client is LostReason.HANDSHAKE_FAILED


async def test_the_leaf_rules_are_asked_beside_the_library(tmp_path: Path) -> None:
    """TLS would let it pass: only the judge knows that this CA is not the bundle's any more."""
    client, server = await attempt(
        contexts(tmp_path, "a").client,
        contexts(tmp_path, "b").server,
        judged_by=("other CA", "CA"),
    )
    assert client is LostReason.IDENTITY
    assert server == "a"


def _old_tls(one: TlsContexts) -> None:
    for context in (one.client, one.server):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = ssl.TLSVersion.TLSv1_2


def _other_alpn(one: TlsContexts) -> None:
    for context in (one.client, one.server):
        context.set_alpn_protocols(["h2"])


def _no_certificate(one: TlsContexts) -> None:
    one.client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    one.client.check_hostname = False
    one.client.verify_mode = ssl.CERT_NONE
    one.client.set_alpn_protocols([ALPN])


@pytest.mark.parametrize("spoil", [_old_tls, _other_alpn], ids=["TLS 1.2", "another ALPN"])
async def test_an_end_that_speaks_something_else_is_refused_by_both(
    tmp_path: Path, spoil: Callable[[TlsContexts], None]
) -> None:
    for spoiled in ("a", "b"):
        ends = {name: contexts(tmp_path, name) for name in ("a", "b")}
        spoil(ends[spoiled])
        client, server = await attempt(ends["a"].client, ends["b"].server)
        assert client is LostReason.HANDSHAKE_FAILED
        assert server is LostReason.HANDSHAKE_FAILED


async def test_no_alpn_at_all_is_refused_by_who_has_one(tmp_path: Path) -> None:
    """The handshake of the library succeeds without one: the check is ours, at both ends."""
    ours = {name: contexts(tmp_path, name) for name in ("a", "b")}
    for context in (ours["a"].client, ours["b"].server):
        assert isinstance(context, ssl.SSLContext)
    silent = contexts(tmp_path, "c")
    for purpose in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER):
        bare = ssl.SSLContext(purpose)
        bare.check_hostname = False
        bare.load_verify_locations(cadata=bundle_of("CA").node_cas[0].der)
        bare.verify_mode = ssl.CERT_REQUIRED
        bare.load_cert_chain(tmp_path / "c.CA.crt", tmp_path / "c.CA.key")
        if purpose == ssl.PROTOCOL_TLS_CLIENT:
            silent.client = bare
        else:
            silent.server = bare
    _, server = await attempt(silent.client, ours["b"].server)
    assert server is LostReason.HANDSHAKE_FAILED
    client, _ = await attempt(ours["a"].client, silent.server, asked="c")
    assert client is LostReason.HANDSHAKE_FAILED


async def test_a_client_without_a_certificate_is_refused(tmp_path: Path) -> None:
    end = contexts(tmp_path, "a")
    _no_certificate(end)
    _, server = await attempt(end.client, contexts(tmp_path, "b").server)
    assert server is LostReason.HANDSHAKE_FAILED


def test_contexts_speak_the_newest_version_only_and_give_no_tickets(tmp_path: Path) -> None:
    """Resumption would carry an identity past its revocation."""
    one = contexts(tmp_path, "a")
    assert one.server.num_tickets == 0
    for context in (one.client, one.server):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert context.verify_mode is ssl.CERT_REQUIRED


async def test_an_address_nobody_listens_on_is_passed_over_for_the_next(tmp_path: Path) -> None:
    with trio.fail_after(HANG_S):
        (closed,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        dead = f"127.0.0.1:{closed.socket.getsockname()[1]}"
        await closed.aclose()
        context, judge = contexts(tmp_path, "a").client, judge_by(bundle_of("CA"))
        with pytest.raises(DialError) as caught:
            await dial((dead,), NodeId("b"), context, judge)
        assert caught.value.reason is LostReason.CONNECT_FAILED
        server = contexts(tmp_path, "b").server

        async def accept(stream: trio.SocketStream) -> None:
            tls, _ = await accept_tls(stream, server, judge)
            await tls.aclose_forcefully()

        async with trio.open_nursery() as nursery:
            async with listening(lambda stream: nursery.start_soon(accept, stream)) as address:
                tls, identity = await dial((dead, address), NodeId("b"), context, judge)
            assert identity.node_id == "b"
            await tls.aclose_forcefully()


async def test_a_port_in_use_says_so() -> None:
    (taken,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = taken.socket.getsockname()[1]
    with trio.fail_after(HANG_S), pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_listener, f"127.0.0.1:{port}", lambda _: None)
    await taken.aclose()
    (error,) = caught.value.exceptions
    assert isinstance(error, ServiceError)
    assert "in use by another process" in str(error)


async def test_both_ends_of_a_link_know_their_part(tmp_path: Path) -> None:
    async with linked(tmp_path) as (dialled, accepted):
        assert isinstance(dialled, Connection)
        assert (dialled.identity.node_id, accepted.identity.node_id) == ("b", "a")
        assert [dialled.next_stream() for _ in range(2)] == [1, 3]
        assert [accepted.next_stream() for _ in range(2)] == [2, 4]
        dialled.peer_streams.check(FrameKind.GET_CONTENT, 2)
        accepted.peer_streams.check(FrameKind.GET_CONTENT, 1)
        for one in (dialled, accepted):
            await one._stream.aclose_forcefully()  # noqa: SLF001 - never served, so nobody closes it


def test_link_numbers_are_never_used_twice() -> None:
    numbers = LinkNumbers()
    assert len({numbers.next() for _ in range(100)}) == 100
