"""Two organisations share storage nodes and a wire format, and never a byte of each other's.

Everything an organisation owns is named with a word that stands nowhere else. Every daemon notes
every decrypted byte it receives; the words are then looked for in what the other organisation's
nodes received and kept, and in what a storage node received, where they must be found.
"""

from collections.abc import Iterator, Set
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain

import pytest

from fabgossip.cli.client import Reply, StatusClient
from fabgossip.cli.fabric import Fabric
from fabgossip.control.enrollment import NodeRow
from fabgossip.control.signing import SignedArtifact
from fabgossip.model.messages import PREFIX_BYTES
from fabgossip.wire.envelopes import parse_envelope
from tests.system.fabrics import (
    HANG_S,
    Document,
    RecordedDaemon,
    daemon_of,
    signed_heads,
    started,
    until,
    write_source,
)

pytestmark = [pytest.mark.system, pytest.mark.slow]


@dataclass(frozen=True, slots=True)
class Tenant:
    """An organisation; `word` stands in all its names and in nobody else's."""

    org: str
    nodes: tuple[str, str]
    word: str

    @property
    def service(self) -> str:
        """A service only its nodes run."""
        return f"{self.word}-secret"

    @property
    def documents(self) -> tuple[Document, ...]:
        """What is published for its nodes only."""
        own = f"org/{self.org}"
        bundle = "service_assignment_bundle"
        return (
            Document(bundle, f"{own}/services/{self.service}"),
            Document(bundle, f"{own}/services/dns/{self.word}-zones"),
            Document("route_policy_bundle", f"{own}/routes/{self.word}-private", ("role:edge",)),
            Document("qos_policy_bundle", f"{own}/qos/{self.word}-voice"),
            Document(bundle, f"services/{self.service}"),
        )


ACME = Tenant("acme-canary", ("acorn-node-1", "acorn-node-2"), "acorn")
ZED = Tenant("zed-canary", ("zebra-node-1", "zebra-node-2"), "zebra")
SHARED = (
    Document("qos_policy_bundle", "qos/default"),
    Document("route_policy_bundle", "routes/edge", ("role:edge",)),
    Document("service_assignment_bundle", "services/dns"),
    Document("cluster_snapshot", "snapshots/role/edge", increments=True),
)
STORES = (ACME.org, "cluster", ZED.org)
STORAGE = "storage-1"
LARGE_BYTES = 40_000
"""More than rests in the index: a file of its own."""


def rows() -> tuple[NodeRow, ...]:
    return (
        NodeRow(
            node_id="control-1",
            addresses=(),
            peer_class="core",
            roles=("control-endpoint",),
            stores=STORES,
        ),
        NodeRow(node_id=STORAGE, addresses=(), peer_class="core", stores=STORES),
        NodeRow(node_id="storage-2", addresses=(), peer_class="core", stores=STORES),
        *(
            NodeRow(
                node_id=node_id,
                addresses=(),
                orgs=(tenant.org,),
                services=tuple(sorted(("dns", tenant.service))),
                roles=("edge",),
            )
            for tenant in (ACME, ZED)
            for node_id in tenant.nodes
        ),
    )


def write_contents(fabric: Fabric, edition: str) -> None:
    """A content for each document; every second one of an organisation is a file of its own."""
    for one in SHARED:
        (fabric.source / one.file).write_text(f"shared, {edition}\n")
    for tenant in (ACME, ZED):
        for number, one in enumerate(tenant.documents):
            text = f"{tenant.org}-content {one.namespace} {edition}\n"
            size = LARGE_BYTES if number % 2 else len(text)
            (fabric.source / one.file).write_text((text * (size // len(text) + 1))[:size])


@dataclass(slots=True)
class Story:
    """What happened: everything ever signed, by who may know it, and what strangers were told."""

    fabric: Fabric
    signed: dict[str, list[SignedArtifact]]
    answers: dict[str, tuple[Reply, Reply]]


def note_signed(fabric: Fabric, signed: dict[str, list[SignedArtifact]]) -> None:
    for one in signed_heads(fabric):
        audience = " ".join(scope.text for scope in one.manifest.audience.scope_ids)
        for tenant in (ACME, ZED):
            if f"org:{tenant.org}" in audience or f"service:{tenant.service}" in audience:
                signed[tenant.org].append(one)


def ask_for(fabric: Fabric, node_id: str, content_hash: str) -> Reply:
    with closing(StatusClient(fabric.node(node_id).socket)) as client:
        return client.post(f"/v1/fetch?content_hash={content_hash}&timeout_ms=2000")


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    """Publications, questions of strangers, a cut storage node, restarts, more publications."""
    with started(rows(), RecordedDaemon) as fabric:
        write_source(fabric.source, SHARED + ACME.documents + ZED.documents)
        told = Story(fabric, {ACME.org: [], ZED.org: []}, {})
        write_contents(fabric, "first edition")
        fabric.wait_for(fabric.publish("first edition"), HANG_S)
        note_signed(fabric, told.signed)
        for asker, other in ((ACME, ZED), (ZED, ACME)):
            secret = fabric.content_hash_of(f"{fabric.prefix}/{other.documents[1].namespace}")
            nowhere = sha256(b"no content of this hash").hexdigest()
            node_id = asker.nodes[0]
            answers = (ask_for(fabric, node_id, secret), ask_for(fabric, node_id, nowhere))
            told.answers[asker.org] = answers
        storage = daemon_of(fabric, STORAGE)
        storage.kill()
        restarted = [storage, *(daemon_of(fabric, one.nodes[0]) for one in (ACME, ZED))]
        for one in restarted[1:]:
            assert one.terminate() == 0
        write_contents(fabric, "second edition")
        publication = fabric.publish("second edition")
        note_signed(fabric, told.signed)
        for one in restarted:
            one.start()
        for one in restarted:
            one.wait_ready(HANG_S)
        fabric.wait_for(publication, HANG_S)
        yield told


def words_of(tenant: Tenant, signed: list[SignedArtifact]) -> Set[bytes]:
    """All that tells of an organisation: names, its nodes, contents, and every hash or token."""
    words = {tenant.org.encode(), tenant.word.encode()}
    digests = {sha256(node_id.encode()).digest() for node_id in tenant.nodes}
    for one in signed:
        manifest = one.manifest
        digests |= {
            manifest.content_hash,
            parse_envelope(one.envelope).manifest_hash,
            sha256(one.envelope).digest(),
            sha256(manifest.namespace.text.encode()).digest(),
            manifest.audience.token,
        }
    # The wire shortens a hash to its first bytes; the whole one contains them.
    prefixes = {one[:PREFIX_BYTES] for one in digests}
    in_text = {one[:8].hex().encode() for one in digests}
    return words | prefixes | in_text


def found(words: Set[bytes], data: bytes) -> list[bytes]:
    return sorted(word for word in words if word in data)


def received_by(story: Story, tenant: Tenant) -> bytes:
    nodes = [daemon_of(story.fabric, one) for one in tenant.nodes]
    return b"\n".join(one.received() for one in nodes if isinstance(one, RecordedDaemon))


BOTH_WAYS = pytest.mark.parametrize(
    ("reader", "owner"), [(ACME, ZED), (ZED, ACME)], ids=["acme of zed", "zed of acme"]
)


@BOTH_WAYS
def test_nothing_of_another_organisation_is_ever_received(
    story: Story, reader: Tenant, owner: Tenant
) -> None:
    words = words_of(owner, story.signed[owner.org])
    assert len(words) > len(owner.documents) * 4
    data = received_by(story, reader)
    assert found(words, data) == []


@BOTH_WAYS
def test_nothing_of_another_organisation_is_ever_on_disk(
    story: Story, reader: Tenant, owner: Tenant
) -> None:
    words = words_of(owner, story.signed[owner.org])
    for node_id in reader.nodes:
        folder = daemon_of(story.fabric, node_id).state
        files = [path for path in folder.rglob("*") if path.is_file()]
        names = "\n".join(str(path) for path in folder.rglob("*")).encode()
        assert any(path.name.startswith("index.sqlite") for path in files)
        assert found(words, names) == []
        assert {
            path.name: hits for path in files if (hits := found(words, path.read_bytes()))
        } == {}


@BOTH_WAYS
def test_a_content_of_another_organisation_is_as_unknown_as_one_that_does_not_exist(
    story: Story, reader: Tenant, owner: Tenant
) -> None:
    secret, nowhere = story.answers[reader.org]
    assert (secret.code, secret.body["outcome"]) == (404, "unknown")
    asked = {one.manifest.content_hash.hex() for one in story.signed[owner.org]}
    text = str(secret.body)
    for content_hash in asked:
        text = text.replace(content_hash, "HASH")
    assert text == str(nowhere.body).replace(sha256(b"no content of this hash").hexdigest(), "HASH")


def test_the_search_finds_what_is_there(story: Story) -> None:
    """The control: a storage node, which was told of both, and each organisation's own nodes."""
    storage = daemon_of(story.fabric, STORAGE)
    assert isinstance(storage, RecordedDaemon)
    kept = b"\n".join(path.read_bytes() for path in storage.state.rglob("*") if path.is_file())
    for tenant in (ACME, ZED):
        signed = story.signed[tenant.org]
        names = {tenant.org.encode(), tenant.word.encode(), f"{tenant.org}-content".encode()}
        hashes = {one.manifest.content_hash for one in signed}
        heard = storage.received()
        assert found(names, heard) == sorted(names)
        assert found(names, kept) == sorted(names)
        assert set(found(hashes, heard)) == hashes
        digests = {parse_envelope(one.envelope).manifest_hash[:PREFIX_BYTES] for one in signed}
        own = received_by(story, tenant)
        assert found(names, own) == sorted(names)
        assert found(digests, own), "no manifest prefix: lists of holdings are not recorded"


def test_both_organisations_have_all_that_is_theirs(story: Story) -> None:
    """Silence alone would pass the search: deliveries are complete and none is too many."""
    until(lambda: story.fabric.compare_with_truth().unentitled == 0, "old versions are dropped")
    truth = story.fabric.compare_with_truth()
    assert truth.unentitled == 0
    assert truth.delivered == truth.entitled > 0
    nodes = list(chain.from_iterable(tenant.nodes for tenant in (ACME, ZED)))
    for node_id in nodes:
        assert len(story.fabric.node(node_id).held()) > len(SHARED)


def test_a_running_node_has_loaded_nothing_that_signs(story: Story) -> None:
    loaded = [
        modules
        for tenant in (ACME, ZED)
        for node in (daemon_of(story.fabric, tenant.nodes[0]),)
        if isinstance(node, RecordedDaemon)
        for modules in node.modules()
    ]
    assert len(loaded) == 2
    for modules in loaded:
        assert "fabgossip.daemon.service" in modules
        assert [one for one in modules if one.startswith("fabgossip.control")] == []
