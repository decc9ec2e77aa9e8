"""Links that should not live: of a peer revoked meanwhile, resumed, or talked down.

Powers: the attacker holds the key and certificate of a member that is revoked while its link is
open, and whatever its TLS library kept of that link. Or it stands at either end of a handshake and
offers only what is old: a version of TLS, a protocol name, a protocol number.
"""

import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import trio

from fabgossip.core.effects import Disconnect, Send, ServeContent
from fabgossip.core.events import (
    LinkId,
    LostReason,
    PartingDue,
    PeerLost,
    Request,
    SubmitRequest,
)
from fabgossip.daemon.driver import Driver, read_clocks
from fabgossip.daemon.endpoints import ALPN, DialError, TlsContexts, dial
from fabgossip.daemon.submitted import Submission
from fabgossip.daemon.tls import TlsStream
from fabgossip.model.artifact import Order
from fabgossip.model.authority import NodeIdentity, RevokedKind, TrustBundle
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import (
    Announce,
    Bye,
    ByeReason,
    GetContent,
    Message,
    TrafficClass,
    Welcome,
)
from fabgossip.model.mode import Mode
from fabgossip.model.moment import UnixTime, seconds_after
from fabgossip.trust.identity import verify_leaf
from fabgossip.trust.rejections import Rejection
from fabgossip.trust.revocation import Revoked, node_token
from fabgossip.wire.codec import message_body, parse_message
from fabgossip.wire.framing import FrameReader, frame_bytes
from tests.attacks.powers import (
    NODE_CA_HASH,
    ask,
    connect_from,
    files_below,
    revokes,
    without_times,
)
from tests.attacks.scene import Scene, Standing, asks_content
from tests.attacks.test_identity import audited, believed, bytes_told, daemon
from tests.core.artifacts import Artifact, revocations, routes, trust
from tests.core.story import Peer, announcement, identity
from tests.daemon.fabric import HANG_S, bundle_of, contexts, judge_by, listening
from tests.trust import factory
from tests.wire.samples import ping

CUT_WITHIN_MS: Final = 1_000
MEMBER: Final = Peer(name="n7")
ENTRIES: Final = {
    "node": revokes(RevokedKind.NODE, node_token(factory.CLUSTER, NodeId("n7"))),
    "certificate": revokes(RevokedKind.CERTIFICATE, identity("n7").certificate_hash),
}


def link_of_member(scene: Scene) -> LinkId:
    """An open link of a node whose certificate the node CA signed."""
    connected = connect_from(scene, MEMBER.name)
    scene.when(connected).hear(connected.link, MEMBER.hello())
    scene.persisted()
    scene.hear(connected.link, Welcome(protocol=1, features=0))
    return connected.link


def told(scene: Scene, link: LinkId) -> list[Message]:
    """Everything a link was told."""
    return [one.message for one in scene.caused if isinstance(one, Send) and one.link == link]


def test_revoking_the_node_ca_ends_every_link_at_once() -> None:
    """Ours is from the same CA: a node that is revoked itself tells nobody anything any more."""
    scene = Scene().publish(routes(7))
    link = link_of_member(scene)
    scene.rest().caused.clear()
    listed = revocations(8, revokes(RevokedKind.CERTIFICATE, NODE_CA_HASH or b""))
    scene.announce(listed, scene.bystander)
    scene.carry_out(listed)
    scene.hear(link, GetContent(items=(ask(routes(7)),)), 2)
    closed = {one.link: one.lost for one in scene.caused if isinstance(one, Disconnect)}
    assert closed == dict.fromkeys((scene.attacker, scene.bystander, link), LostReason.REVOKED)
    assert not [one for one in scene.caused if isinstance(one, ServeContent)]
    assert scene.node.view.snapshot(scene.now).mode is Mode.REVOKED


@pytest.mark.parametrize("revoked", ENTRIES)
def test_revoked_is_cut(revoked: str, tmp_path: Path) -> None:
    """From the step on that read the list the peer is told that list and nothing else, whatever it
    says; within a second the link is closed, and a new one at once."""
    scene = Scene().publish(routes(7))
    link = link_of_member(scene)
    scene.rest().caused.clear()
    before, entry = scene.state, ENTRIES[revoked]
    listed = revocations(8, entry)

    scene.announce(listed, scene.bystander)
    scene.carry_out(listed)
    scene.hear(link, GetContent(items=(ask(routes(7)),)), 2)
    scene.hear(link, announcement(routes(8))).hear(link, ping(1))
    scene.rest()
    assert scene.newest(PartingDue) <= CUT_WITHIN_MS
    assert not [one for one in scene.caused if isinstance(one, ServeContent)]
    scene.due(PartingDue)
    closed = scene.only(Disconnect)
    assert (closed.link, closed.bye, closed.lost) == (link, ByeReason.CLOSED, LostReason.REVOKED)
    scene.when(PeerLost(link=link, node_id=NodeId("n7"), reason=LostReason.REVOKED))
    again = connect_from(scene, "n7")
    scene.when(again)
    assert [(one.link, one.lost) for one in scene.find(Disconnect)] == [
        (again.link, LostReason.REVOKED)
    ]
    assert scene.sent(again.link) == []

    assert scene.codes == []
    after = scene.state
    held = Standing(Order(2, 8), (listed.content_hash,), "current")
    assert after.heads == before.heads | {"trust/revocations": held}
    assert after.floors == before.floors | {"trust/revocations": Order(2, 8)}
    union = Revoked(8, frozenset({(entry.kind, entry.value)}), epoch=2)
    known = replace(before.facts, revoked=union)
    assert replace(without_times(after.facts), revocations_expires_at=None) == replace(
        without_times(known), revocations_expires_at=None
    )
    assert scene.requests == [asks_content(listed)]
    assert scene.audited == [
        ("revocation_accepted", "", ""),
        ("session_cut", "revoked", "n7"),
    ]
    assert set(told(scene, link)) == {announcement(listed, hops, inline=False) for hops in (0, 1)}
    assert not scene.told(routes(8))
    stored = scene.restarted(tmp_path)
    assert stored.state.facts.revoked == union
    late = connect_from(stored, "n7")
    stored.when(late)
    assert [one.link for one in stored.find(Disconnect)] == [late.link]


class Member:
    """The attacker's end of a real link to a daemon: what it is told, until it is cut."""

    def __init__(self, tls: TlsStream) -> None:
        self.tls = tls
        self._reader = FrameReader()

    async def say(self, message: Message) -> None:
        kind, body = message_body(message)
        await self.tls.send_all(frame_bytes(kind, TrafficClass.TRUST, 0, body))

    async def hear(self) -> list[Message]:
        """The messages that come next; none at the end of the link."""
        try:
            data = await self.tls.receive_some()
        except trio.BrokenResourceError:
            return []
        self._reader.feed(data)
        found = [parse_message(one.kind, bytes(one.body)) for one in self._reader.frames()]
        return found if found or not data else await self.hear()

    async def last_words(self) -> list[Message]:
        """All that comes until the link ends."""
        words: list[Message] = []
        while heard := await self.hear():
            words += heard
        return words


async def submit(driver: Driver, artifact: Artifact) -> None:
    """Local software brings a restriction."""
    content = Submission(
        data=artifact.content,
        incoming=None,
        size=len(artifact.content),
        whole_hash=artifact.content_hash,
        chunk_hashes=(),
    )
    request: Request = SubmitRequest(envelope=artifact.envelope)
    await driver.ask(driver.next_request(), request, content)


def lasting(der: bytes, bundle: TrustBundle, gone: Revoked, now: UnixTime) -> object:
    """What a certificate says, that holds by the time of the story too: TLS looks at the clock of
    the machine, and takes none that lasts until then."""
    found = verify_leaf(der, bundle, gone, now)
    return (
        replace(found, expires_at=seconds_after(factory.NOW, factory.DAY))
        if isinstance(found, NodeIdentity)
        else found
    )


async def test_a_revoked_member_is_cut_from_a_real_daemon_and_stays_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last words are the list and a goodbye; then its certificate is refused at the door."""
    monkeypatch.setattr("fabgossip.daemon.driver.verify_leaf", lasting)
    member = contexts(tmp_path, "n7").client
    listed = revocations(8, ENTRIES["node"])
    async with daemon(tmp_path) as (driver, address), trio.open_nursery() as nursery:
        nursery.start_soon(driver.run_timers)
        tls, _ = await dial((address,), NodeId("n1"), member, judge_by(bundle_of("CA")))
        end = Member(tls)
        await end.say(MEMBER.hello())
        await end.say(Welcome(protocol=1, features=0))
        while not any(one.is_open for one in driver.node.view.sessions()):
            await end.hear()
        recorded = len(audited(driver))
        await submit(driver, listed)
        words = await end.last_words()
        assert [one for one in words if isinstance(one, Announce)] == [announcement(listed, hops=0)]
        assert isinstance(words[-1], Bye)
        assert words[-1].reason is ByeReason.CLOSED
        await tls.aclose_forcefully()
        await trio.testing.wait_all_tasks_blocked()
        assert driver.node.view.sessions() == ()

        before = believed(driver.node)
        assert await bytes_told(address, member) == 0
        await trio.testing.wait_all_tasks_blocked()
        assert believed(driver.node) == before
        assert audited(driver)[recorded:] == [
            ("submitted", "", "submit"),
            ("revocation_accepted", "", ""),
            ("session_cut", "revoked", "n7"),
            ("identity_refused", "IDENTITY_INVALID", ""),
        ]
        nursery.cancel_scope.cancel()


class Handshake:
    """One TLS connection in memory, both ends of the standard library."""

    def __init__(self, pair: TlsContexts, server: ssl.SSLContext, kept: ssl.SSLSession | None):
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = pair.client.wrap_bio(down, up, server_side=False, session=kept)
        self.server = server.wrap_bio(up, down, server_side=True)
        for step in (self.client, self.server, self.client, self.server):
            try:
                step.do_handshake()
            except ssl.SSLWantReadError:
                continue
        # A ticket comes behind the handshake, with the first bytes the server says.
        self.server.write(b"x")
        assert self.client.read(1) == b"x"


@pytest.mark.parametrize(
    ("tickets", "is_resumed"), [(None, False), (2, True)], ids=["ours", "with tickets"]
)
def test_a_session_kept_by_a_revoked_member_resumes_nothing(
    tmp_path: Path,
    tickets: int | None,
    is_resumed: bool,  # noqa: FBT001  # given by name
) -> None:
    """With tickets it would: the library has no word of the certificate any more. Each handshake
    with ours shows it anew, and the rules say no."""
    member, server = contexts(tmp_path, "n7"), contexts(tmp_path, "n1").server
    if tickets is not None:
        server.num_tickets = tickets
    first = Handshake(member, server, None)
    kept = first.client.session
    assert kept is not None
    assert kept.has_ticket is is_resumed
    again = Handshake(member, server, kept)
    assert again.server.session_reused is is_resumed
    der = again.server.getpeercert(binary_form=True)
    assert der is not None
    gone = Revoked(8, frozenset({(ENTRIES["node"].kind, ENTRIES["node"].value)}))
    verdict = verify_leaf(der, bundle_of("CA"), gone, read_clocks().unix)
    assert isinstance(verdict, Rejection)


# Talked down.


def _old_tls(context: ssl.SSLContext) -> None:
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2


def _no_alpn(_: ssl.SSLContext) -> None:
    """A context of `bare` has none."""


def _alpn(name: str) -> Callable[[ssl.SSLContext], None]:
    return lambda context: context.set_alpn_protocols([name])


DOWN: Final[dict[str, Callable[[ssl.SSLContext], None]]] = {
    "TLS 1.2": _old_tls,
    "no ALPN": _no_alpn,
    "an older ALPN": _alpn("fabgossip/0"),
    "another ALPN": _alpn("h2"),
}


def bare(folder: Path, purpose: int, spoil: Callable[[ssl.SSLContext], None]) -> ssl.SSLContext:
    """A member's context that is right but for one thing."""
    contexts(folder, "n7")
    context = ssl.SSLContext(purpose)
    context.check_hostname = False
    context.load_verify_locations(cadata=bundle_of("CA").node_cas[0].der)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(folder / "n7.CA.crt", folder / "n7.CA.key")
    if spoil is _old_tls:
        context.set_alpn_protocols([ALPN])
    spoil(context)
    return context


@pytest.mark.parametrize("spoil", DOWN.values(), ids=DOWN.keys())
async def test_no_downgrade(tmp_path: Path, spoil: Callable[[ssl.SSLContext], None]) -> None:
    """Our daemon says not one byte to a client that offers less, and our client none to a server;
    nothing is believed or asked, and only the log has it: anybody can cause it."""
    async with daemon(tmp_path) as (driver, address):
        before, recorded = believed(driver.node), audited(driver)
        stored = files_below(tmp_path / "disk")
        client = bare(tmp_path, ssl.PROTOCOL_TLS_CLIENT, spoil)
        assert await bytes_told(address, client) == 0
        await trio.testing.wait_all_tasks_blocked()
        assert believed(driver.node) == before
        assert driver.node.view.sessions() == ()
        assert audited(driver) == recorded
        assert files_below(tmp_path / "disk") == stored
        assert await bytes_told(address, contexts(tmp_path, "n7").client) > 0

    heard: list[int] = []
    server = bare(tmp_path, ssl.PROTOCOL_TLS_SERVER, spoil)
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:

            async def listen(stream: trio.SocketStream) -> None:
                heard.append(await bytes_said(stream, server))

            async with listening(lambda stream: nursery.start_soon(listen, stream)) as address:
                with pytest.raises(DialError) as refused:
                    await dial(
                        (address,),
                        NodeId("n7"),
                        contexts(tmp_path, "n1").client,
                        judge_by(bundle_of("CA")),
                    )
    assert refused.value.reason is LostReason.HANDSHAKE_FAILED
    assert heard == [0]


async def bytes_said(stream: trio.SocketStream, context: ssl.SSLContext) -> int:
    """How many bytes a client says inside TLS to a server with that context."""
    tls = TlsStream(stream, context, server_side=True)
    try:
        await tls.do_handshake()
        return len(await tls.receive_some())
    except (ssl.SSLError, trio.BrokenResourceError):
        return 0
    finally:
        await tls.aclose_forcefully()


@pytest.mark.parametrize("is_dialer", [True, False], ids=["we dialled", "we accepted"])
@pytest.mark.parametrize(("low", "high"), [(0, 0), (2, 9)])
def test_a_peer_that_speaks_no_protocol_of_ours_is_turned_away_whoever_dialled(
    low: int,
    high: int,
    is_dialer: bool,  # noqa: FBT001  # given by name
) -> None:
    """It is told why, and nothing else."""
    scene = Scene().publish(routes(7))
    before = scene.state
    link = scene.connect("n7", is_dialer=is_dialer)
    scene.caused.clear()
    scene.hear(link, replace(MEMBER.hello(), protocol_min=low, protocol_max=high))
    closed = scene.only(Disconnect)
    assert (closed.link, closed.bye, closed.lost) == (link, ByeReason.VERSION, LostReason.VERSION)
    assert told(scene, link) == []
    scene.leaves(before, audited=[("session_cut", "version", "n7")])


def test_a_raised_floor_ends_the_links_below_it() -> None:
    """A bundle that no longer allows a protocol does not wait for anybody to reconnect."""
    scene = Scene()
    links = [scene.attacker, scene.bystander]
    raised = trust(replace(factory.NEXT_BUNDLE, protocol_min=2))
    scene.caused.clear()
    scene.announce(raised, scene.bystander)
    scene.carry_out(raised)
    closed = [one for one in scene.caused if isinstance(one, Disconnect)]
    assert [one.link for one in closed] == links
    assert {(one.bye, one.lost) for one in closed} == {(ByeReason.VERSION, LostReason.VERSION)}
    assert scene.state.facts.bundle == replace(factory.NEXT_BUNDLE, protocol_min=2)
    assert scene.audited == [
        ("bundle_accepted", "", ""),
        ("session_cut", "version", "n2"),
        ("session_cut", "version", "n3"),
    ]
