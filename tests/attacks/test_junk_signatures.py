"""A relayer adds signatures of its own to what others signed; honest nodes pass it on."""

from dataclasses import replace
from typing import Final

from fabgossip.core.effects import Disconnect
from fabgossip.model.envelope import Signature
from fabgossip.model.messages import Announce, Announced
from fabgossip.trust.rejections import RejectionCode
from fabgossip.wire.envelopes import envelope_bytes, parse_envelope
from tests.attacks.scene import Scene
from tests.core.artifacts import Artifact, routes
from tests.trust import factory

NEW: Final = factory.signer("policy of the next bundle")
FAILURES_TO_BE_CUT: Final = 8


def with_junk(artifact: Artifact) -> bytes:
    """The envelope with a bad signature in the name of a key that everybody knows."""
    parsed = parse_envelope(artifact.envelope)
    junk = Signature(factory.POLICY.key_id, bytes(64))
    signatures = sorted((*parsed.signatures, junk), key=lambda one: one.key_id)
    return envelope_bytes(parsed.kind, parsed.payload, tuple(signatures))


def of_next_bundle(number: int) -> Artifact:
    """What a key signed that the next bundle brings."""
    known = routes(7, f"r{number}")
    statement = replace(known.manifest, signer_key_ids=(NEW.key_id,))
    return Artifact(statement, factory.signed(statement, NEW), known.content)


def test_who_relays_what_a_newer_key_signed_is_not_blamed_for_the_junk_beside_it() -> None:
    """A node at the next bundle ignores the junk and passes all on; one that is still behind sees
    nothing but the junk, and must ask for newer trust, not cut off who brought it."""
    scene = Scene()
    before = scene.state
    link = scene.link("n5")
    scene.caused.clear()
    for number in range(FAILURES_TO_BE_CUT):
        envelope = with_junk(of_next_bundle(number))
        scene.hear(link, Announce(entries=(Announced(envelope, 0),)))
    assert scene.codes == [RejectionCode.KEY_UNKNOWN.value] * FAILURES_TO_BE_CUT
    assert scene.blamed == ["none"] * FAILURES_TO_BE_CUT
    assert not any(isinstance(one, Disconnect) for one in scene.caused)
    assert scene.state == before
    assert any(request.startswith("heads trust/bundle") for request in scene.requests)
    assert scene.onward == []


def test_who_brings_nothing_but_bad_signatures_of_known_keys_is_cut_off() -> None:
    scene = Scene()
    link = scene.link("n5")
    for number in range(FAILURES_TO_BE_CUT):
        parsed = parse_envelope(routes(7, f"r{number}").envelope)
        bad = (Signature(factory.POLICY.key_id, bytes(64)),)
        envelope = envelope_bytes(parsed.kind, parsed.payload, bad)
        scene.hear(link, Announce(entries=(Announced(envelope, 0),)))
    assert scene.codes == [RejectionCode.SIG_INVALID.value] * FAILURES_TO_BE_CUT
    assert [one.link for one in scene.caused if isinstance(one, Disconnect)] == [link]
