"""Identities made up, and one identity used twice.

The attacker can make any certificate but none that a node CA of the trust bundle signed; or holds a
copy of one node's key and certificate on a machine of its own, beside the real one; or has brought
a node CA to sign a certificate that breaks one rule, and shows it with any TLS library it likes.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fabgossip.control.enrollment import certificate_der, node_certificate
from fabgossip.core.effects import Disconnect, Fact, Persist, Record
from fabgossip.core.events import LinkId, LostReason, PeerLost, Persisted
from fabgossip.core.health import Level
from fabgossip.core.node import Node
from fabgossip.core.problems import ProblemCode
from fabgossip.core.standing import BOOT_CHANGES_SPAN
from fabgossip.daemon.driver import Driver, read_clocks
from fabgossip.daemon.endpoints import ALPN, dial
from fabgossip.daemon.facts import RULES, Keep, entry_of
from fabgossip.daemon.recent import EVENTS_KEPT
from fabgossip.daemon.tls import TlsStream
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import Announce, Announced, ByeReason, Message, Welcome
from fabgossip.model.moment import elapsed, seconds_after
from fabgossip.model.persistence import PutClaimsSeen
from fabgossip.trust.identity import verify_leaf
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.trust.revocation import NOTHING_REVOKED
from tests.attacks.powers import files_below
from tests.attacks.scene import TRUST_LANE_ASKED, Scene
from tests.core.artifacts import IN_ACME, acme_peers, acme_routes, routes
from tests.core.story import Peer, Story, handed_over, roots_told
from tests.daemon.fabric import HANG_S, End, bundle_of, contexts, driver_of, judge_by, listening
from tests.trust import factory
from tests.trust.test_identity import BROKEN, KEPT

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
            before = driver.node.view.snapshot(read_clocks())
            async with listening(driver.doorway.on_stream) as address:
                for _ in range(AT_THE_DOOR):
                    # A client of TLS 1.3 believes it is in until it reads.
                    tls, _ = await dial((address,), NodeId("n1"), stranger.client, judge)
                    with pytest.raises(trio.BrokenResourceError):
                        await tls.receive_some()
                    await tls.aclose_forcefully()
                await trio.testing.wait_all_tasks_blocked()
                after = driver.node.view.snapshot(read_clocks())
                assert driver.node.view.sessions() == ()
                assert replace(after, summary=before.summary) == before
                tls, _ = await dial((address,), NodeId("n1"), member.client, judge)
                assert len(await tls.receive_some()) > 0
                await tls.aclose_forcefully()
            nursery.cancel_scope.cancel()
        end.close()


CLONED: Final = "n7"


def clone_says_hello(story: Story, boot: str) -> LinkId:
    """One of two machines with the key of n7 connects."""
    link = story.connect(CLONED, is_dialer=False)
    story.hear(link, Peer(name=CLONED, boot=boot).hello())
    effects = story.effects
    for one in story.find(Disconnect):
        story.when(PeerLost(link=one.link, node_id=NodeId(CLONED), reason=one.lost))
    for put in [one for one in effects if isinstance(one, Persist)]:
        story.when(Persisted(token=put.token, ok=True))
    story.hear(link, WELCOME)
    story.effects = effects
    return link


def test_sybil_and_clone() -> None:
    """Two machines with one key: the newest has the link, the third change raises the alarm, and
    nothing more is told than to one."""
    story = Scene().publish(routes())
    before = story.state
    told: list[list[Message]] = []
    alarm_at = story.now.instant
    for number in range(4):
        story.caused.clear()
        alarm_at = story.now.instant
        link = clone_says_hello(story, "real" if number % 2 == 0 else "clone")
        assert [one.link for one in story.node.view.sessions() if one.node_id == CLONED] == [link]
        closed = story.find(Disconnect)
        assert [(one.bye, one.lost) for one in closed] == [
            (ByeReason.DUPLICATE, LostReason.DUPLICATE)
        ] * (number > 0)
        effects = story.effects
        told.append(story.onward)
        is_first, is_third_change = number == 0, number == 3
        seen = PutClaimsSeen(node_id=NodeId(CLONED), epoch=2, version=1)
        story.leaves(
            before,
            requests=[TRUST_LANE_ASKED],
            audited=[("claims_accepted", "", CLONED)] * is_first
            + [("identity_cloned", "IDENTITY_CLONED", CLONED)] * is_third_change,
            durable=[seen] * is_first,
            onward=told[0],
        )
        story.effects = effects
    (record,) = [one for one in story.find(Record) if one.fact is Fact.IDENTITY_CLONED]
    assert dict(record.fields) == {"peer": CLONED, "code": "IDENTITY_CLONED"}
    snapshot = story.node.view.snapshot(story.now)
    (problem,) = [one for one in snapshot.problems if one.code is ProblemCode.IDENTITY_CLONED]
    assert f"{CLONED} said hello from 3 other processes within 0 s" in problem.because
    assert "over in 9 minutes" in problem.because
    assert problem.next_step == f"on {CLONED}: fabgossip status"
    assert snapshot.level is Level.DEGRADED
    story.wait(BOOT_CHANGES_SPAN - elapsed(alarm_at, story.now.instant) - 1)
    assert ProblemCode.IDENTITY_CLONED in problems(story)
    story.wait(1)
    assert ProblemCode.IDENTITY_CLONED not in problems(story)


def problems(story: Story) -> set[ProblemCode]:
    return {one.code for one in story.node.view.snapshot(story.now).problems}


def test_a_clone_is_told_what_its_own_link_showed_and_no_more() -> None:
    """What the real machine showed on its link does not speak for the other."""
    story = Story()
    origin = story.link("n3")
    story.accept(acme_peers("n1", "n3", CLONED), origin).accept(acme_routes(), origin)
    real = clone_says_hello(story, "real")
    assert next(one for one in story.node.view.sessions() if one.link == real).claims is not None
    assert IN_ACME in roots_told(story, real)
    clone = story.connect(CLONED, is_dialer=False)
    story.hear(clone, Peer(name=CLONED, boot="clone", shows=()).hello()).hear(clone, WELCOME)
    assert IN_ACME not in roots_told(story, clone)
    assert acme_routes().envelope not in handed_over(story, clone, IN_ACME)


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


# Certificates that a node CA signed and that break one rule.

NODE_KEYS: Final = (
    factory.p256_key("leaf"),
    ec.derive_private_key(12345, ec.SECP384R1()),
    ec.derive_private_key(12345, ec.SECP256K1()),
    ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)),
)
"""Whatever key a leaf of the table has."""
REFUSED_BY_TLS: Final = frozenset(
    {
        "key on P-256K1",
        "a CA",
        "no digital signature",
        "certificate signing",
        "CRL signing",
        "server only",
        "no name",
        "name not critical, no subject",
        "not valid yet",
        "expired",
        "another CA",
        "another CA of the same name",
    }
)
"""The library stops these, so their holder never was anybody: the log has them, the audit log has
not, or who can reach the port could fill it."""

STRICTER_IN_TLS: Final = "begins within the tolerance of clocks"
"""The library has no such tolerance; enrollment dates certificates back instead."""


def signed_today(leaf: factory.Leaf) -> factory.Leaf:
    """The same leaf, for the machine's clock, under the CA of today that stands for its issuer."""
    shift = read_clocks().unix - factory.NOW
    issuer = leaf.issuer
    if issuer.certificate == factory.NODE_CA.certificate:
        (ca,) = bundle_of("CA").node_cas
        is_real = issuer.private is factory.NODE_CA.private
        private = factory.p256_key("CA") if is_real else issuer.private
        issuer = factory.Authority("CA", private, x509.load_der_x509_certificate(ca.der))
    times = leaf.not_before + shift, leaf.not_after + shift
    return replace(leaf, issuer=issuer, not_before=times[0], not_after=times[1])


def client_with(leaf: factory.Leaf, folder: Path) -> ssl.SSLContext:
    """A client that shows this leaf and asks nothing of the server."""
    key = next(one for one in NODE_KEYS if one.public_key() == leaf.public_key())
    certificate = x509.load_der_x509_certificate(factory.leaf_der(leaf))
    pem = certificate.public_bytes(Encoding.PEM) + key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    (folder / "leaf.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([ALPN])
    context.load_cert_chain(folder / "leaf.pem")
    return context


async def bytes_told(address: str, context: ssl.SSLContext) -> int:
    """How many bytes a daemon says first to who shows that certificate."""
    host, _, port = address.rpartition(":")
    tls = TlsStream(await trio.open_tcp_stream(host, int(port)), context, server_side=False)
    try:
        await tls.do_handshake()
        return len(await tls.receive_some())
    except (ssl.SSLError, trio.BrokenResourceError):
        return 0
    finally:
        await tls.aclose_forcefully()


@asynccontextmanager
async def daemon(folder: Path) -> AsyncIterator[tuple[Driver, str]]:
    """A daemon of n1 on loopback, and its address."""
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            end = End(folder / "disk", nursery)
            try:
                driver = driver_of(end, contexts(folder, "n1"), nursery)
                async with listening(driver.doorway.on_stream) as address:
                    yield driver, address
                nursery.cancel_scope.cancel()
            finally:
                end.close()


def audited(driver: Driver) -> list[tuple[str, str, str]]:
    """Event, code and subject of what the audit log records, in order; nothing is a repeat of what
    was asked for before."""
    driver.recent.tell_all(read_clocks())
    entries = [
        entry_of(one.fact, read_clocks())
        for one in driver.recent.after(0, EVENTS_KEPT)
        if RULES[one.fact.fact].keep is not Keep.NOTHING
    ]
    return [(one.event, one.code, one.subject) for one in entries]


UNLOADABLE: Final = "no usage at all"
"""OpenSSL does not even load it, so nobody comes to the door with it."""


def believed(node: Node) -> tuple[object, ...]:
    """All that a node trusts and holds, and whom it is linked to."""
    return (
        node.view.trust,
        node.view.heads_after("", 1_000),
        node.view.floors(),
        node.view.sessions(),
    )


@pytest.mark.slow
async def test_leaf_table(tmp_path: Path) -> None:
    """Every one is refused by the rules alone, whatever the TLS library thinks of it; and at the
    door of one real daemon, which tells its holder nothing, believes nothing, asks nothing, writes
    nothing, and records it. In the end a good one still gets in."""
    async with daemon(tmp_path) as (driver, address):
        before, stored = believed(driver.node), files_below(tmp_path / "disk")
        for name, leaf in BROKEN.items():
            der = factory.leaf_der(leaf)
            verdict = verify_leaf(der, factory.BUNDLE, NOTHING_REVOKED, factory.NOW)
            assert isinstance(verdict, Rejection), name
            assert verdict.code is RejectionCode.IDENTITY_INVALID, name
            if name == UNLOADABLE:
                with pytest.raises(ssl.SSLError):
                    client_with(signed_today(leaf), tmp_path)
                continue
            recorded = audited(driver)
            assert await bytes_told(address, client_with(signed_today(leaf), tmp_path)) == 0, name
            await trio.testing.wait_all_tasks_blocked()
            assert believed(driver.node) == before, name
            assert driver.node.view.sessions() == (), name
            record = [("identity_refused", "IDENTITY_INVALID", "")]
            expected = [] if name in REFUSED_BY_TLS else record
            assert audited(driver)[len(recorded) :] == expected, name
            assert files_below(tmp_path / "disk") == stored, name
        assert await bytes_told(address, contexts(tmp_path, "n7").client) > 0


@pytest.mark.slow
async def test_leaves_at_the_edge_of_the_table_get_in(tmp_path: Path) -> None:
    """The way by which the others were refused is open."""
    async with daemon(tmp_path) as (driver, address):
        for name in sorted(KEPT.keys() - {STRICTER_IN_TLS}):
            context = client_with(signed_today(KEPT[name]), tmp_path)
            assert await bytes_told(address, context) > 0, name
        assert ("identity_refused", "IDENTITY_INVALID", "") not in audited(driver)
