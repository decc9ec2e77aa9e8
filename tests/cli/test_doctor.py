"""`fabgossip doctor`, as typed: beside a daemon, after it, and where its index is lost."""

import json
import os
from contextlib import suppress
from pathlib import Path

import trio

from fabgossip.daemon.config import read_config
from fabgossip.storage.index import INDEX_NAME
from tests.cli.test_asking import FABRIC, FULL
from tests.cli.test_commands import Output, outcome
from tests.daemon import enrolled

HANG_S = 60
LARGE = "large routes " * 4_000


async def test_a_folder_is_looked_at_and_its_index_made_anew(
    tmp_path: Path, capsys: Output
) -> None:
    folder = enrolled.make(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    (source / "fabric.toml").write_text(FABRIC)
    (source / "routes").write_text(LARGE)
    config = read_config(folder / "fabgossip.toml", None)

    async def typed(*words: str | Path) -> tuple[int, str, str]:
        return await trio.to_thread.run_sync(outcome, capsys, *words)

    socket = ("--socket", folder / "status.sock")
    authority = ("--authority", tmp_path / "authority")
    doctor = ("doctor", "--config", folder / "fabgossip.toml")
    async with enrolled.served(folder):
        assert (await typed("control", "compile", source, *authority))[0] == 0
        assert (await typed("control", "publish", *authority, *socket))[0] == 0
        pin = ("artifacts", "pin", "routes/edge", *socket, "--reason", "a drill")
        assert (await typed(*pin))[0] == 0
        with trio.fail_after(HANG_S):
            while "state    current" not in (await typed("why", FULL, *socket))[1]:
                pass
        code, out, _ = await typed(*doctor, "--json")
        found = {one["subject"]: one for one in json.loads(out)["items"]}
        assert f"in use by process {os.getpid()}" in found["daemon"]["detail"]
        assert found["index"]["grade"] == "ok"
        assert found["current in local/ that nothing names"]["grade"] == "ok"
        assert (await typed(*doctor, "--rebuild-index"))[0] == 75
    code, out, _ = await typed(*doctor)
    assert "not looked for; --hash reads all" in out
    code, out, _ = await typed(*doctor, "--hash")
    assert "not looked for" not in out
    assert "fail" not in out
    _, _, err = await typed(*doctor, "--rebuild-index")
    assert f"gone: pin 1 of {FULL} until" in err
    # Nothing is announced yet: software goes on reading what was switched to.
    assert "current in local/ that nothing names: fabgossip why" in (await typed(*doctor))[2]
    async with enrolled.served(folder):
        code, out, _ = await typed("why", "routes/edge", *socket)
        assert (code, out.splitlines()[1]) == (0, "  in local/  1.1, nobody vouches for it now")
    (config.storage / INDEX_NAME).write_bytes(b"no database at all " * 300)
    code, out, err = await typed(*doctor)
    assert code == 1
    assert f"fabgossip doctor --rebuild-index --config {folder / 'fabgossip.toml'}" in err
    kept = (config.storage / INDEX_NAME).read_bytes()
    (config.storage / INDEX_NAME).unlink()
    code, out, _ = await typed(*doctor)
    assert code == 1
    assert f"{INDEX_NAME} is missing" in out
    (config.storage / INDEX_NAME).write_bytes(kept)
    code, out, err = await typed(*doctor, "--rebuild-index")
    assert "which there were, the index before does not say" in err
    assert (code, out) == (0, "1 contents taken up, 0 damaged ones set aside\n")
    # What names it comes once more; its bytes were here all the time.
    with suppress(FileNotFoundError):
        (folder / "status.sock").unlink()
    async with enrolled.served(folder):
        (path,) = (one for one in (config.storage / "objects").rglob("*") if one.is_file())
        before = path.stat().st_ino
        assert (await typed("control", "publish", "--all", *authority, *socket))[0] == 0
        with trio.fail_after(HANG_S):
            while "state    current" not in (await typed("why", FULL, *socket))[1]:
                pass
        assert path.stat().st_ino == before
