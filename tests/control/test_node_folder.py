"""A node's papers: renewed, or changed with what it is entitled to."""

from dataclasses import replace
from pathlib import Path

import pytest

from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.node_folder import NodePlaces, change_node, enroll_node, renew_node
from fabgossip.errors import ControlError
from fabgossip.model.authority import NodeClaims, Opening
from fabgossip.model.ids import ClusterId, PlatformId
from fabgossip.wire.envelopes import parse_envelope
from fabgossip.wire.statements import commitment_of, parse_claims, parse_own_claims
from tests.control.fabric import NOW, node

PLACES = NodePlaces(listen="127.0.0.1:0", storage="state", socket="s")
WANTED = node("n1", orgs=("acme", "zed"), roles=("edge",))


@pytest.fixture
def authority(tmp_path: Path) -> AuthorityFolder:
    made = AuthorityFolder(tmp_path / "authority")
    made.create(PlatformId("demo-test"), ClusterId("prod"), NOW, ())
    enroll_node(made, node("n1", orgs=("acme",)), tmp_path / "n1", PLACES, NOW)
    enroll_node(made, node("n2"), tmp_path / "n2", PLACES, NOW)
    return made


def papers(folder: Path) -> tuple[NodeClaims, tuple[Opening, ...]]:
    envelope, openings = parse_own_claims((folder / "identity" / "claims").read_bytes())
    return parse_claims(parse_envelope(envelope).payload), openings


@pytest.mark.parametrize("listen", ["0.0.0.0:7420", "192.0.2.1:7420", "[::]:7420", "n1.example:1"])
def test_a_node_of_throw_away_keys_that_would_not_start_is_not_made(
    tmp_path: Path, listen: str
) -> None:
    authority = AuthorityFolder(tmp_path / "authority")
    authority.create(PlatformId("demo-x"), ClusterId("prod"), NOW, ())
    places = NodePlaces(listen=listen, storage="state", socket="s")
    with pytest.raises(ControlError, match="throw-away keys"):
        enroll_node(authority, node("n1"), tmp_path / "n1", places, NOW)
    assert not (tmp_path / "n1").exists()
    assert authority.nodes() == ()


def test_a_change_is_a_new_version_with_the_old_salts(
    authority: AuthorityFolder, tmp_path: Path
) -> None:
    _, before = papers(tmp_path / "n1")
    key = (tmp_path / "n1" / "identity" / "node.key").read_bytes()
    row = change_node(authority, WANTED, tmp_path / "n1", NOW)
    claims, openings = papers(tmp_path / "n1")
    assert (claims.claims_version, claims.roles) == (2, ("edge", "member"))
    assert {one.item.scope for one in openings} == {"org:acme", "org:zed"}
    assert set(before) <= set(openings)
    assert {commitment_of(one) for one in openings} <= set(claims.commitments)
    assert authority.find_node("n1") == row
    assert (tmp_path / "n1" / "identity" / "node.key").read_bytes() == key


def test_the_same_wish_again_only_writes_the_file_again(
    authority: AuthorityFolder, tmp_path: Path
) -> None:
    first = change_node(authority, WANTED, tmp_path / "n1", NOW)
    assert change_node(authority, WANTED, tmp_path / "elsewhere", NOW) == first
    assert papers(tmp_path / "elsewhere") == papers(tmp_path / "n1")


def test_a_new_place_is_no_new_entitlement(authority: AuthorityFolder, tmp_path: Path) -> None:
    moved = node("n1", orgs=("acme",), zone="z9")
    row = change_node(authority, moved, tmp_path / "n1", NOW)
    assert (row.claims_version, row.zone) == (1, "z9")


def test_no_node_gets_the_papers_of_another(authority: AuthorityFolder, tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="is the folder of node n2"):
        change_node(authority, WANTED, tmp_path / "n2", NOW)
    with pytest.raises(ControlError, match="nobody is not enrolled"):
        change_node(authority, replace(WANTED, node_id="nobody"), tmp_path / "n1", NOW)
    assert papers(tmp_path / "n2")[0].node_id == "n2"


def test_a_state_generation_is_kept_and_never_sinks(
    authority: AuthorityFolder, tmp_path: Path
) -> None:
    renew_node(authority, "n1", tmp_path / "n1", NOW, state_generation=5)
    assert papers(tmp_path / "n1")[0].state_generation == 5
    renew_node(authority, "n1", tmp_path / "n1", NOW)
    change_node(authority, WANTED, tmp_path / "n1", NOW)
    assert papers(tmp_path / "n1")[0].state_generation == 5
    with pytest.raises(ControlError, match="state generation 4, it has 5"):
        renew_node(authority, "n1", tmp_path / "n1", NOW, state_generation=4)
