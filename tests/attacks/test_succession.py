"""Attack: abuse the rotation of root keys.

Powers: the attacker holds some root keys, old or new, and may publish any bundle signed with them;
it may also replay, withhold and reorder bundles that were signed in good faith.

Every rotation of theupdateframework/tuf-conformance (15 of roots, 10 of other roles) is judged by
python-tuf and by us: the verdicts are the same, step by step. A root of TUF is a trust bundle here:
version, root keys, threshold; "signed by itself" is our reading of its content.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import pytest
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Role, Root, Snapshot  # type: ignore[attr-defined]
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from fabgossip.model.artifact import ArtifactType, Order
from fabgossip.model.authority import TrustBundle
from fabgossip.model.ids import ManifestHash, PlatformId
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import (
    PutEvidence,
    PutHead,
    PutTrust,
    StoredFloor,
    StoredTrust,
)
from fabgossip.model.scope import parse_namespace
from fabgossip.trust.bundle import bundle_from_pinned
from fabgossip.trust.gate import TrustGate
from fabgossip.trust.rejections import Rejection
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.contents import bundle_bytes, parse_bundle
from tests.attacks.powers import put_and_dropped
from tests.attacks.scene import (
    ATTACKER,
    TRUST_LANE_ASKED,
    Scene,
    Standing,
    TrustState,
    asks_content,
)
from tests.core.artifacts import Artifact, routes, stored_head, trust
from tests.core.story import NOTHING_STORED, announcement
from tests.trust import factory as f

Statement = TypeVar("Statement", Root, Snapshot)
VERIFIER = Ed25519Verifier()
KEYS = tuple(f.signer(f"rotation {number}") for number in range(10))
FOUR = replace(f.BUNDLE, bundle_version=4)
DEMO = PlatformId("demo-net")
"""Some rotations start from one root, which only a demo may."""


@dataclass(frozen=True)
class Step:
    """One version of the root: its keys, how many must sign, and who did."""

    keys: Sequence[int]
    threshold: int
    signers: Sequence[int]
    is_good: bool = True


FIVE = (0, 1, 2, 3, 4)
ONE_CHANGED = (0, 1, 3, 4, 5)
OTHER_FIVE = (5, 6, 7, 8, 9)

ROTATIONS: dict[str, tuple[Step, ...]] = {
    "1-of-1-key-rotation": (Step([1], 1, [1]), Step([2], 1, [2, 1]), Step([2], 1, [2])),
    "1-of-1-key-rotation-unused-signatures": (
        Step([1], 1, [3, 1, 4]),
        Step([2], 1, [3, 2, 1, 4]),
        Step([2], 1, [3, 2, 4]),
    ),
    "3-of-5-sign-with-different-keycombos": (
        Step(FIVE, 3, [0, 2, 4]),
        Step(FIVE, 3, [0, 4, 1]),
        Step(FIVE, 3, [0, 1, 3]),
        Step(FIVE, 3, [0, 1, 3]),
    ),
    "3-of-5-one-key-rotated": (Step(FIVE, 3, [0, 2, 4]), Step(ONE_CHANGED, 3, [0, 4, 1])),
    "3-of-5-one-key-rotated-with-intermediate-step": (
        Step(FIVE, 3, [0, 2, 4]),
        Step(ONE_CHANGED, 3, [0, 2, 4, 5]),
        Step(ONE_CHANGED, 3, [0, 4, 5]),
    ),
    "3-of-5-all-keys-rotated-with-intermediate-step": (
        Step(FIVE, 3, [0, 2, 4]),
        Step(OTHER_FIVE, 3, [0, 2, 4, 5, 6, 7]),
        Step(OTHER_FIVE, 3, [5, 6, 7]),
    ),
    "1-of-3-threshold-increase-to-2-of-3": (Step([1, 2, 3], 1, [1]), Step([1, 2, 3], 2, [1, 2])),
    "2-of-3-threshold-decrease-to-1-of-3": (
        Step([1, 2, 3], 2, [1, 2]),
        Step([1, 2, 3], 1, [1, 2]),
        Step([1, 2, 3], 1, [1]),
    ),
    "1-of-2-threshold-increase-to-2-of-2": (Step([1], 1, [1]), Step([1, 2], 2, [1, 2])),
    "1-of-1-key-rotation-fail-not-signed-with-old-key": (
        Step([1], 1, [1]),
        Step([2], 1, [2, 3, 4], is_good=False),
    ),
    "1-of-1-key-rotation-fail-not-signed-with-new-key": (
        Step([1], 1, [1]),
        Step([2], 1, [1, 3, 4], is_good=False),
    ),
    "3-of-5-one-key-rotate-fails-not-signed-with-3-new-keys": (
        Step(FIVE, 3, [0, 2, 4]),
        Step(ONE_CHANGED, 3, [0, 2, 4], is_good=False),
    ),
    "3-of-5-one-key-rotate-fails-not-signed-with-3-old-keys": (
        Step(FIVE, 3, [0, 2, 4]),
        Step(ONE_CHANGED, 3, [0, 4, 5], is_good=False),
    ),
    "1-of-3-threshold-bump-to-2-of-3-fails-new-threshold-not-reached": (
        Step([1, 2, 3], 1, [1]),
        Step([1, 2, 3], 2, [2], is_good=False),
    ),
    "2-of-3-threshold-decr-to-1-of-3-fails-old-threshold-not-reached": (
        Step([1, 2, 3], 2, [1, 2]),
        Step([1, 2, 3], 1, [1], is_good=False),
    ),
}


# As roots of TUF.


def tuf_key(one: f.Signer) -> SSlibKey:
    return SSlibKey(one.key_id.hex(), "ed25519", "ed25519", {"public": one.public_key.hex()})


def root_that_gives(role: str, step: Step, version: int) -> Root:
    """A root whose role has these keys; expiry is not what is judged here."""
    roles = {name: Role([], 1) for name in ("root", "timestamp", "snapshot", "targets")}
    roles[role].threshold = step.threshold
    expires = datetime.fromtimestamp(f.NOW, UTC)
    root = Root(version=version, expires=expires, keys={}, roles=roles)
    for number in step.keys:
        root.add_key(tuf_key(KEYS[number]), role)
    return root


def signed_by(step: Step, statement: Statement) -> Metadata[Statement]:
    made = Metadata(statement)
    for number in step.signers:
        made.sign(CryptoSigner(KEYS[number].private, tuf_key(KEYS[number])), append=True)
    return made


def tuf_root(version: int, step: Step) -> bytes:
    return signed_by(step, root_that_gives("root", step, version)).to_bytes()


class TufClient:
    """A client of python-tuf that was shipped with the first root."""

    def __init__(self, first: Step) -> None:
        self.trusted = TrustedMetadataSet(tuf_root(1, first), EnvelopeType.METADATA)

    def accepts(self, version: int, step: Step) -> bool:
        try:
            self.trusted.update_root(tuf_root(version, step))
        except RepositoryError:
            return False
        return True


# As trust bundles.


def demo_bundle(version: int, step: Step) -> TrustBundle:
    rights = tuple(
        replace(one, prefix=one.prefix.replace(f.PLATFORM, DEMO)) for one in f.BUNDLE.rights
    )
    return replace(
        f.bundle(roots=tuple(KEYS[number] for number in step.keys)),
        platform_id=DEMO,
        rights=rights,
        bundle_version=version,
        root_threshold=step.threshold,
    )


def demo_envelope(version: int, step: Step) -> bytes:
    bundle = demo_bundle(version, step)
    signers = tuple(KEYS[number] for number in step.signers)
    statement = f.bundle_manifest(bundle)
    path = statement.namespace.text.replace(f.PREFIX, bundle.prefix)
    statement = replace(
        statement,
        namespace=parse_namespace(path),
        signer_key_ids=tuple(sorted(one.key_id for one in signers)),
    )
    return f.signed(statement, *signers)


class OurNode:
    """The trust of a node that was enrolled with the first bundle."""

    def __init__(self, first: Step) -> None:
        content = bundle_bytes(demo_bundle(1, first))
        pinned = bundle_from_pinned(demo_envelope(1, first), content, VERIFIER)
        self.facts = replace(f.FACTS, bundle=pinned.bundle)

    def accepts(self, version: int, step: Step) -> bool:
        verified = f.admit(demo_envelope(version, step), facts=self.facts)
        if isinstance(verified, Rejection):
            return False
        content = bundle_bytes(demo_bundle(version, step))
        value = TrustGate(VERIFIER).read(verified, content, self.facts)
        if isinstance(value, Rejection):
            return False
        assert isinstance(value, TrustBundle)
        self.facts = replace(self.facts, bundle=value)
        return True


@pytest.mark.parametrize("steps", ROTATIONS.values(), ids=ROTATIONS.keys())
def test_every_rotation(steps: tuple[Step, ...]) -> None:
    oracle, node = TufClient(steps[0]), OurNode(steps[0])
    in_force = demo_bundle(1, steps[0])
    for version, step in enumerate(steps[1:], start=2):
        assert oracle.accepts(version, step) is step.is_good
        assert node.accepts(version, step) is step.is_good
        if step.is_good:
            in_force = demo_bundle(version, step)
        assert node.facts.bundle == in_force
        assert oracle.trusted.root.version == in_force.bundle_version


CO_SIGNER = f.signer("rotation co-signer")
"""A root that is in every bundle and signs each: with it one root of a demo is two of a fabric, and
every threshold is met, or missed, as without it."""


def rotated(version: int, step: Step, *before: f.Signer) -> Artifact:
    """The same rotation in the cluster of the scenes; `before` are roots of the bundle before."""
    roots = tuple(KEYS[number] for number in step.keys)
    bundle = replace(
        f.bundle(roots=(CO_SIGNER, *roots)),
        bundle_version=version,
        root_threshold=step.threshold + 1,
    )
    signers = (CO_SIGNER, *(KEYS[number] for number in step.signers), *before)
    names = tuple(sorted(one.key_id for one in signers))
    statement = replace(f.bundle_manifest(bundle), signer_key_ids=names)
    return Artifact(statement, f.signed(statement, *signers), bundle_bytes(bundle))


@pytest.mark.parametrize("steps", ROTATIONS.values(), ids=ROTATIONS.keys())
def test_every_rotation_through_a_whole_node(steps: tuple[Step, ...], tmp_path: Path) -> None:
    """A good step is durable, in force and told of; a bad one leaves a record, and the bundle in
    force where it was: here, on the disk, and with the neighbors."""
    scene = Scene().publish(routes(7), rotated(4, steps[0], *f.ROOTS[:2]))
    for version, (last, step) in enumerate(pairwise(steps), start=5):
        offered, before = rotated(version, step), scene.state
        scene.wait(2_000)
        scene.rest().caused.clear()
        if step.is_good:
            scene.offer(offered).rest()
            assert scene.codes == []
            assert scene.node.view.trust.bundle == parse_bundle(offered.content)
            assert scene.requests == [asks_content(offered)]
            assert scene.audited == [("bundle_accepted", "", "")]
            assert scene.announced == [offered.envelope]
        elif len({*step.signers} & {*last.keys}) < last.threshold:
            scene.refuses(offered, "SIG_THRESHOLD", asks_trust=True)
        else:
            stands = scene.node.view.find(offered.manifest.namespace.text)
            assert stands is not None
            dropped = put_and_dropped(offered, before.facts)
            scene.offer(offered).leaves(
                before,
                codes=["BUNDLE_INVALID"],
                requests=[asks_content(offered)],
                audited=[("artifact_rejected", "BUNDLE_INVALID", ATTACKER)],
                durable=[*dropped, PutHead(verified=stands.verified)],
                removed=[offered.content_hash],
            )
        again = scene.restarted(tmp_path / str(version))
        assert again.state.facts.bundle == scene.state.facts.bundle
        assert again.state.floors == scene.state.floors
    # One root fewer than are asked for now is too few, though the bundle before asked for fewer.
    in_force = steps[-1] if steps[-1].is_good else steps[-2]
    version = scene.node.view.trust.bundle.bundle_version + 1
    fewer = replace(in_force, signers=in_force.keys[: in_force.threshold - 1])
    scene.wait(2_000)
    scene.refuses(rotated(version, fewer), "SIG_THRESHOLD", asks_trust=True)


def test_there_are_fifteen_rotations_and_six_of_them_fail() -> None:
    assert len(ROTATIONS) == 15
    assert sum(not steps[-1].is_good for steps in ROTATIONS.values()) == 6


@pytest.mark.parametrize("version", [1, 3, 4])
def test_a_good_rotation_under_another_version_is_refused_by_both(version: int) -> None:
    first, second = ROTATIONS["1-of-1-key-rotation"][:2]
    assert not TufClient(first).accepts(version, second)
    assert not OurNode(first).accepts(version, second)


SIGNING_ROTATIONS: dict[str, Step] = {
    "1-of-1-key-rotation": Step([2], 1, [2]),
    "1-of-1-key-rotation-unused-signatures": Step([1], 1, [3, 1, 4]),
    "1-of-1-key-rotation-fail-not-signed-with-new-key": Step([2], 1, [1, 3, 4], is_good=False),
    "3-of-5-one-key-signature-wrong-not-signed-with-3-expected-keys": Step(
        ONE_CHANGED, 3, [0, 2, 4], is_good=False
    ),
    "2-of-5-one-key-signature-missing-threshold-not-reached": Step(
        ONE_CHANGED, 3, [0, 4], is_good=False
    ),
    "3-of-5-sign-first-combo": Step(FIVE, 3, [0, 2, 4]),
    "3-of-5-sign-second-combo": Step(FIVE, 3, [0, 4, 1]),
    "3-of-5-sign-third-combo": Step(FIVE, 3, [0, 1, 3]),
    "3-of-5-sign-fourth-combo": Step(FIVE, 3, [1, 2, 3]),
    "3-of-5-sign-fifth-combo": Step(FIVE, 3, [2, 3, 4]),
}
"""Of `test_non_root_rotations`: the root gives a role these keys, and these sign."""


def tuf_accepts_a_snapshot(step: Step) -> bool:
    root = root_that_gives("snapshot", step, version=1)
    made = signed_by(step, Snapshot(version=2))
    try:
        root.verify_delegate("snapshot", made.signed_bytes, made.signatures)
    except RepositoryError:
        return False
    return True


def bundle_that_gives(kind: ArtifactType, step: Step) -> TrustBundle:
    """The next bundle, in which a type belongs to these keys and no longer to others."""
    keys = tuple(KEYS[number] for number in step.keys)
    others = tuple(one for one in f.BUNDLE.rights if one.kind != kind.value)
    return replace(
        FOUR,
        keys=(*FOUR.keys, *(f.signing_key(one) for one in keys)),
        rights=(*others, f.right(kind.value, *keys, threshold=step.threshold)),
    )


@pytest.mark.parametrize(
    "kind",
    [
        ArtifactType.ROUTE_POLICY_BUNDLE,
        ArtifactType.SERVICE_ASSIGNMENT_BUNDLE,
        ArtifactType.UPDATE_MANIFEST,
    ],
)
@pytest.mark.parametrize("step", SIGNING_ROTATIONS.values(), ids=SIGNING_ROTATIONS.keys())
def test_every_rotation_of_signing_keys(step: Step, kind: ArtifactType) -> None:
    signers = tuple(KEYS[number] for number in step.signers)
    names = tuple(sorted(one.key_id for one in signers))
    statement = replace(f.manifest(kind), signer_key_ids=names)
    offered = Artifact(statement, f.signed(statement, *signers), f.CONTENT)
    scene = Scene().publish(trust(bundle_that_gives(kind, step)))
    before = scene.trusted
    scene.offer(offered)
    assert tuf_accepts_a_snapshot(step) is step.is_good
    if step.is_good:
        assert scene.codes == []
        assert scene.trusted == before | {offered.tail: (Order(2, 7), "current")}
    else:
        assert scene.codes in (["SIG_THRESHOLD"], ["KEY_UNKNOWN"])
        assert (scene.trusted, scene.durable, scene.fetched) == (before, [], [])
        assert not scene.told(offered)


# Exactly the next one, through a whole node.

FIVE_TH = replace(f.BUNDLE, bundle_version=5)
OTHER_FOUR = replace(FOUR, protocol_min=2)
UNMET = replace(FOUR, root_threshold=3)
"""Signed by two: enough for the bundle in force, too few for its own threshold."""
UNMET_NEXT_EPOCH = replace(UNMET, authority_epoch=3)


@dataclass(frozen=True)
class Attempt:
    """A bundle offered to a node, and all it may cause."""

    offered: TrustBundle
    code: str
    published: tuple[TrustBundle, ...] = ()
    is_read: bool = False
    """Admitted by the roots in force, so that its content is fetched, read and found bad."""
    is_evidence: bool = False
    """Kept, because it shows that the roots contradict themselves."""
    asks_trust: bool = False


ATTEMPTS: dict[str, Attempt] = {
    "skipped": Attempt(FIVE_TH, "VERSION_GAP", asks_trust=True),
    "lower": Attempt(replace(f.BUNDLE, bundle_version=2), "VERSION_ROLLBACK"),
    "equal, with another content": Attempt(
        replace(f.BUNDLE, protocol_min=2),
        "TRUST_FORK",
        is_evidence=True,
    ),
    "older but still signed": Attempt(
        replace(FOUR, protocol_min=2), "VERSION_ROLLBACK", published=(FOUR, FIVE_TH)
    ),
    "failed by its own threshold": Attempt(UNMET, "BUNDLE_INVALID", is_read=True),
    "failed, of the next epoch": Attempt(UNMET_NEXT_EPOCH, "BUNDLE_INVALID", is_read=True),
    "a second N+1": Attempt(
        OTHER_FOUR,
        "TRUST_FORK",
        published=(FOUR,),
        is_evidence=True,
    ),
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS.keys())
def test_exactly_next(attempt: Attempt, tmp_path: Path) -> None:
    """Whatever is refused leaves the bundle in force, no step in the chain, and no word to anybody;
    the node that starts again from its disk believes the same.

    One that the roots in force did sign has its content fetched; once that is read and found bad,
    nothing of it is left. Two of one version are a fork: the second is kept as evidence, and passed
    on as that.
    """
    offered = trust(attempt.offered)
    scene = Scene().publish(routes(7), *(trust(one) for one in attempt.published))
    rejected = ("artifact_rejected", attempt.code, ATTACKER)
    before = scene.state
    scene.offer(offered)
    if attempt.is_read:
        scene.leaves(
            before,
            codes=[attempt.code],
            requests=[asks_content(offered)],
            audited=[rejected],
            durable=put_and_dropped(offered),
            removed=[offered.content_hash],
        )
    elif attempt.is_evidence:
        is_shown = bool(attempt.published)
        both = tuple(sorted((offered.content_hash, trust(FOUR).content_hash)))
        disputed = Standing(Order(2, 4), both, "disputed")
        scene.leaves(
            with_fork(before, disputed if is_shown else None),
            codes=[attempt.code],
            audited=[rejected, ("trust_forked", "", ATTACKER), ("mode_changed", "", "")],
            durable=[PutEvidence(verified=offered.verified)],
            onward=[announcement(offered, inline=False)] if is_shown else [],
        )
    else:
        scene.leaves(
            before,
            codes=[attempt.code],
            requests=[TRUST_LANE_ASKED] if attempt.asks_trust else [],
            audited=[rejected],
        )
    again = scene.restarted(tmp_path)
    assert again.state == scene.state
    assert again.at_start.codes == ()


@pytest.mark.parametrize("failed", [UNMET, UNMET_NEXT_EPOCH], ids=["this epoch", "the next epoch"])
def test_a_failed_bundle_does_not_stand_in_the_way_of_the_right_one(failed: TrustBundle) -> None:
    """Not even with the higher order of another epoch: bundles know no floor but the one in
    force."""
    scene = Scene().offer(trust(failed))
    scene.caused.clear()
    scene.offer(trust(FOUR))
    good = trust(FOUR)
    assert scene.codes == []
    assert scene.node.view.trust.bundle == FOUR
    step = PutTrust(version=4, envelope=good.envelope, content=good.content)
    assert scene.durable == [PutHead(verified=good.verified), step]
    assert scene.told(good)


@pytest.mark.parametrize("failed", [UNMET, UNMET_NEXT_EPOCH], ids=["this epoch", "the next epoch"])
def test_a_failed_bundle_is_refused_after_a_restart_too(failed: TrustBundle) -> None:
    """Neither the row of its manifest nor a step somebody wrote into the chain makes it good."""
    bad = trust(failed)
    step = StoredTrust(version=4, envelope=bad.envelope, content=bad.content)
    for started in (
        replace(NOTHING_STORED, heads=(stored_head(bad),)),
        replace(NOTHING_STORED, trust=(step,)),
    ):
        scene = Scene(started=started)
        assert scene.node.view.trust.bundle == f.BUNDLE
        assert not scene.told(bad)


def _floor(name: str) -> StoredFloor:
    return StoredFloor(namespace=name, order=Order(2, 5), manifest_hash=ManifestHash(bytes(32)))


def test_a_node_that_lost_its_chain_climbs_it_again_under_its_floors() -> None:
    """The floor of trust bundles says 5; the chain begins again at the pinned 3."""
    name = trust(FOUR).manifest.namespace.text
    scene = Scene(started=replace(NOTHING_STORED, floors=(_floor(name),)))
    scene.offer(trust(FOUR)).offer(trust(FIVE_TH))
    assert scene.codes == []
    assert scene.node.view.trust.bundle == FIVE_TH


LEFT, RIGHT = (
    replace(f.bundle(roots=(*f.ROOTS[:2], one)), bundle_version=4)
    for one in (f.signer("left root"), f.signer("right root"))
)
"""Two N+1 in good faith: each put another root in the place of the third."""
HEALING = replace(LEFT, bundle_version=5)
HALVES = ((LEFT, RIGHT), (RIGHT, LEFT))
"""Which half of a fork a node saw first: the second one is evidence to it."""


def healing(*signers: f.Signer) -> Artifact:
    """The bundle after the fork, with these signatures."""
    names = tuple(sorted(one.key_id for one in (*f.ROOTS[:2], f.signer("left root"))))
    statement = replace(f.bundle_manifest(HEALING), signer_key_ids=names)
    return Artifact(statement, f.signed(statement, *signers), bundle_bytes(HEALING))


def forked(first: TrustBundle, second: TrustBundle) -> Scene:
    """A node with routes that saw both halves, and rested."""
    return Scene().publish(routes(7), trust(first)).offer(trust(second)).rest()


@pytest.mark.parametrize(("first", "second"), HALVES, ids=["left first", "right first"])
def test_fork_heals(first: TrustBundle, second: TrustBundle, tmp_path: Path) -> None:
    """Two N+1: the half seen first stays in force and both are shown on. Bundles do not name their
    predecessor, so one N+2 that meets the thresholds of both halves heals both, also after a
    restart in between."""
    scene = forked(first, second)
    before = Scene().publish(routes(7), trust(first)).state
    both = tuple(sorted((trust(first).content_hash, trust(second).content_hash)))
    disputed = with_fork(before, Standing(Order(2, 4), both, "disputed"))
    assert (scene.codes, scene.blamed) == (["TRUST_FORK"], ["signer"])
    scene.leaves(
        disputed,
        codes=["TRUST_FORK"],
        audited=[
            ("artifact_rejected", "TRUST_FORK", ATTACKER),
            ("trust_forked", "", ATTACKER),
            ("mode_changed", "", ""),
        ],
        durable=[PutEvidence(verified=trust(second).verified)],
        onward=[announcement(trust(second), inline=False)],
    )

    good = healing(*f.ROOTS[:2])
    standing = Standing(Order(2, 5), (good.content_hash,), "current")
    again = scene.restarted(tmp_path)
    assert again.state == disputed
    calm = replace(disputed.facts.freshness, is_disputed=False)
    healed = TrustState(
        facts=replace(disputed.facts, bundle=HEALING, previous=first, freshness=calm),
        heads=disputed.heads | {"trust/bundle": standing},
        floors=disputed.floors | {"trust/bundle": Order(2, 5)},
    )
    for node in (scene, again):
        node.caused.clear()
        node.offer(good).rest()
        assert node.codes == []
        assert node.state == healed
        assert node.requests == [asks_content(good)]
        assert node.audited == [("bundle_accepted", "", ""), ("mode_changed", "", "")]
        assert node.told(good)
        assert not node.told(trust(second))


def with_fork(before: TrustState, standing: Standing | None) -> TrustState:
    """The same trust, but for the dispute; no head where the bundle is the pinned one."""
    freshness = replace(before.facts.freshness, is_disputed=True)
    heads = {} if standing is None else {"trust/bundle": standing}
    return replace(
        before,
        facts=replace(before.facts, freshness=freshness),
        heads=before.heads | heads,
    )


def test_what_meets_one_half_only_heals_that_half_only() -> None:
    """A root of both halves and the new one of the left: the right half still waits for its own
    quorum, and takes the same bundle with the signatures that were missing."""
    lopsided = healing(f.ROOTS[0], f.signer("left root"))
    left, right = (forked(*one) for one in HALVES)
    left.offer(lopsided)
    assert left.node.view.trust.bundle == HEALING
    right.refuses(lopsided, "SIG_THRESHOLD", asks_trust=True)
    assert right.state.facts.freshness.is_disputed
    right.wait(2_000)
    right.caused.clear()
    right.offer(healing(*f.ROOTS[:2]))
    assert right.codes == []
    assert right.node.view.trust.bundle == HEALING
    assert not right.state.facts.freshness.is_disputed


def test_the_bundle_in_force_signed_again_adds_no_step_to_the_chain() -> None:
    statement = replace(trust(f.BUNDLE).manifest, issued_at=UnixTime(f.NOW - 30))
    again = Artifact(statement, f.signed(statement), trust(f.BUNDLE).content)
    scene = Scene().offer(again)
    assert scene.codes == []
    assert [type(one) for one in scene.durable] == [PutHead]
    assert scene.node.view.trust.bundle == Scene().node.view.trust.bundle
