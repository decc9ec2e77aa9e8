"""The command line: one exit code for each kind of end, one JSON object where it is asked for."""

import errno
import grp
import json
import os
import socket
from pathlib import Path

import pytest

from fabgossip import errors
from fabgossip.cli.main import run
from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.signing import SignedArtifact
from fabgossip.control.sources.folder import Source
from fabgossip.daemon.driver import read_clocks
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.mode import RISKS
from tests.control.fabric import ROUTES, STORE
from tests.daemon import enrolled

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority that has compiled, and its node n1."""
    folder = tmp_path_factory.mktemp("fabric")
    enrolled.make(folder)
    authority = AuthorityFolder(folder / "authority")
    authority.save_node(STORE)
    authority.compile(Source(documents=(ROUTES,)), read_clocks().unix)
    return folder


def artifact(fabric: Path, kind: ArtifactType) -> SignedArtifact:
    heads = AuthorityFolder(fabric / "authority").heads()
    return next(one for one in heads if one.manifest.artifact_type is kind)


def outcome(output: Output, *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    code: int | str | None
    try:
        code = run([str(one) for one in arguments])
    except SystemExit as left:
        code = left.code
    assert isinstance(code, int)
    captured = output.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("status", "--check"),
        ("artifacts",),
        ("peers",),
        ("why", "some/namespace"),
        ("fetch", "some/namespace"),
        ("events",),
    ],
    ids=" ".join,
)
def test_without_a_daemon_the_code_is_3_and_the_line_says_how_to_start_one(
    tmp_path: Path, capsys: Output, command: tuple[str, ...]
) -> None:
    code, out, err = outcome(capsys, *command, "--socket", tmp_path / "missing.sock")
    assert (code, out) == (3, "")
    assert err.startswith("fabgossip: no daemon answers on ")
    assert "fabgossip run --config FILE" in err
    assert "systemctl status fabgossip, journalctl -u fabgossip" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "code", "family"),
    [
        (("status",), 3, "service"),
        (("audit", "verify"), 3, "service"),
        (("audit", "verify", "nowhere"), 1, "storage"),
        (("status", "--no-such-option"), 2, "usage"),
        (("no-such-command",), 2, "usage"),
        (("control", "complie"), 2, "usage"),
        (("control", "nodes", "--authority", "nowhere"), 1, "control"),
        (("control", "enroll", "n1", "--authority", "a", "--out", "o", "--renew", "--change"), 2,
         "usage"),
        (("verify", "nowhere", "--bootstrap", "nowhere"), 1, "failure"),
        (("submit", "nowhere"), 1, "failure"),
        (("fetch", "--grant", "no", "--envelope", "no", "--out", "no"), 1, "failure"),
        (("sim", "run", "nowhere.toml"), 78, "scenario"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_a_failure_under_json_is_one_object_and_still_a_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
    command: tuple[str, ...],
    code: int,
    family: str,
) -> None:
    """Nothing was printed, so a reader of JSON failed a second time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FABGOSSIP_SOCKET", str(tmp_path / "missing.sock"))
    plain, _, said = outcome(capsys, *command)
    found, out, err = outcome(capsys, *command, "--json")
    assert (plain, found, bool(said)) == (code, code, True)
    assert err.splitlines()[-1] == said.splitlines()[-1]
    body = json.loads(out)
    assert list(body) == ["schema_version", "error", "detail", "exit_code"]
    assert (body["error"], body["exit_code"]) == (family, code)
    assert body["detail"].splitlines()[-1] in said


def test_every_family_of_errors_has_a_word_of_its_own() -> None:
    found = (one for one in vars(errors).values() if isinstance(one, type))
    words = [one.family for one in found if issubclass(one, errors.FabgossipError)]
    assert len(set(words)) == len(words) == 11


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("wait",),
        ("events", "--follow"),
        ("artifacts", "pin", "routes/edge", "--reason", "drill"),
    ],
    ids=" ".join,
)
def test_who_may_not_open_the_socket_is_refused_and_told_what_lets_in(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """No daemon to start, and nothing to wait for: 5, with the group that is let in."""

    def forbidden(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    monkeypatch.setattr(os, "geteuid", lambda: 1_234)
    path = tmp_path / "status.sock"
    path.touch()
    own = grp.getgrgid(path.stat().st_gid).gr_name
    for group, shown in ((own, path), ("fabgossip", Path("/nowhere/at/all/s"))):
        code, out, err = outcome(capsys, *command, "--socket", shown)
        assert (code, out) == (5, "")
        assert err == (
            f"fabgossip: you (uid 1234) may not open {shown}: be in group {group}, or use sudo\n"
        )


def test_submit_and_publish_without_a_daemon_are_3_too(
    fabric: Path, tmp_path: Path, capsys: Output
) -> None:
    missing = tmp_path / "missing.sock"
    envelope = tmp_path / "envelope"
    envelope.write_bytes(artifact(fabric, ArtifactType.ROUTE_POLICY_BUNDLE).envelope)
    assert outcome(capsys, "submit", envelope, "--socket", missing)[0] == 3
    authority = ("--authority", fabric / "authority")
    assert outcome(capsys, "control", "publish", *authority, "--socket", missing)[0] == 3


def test_a_file_to_submit_that_is_not_there_is_1(tmp_path: Path, capsys: Output) -> None:
    code, _, err = outcome(capsys, "submit", tmp_path / "none", "--socket", tmp_path / "s")
    assert code == 1
    assert "No such file or directory" in err


def test_a_fetch_under_a_grant_leaves_no_file_behind_unless_it_is_whole(
    tmp_path: Path, capsys: Output
) -> None:
    """Without a daemon nothing comes; what was there before is never touched."""
    out, there = tmp_path / "content", tmp_path / "there"
    there.write_bytes(b"before")
    files = ("--grant", there, "--envelope", there, "--socket", tmp_path / "s")
    assert outcome(capsys, "fetch", *files, "--out", out)[0] == 3
    assert not out.exists()
    assert outcome(capsys, "fetch", *files, "--out", there)[0] == 1
    assert there.read_bytes() == b"before"


@pytest.mark.parametrize(
    "command",
    [
        ("status", "--no-such-option"),
        ("fetch",),
        ("fetch", "--grant", "grant", "--envelope", "envelope"),
        ("fetch", "some/name", "--grant", "grant", "--envelope", "envelope", "--out", "content"),
        ("verify", "envelope"),
        ("demo", "--history"),
        ("control",),
        ("control", "init", "--authority", "somewhere"),
        ("control", "init", "--authority", "x", "--platform", "real", "--cluster", "prod"),
        ("control", "init", "--authority", "x", "--platform", "demo-x", "--cluster", "Not One"),
        ("control", "enroll", "n1"),
        ("deploy", "show", "nothing-of-this-name"),
    ],
    ids=" ".join,
)
def test_arguments_that_make_no_sense_are_2(capsys: Output, command: tuple[str, ...]) -> None:
    code, out, err = outcome(capsys, *command)
    assert (code, out) == (2, "")
    assert err


@pytest.mark.parametrize("command", [(), ("no-such-command",)])
@pytest.mark.slow
def test_no_command_is_2(capsys: Output, command: tuple[str, ...]) -> None:
    assert outcome(capsys, *command)[0] == 2


@pytest.mark.parametrize(
    ("command", "near"),
    [(("stauts",), "status"), (("control", "complie"), "compile"), (("audit", "verfy"), "verify")],
)
def test_a_misspelt_command_is_2_and_names_the_nearest(
    capsys: Output, command: tuple[str, ...], near: str
) -> None:
    code, out, err = outcome(capsys, *command)
    assert (code, out) == (2, "")
    assert f"no {command[-1]!r}; did you mean {near!r}?" in err


@pytest.mark.parametrize(
    ("command", "usage", "near"),
    [
        (("status", "--scoket", "x"), "status", "--scoket x; did you mean --socket?"),
        (("artifacts", "pins", "--sokcet=x"), "artifacts pins", "--sokcet=x; did you mean"),
        (("sim", "run", "resets", "--sed", "4"), "sim run", "--sed 4; did you mean --seed?"),
        (("status", "n1"), "status", "arguments: n1\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_option_no_command_has_is_2_with_the_usage_of_that_command(
    capsys: Output, command: tuple[str, ...], usage: str, near: str
) -> None:
    code, out, err = outcome(capsys, *command)
    assert (code, out) == (2, "")
    assert err.startswith(f"usage: fabgossip {usage} [-h] [--")
    assert f"fabgossip {usage}: error: unrecognized arguments: " in err
    assert near in err


def test_a_command_like_no_other_is_2_and_lists_all(capsys: Output) -> None:
    code, _, err = outcome(capsys, "xyzzy")
    assert (code, "choose from" in err, "did you mean" in err) == (2, True, False)


@pytest.mark.parametrize("verb", ["why", "fetch"])
@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ("", "expected a namespace, such as routes/edge, or the 64"),
        ("e7584c", "expected a namespace, such as routes/edge, or the 64"),
        ("\uff52outes/edge", "'\\uff52' (U+FF52) stands in no namespace"),
        ("routes/Edge", "'E' (U+0045) stands in no namespace"),
        ("routes/edge\x1b[2J", "'\\x1b' (U+001B) stands in no namespace"),
    ],
)
def test_what_can_name_nothing_is_2_and_says_what_could(
    capsys: Output, tmp_path: Path, verb: str, subject: str, words: str
) -> None:
    """No daemon need be asked, and none says that it knows of no such thing."""
    code, out, err = outcome(capsys, verb, subject, "--socket", tmp_path / "none")
    assert (code, out, words in err) == (2, "", True), err


@pytest.mark.parametrize("words", [("artifacts", "use", "nope", "--release"), ("wait", "nope")])
def test_where_only_a_namespace_will_do_no_hash_is_spoken_of(
    capsys: Output, tmp_path: Path, words: tuple[str, ...]
) -> None:
    code, _, err = outcome(capsys, *words, "--socket", tmp_path / "none")
    said = "fabgossip: 'nope': expected a namespace, such as routes/edge\n"
    assert (code, err) == (2, said)


def test_a_folder_for_a_socket_is_2_and_says_so(tmp_path: Path, capsys: Output) -> None:
    code, _, err = outcome(capsys, "status", "--socket", tmp_path)
    assert (code, f"--socket {tmp_path}: is a folder" in err) == (2, True)


def test_the_help_of_gate_names_every_action(capsys: Output) -> None:
    code, out, _ = outcome(capsys, "gate", "--help")
    words = " ".join(out.split())
    assert code == 0
    assert [one for one in RISKS if one not in words.replace("- ", "-")] == []


def test_version_names_the_package_and_its_protocol(capsys: Output) -> None:
    code, out, _ = outcome(capsys, "version", "--json")
    assert code == 0
    body = json.loads(out)
    assert list(body) == ["schema_version", "version", "protocol"]
    assert (body["schema_version"], body["protocol"]) == (1, 1)
    code, out, _ = outcome(capsys, "version")
    assert (code, out) == (0, f"fabgossip {body['version']} (protocol 1)\n")


def test_a_good_configuration_is_0(fabric: Path, capsys: Output) -> None:
    config = fabric / "n1" / "fabgossip.toml"
    assert outcome(capsys, "check-config", "--config", config)[0] == 0
    code, out, _ = outcome(capsys, "check-config", "--config", config, "--json")
    assert (code, json.loads(out)) == (0, {"schema_version": 1, "problems": [], "warning": ""})


@pytest.mark.parametrize("command", ["check-config", "run"])
def test_an_unknown_key_is_78(fabric: Path, tmp_path: Path, capsys: Output, command: str) -> None:
    folder = enrolled.copied(fabric / "n1", tmp_path)
    config = folder / "fabgossip.toml"
    config.write_text(config.read_text() + "\n[storag]\n")
    code, out, err = outcome(capsys, command, "--config", config)
    assert (code, out) == (78, "")
    assert "storag: unknown" in err
    if command == "check-config":
        code, out, _ = outcome(capsys, command, "--config", config, "--json")
        body = json.loads(out)
        assert (code, body["schema_version"]) == (78, 1)
        (problem,) = body["problems"]
        assert (problem["key"], problem["line"]) == ("storag", 30)


@pytest.mark.parametrize("command", ["run", "check-config", "doctor"])
def test_a_configuration_that_is_not_there_is_78_and_names_the_option(
    tmp_path: Path, capsys: Output, command: str
) -> None:
    code, _, err = outcome(capsys, command, "--config", tmp_path / "none.toml")
    assert (code, "name the node's own with --config FILE" in err) == (78, True)


class Files:
    """An artifact as files, and the bundle to judge it by."""

    def __init__(self, fabric: Path, folder: Path, kind: ArtifactType) -> None:
        one = artifact(fabric, kind)
        self.envelope, self.content = folder / "envelope", folder / "content"
        self.envelope.write_bytes(one.envelope)
        self.content.write_bytes(one.content)
        self.bootstrap = fabric / "authority" / "trust" / "bootstrap"

    @property
    def arguments(self) -> tuple[str | Path, ...]:
        return (
            "verify", self.envelope, "--content", self.content, "--bootstrap", self.bootstrap,
        )  # fmt: skip


@pytest.mark.parametrize("kind", [ArtifactType.ROUTE_POLICY_BUNDLE, ArtifactType.PEER_DIRECTORY])
def test_verify_of_what_was_signed_is_0(
    fabric: Path, tmp_path: Path, capsys: Output, kind: ArtifactType
) -> None:
    code, out, _ = outcome(capsys, *Files(fabric, tmp_path, kind).arguments, "--json")
    body = json.loads(out)
    assert (code, body["schema_version"]) == (0, 1)
    assert (body["verified"], body["content_checked"]) == (True, True)
    assert body["family"] == kind.value


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        ("a truncated envelope", "TRUNCATED"),
        ("an empty envelope", "TRUNCATED"),
        ("a flipped bit of a signature", "SIG_INVALID"),
        ("another content", "HASH_MISMATCH"),
    ],
)
def test_verify_of_anything_else_is_5_and_says_why(
    fabric: Path, tmp_path: Path, capsys: Output, spoil: str, code: str
) -> None:
    files = Files(fabric, tmp_path, ArtifactType.ROUTE_POLICY_BUNDLE)
    raw = files.envelope.read_bytes()
    match spoil:
        case "a truncated envelope":
            files.envelope.write_bytes(raw[:-5])
        case "an empty envelope":
            files.envelope.write_bytes(b"")
        case "a flipped bit of a signature":
            files.envelope.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
        case _:
            files.content.write_bytes(b"other routes")
    left, out, err = outcome(capsys, *files.arguments)
    assert (left, out) == (5, "")
    assert code in err
    left, out, _ = outcome(capsys, *files.arguments, "--json")
    body = json.loads(out)
    assert (left, body["schema_version"], body["verified"], body["code"]) == (5, 1, False, code)


def test_verify_by_a_bundle_that_does_not_verify_is_5(
    fabric: Path, tmp_path: Path, capsys: Output
) -> None:
    files = Files(fabric, tmp_path, ArtifactType.ROUTE_POLICY_BUNDLE)
    forged = tmp_path / "bootstrap"
    data = bytearray(files.bootstrap.read_bytes())
    data[-1] ^= 1
    forged.write_bytes(data)
    files.bootstrap = forged
    assert outcome(capsys, *files.arguments)[0] == 5


def test_the_control_plane_s_commands_say_what_they_did_as_json(
    tmp_path: Path, capsys: Output
) -> None:
    authority = ("--authority", tmp_path / "authority", "--json")
    source = tmp_path / "source"
    source.mkdir()
    (source / "fabric.toml").write_text("schema = 1\n")
    made: tuple[tuple[str | Path, ...], ...] = (
        ("init", *authority, "--platform", "demo-x", "--cluster", "prod"),
        (
            "enroll", "n1", *authority, "--out", tmp_path / "n1", "--address", "127.0.0.1:1",
            "--stores", "cluster",
        ),
        ("enroll", "n1", *authority, "--out", tmp_path / "n1", "--renew"),
        ("compile", *authority, source),
        ("compile", *authority, source),
    )  # fmt: skip
    bodies = []
    for command in made:
        code, out, _ = outcome(capsys, "control", *command)
        assert code == 0
        bodies.append(json.loads(out))
    assert all(body["schema_version"] == 1 for body in bodies)
    assert len(bodies[3]["compiled"]) > 0
    assert bodies[4]["compiled"] == []
    assert bodies[1]["node_id"] == "n1"
    assert outcome(capsys, "control", *made[0])[0] == 1


def test_compile_says_at_once_what_is_wrong_with_a_folder_however_deep(
    fabric: Path, tmp_path: Path, capsys: Output
) -> None:
    """A key nobody knows, a file that is not there, and what only compiling finds: a name twice."""
    row = '[[artifact]]\ntype = "qos_policy_bundle"\nnamespace = "qos/a"\nfile = "a"\n'
    (tmp_path / "a").touch()
    other = row.replace('"a"', '"b"')
    (tmp_path / "fabric.toml").write_text(f"schema = 1\nfoo = 1\n{row}{row}{other}")
    command = ("control", "compile", tmp_path, "--authority", fabric / "authority")
    code, out, err = outcome(capsys, *command)
    file = tmp_path / "fabric.toml"
    assert (code, out) == (1, "")
    assert err.removeprefix("fabgossip: ").splitlines() == [
        f"{file}:2:1: foo: unknown key; known keys: schema, artifact, replication, degraded, "
        "degraded_action, keep_versions",
        f"{file}:7:1: artifact[1]: named twice; take one out",
        f"{file}:14:1: artifact[2].file: {tmp_path}/b: No such file or directory",
    ]


def test_what_is_shipped_for_packaging_can_be_printed(capsys: Output) -> None:
    code, out, _ = outcome(capsys, "deploy", "show")
    assert code == 0
    for name in out.split():
        code, text, _ = outcome(capsys, "deploy", "show", name)
        assert (code, bool(text)) == (0, True)
