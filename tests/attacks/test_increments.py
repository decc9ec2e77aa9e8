"""Attack: have a node make bytes nobody signed, out of increments.

Powers: the attacker is a member with a good certificate and holds every increment that was ever
signed; it shows them in any order, with gaps, without their snapshots, with other bytes.

A node makes of increments what the manifest of the snapshot at the floor names, and nothing else:
the content hash of that manifest ends every chain, each step is judged by the gate with what it
must make, no intermediate result is visible, and whatever breaks ends in the full snapshot.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from backports import zstd

from fabgossip.core.effects import Assemble, Send, ServeContent
from fabgossip.core.events import (
    AnswersDue,
    AssemblyFailed,
    ChainDue,
    ContentStored,
    Event,
    LinkId,
)
from fabgossip.model.artifact import Order, Tombstone, VerifiedManifest
from fabgossip.model.envelope import PayloadKind
from fabgossip.model.ids import NOTHING_HASH, ContentHash
from fabgossip.model.increments import Broken
from fabgossip.model.messages import (
    FEATURE_CHAINS,
    Announce,
    Announced,
    Chain,
    ContentAsk,
    GetChain,
    GetContent,
    NotAvailable,
)
from fabgossip.model.persistence import PutIncrement
from fabgossip.wire.codec import message_body
from fabgossip.wire.envelopes import envelope_bytes
from fabgossip.wire.increments import assemble
from fabgossip.wire.statements import manifest_bytes
from tests.attacks.scene import Scene, asks_content
from tests.core.artifacts import Artifact, increment, node_snapshot, routes, sealed
from tests.core.chained import NAME as CHAINED
from tests.core.chained import other_step, snapshot_of, step
from tests.core.story import Peer
from tests.trust import factory as f


def zstd_frame(base: bytes, result: bytes) -> bytes:
    """A frame a compiler would never write, for it may not pay."""
    return zstd.compress(result, zstd_dict=zstd.ZstdDict(base, is_raw=True).as_prefix)


NAME: Final = node_snapshot().tail
SNAPSHOT: Final = node_snapshot(7)


def result_of(one: Artifact, result: ContentHash) -> Artifact:
    base = one.manifest.base
    assert base is not None
    return sealed(replace(one.manifest, base=replace(base, result_hash=result)), one.content)


@pytest.mark.parametrize(
    ("shown", "code"),
    [(6, "VERSION_ROLLBACK"), (8, "VERSION_GAP"), (9, "VERSION_GAP")],
    ids=["older", "next", "with a gap"],
)
def test_only_the_listed_result(shown: int, code: str) -> None:
    """Only an increment to the snapshot at the floor is kept, whatever order they come in: older
    ones are a rollback, newer ones wait for their snapshot. None of them moves floor or head, and
    what the node has current stays what the snapshot says."""
    scene = Scene().publish(SNAPSHOT)
    scene.refuses(increment(shown), code)
    assert scene.state.heads[NAME].contents == (SNAPSHOT.content_hash,)
    assert scene.state.floors[NAME] == Order(2, 7)


def test_an_increment_at_the_floor_produces_nothing(tmp_path: Path) -> None:
    """Neither its own bytes nor the result it claims become the local state, whatever the snapshot
    says of that result; a restart does not change it."""
    claimed = result_of(increment(7), f.hash_of(b"what the attacker would like"))
    for offered, place in ((increment(7), "plain"), (claimed, "claimed")):
        scene = Scene().publish(SNAPSHOT)
        before = scene.state
        scene.offer(offered).rest()
        assert (scene.codes, scene.audited) == ([], [])
        assert scene.state == before
        kept = kept_increment(scene)
        assert kept is not None
        assert kept.envelope == offered.envelope
        assert scene.durable == [PutIncrement(verified=kept)]
        assert scene.switched == []
        assert set(scene.requests) <= {asks_content(offered)}
        again = scene.restarted(tmp_path / place)
        assert again.state == before
        assert dict(again.at_start.switched)[NAME] == Order(2, 7)


def kept_increment(scene: Scene) -> VerifiedManifest | None:
    head = scene.node.view.find(SNAPSHOT.manifest.namespace.text)
    assert head is not None
    return None if head.increment is None else head.increment.verified


def test_an_increment_goes_with_its_snapshot(tmp_path: Path) -> None:
    """A newer snapshot ends it: nothing leads back to what it was a step to."""
    scene = Scene().publish(SNAPSHOT, increment(7), node_snapshot(8))
    assert kept_increment(scene) is None
    scene.refuses(increment(6), "VERSION_ROLLBACK")
    scene.refuses(result_of(increment(7), f.hash_of(b"other")), "VERSION_ROLLBACK")
    assert scene.restarted(tmp_path).state == scene.state


def test_out_of_order_the_snapshot_alone_decides() -> None:
    """Newest first, oldest last: the end is the same as in order."""
    later = node_snapshot(8)
    scene = Scene().publish(SNAPSHOT)
    for one in (increment(9), increment(8), increment(6)):
        scene.offer(one)
    scene.offer(later).rest()
    assert scene.state.heads[NAME].contents == (later.content_hash,)
    assert scene.state.floors[NAME] == Order(2, 8)


# Answers to a question for a chain.

HELD: Final = snapshot_of(5)
NEXT: Final = snapshot_of(7)
ASKED: Final = "chain snapshots/role/edge"


def asking() -> Scene:
    """A node that holds version 5, heard of version 7 from the attacker, and asked him for the
    chain."""
    scene = Scene().publish(HELD)
    scene.announce(NEXT, scene.attacker)
    scene.carry_out()
    assert scene.requests == [ASKED]
    return scene


def answer(scene: Scene, *envelopes: bytes, head: Artifact = NEXT) -> Scene:
    chain = Chain(head=head.content_hash, envelopes=envelopes)
    scene.hear(scene.attacker, chain)
    return scene


def ends_in_the_full_snapshot(scene: Scene, *others: Artifact) -> None:
    """What was wanted in its place comes, and nothing of the chain is left."""
    assert scene.requests[-1] == asks_content(NEXT)
    scene.carry_out(NEXT, *others)
    standing = scene.state.heads["snapshots/role/edge"]
    assert (standing.order, standing.contents) == (Order(2, 7), (NEXT.content_hash,))
    assert [order for _, order in scene.switched] == [Order(2, 7)]


@pytest.mark.parametrize(
    ("chain", "code", "blame"),
    [
        ((b"no envelope", step(7).envelope[:-1]), "TRUNCATED", "peer"),
        ((step(6).envelope, snapshot_of(6).envelope), "BASE_MISMATCH", "none"),
        ((routes(9).envelope,), "NAMESPACE_MISMATCH", "signer"),
        ((increment(7).envelope,), "NAMESPACE_MISMATCH", "signer"),
        ((step(7, base=6).envelope, step(6).envelope), "BASE_MISMATCH", "none"),
        ((other_step(8, 7, b"frame").envelope,), "BASE_MISMATCH", "none"),
    ],
    ids=["garbage", "a snapshot", "routes", "another namespace", "out of order", "past the floor"],
)
def test_what_is_no_step_of_the_chain_is_not_taken(
    chain: tuple[bytes, ...], code: str, blame: str
) -> None:
    scene = answer(asking(), *chain)
    assert (scene.codes, scene.blamed) == ([code], [blame])
    assert not [one for one in scene.durable if isinstance(one, PutIncrement)]
    ends_in_the_full_snapshot(scene)


def test_bytes_nobody_signed_are_blamed_on_who_sent_them() -> None:
    kind, payload = PayloadKind.SNAPSHOT_INCREMENT, manifest_bytes(step(7).manifest)
    forged = envelope_bytes(kind, payload, (f.COMPILER.sign(kind, b"other"),))
    scene = answer(asking(), step(6).envelope, forged)
    assert (scene.codes, scene.blamed) == (["SIG_INVALID"], ["peer"])
    ends_in_the_full_snapshot(scene)


def test_an_answer_to_nothing_is_nothing() -> None:
    """Unasked, to another link than was asked, to another head: not one signature is looked at."""
    scene = Scene().publish(HELD)
    before = scene.state
    answer(scene, step(6).envelope, step(7).envelope).leaves(before)
    scene = asking()
    scene.hear(
        scene.bystander,
        Chain(head=NEXT.content_hash, envelopes=(step(6).envelope,)),
    )
    answer(scene, step(6).envelope, head=snapshot_of(6))
    assert scene.requests == [ASKED]
    assert scene.codes == []


def made(scene: Scene, *held: Artifact) -> Event:
    """What an interpreter makes of the assembly the node wants, from these contents."""
    (effect,) = [one for one in scene.caused if isinstance(one, Assemble)]
    contents = {one.content_hash: one.content for one in held}
    result = assemble(effect.increments, contents.get)
    if isinstance(result, Broken):
        return AssemblyFailed(wanted=effect.wanted, fault=result.fault, place=result.place)
    return ContentStored(wanted=effect.wanted, link=None, content=result)


def test_intermediate_results_are_never_visible() -> None:
    """Not on the disk, not in the local state, not told, not served to who asks for one by its
    hash."""
    scene = answer(asking(), step(6).envelope, step(7).envelope).carry_out(step(6), step(7))
    event = made(scene, HELD, step(6), step(7))
    assert isinstance(event, ContentStored)
    assert event.content == NEXT.content
    scene.when(event).carry_out()
    between = snapshot_of(6)
    assert [order for _, order in scene.switched] == [Order(2, 7)]
    assert not scene.told(between)
    ask = ContentAsk(between.verified.manifest_hash, between.content_hash, 0, 1)
    scene.hear(scene.attacker, GetContent(items=(ask,)), 2)
    assert not scene.find(ServeContent)
    assert scene.due(AnswersDue).sent(scene.attacker) == [NotAvailable(item=0)]


@pytest.mark.parametrize(
    "bytes_made",
    [
        zstd_frame(snapshot_of(6).content, b"x" * NEXT.manifest.content_size),
        zstd_frame(snapshot_of(6).content, bytes(1 << 25)),
        step(8).content,
        b"no frame at all",
    ],
    ids=["other bytes", "32 MiB of zeros", "another increment", "garbage"],
)
def test_a_stolen_compiler_key_makes_no_bytes_but_those_of_the_snapshot(bytes_made: bytes) -> None:
    """It can sign an increment that does not make what it names: a fault of its own kind, found
    before a byte is kept, laid at the signer's door, and never tried again."""
    lie = other_step(7, 6, bytes_made)
    scene = answer(asking(), step(6).envelope, lie.envelope).carry_out(step(6), lie)
    scene.when(made(scene, HELD, step(6), lie))
    assert (scene.codes, scene.blamed) == (["CONTENT_INVALID"], ["signer"])
    assert scene.node.view.wants_of(lie.content_hash) == ()
    ends_in_the_full_snapshot(scene)
    scene.caused.clear()
    scene.offer(lie)
    assert scene.fetched == []
    # In other bytes, with one signature more that says nothing.
    read = f.parts(lie.envelope)
    junk = f.signer("nobody").sign(read.kind, read.payload)
    again = envelope_bytes(read.kind, read.payload, (*read.signatures, junk))
    scene.offer(replace(lie, envelope=again))
    assert (scene.fetched, scene.codes, scene.durable) == ([], ["CONTENT_INVALID"], [])


# Telling of a snapshot, and no more.


def test_telling_first_and_being_silent_keeps_a_snapshot_from_nobody() -> None:
    """Whoever has it brings it, and is heard while the attacker lets the question run out."""
    scene = asking()
    scene.hear(scene.bystander, Announce(entries=(Announced(NEXT.envelope, 1, NEXT.content),)))
    scene.carry_out(NEXT)
    assert scene.state.heads["snapshots/role/edge"].contents == (NEXT.content_hash,)
    assert [order for _, order in scene.switched] == [Order(2, 7)]


def test_the_version_held_is_not_told_to_who_may_not_know_of_it() -> None:
    """It was for one organization, the next is for the whole cluster: an attacker of another one
    tells of the next to learn the hash of what was before."""
    narrow = f.audience(*(one.text for one in HELD.manifest.audience.scope_ids), "org:acme")
    scene = Scene().publish(sealed(replace(HELD.manifest, audience=narrow), HELD.content))
    stranger = scene.link(Peer(name="n7", holds=(), shows=(), features=FEATURE_CHAINS))
    scene.announce(NEXT, stranger)
    scene.carry_out()
    assert scene.requests[-1] == ASKED
    scene.due(ChainDue)
    for one in scene.caused:
        if isinstance(one, Send) and one.link == stranger:
            assert bytes(HELD.content_hash) not in message_body(one.message)[1]
    assert scene.requests[-1] == asks_content(NEXT)


# Questions for a chain.


def test_no_looks_the_same_whatever_the_reason() -> None:
    """Absent, forbidden, withdrawn: the same bytes, at the same moment of the clock."""
    answers = []
    for scene, peer in (absent(), forbidden(), withdrawn()):
        question = GetChain(
            namespace=CHAINED, base=HELD.content_hash, head=snapshot_of(6).content_hash
        )
        start = scene.now.instant
        scene.wait(1_000 - start % 1_000 + 3).hear(peer, question)
        assert scene.sent(peer) == []
        scene.due(AnswersDue)
        moment = scene.now.instant % 1_000
        answers.append([(moment, message_body(one)) for one in scene.sent(peer)])
    assert answers[0] == answers[1] == answers[2]
    assert len(answers[0]) == 1


def absent() -> tuple[Scene, LinkId]:
    scene = Scene().publish(HELD)
    return scene, scene.attacker


def forbidden() -> tuple[Scene, LinkId]:
    """A member that is no edge."""
    scene = Scene().publish(HELD, snapshot_of(6), step(6))
    return scene, scene.link(Peer(name="n7", shows=(), roles=("gateway",)))


def withdrawn() -> tuple[Scene, LinkId]:
    scene = Scene().publish(HELD, snapshot_of(6), step(6))
    gone = replace(
        snapshot_of(8).manifest,
        tombstone=Tombstone(reason="gone", purge=False),
        content_hash=NOTHING_HASH,
        content_size=0,
    )
    scene.publish(Artifact(gone, f.signed(gone), b""))
    return scene, scene.attacker


def test_what_is_given_is_given_to_who_may_know_of_it() -> None:
    scene = Scene().publish(HELD, snapshot_of(6), step(6))
    question = GetChain(namespace=CHAINED, base=HELD.content_hash, head=snapshot_of(6).content_hash)
    scene.hear(scene.attacker, question)
    assert scene.sent(scene.attacker) == [
        Chain(
            head=snapshot_of(6).content_hash,
            envelopes=(step(6).envelope,),
        )
    ]
