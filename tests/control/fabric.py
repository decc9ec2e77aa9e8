"""A fabric for the control plane's tests: keys from names, nodes and documents as values."""

from dataclasses import replace
from functools import cache
from hashlib import sha256

from fabgossip.control.bundles import KEY_ROLES, first_bundle
from fabgossip.control.compiler import head_after
from fabgossip.control.drafts import CompileInput, PublishedHead, UnsignedArtifact
from fabgossip.control.enrollment import NodeRow, salts_for
from fabgossip.control.keystore import ArtifactKey, KeyRing, artifact_key_from_seed
from fabgossip.control.sources.folder import Document, Source
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import RevocationList, TrustBundle
from fabgossip.model.moment import UnixTime
from fabgossip.model.scope import parse_scope_id
from tests.trust import factory

NOW = UnixTime(factory.NOW)


@cache
def keys() -> dict[str, tuple[ArtifactKey, ...]]:
    """The authority's keys, by role."""
    counts = {role.name: role.count for role in KEY_ROLES} | {"root": 3}
    return {
        role: tuple(
            artifact_key_from_seed(sha256(f"{role} {number}".encode()).digest())
            for number in range(count)
        )
        for role, count in counts.items()
    }


def ring() -> KeyRing:
    """All keys, as the signer finds them."""
    return KeyRing((role, key) for role, some in keys().items() for key in some)


@cache
def bundle() -> TrustBundle:
    """Trust bundle 1."""
    return first_bundle(factory.PLATFORM, factory.CLUSTER, keys(), factory.NODE_CA.der, NOW)


def node(name: str, **facts: tuple[str, ...] | str) -> NodeRow:
    """An enrolled node."""
    row = replace(
        NodeRow(node_id=name, addresses=(f"{name}.example:7420",)),
        **facts,  # type: ignore[arg-type]
    )
    entropy = sha256(f"salts of {name}".encode()).digest()
    return replace(row, salts=salts_for(row, factory.CLUSTER, lambda count: entropy[:count]))


STORE = node("store", stores=("cluster",), peer_class="core")
ROUTES = Document(
    artifact_type=ArtifactType.ROUTE_POLICY_BUNDLE,
    namespace="routes/main",
    audience=(),
    content=b"routes",
)
SNAPSHOT = Document(
    artifact_type=ArtifactType.CLUSTER_SNAPSHOT,
    namespace="snapshots/role/edge",
    audience=(),
    content=bytes(range(256)) * 64,
    increments=True,
)
EVERY_TYPE = (
    ROUTES,
    SNAPSHOT,
    Document(
        artifact_type=ArtifactType.SERVICE_ASSIGNMENT_BUNDLE,
        namespace="org/acme/services/web",
        audience=(parse_scope_id("role:edge"),),
        content=b"services",
    ),
    Document(
        artifact_type=ArtifactType.QOS_POLICY_BUNDLE,
        namespace="qos/gold",
        audience=(),
        content=b"qos",
    ),
    Document(
        artifact_type=ArtifactType.UPDATE_MANIFEST,
        namespace="updates/agent",
        audience=(),
        content=b"update",
    ),
)
NODES = (
    STORE,
    node("n1", orgs=("acme",), services=("web",), roles=("edge",)),
    node("n2", orgs=("acme",), stores=("globex",)),
    node("n3"),
)


def given(
    *documents: Document,
    nodes: tuple[NodeRow, ...] = NODES,
    published: dict[str, PublishedHead] | None = None,
    now: int = NOW,
) -> CompileInput:
    """What a compile depends on."""
    return CompileInput(
        bundle=bundle(),
        nodes=nodes,
        source=Source(documents=documents),
        revocations=RevocationList(),
        published=published or {},
        now=UnixTime(now),
        claims_keys=keys()["claims"],
    )


def published(made: tuple[UnsignedArtifact, ...]) -> dict[str, PublishedHead]:
    """What the control plane remembers of compiles, one after the other."""
    heads: dict[str, PublishedHead] = {}
    for one in made:
        name = one.manifest.namespace.text
        if one.manifest.artifact_type is not ArtifactType.SNAPSHOT_INCREMENT:
            heads[name] = head_after(heads.get(name), one.manifest, one.content)
    return heads
