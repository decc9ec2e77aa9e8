"""Narrowing against biscuit, whose tokens are narrowed by appending blocks that only forbid.

The law: a request is served exactly where a biscuit would be. Claims are a token that may use the
scopes they hold; a grant is a second token with its scopes beside, for its types and manifests; a
narrowing is a block appended to either. To meet an audience is to use, of each kind it names, one
of its ids: biscuit is asked about every such choice, and one that passes is enough.

Stated differences: a storage assignment is no set of scopes to use, so none is drawn here; and
biscuit denies where it runs out of its millisecond, which a decision of ours cannot, so that limit
is raised.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import product
from typing import Final

from biscuit_auth import (
    AuthorizationError,
    AuthorizerBuilder,
    Biscuit,
    BiscuitBuilder,
    BlockBuilder,
    Fact,
    KeyPair,
    PrivateKey,
)
from hypothesis import given
from hypothesis import strategies as st

from fabgossip.model.artifact import ArtifactType, Manifest
from fabgossip.model.authority import Narrowing, NodeIdentity, Verb, VerifiedClaims, VerifiedGrant
from fabgossip.model.ids import ManifestHash
from fabgossip.model.moment import UnixTime
from fabgossip.model.scope import Entitlements, parse_scope_id
from fabgossip.trust.authorization import Object, Subject, authorize
from fabgossip.trust.identity import verify_claims
from fabgossip.wire.statements import manifest_bytes
from tests.trust import factory as f

ROOT: Final = KeyPair.from_private_key(PrivateKey("ed25519-private/" + bytes(range(32)).hex()))
PATIENCE: Final = timedelta(minutes=1)
TYPES: Final = (ArtifactType.ROUTE_POLICY_BUNDLE, ArtifactType.QOS_POLICY_BUNDLE)
CLUSTER: Final = "cluster:prod"
HELD: Final = ("role:core", "role:edge", "service:dns", "service:ntp")
"""What claims, grants, narrowings and audiences are drawn from, beside the cluster."""
IDENTITY: Final = NodeIdentity(
    node_id=f.NODE,
    certificate_hash=b"c" * 32,
    expires_at=UnixTime(f.NOW + f.DAY),
    issuer_hash=b"i" * 32,
)
CLAIMS: Final = verify_claims(
    f.signed_claims(f.claims()), (), f.NODE, f.claims_trust(), f.BOTH_CLOCKS
)


@dataclass(frozen=True)
class Case:
    """A request, in words that both sides understand."""

    held: frozenset[str]
    granted: frozenset[str] | None
    """Scopes of a grant, None without one; its types and manifests narrow it, None for all."""
    grant_types: tuple[ArtifactType, ...]
    grant_covers: bool | None
    """Whether the manifests it names include the one asked for; None if it names none."""
    narrow_scopes: frozenset[str] | None
    narrow_types: frozenset[ArtifactType] | None
    narrow_covers: bool | None
    audience: frozenset[str]
    kind: ArtifactType

    @property
    def manifest(self) -> Manifest:
        return replace(f.manifest(self.kind), audience=f.audience(*self.audience))

    @property
    def manifest_hash(self) -> ManifestHash:
        return ManifestHash(f.hash_of(manifest_bytes(self.manifest)))


def some(*extra: str) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(HELD)).map(lambda one: one | {*extra})


CASES: Final = st.builds(
    Case,
    held=some(CLUSTER),
    granted=st.none() | st.frozensets(st.sampled_from(HELD), min_size=1),
    grant_types=st.sampled_from([TYPES[:1], tuple(sorted(TYPES))]),
    grant_covers=st.sampled_from([None, True, False]),
    narrow_scopes=st.none() | some() | some(CLUSTER),
    narrow_types=st.none() | st.frozensets(st.sampled_from(TYPES)),
    narrow_covers=st.sampled_from([None, True, False]),
    audience=some(CLUSTER),
    kind=st.sampled_from(TYPES),
)


# As a request of ours.


def hashes(case: Case, covers: bool | None) -> tuple[ManifestHash, ...] | None:  # noqa: FBT001  # a field
    if covers is None:
        return None
    return (case.manifest_hash,) if covers else (ManifestHash(bytes(32)),)


def we_allow(case: Case) -> bool:
    assert isinstance(CLAIMS, VerifiedClaims)
    held = frozenset(parse_scope_id(one) for one in case.held)
    grant = narrowing = None
    if case.granted is not None:
        statement = replace(
            f.grant(),
            types=case.grant_types,
            scope_ids=tuple(sorted(parse_scope_id(one) for one in case.granted)),
            manifest_hashes=hashes(case, case.grant_covers),
        )
        grant = VerifiedGrant(grant=statement, signed_by=(f.GRANTER.key_id,))
    scopes, types = case.narrow_scopes, case.narrow_types
    narrowing = Narrowing(
        scope_ids=None if scopes is None else tuple(sorted(map(parse_scope_id, scopes))),
        types=None if types is None else tuple(sorted(types)),
        manifest_hashes=hashes(case, case.narrow_covers),
    )
    subject = Subject(
        identity=IDENTITY,
        claims=replace(CLAIMS, entitlements=Entitlements(held)),
        grant=grant,
        narrowing=narrowing,
    )
    about = Object(
        manifest=case.manifest,
        manifest_hash=case.manifest_hash,
        signed_by=case.manifest.signer_key_ids,
    )
    return authorize(subject, about, Verb.FETCH, f.FACTS, f.NOW).allow


# As biscuits.

MAY_USE: Final = "check all uses($scope), {scopes}.contains($scope)"
OF_TYPE: Final = "check if type($type), {types}.contains($type)"
OF_MANIFEST: Final = "check if manifest($hash), {hashes}.contains($hash)"
NOTHING_FORBIDS: Final = "allow if true"


def tokens(case: Case) -> Iterator[Biscuit]:
    """What the control plane signed for this node, each as the node narrows it."""
    yield attenuated(BiscuitBuilder(MAY_USE, {"scopes": set(case.held)}), case)
    if case.granted is not None:
        grant = BiscuitBuilder(MAY_USE, {"scopes": {*case.held, *case.granted}})
        grant.add_code(OF_TYPE, {"types": {one.value for one in case.grant_types}})
        named = hashes(case, case.grant_covers)
        if named is not None:
            grant.add_code(OF_MANIFEST, {"hashes": set(named)})
        yield attenuated(grant, case)


def attenuated(signed: BiscuitBuilder, case: Case) -> Biscuit:
    block = BlockBuilder("")
    if case.narrow_scopes is not None:
        block.add_code(MAY_USE, {"scopes": set(case.narrow_scopes)})
    if case.narrow_types is not None:
        block.add_code(OF_TYPE, {"types": {one.value for one in case.narrow_types}})
    named = hashes(case, case.narrow_covers)
    if named is not None:
        block.add_code(OF_MANIFEST, {"hashes": set(named)})
    return signed.build(ROOT.private_key).append(block)


def choices(audience: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Every way to meet an audience: of each kind it names, one of its ids."""
    kinds: dict[str, list[str]] = {}
    for one in sorted(audience):
        kinds.setdefault(one.partition(":")[0], []).append(one)
    return product(*kinds.values())


def biscuit_allows(case: Case) -> bool:
    return any(
        passes(token, case, used) for token in tokens(case) for used in choices(case.audience)
    )


def passes(token: Biscuit, case: Case, used: tuple[str, ...]) -> bool:
    asked = AuthorizerBuilder(NOTHING_FORBIDS)
    limits = asked.limits()  # type: ignore[attr-defined]  # its stubs leave it out
    limits.max_time = PATIENCE
    asked.set_limits(limits)  # type: ignore[attr-defined]  # as above
    for scope in used:
        asked.add_fact(Fact("uses({scope})", {"scope": scope}))
    asked.add_fact(Fact("type({type})", {"type": case.kind.value}))
    asked.add_fact(Fact("manifest({hash})", {"hash": case.manifest_hash}))
    try:
        asked.build(token).authorize()
    except AuthorizationError:
        return False
    return True


@given(CASES)
def test_a_narrowed_request_gets_what_an_attenuated_biscuit_gets(case: Case) -> None:
    assert we_allow(case) is biscuit_allows(case)


PLAIN: Final = Case(
    held=frozenset({CLUSTER, "role:edge"}),
    granted=None,
    grant_types=TYPES,
    grant_covers=None,
    narrow_scopes=None,
    narrow_types=None,
    narrow_covers=None,
    audience=frozenset({CLUSTER, "role:edge", "role:core"}),
    kind=ArtifactType.ROUTE_POLICY_BUNDLE,
)
BY_GRANT: Final = replace(
    PLAIN, held=frozenset({CLUSTER}), granted=frozenset({"role:core"}), grant_covers=True
)
NARROWED: Final = {
    "to another scope it holds": replace(PLAIN, narrow_scopes=frozenset({CLUSTER})),
    # Each side meets the audience, but by another id: what is left of the claims does not.
    "to a scope it does not hold": replace(PLAIN, narrow_scopes=frozenset({CLUSTER, "role:core"})),
    "to nothing": replace(PLAIN, narrow_scopes=frozenset()),
    "to another type": replace(PLAIN, narrow_types=frozenset(TYPES[1:])),
    "to another manifest": replace(PLAIN, narrow_covers=False),
    "the grant, to what the claims hold": replace(BY_GRANT, narrow_scopes=frozenset({CLUSTER})),
    "a grant of another type": replace(BY_GRANT, kind=TYPES[1], grant_types=TYPES[:1]),
    "a grant of another manifest": replace(BY_GRANT, grant_covers=False),
}


def test_what_is_not_narrowed_is_allowed_by_both() -> None:
    for case in (PLAIN, BY_GRANT):
        assert we_allow(case)
        assert biscuit_allows(case)


def test_each_way_to_narrow_takes_it_from_both() -> None:
    for name, case in NARROWED.items():
        assert not we_allow(case), name
        assert not biscuit_allows(case), name


def test_a_block_appended_to_a_biscuit_opens_nothing() -> None:
    """As a narrowing that names more than the claims hold opens nothing."""
    wider = replace(
        PLAIN, held=frozenset({CLUSTER}), narrow_scopes=frozenset({CLUSTER, "role:edge"})
    )
    assert not we_allow(wider)
    assert not biscuit_allows(wider)
