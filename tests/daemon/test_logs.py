"""The log: one line an event, nothing a peer wrote can forge one, and no flood."""

import json

import pytest

from fabgossip.daemon.logs import (
    LINES_OF_ONE_MAX,
    LINES_PER_SECOND_MAX,
    TEXT_MAX,
    Log,
    LogLevel,
)


class Clock:
    """Seconds that pass when told to."""

    now = 1_800_000_000.25

    def __call__(self) -> float:
        return self.now


def log(*, as_json: bool, level: LogLevel = LogLevel.INFO) -> tuple[Log, list[str], Clock]:
    lines: list[str] = []
    clock = Clock()
    return Log(level, clock, as_json=as_json, write=lines.append), lines, clock


@pytest.mark.parametrize("as_json", [True, False])
def test_text_of_a_peer_stays_in_its_line(as_json: bool) -> None:  # noqa: FBT001
    one, lines, _ = log(as_json=as_json)
    nasty = 'x\n2027-01-15T08:00:00Z error forged\x1b[31m\u2028"'
    one.emit("event", LogLevel.INFO, (("peer", nasty),))
    (line,) = lines
    assert line.count("\n") == 1
    assert line.isascii()
    assert line[:-1].isprintable()


def test_long_text_is_cut() -> None:
    one, lines, _ = log(as_json=True)
    one.emit("event", LogLevel.INFO, (("peer", "x" * (TEXT_MAX + 1)),))
    assert json.loads(lines[0])["peer"] == "x" * TEXT_MAX


def test_a_line_for_machines_is_one_object() -> None:
    one, lines, _ = log(as_json=True)
    one.emit("started", LogLevel.WARNING, (("node", "n1"), ("links", 3), ("empty", "")))
    assert json.loads(lines[0]) == {
        "at": "2027-01-15T08:00:00.250Z",
        "level": "warning",
        "event": "started",
        "node": "n1",
        "links": 3,
    }


def test_below_the_level_nothing_is_written() -> None:
    one, lines, _ = log(as_json=True, level=LogLevel.WARNING)
    one.emit("event", LogLevel.INFO)
    assert lines == []


def test_a_flood_is_held_back_counted_and_said_and_errors_pass() -> None:
    one, lines, clock = log(as_json=True)
    for number in range(LINES_PER_SECOND_MAX + 5):
        one.emit("flood", LogLevel.INFO, (("peer", f"n{number}"),))
    assert len(lines) == LINES_PER_SECOND_MAX
    one.emit("fault", LogLevel.ERROR)
    assert json.loads(lines[-1])["event"] == "fault"
    clock.now += 1
    one.emit("calm", LogLevel.INFO)
    told, calm = map(json.loads, lines[-2:])
    assert (told["event"], told["lines"], calm["event"]) == ("log_suppressed", 5, "calm")


def test_a_flood_of_one_event_and_peer_leaves_room_for_what_is_said_of_others() -> None:
    one, lines, clock = log(as_json=True)
    for _ in range(LINES_PER_SECOND_MAX + 5):
        one.emit("flood", LogLevel.INFO, (("peer", "n7"),))
    assert len(lines) == LINES_OF_ONE_MAX
    for peer, event in (("n8", "flood"), ("n7", "alarm")):
        one.emit(event, LogLevel.WARNING, (("peer", peer),))
        assert (json.loads(lines[-1])["event"], json.loads(lines[-1])["peer"]) == (event, peer)
    clock.now += 1
    one.emit("flood", LogLevel.INFO, (("peer", "n7"),))
    told, again = map(json.loads, lines[-2:])
    held_back = LINES_PER_SECOND_MAX + 5 - LINES_OF_ONE_MAX
    assert (told["event"], told["lines"], again["event"]) == ("log_suppressed", held_back, "flood")
