"""A relayer passes on what others signed with fewer signatures than there are, or with more.

The statement is the same; what it can lose later, and whether it can be taken at all, is not.
"""

from dataclasses import replace
from typing import Final

import pytest

from fabgossip.core.effects import Persist
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import RevokedKind
from fabgossip.model.envelope import Signature
from fabgossip.model.messages import Announce, Announced
from fabgossip.model.persistence import PutEvidence
from fabgossip.wire.contents import bundle_bytes
from fabgossip.wire.envelopes import envelope_bytes, parse_envelope
from tests.attacks.powers import revokes
from tests.attacks.scene import Scene
from tests.core.artifacts import Artifact, revocations, sealed, trust
from tests.trust import factory as f

ROOT_4: Final = f.signer("root 4")
FOUR: Final = replace(
    f.BUNDLE,
    bundle_version=4,
    root_keys=tuple(sorted(one.public_key for one in (f.ROOTS[1], f.ROOTS[2], ROOT_4))),
)


def rotation(*signers: f.Signer) -> Artifact:
    """The bundle that replaces a root, as far as these signed it."""
    all_of_them = (f.ROOTS[0], f.ROOTS[1], ROOT_4)
    statement = replace(
        f.bundle_manifest(FOUR), signer_key_ids=tuple(sorted(one.key_id for one in all_of_them))
    )
    return Artifact(statement, f.signed(statement, *signers), bundle_bytes(FOUR))


WHOLE: Final = rotation(f.ROOTS[0], f.ROOTS[1], ROOT_4)
STRIPPED: Final = rotation(f.ROOTS[0], f.ROOTS[1])
"""Signed by enough roots of the bundle in force, and by one of the next, which wants two."""


def with_junk(artifact: Artifact, number: int) -> bytes:
    parts = parse_envelope(artifact.envelope)
    junk = Signature(f.signer(f"nobody {number}").key_id, bytes(64))
    signatures = tuple(sorted((*parts.signatures, junk), key=lambda one: one.key_id))
    return envelope_bytes(parts.kind, parts.payload, signatures)


@pytest.mark.parametrize(
    "copies", [(WHOLE, STRIPPED), (STRIPPED, WHOLE)], ids=["whole first", "stripped first"]
)
def test_a_stripped_copy_never_takes_the_place_of_a_whole_one(copies: tuple[Artifact, ...]) -> None:
    scene = Scene()
    entries = tuple(Announced(one.envelope, 1) for one in copies)
    scene.hear(scene.attacker, Announce(entries=entries))
    scene.carry_out(WHOLE).rest()
    assert scene.node.view.trust.bundle == FOUR
    assert scene.codes == []


def test_after_a_stripped_copy_alone_was_found_out_the_whole_one_is_taken() -> None:
    scene = Scene()
    scene.offer(STRIPPED).rest()
    assert scene.codes == ["BUNDLE_INVALID"]
    assert scene.node.view.trust.bundle == f.BUNDLE
    scene.caused.clear()
    scene.offer(STRIPPED)
    assert scene.durable == []  # its content is known: it is judged before anything is done
    scene.offer(WHOLE).rest()
    assert scene.node.view.trust.bundle == FOUR


def test_copies_of_a_bundle_whose_content_is_withheld_cost_the_disk_nothing() -> None:
    scene = Scene()
    for number in range(40):
        entry = Announced(with_junk(STRIPPED, number), 1)
        scene.hear(scene.attacker, Announce(entries=(entry,)))
        scene.carry_out()
    assert len([one for one in scene.caused if isinstance(one, Persist)]) == 1
    scene.announce(WHOLE, scene.bystander)  # there is no room for it beside so many
    scene.stored(WHOLE, scene.attacker)
    scene.carry_out(WHOLE)
    assert scene.codes == ["BUNDLE_INVALID"]
    scene.announce(WHOLE, scene.bystander)
    scene.carry_out(WHOLE).rest()
    assert scene.node.view.trust.bundle == FOUR


def test_another_envelope_of_a_known_fork_proves_nothing_more() -> None:
    scene = Scene().publish(trust(f.NEXT_BUNDLE))
    fork = trust(FOUR)
    scene.caused.clear()
    scene.offer(fork)
    assert scene.codes == ["TRUST_FORK"]
    for number in range(20):
        entry = Announced(with_junk(fork, number), 1)
        scene.hear(scene.attacker, Announce(entries=(entry,)))
    assert len([one for one in scene.durable if isinstance(one, PutEvidence)]) == 1


def release(*signers: f.Signer) -> Artifact:
    """An update that two of three keys must sign, as far as these did."""
    statement = replace(
        f.manifest(ArtifactType.UPDATE_MANIFEST, "updates/u1"),
        config_version=7,
        signer_key_ids=tuple(sorted(one.key_id for one in f.RELEASES)),
    )
    plain = sealed(statement, b"update")
    return Artifact(statement, f.signed(statement, *signers), plain.content)


ALL_THREE: Final = release(*f.RELEASES)
TWO: Final = release(*f.RELEASES[:2])


@pytest.mark.parametrize(
    "copies", [(ALL_THREE, TWO), (TWO, ALL_THREE)], ids=["whole first", "stripped first"]
)
def test_which_keys_it_can_lose_does_not_depend_on_who_passed_it_on(
    copies: tuple[Artifact, ...],
) -> None:
    scene = Scene()
    for one in copies:
        scene.offer(one).rest()
    scene.publish(revocations(8, revokes(RevokedKind.SIGNING_KEY, f.RELEASES[0].key_id)))
    assert scene.trusted["updates/u1"][1] == "current"


def test_what_gained_a_signature_is_told_with_it() -> None:
    scene = Scene()
    scene.offer(TWO).rest()
    scene.caused.clear()
    scene.offer(ALL_THREE).rest()
    (told,) = scene.announced
    assert {one.key_id for one in parse_envelope(told).signatures} == {
        one.key_id for one in f.RELEASES
    }
