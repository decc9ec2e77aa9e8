"""The authority folder and what it hands out: made once, changed one at a time, delivered once."""

from dataclasses import replace
from pathlib import Path

import pytest

from fabgossip.control.authority import AuthorityFolder, fingerprint
from fabgossip.control.node_folder import NodePlaces, enroll_node, renew_node
from fabgossip.control.publishing import Delivery, publish
from fabgossip.control.signing import SignedArtifact
from fabgossip.control.sources.folder import Source, read_source
from fabgossip.errors import ControlError
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.ids import ClusterId, PlatformId
from fabgossip.trust.bundle import bundle_from_pinned
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.contents import parse_pinned
from tests.control.fabric import NOW, ROUTES, SNAPSHOT, STORE, node

SOURCE = Source(documents=(ROUTES, SNAPSHOT))
PLACES = NodePlaces(listen="127.0.0.1:0", storage="state", socket="status.sock")


@pytest.fixture
def authority(tmp_path: Path) -> AuthorityFolder:
    made = AuthorityFolder(tmp_path / "authority")
    made.create(PlatformId("demo-test"), ClusterId("prod"), NOW, ())
    made.save_node(STORE)
    return made


def test_what_nodes_pin_verifies_by_itself(authority: AuthorityFolder) -> None:
    pinned = bundle_from_pinned(*parse_pinned(authority.bootstrap()), Ed25519Verifier())
    assert pinned.bundle == authority.bundle()


def test_an_authority_is_never_overwritten(authority: AuthorityFolder) -> None:
    before = authority.bootstrap()
    with pytest.raises(ControlError, match="never overwritten"):
        authority.create(PlatformId("demo-test"), ClusterId("prod"), NOW, ())
    assert authority.bootstrap() == before


def test_one_changing_command_at_a_time(authority: AuthorityFolder, tmp_path: Path) -> None:
    with (
        authority.locked(),
        pytest.raises(ControlError, match="another control command"),
        AuthorityFolder(authority.folder).locked(),
    ):
        pass
    with authority.locked():
        pass
    with (
        pytest.raises(ControlError, match="no authority here"),
        AuthorityFolder(tmp_path).locked(),
    ):
        pass


class Gate:
    """A node that remembers what it was given and refuses some of it."""

    def __init__(self, refused: frozenset[ArtifactType] = frozenset()) -> None:
        self.given: list[ArtifactType] = []
        self.refused = refused
        self.known: set[bytes] = set()

    def __call__(self, artifact: SignedArtifact) -> Delivery:
        kind = artifact.manifest.artifact_type
        self.given.append(kind)
        outcome = "admitted"
        if kind is ArtifactType.TRUST_BUNDLE or artifact.envelope in self.known:
            outcome = "already_current"
        outcome = "refused" if kind in self.refused else outcome
        self.known.add(artifact.envelope)
        return Delivery(artifact=artifact, outcome=outcome, code="", detail="")


def test_publishing_twice_changes_nothing(authority: AuthorityFolder) -> None:
    authority.compile(SOURCE, NOW)
    gate = Gate()
    first = publish(authority, gate, NOW, everything=False)
    assert {one.outcome for one in first} == {"admitted"}
    assert publish(authority, gate, NOW, everything=False) == ()
    again = publish(authority, gate, NOW, everything=True)
    assert {one.outcome for one in again} == {"already_current"}
    assert authority.compile(SOURCE, NOW) == ()


def test_trust_is_handed_out_first_and_an_increment_after_its_snapshot(
    authority: AuthorityFolder,
) -> None:
    authority.compile(SOURCE, NOW)
    changed = replace(SNAPSHOT, content=SNAPSHOT.content[:-1] + b"!")
    authority.compile(Source(documents=(ROUTES, changed)), NOW)
    gate = Gate()
    publish(authority, gate, NOW, everything=False)
    kinds = gate.given
    assert kinds[0] is ArtifactType.REVOCATION_LIST
    assert kinds[-2:] == [ArtifactType.CLUSTER_SNAPSHOT, ArtifactType.SNAPSHOT_INCREMENT]


def test_what_was_refused_is_handed_out_again(authority: AuthorityFolder) -> None:
    authority.compile(SOURCE, NOW)
    picky = Gate(frozenset({ArtifactType.ROUTE_POLICY_BUNDLE}))
    publish(authority, picky, NOW, everything=False)
    (left,) = authority.undelivered()
    assert left.manifest.artifact_type is ArtifactType.ROUTE_POLICY_BUNDLE


def test_a_node_folder_is_complete_and_a_node_enrolled_once(
    authority: AuthorityFolder, tmp_path: Path
) -> None:
    folder = tmp_path / "n1"
    row = enroll_node(authority, node("n1", orgs=("acme",)), folder, PLACES, NOW)
    names = {one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()}
    assert names == {
        "fabgossip.toml", "identity/node.key", "identity/node.crt", "identity/claims",
        "identity/audit.key",
        "trust/bootstrap",
    }  # fmt: skip
    assert fingerprint(authority.bootstrap()) in (folder / "fabgossip.toml").read_text()
    with pytest.raises(ControlError, match="enrolled already"):
        enroll_node(authority, row, tmp_path / "again", PLACES, NOW)
    key = (folder / "identity" / "node.key").read_bytes()
    old = (folder / "identity" / "node.crt").read_bytes()
    assert renew_node(authority, "n1", folder, NOW).salts == row.salts
    assert (folder / "identity" / "node.key").read_bytes() == key
    assert (folder / "identity" / "node.crt").read_bytes() != old
    with pytest.raises(ControlError, match="not enrolled"):
        renew_node(authority, "nobody", folder, NOW)


def test_a_source_folder_says_everything_that_is_wrong_with_it(tmp_path: Path) -> None:
    (tmp_path / "fabric.toml").write_text(
        """schema = 1
[[artifact]]
type = "routes"
namespace = "routes/a"
file = "a"
[[artifact]]
type = "route_policy_bundle"
namespace = "routes/b"
file = "missing"
[[artifact]]
type = "peer_directory"
namespace = "peers/scope/cluster:prod"
file = "c"
"""
    )
    with pytest.raises(ControlError) as caught:
        read_source(tmp_path)
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        "artifact[0].type",
        "artifact[0].file",
        "artifact[1].file",
        "artifact[2].type",
        "artifact[2].file",
    ]


def test_a_source_folder_is_read_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "routes.txt").write_bytes(b"routes")
    (tmp_path / "fabric.toml").write_text(
        """schema = 1
keep_versions = 4
[[artifact]]
type = "route_policy_bundle"
namespace = "routes/main"
file = "routes.txt"
"""
    )
    source = read_source(tmp_path)
    assert source.documents == (ROUTES,)
    assert source.retention.keep_versions == 4
