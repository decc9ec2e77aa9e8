"""`fabgossip artifacts use`, as typed: what software on the node reads is an older version, and is
the newest again."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from fabgossip.daemon.config import read_config
from fabgossip.storage.records import read_records
from tests.cli.test_asking import FABRIC, FULL
from tests.cli.test_commands import Output, outcome
from tests.daemon import enrolled

HANG_S = 60


class Place:
    """A node, its authority, and what is typed there."""

    def __init__(self, folder: Path, capsys: Output) -> None:
        self.node = enrolled.make(folder)
        self.socket = ("--socket", self.node / "status.sock")
        self.use = ("artifacts", "use", *self.socket)
        self.state = read_config(self.node / "fabgossip.toml", None).storage
        self._authority = ("--authority", folder / "authority")
        self._source = folder / "source"
        self._capsys = capsys
        self._source.mkdir()
        (self._source / "fabric.toml").write_text(FABRIC)

    async def typed(self, *words: str | Path) -> tuple[int, str, str]:
        return await trio.to_thread.run_sync(outcome, self._capsys, *words)

    async def publish(self, text: str) -> None:
        """A version, durable at the node."""
        (self._source / "routes").write_text(text)
        assert (await self.typed("control", "compile", self._source, *self._authority))[0] == 0
        code, _, err = await self.typed("control", "publish", *self._authority, *self.socket)
        assert code == 0, err

    async def reads(self, text: str) -> None:
        """Until software on the node reads this."""
        current = self.state / "local" / FULL / "current" / "content"
        with trio.fail_after(HANG_S):
            while True:
                with suppress(FileNotFoundError):
                    if current.read_text() == text:
                        return
                await trio.lowlevel.checkpoint()

    def link(self, name: str) -> str:
        return str((self.state / "local" / FULL / name).readlink())


@pytest.fixture
def place(tmp_path: Path, capsys: Output) -> Place:
    return Place(tmp_path, capsys)


async def test_a_version_is_put_back_shown_so_survives_a_restart_and_is_released(
    place: Place,
) -> None:
    typed = place.typed
    async with enrolled.served(place.node):
        for text in ("first", "second"):
            await place.publish(text)
            await place.reads(text)
        code, out, err = await typed(
            *place.use, "routes/edge", "--version", "1.1", "--reason", "second breaks edge-1"
        )
        assert (code, out.startswith(f"held_back {FULL} 1.1 until ")) == (0, True), err
        assert place.link("current") == "v1.1"
        await place.reads("first")
        await place.publish("third")
        with trio.fail_after(HANG_S):
            while (
                "1.3      held_back (1.1 in use until"
                not in (await typed("artifacts", *place.socket))[1]
            ):
                pass
        assert place.link("current") == "v1.1"
        code, out, _ = await typed("status", "--check", *place.socket)
        assert code == 4
        assert f"held_back  {FULL}" in out
        assert 'put it back to 1.1: "second breaks edge-1"' in out
        assert "and 1.3 waits" in out
        assert "1 held_back" in out
        assert "1.1 until" in (await typed("why", "routes/edge", *place.socket))[1]
        code, out, _ = await typed("artifacts", *place.socket, "--state", "held_back", "--json")
        (item,) = json.loads(out)["items"]
        assert (item["version"], item["held_back"]["order"]) == (3, "1.1")
        assert item["held_back"]["reason"] == "second breaks edge-1"
        _, out, _ = await typed("events", *place.socket)
        (told,) = (one for one in out.splitlines() if " held_back source=uid:" in one)
        assert "second breaks edge-1" in told
        assert (await typed("gate", "read-config", "--namespace", FULL, *place.socket))[0] == 0
    code, out, err = await typed("doctor", "--config", place.node / "fabgossip.toml")
    assert code == 4
    assert f"held_back: fabgossip artifacts use {FULL} --release" in err
    assert '"second breaks edge-1"; 1.3 waits' in out
    with suppress(FileNotFoundError):
        (place.node / "status.sock").unlink()
    async with enrolled.served(place.node):
        assert "1 held_back" in (await typed("status", *place.socket))[1]
        assert place.link("current") == "v1.1"
        code, out, _ = await typed(*place.use, "routes/edge", "--release")
        assert (code, out) == (0, f"released {FULL} 1.1\n")
        await place.reads("third")
        assert "held_back" not in (await typed("artifacts", *place.socket))[1]
        code, _, err = await typed(*place.use, "routes/edge", "--release")
        assert (code, "no older version is held in use" in err) == (2, True)
    records = [json.loads(line) for _, line in read_records(place.state / "audit", 0, 1_000)]
    deeds = {one["event"]: one["decision"] for one in records}
    assert (deeds["held_back"], deeds["released"]) == ("hold back", "release")


async def test_what_cannot_be_put_back_is_said_with_what_and_why(place: Place) -> None:
    async with enrolled.served(place.node):
        for text in ("first", "second"):
            await place.publish(text)
            await place.reads(text)
        because = ("--reason", "a drill")
        for words, code, said in (
            (("routes/egde", "--version", "1.1", *because), 2, "no version of it is in local/"),
            (("routes/edge", "--version", "1.9", *because), 2, "kept are: 1.1, 1.2"),
            (("routes/edge", "--version", "newest", *because), 2, "EPOCH.VERSION"),
            (("routes/edge", "--version", "1.1"), 2, "--reason: expected words"),
            (("routes/edge", "--version", "1.1", "--reason", " "), 2, "--reason: expected words"),
            (("routes/edge", "--version", "1.1", *because, "--for", "91d"), 2, "1s to 90d"),
            (("routes/edge", "--release", "--for", "1h"), 2, "takes neither"),
            (("routes/edge", *because), 2, "--version"),
            (("a" * 64, "--release"), 2, "is a content hash"),
            (("routes/edge", "--version", "1.2", *because), 5, "nothing to go back to"),
            (("trust/revocations", "--version", "1.1", *because), 5, "revocation_list"),
        ):
            result = await place.typed(*place.use, *words)
            assert (result[0], said in result[2]) == (code, True), (words, result)
        changed = place.state / "local" / FULL / "v1.1" / "content"
        changed.chmod(0o600)
        changed.write_text("forged")
        words = ("routes/edge", "--version", "1.1", *because)
        code, _, err = await place.typed(*place.use, *words)
        assert (code, "is not what was signed any more" in err) == (75, True)
        assert place.link("current") == "v1.2"
        assert "held_back" not in (await place.typed("artifacts", *place.socket))[1]
