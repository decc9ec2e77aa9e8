"""The verbs that change trust, as an operator types them."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from fabgossip.control.authority import AuthorityFolder
from fabgossip.daemon.driver import read_clocks
from fabgossip.wire.envelopes import parse_envelope
from fabgossip.wire.statements import parse_grant
from tests.cli.test_commands import Output, outcome

FABRIC = """schema = 1
[[artifact]]
type = "route_policy_bundle"
namespace = "routes/main"
file = "routes"
"""


@pytest.fixture
def folder(tmp_path: Path, capsys: Output) -> Path:
    """An authority, a storage node, a node `n1`, a source; nothing compiled."""
    control(tmp_path, capsys, "init", "--platform", "demo-cli", "--cluster", "c1")
    store = ("--stores", "cluster", "--class", "core", "--address", "127.0.0.1:1")
    control(tmp_path, capsys, "enroll", "store", "--out", tmp_path / "store", *store)
    edge = ("--org", "acme", "--role", "edge", "--address", "127.0.0.1:2", "--zone", "z7")
    control(tmp_path, capsys, "enroll", "n1", "--out", tmp_path / "n1", *edge)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "fabric.toml").write_text(FABRIC)
    (tmp_path / "source" / "routes").write_text("routes")
    return tmp_path


def tried(folder: Path, capsys: Output, verb: str, *more: str | Path) -> tuple[int, str]:
    """Exit code and what was said."""
    authority = ("--authority", folder / "authority")
    code, out, err = outcome(capsys, "control", verb, *authority, *more)
    return code, out + err


def control(folder: Path, capsys: Output, verb: str, *more: str | Path) -> str:
    code, said = tried(folder, capsys, verb, *more)
    assert code == 0, said
    return said


def as_json(folder: Path, capsys: Output, verb: str, *more: str | Path) -> dict[str, object]:
    found = json.loads(control(folder, capsys, verb, *more, "--json"))
    assert isinstance(found, dict)
    return found


def compiled(folder: Path, capsys: Output, *more: str) -> set[str]:
    """Ends of the namespaces a compile made."""
    items = as_json(folder, capsys, "compile", folder / "source", *more)["compiled"]
    assert isinstance(items, list)
    return {one["namespace"].removeprefix("platform/demo-cli/cluster/c1/") for one in items}


def test_rotate_says_what_is_in_force_and_what_to_do_next(folder: Path, capsys: Output) -> None:
    said = control(folder, capsys, "rotate", "--role", "policy", "--keep-old", "revoke")
    assert "trust bundle 2, epoch 1" in said
    assert "next 1: fabgossip control compile" in said
    found = as_json(folder, capsys, "rotate", "--roots", "--node-ca", "--new-epoch")
    assert (found["bundle_version"], found["epoch"]) == (3, 2)
    steps = str(found["next"])
    assert "--retire-node-ca" in steps
    assert "keys/root" in steps
    control(folder, capsys, "enroll", "n2", "--out", folder / "n2", "--address", "127.0.0.1:3")
    assert str(found["bootstrap_sha256"]) in (folder / "n2" / "fabgossip.toml").read_text()


def test_rotate_tells_the_files_of_new_roots_from_the_old(folder: Path, capsys: Output) -> None:
    kept = folder / "authority" / "keys" / "root"
    old = {path.stem for path in kept.iterdir()}
    said = control(folder, capsys, "rotate", "--roots").splitlines()
    new = {path.stem for path in kept.iterdir()} - old
    rows = {
        words[1]: set(words[2:])
        for words in (one.replace(",", "").split() for one in said)
        if words[0] == "root"
    }
    assert rows == {"new": new, "old": old}
    found = as_json(folder, capsys, "rotate", "--roots")["roots"]
    assert isinstance(found, dict)
    assert set(found["old"]) == new
    assert as_json(folder, capsys, "rotate", "--role", "grants")["roots"] == {}


def test_rotate_tells_a_new_key_from_the_old_and_when_that_ends(
    folder: Path, capsys: Output
) -> None:
    """Both stood in one row: nobody could tell which file to keep, and until when."""
    kept = folder / "authority" / "keys" / "policy"
    (old,) = (path.stem for path in kept.iterdir())
    said = control(folder, capsys, "rotate", "--role", "policy").splitlines()
    rows = [one.split() for one in said if one.startswith("  policy")]
    (new,) = {path.stem for path in kept.iterdir()} - {old}
    assert [row[1:-1] for row in rows] == [["new"], ["old", old, "until"]]
    assert rows[0][-1] == new
    ends = datetime.fromisoformat(rows[1][-1]).timestamp()
    assert abs(ends - read_clocks().unix - 86_400) < 60
    for how, word in (("retire", "retired"), ("revoke", "revoked")):
        found = as_json(folder, capsys, "rotate", "--role", "policy", "--keep-old", how)["keys"]
        assert isinstance(found, dict)
        states = {(one["age"], one["status"]) for one in found["policy"]}
        assert states == {("new", "active"), ("old", word)}


def test_a_new_epoch_asks_for_no_work_at_the_nodes(folder: Path, capsys: Output) -> None:
    """Their own snapshots bring them claims of it."""
    assert "--renew" not in control(folder, capsys, "rotate", "--new-epoch")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing to change: name a role"),
        (("--retire-node-ca",), "nothing to change: there is one node CA"),
        (("--min-protocol", "1"), "nothing to change: peers speak protocol 1 or newer already"),
        (("--min-protocol", "0"), "protocol 0: the least a peer may speak is 1 now"),
        (("--keep-old", "revoke"), "goes with --role"),
        (("--node-ca", "--revoke-old", "--retire-node-ca"), "not allowed with"),
        (("--revoke-old",), "goes with --node-ca"),
        (("--lift", "ab"), "goes with --new-epoch"),
        (("--role", "root"), "invalid choice"),
        (("--min-protocol", "9"), "protocol 9"),
    ],
)
def test_a_rotation_that_makes_no_sense_is_refused(
    arguments: tuple[str, ...], words: str, folder: Path, capsys: Output
) -> None:
    code, said = tried(folder, capsys, "rotate", *arguments)
    assert code in (1, 2)
    assert words in said
    assert AuthorityFolder(folder / "authority").bundle().bundle_version == 1


def test_a_key_is_revoked_by_as_many_digits_as_why_shows(folder: Path, capsys: Output) -> None:
    (key,) = (folder / "authority" / "keys" / "policy").glob("*.pem")
    reason = ("--reason", "stolen")
    found = as_json(folder, capsys, "revoke", "--key", key.stem[:12], *reason)
    assert (found["kind"], found["entry"]) == ("signing_key", key.stem[:12])
    (row,) = AuthorityFolder(folder / "authority").book().rows
    assert (row.value, row.subject) == (key.stem, key.stem)
    (root, *_) = (folder / "authority" / "keys" / "root").glob("*.pem")
    code, said = tried(folder, capsys, "revoke", "--key", root.stem[:20], *reason)
    assert (code, "a root key" in said) == (1, True)


def test_every_next_command_can_be_pasted(folder: Path, capsys: Output) -> None:
    """Without --authority each ended with the usage."""
    revoked = ("revoke", "--grant", "ab" * 16, "--reason", "lost")
    stores = ("enroll", "control-1", "--out", folder / "c", "--role", "control-endpoint")
    made = (
        revoked,
        ("rotate", "--node-ca", "--roots"),
        (*stores, "--stores", "cluster", "--address", "127.0.0.1:5"),
        ("enroll", "n1", "--change", "--out", folder / "n1", "--org", "elsewhere"),
    )
    compiled(folder, capsys)
    said = [control(folder, capsys, *words) for words in made]
    said.append(control(folder, capsys, "tombstone", "routes/main", "--reason", "bad"))
    lines = [line for one in said for line in one.splitlines() if "fabgossip control" in line]
    assert len(lines) >= 7
    for line in lines:
        assert f"--authority {folder / 'authority'}" in line, line


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("tombstone", "routes/nope", "--reason", "bad"), "; did you mean 'routes/main'?"),
        (("tombstone", "qos/x", "--reason", "bad"), "; known: routes/main"),
        (
            ("enroll", "n1", "--renew", "--out", "nowhere"),
            "name the folder that enroll wrote for n1",
        ),
        (("enroll", "n11", "--renew", "--out", "nowhere"), "did you mean 'n1'?"),
    ],
)
def test_a_name_of_nothing_is_answered_with_what_there_is(
    command: tuple[str, ...], words: str, folder: Path, capsys: Output
) -> None:
    compiled(folder, capsys)
    code, said = tried(folder, capsys, *command)
    assert (code, words in said) == (1, True), said


def test_an_authority_that_cannot_be_made_is_not_said_to_be_there(
    tmp_path: Path, capsys: Output
) -> None:
    (tmp_path / "file").touch()
    for place, is_there in ((tmp_path / "file" / "a", False), (tmp_path, True)):
        words = ("--platform", "demo-x", "--cluster", "c1", "--authority", place)
        code, _, err = outcome(capsys, "control", "init", *words)
        assert (code, "never overwritten" in err) == (1, is_there), err


def test_a_revoked_node_is_listed_and_lifted_only_by_a_new_epoch(
    folder: Path, capsys: Output
) -> None:
    compiled(folder, capsys)
    entry = as_json(folder, capsys, "revoke", "--node", "n1", "--reason", "stolen laptop")["entry"]
    assert isinstance(entry, str)
    assert "trust/revocations" in compiled(folder, capsys)
    listed = as_json(folder, capsys, "revoke", "--list")
    assert listed["version"] == 2
    (row,) = listed["entries"] if isinstance(listed["entries"], list) else []
    assert (row["subject"], row["reason"], row["until"]) == ("n1", "stolen laptop", None)
    assert "stolen laptop" in control(folder, capsys, "revoke", "--list")
    code, said = tried(folder, capsys, "revoke", "--lift", entry)
    assert code == 1
    assert f"rotate --new-epoch --lift {entry}" in said
    code, said = tried(folder, capsys, "enroll", "n1", "--out", folder / "n1", "--renew")
    assert (code, "n1 is revoked" in said) == (1, True)
    control(folder, capsys, "rotate", "--new-epoch", "--lift", entry)
    assert "snapshots/node/n1" in compiled(folder, capsys)
    assert as_json(folder, capsys, "revoke", "--list")["entries"] == []


def test_everything_a_list_can_name_is_named_by_an_option(folder: Path, capsys: Output) -> None:
    compiled(folder, capsys)
    (key,) = (folder / "authority" / "keys" / "policy").glob("*.pem")
    certificate = folder / "n1" / "identity" / "node.crt"
    for option, value in (
        ("--key", key.stem),
        ("--certificate", certificate),
        ("--grant", "ab" * 16),
        ("--manifest", "cd" * 32),
        ("--content", "ef" * 32),
    ):
        until = ("--until", "2099-01-31")
        control(folder, capsys, "revoke", option, value, "--reason", "test", *until)
    entries = as_json(folder, capsys, "revoke", "--list")["entries"]
    assert isinstance(entries, list)
    assert [one["kind"] for one in entries] == [
        "signing_key", "certificate", "grant", "manifest", "content"
    ]  # fmt: skip
    assert {one["until"] for one in entries} == {"2099-01-31T00:00:00Z"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--node", "n1"), 2, "--reason TEXT"),
        (("--reason", "why"), 2, "required"),
        (("--node", "nobody", "--reason", "why"), 1, "nobody is not enrolled; known: n1, store"),
        (("--node", "stroe", "--reason", "why"), 1, "stroe is not enrolled; did you mean 'store'?"),
        (("--key", "ab", "--reason", "why"), 2, "64 lower-case"),
        (("--key", "ab" * 6, "--reason", "why"), 1, "0 keys of the trust bundle begin so"),
        (("--grant", "ab", "--reason", "why"), 2, "32 hexadecimal"),
        (("--grant", "zz", "--reason", "why"), 2, "--grant 'zz': expected 32 hexadecimal"),
        (("--node", "n1", "--reason", "why", "--until", "soon"), 2, "expected a date"),
        (("--node", "n1", "--reason", "why", "--until", "2001-01-01"), 2, "is past"),
        (("--certificate", "/nowhere", "--reason", "why"), 1, "No such file"),
    ],
)
def test_a_revocation_that_names_nothing_is_refused(
    arguments: tuple[str, ...], code: int, words: str, folder: Path, capsys: Output
) -> None:
    found, said = tried(folder, capsys, "revoke", *arguments)
    assert (found, words in said) == (code, True), said
    assert as_json(folder, capsys, "revoke", "--list")["entries"] == []


def test_a_broken_source_holds_up_no_revocation(folder: Path, capsys: Output) -> None:
    compiled(folder, capsys)
    control(folder, capsys, "revoke", "--node", "n1", "--reason", "stolen")
    (folder / "source" / "fabric.toml").write_text("no toml")
    code, _ = tried(folder, capsys, "compile", folder / "source")
    assert code == 1
    assert as_json(folder, capsys, "revoke", "--list")["version"] == 2


def test_a_tombstone_and_its_return(folder: Path, capsys: Output) -> None:
    compiled(folder, capsys)
    said = control(folder, capsys, "tombstone", "routes/main", "--reason", "bad-routes")
    assert "everything up to 1.2" in said
    code, said = tried(folder, capsys, "compile", folder / "source")
    assert (code, "--restore routes/main" in said) == (1, True)
    assert "routes/main" in compiled(folder, capsys, "--restore", "routes/main")
    full = "platform/demo-cli/cluster/c1/routes/main"
    found = as_json(folder, capsys, "tombstone", full, "--reason", "bad", "--purge")
    assert (found["namespace"], found["order"]) == (full, "1.4")
    for name, reason, code in (("routes/main", "Not an id", 2), ("no/such", "bad", 2)):
        assert tried(folder, capsys, "tombstone", name, "--reason", reason)[0] == code


def test_a_grant_is_written_once(folder: Path, capsys: Output) -> None:
    certificate = ("--certificate", folder / "n1" / "identity" / "node.crt")
    what = ("--type", "route_policy_bundle", "--scope", "role:edge", "--for", "90s")
    out = ("--out", folder / "grant")
    found = as_json(folder, capsys, "grant", "n1", *certificate, *what, *out)
    grant = parse_grant(parse_envelope((folder / "grant").read_bytes()).payload)
    assert grant.grant_id.hex() == found["grant"]
    assert grant.expires_at - grant.not_before == 90
    assert tried(folder, capsys, "grant", "n1", *certificate, *what, *out)[0] == 1
    for life in ("11m", "m", "1h", "0s"):
        more = (*what[:-1], life, "--out", folder / "other")
        assert tried(folder, capsys, "grant", "n1", *certificate, *more)[0] == 2
    out = ("--out", folder / "other")
    both = (*what, "--artifact", "services/dns")
    for wrong in ((), both, (*what, "--envelope", folder / "envelope")):
        code, said = tried(folder, capsys, "grant", "n1", *certificate, *wrong, *out)
        assert (code, "either --artifact" in said) == (2, True)
    assert not (folder / "other").exists()


def test_a_change_names_everything_the_node_is_entitled_to(folder: Path, capsys: Output) -> None:
    compiled(folder, capsys)
    out = ("--out", folder / "n1")
    found = as_json(folder, capsys, "enroll", "n1", *out, "--change", "--org", "zed")
    assert found["claims_version"] == 2
    row = AuthorityFolder(folder / "authority").member("n1", read_clocks().unix)
    assert (row.orgs, row.roles, row.zone) == (("zed",), (), "z7")
    assert row.addresses == ("127.0.0.1:2",)
    assert "snapshots/node/n1" in compiled(folder, capsys)
    for more in (("--change", "--renew"), ("--change", "--state-generation", "1")):
        assert tried(folder, capsys, "enroll", "n1", *out, *more)[0] == 2
    control(folder, capsys, "enroll", "n1", *out, "--renew", "--state-generation", "3")
    assert (
        AuthorityFolder(folder / "authority").member("n1", read_clocks().unix).state_generation == 3
    )


def test_a_changed_address_is_told_to_be_set_at_the_node_as_well(
    folder: Path, capsys: Output
) -> None:
    """Peers dialled the new one, and the node went on listening on the old."""
    change = ("enroll", "n1", "--out", folder / "n1", "--change")
    assert "listen.addresses" not in control(folder, capsys, *change, "--org", "acme")
    moved = control(folder, capsys, *change, "--address", "127.0.0.1:9")
    assert "next: set listen.addresses in its fabgossip.toml" in moved
    code, said = tried(folder, capsys, *change, "--listen", "127.0.0.1:9")
    assert (code, "set listen.addresses" in said) == (2, True)


def test_compile_says_for_how_many_nodes_and_of_what_for_nobody(
    folder: Path, capsys: Output
) -> None:
    fabric = folder / "source" / "fabric.toml"
    fabric.write_text(f'{FABRIC}audience = ["role:egde"]\n')
    warning = "warning: routes/main: no enrolled node matches role:egde (known roles: edge, member)"
    said = control(folder, capsys, "compile", folder / "source")
    assert warning in said.splitlines()
    lines = [line.split() for line in said.splitlines()]
    (row,) = (line for line in lines if line[0].endswith("routes/main"))
    assert (lines[0][-1], row[-1]) == ("NODES", "0")
    # As long as it lasts, not only when something is new.
    found = as_json(folder, capsys, "compile", folder / "source")
    assert found["warnings"] == [
        one.removeprefix("warning: ") for one in said.splitlines() if one.startswith("warning: ")
    ]


def test_an_organisation_no_control_endpoint_stores_for_is_told_when_it_is_first_named(
    folder: Path, capsys: Output
) -> None:
    endpoint = ("--role", "control-endpoint", "--stores", "cluster", "--address", "127.0.0.1:3")
    control(folder, capsys, "enroll", "control-1", "--out", folder / "control-1", *endpoint)
    stores = ("--stores", "nowhere", "--address", "127.0.0.1:4")
    said = control(folder, capsys, "enroll", "n4", "--out", folder / "n4", *stores)
    assert "warning: no control endpoint stores for nowhere" in said
    assert "enroll control-1 --change" in said


def test_enrolling_a_revoked_node_says_the_ways_there_are(folder: Path, capsys: Output) -> None:
    """Each of the three commands gives the same answer, and none sends to another of them."""
    place = ("--out", folder / "n1", "--address", "127.0.0.1:2")
    code, said = tried(folder, capsys, "enroll", "n1", *place)
    assert code == 1
    assert "--renew" in said
    assert "--change" in said
    entry = as_json(folder, capsys, "revoke", "--node", "n1", "--reason", "stolen")["entry"]
    for more in ((), ("--renew",), ("--change",)):
        named = () if "--renew" in more else place[2:]
        code, said = tried(folder, capsys, "enroll", "n1", *place[:2], *named, *more)
        assert code == 1
        assert f'n1 is revoked: "stolen" (entry {entry})' in said
        assert f"--new-epoch --lift {entry}" in said
        assert "--renew" not in said


@pytest.mark.parametrize(
    "more", [("--role", "x"), ("--address", "127.0.0.1:9"), ("--class", "core"), ("--org", "acme")]
)
def test_a_renewal_that_names_a_change_is_refused(
    more: tuple[str, ...], folder: Path, capsys: Output
) -> None:
    """It was ignored, and the operator went away believing it done."""
    code, said = tried(folder, capsys, "enroll", "n1", "--out", folder / "n1", "--renew", *more)
    assert (code, "--change" in said) == (2, True)


def test_an_address_is_one_node_s(folder: Path, capsys: Output) -> None:
    place = ("--out", folder / "n2", "--address", "127.0.0.1:2")
    code, said = tried(folder, capsys, "enroll", "n2", *place)
    assert (code, "127.0.0.1:2 is the address of n1" in said) == (1, True)
    assert not (folder / "n2").exists()
    change = ("--change", "--out", folder / "n1", "--address", "127.0.0.1:1")
    code, said = tried(folder, capsys, "enroll", "n1", *change)
    assert (code, "is the address of store" in said) == (1, True)
    control(folder, capsys, "revoke", "--node", "n1", "--reason", "gone")
    control(folder, capsys, "enroll", "n2", *place)


@pytest.mark.parametrize("option", ["--address", "--listen"])
@pytest.mark.parametrize("port", ["0", "74200", "x"])
def test_a_mistyped_port_is_refused_before_anything_is_written(
    option: str, port: str, folder: Path, capsys: Output
) -> None:
    """It was accepted, and spoilt the folder of every node enrolled later."""
    place = ("--out", folder / "n2", "--address", "127.0.0.1:3", option, f"127.0.0.1:{port}")
    code, said = tried(folder, capsys, "enroll", "n2", *place)
    assert (code, "port 1 to 65535" in said) == (2, True), said
    assert not (folder / "n2").exists()
    assert AuthorityFolder(folder / "authority").find_node("n2") is None
    if option == "--address":
        change = ("--change", "--out", folder / "n1", "--address", f"127.0.0.1:{port}")
        code, said = tried(folder, capsys, "enroll", "n1", *change)
        assert (code, "port 1 to 65535" in said) == (2, True), said


def test_what_is_enrolled_is_listed_with_what_was_revoked(folder: Path, capsys: Output) -> None:
    control(folder, capsys, "revoke", "--node", "n1", "--reason", "gone")
    said = control(folder, capsys, "nodes").splitlines()
    assert [line.split()[:2] for line in said[1:]] == [["n1", "revoked"], ["store", "core"]]
    nodes = as_json(folder, capsys, "nodes")["nodes"]
    assert isinstance(nodes, list)
    assert [(one["node_id"], one["revoked"]) for one in nodes] == [("n1", True), ("store", False)]
    assert nodes[0]["roles"] == ["edge"]
    assert nodes[0]["failure_domain"] == "r1/z7/k1"


def test_a_type_nobody_knows_is_answered_with_those_there_are(folder: Path, capsys: Output) -> None:
    more = ("--type", "foo", "--scope", "role:edge", "--out", folder / "grant")
    crt = folder / "n1" / "identity" / "node.crt"
    code, said = tried(folder, capsys, "grant", "n1", "--certificate", crt, *more)
    assert code == 2
    assert "'foo': expected one of " in said
    assert "route_policy_bundle" in said
