"""`GET /v1/events`: whoever follows misses nothing that is kept, and sees nothing twice."""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
import trio

from fabgossip.core.effects import Fact, Record
from fabgossip.daemon.callers import Caller
from fabgossip.daemon.conversations import RefusedError, Request
from fabgossip.daemon.driver import EVENTS_KEPT, Driver
from fabgossip.daemon.questions import LIMIT_MAX, Questions
from fabgossip.model.moment import UnixTime
from tests.fuzzing.local import ABOUT

BOOT = ABOUT.boot_id.hex()


class Told:
    """What the route needs of a driver: what was told, as the driver keeps it."""

    def __init__(self, count: int) -> None:
        self.facts: deque[tuple[UnixTime, Record]] = deque(maxlen=EVENTS_KEPT)
        self.facts_told = 0
        self._told = trio.Event()
        for _ in range(count):
            self.tell()

    def tell(self) -> None:
        self.facts.append((UnixTime(1), Record(fact=Fact.SUBMITTED, fields=())))
        self.facts_told += 1
        self._told.set()
        self._told = trio.Event()

    async def next_fact(self) -> None:
        await self._told.wait()


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
    while after < told.facts_told:
        body = await asked(told, after=str(after), boot_id=BOOT)
        seen += numbers(body)
        after, missed = cast("int", body["next"]), missed + cast("int", body["missed"])
    assert seen == list(range(11, EVENTS_KEPT + 11))
    assert missed == 6


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
