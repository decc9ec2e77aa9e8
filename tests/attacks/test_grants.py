"""A fetch grant in the wrong hands, or in the right ones once too often.

Powers: the attacker sees every grant ever issued, has members' certificates of its own, keeps what
it was granted, restarts or steps the clock of the node it asks, and asks as often as it likes.
"""

from dataclasses import replace
from hashlib import sha256
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabgossip.core.effects import Persist, ServeContent
from fabgossip.core.events import LinkId, Persisted
from fabgossip.core.grants import GRANTS_MAX, REMEMBERED_S, GrantUses
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import FetchGrant, Narrowing, RevokedKind, Verb
from fabgossip.model.ids import ClusterId, NodeId
from fabgossip.model.messages import GetContent
from fabgossip.model.moment import Duration, Instant, Now, later, seconds_after
from fabgossip.model.persistence import PutGrantUse, StoredGrantUse
from fabgossip.model.scope import parse_scope_id
from fabgossip.trust.grants import narrowed, widened
from fabgossip.trust.rejections import Rejection
from fabgossip.trust.revocation import grant_token
from tests.attacks.powers import ask, remains, revokes
from tests.attacks.scene import Scene
from tests.core.artifacts import Artifact, acme_routes, artifact, revocations, trust
from tests.core.story import NOTHING_STORED, Peer, identity
from tests.trust import factory

HOLDER: Final = NodeId("n6")
GATEWAYS: Final = artifact(
    ArtifactType.ROUTE_POLICY_BUNDLE,
    "routes/gw",
    content=b"for gateways",
    audience=factory.audience("cluster:prod", "role:gateway"),
)
OTHER: Final = artifact(
    ArtifactType.QOS_POLICY_BUNDLE,
    "qos/gw",
    content=b"shaping of gateways",
    audience=factory.audience("cluster:prod", "role:gateway"),
)
OTHER_HASH: Final = factory.parts(OTHER.envelope).manifest_hash
GOOD: Final = replace(
    factory.grant(), node_id=HOLDER, certificate_hash=identity(HOLDER).certificate_hash
)


class Vault(Scene):
    """A node that holds something for gateways, and a holder who is none but has a grant."""

    def __init__(self, **memory: object) -> None:
        started = replace(
            NOTHING_STORED,
            memory=replace(NOTHING_STORED.memory, **memory),  # type: ignore[arg-type]  # by name
        )
        super().__init__(started=started, roles=("edge", "gateway"))
        self.gateway = self.link(Peer(name="n8", roles=("gateway", "edge")))
        self.holder = self.link(Peer(name=HOLDER, shows=()))
        for one in (GATEWAYS, OTHER):
            self.accept(one, self.gateway)
        self.rest().caused.clear()

    def asks(
        self,
        grant: bytes,
        *artifacts: Artifact,
        link: LinkId | None = None,
        narrowing: Narrowing | None = None,
    ) -> list[int]:
        """The places of one request that are answered with content."""
        items = tuple(ask(one) for one in artifacts or (GATEWAYS,))
        message = GetContent(items=items, grant=grant, narrowing=narrowing)
        self.hear(self.holder if link is None else link, message, stream=1)
        for put in self.find(Persist):
            assert self.find(ServeContent) == []
            self.when(Persisted(token=put.token, ok=True))
        return [item.item for one in self.find(ServeContent) for item in one.items]

    def refuses_grant(self, grant: bytes, *, who: str = HOLDER, link: LinkId | None = None) -> None:
        """Denied, recorded as a bad grant and as a fetch without one, and nothing else."""
        before = self.state
        self.caused.clear()
        assert self.asks(grant, link=link) == []
        denied = [("fetch_denied", check, who) for check in ("GRANT_INVALID", "artifact_scope")]
        remains(self, before, audited=denied)


def test_a_good_grant_opens_what_it_names_once_its_use_is_durable() -> None:
    scene = Vault()
    assert scene.asks(b"") == []
    assert scene.asks(factory.signed_grant(GOOD)) == [0]
    forget_at = seconds_after(GOOD.expires_at, REMEMBERED_S)
    use = PutGrantUse(grant_id=GOOD.grant_id, uses=1, forget_at=forget_at)
    assert scene.durable == [use]
    assert scene.asks(factory.signed_grant(GOOD), OTHER) == []


def misuse(**fields: object) -> FetchGrant:
    return replace(GOOD, **fields)  # type: ignore[arg-type]  # by name


MISUSED: dict[str, bytes] = {
    "forged": factory.signed_grant(GOOD, factory.STRANGER),
    "signed by a key for something else": factory.signed_grant(GOOD, factory.CLAIMER),
    "stolen from another node": factory.signed_grant(misuse(node_id=NodeId("n8"))),
    "of another certificate of the node": factory.signed_grant(
        misuse(certificate_hash=sha256(b"renewed").digest())
    ),
    "of another cluster": factory.signed_grant(misuse(cluster_id=ClusterId("test"))),
    "of the epoch before": factory.signed_grant(misuse(authority_epoch=1)),
    "of the next epoch": factory.signed_grant(misuse(authority_epoch=3)),
    "late": factory.signed_grant(misuse(expires_at=factory.NOW)),
    "early": factory.signed_grant(misuse(not_before=seconds_after(factory.NOW, 1))),
    "ahead of our bundle": factory.signed_grant(misuse(min_trust_version=4)),
    "ahead of our list": factory.signed_grant(misuse(min_revocation_version=2)),
    "cut short": factory.signed_grant(GOOD)[:-1],
    "claims in its place": factory.signed_claims(factory.claims()),
}


@pytest.mark.parametrize("grant", MISUSED.values(), ids=MISUSED)
def test_misuse(grant: bytes) -> None:
    Vault().refuses_grant(grant)


def test_stolen_it_is_worth_nothing_on_any_other_link() -> None:
    scene = Vault()
    thief = scene.link(Peer(name="n7", shows=()))
    good = factory.signed_grant(GOOD)
    scene.refuses_grant(good, who="n7", link=thief)
    assert scene.asks(good) == [0]
    scene.refuses_grant(good, who="n7", link=thief)


WIDENED: dict[str, FetchGrant] = {
    "to a type it does not name": misuse(types=(ArtifactType.QOS_POLICY_BUNDLE,)),
    "to a scope it does not name": misuse(scope_ids=(parse_scope_id("role:core"),)),
    "to a manifest it does not name": misuse(manifest_hashes=(OTHER_HASH,)),
    "to a verb it does not name": misuse(verbs=(Verb.KNOW,)),
}  # fmt: skip


@pytest.mark.parametrize("grant", WIDENED.values(), ids=WIDENED)
def test_it_opens_no_more_than_it_names(grant: FetchGrant) -> None:
    scene = Vault()
    before = scene.state
    assert scene.asks(factory.signed_grant(grant)) == []
    assert scene.state == before
    assert [event for event, _, _ in scene.audited] == ["grant_used", "fetch_denied"]
    assert scene.onward == []


def test_it_opens_no_organisation() -> None:
    scene = Vault()
    scene.accept(acme_routes(), scene.gateway)
    assert scene.asks(factory.signed_grant(GOOD), acme_routes(), GATEWAYS) == [1]


def test_overused_it_is_refused_also_after_a_restart() -> None:
    good = factory.signed_grant(GOOD)
    scene = Vault()
    for _ in range(GOOD.max_uses):
        assert scene.asks(good) == [0]
    scene.refuses_grant(good)
    uses = [one for rows in scene.commits for one in rows if isinstance(one, PutGrantUse)]
    assert [one.uses for one in uses] == [1, 2, 3]
    stored = StoredGrantUse(
        grant_id=GOOD.grant_id, uses=uses[-1].uses, forget_at=uses[-1].forget_at
    )
    Vault(grant_uses=(stored,)).refuses_grant(good)


def test_a_use_that_is_not_durable_serves_nothing() -> None:
    scene = Vault()
    scene.hear(
        scene.holder, GetContent(items=(ask(GATEWAYS),), grant=factory.signed_grant(GOOD)), 1
    )
    assert scene.find(ServeContent) == []
    scene.persisted(ok=False)
    assert scene.find(ServeContent) == []


def test_revoked_it_is_refused_whoever_signed_it() -> None:
    for entry in (
        revokes(RevokedKind.GRANT, grant_token(GOOD.grant_id)),
        revokes(RevokedKind.SIGNING_KEY, factory.GRANTER.key_id),
    ):
        scene = Vault()
        assert scene.asks(factory.signed_grant(GOOD)) == [0]
        scene.accept(revocations(8, entry), scene.gateway)
        scene.rest()
        scene.refuses_grant(factory.signed_grant(GOOD))


def test_a_new_epoch_voids_it() -> None:
    scene = Vault()
    scene.accept(trust(replace(factory.BUNDLE, bundle_version=4, authority_epoch=3)), scene.gateway)
    before = scene.state
    scene.caused.clear()
    assert scene.asks(factory.signed_grant(GOOD)) == []
    assert ("fetch_denied", "GRANT_INVALID", HOLDER) in scene.audited
    assert (scene.state, scene.durable) == (before, [])


def test_in_a_degraded_mode_none_is_taken() -> None:
    """Stale, or with a clock nobody believes; partitioned only if it was issued before."""
    late = misuse(
        not_before=seconds_after(factory.NOW, 3_600), expires_at=seconds_after(factory.NOW, 4_200)
    )
    stale = Vault()
    stale.wait(factory.HOUR * 1_000 + 1_000)
    assert stale.asks(factory.signed_grant(late)) == []
    assert ("fetch_denied", "GRANT_INVALID", HOLDER) in stale.audited
    for step in (-3_600, -31, 31):
        stepped = Vault().step_clock(step)
        assert isinstance(stepped, Vault)
        assert stepped.asks(factory.signed_grant(GOOD)) == []
        assert ("fetch_denied", "GRANT_INVALID", HOLDER) in stepped.audited
        assert stepped.durable == []


def test_stepping_back_extends_nothing() -> None:
    """Neither by seconds nobody notices, nor by as many small steps as it takes."""
    scene = Vault()
    good = factory.signed_grant(GOOD)
    assert scene.asks(good) == [0]
    for _ in range(30):
        scene.wait(10_000).step_clock(-10)
    assert scene.now.unix == factory.NOW
    assert scene.asks(good) == []
    assert ("fetch_denied", "GRANT_INVALID", HOLDER) in scene.audited


def uses_at(count: int) -> GrantUses:
    uses = GrantUses()
    uses.on_started(
        tuple(
            StoredGrantUse(
                grant_id=number.to_bytes(16), uses=1, forget_at=seconds_after(GOOD.expires_at, 120)
            )
            for number in range(count)
        )
    )
    return uses


def test_beyond_the_limit_new_ones_are_refused_and_old_ones_never_forgotten() -> None:
    now = Now(instant=Instant(0), unix=factory.NOW)
    assert isinstance(uses_at(GRANTS_MAX - 1).next_use(GOOD, now), PutGrantUse)
    full = uses_at(GRANTS_MAX)
    assert isinstance(full.next_use(GOOD, now), Rejection)
    known = replace(GOOD, grant_id=(0).to_bytes(16), max_uses=2)
    assert isinstance(full.next_use(known, now), PutGrantUse)
    assert isinstance(full.next_use(known, now), Rejection)
    after = later(now.instant, Duration((300 + REMEMBERED_S) * 1_000))
    ended = Now(instant=after, unix=seconds_after(GOOD.expires_at, REMEMBERED_S))
    fresh = replace(GOOD, expires_at=seconds_after(ended.unix, 60))
    assert isinstance(full.next_use(fresh, ended), PutGrantUse)


SCOPES: Final = st.sets(
    st.sampled_from(["cluster:prod", "org:acme", "role:edge", "role:gateway", "service:dns"])
).map(lambda one: tuple(sorted(parse_scope_id(text) for text in one)))


@given(SCOPES, SCOPES, SCOPES)
def test_narrowing_only_narrows(
    granted: tuple[object, ...], first: tuple[object, ...], second: tuple[object, ...]
) -> None:
    """Whatever order, however often: never more than before, and twice is the intersection."""
    held = widened(factory.OWN, replace(GOOD, scope_ids=granted))  # type: ignore[arg-type]  # scope ids
    one, two = (Narrowing(scope_ids=ids) for ids in (first, second))  # type: ignore[arg-type]  # scope ids
    less = narrowed(held, one)
    assert less.scope_ids <= held.scope_ids
    assert set(less.assignments) <= set(held.assignments)
    assert narrowed(less, two) == narrowed(narrowed(held, two), one)
    assert narrowed(less, one) == less
    assert narrowed(held, None) == held


def test_a_narrowed_request_uses_less_of_its_grant() -> None:
    scene = Vault()
    good = factory.signed_grant(GOOD)
    left_out = (
        Narrowing(scope_ids=(parse_scope_id("cluster:prod"),)),
        Narrowing(types=(ArtifactType.QOS_POLICY_BUNDLE,)),
        Narrowing(manifest_hashes=()),
    )
    assert scene.asks(good, narrowing=left_out[0]) == []
    assert scene.asks(good, narrowing=left_out[1]) == []
    assert scene.asks(good, narrowing=replace(left_out[2], types=None)) == []
