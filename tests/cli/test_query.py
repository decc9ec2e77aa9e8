"""What `status`, `why` and `peers` print of an answer, line for line."""

import re
from pathlib import Path

import pytest

from fabgossip.cli.client import Reply
from fabgossip.core.events import AuditState
from fabgossip.core.losses import DownNode
from fabgossip.daemon import views
from fabgossip.daemon.audit import AuditView
from fabgossip.model.ids import NodeId
from tests.cli.test_commands import Output, outcome
from tests.core.story import Story
from tests.daemon.test_views import climbing, names, of_all, why
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
        "  held by  third   by a word about all they hold: other   "
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
