"""What an attacker can do to a scene, and what must be left of it."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from fabgossip.core.effects import ReceiveContent, Send
from fabgossip.core.events import ContentFailed, FetchFailure, LinkId, PeerConnected
from fabgossip.model.artifact import ArtifactType, Manifest
from fabgossip.model.authority import ClaimItem, Opening, Revocation, RevokedKind
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import ContentAsk
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import Change, DropHead, PutHead
from fabgossip.trust.facts import TrustFacts
from fabgossip.trust.identity import node_ca_hash
from fabgossip.wire.codec import message_body
from fabgossip.wire.packing import Value, pack, unpack
from fabgossip.wire.statements import manifest_bytes
from tests.attacks.scene import Scene
from tests.core.artifacts import Artifact
from tests.core.story import Story, identity
from tests.trust import factory

ACME: Final = factory.ORG_OPENING
GLOBEX: Final = factory.opening(ClaimItem(scope="org:globex"), 9)
BOTH_ORGS: Final = (ACME, GLOBEX)
NODE_CA_HASH: Final = node_ca_hash(factory.NODE_CA.der)


def revokes(kind: RevokedKind, value: bytes) -> Revocation:
    """An entry of a revocation list."""
    return Revocation(
        kind=kind, value=value, reason="stolen", since_epoch=1, since=factory.NOW, until=UnixTime(0)
    )


def in_org(org: str, *, version: int = 7, content: bytes = b"the same bytes") -> Artifact:
    """Routes of an organisation."""
    statement = replace(
        factory.manifest(ArtifactType.ROUTE_POLICY_BUNDLE, f"org/{org}/routes/r1"),
        config_version=version,
        content_hash=factory.hash_of(content),
        content_size=len(content),
    )
    return Artifact(statement, factory.signed(statement), content)


def ask(artifact: Artifact) -> ContentAsk:
    """How a peer asks for a content under its manifest."""
    parts = factory.parts(artifact.envelope)
    return ContentAsk(parts.manifest_hash, artifact.content_hash, 0, 1)


def resealed(
    statement: Manifest, place: int, value: Value, *signers: factory.Signer, content: bytes = b""
) -> Artifact:
    """A manifest with one field as no honest encoder writes it, well signed all the same."""
    fields = unpack(manifest_bytes(statement))
    assert isinstance(fields, list)
    fields[place] = value
    payload = pack(fields)
    chosen = signers or factory.SIGNERS_OF[statement.artifact_type]
    envelope = factory.sealed(statement.artifact_type.payload_kind, payload, *chosen)
    return Artifact(statement, envelope, content)


def withholds(scene: Scene, artifact: Artifact, link: LinkId) -> None:
    """Who was asked for a content says that it has none."""
    assert scene.only(ReceiveContent).link == link
    failed = ContentFailed(
        wanted=artifact.wanted,
        link=link,
        request=None,
        reason=FetchFailure.MISSING,
        received=0,
    )
    scene.when(failed)


def connect_from(story: Story, name: str, issuer: bytes | None = NODE_CA_HASH) -> PeerConnected:
    """A link of a node whose certificate a CA of the bundle signed."""
    link = LinkId(100 + sum(one.link > 99 for one in story.node.view.sessions()))
    return PeerConnected(
        link=link, identity=replace(identity(name), issuer_hash=issuer or b""), is_dialer=True
    )


def put_and_dropped(bundle: Artifact, facts: TrustFacts = factory.FACTS) -> list[Change]:
    """What the disk is told of a bundle that the roots in force signed and that proved to be none
    once it was read: in the end nothing of it is there."""
    verified = factory.admitted(bundle.envelope, facts)
    name = bundle.manifest.namespace.text
    return [
        PutHead(verified=verified),
        DropHead(namespace=name, manifest_hash=verified.manifest_hash),
    ]


def frames(story: Story, link: LinkId) -> list[bytes]:
    """Everything the peer of a link was sent by the last event, byte for byte."""
    sent = []
    for one in story.find(Send):
        if one.link == link:
            kind, body = message_body(one.message)
            sent.append(bytes((kind, one.traffic)) + one.stream.to_bytes(4, "big") + body)
    return sent


def without_times(facts: TrustFacts) -> TrustFacts:
    """What is believed, apart from how fresh it is."""
    return replace(facts, freshness=factory.FACTS.freshness)


def salted(name: str, item: ClaimItem) -> Opening:
    """An opening whose salt is made from a name."""
    return Opening(sha256(name.encode()).digest()[:16], item)


def node(name: str) -> NodeId:
    """A node id."""
    return NodeId(name)


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file, socket and folder, and what the files say."""
    return {
        str(one.relative_to(folder)): one.read_bytes() if one.is_file() else b""
        for one in folder.rglob("*")
    }
