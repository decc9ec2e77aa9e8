"""A peer that lost its trust while its link is open, and one that would rather speak as of old.

Powers: the attacker holds a link that was good when it opened and asked for as much as it may
before it was found out; its certificate, its key and the CA that signed it are still in its hands.
In the second half it makes the other end of a handshake as old, as loose or as silent as its
library allows.
"""

import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import trio
import trio.testing

from fabgossip.core.effects import Disconnect, Effect, Send, ServeContent
from fabgossip.core.events import LinkId, LostReason
from fabgossip.daemon.endpoints import DialError, TlsContexts, accept_tls, dial
from fabgossip.model.authority import KeyStatus, NodeCa, RevokedKind
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import Bye, ByeReason, GetContent, TrafficClass
from fabgossip.trust.identity import node_ca_hash
from fabgossip.trust.revocation import node_token
from fabgossip.wire.codec import ContentHeader, content_header_bytes
from fabgossip.wire.framing import FrameKind, frame_bytes
from tests.attacks.powers import ask, revokes
from tests.attacks.scene import Scene
from tests.core.artifacts import Artifact, revocations, routes, trust
from tests.core.story import Peer, identity
from tests.daemon.fabric import HANG_S, bundle_of, contexts, in_memory, judge_by, listening
from tests.trust import factory

PEER: Final = "n6"
NEXT: Final = replace(factory.BUNDLE, bundle_version=4)
OTHER_CA: Final = NodeCa(factory.authority("another node CA").der)
CA_HASH: Final = node_ca_hash(factory.NODE_CA.der)


def entry(kind: RevokedKind, value: bytes) -> Artifact:
    return revocations(8, revokes(kind, value))


assert CA_HASH is not None
CUTS: dict[str, Artifact] = {
    "its node is revoked": entry(RevokedKind.NODE, node_token(factory.CLUSTER, NodeId(PEER))),
    "its certificate is revoked": entry(RevokedKind.CERTIFICATE, identity(PEER).certificate_hash),
    "its CA is revoked by the list": entry(RevokedKind.CERTIFICATE, CA_HASH),
    **{
        f"its CA is {status.name.lower()} in the bundle": trust(
            replace(NEXT, node_cas=(NodeCa(factory.NODE_CA.der, status), OTHER_CA))
        )
        for status in (KeyStatus.RETIRED, KeyStatus.REVOKED)
    },
    "its CA is gone from the bundle": trust(replace(NEXT, node_cas=(OTHER_CA,))),
}


def to(link: LinkId, effects: list[Effect]) -> list[Effect]:
    kinds = Send | ServeContent | Disconnect
    return [one for one in effects if isinstance(one, kinds) and one.link == link]


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_revoked_is_cut(cut: Artifact) -> None:
    """In the very step in which the restriction lands; nothing is served after it, and no new link
    opens."""
    scene = Scene().publish(routes(7))
    peer = scene.link(Peer(name=PEER))
    scene.hear(peer, GetContent(items=(ask(routes(7)),)), stream=1)
    assert scene.find(ServeContent) != []
    scene.announce(cut, scene.attacker).persisted()
    scene.caused.clear()
    scene.stored(cut, scene.attacker)
    *before, goes = to(peer, scene.effects)
    # What was said in this step waits in the queue, which the farewell overtakes and ends.
    assert all(isinstance(one, Send) and one.traffic <= TrafficClass.TRUST for one in before)
    assert isinstance(goes, Disconnect)
    assert (goes.bye, goes.lost) == (ByeReason.CLOSED, LostReason.REVOKED)
    assert ("session_cut", "revoked", PEER) in scene.audited
    scene.caused.clear()
    scene.hear(peer, GetContent(items=(ask(routes(7)),)), stream=3)
    again = scene.connect(PEER)
    assert [one.lost for one in scene.find(Disconnect)] == [LostReason.REVOKED]
    assert scene.sent(again) == []


def test_somebody_else_is_not_cut() -> None:
    scene = Scene().publish(routes(7))
    peer = scene.link(Peer(name=PEER))
    scene.accept(CUTS["its node is revoked"], scene.attacker)
    cut = [one.link for one in scene.caused if isinstance(one, Disconnect)]
    assert cut == [peer]


async def test_what_was_queued_for_it_is_never_sent(tmp_path: Path) -> None:
    """Megabytes of bulk wait in the queue, the farewell overtakes them all."""
    victim, attacker = await in_memory(tmp_path)
    received: list[str] = []
    bulk = b"x" * (64 << 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(victim.serve, lambda _, __: None)
        nursery.start_soon(attacker.serve, lambda _, frame: received.append(frame.kind.name))
        with trio.fail_after(HANG_S):
            for _ in range(8):
                victim.send_frame(content_frame(bulk), TrafficClass.BULK)
            victim.close(Bye(reason=ByeReason.CLOSED, retry_after_s=600), LostReason.REVOKED)
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert received == ["BYE"]
    assert victim.lost is LostReason.REVOKED


def content_frame(data: bytes) -> bytes:
    header = content_header_bytes(ContentHeader(0, is_last=False, offset=0))
    return frame_bytes(FrameKind.CONTENT, TrafficClass.BULK, 1, header + data)


# Downgrade.


def old_tls(one: TlsContexts, _: Path) -> None:
    for context in (one.client, one.server):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = ssl.TLSVersion.TLSv1_2


def other_alpn(one: TlsContexts, _: Path) -> None:
    for context in (one.client, one.server):
        context.set_alpn_protocols(["fabgossip/0", "h2"])


def no_alpn(one: TlsContexts, folder: Path) -> None:
    one.client, one.server = (
        bare(ssl.PROTOCOL_TLS_CLIENT, folder),
        bare(ssl.PROTOCOL_TLS_SERVER, folder),
    )


def bare(purpose: "ssl._SSLMethod", folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(purpose)
    context.check_hostname = False
    context.load_verify_locations(cadata=bundle_of("CA").node_cas[0].der)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(folder / "evil.CA.crt", folder / "evil.CA.key")
    return context


SPOILED: dict[str, Callable[[TlsContexts, Path], None]] = {
    "TLS 1.2": old_tls,
    "another ALPN": other_alpn,
    "no ALPN": no_alpn,
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
@pytest.mark.parametrize("dials", [True, False], ids=["it dials", "it is dialled"])
async def test_no_downgrade(
    tmp_path: Path,
    spoil: Callable[[TlsContexts, Path], None],
    dials: bool,  # noqa: FBT001  # a case
) -> None:
    """The end that keeps the rules refuses, whichever end it is."""
    ours, theirs = contexts(tmp_path, "good"), contexts(tmp_path, "evil")
    spoil(theirs, tmp_path)
    judge = judge_by(bundle_of("CA"))
    refused: list[LostReason] = []
    done = trio.Event()

    async def accept(stream: trio.SocketStream) -> None:
        try:
            tls, _ = await accept_tls(stream, (ours if dials else theirs).server, judge)
        except DialError as error:
            if dials:
                refused.append(error.reason)
        else:
            await tls.aclose_forcefully()
        done.set()

    with trio.fail_after(HANG_S):
        async with (
            trio.open_nursery() as nursery,
            listening(lambda stream: nursery.start_soon(accept, stream)) as address,
        ):
            context = (theirs if dials else ours).client
            try:
                tls, _ = await dial((address,), NodeId("good" if dials else "evil"), context, judge)
            except DialError as error:
                if not dials:
                    refused.append(error.reason)
            else:
                await tls.aclose_forcefully()
            await done.wait()
    assert refused == [LostReason.HANDSHAKE_FAILED]


@pytest.mark.parametrize("dials", [True, False], ids=["it dials", "it is dialled"])
@pytest.mark.parametrize("is_late", [False, True], ids=["at the hello", "on a live link"])
def test_a_protocol_below_the_bundles_is_refused(dials: bool, is_late: bool) -> None:  # noqa: FBT001  # cases
    """Nobody may speak it any more: a new link does not open, and an open one ends."""
    raised = trust(replace(NEXT, protocol_min=2))
    scene = Scene()
    if is_late:
        scene.link(Peer(name=PEER), is_dialer=dials)
        scene.announce(raised, scene.attacker).persisted().stored(raised, scene.attacker)
        closed = scene.find(Disconnect)
        assert len(closed) == 3
    else:
        scene.accept(raised, scene.attacker)
        link = scene.connect(PEER, is_dialer=not dials)
        scene.hear(link, Peer(name=PEER).hello())
        closed = scene.find(Disconnect)
        assert [one.link for one in closed] == [link]
    assert {(one.bye, one.lost) for one in closed} == {(ByeReason.VERSION, LostReason.VERSION)}


def test_a_ticket_is_never_given_or_taken(tmp_path: Path) -> None:
    """Resumption would carry an identity past its revocation."""
    one = contexts(tmp_path, "good")
    assert one.server.num_tickets == 0
    assert one.client.minimum_version is ssl.TLSVersion.TLSv1_3
