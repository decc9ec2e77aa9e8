"""The configuration: every mistake at once, each with its place and what to do about it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fabgossip.daemon.config import ConfigProblemsError, read_config
from fabgossip.daemon.driver import read_clocks
from fabgossip.daemon.papers import check_tls, load_papers
from fabgossip.errors import ConfigError
from fabgossip.model.topology import parse_peer_address, split_address
from tests.daemon import enrolled


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return enrolled.make(tmp_path_factory.mktemp("fabric"))


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return enrolled.copied(good, tmp_path)


def problems(folder: Path) -> list[str]:
    """What is said about a configuration, a line each, without the paths of this run."""
    with pytest.raises(ConfigProblemsError) as caught:
        read_config(folder / "fabgossip.toml", None)
    return str(caught.value).replace(str(folder.resolve()), "DIR").splitlines()


def edit(folder: Path, change: Callable[[str], str]) -> None:
    path = folder / "fabgossip.toml"
    path.write_text(change(path.read_text()))


def swap(folder: Path, old: str, new: str) -> None:
    assert old in (folder / "fabgossip.toml").read_text()
    edit(folder, lambda text: text.replace(old, new))


def test_a_folder_as_it_was_enrolled_is_good(folder: Path) -> None:
    config = read_config(folder / "fabgossip.toml", None)
    assert config.storage == folder / "state"
    loaded = load_papers(config, read_clocks().unix)
    assert loaded.node_id == "n1"
    check_tls(loaded)


def test_an_unknown_key_is_named_with_what_was_meant(folder: Path) -> None:
    edit(folder, lambda text: text + "\n[fetching]\nwants_maximum = 3\n")
    assert problems(folder) == [
        'fabgossip.toml:31:1: fetching.wants_maximum: unknown key; did you mean "wants_max"?',
        "1 error",
    ]


def test_a_value_of_another_type_is_named(folder: Path) -> None:
    swap(folder, 'path = "state"', "path = 7")
    (line, count) = problems(folder)
    assert line.startswith("fabgossip.toml:18:1: storage.path: ")
    assert count == "1 error"


def test_a_number_out_of_range_is_named_with_the_range(folder: Path) -> None:
    edit(folder, lambda text: text + "\n[neighbors]\nquota_per_audience = 65\n")
    assert problems(folder)[0] == (
        "fabgossip.toml:31:1: neighbors.quota_per_audience: 65 is above the maximum 64"
    )


@pytest.mark.parametrize("value", [1, 64])
def test_both_ends_of_a_range_are_allowed(folder: Path, value: int) -> None:
    edit(folder, lambda text: text + f"\n[neighbors]\nquota_per_audience = {value}\n")
    config = read_config(folder / "fabgossip.toml", None)
    assert config.table.neighbors.quota_per_audience == value


def test_a_rule_between_two_keys_is_checked(folder: Path) -> None:
    edit(folder, lambda text: text + "\n[connections]\nsilence_max_ms = 7500\n")
    (line, _) = problems(folder)
    assert line.startswith("fabgossip.toml:30:1: connections: silence_max_ms must exceed")


@pytest.mark.parametrize(
    ("name", "key", "place"),
    [
        ("identity/node.crt", "identity.certificate", "5:1"),
        ("identity/node.key", "identity.private_key", "6:1"),
        ("identity/claims", "identity.claims", "7:1"),
        ("trust/bootstrap", "trust.bootstrap", "10:1"),
    ],
)
def test_a_missing_file_is_named_by_its_key(folder: Path, name: str, key: str, place: str) -> None:
    (folder / name).unlink()
    assert problems(folder) == [
        f"fabgossip.toml:{place}: {key}: DIR/{name}: No such file or directory",
        "1 error",
    ]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_private_key_others_can_reach_is_refused(folder: Path, mode: int) -> None:
    (folder / "identity" / "node.key").chmod(mode)
    assert problems(folder) == [
        f"fabgossip.toml:6:1: identity.private_key: DIR/identity/node.key has mode {mode:04o}: "
        "others can reach it; chmod 600 DIR/identity/node.key",
        "1 error",
    ]


@pytest.mark.parametrize("name", ["fabgossip.toml", "trust/bootstrap", "."])
def test_what_others_can_change_is_not_believed(folder: Path, name: str) -> None:
    path = folder / name
    path.chmod(path.stat().st_mode | 0o020)
    lines = problems(folder)
    assert any("others can change it; chmod go-w" in line for line in lines)


def test_a_pinned_bundle_of_somebody_else_is_refused(folder: Path, tmp_path: Path) -> None:
    path = folder / "trust" / "bootstrap"
    other = enrolled.make(tmp_path / "other") / "trust" / "bootstrap"
    path.unlink()
    path.write_bytes(other.read_bytes())
    path.chmod(0o444)
    (line, _) = problems(folder)
    assert line.startswith("fabgossip.toml:11:1: trust.bootstrap_sha256: DIR/trust/bootstrap is an")
    assert "enroll it again" in line


def test_throw_away_trust_is_refused_off_loopback(folder: Path) -> None:
    swap(folder, "127.0.0.1:0", "0.0.0.0:7420")
    (line, _) = problems(folder)
    assert line.startswith("fabgossip.toml:12:1: trust.allow_demo: throw-away trust is refused")


def test_throw_away_trust_must_be_allowed(folder: Path) -> None:
    swap(folder, "allow_demo = true", "allow_demo = false")
    config = read_config(folder / "fabgossip.toml", None)
    with pytest.raises(ConfigError, match="allow_demo = true"):
        load_papers(config, read_clocks().unix)


def test_three_mistakes_give_three_lines(folder: Path) -> None:
    swap(folder, 'path = "state"', "path = 7")
    swap(folder, "allow_demo = true", "alow_demo = true")
    edit(folder, lambda text: text + "\n[fetching]\nwants_max = 0\n")
    lines = problems(folder)
    assert len(lines) == 4
    assert lines[-1] == "3 errors"
    assert {line.split(": ")[1] for line in lines[:-1]} == {
        "storage.path",
        "trust.alow_demo",
        "fetching.wants_max",
    }


def test_a_syntax_error_has_its_place(folder: Path) -> None:
    swap(folder, "schema = 1", "schema = = 1")
    (line, count) = problems(folder)
    assert line.startswith("fabgossip.toml:2:10: ")
    assert count == "1 error"


def test_a_file_that_is_no_text_or_not_there_is_named(folder: Path) -> None:
    path = folder / "fabgossip.toml"
    path.write_bytes(b"\xff\xfe")
    assert problems(folder)[0].endswith("is not UTF-8 text")
    path.unlink()
    assert "cannot be read: No such file or directory" in problems(folder)[0]


def test_a_key_of_another_node_does_not_fit(folder: Path, tmp_path: Path) -> None:
    other = enrolled.make(tmp_path / "other") / "identity" / "node.key"
    (folder / "identity" / "node.key").write_bytes(other.read_bytes())
    config = read_config(folder / "fabgossip.toml", None)
    with pytest.raises(ConfigError, match="does not fit the certificate"):
        check_tls(load_papers(config, read_clocks().unix))


def test_a_credential_may_be_read_by_its_group(folder: Path, tmp_path: Path) -> None:
    """The service manager's folder gives it to one user: only other users' bits count there."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "node.key").write_bytes((folder / "identity" / "node.key").read_bytes())
    swap(folder, '"identity/node.key"', '"credential:node.key"')
    for mode, is_good in ((0o440, True), (0o444, False)):
        (credentials / "node.key").chmod(mode)
        if is_good:
            config = read_config(folder / "fabgossip.toml", credentials)
            assert config.private_key == credentials / "node.key"
        else:
            with pytest.raises(ConfigProblemsError, match="others can reach it"):
                read_config(folder / "fabgossip.toml", credentials)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("127.0.0.1:7420", ("127.0.0.1", 7420)),
        ("[::1]:0", ("::1", 0)),
        ("node.example:65535", ("node.example", 65535)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, parsed: tuple[str, int]) -> None:
    assert split_address(text) == parsed


@pytest.mark.parametrize("text", ["", ":1", "host", "host:", "host:65536", "host:-1", "host:1x"])
def test_anything_else_is_no_address(text: str) -> None:
    for parse in (split_address, parse_peer_address):
        with pytest.raises(ValueError, match="expected host:port, port 1 to 65535"):
            parse(text)


def test_an_address_peers_dial_has_a_port_that_is_known() -> None:
    assert parse_peer_address("[::1]:65535") == "[::1]:65535"
    with pytest.raises(ValueError, match="port 1 to 65535"):
        parse_peer_address("[::1]:0")
