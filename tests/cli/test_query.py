"""What `status`, `why` and `peers` print of an answer, line for line."""

import re
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from fabgossip.cli.client import Reply
from fabgossip.core.events import AuditState
from fabgossip.core.losses import DownNode
from fabgossip.core.renewals import RenewingSnapshot
from fabgossip.daemon import views
from fabgossip.daemon.audit import AuditView
from fabgossip.model.ids import NodeId
from tests.cli.test_commands import Output, outcome
from tests.core.artifacts import routes
from tests.core.story import Story, announcement
from tests.daemon.test_views import climbing, names, of_all, table, why
from tests.docs.pages import DOCS
from tests.fuzzing.local import ABOUT

SOCKET = ("--socket", Path("no.sock"))


def printed(
    body: dict[str, object], capsys: Output, monkeypatch: pytest.MonkeyPatch, *words: str
) -> list[str]:
    """The lines of a command to which a daemon gives this answer."""
    monkeypatch.setattr("fabgossip.cli.query.ask", lambda *_: Reply(code=200, body=body))
    code, out, _ = outcome(capsys, *words, *SOCKET)
    assert code == 0
    return out.splitlines()


def why_lines(story: Story, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    body = why(story) | {"granted": [], "unclaimed": None}
    return printed(body, capsys, monkeypatch, "why", "routes/r1")


def starting(lines: list[str], word: str) -> list[str]:
    return [one for one in lines if one.startswith(word)]


def test_held_by_says_what_the_word_of_each_peer_is_worth(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = climbing(says_all=True)
    assert starting(why_lines(story, capsys, monkeypatch), "  held by") == [
        "  held by  said so, but answered missing: announcer"
    ]
    of_all(story, "other")
    names(story, "third")
    assert starting(why_lines(story, capsys, monkeypatch), "  held by") == [
        "  held by  third   said to hold all but others: other   "
        "said so, but answered missing: announcer"
    ]
    assert starting(why_lines(climbing(), capsys, monkeypatch), "  held by") == [
        "  held by  nobody said yet"
    ]


def test_peers_lists_who_is_missing_below_who_is_linked(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = DownNode(NodeId("storage-1"), "127.0.0.1:17432", "connect_failed", 9_000, 4_000)
    soon = DownNode(NodeId("control-1"), "", "bye_restart", 200_000, 0)
    body: dict[str, object] = {"items": [], "down": [views.down(gone), views.down(soon)]}
    assert printed(body, capsys, monkeypatch, "peers")[1:] == [
        "storage-1  127.0.0.1:17432   lost: connect_failed 9.0 s ago, next dial in 4.0 s",
        "control-1  -   lost: bye_restart 3 min ago, next dial now",
    ]


def test_status_prints_every_line_of_the_page_that_explains_it_and_no_other(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`process` is what the runbook of `identity_cloned` sends an operator to look for."""
    story = Story()
    snapshot = story.node.view.snapshot(story.now)
    audit = AuditView(sequence=0, anchored_at=None, state=AuditState.INTACT)
    lines = printed(views.status(snapshot, ABOUT, audit), capsys, monkeypatch, "status")
    started = views.rfc3339(ABOUT.started_at)
    assert f"  process       started {started}, boot {ABOUT.boot_id.hex()}" in lines
    page = (DOCS / "how-to" / "look-into-a-node.md").read_text("utf-8")
    (sample,) = re.findall(r"^\$ fabgossip status\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    labels = [one.split()[0] for one in lines if re.match(r"  \w", one)]
    told = [one.split()[0] for one in sample.splitlines() if re.match(r"  \w", one)]
    assert labels[: len(told)] == told
    assert len(labels) - len(told) == len(snapshot.problems)


def test_status_says_so_while_something_newer_is_asked_for(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story()
    snapshot = story.node.view.snapshot(story.now)
    audit = AuditView(sequence=0, anchored_at=None, state=AuditState.INTACT)
    for climbs, words in ((0, ""), (1, "   1 climb for newer, at rung 2"), (2, "   2 climbs for")):
        seen = replace(snapshot, renewing=RenewingSnapshot(climbs=climbs, highest_step="rung 2"))
        lines = printed(views.status(seen, ABOUT, audit), capsys, monkeypatch, "status")
        (line,) = starting(lines, "  recovery")
        assert line.partition("at normal")[2].startswith(words)
        assert ("newer" in line) is bool(climbs)


def test_a_climb_that_found_nobody_is_one_line(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six rows that say "skipped" hide the one that says why."""
    story = climbing(endpoints=())
    assert table(why(story), "want")["state"] == "parked"
    story.wait(182_088)
    assert ladder(story, capsys, monkeypatch) == [
        ["3 min ago", "climb 0", "announcer", "missing", "0 ms", "0",
         "announced it, place unknown; no other source; rung 5: in use"],
    ]  # fmt: skip
    found = climbing(says_all=True)
    names(found, "third")
    assert len(ladder(found, capsys, monkeypatch)) == len(
        cast("list[object]", why(found)["ladder"])
    )


def ladder(story: Story, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The cells of the table of tries."""
    lines = why_lines(story, capsys, monkeypatch)
    begin = next(i for i, one in enumerate(lines) if one.startswith("LADDER"))
    return [re.split(r"  +", one) for one in lines[begin + 1 :]]


def test_what_came_with_its_announcement_says_so_and_that_nobody_was_asked(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story()
    link = story.link("n2")
    story.hear(link, announcement(routes(7))).persisted()
    before = why_lines(story, capsys, monkeypatch)
    assert starting(before, "  arrived") == []
    story.stored(routes(7), None).materialized()
    lines = why_lines(story, capsys, monkeypatch)
    assert starting(lines, "  arrived") == ["  arrived  with its announcement from n2"]
    assert lines[-1] == "  tries    none remembered since the start"
    story = Story()
    story.accept(routes(7), story.link("n2"))
    lines = why_lines(story, capsys, monkeypatch)
    assert starting(lines, "  arrived") == starting(lines, "  tries") == []


def test_a_state_without_a_known_begin_says_nothing_of_one(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    (line,) = starting(why_lines(climbing(), capsys, monkeypatch), "  state")
    assert line == "  state    behind"
