"""The book of revocations: what each list holds, and what must be known of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.bundles import OldKeys
from fabgossip.control.revoking import RevocationBook, RevocationRow, read_book, write_book
from fabgossip.control.rotation import RotationWish, rotate
from fabgossip.control.sources.folder import Source
from fabgossip.errors import ControlError
from fabgossip.model.artifact import ArtifactType, Manifest, Tombstone
from fabgossip.model.ids import ClusterId, NodeId, PlatformId, key_id_of
from fabgossip.model.moment import UnixTime, seconds_after
from fabgossip.trust.revocation import node_token
from fabgossip.wire.contents import parse_peer_directory, parse_revocations
from tests.control.believer import Believer
from tests.control.fabric import NOW, ROUTES, STORE, node

SOURCE = Source(documents=(ROUTES,))
ROW = RevocationRow(
    kind="NODE",
    value=node_token(ClusterId("prod"), NodeId("n2")).hex(),
    subject="n2",
    reason="lost",
    since_epoch=1,
    since=NOW,
)
DAY = 86_400


@pytest.fixture
def authority(tmp_path: Path) -> AuthorityFolder:
    made = AuthorityFolder(tmp_path / "authority")
    made.create(PlatformId("demo-test"), ClusterId("prod"), NOW, ())
    made.save_node(STORE)
    made.save_node(node("n2", orgs=("acme",), services=("web",)))
    return made


def test_an_entry_lies_in_every_list_until_a_day_after_its_end() -> None:
    book = RevocationBook((replace(ROW, until=NOW + 10),))
    for after_s, count in ((0, 1), (10 + DAY - 1, 1), (10 + DAY, 0)):
        assert len(book.listed(1, seconds_after(NOW, after_s)).entries) == count
    for_ever = RevocationBook((ROW,))
    assert len(for_ever.listed(1, seconds_after(NOW, 10_000 * DAY)).entries) == 1


def test_an_entry_is_made_once() -> None:
    book = RevocationBook().with_row(ROW, NOW)
    assert book.with_row(replace(ROW, reason="again"), NOW) is book


def test_a_list_stands_in_one_order() -> None:
    rows = (replace(ROW, value="ff" * 32), replace(ROW, value="00" * 32))
    forward, backward = RevocationBook(rows), RevocationBook(rows[::-1])
    assert forward.listed(1, NOW) == backward.listed(1, NOW)


def test_only_a_new_epoch_lifts_and_only_what_was_named() -> None:
    other = replace(ROW, value="aa" * 32, subject="other")
    book = RevocationBook((ROW, other)).lifted((ROW.entry_id,), 2, NOW)
    assert book.in_force(1, NOW) == book.rows
    assert [row.subject for row in book.in_force(2, NOW)] == ["other"]
    taken_back = book.lifted((), 2, NOW)
    assert len(taken_back.in_force(2, NOW)) == 2


@pytest.mark.parametrize("entry_id", ["", "0123456789ab"])
def test_an_entry_is_lifted_by_an_id_it_has(entry_id: str) -> None:
    with pytest.raises(ControlError, match="entries in force have this id"):
        RevocationBook((ROW,)).lifted((entry_id,), 2, NOW)


def test_what_must_be_known_is_the_list_with_every_key_and_node() -> None:
    content = replace(ROW, kind="CONTENT", value="aa" * 32, listed_in=9)
    book = RevocationBook((replace(ROW, listed_in=4), content))
    assert book.version_min(1, NOW) == 4
    assert book.version_min(2, NOW) == 1
    assert RevocationBook((content,)).version_min(1, NOW) == 0


@pytest.mark.parametrize("reason", ["x" * 64, "gelöscht"])
def test_no_list_holds_what_it_cannot_say(reason: str) -> None:
    with pytest.raises(ControlError, match="n2: reason"):
        RevocationBook().with_row(replace(ROW, reason=reason), NOW)


def test_a_book_is_read_as_it_was_written(tmp_path: Path) -> None:
    book = RevocationBook((ROW, replace(ROW, value="aa" * 32)))
    write_book(tmp_path / "book", book)
    assert read_book(tmp_path / "book") == book
    assert read_book(tmp_path / "none") == RevocationBook()
    (tmp_path / "book").write_text('[{"kind": "NODE"}]')
    with pytest.raises(ControlError):
        read_book(tmp_path / "book")


def test_a_revoked_node_leaves_directories_and_snapshots_at_the_next_compile(
    authority: AuthorityFolder,
) -> None:
    authority.compile(SOURCE, NOW)
    assert authority.revoke(ROW, NOW)
    assert not authority.revoke(ROW, NOW)
    made = {
        one.manifest.namespace.text.removeprefix(f"{authority.bundle().prefix}/"): one
        for one in authority.compile(SOURCE, seconds_after(NOW, 1))
    }
    (entry,) = parse_revocations(made["trust/revocations"].content).entries
    assert entry.value.hex() == ROW.value
    for name in ("org/acme/peers/scope/org:acme", "peers/scope/service:web"):
        listed = {peer.node_id for peer in parse_peer_directory(made[name].content).peers}
        assert "n2" not in listed
    assert "snapshots/node/n2" not in made
    # The scope is empty now, and says so once.
    assert authority.compile(SOURCE, seconds_after(NOW, 2)) == ()
    with pytest.raises(ControlError, match="n2 is revoked"):
        authority.member("n2", NOW)


def test_the_list_named_as_minimum_has_the_entry(authority: AuthorityFolder) -> None:
    """What is compiled with it or later is not acted on by who has not seen the list."""
    authority.compile(SOURCE, NOW)
    authority.compile_trust(seconds_after(NOW, 300))
    authority.revoke(ROW, seconds_after(NOW, 301))
    changed = Source(documents=(replace(ROUTES, content=b"new"),))
    made = authority.compile(changed, seconds_after(NOW, 302))
    manifests = {one.manifest.artifact_type: one.manifest for one in made}
    listed = manifests[ArtifactType.REVOCATION_LIST].config_version
    assert listed == 3
    assert manifests[ArtifactType.ROUTE_POLICY_BUNDLE].min_revocation_version == listed
    believer = Believer(authority.bootstrap())
    believer.take_all(authority, seconds_after(NOW, 302))
    assert believer.refused == []


def test_a_restriction_waits_for_no_source_and_no_other_key(authority: AuthorityFolder) -> None:
    authority.compile(SOURCE, NOW)
    (claims_key,) = authority.signing_keys("node_claims", NOW)
    key = replace(ROW, kind="SIGNING_KEY", value=claims_key.key_id.hex())
    authority.revoke(key, NOW)
    with pytest.raises(ControlError, match=r"0 keys may sign node_claims, 1 must.*rotate --role"):
        authority.compile(SOURCE, seconds_after(NOW, 1))
    (listed,) = authority.compile_trust(seconds_after(NOW, 1))
    assert parse_revocations(listed.content).entries[0].value == claims_key.key_id
    rotate(authority, RotationWish(roles=("claims",), old_keys=OldKeys.REVOKE), NOW)
    assert authority.compile(SOURCE, seconds_after(NOW, 1))
    assert authority.minimums(NOW).trust == 2


def test_what_a_list_must_not_take_away_is_refused(authority: AuthorityFolder) -> None:
    authority.compile(SOURCE, NOW)
    bundle = authority.bundle()
    root = key_id_of(bundle.root_keys[0]).hex()
    (lists,) = authority.signing_keys("revocation_list", NOW)
    head = authority.published()[f"{bundle.prefix}/trust/revocations"].manifest
    for kind, value, words in (
        ("SIGNING_KEY", root, "rotate --roots"),
        ("SIGNING_KEY", lists.key_id.hex(), "no list takes away the key that signs it"),
        ("SIGNING_KEY", "00" * 32, "no key of the trust bundle"),
        ("CONTENT", head.content_hash.hex(), "trust in force"),
    ):
        with pytest.raises(ControlError, match=words):
            authority.revoke(replace(ROW, kind=kind, value=value), NOW)
    assert authority.book() == RevocationBook()


def routes_of(authority: AuthorityFolder) -> Manifest:
    return authority.published()[f"{authority.bundle().prefix}/routes/main"].manifest


def test_a_revoked_manifest_is_replaced_and_a_revoked_content_refused(
    authority: AuthorityFolder,
) -> None:
    authority.compile(SOURCE, NOW)
    envelope = next(
        one.stem
        for one in (authority.folder / "published").glob("*.envelope")
        if b"routes/main" in one.read_bytes()
    )
    authority.revoke(replace(ROW, kind="MANIFEST", value=envelope), NOW)
    authority.compile(SOURCE, seconds_after(NOW, 1))
    assert routes_of(authority).config_version == 2
    content = routes_of(authority).content_hash.hex()
    authority.revoke(replace(ROW, kind="CONTENT", value=content), NOW)
    with pytest.raises(ControlError, match="routes/main: this content is revoked"):
        authority.compile(SOURCE, seconds_after(NOW, 2))


def test_a_tombstone_is_the_next_version_and_holds_until_restored(
    authority: AuthorityFolder,
) -> None:
    believer = Believer(authority.bootstrap())
    authority.compile(SOURCE, NOW)
    before = routes_of(authority)
    signed = authority.tombstone("routes/main", Tombstone(reason="bad", purge=True), NOW)
    assert (signed.manifest.config_version, signed.content) == (2, b"")
    assert signed.manifest.audience == before.audience
    authority.compile(Source(), NOW)
    assert routes_of(authority) == signed.manifest
    with pytest.raises(ControlError, match=r"routes/main: is withdrawn by 1\.2.*--restore"):
        authority.compile(SOURCE, NOW)
    with pytest.raises(ControlError, match="is withdrawn already"):
        authority.tombstone("routes/main", Tombstone(reason="bad", purge=True), NOW)
    believer.take_all(authority, NOW)
    name = f"{authority.bundle().prefix}/routes/main"
    assert name not in believer.current(NOW)
    authority.compile(SOURCE, NOW, restored=("routes/main",))
    assert (routes_of(authority).config_version, routes_of(authority).tombstone) == (3, None)
    assert authority.compile(SOURCE, NOW) == ()
    believer.take_all(authority, NOW)
    assert name in believer.current(NOW)
    with pytest.raises(ControlError, match="routes/main: is not withdrawn"):
        authority.compile(SOURCE, NOW, restored=("routes/main",))


@pytest.mark.parametrize("clock_step_s", [-5 * 86_400, 0, 60])
def test_a_tombstone_outlives_what_it_withdraws(
    clock_step_s: int, authority: AuthorityFolder
) -> None:
    compiled_at = seconds_after(NOW, 6 * 86_400)
    authority.compile(SOURCE, compiled_at)
    before = routes_of(authority)
    at = seconds_after(compiled_at, clock_step_s)
    signed = authority.tombstone("routes/main", Tombstone(reason="bad", purge=False), at)
    assert signed.manifest.expires_at >= before.expires_at


def test_a_tombstone_goes_on_in_a_new_epoch_until_it_expires(authority: AuthorityFolder) -> None:
    authority.compile(SOURCE, NOW)
    authority.tombstone("routes/main", Tombstone(reason="bad", purge=False), NOW)
    later = seconds_after(NOW, 60)
    rotate(authority, RotationWish(opens_epoch=True), later)
    authority.compile(Source(), later)
    manifest = routes_of(authority)
    assert (str(manifest.order), manifest.tombstone) == (
        "2.1",
        Tombstone(reason="bad", purge=False),
    )
    month = UnixTime(manifest.expires_at)
    rotate(authority, RotationWish(opens_epoch=True), month)
    authority.compile(Source(), month)
    assert routes_of(authority) == manifest


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("routes/none", "nothing was ever published"),
        ("trust/bundle", "made from the enrolled nodes"),
        ("peers/scope/cluster:prod", "made from the enrolled nodes"),
        ("snapshots/node/n2", "revoke the node"),
    ],
)
def test_what_the_compiler_makes_is_not_withdrawn(
    path: str, words: str, authority: AuthorityFolder
) -> None:
    authority.compile(SOURCE, NOW)
    with pytest.raises(ControlError, match=words):
        authority.tombstone(path, Tombstone(reason="bad", purge=False), NOW)
