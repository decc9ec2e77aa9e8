"""What is wrong ends with its own exit code, and one message says what, where and what to do."""

import shutil
import signal
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from fabgossip.cli.fabric import Fabric, free_addresses
from fabgossip.control.enrollment import NodeRow
from fabgossip.control.signing import SignedArtifact
from tests.system.fabrics import (
    Daemon,
    Document,
    compile_source,
    daemon_of,
    enrolled,
    run_command,
    short_folder,
    until,
    write_source,
)

pytestmark = [pytest.mark.system, pytest.mark.slow]

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_UNREACHABLE = 3
EXIT_REFUSED = 5
EXIT_TRY_AGAIN = 75
EXIT_CONFIG = 78
DOCUMENT = Document("service_assignment_bundle", "services/dns")


def storage_row(node_id: str) -> NodeRow:
    return NodeRow(
        node_id=node_id,
        addresses=(),
        peer_class="core",
        services=("dns",),
        stores=("cluster",),
    )


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    """One running daemon, `n1`, and `n2`, whose data folder is made and which is stopped again."""
    with enrolled((storage_row("n1"), storage_row("n2"))) as made:
        for one in made.nodes:
            one.start()
        for one in made.nodes:
            one.wait_ready(15)
        assert daemon_of(made, "n2").terminate() == EXIT_OK
        write_source(made.source, (DOCUMENT,))
        (made.source / DOCUMENT.file).write_bytes(b"first\n")
        made.publish("first")
        yield made


@pytest.fixture
def running(fabric: Fabric) -> Iterator[Daemon]:
    """`n1`; whatever a test does, it goes on answering."""
    daemon = daemon_of(fabric, "n1")
    boot = daemon.get("/v1/status")["node"]
    yield daemon
    assert daemon.is_running
    assert daemon.get("/v1/status")["node"] == boot


@pytest.fixture
def copy(fabric: Fabric) -> Iterator[Path]:
    """A folder as `n1` was given it, on an address of its own, without data."""
    with short_folder() as folder:
        home = folder / "n1"
        ignored = shutil.ignore_patterns("s", "state", "log")
        shutil.copytree(fabric.node("n1").folder, home, ignore=ignored)
        change(home, fabric.node("n1").row.addresses[0], free_addresses(1)[0])
        yield home


@pytest.fixture(scope="module")
def foreign() -> Iterator[bytes]:
    """The pinned trust of another cluster."""
    with enrolled((storage_row("n1"),)) as other:
        yield (other.node("n1").folder / "trust" / "bootstrap").read_bytes()


def change(home: Path, old: str, new: str) -> None:
    path = home / "fabgossip.toml"
    text = path.read_text()
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new))


def line_of(home: Path, key: str) -> str:
    """Where a key stands, as an editor counts."""
    lines = (home / "fabgossip.toml").read_text().splitlines()
    return next(
        f"fabgossip.toml:{n}:1" for n, one in enumerate(lines, 1) if one.startswith(key + " ")
    )


def assert_ends(arguments: tuple[str | Path, ...], code: int, *words: str) -> None:
    """The command ends with a code and one message that has these words in this order."""
    ended = run_command(*arguments)
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    message = ended.stderr.partition("fabgossip: ")[2]
    at = -1
    for word in words:
        assert word in message, (word, message)
        assert message.index(word) > at, (word, message)
        at = message.index(word)


def assert_does_not_run(home: Path, code: int, *words: str) -> None:
    """`run` ends at once."""
    assert_ends(("run", "--config", home / "fabgossip.toml"), code, *words)
    assert not (home / "s").exists()


def test_an_unknown_key_is_named_with_its_place_and_a_likely_one(copy: Path) -> None:
    change(copy, "[storage]\n", "[storage]\npaht = 1\n")
    place = line_of(copy, "paht")
    words = (place, "storage.paht", "unknown key", '"path"')
    assert_does_not_run(copy, EXIT_CONFIG, *words)
    assert_ends(("check-config", "--config", copy / "fabgossip.toml"), EXIT_CONFIG, *words)


def test_a_private_key_others_can_read_is_refused_with_the_command_that_helps(copy: Path) -> None:
    key = copy / "identity" / "node.key"
    key.chmod(0o644)
    place = line_of(copy, "private_key")
    words = (place, "identity.private_key", str(key), "mode 0644", f"chmod 600 {key}")
    assert_does_not_run(copy, EXIT_CONFIG, *words)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("identity.certificate", "identity/node.crt"),
        ("identity.claims", "identity/claims"),
        ("trust.bootstrap", "trust/bootstrap"),
    ],
)
def test_a_missing_file_is_named_with_the_key_that_names_it(
    copy: Path, key: str, name: str
) -> None:
    (copy / name).unlink()
    place = line_of(copy, key.partition(".")[2])
    words = (place, key, str(copy / name), "No such file or directory")
    assert_does_not_run(copy, EXIT_CONFIG, *words)


def test_a_missing_configuration_is_named(copy: Path) -> None:
    path = copy / "fabgossip.toml"
    path.unlink()
    words = (str(path), "cannot be read", "No such file or directory")
    assert_does_not_run(copy, EXIT_CONFIG, *words)


def pin(home: Path, bundle: bytes) -> None:
    pinned = home / "trust" / "bootstrap"
    pinned.chmod(0o600)
    pinned.write_bytes(bundle)


def test_a_pinned_file_that_is_not_the_one_named_is_refused(copy: Path, foreign: bytes) -> None:
    pin(copy, foreign)
    place = line_of(copy, "bootstrap_sha256")
    found = sha256(foreign).hexdigest()
    words = (place, "trust.bootstrap_sha256", str(copy / "trust" / "bootstrap"), found, "restore")
    assert_does_not_run(copy, EXIT_CONFIG, *words)


def test_a_foreign_bundle_with_its_own_fingerprint_does_not_fit_the_identity(
    copy: Path, foreign: bytes
) -> None:
    """Somebody who can write both: the node's certificate is of no authority the bundle names."""
    own = sha256((copy / "trust" / "bootstrap").read_bytes()).hexdigest()
    pin(copy, foreign)
    change(copy, own, sha256(foreign).hexdigest())
    words = ("identity.certificate", str(copy / "identity" / "node.crt"), "not issued by")
    assert_does_not_run(copy, EXIT_CONFIG, *words)


def test_throw_away_keys_run_only_where_that_is_said(copy: Path) -> None:
    change(copy, "allow_demo = true", "allow_demo = false")
    words = ("trust.bootstrap", "demo-system", "throw-away keys", "trust.allow_demo = true")
    assert_does_not_run(copy, EXIT_CONFIG, *words)


def test_a_port_in_use_is_named(running: Daemon, copy: Path) -> None:
    used = running.row.addresses[0]
    text = (copy / "fabgossip.toml").read_text()
    own = text.partition('addresses = ["')[2].partition('"')[0]
    change(copy, own, used)
    assert_does_not_run(copy, EXIT_FAILURE, "listen.addresses", used, "in use by another process")


def test_the_data_folder_of_another_node_is_refused(fabric: Fabric, copy: Path) -> None:
    folder = daemon_of(fabric, "n2").state
    change(copy, 'path = "state"', f'path = "{folder}"')
    words = (str(folder), "node n2", "this is n1", "storage.path")
    assert_does_not_run(copy, EXIT_FAILURE, *words)


def test_a_second_daemon_on_one_data_folder_names_the_first(running: Daemon, copy: Path) -> None:
    change(copy, 'path = "state"', f'path = "{running.state}"')
    words = ("storage.path", str(running.state), "in use by process", str(running.pid))
    assert_does_not_run(copy, EXIT_TRY_AGAIN, *words)


def test_a_socket_that_is_served_is_left_to_whoever_serves_it(running: Daemon, copy: Path) -> None:
    change(copy, 'socket = "s"', f'socket = "{running.socket}"')
    words = ("status.socket", str(running.socket), "served by another process")
    assert_does_not_run(copy, EXIT_FAILURE, *words)
    assert running.socket.is_socket()


def test_nobody_at_the_socket_is_said_with_what_to_do(copy: Path) -> None:
    socket = copy / "nobody"
    words = ("no daemon answers", str(socket), "fabgossip run --config", "--socket")
    assert_ends(("status", "--socket", socket), EXIT_UNREACHABLE, *words)


def submission(fabric: Fabric, folder: Path) -> SignedArtifact:
    """A signed artifact no node has seen, and its two files in a folder."""
    (fabric.source / DOCUMENT.file).write_text(f"new in {folder}\n" * 64)
    signed = compile_source(fabric)[-1]
    (folder / "envelope").write_bytes(signed.envelope)
    (folder / "content").write_bytes(signed.content)
    return signed


def submit(running: Daemon, folder: Path) -> tuple[str | Path, ...]:
    return ("submit", folder / "envelope", folder / "content", "--socket", running.socket)


def test_a_truncated_envelope_is_refused(fabric: Fabric, running: Daemon, copy: Path) -> None:
    signed = submission(fabric, copy)
    before = running.held()
    (copy / "envelope").write_bytes(signed.envelope[:-7])
    assert_ends(submit(running, copy), EXIT_REFUSED, "TRUNCATED", "bytes end inside a value")
    assert running.held() == before


@pytest.mark.parametrize(
    "spoil",
    [lambda data: data[:-1], lambda data: data[:-1] + b"!", lambda data: data + b"!"],
    ids=["short", "changed", "long"],
)
def test_a_content_that_is_not_the_signed_one_is_refused_and_the_right_one_still_taken(
    fabric: Fabric, running: Daemon, copy: Path, spoil: Callable[[bytes], bytes]
) -> None:
    signed = submission(fabric, copy)
    applied = running.local(signed.manifest.namespace.text) / "content"
    before = applied.read_bytes()
    (copy / "content").write_bytes(spoil(signed.content))
    assert_ends(submit(running, copy), EXIT_REFUSED, "content")
    assert applied.read_bytes() == before
    (copy / "content").write_bytes(signed.content)
    assert run_command(*submit(running, copy)).returncode == EXIT_OK
    until(lambda: applied.read_bytes() == signed.content, "the signed content is applied")


def test_sigterm_ends_a_daemon_with_nothing_left_behind(fabric: Fabric) -> None:
    daemon = daemon_of(fabric, "n2")
    for number in (signal.SIGTERM, signal.SIGINT):
        daemon.start()
        daemon.wait_ready(15)
        assert daemon.terminate(number) == EXIT_OK
        assert not daemon.socket.exists()
        assert list((daemon.state / "incoming").iterdir()) == []
        assert not (daemon.state / "index.sqlite-wal").exists()
