"""The ledger: nothing is done that is not recorded first, and what is recorded says who, what, in
which order, and why."""

import errno
import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.bundles import OldKeys
from fabgossip.control.granting import GrantWish, make_grant, read_certificate
from fabgossip.control.ledger import Act
from fabgossip.control.node_folder import NodePlaces, change_node, enroll_node, renew_node
from fabgossip.control.publishing import Delivery, publish
from fabgossip.control.revoking import RevocationRow
from fabgossip.control.rotation import RotationWish, rotate
from fabgossip.control.signing import SignedArtifact
from fabgossip.control.sources.folder import Source
from fabgossip.errors import ControlError
from fabgossip.model.artifact import ArtifactType, Tombstone
from fabgossip.model.authority import RevokedKind
from fabgossip.model.ids import ClusterId, NodeId, PlatformId
from fabgossip.model.policy import ReplicationPolicy, ReplicationRule
from fabgossip.model.scope import parse_scope_id
from fabgossip.storage.records import read_records
from fabgossip.trust.revocation import node_token
from tests.control.fabric import NOW, ROUTES, STORE, node

WHY: Final = "change 4711"
PREFIX: Final = "platform/demo-test/cluster/prod"
SOURCE: Final = Source(documents=(ROUTES,))
PLACES: Final = NodePlaces(listen="127.0.0.1:0", storage="state", socket="status.sock")
Row = dict[str, object]


def begun(folder: Path) -> AuthorityFolder:
    made = AuthorityFolder(folder / "authority", reason=WHY)
    made.create(PlatformId("demo-test"), ClusterId("prod"), NOW, ())
    return made


@pytest.fixture
def authority(tmp_path: Path) -> AuthorityFolder:
    """One with a storage node and something compiled; its ledger is that of a fresh command."""
    made = begun(tmp_path)
    made.save_node(STORE)
    made.compile(SOURCE, NOW)
    return AuthorityFolder(made.folder, reason=WHY)


def ledger_of(authority: AuthorityFolder) -> list[Row]:
    return [json.loads(line) for _, line in read_records(authority.folder / "ledger", 0, 10_000)]


def since(authority: AuthorityFolder, do: Callable[[], object]) -> list[Row]:
    """The records of what is done here."""
    before = len(ledger_of(authority))
    do()
    return ledger_of(authority)[before:]


def short(rows: list[Row]) -> list[tuple[object, object]]:
    return [(row["event"], str(row["object"]).removeprefix(f"{PREFIX}/")) for row in rows]


def inputs_of(row: Row) -> dict[str, object]:
    inputs = row["inputs"]
    assert isinstance(inputs, dict)
    return inputs


def all_accept(artifact: SignedArtifact) -> Delivery:
    return Delivery(artifact=artifact, outcome="admitted", code="", detail="")


def enrolled(authority: AuthorityFolder, folder: Path, **facts: tuple[str, ...]) -> Path:
    enroll_node(authority, node("n7", **facts), folder / "n7", PLACES, NOW)
    return folder / "n7"


def revocation(kind: RevokedKind, value: bytes, subject: str) -> RevocationRow:
    return RevocationRow(
        kind=kind.name,
        value=value.hex(),
        subject=subject,
        reason="stolen",
        since_epoch=1,
        since=NOW,
    )


def replicated(replicas: int) -> Source:
    rule = ReplicationRule(artifact_type=ArtifactType.ROUTE_POLICY_BUNDLE, replicas=replicas)
    return Source(documents=(ROUTES,), replication=ReplicationPolicy(rules=(rule,)))


def test_the_first_record_is_that_of_the_authority(tmp_path: Path) -> None:
    rows = ledger_of(begun(tmp_path))
    assert short(rows) == [("authority_created", PREFIX), ("artifact_signed", "trust/bundle")]
    assert rows[0]["seq"] == 1


def test_a_record_says_who_and_why(authority: AuthorityFolder) -> None:
    """The records of one command have the same `boot`."""
    (row,) = since(authority, lambda: authority.compile(replicated(2), NOW))[:1]
    assert row["subject"] == pwd.getpwuid(os.getuid()).pw_name
    assert inputs_of(row)["uid"] == os.getuid()
    assert inputs_of(row)["reason"] == WHY
    assert row["wall"] == NOW
    assert row["boot"] != ledger_of(authority)[0]["boot"]


def test_what_is_signed_published_and_withdrawn_is_named_by_its_hash(
    authority: AuthorityFolder,
) -> None:
    head = authority.published()[f"{PREFIX}/routes/main"].manifest
    compiled = {row["object"]: inputs_of(row) for row in ledger_of(authority)}
    said = compiled[f"{PREFIX}/routes/main"]
    assert said["content_hash"] == head.content_hash.hex()
    assert (authority.folder / "published" / f"{said['manifest_hash']}.envelope").is_file()
    assert (said["type"], said["order"]) == ("route_policy_bundle", "1.1")

    rows = since(authority, lambda: publish(authority, all_accept, NOW, everything=False))
    assert {row["event"] for row in rows} == {"artifact_published"}
    handed = {row["object"]: inputs_of(row)["manifest_hash"] for row in rows}
    assert handed[f"{PREFIX}/routes/main"] == said["manifest_hash"]
    assert since(authority, lambda: publish(authority, all_accept, NOW, everything=False)) == []

    tombstone = Tombstone(reason="withdrawn", purge=True)
    (row,) = since(authority, lambda: authority.tombstone("routes/main", tombstone, NOW))
    assert short([row]) == [("artifact_tombstoned", "routes/main")]
    assert (inputs_of(row)["reason"], inputs_of(row)["purge"]) == ("withdrawn", 1)


def test_a_changed_replication_policy_is_told_with_what_it_was(authority: AuthorityFolder) -> None:
    def changes(source: Source) -> list[tuple[object, object]]:
        rows = since(authority, lambda: authority.compile(source, NOW))
        return [
            (inputs_of(row)["before"], inputs_of(row)["after"])
            for row in rows
            if row["event"] == "replication_policy_changed"
        ]

    assert changes(replicated(2)) == [("", "route_policy_bundle=2")]
    assert changes(replicated(2)) == []
    assert changes(replicated(3)) == [("route_policy_bundle=2", "route_policy_bundle=3")]
    assert changes(SOURCE) == [("route_policy_bundle=3", "")]


def test_who_stores_what_is_told_when_it_begins_and_ends(
    authority: AuthorityFolder, tmp_path: Path
) -> None:
    rows = since(authority, lambda: enrolled(authority, tmp_path, stores=("acme", "cluster")))
    assert short(rows) == [("node_enrolled", "n7")] + [("storage_role_assigned", "n7")] * 2
    assert [inputs_of(row)["stores"] for row in rows[1:]] == ["acme", "cluster"]

    row = authority.member("n7", NOW)
    wish = node("n7", stores=("cluster", "zed"), roles=("edge",))
    rows = since(authority, lambda: change_node(authority, wish, tmp_path / "n7", NOW))
    assert short(rows) == [
        ("node_changed", "n7"),
        ("storage_role_assigned", "n7"),
        ("storage_role_removed", "n7"),
    ]
    assert [inputs_of(one)["stores"] for one in rows[1:]] == ["zed", "acme"]
    assert inputs_of(rows[0])["roles"] == "edge"
    assert inputs_of(rows[0])["claims_version"] == row.claims_version + 1

    token = node_token(ClusterId("prod"), NodeId("n7"))
    entry = revocation(RevokedKind.NODE, token, "n7")
    rows = since(authority, lambda: authority.revoke(entry, NOW))
    assert short(rows) == [("identity_revoked", "n7")] + [("storage_role_removed", "n7")] * 2
    assert inputs_of(rows[0])["reason"] == "stolen"
    # Doing it again changes nothing, so there is nothing to record.
    assert since(authority, lambda: authority.revoke(entry, NOW)) == []


def test_renewals_grants_and_rotations_are_told(authority: AuthorityFolder, tmp_path: Path) -> None:
    folder = enrolled(authority, tmp_path)
    rows = since(authority, lambda: renew_node(authority, "n7", folder, NOW, state_generation=9))
    assert (short(rows), inputs_of(rows[0])["state_generation"]) == ([("node_renewed", "n7")], 9)

    certificate = read_certificate(folder / "identity" / "node.crt")
    wish = GrantWish(
        node_id=NodeId("n7"),
        types=(ArtifactType.ROUTE_POLICY_BUNDLE,),
        scope_ids=(parse_scope_id("role:edge"),),
        manifest_hashes=(),
        uses=2,
        life_s=60,
    )
    signed = make_grant(authority, wish, certificate, NOW)
    (row,) = ledger_of(authority)[-1:]
    assert (short([row]), inputs_of(row)["grant"]) == (
        [("grant_issued", "n7")],
        signed.grant.grant_id.hex(),
    )

    rows = since(authority, lambda: rotate(authority, RotationWish(roles=("policy",)), NOW))
    assert short(rows) == [("key_rotated", "trust/bundle"), ("artifact_signed", "trust/bundle")]
    fresh = {key.key_id.hex() for key in authority.bundle().keys}
    assert inputs_of(rows[0])["key_1"] in fresh - {
        key.key_id.hex() for key in authority.chain()[0].keys
    }


REVOCATIONS: Final = {
    RevokedKind.SIGNING_KEY: Act.KEY_REVOKED,
    RevokedKind.CERTIFICATE: Act.IDENTITY_REVOKED,
    RevokedKind.GRANT: Act.GRANT_REVOKED,
    RevokedKind.MANIFEST: Act.ARTIFACT_REVOKED,
    RevokedKind.CONTENT: Act.ARTIFACT_REVOKED,
}


@pytest.mark.parametrize("kind", [one for one in RevokedKind if one is not RevokedKind.NODE])
def test_each_kind_of_revocation_has_its_event(
    kind: RevokedKind, authority: AuthorityFolder
) -> None:
    is_key = kind is RevokedKind.SIGNING_KEY
    value = bytes(authority.bundle().keys[0].key_id) if is_key else b"r" * 32
    rows = since(authority, lambda: authority.revoke(revocation(kind, value, "it"), NOW))
    assert short(rows) == [(REVOCATIONS[kind].value, "it")]
    assert inputs_of(rows[0])["value"] == value.hex()


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No record can be written from now on; every other file can."""

    def pwrite(descriptor: int, data: memoryview, offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", pwrite)


def files_of(folder: Path) -> dict[str, bytes]:
    """Everything below a folder but the ledger."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "ledger" not in path.relative_to(folder).parts
    }


ACTIONS: Final[dict[str, Callable[[AuthorityFolder, Path], object]]] = {
    "compile": lambda authority, _: authority.compile(replicated(4), NOW),
    "publish": lambda authority, _: publish(authority, never, NOW, everything=True),
    "tombstone": lambda authority, _: authority.tombstone(
        "routes/main", Tombstone(reason="gone", purge=False), NOW
    ),
    "revoke": lambda authority, _: authority.revoke(
        revocation(RevokedKind.CONTENT, b"c" * 32, "it"), NOW
    ),
    "rotate": lambda authority, _: rotate(authority, RotationWish(roles=("policy",)), NOW),
    "enroll": lambda authority, folder: enrolled(authority, folder / "fresh"),
    "change": lambda authority, folder: change_node(
        authority, node("store", stores=("cluster",), roles=("edge",)), folder / "store", NOW
    ),
}


def never(_: SignedArtifact) -> Delivery:
    raise AssertionError("handed over, and not recorded")


@pytest.mark.parametrize("act", ACTIONS.values(), ids=ACTIONS)
def test_what_cannot_be_recorded_is_not_done(
    act: Callable[[AuthorityFolder, Path], object],
    authority: AuthorityFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And once there is room again, it is, and the ledger is whole."""
    before = files_of(tmp_path)
    with monkeypatch.context() as disk:
        fill_disk(disk)
        with pytest.raises(ControlError, match="nothing was done"):
            act(authority, tmp_path)
    assert files_of(tmp_path) == before
    publishes = act is ACTIONS["publish"]
    if publishes:
        publish(authority, all_accept, NOW, everything=True)
    else:
        act(authority, tmp_path)
    assert files_of(tmp_path) != before
    assert [row["seq"] for row in ledger_of(authority)] == list(
        range(1, len(ledger_of(authority)) + 1)
    )


def test_an_authority_that_cannot_be_recorded_has_no_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as disk:
        fill_disk(disk)
        with pytest.raises(ControlError, match="nothing was done"):
            begun(tmp_path)
    assert files_of(tmp_path) == {}


def test_what_was_begun_and_failed_is_told(authority: AuthorityFolder) -> None:
    """The record stands: nobody can tell how far it came."""

    def breaks(_: SignedArtifact) -> Delivery:
        raise ControlError("the node went away")

    with pytest.raises(ControlError, match="went away"):
        publish(authority, breaks, NOW, everything=False)
    rows = ledger_of(authority)
    begun_rows = [row for row in rows if row["event"] == "artifact_published"]
    assert rows[-1]["event"] == "action_failed"
    assert (inputs_of(rows[-1])["first"], inputs_of(rows[-1])["last"]) == (
        begun_rows[0]["seq"],
        begun_rows[-1]["seq"],
    )


def test_the_key_of_the_ledger_is_replaced_and_never_listed(authority: AuthorityFolder) -> None:
    """A list that took it away would stop the command that replaces it, and tell nodes nothing."""
    (key,) = authority.keys.ring().of_role("ledger")
    entry = revocation(RevokedKind.SIGNING_KEY, key.key_id, "it")
    with pytest.raises(ControlError, match="rotate --role ledger"):
        authority.revoke(entry, NOW)
    wish = RotationWish(roles=("ledger",), old_keys=OldKeys.REVOKE)
    rows = since(authority, lambda: rotate(authority, wish, NOW))
    assert short(rows)[0] == ("key_rotated", "trust/bundle")
    (fresh,) = authority.keys.ring().of_role("ledger")
    assert fresh.key_id != key.key_id
    rows = since(authority, lambda: authority.compile(replicated(5), NOW))
    assert "audit_gap" not in {row["event"] for row in rows}


def test_no_secret_stands_in_it(authority: AuthorityFolder, tmp_path: Path) -> None:
    """Neither keys nor the salts that hide what a node is entitled to."""
    enrolled(authority, tmp_path, orgs=("acme",))
    text = json.dumps(ledger_of(authority))
    row = authority.member("n7", NOW)
    secrets = [*row.salts.values(), (tmp_path / "n7" / "identity" / "audit.key").read_text()[40:60]]
    assert [one for one in secrets if one in text] == []
