"""`control publish` to a daemon of this process."""

import json
from pathlib import Path

import trio

from tests.cli.test_commands import Output, outcome
from tests.daemon import enrolled


async def test_publish_says_which_node_took_it_and_who_would_take_the_rest(
    tmp_path: Path, capsys: Output
) -> None:
    """One node that stores for an organisation is enough, and every later publish ends with 5."""
    folder = enrolled.make(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    (source / "fabric.toml").write_text("schema = 1\n")
    authority = ("--authority", tmp_path / "authority")

    async def typed(verb: str, *more: str | Path) -> tuple[int, str, str]:
        words = ("control", verb, *more, *authority)
        return await trio.to_thread.run_sync(outcome, capsys, *words)

    publish = ("publish", "--socket", folder / "status.sock")
    async with enrolled.served(folder):
        assert (await typed("compile", source))[0] == 0
        code, out, _ = await typed(*publish)
        assert (code, out.endswith(" handed over to n1, 0 refused\n")) == (0, True)
        assert (await typed(*publish))[:2] == (0, "0 handed over to n1, 0 refused\n")
    # Even with nothing to hand over: a timer that publishes must notice that nobody is there.
    assert (await typed(*publish))[0] == 3
    async with enrolled.served(folder):
        place = ("--out", tmp_path / "n2", "--address", "127.0.0.1:2")
        assert (await typed("enroll", "n2", *place, "--stores", "nowhere"))[0] == 0
        assert (await typed("compile", source))[0] == 0
        code, out, err = await typed(*publish)
    assert code == 5
    assert "AUDIENCE_NOT_OURS" in err
    assert err.splitlines()[-1] == (
        "next: publish to a node enrolled with --stores nowhere, or: "
        "fabgossip control enroll n1 --change --out FOLDER --stores cluster --stores nowhere "
        f"--authority {tmp_path / 'authority'}"
    )


async def test_publish_says_what_was_decided_and_is_in_nothing_signed(
    tmp_path: Path, capsys: Output
) -> None:
    """ "0 handed over" with exit 0 sounded as if the revocation were in force."""
    folder = enrolled.make(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    (source / "fabric.toml").write_text("schema = 1\n")
    authority = ("--authority", tmp_path / "authority")

    async def typed(verb: str, *more: str | Path) -> tuple[int, str, str]:
        words = ("control", verb, *more, *authority)
        return await trio.to_thread.run_sync(outcome, capsys, *words)

    publish = ("publish", "--socket", folder / "status.sock")
    async with enrolled.served(folder):
        place = ("--out", tmp_path / "n2", "--address", "127.0.0.1:2")
        assert (await typed("enroll", "n2", *place))[0] == 0
        code, _, err = await typed(*publish)
        assert (code, "in no signed claims yet: n1, n2" in err) == (1, True)
        assert (await typed("compile", source))[0] == 0
        assert (await typed(*publish))[0] == 0
        assert (await typed("revoke", "--node", "n2", "--reason", "stolen"))[0] == 0
        listed = json.loads((await typed("revoke", "--list", "--json"))[1])["entries"]
        assert [one["signed"] for one in listed] == [False]
        code, out, err = await typed(*publish)
        assert (code, out) == (1, "0 handed over to n1, 0 refused\n")
        assert err.splitlines() == [
            "warning: in no signed list yet, so believed by every node: node n2",
            f"next: fabgossip control compile SOURCE --authority {tmp_path / 'authority'}; "
            "then publish again",
        ]
        code, out, _ = await typed(*publish, "--json")
        (row,) = json.loads(out)["uncompiled"]["revocations"]
        assert (code, row["kind"], row["subject"]) == (1, "node", "n2")
        assert (await typed("compile", source))[0] == 0
        code, out, err = await typed(*publish, "--json")
        assert (code, "warning" in err) == (0, False)
        assert json.loads(out)["uncompiled"] == {"revocations": [], "nodes": []}
        assert "  yes  " in (await typed("revoke", "--list"))[1]
