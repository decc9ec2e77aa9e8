"""Software that starts with the machine waits until its configuration is here."""

import json
import subprocess
from pathlib import Path

import pytest

from fabgossip.cli.fabric import Fabric, Node
from tests.system.fabrics import COMMAND, HANG_S, run_command

pytestmark = [pytest.mark.system, pytest.mark.slow]

NOT_YET, GONE, USAGE, NO_DAEMON = 75, 5, 2, 3


def wait(node: Node, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command("wait", *arguments, "--socket", node.socket)


def test_a_node_that_has_everything_says_so_at_once(four: Fabric) -> None:
    done = wait(four.node("edge-1"), "--usable", "--timeout", str(HANG_S))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(" in use\n")


def test_who_waits_for_a_version_is_woken_by_it(four: Fabric) -> None:
    """It asks once, and is answered when the version is in use."""
    node, name = four.node("edge-1"), "routes/edge"
    namespace = f"{four.prefix}/{name}"
    (four.source / "routes-edge").write_text("before\n", "utf-8")
    before = four.publish("before")
    four.wait_for(before, HANG_S)
    version = current(node, namespace)
    waiting = subprocess.Popen(
        [
            *COMMAND, "wait", name, "--usable", "--json",
            "--min-version", f"1.{version + 1}", "--timeout", str(HANG_S),
            "--socket", str(node.socket),
        ],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    (four.source / "routes-edge").write_text("after\n", "utf-8")
    four.publish("after")
    out, _ = waiting.communicate(timeout=HANG_S)
    assert waiting.returncode == 0
    (item,) = json.loads(out)["items"]
    assert item["order"] == f"1.{version + 1}"
    assert (node.local(namespace) / "content").read_text("utf-8") == "after\n"


def current(node: Node, namespace: str) -> int:
    """The version in use, by the link that consumers follow."""
    return int(node.local(namespace).resolve().name.rpartition(".")[2])


def test_what_does_not_come_in_time_is_named_with_the_reason(four: Fabric) -> None:
    node = four.node("edge-1")
    done = wait(node, "routes/none", "--timeout", "0.1")
    assert done.returncode == NOT_YET
    assert "no artifact that this node uses has come here" in done.stderr
    assert "fabgossip why" not in done.stderr
    late = wait(node, "routes/edge", "--min-version", "1.999", "--timeout", "0.1")
    assert (late.returncode, late.stdout) == (NOT_YET, "")
    assert "1.999 is waited for" in late.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("routes/edge", "--min-version", "seven"), "expected EPOCH.VERSION"),
        (("--min-version", "1.7"), "name the namespace"),
        (("routes/edge", "--timeout", "-1"), "expected 0 to"),
        (("ab" * 32,), "is a content hash; expected a namespace"),
    ],
)
def test_what_nobody_can_wait_for_is_wrong_usage(
    four: Fabric, arguments: tuple[str, ...], words: str
) -> None:
    done = wait(four.node("edge-1"), *arguments)
    assert done.returncode == USAGE
    assert words in done.stderr


def test_without_a_daemon_there_is_an_end_to_it(tmp_path: Path) -> None:
    done = run_command("wait", "--timeout", "0", "--socket", tmp_path / "none.sock")
    assert done.returncode == NO_DAEMON
