"""A storage node that would rather write than keep.

Powers: the attacker has a storage node: its certificate and key, its audit key, its signed claims
with a storage assignment, and every artifact it stores. It can sign with whatever it has, invent
versions, and ask and tell anybody anything.
"""

from dataclasses import replace

import pytest

from fabgossip.core.effects import ReceiveContent, Send, ServeContent
from fabgossip.core.events import LinkId
from fabgossip.model.artifact import ArtifactType, Base
from fabgossip.model.authority import ClaimItem, Opening
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import (
    Announce,
    Claims,
    GetContent,
    Holdings,
    HoldingsEntry,
    HoldingsMode,
)
from fabgossip.model.persistence import PutClaimsSeen
from fabgossip.model.scope import StorageAssignment, parse_scope_id
from fabgossip.wire.statements import manifest_bytes
from tests.attacks.powers import BOTH_ORGS, ask, withholds
from tests.attacks.scene import Scene
from tests.core.artifacts import EVERYBODY, Artifact, acme_routes, artifact, peers, record, routes
from tests.core.story import Peer, handed_over
from tests.trust import factory

STORES = factory.ASSIGNMENT_OPENING
"""Services of globex, for this cluster."""
EVIL = NodeId("n5")
KEYS = {
    "its audit key": factory.AUDITOR,
    "a key of its own": factory.STRANGER,
    "two of its own": factory.signer("another of n5"),
}


def newer(kind: ArtifactType) -> Artifact:
    statement = replace(factory.manifest(kind), config_version=99)
    if kind is ArtifactType.SNAPSHOT_INCREMENT:
        before, after = factory.hash_of(b"a"), factory.hash_of(b"b")
        base = Base(version=98, content_hash=before, result_hash=after, result_size=1)
        statement = replace(statement, base=base)
    if kind is ArtifactType.TRUST_BUNDLE:
        statement = replace(statement, config_version=4)
    return Artifact(statement, b"", b"")


def signed_by(
    one: Artifact, *keys: factory.Signer, names: tuple[factory.Signer, ...] = ()
) -> Artifact:
    """Signed by these, and naming them, or others, as its signers."""
    ids = tuple(sorted(key.key_id for key in names or keys))
    statement = replace(one.manifest, signer_key_ids=ids)
    return Artifact(statement, factory.signed(statement, *keys), one.content)


@pytest.mark.parametrize("kind", ArtifactType)
@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_cannot_author(kind: ArtifactType, key: factory.Signer) -> None:
    """No key of a node has a right: of all ten types a version it made up is refused, whoever it
    says signed it."""
    authors = factory.SIGNERS_OF[kind]
    scene = Scene().publish(routes(7))
    keys = (key, factory.AUDITOR) if key.name.startswith("another") else (key,)
    forged = signed_by(newer(kind), *keys)
    scene.refuses(forged, "KEY_UNKNOWN", asks_trust=True)
    claims_another = stolen_name(newer(kind), key, authors)
    before = scene.state
    scene.caused.clear()
    scene.offer(claims_another)
    scene.leaves(
        before, codes=["SIG_INVALID"], audited=[("artifact_rejected", "SIG_INVALID", "n2")]
    )
    assert scene.blamed == ["peer"]


def stolen_name(
    one: Artifact, key: factory.Signer, authors: tuple[factory.Signer, ...]
) -> Artifact:
    """Its own signature under the ids of those who may sign."""
    ids = tuple(sorted(author.key_id for author in authors))
    statement = replace(one.manifest, signer_key_ids=ids)
    kind, payload = statement.artifact_type.payload_kind, manifest_bytes(statement)
    impostors = tuple(replace_id(key, author) for author in authors)
    return Artifact(statement, factory.sealed(kind, payload, *impostors), b"")


def replace_id(key: factory.Signer, author: factory.Signer) -> factory.Signer:
    """Signs with one key and says it was another."""
    return factory.Signer(key.name, key.private, author.public_key)


WIDER = {
    "an organisation": factory.opening(ClaimItem(scope="org:acme"), 40),
    "a service": factory.opening(ClaimItem(scope="service:dns"), 41),
    "another type": factory.opening(
        ClaimItem(
            assignment=StorageAssignment(factory.ASSIGNMENT.scope_ids, ("route_policy_bundle",))
        ),
        42,
    ),
    "everything": factory.opening(
        ClaimItem(
            assignment=StorageAssignment((parse_scope_id("cluster:prod"),), tuple(ArtifactType))
        ),
        43,
    ),
    "its own item with another salt": factory.opening(STORES.item, 44),
}


def storage_node(scene: Scene, *more: Opening) -> LinkId:
    return scene.link(Peer(name=EVIL, holds=(STORES,), shows=(STORES, *more), roles=("member",)))


def stored() -> Scene:
    """A node of two organisations that has something of each, and something for the cluster."""
    listed = peers(record("n1"), record(EVIL), scope="org:globex", below="org/globex/")
    # It shows the organisation to who is listed there.
    scene = Scene(holds=(*BOTH_ORGS, *factory.OPENINGS[1:]))
    scene.publish(listed, acme_routes(), routes(), SERVICE)
    scene.caused.clear()
    return scene


SERVICE = artifact(
    ArtifactType.SERVICE_ASSIGNMENT_BUNDLE, "org/globex/services/dns", content=b"a service"
)
FORBIDDEN = (acme_routes(), routes())


def served(scene: Scene, link: LinkId, *artifacts: Artifact) -> list[int]:
    scene.hear(link, GetContent(items=tuple(ask(one) for one in artifacts)), stream=1)
    return [item.item for one in scene.find(ServeContent) for item in one.items]


def told(scene: Scene, link: LinkId) -> list[Artifact]:
    """What of all this the peer of a link was told of, when it says that it has nothing."""
    artifacts = (acme_routes(), routes(), SERVICE)
    found: set[bytes] = set()
    for one in artifacts:
        found |= handed_over(scene, link, one.manifest.audience)
    for sent in scene.caused:
        if isinstance(sent, Send) and sent.link == link and isinstance(sent.message, Announce):
            found |= {entry.envelope for entry in sent.message.entries}
    return [one for one in artifacts if one.envelope in found]


def test_a_storage_node_gets_what_it_stores_and_nothing_else() -> None:
    scene = stored()
    before = scene.state
    link = storage_node(scene)
    assert told(scene, link) == [routes(), SERVICE]
    assert served(scene, link, acme_routes(), SERVICE) == [1]
    assert scene.state == before
    assert scene.audited == [
        ("claims_accepted", "", EVIL),
        ("probe_silenced", "", EVIL),
        ("fetch_denied", "artifact_scope", EVIL),
    ]


@pytest.mark.parametrize("opening", WIDER.values(), ids=WIDER)
@pytest.mark.parametrize("is_late", [False, True], ids=["in the hello", "later"])
def test_it_cannot_widen_its_scopes(opening: Opening, is_late: bool) -> None:  # noqa: FBT001  # a case
    """An opening nobody committed to voids the claims it comes with, or changes nothing."""
    scene = stored()
    before = scene.state
    if is_late:
        link = storage_node(scene)
        scene.hear(link, Claims(openings=(opening,)))
        assert served(scene, link, SERVICE, acme_routes()) == [0]
        code = ("fetch_denied", "artifact_scope", EVIL)
    else:
        link = storage_node(scene, opening)
        assert served(scene, link, SERVICE, acme_routes()) == []
        assert told(scene, link) == []
        code = ("claims_refused", "CLAIMS_INVALID", EVIL)
    assert code in scene.audited
    assert acme_routes() not in told(scene, link)
    assert scene.state == before
    assert scene.durable == ([PutClaimsSeen(node_id=EVIL, epoch=2, version=1)] if is_late else [])


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_claims_of_its_own_making_are_refused(key: factory.Signer) -> None:
    """Newer, wider, well formed, and signed by nobody who may."""
    scene = stored()
    before = scene.state
    link = storage_node(scene)
    openings = (STORES, factory.ORG_OPENING)
    statement = replace(factory.claims(openings), node_id=EVIL, claims_version=9)
    forged = factory.signed_claims(statement, key)
    scene.caused.clear()
    scene.hear(link, Claims(openings=openings, claims=forged))
    assert scene.audited == [("claims_refused", "CLAIMS_INVALID", EVIL)]
    assert served(scene, link, acme_routes(), routes(), SERVICE) == []
    assert (scene.state, scene.durable, scene.onward) == (before, [], [])


def test_it_is_never_asked_for_what_it_may_not_have() -> None:
    """Though it says it has everything: the question alone would tell it what there is."""
    scene = Scene()
    link = storage_node(scene)
    every = HoldingsEntry(EVERYBODY, HoldingsMode.ALL_EXCEPT, ())
    ours = HoldingsEntry(acme_routes().manifest.audience, HoldingsMode.ALL_EXCEPT, ())
    scene.hear(link, Holdings(sequence=9, is_whole=True, entries=(every, ours)))
    scene.caused.clear()
    scene.announce(acme_routes(), scene.attacker).persisted()
    withholds(scene, acme_routes(), scene.attacker)
    assert [one.link for one in scene.caused if isinstance(one, ReceiveContent)] == [scene.attacker]
    assert told(scene, link) == []
