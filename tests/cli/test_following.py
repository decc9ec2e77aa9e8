"""`fabgossip events --follow` goes on from where it was, whatever becomes of the daemon."""

import json
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from fabgossip.cli import following
from fabgossip.cli.client import ForbiddenError, Reply, UnreachableError
from fabgossip.cli.following import Follower
from fabgossip.cli.main import run

SOCKET = Path("s")
OLD, NEW = "aa", "bb"


def told(boot_id: str, last: int) -> Reply:
    return Reply(200, {"items": [], "next": last, "missed": 0, "boot_id": boot_id})


def gone() -> UnreachableError:
    return UnreachableError("no daemon answers")


class Daemon:
    """Answers in turn as it was told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Reply | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, list[str]]] = []
        monkeypatch.setattr(following, "ask", self.ask)
        monkeypatch.setattr(time, "sleep", lambda _: None)

    def ask(self, _: Path, target: str, __: float = 0.0) -> Reply:
        self.asked.append(parse_qs(urlsplit(target).query))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_it_asks_for_what_comes_after_what_it_has_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = Daemon(monkeypatch, told(OLD, 7), told(OLD, 9))
    follower = Follower(SOCKET)
    follower.next()
    follower.next()
    assert daemon.asked[0] == {}
    assert (daemon.asked[1]["after"], daemon.asked[1]["boot_id"]) == (["7"], [OLD])


def test_a_daemon_that_hangs_or_is_busy_is_asked_from_the_same_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    busy = Reply(503, {"code": "busy"})
    daemon = Daemon(monkeypatch, told(OLD, 7), gone(), busy, told(OLD, 8))
    follower = Follower(SOCKET)
    follower.next()
    assert follower.next().body["next"] == 8
    assert [one["after"] for one in daemon.asked[1:]] == [["7"]] * 3
    assert "anew" not in capsys.readouterr().err


def test_a_restart_is_said_and_the_new_process_followed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    away = [gone() for _ in range(3)]
    daemon = Daemon(monkeypatch, told(OLD, 7), *away, told(NEW, 2), told(NEW, 3))
    follower = Follower(SOCKET)
    follower.next()
    follower.next()
    said = capsys.readouterr().err
    assert (said.count("waiting for it"), said.count("started anew")) == (1, 1)
    follower.next()
    assert (daemon.asked[-1]["after"], daemon.asked[-1]["boot_id"]) == (["2"], [NEW])
    assert capsys.readouterr().err == ""


def about(number: int, name: str) -> dict[str, object]:
    return {"number": number, "at": "now", "event": "artifact_current", "namespace": name}


EDGE = "platform/p1/cluster/c1/routes/edge"


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ((), [1, 2, 3, 4]),
        (("--namespace", "routes/edge"), [1, 3]),
        (("--namespace", EDGE), [1, 3]),
        (("--namespace", "edge/routes"), []),
        (("--last", "3"), [2, 3, 4]),
        (("--last", "9"), [1, 2, 3, 4]),
        (("--namespace", "routes/edge", "--last", "1"), [3]),
    ],
    ids=str,
)
def test_events_can_be_those_about_one_namespace_and_the_last_of_them(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    numbers: list[int],
) -> None:
    lately = [about(1, EDGE), about(2, EDGE + "s"), about(3, EDGE), {"number": 4, "event": "x"}]
    found = told(OLD, 4)
    Daemon(monkeypatch, Reply(200, found.body | {"items": lately}))
    assert run(["events", "--json", *options]) == 0
    body = json.loads(capsys.readouterr().out)
    assert [one["number"] for one in body["items"]] == numbers
    assert (body["next"], body["boot_id"]) == (4, OLD)


def test_who_follows_a_namespace_hears_all_that_follows_about_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, then = (
        Reply(200, told(OLD, last).body | {"items": items})
        for last, items in (
            (2, [about(1, EDGE), about(2, EDGE)]),
            (5, [about(3, EDGE), about(4, "other"), about(5, EDGE)]),
        )
    )
    Daemon(monkeypatch, first, then, ForbiddenError("over"))
    run(["events", "--json", "--follow", "--namespace", "routes/edge", "--last", "1"])
    lines = [json.loads(one) for one in capsys.readouterr().out.splitlines()]
    assert [one["number"] for one in lines if "number" in one] == [2, 3, 5]


def test_whoever_never_answered_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    Daemon(monkeypatch, gone())
    with pytest.raises(UnreachableError):
        Follower(SOCKET).next()


def test_nor_who_may_not_be_asked_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    Daemon(monkeypatch, told(OLD, 7), gone(), ForbiddenError("you may not"))
    follower = Follower(SOCKET)
    follower.next()
    with pytest.raises(ForbiddenError):
        follower.next()
