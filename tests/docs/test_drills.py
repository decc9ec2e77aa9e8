"""The drills, typed by a shell as they stand on their pages, against daemons on loopback.

The thief is real: a copy of the key, taken before the drill begins, signs what the page says he
can.
"""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from fabgossip.cli.client import StatusClient
from fabgossip.cli.fabric import Fabric, Node
from fabgossip.cli.run import EXIT_CONFIG
from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.enrollment import NodeRow
from fabgossip.control.keystore import ArtifactKey, KeyFolder
from fabgossip.control.signing import SignedArtifact, signed_envelope
from fabgossip.model.artifact import INTEGER_MAX, ArtifactType, Manifest, Order
from fabgossip.model.authority import Revocation, RevocationList, RevokedKind
from fabgossip.model.ids import ContentHash, key_id_of
from fabgossip.model.moment import UnixTime
from fabgossip.wire.contents import revocations_bytes
from fabgossip.wire.statements import manifest_bytes
from tests.docs.pages import DOCS, blocks
from tests.system.fabrics import CLUSTER, HANG_S, Daemon, Document, die_with, until, write_source
from tests.system.fabrics import started as started_fabric

pytestmark = [pytest.mark.system, pytest.mark.slow]

ROUTES = Document("route_policy_bundle", "routes/edge", ("role:edge",))
STORE = NodeRow(
    node_id="storage-1",
    addresses=(),
    peer_class="core",
    roles=("control-endpoint",),
    stores=("cluster",),
)
EDGES = tuple(NodeRow(node_id=f"edge-{one}", addresses=(), roles=("edge",)) for one in (1, 2))


def scripts(page: str) -> list[str]:
    """The shell blocks of a drill, in order."""
    found = blocks(DOCS / "how-to" / f"drill-{page}.md")
    return [one.text for one in found if one.language == "sh"]


@pytest.fixture
def fabric() -> Iterator[Fabric]:
    """Three daemons that have the first routes; the root keys lie away from the authority, one of
    them with another keeper."""
    with started_fabric((STORE, *EDGES)) as made:
        write_source(made.source, (ROUTES,))
        (made.source / ROUTES.file).write_text("first\n")
        made.wait_for(made.publish("first"), HANG_S)
        (made.folder / "roots").mkdir()
        (made.folder / "more").mkdir()
        first, second, lost = sorted((made.authority_folder / "keys" / "root").glob("*.pem"))
        first.rename(made.folder / "roots" / first.name)
        second.rename(made.folder / "more" / second.name)
        lost.rename(made.folder / lost.name)
        yield made


def type_in(fabric: Fabric, script: str, **more: str | Path) -> str:
    """Run a block as the page's reader would; gives what was said."""
    program = Path(sys.executable).parent
    places = {
        "AUTHORITY": fabric.authority_folder,
        "SOURCE": fabric.source,
        "SOCKET": fabric.node("storage-1").socket,
        "ROOTS": fabric.folder / "roots",
        "MORE_ROOTS": fabric.folder / "more",
        "PATH": f"{program}:{os.environ['PATH']}",
        **more,
    }
    done = subprocess.run(
        ["/bin/bash", "-c", f"set -euo pipefail\n{script}"],
        cwd=fabric.folder,
        env={**os.environ, **{name: str(value) for name, value in places.items()}},
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
        preexec_fn=die_with(signal.SIGKILL),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout + done.stderr)


def give_both_roots(fabric: Fabric) -> None:
    """The second keeper brings his key."""
    for path in (fabric.folder / "more").glob("*.pem"):
        path.rename(fabric.folder / "roots" / path.name)


def stolen(fabric: Fabric, role: str) -> ArtifactKey:
    (key,) = KeyFolder(fabric.authority_folder / "keys", None).ring().of_role(role)
    return key


def head(fabric: Fabric, tail: str) -> Manifest:
    return AuthorityFolder(fabric.authority_folder).published()[f"{fabric.prefix}/{tail}"].manifest


def forged(before: Manifest, key: ArtifactKey, content: bytes, version: int) -> SignedArtifact:
    """What a thief signs: the highest version, his own content, his key alone."""
    manifest = replace(
        before,
        config_version=version,
        content_hash=ContentHash(sha256(content).digest()),
        content_size=len(content),
        signer_key_ids=(key.key_id,),
    )
    kind = manifest.artifact_type.payload_kind
    return SignedArtifact(
        manifest=manifest,
        envelope=signed_envelope(kind, manifest_bytes(manifest), (key,)),
        content=content,
    )


def submit(node: Node, artifact: SignedArtifact) -> str:
    """What a node says to an artifact: `admitted`, or its code."""
    with closing(StatusClient(node.socket)) as client:
        body = client.submit(artifact.envelope, artifact.content).body
    return str(body.get("code") or body["outcome"])


def trust(node: Node) -> dict[str, int]:
    table = node.get("/v1/status")["trust"]
    assert isinstance(table, dict)
    return {str(key): value for key, value in table.items() if isinstance(value, int)}


def everywhere(fabric: Fabric, is_so: Callable[[Node], bool], what: str) -> None:
    for node in fabric.nodes:
        until(lambda node=node: is_so(node), f"{what} on {node.row.node_id}")  # type: ignore[misc]


def local_routes(node: Node, prefix: str) -> str | None:
    """What consumers on a node read."""
    try:
        return (node.local(f"{prefix}/routes/edge") / "content").read_text()
    except OSError:
        return None


def floors_of(node: Node) -> dict[str, Order]:
    """What the node will never go below."""
    uri = f"file:{node.folder}/state/index.sqlite?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as index:
        rows = index.execute("SELECT namespace, epoch, version FROM floor").fetchall()
    return {name: Order(epoch, version) for name, epoch, version in rows}


def refuses_without_a_word(node: Node) -> None:
    """Another pinned file over the old state, and nobody said that it is meant."""
    path = node.folder / "fabgossip.toml"
    said = path.read_text()
    path.write_text(
        "".join(one for one in said.splitlines(keepends=True) if "rebootstrap" not in one)
    )
    assert isinstance(node, Daemon)
    node.start()
    assert node.wait() == EXIT_CONFIG
    path.write_text(said)


def test_a_stolen_signing_key(fabric: Fabric) -> None:
    thief = stolen(fabric, "policy")
    give_both_roots(fabric)
    at_once, replaced, seen = scripts("stolen-signing-key")
    edges = [node for node in fabric.nodes if node.row.node_id.startswith("edge")]

    assert "policy has no key" in type_in(fabric, at_once)
    everywhere(fabric, lambda node: trust(node)["revocation_version"] == 2, "the list")
    for node in edges:
        until(lambda node=node: local_routes(node, fabric.prefix) is None, "put away")  # type: ignore[misc]
    fake = forged(head(fabric, "routes/edge"), thief, b"from a thief", 1_000)
    assert {submit(node, fake) for node in fabric.nodes} == {"KEY_REVOKED"}

    type_in(fabric, replaced)
    everywhere(fabric, lambda node: trust(node)["bundle_version"] == 2, "the bundle")
    for node in edges:
        until(lambda node=node: local_routes(node, fabric.prefix) == "first\n", "back")  # type: ignore[misc]
    assert head(fabric, "routes/edge").min_trust_version == 2
    assert head(fabric, "routes/edge").min_revocation_version == 2
    assert "admitted" not in {submit(node, fake) for node in fabric.nodes}
    said = type_in(fabric, seen)
    assert "bundle 2, epoch 1, revocations 2" in said
    assert thief.key_id.hex() in said


def test_a_stolen_revocation_key(fabric: Fabric) -> None:
    """The thief denies what he likes, under a number nothing of the epoch can follow."""
    give_both_roots(fabric)
    routes_key = stolen(fabric, "policy")
    denied = RevocationList(
        entries=(
            Revocation(
                kind=RevokedKind.SIGNING_KEY,
                value=routes_key.key_id,
                reason="a lie",
                since_epoch=1,
                since=head(fabric, "trust/revocations").issued_at,
                until=UnixTime(0),
            ),
        )
    )
    before = head(fabric, "trust/revocations")
    fake = forged(before, stolen(fabric, "revocation"), revocations_bytes(denied), INTEGER_MAX)
    assert submit(fabric.nodes[0], fake) == "admitted"
    everywhere(fabric, lambda node: trust(node)["revocation_version"] == INTEGER_MAX, "the lie")

    ended, seen = scripts("stolen-revocation-key")
    type_in(fabric, ended)
    everywhere(fabric, lambda node: trust(node)["bundle_version"] == 2, "the bundle")
    everywhere(fabric, lambda node: trust(node)["epoch"] == 2, "the epoch")
    everywhere(fabric, lambda node: trust(node)["revocation_version"] == 1, "the list")
    for node in fabric.nodes[1:]:
        until(lambda node=node: local_routes(node, fabric.prefix) == "first\n", "back")  # type: ignore[misc]
    assert head(fabric, "trust/revocations").order > fake.manifest.order
    assert head(fabric, "routes/edge").authority_epoch == 2
    assert "admitted" not in {submit(node, fake) for node in fabric.nodes}
    assert "bundle 2, epoch 2" in type_in(fabric, seen)


def test_a_lost_root_share(fabric: Fabric) -> None:
    """Two keepers are left of three; the new set then signs by itself."""
    replaced, proved, *_ = scripts("roots")
    authority = AuthorityFolder(fabric.authority_folder)
    kept = authority.folder / "keys" / "root"
    for path in (fabric.folder / "roots").glob("*.pem"):
        (kept / path.name).write_bytes(path.read_bytes())  # one of the old set was left behind
    type_in(fabric, replaced)
    everywhere(fabric, lambda node: trust(node)["bundle_version"] == 2, "the new roots")
    type_in(fabric, proved)
    everywhere(fabric, lambda node: trust(node)["bundle_version"] == 3, "what they signed alone")
    first, *_, last = authority.chain()
    assert not set(first.root_keys) & set(last.root_keys)
    ids = [{key_id_of(root).hex() for root in one.root_keys} for one in (first, last)]
    moved = {path.stem for path in (fabric.folder / "new-roots").iterdir()}
    assert moved == ids[1]
    assert {path.stem for path in kept.iterdir()} < ids[0]


def test_a_stolen_root_quorum(fabric: Fabric) -> None:
    """New roots in a higher epoch over the old state: floors stay, and the old is not believed."""
    init, enroll, published = scripts("roots")[2:]
    new = fabric.folder / "new"
    new_authority = fabric.folder / "authority-2"
    places = {"NEW_AUTHORITY": new_authority, "NEW": new, "NEW_SOCKET": new / "storage-1" / "s"}
    places["FOLDER"] = fabric.folder
    type_in(fabric, init, **places, PLATFORM="demo-system", CLUSTER=CLUSTER)
    floors = {node.row.node_id: floors_of(node) for node in fabric.nodes}
    fabric.stop()
    old = AuthorityFolder(fabric.authority_folder).heads()
    for number, node in enumerate(fabric.nodes):
        row = node.row
        words = [f"--role {one}" for one in row.roles] + [f"--stores {one}" for one in row.stores]
        what = " ".join(["--socket s", f"--class {row.peer_class}", *words])
        (address,) = row.addresses
        one = {"NODE": row.node_id, "ADDRESS": address, "ENTITLEMENTS": what}
        type_in(fabric, enroll, **places, **one)
        config = new / row.node_id / "fabgossip.toml"
        text = config.read_text().replace(
            'operator_group = "fabgossip-admin"', 'operator_group = ""'
        )
        config.write_text(text)
        (node.folder / "state").rename(new / row.node_id / "state")
        fabric.nodes[number] = Daemon(row, new / row.node_id, CLUSTER)
    refuses_without_a_word(fabric.nodes[0])
    fabric.start(HANG_S)
    type_in(fabric, published, **places)
    for node in fabric.nodes[1:]:
        until(lambda node=node: local_routes(node, fabric.prefix) == "first\n", "the routes")  # type: ignore[misc]
    everywhere(fabric, lambda node: trust(node)["bundle_version"] == 1, "the new trust")
    everywhere(fabric, lambda node: trust(node)["epoch"] == 1000, "the new epoch")
    list_of_old = next(
        one for one in old if one.manifest.artifact_type is ArtifactType.REVOCATION_LIST
    )
    assert {submit(node, list_of_old) for node in fabric.nodes} == {"KEY_UNKNOWN"}
    for node in fabric.nodes:
        before, after = floors[node.row.node_id], floors_of(node)
        assert before
        assert all(after[name] >= order for name, order in before.items())
