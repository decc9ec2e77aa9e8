"""What `status`, `why` and `peers` print of an answer, line for line."""

from pathlib import Path

import pytest

from fabgossip.cli.client import Reply
from tests.cli.test_commands import Output, outcome
from tests.core.story import Story
from tests.daemon.test_views import climbing, names, of_all, why

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
