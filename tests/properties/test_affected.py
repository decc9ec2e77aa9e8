"""What a change of the facts does not affect is judged as before, whatever the facts were."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeAlias, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from fabgossip.core.affected import affected_by
from fabgossip.model.artifact import ArtifactType, VerifiedManifest
from fabgossip.model.authority import (
    ContentCap,
    KeyStatus,
    RevokedKind,
    Right,
    SigningKey,
    TrustBundle,
)
from fabgossip.model.scope import Entitlements, matches, parse_scope_id
from fabgossip.trust.facts import TrustFacts
from fabgossip.trust.gate import TrustGate
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.trust.revocation import Revoked
from fabgossip.trust.signatures import Ed25519Verifier
from tests.trust import factory

T = TypeVar("T")
VERIFIER: Final = Ed25519Verifier()
SIGNERS: Final = (factory.POLICY, *(factory.signer(f"policy {one}") for one in (2, 3)))
KINDS: Final = (ArtifactType.ROUTE_POLICY_BUNDLE, ArtifactType.SERVICE_ASSIGNMENT_BUNDLE)
TAILS: Final = {
    "routes/r1": KINDS[0],
    "org/acme/routes/r1": KINDS[0],
    "services/s1": KINDS[1],
    "org/globex/services/web": KINDS[1],
}
PREFIXES: Final = (factory.PREFIX, f"{factory.PREFIX}/org/acme", f"{factory.PREFIX}/org/globex")
ORG_ACME: Final = frozenset({parse_scope_id("org:acme")})
LEAST_SIZE: Final = len(factory.CONTENT) - 1

Draw: TypeAlias = Callable[[st.SearchStrategy[T]], T]
some_signers: Final = st.sets(st.sampled_from(range(len(SIGNERS))), min_size=1)


@st.composite
def statements(draw: Draw[Any]) -> VerifiedManifest:
    """Signed by some, which need not be those it names; one in five has expired."""
    tail = draw(st.sampled_from(sorted(TAILS)))
    named = draw(some_signers)
    signed_by = named | draw(st.sets(st.sampled_from(range(len(SIGNERS)))))
    if draw(st.integers(0, 4)) == 0:
        signed_by = draw(some_signers)
    made = factory.manifest(TAILS[tail], tail)
    made = replace(
        made,
        signer_key_ids=tuple(sorted(SIGNERS[one].key_id for one in named)),
        expires_at=draw(st.sampled_from([made.expires_at] * 4 + [factory.NOW])),
    )
    signers = sorted((SIGNERS[one] for one in signed_by), key=lambda one: one.key_id)
    raw = factory.signed(made, *signers)
    return VerifiedManifest(
        manifest=made,
        manifest_hash=factory.parts(raw).manifest_hash,
        envelope=raw,
        signed_by=(),
        threshold=1,
    )


@st.composite
def keys(draw: Draw[Any]) -> tuple[SigningKey, ...]:
    """Most of them good."""
    return tuple(
        replace(
            factory.signing_key(one),
            status=draw(st.sampled_from([KeyStatus.ACTIVE] * 9 + [*KeyStatus])),
            not_after=factory.NOW + draw(st.sampled_from([1] * 9 + [-1])) * factory.DAY,
        )
        for one in SIGNERS
    )


@st.composite
def rights(draw: Draw[Any]) -> tuple[Right, ...]:
    """Mostly one on all of a kind, and sometimes others below it."""
    found = []
    for kind in KINDS:
        for prefix, often in zip(PREFIXES, (6, 1, 1), strict=True):
            if draw(st.integers(0, 5)) < often:
                chosen = [SIGNERS[one] for one in sorted(draw(some_signers))]
                threshold = min(draw(st.sampled_from([1, 1, 2])), len(chosen))
                found.append(factory.right(kind.value, *chosen, threshold=threshold, prefix=prefix))
    return tuple(found)


caps: Final = st.sampled_from(
    [()] * 4 + [*((ContentCap(artifact_type=one, size_max=LEAST_SIZE),) for one in KINDS)]
)
PARTS: Final = {"keys": keys(), "rights": rights(), "content_caps": caps}
"""Of a bundle, each drawn for itself."""
entitlements: Final = st.sampled_from(
    [
        factory.OWN,
        factory.OWN,
        replace(factory.OWN, assignments=()),
        replace(factory.OWN, scope_ids=frozenset(factory.OWN.scope_ids) - ORG_ACME),
        Entitlements(frozenset()),
    ]
)
epochs: Final = st.sampled_from([factory.BUNDLE.authority_epoch] * 9 + [3])


def lists(verified: VerifiedManifest) -> st.SearchStrategy[Revoked]:
    """What may be revoked, of this statement and of others."""
    named = [
        *((RevokedKind.SIGNING_KEY, one.key_id) for one in SIGNERS),
        (RevokedKind.MANIFEST, verified.manifest_hash),
        (RevokedKind.CONTENT, verified.manifest.content_hash),
        (RevokedKind.NODE, bytes(32)),
    ]
    values = st.sampled_from([frozenset(), *(frozenset({one}) for one in named)])
    return values.map(lambda one: Revoked(5, one))


@st.composite
def other_signers(draw: Draw[Any], bundle: TrustBundle) -> TrustBundle:
    """Its rights, held by others, or by more or fewer of the same together."""
    changed = []
    for one in bundle.rights:
        chosen = {SIGNERS[number].key_id for number in draw(some_signers)}
        if draw(st.booleans()):
            changed.append(replace(one, threshold=draw(st.integers(1, len(one.key_ids)))))
        elif len(chosen) >= one.threshold:
            changed.append(replace(one, key_ids=tuple(sorted(chosen))))
        else:
            changed.append(one)
    return replace(bundle, rights=tuple(changed))


@st.composite
def changed(draw: Draw[Any], verified: VerifiedManifest, facts: TrustFacts) -> TrustFacts:
    """The facts, with one thing another."""
    bundle = facts.bundle
    what = draw(st.sampled_from([*PARTS, "signers", "authority_epoch", "own", "revoked"]))
    if what == "own":
        return replace(facts, own=draw(entitlements))
    if what == "revoked":
        return replace(facts, revoked=draw(lists(verified)))
    if what == "signers":
        bundle = draw(other_signers(bundle))
    elif what == "authority_epoch":
        bundle = replace(bundle, authority_epoch=bundle.authority_epoch + 1)
    else:
        bundle = replace(bundle, **{what: draw(PARTS[what])})
    return replace(facts, bundle=bundle)


@st.composite
def changes(draw: Draw[Any]) -> tuple[VerifiedManifest, TrustFacts, TrustFacts]:
    """A statement, and facts of which one thing became another, and sometimes a second one: several
    at once would hide one another."""
    verified = draw(statements())
    drawn = {name: draw(one) for name, one in PARTS.items()}
    bundle = replace(factory.BUNDLE, authority_epoch=draw(epochs), **drawn)
    before = replace(
        factory.FACTS, bundle=bundle, own=draw(entitlements), revoked=draw(lists(verified))
    )
    after = draw(changed(verified, before))
    if draw(st.integers(0, 3)) == 0:
        after = draw(changed(verified, after))
    return verified, before, after


def standing(verified: VerifiedManifest, facts: TrustFacts) -> str:
    """What becomes of a head that says this."""
    verdict = TrustGate(VERIFIER).recall(verified.envelope, facts, factory.NOW)
    if not isinstance(verdict, Rejection):
        is_applied = matches(verified.manifest.audience, facts.own)
        return "applied" if is_applied else "stored"
    stays = {RejectionCode.EXPIRED, RejectionCode.EPOCH_STALE}
    if not facts.own.scope_ids:
        stays.add(RejectionCode.AUDIENCE_NOT_OURS)
    return verdict.code.value if verdict.code in stays else "lost"


@given(changes())
@settings(max_examples=1_000, deadline=None)  # fewer miss some parts: each was left out to see
def test_what_is_not_affected_stands_as_before(
    change: tuple[VerifiedManifest, TrustFacts, TrustFacts],
) -> None:
    verified, before, after = change
    is_affected = affected_by(before, after)
    if is_affected is None or not is_affected(verified):
        assert standing(verified, before) == standing(verified, after)
