"""A denial nobody hears of afterwards.

Powers: the attacker is a member with a good certificate, and does whatever is denied: one code
after the other, all of the closed lists.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import trio
import trio.testing

from fabgossip.core.beliefs import Beliefs
from fabgossip.core.config import NodeConfig
from fabgossip.core.effects import Effect, Record
from fabgossip.core.events import LinkId
from fabgossip.core.machines import Machines, machines_of
from fabgossip.core.rooms import rooms_of
from fabgossip.core.sessions import Session
from fabgossip.core.setup import NodeSetup, OwnIdentity
from fabgossip.daemon.endpoints import dial
from fabgossip.daemon.facts import RULES, Keep, entry_of
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import GetHeads, Graft, HeadKnown, TrafficClass
from fabgossip.model.moment import Duration, Instant, Now
from fabgossip.trust.authorization import CHECKS, Decision
from fabgossip.trust.facts import Asked, Known
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.wire.framing import FrameKind, frame_bytes
from tests.attacks.scene import ATTACKER, Scene
from tests.attacks.test_identity import audited as audited_by
from tests.attacks.test_identity import daemon
from tests.core.artifacts import IN_ACME, acme_routes, routes
from tests.core.story import VERIFIER, Peer, boot_id, identity, pinned
from tests.daemon.fabric import bundle_of, contexts, judge_by
from tests.trust import factory

NOW: Final = Now(instant=Instant(0), unix=factory.NOW)
OUTSIDER: Final = Peer(name="n7", holds=(), shows=())


class Refusing(Beliefs):
    """Refuses whatever comes, for one reason."""

    __slots__ = ("_verdict",)

    def __init__(self, own: OwnIdentity, code: RejectionCode) -> None:
        super().__init__(own, VERIFIER)
        stated = routes(7).verified
        self._verdict = Rejection(
            code=code,
            detail="as told",
            manifest_hash=stated.manifest_hash,
            verified=stated if code is RejectionCode.EQUIVOCATION else None,
        )

    def admit(
        self, raw: bytes, asked: Asked, known: Known, now: Now
    ) -> VerifiedManifest | Rejection:
        return self._verdict


def machines(code: RejectionCode | None = None) -> Machines:
    own = OwnIdentity(node_id=NodeId("n1"), claims=b"", openings=(), pinned=pinned())
    setup = NodeSetup(config=NodeConfig(), own=own, boot_id=boot_id("n1"), bootstrap=(), seed=1)
    made = machines_of(setup, VERIFIER)
    return made if code is None else replace(made, beliefs=Refusing(own, code))


def audited(effects: Iterable[Effect]) -> list[tuple[str, str, str, str]]:
    """Event, code, subject and decision of what the audit log records."""
    entries = [
        entry_of(one, NOW)
        for one in effects
        if isinstance(one, Record) and RULES[one.fact].keep is not Keep.NOTHING
    ]
    return [(one.event, one.code, one.subject, one.decision) for one in entries]


@pytest.mark.parametrize("code", RejectionCode)
def test_whatever_is_refused_of_a_peer_is_recorded_in_its_name(code: RejectionCode) -> None:
    """But for what is no refusal: that exactly this is current here."""
    made = machines(code)
    rooms_of(made).intake.on_envelope(b"anything", LinkId(1), 0, NOW, source=ATTACKER)
    said = [("artifact_rejected", code.value, ATTACKER, "reject")]
    assert audited(made.out) == ([] if code is RejectionCode.ALREADY_CURRENT else said)


DENIALS: Final = (*(name for name, _ in CHECKS), RejectionCode.DENY_INTERNAL.value)


@pytest.mark.parametrize("check", DENIALS)
def test_whatever_check_denies_a_request_is_recorded(check: str) -> None:
    made = machines()
    session = Session(
        LinkId(1), identity(ATTACKER), is_dialer=True, since=NOW.instant, life=Duration(1)
    )
    decision = Decision(allow=False, denied_by=check, checks=())
    made.disclosure.deny_all(session, [decision, decision])
    assert audited(made.out) == [("fetch_denied", check, ATTACKER, "deny")]


def test_asking_for_manifests_it_may_not_know_is_recorded_and_tells_nothing() -> None:
    """By prefix, by name, and by an audience that is not its own."""
    scene = Scene().publish(routes(7), acme_routes(7))
    link = scene.link(OUTSIDER)
    scene.caused.clear()
    name = acme_routes(7).manifest.namespace.text
    known = HeadKnown(name, 0, 0)
    scene.hear(link, GetHeads(known=(known,)))
    assert scene.audited == [("fetch_denied", "artifact_scope", "n7")]
    scene.caused.clear()
    shared = factory.audience(f"cluster:{factory.CLUSTER}")
    scene.hear(link, Graft(audience=shared, prefixes=(acme_routes(7).prefix,)))
    assert scene.audited == [("fetch_denied", "artifact_scope", "n7")]
    assert scene.onward == []
    scene.caused.clear()
    scene.hear(link, Graft(audience=IN_ACME, prefixes=(acme_routes(7).prefix,)))
    assert scene.audited == [("probe_silenced", "", "n7")]
    assert scene.onward == []


def test_what_does_not_exist_is_no_denial() -> None:
    """Nothing was withheld, and a log of all that peers may ask in vain would be theirs to fill."""
    scene = Scene().publish(routes(7))
    link = scene.link(OUTSIDER)
    scene.caused.clear()
    scene.hear(link, GetHeads(known=(HeadKnown(acme_routes(7).manifest.namespace.text, 0, 0),)))
    assert scene.audited == []


def test_a_message_out_of_order_is_recorded_as_what_ended_the_link() -> None:
    scene = Scene()
    link = scene.connect("n7")
    scene.caused.clear()
    scene.hear(link, GetHeads(known=()))
    assert scene.audited == [("session_cut", "protocol", "n7")]


GARBAGE: Final = {
    "no frame of ours": b"\xff" * 64,
    "a frame that ends inside": frame_bytes(FrameKind.HELLO, TrafficClass.TRUST, 0, b"\x93"),
}


@pytest.mark.parametrize("raw", GARBAGE.values(), ids=GARBAGE)
async def test_bytes_of_no_protocol_are_recorded_with_the_code_of_what_is_wrong(
    raw: bytes, tmp_path: Path
) -> None:
    """The link ends, and who sent them is known: the certificate was good."""
    async with daemon(tmp_path) as (driver, address):
        member = contexts(tmp_path, "n7").client
        tls, _ = await dial((address,), NodeId("n1"), member, judge_by(bundle_of("CA")))
        before = len(audited_by(driver))
        await tls.send_all(raw)
        with suppress(trio.BrokenResourceError):
            while await tls.receive_some():
                pass
        await trio.testing.wait_all_tasks_blocked()
        await tls.aclose_forcefully()
        codes = {one.value for one in RejectionCode}
        (cut,) = audited_by(driver)[before:]
        assert (cut[0], cut[2], cut[1] in codes) == ("session_cut", "n7", True)
