"""S18 fails where bytes mean something else to another build, or what was signed is altered."""

import pytest

from fabgossip.model.messages import Announce, Announced, Ping, Pong, SaltId
from fabgossip.sim.builds import Builds
from fabgossip.wire.codec import message_body
from tests.sim.truth import CONTROL, EDGE, ROUTES, STORE, Truth

PING = Ping(sequence=1, salt=SaltId(bundle_version=1, day=1), link_root=bytes(16))


@pytest.fixture
def truth() -> Truth:
    return Truth()


@pytest.fixture
def checker(truth: Truth) -> Builds:
    return Builds(truth.ledger, truth.docket, {CONTROL: 1, EDGE: 1, STORE: 2})


def test_a_frame_means_what_its_sender_meant(truth: Truth, checker: Builds) -> None:
    checker.on_heard(EDGE, CONTROL, message_body(PING), Pong(sequence=1))
    assert truth.docket.counts["S18"].state == "unproved", "one build"
    checker.on_heard(EDGE, STORE, message_body(PING), PING)
    assert truth.docket.counts["S18"].state == "held"
    checker.on_heard(EDGE, STORE, message_body(PING), Pong(sequence=1))
    assert truth.signatures() == ["S18/meaning"]


def test_what_was_signed_is_passed_on_as_it_is(truth: Truth, checker: Builds) -> None:
    envelope = truth.newest(ROUTES).envelope
    checker.on_sent(EDGE, CONTROL, Announce(entries=(Announced(envelope, 0),)))
    assert truth.docket.counts["S18"].state == "unproved", "one build"
    checker.on_sent(EDGE, STORE, Announce(entries=(Announced(envelope, 0),)))
    assert truth.docket.counts["S18"].state == "held"
    signature, payload = len(envelope) - 1, len(envelope) // 2
    for place in (signature, payload):
        altered = bytearray(envelope)
        altered[place] ^= 1
        assert truth.signatures() == [], "other signatures make no other manifest"
        checker.on_sent(EDGE, CONTROL, Announce(entries=(Announced(bytes(altered), 0),)))
    assert truth.signatures() == ["S18/altered"]
