"""Rights in every order, nested, crossing and double.

Powers: the attacker can bring the rights of a bundle, which it cannot change, into any order in
which they mean the same, and holds one signing key with a right that is narrower, wider or beside
the one it needs. In the second half it got the roots to sign a bundle that says two things at once.
"""

from dataclasses import dataclass, replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabgossip.model.artifact import ArtifactType, VerifiedManifest
from fabgossip.model.authority import Right, TrustBundle
from fabgossip.trust.bundle import right_for, succession_fault
from tests.attacks.powers import put_and_dropped
from tests.attacks.scene import ATTACKER, Scene, Standing, asks_content
from tests.core.artifacts import Artifact, routes, trust
from tests.trust import factory

KIND = ArtifactType.ROUTE_POLICY_BUNDLE
WIDE, ORG, NARROW, DEEP = (factory.signer(f"policy {n}") for n in ("wide", "org", "narrow", "deep"))
PREFIXES = {
    WIDE: factory.PREFIX,
    ORG: f"{factory.PREFIX}/org/acme",
    NARROW: f"{factory.PREFIX}/routes",
    DEEP: f"{factory.PREFIX}/routes/r1",
}
RIGHTS = tuple(factory.right(KIND.value, who, prefix=prefix) for who, prefix in PREFIXES.items())
OTHERS = tuple(one for one in factory.BUNDLE.rights if one.kind != KIND.value)
OWNER = {
    "routes/r1": DEEP,
    "routes/r10": NARROW,
    "routes/r2": NARROW,
    "org/acme/routes/r1": ORG,
    "org/acme/routes/r2": ORG,
    "org/globex/routes/r1": WIDE,
}
"""Whose word alone counts: the longest prefix, in whole segments, and no other."""


def bundle_with(*rights: Right) -> TrustBundle:
    return replace(
        factory.BUNDLE,
        bundle_version=4,
        keys=(*factory.BUNDLE.keys, *(factory.signing_key(one) for one in PREFIXES)),
        rights=rights,
    )


SORTED = bundle_with(*OTHERS, *RIGHTS)


@dataclass(frozen=True)
class Word:
    """Who spoke about what."""

    who: factory.Signer
    tail: str


WORDS = tuple(Word(who, tail) for who in PREFIXES for tail in OWNER)


def verdict(word: Word, bundle: TrustBundle) -> str:
    """What the gate says, in a word."""
    statement = replace(
        factory.manifest(KIND, word.tail), signer_key_ids=(word.who.key_id,), content_size=0
    )
    own = replace(factory.OWN, scope_ids=factory.OWN.scope_ids | {GLOBEX})
    facts = replace(factory.FACTS, bundle=bundle, own=own)
    found = factory.admit(factory.signed(statement, word.who), facts=facts)
    return "admitted" if isinstance(found, VerifiedManifest) else found.code.value


GLOBEX = factory.audience("cluster:prod", "org:globex").scope_ids[1]


def test_order_is_irrelevant() -> None:
    """Every order of the four that overlap, before and behind all others: the same verdict on every
    word of everybody."""
    expected = {
        word: "admitted" if OWNER[word.tail] is word.who else "KEY_NOT_FOR_NAMESPACE"
        for word in WORDS
    }
    for order in permutations(RIGHTS):
        for bundle in (bundle_with(*order, *OTHERS), bundle_with(*OTHERS, *order)):
            assert {word: verdict(word, bundle) for word in WORDS} == expected


@pytest.mark.parametrize("rights", [(*RIGHTS, *OTHERS), (*OTHERS, *reversed(RIGHTS))])
@pytest.mark.parametrize("who", PREFIXES, ids=lambda who: who.name)
def test_a_whole_node_hears_only_the_owner(who: factory.Signer, rights: tuple[Right, ...]) -> None:
    """The same verdicts, with all they leave: what is said outside the one right is on record and
    nowhere else."""
    scene = Scene().publish(trust(bundle_with(*rights)))
    for tail, owner in OWNER.items():
        if tail.startswith("org/globex"):
            continue  # not of this node
        scene.wait(2_000)
        statement = replace(factory.manifest(KIND, tail), signer_key_ids=(who.key_id,))
        said = Artifact(statement, factory.signed(statement, who), factory.CONTENT)
        if owner is not who:
            scene.refuses(said, "KEY_NOT_FOR_NAMESPACE", asks_trust=True)
            continue
        scene.rest().caused.clear()
        scene.offer(said).rest()
        assert (scene.codes, scene.audited) == ([], [])
        stands = Standing(statement.order, (said.content_hash,), "current")
        assert scene.state.heads[tail] == stands
        assert scene.told(said)


@given(
    st.permutations(SORTED.rights), st.sampled_from(sorted(OWNER)), st.sampled_from(ArtifactType)
)
def test_the_right_on_anything_is_the_same_in_any_order(
    rights: list[Right], tail: str, kind: ArtifactType
) -> None:
    shuffled = replace(SORTED, rights=tuple(rights))
    name = f"{factory.PREFIX}/{tail}"
    assert right_for(shuffled, kind.value, name) == right_for(SORTED, kind.value, name)


AMBIGUOUS: dict[str, tuple[Right, ...]] = {
    "twice the same": (RIGHTS[0],),
    "another key": (factory.right(KIND.value, DEEP),),
    "another threshold": (factory.right(KIND.value, WIDE, DEEP, threshold=2),),
    "at a deeper prefix": (factory.right(KIND.value, WIDE, prefix=PREFIXES[DEEP]),),
    "outside the cluster": (factory.right(KIND.value, WIDE, prefix="platform/acme-net"),),
    "of another cluster": (
        factory.right(KIND.value, WIDE, prefix="platform/acme-net/cluster/prod2"),
    ),
    "on everything": (factory.right("*", WIDE),),
    "on bundles": (factory.right(ArtifactType.TRUST_BUNDLE.value, WIDE),),
    "of nobody": (Right(kind=KIND.value, prefix=f"{factory.PREFIX}/qos", threshold=1, key_ids=()),),
    "of a stranger": (factory.right(KIND.value, factory.STRANGER, prefix=f"{factory.PREFIX}/qos"),),
}


@pytest.mark.parametrize("more", AMBIGUOUS.values(), ids=AMBIGUOUS)
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "last"])
def test_ambiguity_is_refused(more: tuple[Right, ...], is_first: bool) -> None:  # noqa: FBT001  # a case
    """Though the roots signed it: the bundle in force stands, and nobody hears of the other."""
    rights = (*more, *SORTED.rights) if is_first else (*SORTED.rights, *more)
    assert succession_fault(factory.BUNDLE, bundle_with(*rights)) is not None
    offered = trust(bundle_with(*rights))
    scene = Scene().publish(routes(7))
    before = scene.state
    scene.offer(offered).rest()
    assert scene.codes in (["BUNDLE_INVALID"], ["CONTENT_INVALID"])
    scene.leaves(
        before,
        codes=scene.codes,
        requests=[asks_content(offered)],
        audited=[("artifact_rejected", scene.codes[0], ATTACKER)],
        durable=put_and_dropped(offered),
        removed=[offered.content_hash],
    )
    assert scene.blamed == ["signer"]
    scene.link("n9")
    assert not scene.told(offered)


def test_the_same_bundle_in_good_order_is_taken() -> None:
    scene = Scene().publish(routes(7)).offer(trust(SORTED))
    # The routes held so far: the key that signed them has no right any more.
    assert scene.codes == ["KEY_NOT_FOR_TYPE"]
    assert scene.node.view.trust.bundle == SORTED
    assert ("artifact_rejected", "KEY_NOT_FOR_TYPE", ATTACKER) in scene.audited
