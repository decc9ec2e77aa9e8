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

from fabgossip.core.effects import Disconnect, Fact, Send, ServeContent
from fabgossip.core.events import ContentServed, LinkId, LostReason, PeerLost, Unwanted
from fabgossip.core.rates import FLOOD_FACTOR, FLOOD_SPAN, RATES, Kind
from fabgossip.core.slots import SERVED_PER_LINK_MAX
from fabgossip.core.standing import BARRED, FAILURES_MAX, LINKS_MAX, LINKS_SPAN, SLOW_READER
from fabgossip.daemon.endpoints import BACKLOG, HANDSHAKE_S, dial, handshake, serve_listener
from fabgossip.daemon.recent import EVENTS_KEPT
from fabgossip.daemon.tls import TlsStream
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import (
    BadRequest,
    BadRequestCode,
    Busy,
    ByeReason,
    ContentAsk,
    GetContent,
    NotAvailable,
    TrafficClass,
)
from fabgossip.wire.codec import ContentHeader, content_header_bytes, message_body, parse_message
from fabgossip.wire.framing import SKIPPABLE_FROM, FrameKind, FrameReader, frame_bytes
from tests.core.artifacts import routes
from tests.core.story import Story
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
                address = await nursery.start(
                    serve_listener, "127.0.0.1:0", driver.doorway.on_stream
                )
                port = int(address.rpartition(":")[2])
                for _ in range(BACKLOG - 8):
                    held.enter_context(closing(silent_from(ATTACKER, port)))
                stream = await trio.open_tcp_stream("127.0.0.1", port, local_address=MEMBER)
                link, identity = await handshake(stream, member, judge, is_server=False)
                assert identity.node_id == "n1"
                assert driver.doorway.refused == BACKLOG - 8 - 2
                await link.aclose_forcefully()
                nursery.cancel_scope.cancel()


UNASKED: Final = 9
"""A stream nobody opened."""


def not_available() -> bytes:
    kind, body = message_body(NotAvailable(item=0))
    return frame_bytes(kind, TrafficClass.POLICY, UNASKED, body)


def content() -> bytes:
    header = content_header_bytes(ContentHeader(0, is_last=False, offset=0))
    return frame_bytes(FrameKind.CONTENT, TrafficClass.BULK, UNASKED, header)


JUNK: Final = {
    "a kind nobody knows": bytes((0, 0, 0, SKIPPABLE_FROM, 0, 0, 0, 0)),
    "an answer to nothing": not_available(),
    "content for nothing": content(),
}


async def last_word(link: TlsStream) -> object:
    """What the other end says last before it closes."""
    reader, last = FrameReader(), None
    while True:
        try:
            data = await link.receive_some()
        except trio.BrokenResourceError:
            return last
        if not data:
            return last
        reader.feed(data)
        for frame in reader.frames():
            last = parse_message(frame.kind, bytes(frame.body))


@pytest.mark.slow
@pytest.mark.parametrize("junk", JUNK)
async def test_before_a_link_is_open_only_its_three_words_pass(tmp_path: Path, junk: str) -> None:
    """One frame of anything else ends it and is held against the node; so many in a minute keep it
    out."""
    member, judge = contexts(tmp_path, "n2").client, judge_by(bundle_of("CA"))
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            with closing(End(tmp_path / "disk", nursery)) as end:
                driver = driver_of(end, contexts(tmp_path, "n1"), nursery)
                address = await nursery.start(
                    serve_listener, "127.0.0.1:0", driver.doorway.on_stream
                )
                for _ in range(FAILURES_MAX):
                    link, _ = await dial((address,), NodeId("n1"), member, judge)
                    await link.send_all(JUNK[junk])
                    assert await last_word(link) == BadRequest(code=BadRequestCode.KIND)
                    await link.aclose_forcefully()
                cuts = [
                    dict(one.fact.fields)
                    for one in driver.recent.after(0, EVENTS_KEPT)
                    if one.fact.fact is Fact.SESSION_CUT
                ]
                assert cuts == [{"peer": "n2", "reason": "failures"}]
                nursery.cancel_scope.cancel()


def lost(link: LinkId) -> PeerLost:
    return PeerLost(link=link, node_id=NodeId("n2"), reason=LostReason.EOF)


def test_an_open_link_ends_once_far_too_much_of_it_leads_to_nothing() -> None:
    """As much as content that was given up under way may be is only counted."""
    rate = RATES[Kind.UNWANTED]
    flood = FLOOD_FACTOR * rate.count * FLOOD_SPAN // rate.per_ms + rate.burst
    story = Story()
    link = story.link("n2")
    story.when(Unwanted(link=link, count=flood))
    assert story.find(Disconnect) == []
    story.when(Unwanted(link=link, count=1))
    (cut,) = story.find(Disconnect)
    assert (cut.link, cut.bye, cut.lost) == (link, ByeReason.OVER_RATE, LostReason.PROTOCOL)
    story.when(lost(link))
    again = story.connect("n2")
    assert [one.link for one in story.find(Disconnect)] == [again]


def test_a_node_that_links_again_and_again_is_kept_out_for_a_while() -> None:
    """Each link costs all that this node may tell; whoever dials."""
    story = Story()
    for number in range(LINKS_MAX - 1):
        link = story.connect("n2", is_dialer=number % 2 == 0)
        assert story.find(Disconnect) == []
        story.when(lost(link))
    link = story.connect("n2")
    (cut,) = story.find(Disconnect)
    assert (cut.link, cut.bye) == (link, ByeReason.OVER_RATE)
    assert story.find(Send) == []
    story.connect("n3")
    assert story.find(Disconnect) == []
    story.wait(BARRED)
    story.connect("n2")
    assert story.find(Disconnect) == []


def test_links_that_come_now_and_then_are_no_flood() -> None:
    story = Story()
    for _ in range(3 * LINKS_MAX):
        link = story.connect("n2")
        assert story.find(Disconnect) == []
        story.when(lost(link))
        story.wait(LINKS_SPAN // (LINKS_MAX - 1) + 1)


def test_a_slow_reader_is_served_one_request_at_a_time_for_a_while() -> None:
    """On any of its links; not shut out, for what it asks next may take something away."""
    story = Story()
    story.accept(routes(), story.link("n3"))
    link = story.link("n2")

    def asked(stream: int) -> bool:
        """Whether a request is served; busy otherwise."""
        item = ContentAsk(routes().verified.manifest_hash, routes().content_hash, 0, 1)
        story.hear(link, GetContent(items=(item,)), stream)
        if story.find(ServeContent):
            return True
        assert [one.message for one in story.find(Send)] == [Busy(item=0, retry_after_ms=1_000)]
        return False

    assert [asked(2 * one) for one in range(1, 4)] == [True] * 3
    for stream in (2, 4, 6):
        story.when(ContentServed(link=link, stream=stream, is_too_slow=stream == 4))
    assert [asked(8), asked(10)] == [True, False]
    story.when(ContentServed(link=link, stream=8))
    story.wait(SLOW_READER)
    assert [asked(2 * one) for one in range(6, 6 + SERVED_PER_LINK_MAX + 1)] == [
        *[True] * SERVED_PER_LINK_MAX,
        False,
    ]
