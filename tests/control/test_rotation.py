"""Rotation: exactly the next bundle, signed by who must, whole or not at all."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from fabgossip.control import files, keystore
from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.bundles import KEY_ROLES, OldKeys, key_role, role_key_ids
from fabgossip.control.enrollment import active_node_ca
from fabgossip.control.revoking import RevocationRow
from fabgossip.control.rotation import RotationWish, rotate
from fabgossip.control.sources.folder import Source
from fabgossip.errors import ControlError
from fabgossip.model.artifact import ArtifactType, Tombstone
from fabgossip.model.authority import KeyStatus, RevokedKind, TrustBundle
from fabgossip.model.ids import ClusterId, NodeId, PlatformId
from fabgossip.model.moment import UnixTime, seconds_after
from fabgossip.trust.bundle import succession_fault
from fabgossip.trust.revocation import node_token
from fabgossip.wire.envelopes import parse_envelope
from tests.control.believer import Believer
from tests.control.fabric import NOW, ROUTES, SNAPSHOT, STORE, node

SOURCE = Source(documents=(ROUTES, SNAPSHOT))
LATER = seconds_after(NOW, 60)
SEQUENCES = 15
"""Each makes a folder of keys and writes some hundred files."""
ALL_ROLES = tuple(role.name for role in KEY_ROLES)


def new_authority(folder: Path) -> AuthorityFolder:
    made = AuthorityFolder(folder / "authority")
    made.create(PlatformId("acme-net"), ClusterId("prod"), NOW, ())
    made.save_node(STORE)
    made.save_node(node("n2", orgs=("acme",), roles=("edge",)))
    return made


@pytest.fixture
def authority(tmp_path: Path) -> AuthorityFolder:
    return new_authority(tmp_path)


def ids_of(bundle: TrustBundle, role: str) -> frozenset[bytes]:
    return frozenset(role_key_ids(bundle, key_role(role)))


def status_of(bundle: TrustBundle) -> dict[bytes, KeyStatus]:
    return {key.key_id: key.status for key in bundle.keys}


def test_the_chain_is_believed_step_by_step_from_the_first_pin(authority: AuthorityFolder) -> None:
    believer = Believer(authority.bootstrap())
    for number in range(1, 4):
        before = authority.bundle()
        after = rotate(authority, RotationWish(roles=("policy",), roots=True), LATER)
        assert succession_fault(before, after) is None
        assert after.bundle_version == number + 1
    assert not set(authority.bundle().root_keys) & set(authority.chain()[0].root_keys)
    authority.compile(SOURCE, LATER)
    believer.take_all(authority, LATER)
    assert believer.refused == []
    assert believer.facts.bundle == authority.bundle()


def test_a_new_key_signs_and_the_old_one_is_believed_for_what_it_signed(
    authority: AuthorityFolder,
) -> None:
    believer = Believer(authority.bootstrap())
    authority.compile(SOURCE, NOW)
    believer.take_all(authority, NOW)
    (old,) = ids_of(authority.bundle(), "policy")
    after = rotate(authority, RotationWish(roles=("policy",)), LATER)
    (fresh,) = ids_of(after, "policy") - {old}
    assert authority.compile(SOURCE, LATER) == ()
    changed = Source(documents=(replace(ROUTES, content=b"new"), SNAPSHOT))
    (routes,) = authority.compile(changed, LATER)
    assert {one.key_id for one in parse_envelope(routes.envelope).signatures} == {fresh}
    believer.take_all(authority, LATER)
    assert believer.refused == []
    window = next(key for key in after.keys if key.key_id == old)
    assert window.status is KeyStatus.ACTIVE
    assert window.not_after == seconds_after(LATER, 86_400)


def test_what_a_revoked_or_retired_key_signed_is_signed_again(authority: AuthorityFolder) -> None:
    authority.compile(SOURCE, NOW)
    for number, old_keys in enumerate((OldKeys.RETIRE, OldKeys.REVOKE), 1):
        now = seconds_after(LATER, number)
        (before,) = ids_of(authority.bundle(), "policy") & active(authority.bundle())
        after = rotate(authority, RotationWish(roles=("policy",), old_keys=old_keys), now)
        expected = KeyStatus.RETIRED if old_keys is OldKeys.RETIRE else KeyStatus.REVOKED
        assert status_of(after)[before] is expected
        (routes,) = authority.compile(SOURCE, now)
        assert routes.manifest.namespace.text.endswith("routes/main")
        assert before not in routes.manifest.signer_key_ids


def active(bundle: TrustBundle) -> frozenset[bytes]:
    return frozenset(one for one, status in status_of(bundle).items() if status is KeyStatus.ACTIVE)


def test_a_revoked_keys_file_goes_and_any_other_stays(authority: AuthorityFolder) -> None:
    folder = authority.folder / "keys"
    (kept,) = ids_of(authority.bundle(), "policy")
    (lost,) = ids_of(authority.bundle(), "compiler")
    rotate(authority, RotationWish(roles=("policy",), old_keys=OldKeys.RETIRE), LATER)
    rotate(authority, RotationWish(roles=("compiler",), old_keys=OldKeys.REVOKE), LATER)
    assert (folder / "policy" / f"{kept.hex()}.pem").is_file()
    assert not (folder / "compiler" / f"{lost.hex()}.pem").exists()


def test_releases_get_as_many_keys_as_must_sign(authority: AuthorityFolder) -> None:
    after = rotate(authority, RotationWish(roles=("release",), old_keys=OldKeys.REVOKE), LATER)
    right = next(one for one in after.rights if one.kind == ArtifactType.UPDATE_MANIFEST.value)
    assert (right.threshold, len(right.key_ids)) == (2, 2)


def test_a_new_epoch_signs_everything_again_from_version_one(authority: AuthorityFolder) -> None:
    believer = Believer(authority.bootstrap())
    first = authority.compile(SOURCE, NOW)
    believer.take_all(authority, NOW)
    rotate(authority, RotationWish(opens_epoch=True), LATER)
    again = authority.compile(SOURCE, LATER)
    names = {one.manifest.namespace.text for one in first}
    assert {one.manifest.namespace.text for one in again} == names
    assert {str(one.manifest.order) for one in again} == {"2.1"}
    believer.take_all(authority, LATER)
    assert believer.refused == []
    assert authority.compile(SOURCE, LATER) == ()


def test_claims_follow_their_key_and_the_epoch(authority: AuthorityFolder) -> None:
    authority.compile(SOURCE, NOW)
    for wish in (
        RotationWish(roles=("claims",), old_keys=OldKeys.REVOKE),
        RotationWish(opens_epoch=True),
    ):
        rotate(authority, wish, LATER)
        names = {one.manifest.namespace.text for one in authority.compile(SOURCE, LATER)}
        prefix = authority.bundle().prefix
        assert {f"{prefix}/snapshots/node/{one}" for one in ("store", "n2")} <= names


def test_a_node_ca_follows_another_without_a_gap(authority: AuthorityFolder) -> None:
    first = active_node_ca(authority.bundle())
    both = rotate(authority, RotationWish(node_ca=True), LATER)
    assert [one.status for one in both.node_cas] == [KeyStatus.ACTIVE] * 2
    second = active_node_ca(both)
    assert second != first
    assert authority.node_ca().curve.name == "secp256r1"
    retired = rotate(authority, RotationWish(old_node_cas=KeyStatus.RETIRED), LATER)
    assert {one.der: one.status for one in retired.node_cas} == {
        first: KeyStatus.RETIRED,
        second: KeyStatus.ACTIVE,
    }
    at_once = RotationWish(node_ca=True, old_node_cas=KeyStatus.REVOKED)
    revoked = rotate(authority, at_once, LATER)
    assert {one.der: one.status for one in revoked.node_cas} == {
        second: KeyStatus.REVOKED,
        active_node_ca(revoked): KeyStatus.ACTIVE,
    }
    with pytest.raises(ControlError, match="cannot be read"):
        authority.keys.node_ca(second)


def test_every_fault_is_said_before_anything_is_written(authority: AuthorityFolder) -> None:
    before = contents(authority.folder)
    for wish, words in (
        (RotationWish(), "nothing to change"),
        (RotationWish(protocol_min=9), "protocol 9"),
        (RotationWish(lifted=("ab",)), "only with --new-epoch"),
        (RotationWish(lifted=("ab",), opens_epoch=True), "0 entries"),
        (RotationWish(roles=("nobody",)), "expected compiler"),
        (RotationWish(old_node_cas=KeyStatus.RETIRED), "nothing to change"),
    ):
        with pytest.raises(ControlError, match=words):
            rotate(authority, wish, LATER)
    assert contents(authority.folder) == before


def test_roots_may_lie_elsewhere_and_both_sets_must_be_at_hand(
    authority: AuthorityFolder, tmp_path: Path
) -> None:
    away = tmp_path / "away"
    (authority.folder / "keys" / "root").rename(away)
    wish = RotationWish(roles=("policy",))
    with pytest.raises(ControlError, match="0 root keys of trust bundle 1 are here, 2 must sign"):
        rotate(authority, wish, LATER)
    rotate(authority, wish, LATER, (away,))
    one, *_ = sorted(away.glob("*.pem"))
    one.unlink()
    after = rotate(authority, RotationWish(roots=True), LATER, (away,))
    assert len(after.root_keys) == 3
    assert after.root_threshold == 2
    believer = Believer(authority.bootstrap())
    assert believer.facts.bundle == after


def test_without_roots_the_bundle_is_left_and_said_to_be_due(authority: AuthorityFolder) -> None:
    authority.compile(SOURCE, NOW)
    (authority.folder / "keys" / "root").rename(authority.folder / "away")
    late = seconds_after(NOW, 20 * 86_400)
    assert not authority.is_bundle_due(LATER)
    made = authority.compile(SOURCE, late)
    kinds = {one.manifest.artifact_type for one in made}
    assert ArtifactType.TRUST_BUNDLE not in kinds
    assert authority.is_bundle_due(late)
    (fresh,) = authority.compile(SOURCE, late, root_folders=(authority.folder / "away",))
    assert fresh.manifest.artifact_type is ArtifactType.TRUST_BUNDLE
    assert not authority.is_bundle_due(late)


def test_new_nodes_pin_the_newest_bundle(authority: AuthorityFolder) -> None:
    after = rotate(authority, RotationWish(roles=("policy",)), LATER)
    assert Believer(authority.bootstrap()).facts.bundle == after


def test_an_old_key_leaves_the_bundle_once_all_it_signed_has_expired(
    authority: AuthorityFolder,
) -> None:
    (old,) = ids_of(authority.bundle(), "policy")
    rotate(authority, RotationWish(roles=("policy",), old_keys=OldKeys.RETIRE), LATER)
    month = seconds_after(LATER, 30 * 86_400)
    early = rotate(authority, RotationWish(roles=("compiler",)), seconds_after(month, -1))
    assert old in status_of(early)
    late = rotate(authority, RotationWish(roles=("compiler",)), month)
    assert old not in status_of(late)
    assert old not in ids_of(late, "policy")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()
    }


class Cut(Exception):  # noqa: N818  # the power goes; nobody handles it
    """The process ends here."""


@pytest.mark.parametrize("writes", range(16))
def test_a_crash_between_two_writes_leaves_the_old_state_or_the_new(
    writes: int, authority: AuthorityFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was written before the cut: the next commands work, and what they hand out is
    believed."""
    believer = Believer(authority.bootstrap())
    authority.compile(SOURCE, NOW)
    believer.take_all(authority, NOW)
    authority.revoke(revocation("n2"), NOW)
    left = [writes]

    def cut_before(real: Callable[[Path, bytes], None]) -> Callable[[Path, bytes], None]:
        def write(path: Path, data: bytes) -> None:
            if not left[0]:
                raise Cut
            left[0] -= 1
            real(path, data)

        return write

    with monkeypatch.context() as patch:
        patch.setattr(keystore, "write_private", cut_before(keystore.write_private))
        patch.setattr(files, "replace_one", cut_before(files.replace_one))
        try:
            lifted = tuple(row.entry_id for row in authority.book().rows)
            wish = RotationWish(
                roles=("policy", "release"),
                old_keys=OldKeys.REVOKE,
                roots=True,
                node_ca=True,
                opens_epoch=True,
                lifted=lifted,
            )
            rotate(authority, wish, LATER)
        except Cut:
            pass
    with authority.locked():
        assert authority.bundle().bundle_version in (1, 2)
        is_new = authority.bundle().bundle_version == 2
        in_force = authority.book().in_force(authority.bundle().authority_epoch, LATER)
        assert len(in_force) == (0 if is_new else 1)
        # What was revoked is gone, the power cut notwithstanding: a thief may be why.
        bundle = authority.bundle()
        revoked = {
            id_.hex() for id_, status in status_of(bundle).items() if status is KeyStatus.REVOKED
        }
        assert revoked or not is_new
        assert not revoked & {path.stem for path in authority.folder.glob("keys/*/*.pem")}
        authority.compile(SOURCE, LATER)
        believer.take_all(authority, LATER)
        assert believer.refused == []
        assert believer.facts.bundle == authority.bundle()
        if not is_new:
            rotate(authority, RotationWish(opens_epoch=True), LATER)
            epoch = authority.bundle().authority_epoch
            assert len(authority.book().in_force(epoch, LATER)) == 1


def revocation(node_id: str) -> RevocationRow:
    return RevocationRow(
        kind=RevokedKind.NODE.name,
        value=node_token(ClusterId("prod"), NodeId(node_id)).hex(),
        subject=node_id,
        reason="lost",
        since_epoch=1,
        since=NOW,
    )


@dataclass
class Steps:
    """Commands in a row on one authority, each with its own time."""

    authority: AuthorityFolder
    believer: Believer
    now: UnixTime = NOW
    content: int = 0

    def run(self, command: tuple[str, object]) -> None:
        """One command; a refusal changes nothing."""
        name, argument = command
        self.now = seconds_after(self.now, 61)
        try:
            getattr(self, name)(argument)
        except ControlError:
            return

    def compile(self, change: object) -> None:
        self.content += bool(change)
        self.authority.compile_trust(self.now)
        self.authority.compile(self.source(), self.now)

    def source(self) -> Source:
        routes = replace(ROUTES, content=b"routes %d" % self.content)
        return Source(documents=(routes, replace(SNAPSHOT, covers=("routes",))))

    def rotate(self, wish: object) -> None:
        assert isinstance(wish, RotationWish)
        rotate(self.authority, wish, self.now)

    def revoke(self, kind: object) -> None:
        """A node, a key in force, or the content of the routes."""
        row = revocation("n2")
        if kind is RevokedKind.SIGNING_KEY:
            key = self.authority.bundle().keys[-1]
            row = replace(row, kind=kind.name, value=key.key_id.hex())
        if kind is RevokedKind.CONTENT:
            value = sha256(b"routes %d" % self.content).hexdigest()
            row = replace(row, kind=kind.name, value=value)
        self.authority.revoke(row, self.now)

    def tombstone(self, purge: object) -> None:
        gone = Tombstone(reason="bad", purge=bool(purge))
        self.authority.tombstone("routes/main", gone, self.now)

    def publish(self, everything: object) -> None:
        self.believer.take_all(self.authority, self.now, everything=bool(everything))


WISHES = st.builds(
    RotationWish,
    roles=st.lists(st.sampled_from(ALL_ROLES), max_size=2).map(tuple),
    old_keys=st.sampled_from(OldKeys),
    roots=st.booleans(),
    node_ca=st.booleans(),
    old_node_cas=st.sampled_from(KeyStatus),
    opens_epoch=st.booleans(),
)
KINDS = (RevokedKind.NODE, RevokedKind.SIGNING_KEY, RevokedKind.CONTENT)
COMMANDS = st.one_of(
    st.tuples(st.just("compile"), st.booleans()),
    st.tuples(st.just("rotate"), WISHES),
    st.tuples(st.just("revoke"), st.sampled_from(KINDS)),
    st.tuples(st.just("tombstone"), st.booleans()),
    st.tuples(st.just("publish"), st.booleans()),
)


@pytest.mark.slow
@settings(max_examples=SEQUENCES)
@for_all(commands=st.lists(COMMANDS, max_size=12))
def test_any_sequence_of_commands_gives_what_nodes_believe(
    commands: list[tuple[str, object]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every step of the chain and every artifact handed out is accepted, in order; and once each
    role has a key in force again, one compile is enough to make everything current."""
    authority = new_authority(tmp_path_factory.mktemp("a"))
    steps = Steps(authority, Believer(authority.bootstrap()))
    for command in commands:
        steps.run(command)
    steps.rotate(RotationWish(roles=ALL_ROLES, old_keys=OldKeys.REVOKE))
    steps.content += 1
    steps.now = seconds_after(steps.now, 61)
    head = authority.published().get(f"{authority.bundle().prefix}/routes/main")
    is_withdrawn = head is not None and head.manifest.tombstone is not None
    restored = ("routes/main",) if is_withdrawn else ()
    authority.compile(steps.source(), steps.now, restored=restored)
    assert authority.compile(steps.source(), steps.now) == ()
    steps.publish(everything=False)
    assert steps.believer.refused == []
    chain = authority.chain()
    assert {succession_fault(*step) for step in pairwise(chain)} <= {None}
    assert steps.believer.facts.bundle == chain[-1]
    drafted = {
        f"{chain[-1].prefix}/{one}"
        for one in ("routes/main", "snapshots/role/edge", "snapshots/node/store")
    }
    assert drafted <= steps.believer.current(steps.now)
