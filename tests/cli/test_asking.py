"""The commands that ask a daemon, as typed: to one of this process."""

import socket
import threading
from pathlib import Path

import pytest
import trio

from fabgossip.daemon.callers import Callers
from tests.cli.test_commands import Output, outcome
from tests.daemon import enrolled

FABRIC = """schema = 1
[[artifact]]
type = "route_policy_bundle"
namespace = "routes/edge"
file = "routes"
"""
HANG_S = 60
FULL = "platform/demo-test/cluster/prod/routes/edge"


async def test_what_a_person_types_and_reads(tmp_path: Path, capsys: Output) -> None:
    folder = enrolled.make(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    (source / "fabric.toml").write_text(FABRIC)
    (source / "routes").write_text("routes")

    async def typed(*words: str | Path) -> tuple[int, str, str]:
        return await trio.to_thread.run_sync(outcome, capsys, *words)

    socket = ("--socket", folder / "status.sock")
    authority = ("--authority", tmp_path / "authority")
    async with enrolled.served(folder):
        assert (await typed("control", "compile", source, *authority))[0] == 0
        assert (await typed("control", "publish", *authority, *socket))[0] == 0
        with trio.fail_after(HANG_S):
            # Published is durable; what is compared below must not be on its way to `local/`.
            while "state    current" not in (await typed("why", FULL, *socket))[1]:
                pass
        # A namespace as in fabric.toml is the node's own.
        for words in (("why",), ("fetch",), ("gate", "route", "--namespace")):
            short, full = [
                (await typed(*words, name, *socket))[:2] for name in ("routes/edge", FULL)
            ]
            assert short[0] == 0, words
            assert short == full
        assert "held by  nobody said yet" in (await typed("why", FULL, *socket))[1]
        code, out, err = await typed("why", "routes/egde", *socket)
        assert (code, out) == (1, "")
        assert "fabgossip artifacts lists" in err
        assert err.splitlines()[-1] == "     did you mean 'routes/edge'?"
        code, out, err = await typed("why", "rotues/edge", *socket)
        assert (code, out) == (2, "")
        assert err.splitlines()[-1] == "     did you mean 'routes/edge'?"
        assert "did you mean" not in (await typed("why", "qos/gold", *socket))[2]
        because = ("--reason", "a drill")
        unknown: tuple[tuple[tuple[str, ...], int], ...] = (
            (("fetch", "routes/egde"), 1),
            (("artifacts", "pin", "routes/egde", *because), 2),
            (("artifacts", "use", "routes/egde", "--version", "1.1", *because), 2),
            (("artifacts", "use", "routes/egde", "--release"), 2),
            (("wait", "routes/egde", "--timeout", "0"), 75),
        )
        for asked, expected in unknown:
            code, out, err = await typed(*asked, *socket)
            assert (code, out) == (expected, ""), asked
            assert err.splitlines()[-1] == "     did you mean 'routes/edge'?", asked
            assert "fabgossip why" not in err, asked
        code, out, err = await typed("gate", "route", "--namespace", "routes/egde", *socket)
        assert (code, out.split()[0]) == (5, "no")
        assert err.splitlines()[-1] == "     did you mean 'routes/edge'?"
        code, out, err = await typed("events", "--namespace", "routes/edgy", *socket)
        assert (code, out) == (0, "")
        assert err.splitlines() == [
            "no event about routes/edgy is kept",
            "     did you mean 'routes/edge'?",
        ]
        code, out, err = await typed("why", "A" * 64, *socket)
        assert (code, out) == (2, "")
        assert "written in lower case" in err
        # What is known by its name was not misspelt.
        code, _, err = await typed(
            "artifacts", "use", "routes/edge", "--version", "1.9", *because, *socket
        )
        assert (code, "did you mean" in err) == (2, False)
        code, _, err = await typed(
            "wait", "routes/edge", "--min-version", "1.9", "--timeout", "0", *socket
        )
        assert (code, err.splitlines()[-1]) == (75, "fabgossip why NAMESPACE says what was tried")
        far = FULL.replace("edge", "egde")
        assert f"did you mean {FULL!r}?" in (await typed("why", far, *socket))[2]
        # What makes no sense is 2, not "failed".
        assert (await typed("why", "1ee58d1d", *socket))[0] == 2
        assert (await typed("artifacts", "--state", "broken", *socket))[0] == 2
        code, out, _ = await typed("artifacts", "--state", "disputed", *socket)
        assert (code, out.count("\n")) == (0, 1)
        _, out, _ = await typed("status", *socket)
        (namespaces,) = (one for one in out.splitlines() if one.startswith("  namespaces"))
        assert " fresh   last change " in namespaces
        assert "in 0 failure domains" in out


async def test_a_pin_is_made_shown_and_ended_as_typed(tmp_path: Path, capsys: Output) -> None:
    """Exit codes: 2 for what can be no pin, whatever the reason."""
    folder = enrolled.make(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    (source / "fabric.toml").write_text(FABRIC)
    (source / "routes").write_text("routes")

    async def typed(*words: str | Path) -> tuple[int, str, str]:
        return await trio.to_thread.run_sync(outcome, capsys, *words)

    socket = ("--socket", folder / "status.sock")
    authority = ("--authority", tmp_path / "authority")
    pin = ("artifacts", "pin", *socket, "--reason", "a drill")
    async with enrolled.served(folder):
        assert (await typed("control", "compile", source, *authority))[0] == 0
        assert (await typed("control", "publish", *authority, *socket))[0] == 0
        code, out, _ = await typed(*pin, "routes/edge", "--for", "7d")
        assert (code, out.split()[:2]) == (0, ["pinned", "1"])
        assert FULL in out
        code, out, _ = await typed("artifacts", "pins", *socket)
        assert (code, out.count("a drill")) == (0, 1)
        assert "1 pinned" in (await typed("status", *socket))[1]
        for words in (
            (*pin, "routes/egde"),
            (*pin, "routes/edge", "--for", "91d"),
            (*pin, "routes/edge", "--for", "soon"),
            ("artifacts", "pin", *socket, "--reason", "", "routes/edge"),
            ("artifacts", "pin", *socket, "routes/edge"),
            ("artifacts", "unpin", *socket, "7"),
            ("artifacts", "unpin", *socket, "first"),
        ):
            assert (await typed(*words))[0] == 2, words
        for span in ("91d", "0m"):
            said = (await typed(*pin, "routes/edge", "--for", span))[2]
            assert f"--for {span}: expected 1s to 90d" in said
        code, _, err = await typed("artifacts", "unpin", *socket, "7")
        assert err.splitlines()[-1] == "     fabgossip artifacts pins lists them"
        code, _, err = await typed("artifacts", "unpin", *socket, "routes/edge")
        assert "expected the number of a pin; fabgossip artifacts pins lists" in err
        bell = ("artifacts", "pin", *socket, "--reason", "a\x07", "routes/edge")
        assert "--reason: expected words" in (await typed(*bell))[2]
        code, out, _ = await typed("artifacts", "unpin", *socket, "1")
        assert (code, out.split()[:2]) == (0, ["unpinned", "1"])
        code, out, _ = await typed("artifacts", "pins", *socket)
        assert (code, out.count("\n")) == (0, 1)


async def test_an_order_of_who_may_not_operate_is_refused_and_says_who_may(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = enrolled.make(tmp_path)
    monkeypatch.setattr(Callers, "may_operate", lambda *_: False)
    async with enrolled.served(folder):
        code, _, err = await trio.to_thread.run_sync(
            outcome, capsys, "artifacts", "unpin", "1", "--socket", folder / "status.sock"
        )
    said = "fabgossip: refused: root or the daemon's user only"
    assert (code, err.splitlines()[-1]) == (5, said)


async def test_a_full_disk_takes_nothing_but_trust_and_says_so(
    tmp_path: Path, capsys: Output
) -> None:
    """Revocations arrive; what did not fit is told by its code, and is a problem of its own."""
    folder = enrolled.make(tmp_path)
    config = folder / "fabgossip.toml"
    text = config.read_text()
    storage = next(line for line in text.splitlines() if line.startswith("[storage]"))
    full = f"{storage}\ndisk_free_min = {{ bytes = {1 << 50} }}"
    config.write_text(text.replace(storage, full))
    source = tmp_path / "source"
    source.mkdir()
    (source / "fabric.toml").write_text(FABRIC)
    (source / "routes").write_text("routes")

    async def typed(*words: str | Path) -> tuple[int, str, str]:
        return await trio.to_thread.run_sync(outcome, capsys, *words)

    socket = ("--socket", folder / "status.sock")
    authority = ("--authority", tmp_path / "authority")
    async with enrolled.served(folder):
        assert (await typed("control", "compile", source, *authority))[0] == 0
        assert (await typed("control", "publish", *authority, *socket))[0] != 0
        _, out, _ = await typed("artifacts", "--family", "revocation_list", *socket)
        assert " held " in out
        with trio.fail_after(HANG_S):
            while "disk_full" not in (await typed("status", *socket))[1]:
                pass
        assert (await typed("status", "--check", *socket))[0] == 4


async def test_a_wait_begins_before_the_daemon_and_ends_with_what_it_waits_for(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = enrolled.make(tmp_path)
    (folder / "source").mkdir()
    (folder / "source" / "fabric.toml").write_text(FABRIC)
    (folder / "source" / "routes").write_text("routes")
    at = ("--socket", folder / "status.sock")
    authority = ("--authority", tmp_path / "authority")
    is_told = threading.Event()
    monkeypatch.setattr("fabgossip.cli.waiting.AGAIN_S", 0.001)
    monkeypatch.setattr("fabgossip.cli.waiting.say", lambda _: is_told.set())

    async def typed(*words: str | Path) -> int:
        return (await trio.to_thread.run_sync(outcome, capsys, *words))[0]

    assert await typed("wait", "--timeout", "0", *at) == 3
    codes: list[int] = []
    is_over = trio.Event()

    async def waits() -> None:
        codes.append(await typed("wait", "routes/edge", "--timeout", str(HANG_S), *at))
        is_over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits)
        assert await trio.to_thread.run_sync(is_told.wait, HANG_S)
        async with enrolled.served(folder):
            assert await typed("control", "compile", folder / "source", *authority) == 0
            assert await typed("control", "publish", *authority, *at) == 0
            with trio.fail_after(HANG_S):
                await is_over.wait()
    assert codes == [0]


def test_a_daemon_that_hangs_is_waited_for_no_longer_than_was_said(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fabgossip.cli.waiting.ANSWER_S", 0.01)
    path = tmp_path / "status.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        code, _, err = outcome(capsys, "wait", "--timeout", "0.01", "--socket", path)
    assert code == 3
    assert "gave no answer within 0.02 s" in err


async def test_a_submit_without_its_content_says_what_was_taken_and_what_is_missing(
    tmp_path: Path, capsys: Output
) -> None:
    folder = enrolled.make(tmp_path)
    (folder / "source").mkdir()
    (folder / "source" / "fabric.toml").write_text(FABRIC)
    (folder / "source" / "routes").write_text("routes")
    authority = tmp_path / "authority"

    async def typed(*words: str | Path) -> tuple[int, str, str]:
        return await trio.to_thread.run_sync(outcome, capsys, *words)

    at = ("--socket", folder / "status.sock")
    compiled = ("control", "compile", folder / "source", "--authority", authority)
    assert (await typed(*compiled))[0] == 0
    async with enrolled.served(folder):
        assert (await typed("control", "publish", "--authority", authority, *at))[0] == 0
        before = set(authority.rglob("*.envelope"))
        (folder / "source" / "routes").write_text("other routes")
        assert (await typed(*compiled))[0] == 0
        (envelope,) = (
            one
            for one in set(authority.rglob("*.envelope")) - before
            if FULL.encode() in one.read_bytes()
        )
        code, _, err = await typed("submit", envelope, *at)
        assert code == 5
        assert f"fabgossip submit {envelope} CONTENT" in err
        assert "state    behind" in (await typed("why", FULL, *at))[1]
