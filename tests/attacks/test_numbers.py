"""Request numbers that are not the peer's to use.

Powers: a member whose link is open sends requests, answers and the like under any number.
"""

from contextlib import closing
from pathlib import Path

import pytest
import trio

from fabgossip.core.effects import Fact
from fabgossip.core.view import View
from fabgossip.daemon.endpoints import dial, serve_listener
from fabgossip.daemon.recent import EVENTS_KEPT
from fabgossip.model.ids import ContentHash, ManifestHash, NodeId
from fabgossip.model.messages import (
    BadRequest,
    BadRequestCode,
    Busy,
    Cancel,
    ContentAsk,
    GetContent,
    Message,
    TrafficClass,
)
from fabgossip.wire.codec import message_body
from fabgossip.wire.framing import frame_bytes
from tests.attacks.test_flood import last_word
from tests.daemon.fabric import HANG_S, End, bundle_of, contexts, driver_of, judge_by
from tests.wire.samples import ping

ASK = GetContent(items=(ContentAsk(ManifestHash(b"m" * 32), ContentHash(b"c" * 32), 0, 1),))
WRONG: dict[str, tuple[Message, int]] = {
    "a request on the link itself": (ASK, 0),
    "a request under a number of ours": (ASK, 2),
    "a request given up that is ours": (Cancel(), 2),
    "an answer to a request of its own": (Busy(item=0, retry_after_ms=1), 1),
    "a ping as a request": (ping(1), 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", WRONG)
async def test_a_wrong_number_ends_the_link_and_says_so(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(View, "is_open", lambda *_: True)
    member, judge = contexts(tmp_path, "n2").client, judge_by(bundle_of("CA"))
    message, stream = WRONG[case]
    kind, body = message_body(message)
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            with closing(End(tmp_path / "disk", nursery)) as end:
                driver = driver_of(end, contexts(tmp_path, "n1"), nursery)
                address = await nursery.start(
                    serve_listener, "127.0.0.1:0", driver.doorway.on_stream
                )
                link, _ = await dial((address,), NodeId("n1"), member, judge)
                await link.send_all(frame_bytes(kind, TrafficClass.POLICY, stream, body))
                assert await last_word(link) == BadRequest(code=BadRequestCode.STREAM)
                await link.aclose_forcefully()
                (cut,) = [
                    dict(one.fact.fields)
                    for one in driver.recent.after(0, EVENTS_KEPT)
                    if one.fact.fact is Fact.SESSION_CUT
                ]
                assert (cut["peer"], cut["reason"]) == ("n2", "protocol")
                nursery.cancel_scope.cancel()
