"""Identities made up, and one identity used twice.

The attacker can make any certificate but none that a node CA of the trust bundle signed; or holds a
copy of one node's key and certificate on a machine of its own, beside the real one.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import trio

from fabgossip.control.enrollment import certificate_der, node_certificate
from fabgossip.core.effects import Disconnect, Fact, Persist, Record
from fabgossip.core.events import LinkId, LostReason, PeerLost, Persisted
from fabgossip.core.health import Level, ProblemCode
from fabgossip.core.standing import BOOT_CHANGES_SPAN
from fabgossip.daemon.driver import read_clocks
from fabgossip.daemon.endpoints import dial
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import Announce, Announced, ByeReason, Have, Welcome
from fabgossip.model.moment import seconds_after
from fabgossip.trust.identity import verify_leaf
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.trust.revocation import NOTHING_REVOKED
from tests.core.artifacts import acme_routes, routes
from tests.core.story import Peer, Story
from tests.daemon.fabric import HANG_S, End, bundle_of, contexts, driver_of, judge_by, listening
from tests.trust import factory

SELF_MADE: Final = 1_000
AT_THE_DOOR: Final = 50
"""Of them, how many knock at a real daemon: a handshake costs milliseconds, a judgement less."""
WELCOME: Final = Welcome(protocol=1, features=0)


def test_a_thousand_self_made_certificates_are_refused_whatever_they_claim() -> None:
    """Each names a node of the cluster, the real ones too, under a CA that looks like the real
    one."""
    now, ours = read_clocks().unix, bundle_of("CA")
    key, theirs = factory.p256_key("a stranger's node"), bundle_of("a stranger's CA")
    times = (now, seconds_after(now, 3_600))
    for number in range(SELF_MADE):
        certificate = node_certificate(
            NodeId(f"n{number}"),
            key.public_key(),
            theirs,
            factory.p256_key("a stranger's CA"),
            times,
        )
        verdict = verify_leaf(certificate_der(certificate), ours, NOTHING_REVOKED, now)
        assert isinstance(verdict, Rejection)
        assert verdict.code is RejectionCode.IDENTITY_INVALID


@pytest.mark.slow
async def test_strangers_at_the_door_leave_a_daemon_as_it_was(tmp_path: Path) -> None:
    """No link, no task, no slot, nothing in the node's view; and a member still gets in."""
    ours, stranger = contexts(tmp_path, "n1"), contexts(tmp_path, "n2", ca="a stranger's CA")
    member = contexts(tmp_path, "n2")
    judge = judge_by(bundle_of("CA"))
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            end = End(tmp_path / "disk", nursery)
            driver = driver_of(end, ours, nursery)
            before = driver.node.snapshot(read_clocks())
            async with listening(driver.on_stream) as address:
                for _ in range(AT_THE_DOOR):
                    # A client of TLS 1.3 believes it is in until it reads.
                    tls, _ = await dial((address,), NodeId("n1"), stranger.client, judge)
                    with pytest.raises(trio.BrokenResourceError):
                        await tls.receive_some()
                    await tls.aclose_forcefully()
                await trio.testing.wait_all_tasks_blocked()
                after = driver.node.snapshot(read_clocks())
                assert driver.node.sessions() == ()
                assert replace(after, summary=before.summary) == before
                tls, _ = await dial((address,), NodeId("n1"), member.client, judge)
                assert len(await tls.receive_some()) > 0
                await tls.aclose_forcefully()
            nursery.cancel_scope.cancel()
        end.close()


def clone_says_hello(story: Story, boot: str) -> LinkId:
    """One of two machines with the key of n2 connects."""
    link = story.connect("n2", is_dialer=False)
    story.hear(link, Peer(name="n2", boot=boot).hello())
    effects = story.effects
    for one in story.find(Disconnect):
        story.when(PeerLost(link=one.link, node_id=NodeId("n2"), reason=one.lost))
    for put in [one for one in effects if isinstance(one, Persist)]:
        story.when(Persisted(token=put.token, ok=True))
    story.hear(link, WELCOME)
    story.effects = effects
    return link


def test_sybil_and_clone() -> None:
    """Two machines with one key: the newest has the link, the third change raises the alarm, and
    nothing more is told than to one."""
    story = Story()
    origin = story.link("n3")
    story.accept(routes(), origin)
    alarms = []
    for number in range(4):
        link = clone_says_hello(story, "real" if number % 2 == 0 else "clone")
        alarms.append(story.facts().count(Fact.IDENTITY_CLONED))
        assert [one.link for one in story.node.sessions() if one.node_id == "n2"] == [link]
        closed = story.find(Disconnect)
        assert [(one.bye, one.lost) for one in closed] == [
            (ByeReason.DUPLICATE, LostReason.DUPLICATE)
        ] * (number > 0)
    assert alarms == [0, 0, 0, 1]
    (record,) = [one for one in story.find(Record) if one.fact is Fact.IDENTITY_CLONED]
    assert dict(record.fields) == {"peer": "n2", "code": "IDENTITY_CLONED"}
    snapshot = story.node.snapshot(story.now)
    (problem,) = [one for one in snapshot.problems if one.code is ProblemCode.IDENTITY_CLONED]
    assert "n2" in problem.because
    assert snapshot.level is Level.DEGRADED
    story.wait(BOOT_CHANGES_SPAN - 1)
    assert ProblemCode.IDENTITY_CLONED in problems(story)
    story.wait(1)
    assert ProblemCode.IDENTITY_CLONED not in problems(story)


def problems(story: Story) -> set[ProblemCode]:
    return {one.code for one in story.node.snapshot(story.now).problems}


def test_a_clone_is_told_what_its_own_link_showed_and_no_more() -> None:
    """What the real machine showed on its link does not speak for the other."""
    story = Story()
    story.accept(acme_routes(), story.link("n3"))
    real = clone_says_hello(story, "real")
    assert next(one for one in story.node.sessions() if one.link == real).claims is not None
    clone = story.connect("n2", is_dialer=False)
    story.hear(clone, Peer(name="n2", boot="clone", shows=()).hello()).hear(clone, WELCOME)
    listed = [one.audience for one in story.sent(clone) if isinstance(one, Have)]
    assert acme_routes().manifest.audience not in listed


def test_reconnecting_does_not_refill_the_budget_of_failures() -> None:
    """Four bad envelopes, a new link, four more: the node is cut off and stays out for a minute."""
    story = Story()
    bad = routes().envelope[:-1]
    for round_number in range(2):
        link = story.link("n2")
        for _ in range(4):
            story.hear(link, Announce(entries=(Announced(bad, 0),)))
        cut = story.find(Disconnect)
        assert len(cut) == round_number
        lost = PeerLost(link=link, node_id=NodeId("n2"), reason=LostReason.EOF)
        story.when(lost)
    refused = story.connect("n2")
    assert [(one.link, one.bye) for one in story.find(Disconnect)] == [(refused, ByeReason.CLOSED)]
    assert story.sent(refused) == []
    other = story.connect("n3")
    assert story.find(Disconnect) == []
    assert len(story.sent(other)) == 1
    story.wait(60_000)
    again = story.connect("n2")
    assert story.find(Disconnect) == []
    assert len(story.sent(again)) == 1
