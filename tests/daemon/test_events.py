"""`GET /v1/events`: whoever follows misses nothing that is kept, and sees nothing twice."""

import json
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
import trio

from fabgossip.core.effects import Fact, Record
from fabgossip.daemon.callers import Caller
from fabgossip.daemon.conversations import RefusedError, Request
from fabgossip.daemon.driver import Driver
from fabgossip.daemon.questions import EVENTS_BYTES_MAX, LIMIT_MAX, Questions
from fabgossip.daemon.recent import EVENTS_KEPT, Recent
from fabgossip.model.moment import UnixTime
from fabgossip.storage.records import TEXT_BYTES_MAX
from tests.fuzzing.local import ABOUT

BOOT = ABOUT.boot_id.hex()


class Told:
    """What the route needs of a driver."""

    def __init__(self, count: int) -> None:
        self.recent = Recent()
        for _ in range(count):
            self.tell()

    def tell(self, reason: str = "") -> None:
        fields = (("reason", reason),)
        self.recent.tell(Record(fact=Fact.SUBMITTED, fields=fields), UnixTime(1))


async def asked(told: Told, **query: str) -> dict[str, object]:
    async def nothing(_: Callable[[bytes], Awaitable[None]]) -> None:
        await trio.lowlevel.checkpoint()

    questions = Questions(cast("Driver", told), ABOUT, lambda: True)
    caller = Caller(uid=0, groups=frozenset())
    request = Request("GET", "/v1/events", query, {}, caller, nothing)
    return (await questions.on_events(request)).body


def numbers(body: dict[str, object]) -> list[int]:
    return [one["number"] for one in cast("list[dict[str, int]]", body["items"])]


async def test_without_a_place_the_last_of_them_are_told() -> None:
    body = await asked(Told(LIMIT_MAX + 3))
    assert numbers(body) == list(range(4, LIMIT_MAX + 4))
    assert (body["next"], body["missed"], body["boot_id"]) == (LIMIT_MAX + 3, 0, BOOT)


async def test_a_backlog_comes_page_by_page_and_what_is_not_kept_is_counted() -> None:
    told, seen, after, missed = Told(EVENTS_KEPT + 10), [], 4, 0
    while after < told.recent.told:
        body = await asked(told, after=str(after), boot_id=BOOT)
        seen += numbers(body)
        after, missed = cast("int", body["next"]), missed + cast("int", body["missed"])
    assert seen == list(range(11, EVENTS_KEPT + 11))
    assert missed == 6


def test_what_is_kept_of_a_text_is_bounded() -> None:
    told = Told(0)
    told.tell("x" * 16_000)
    (kept,) = told.recent.newest(1)
    assert dict(kept.fact.fields) == {"reason": "x" * TEXT_BYTES_MAX}


@pytest.mark.parametrize("character", ["x", "\u2028", "\U0001f600"])
async def test_an_answer_is_bounded_in_bytes_and_the_next_goes_on(character: str) -> None:
    """Whatever a text is written as; or the loop would write megabytes in one go."""
    told = Told(0)
    for _ in range(LIMIT_MAX):
        told.tell(TEXT_BYTES_MAX * character)
    seen: list[int] = []
    while len(seen) < LIMIT_MAX:
        body = await asked(told, after=str(len(seen)))
        assert len(json.dumps(body)) < EVENTS_BYTES_MAX + 1_000
        assert (body["missed"], body["next"]) == (0, len(seen) + len(numbers(body)))
        seen += numbers(body)
    assert seen == list(range(1, LIMIT_MAX + 1))
    body = await asked(told)
    assert len(json.dumps(body)) < EVENTS_BYTES_MAX + 1_000
    last = numbers(body)
    assert last == list(range(last[0], LIMIT_MAX + 1))
    assert (body["missed"], body["next"]) == (0, LIMIT_MAX)


@pytest.mark.parametrize("place", [{"after": "2", "boot_id": "00" * 16}, {"after": "9"}])
async def test_another_process_tells_all_of_its_own(place: dict[str, str]) -> None:
    body = await asked(Told(2), **place)
    assert (numbers(body), body["missed"]) == ([1, 2], 0)


async def test_who_has_seen_all_hears_the_next_at_once(autojump_clock: object) -> None:
    told, began = Told(2), trio.current_time()
    async with trio.open_nursery() as nursery:

        async def later() -> None:
            await trio.sleep(3)
            told.tell()

        nursery.start_soon(later)
        assert numbers(await asked(told, after="2", wait_ms="20000")) == [3]
    assert trio.current_time() - began == pytest.approx(3)


async def test_and_nothing_where_nothing_happens(autojump_clock: object) -> None:
    began = trio.current_time()
    body = await asked(Told(2), after="2", wait_ms="20000")
    assert (numbers(body), body["next"]) == ([], 2)
    assert trio.current_time() - began == pytest.approx(20)


@pytest.mark.parametrize("query", [{"wait_ms": "1"}, {"boot_id": BOOT}, {"after": "x"}])
async def test_a_question_that_says_nothing_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(RefusedError) as caught:
        await asked(Told(1), **query)
    assert caught.value.reply.code == 400
