"""Bytes made to be expensive, or to mean two things.

Powers: the attacker writes any bytes it likes wherever bytes are read: as a frame, as an envelope,
as the payload of an envelope that a trusted key signed, as a content such a payload names.
Everything is as long as the limit of its place allows.
"""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

import pytest

from fabgossip.core.effects import Disconnect
from fabgossip.errors import WireError
from fabgossip.model.artifact import TYPE_RULES, ArtifactType
from fabgossip.model.envelope import PAYLOAD_BYTES_MAX, PayloadKind
from fabgossip.wire.codec import parse_message
from fabgossip.wire.envelopes import parse_envelope
from fabgossip.wire.framing import BODY_BYTES_MAX, FrameKind
from fabgossip.wire.packing import pack, unpack
from fabgossip.wire.statements import manifest_bytes
from tests.attacks.scene import ATTACKER, Scene, asks_content
from tests.core.artifacts import Artifact, routes, sealed
from tests.core.story import announcement
from tests.trust import factory

MIB: Final = 1 << 20


def filled(head: str, filler: str, size: int) -> bytes:
    """As long as the place allows, and not a byte longer."""
    start, more = bytes.fromhex(head), bytes.fromhex(filler)
    return (start + more * ((size - len(start)) // len(more)))[:size]


BOMBS: dict[str, tuple[str, str]] = {
    "an array of 4,294,967,295": ("ddffffffff", "c0"),
    "a bare dd ffffffff": ("ddffffffff", "ff"),
    "nothing but headers of 4,294,967,295": ("ddffffffff", "ddffffffff"),
    "headers of 65,535": ("dcffff", "dcffff"),
    "headers of 15": ("9f", "9f"),
    "headers of one": ("91", "91"),
    "4,000,000 empty arrays": ("dd003d0900", "90"),
    "2,000,001 nils": ("dd001e8481", "c0"),
    "text of 4 GiB": ("dbffffffff", "61"),
    "bytes of 4 GiB": ("c6ffffffff", "00"),
    "a map of 4,294,967,295": ("dfffffffff", "c0"),
    "maps of maps": ("81a16181", "a16181"),
}
TRICKS: dict[str, bytes] = {
    "depth 17": b"\x91" * 16 + b"\x90",
    "depth 1,025": b"\x91" * 1_024 + b"\x90",
    "a key twice": bytes.fromhex("82a16101a16102"),
    "integer keys": bytes.fromhex("820100a16100"),
    "an empty map": bytes.fromhex("80"),
    "an extension": bytes.fromhex("c7010500"),
    "a fixed extension": bytes.fromhex("d4ff00"),
    "a timestamp": bytes.fromhex("d6ff00000000"),
    "NaN": bytes.fromhex("cb7ff8000000000000"),
    "a short NaN": bytes.fromhex("ca7fc00000"),
    "infinity": bytes.fromhex("cb7ff0000000000000"),
    "a float that is an integer": bytes.fromhex("cb3ff0000000000000"),
    "minus zero": bytes.fromhex("cb8000000000000000"),
    "a long one": bytes.fromhex("cf0000000000000001"),
    "a long array": bytes.fromhex("dd0000000101"),
    "a long text": bytes.fromhex("da000161"),
    "the unused byte": bytes.fromhex("c1"),
    "half a value": bytes.fromhex("9201"),
    "two values": bytes.fromhex("9090"),
    "nothing": b"",
    "text that is no UTF-8": bytes.fromhex("a1ff"),
    "a surrogate": bytes.fromhex("a3eda080"),
}


def hostile(size: int) -> dict[str, bytes]:
    """Every bomb at this size, and every trick alone and as a member of an array."""
    bombs = {name: filled(*parts, size) for name, parts in BOMBS.items()}
    inside = {f"{name}, inside": b"\x91" + data for name, data in TRICKS.items() if data != b""}
    return bombs | TRICKS | inside


def peak_of(action: Callable[[], object]) -> int:
    """The most memory that was held beside what was there before, in bytes."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", hostile(64))
def test_bombs(name: str) -> None:
    """In all four places: refused by name, the state as before, in memory that its own length
    bounds."""
    scene = Scene().publish(routes(7))
    before = scene.state
    codes = []
    for bad, blame in ((as_envelope(name), "peer"), (as_payload(name), "signer")):
        scene.caused.clear()
        assert peak_of(partial(scene.offer, bad)) < MIB
        scene.rest()
        assert scene.blamed == [blame]
        codes += scene.codes
        assert scene.audited == [("artifact_rejected", codes[-1], ATTACKER)]
        assert (scene.state, scene.requests, scene.durable) == (before, [], [])
        assert (scene.onward, scene.switched, scene.find(Disconnect)) == ([], [], [])
    assert codes == codes_of(name)
    for kind in FrameKind:
        if kind is not FrameKind.CONTENT:
            frame = hostile(BODY_BYTES_MAX[kind])[name]
            assert peak_of(partial(refused, kind, frame)) < MIB


def codes_of(name: str) -> list[str]:
    """Why it is refused as an envelope, and as a payload: by what is wrong with its bytes, before
    anybody looks for a shape in them."""
    plain = name.removesuffix(", inside")
    if plain == "nothing":
        return ["TRUNCATED", "SCHEMA"]  # as a payload it is a nil
    if plain in ("text of 4 GiB", "bytes of 4 GiB", "half a value"):
        return ["TRUNCATED"] * 2
    return ["NONCANONICAL" if plain.startswith("a long ") else "MALFORMED"] * 2


def refused(kind: FrameKind, body: bytes) -> None:
    with pytest.raises(WireError):
        parse_message(kind, body)


def as_envelope(name: str) -> Artifact:
    return Artifact(routes(8).manifest, hostile(8_192)[name], b"")


def as_payload(name: str) -> Artifact:
    """Signed by who may sign it: it is the signer's fault, and the same from anybody."""
    data = hostile(PAYLOAD_BYTES_MAX)[name]
    kind = PayloadKind.ROUTE_POLICY_BUNDLE
    return Artifact(routes(8).manifest, factory.sealed(kind, data or b"\xc0", factory.POLICY), b"")


READ: Final = tuple(kind for kind in ArtifactType if TYPE_RULES[kind].is_read)


@pytest.mark.parametrize("kind", READ)
def test_a_content_that_is_a_bomb_leaves_the_last_good_one(kind: ArtifactType) -> None:
    """Its hash is right, its signer trusted, its size within the cap: it is read, found bad, and
    nothing of it is believed or told."""
    size = 64 << 10
    scene = Scene().publish(routes(7))
    before = scene.node.view.trust
    for number, (name, data) in enumerate(hostile(size).items()):
        offered = content_of(kind, data, version=8 + number)
        scene.caused.clear()
        assert peak_of(partial(scene.offer, offered)) < 4 * MIB, name
        assert scene.codes in (["CONTENT_INVALID"], ["BUNDLE_INVALID"]), name
        assert scene.blamed == ["signer"]
        assert scene.audited == [("artifact_rejected", scene.codes[0], ATTACKER)]
        assert scene.node.view.trust == before, name
        assert scene.requests == [asks_content(offered)], name
        assert scene.switched == []
        # A list is told of before it is read: whoever has its content restricts at once.
        is_list = kind is ArtifactType.REVOCATION_LIST
        assert scene.onward == ([announcement(offered, inline=False)] if is_list else [])


def content_of(kind: ArtifactType, content: bytes, *, version: int) -> Artifact:
    """Of bundles it is always the next: none before it was taken."""
    statement = factory.manifest(kind)
    if kind is not ArtifactType.TRUST_BUNDLE:
        statement = replace(statement, config_version=version)
    return sealed(statement, content)


def test_a_decoder_remembers_nothing_of_the_bytes_before() -> None:
    """What a bomb leaves behind would be read into the next value: there is nothing."""
    good = routes(8).envelope
    for data in hostile(256).values():
        with pytest.raises(WireError):
            parse_envelope(data)
        assert parse_envelope(good).payload == manifest_bytes(routes(8).manifest)
        with pytest.raises(WireError):
            unpack(data)
        assert unpack(pack([1, [b"x", "y"]])) == [1, [b"x", "y"]]
