"""A node of two organisations as a bridge between them.

Powers: the attacker is a member of one organisation, A, and knows every manifest hash and content
hash of the other, B, where the very same bytes are in use. It asks in any order, for both at once,
and may narrow its own requests. In the second half it is a signer with a right in A.
"""

from dataclasses import replace

import pytest

from fabgossip.core.effects import ReceiveContent, Record, Send, ServeContent
from fabgossip.core.events import LinkId
from fabgossip.model.artifact import ArtifactType, Order
from fabgossip.model.authority import Narrowing
from fabgossip.model.messages import Announce, GetContent, Have, Heads, Manifests
from fabgossip.model.scope import ScopeId, parse_scope_id
from tests.attacks.powers import ACME, BOTH_ORGS, ask, in_org
from tests.attacks.scene import Scene
from tests.core.artifacts import Artifact, sealed, trust
from tests.core.story import Peer
from tests.trust import factory

OURS, THEIRS = in_org("acme"), in_org("globex")
HIDDEN = sealed(
    factory.manifest(ArtifactType.ROUTE_POLICY_BUNDLE, "org/globex/routes/r2"), b"theirs alone"
)
CLUSTER = parse_scope_id("cluster:prod")


class Bridge(Scene):
    """A node of both organisations; an attacker of the first, an honest member of both."""

    def __init__(self) -> None:
        super().__init__(holds=BOTH_ORGS)
        self.outsider = self.link(Peer(name="n7", holds=(ACME,), shows=(ACME,)))
        self.both = self.link(Peer(name="n8", holds=BOTH_ORGS, shows=BOTH_ORGS))
        self.caused.clear()
        for one in (OURS, THEIRS, HIDDEN):
            self.accept(one, self.both)
        self.rest().caused.clear()

    def served(
        self, link: LinkId, *artifacts: Artifact, narrowing: Narrowing | None = None
    ) -> list[int]:
        """The places in one request that are answered with content."""
        items = tuple(ask(one) for one in artifacts)
        self.hear(link, GetContent(items=items, narrowing=narrowing), stream=1)
        return [item.item for one in self.find(ServeContent) for item in one.items]


@pytest.mark.parametrize("first", [OURS, THEIRS], ids=["own first", "other first"])
def test_two_orgs(first: Artifact) -> None:
    """The bytes are the same, the right is not: what is asked under B's manifest is refused, before
    and after the same bytes were served under A's."""
    scene = Bridge()
    before = scene.state
    second = THEIRS if first is OURS else OURS
    for artifact in (first, second, first):
        assert scene.served(scene.outsider, artifact) == ([0] if artifact is OURS else [])
    assert scene.served(scene.outsider, OURS, THEIRS) == [0]
    assert scene.served(scene.outsider, THEIRS, OURS) == [1]
    # Nor are other bytes served under the manifest it may know.
    crossed = replace(ask(HIDDEN), manifest_hash=ask(OURS).manifest_hash)
    scene.hear(scene.outsider, GetContent(items=(crossed,)), stream=1)
    assert scene.find(ServeContent) == []
    denied = [dict(one.fields) for one in scene.caused if isinstance(one, Record)]
    assert {(one["peer"], one["check"]) for one in denied} == {("n7", "artifact_scope")}
    scene.leaves(
        before,
        audited=[("fetch_denied", "artifact_scope", "n7")] * len(denied),
    )


def narrowed_to(org: str) -> Narrowing:
    return Narrowing(scope_ids=tuple(sorted((CLUSTER, ScopeId(f"org:{org}")))))


@pytest.mark.parametrize("org", ["acme", "globex"])
def test_a_request_narrowed_to_one_never_yields_the_other(org: str) -> None:
    """Even of who is entitled to both: an answer never mixes two organisations."""
    scene = Bridge()
    before = scene.state
    wanted, other = (OURS, THEIRS) if org == "acme" else (THEIRS, OURS)
    assert scene.served(scene.both, wanted, other) == [0, 1]
    assert scene.served(scene.both, wanted, other, narrowing=narrowed_to(org)) == [0]
    assert scene.served(scene.both, other, narrowing=narrowed_to(org)) == []
    assert scene.served(scene.outsider, THEIRS, narrowing=narrowed_to("globex")) == []
    scene.leaves(before, audited=[("fetch_denied", "artifact_scope", who) for who in
                                    ("n8", "n8", "n7")])  # fmt: skip


def test_what_was_shown_on_one_link_speaks_for_no_other() -> None:
    """The same node, on another link where it shows less, is entitled to less."""
    scene = Bridge()
    before = scene.state
    assert scene.served(scene.both, THEIRS) == [0]
    again = scene.link(Peer(name="n9", holds=BOTH_ORGS, shows=(ACME,)))
    scene.caused.clear()
    assert scene.served(again, THEIRS) == []
    assert scene.served(again, OURS) == [0]
    scene.leaves(before, audited=[("fetch_denied", "artifact_scope", "n9")])


def test_a_peer_is_asked_only_under_a_manifest_it_may_know() -> None:
    """The other way round: this node never names B's manifest to a member of A, though that one has
    the bytes."""
    scene = Scene(holds=BOTH_ORGS)
    outsider = scene.link(Peer(name="n7", holds=(ACME,), shows=(ACME,)))
    both = scene.link(Peer(name="n8", holds=BOTH_ORGS, shows=BOTH_ORGS))
    scene.caused.clear()
    scene.announce(THEIRS, both).persisted()
    wanted = [one for one in scene.caused if isinstance(one, ReceiveContent)]
    assert [one.link for one in wanted] == [both]
    scene.announce(OURS, outsider).persisted()
    asked = [one for one in scene.caused if isinstance(one, ReceiveContent)]
    assert [one.link for one in asked] == [both]
    sent = [one.message for one in scene.caused if isinstance(one, Send) and one.link == outsider]
    assert [one for one in sent if isinstance(one, Announce | Have | Heads | Manifests)] == []


POLICY_OF_ACME = factory.signer("policy of acme")


def test_a_right_in_one_place_is_none_in_another() -> None:
    """A signer trusted for one prefix signs for its neighbor; before, after, and in between its
    right statements are believed."""
    bundle = replace(
        factory.BUNDLE,
        bundle_version=4,
        keys=(*factory.BUNDLE.keys, factory.signing_key(POLICY_OF_ACME)),
        rights=(
            *factory.BUNDLE.rights,
            factory.right(
                ArtifactType.ROUTE_POLICY_BUNDLE.value,
                POLICY_OF_ACME,
                prefix=f"{factory.PREFIX}/routes/r1",
            ),
        ),
    )
    names = (POLICY_OF_ACME.key_id,)

    def by_acme(tail: str, version: int) -> Artifact:
        one = factory.manifest(ArtifactType.ROUTE_POLICY_BUNDLE, tail)
        one = replace(one, signer_key_ids=names, config_version=version)
        right = sealed(one, b"routes %d" % version)
        return Artifact(
            right.manifest, factory.signed(right.manifest, POLICY_OF_ACME), right.content
        )

    scene = Scene().publish(trust(bundle))
    scene.refuses(by_acme("routes/r2", 8), "KEY_NOT_FOR_NAMESPACE", asks_trust=True)
    scene.publish(by_acme("routes/r1", 7))
    assert scene.trusted["routes/r1"] == (Order(2, 7), "current")
    scene.wait(2_000)
    scene.refuses(by_acme("routes/r2", 9), "KEY_NOT_FOR_NAMESPACE", asks_trust=True)
    scene.wait(2_000)
    scene.refuses(by_acme("routes/r10", 9), "KEY_NOT_FOR_NAMESPACE", asks_trust=True)
