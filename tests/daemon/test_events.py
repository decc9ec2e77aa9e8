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
from fabgossip.daemon.folding import FOLD
from fabgossip.daemon.questions import EVENTS_BYTES_MAX, LIMIT_MAX, Questions
from fabgossip.daemon.recent import EACH_KEPT, EVENTS_KEPT, Recent
from fabgossip.model.moment import Duration, Now, later
from fabgossip.storage.records import TEXT_BYTES_MAX
from tests.fuzzing.local import ABOUT
from tests.trust import factory

BOOT = ABOUT.boot_id.hex()
OTHERS_KEPT = EVENTS_KEPT - EACH_KEPT


class Told:
    """What the route needs of a driver."""

    def __init__(self, count: int = 0) -> None:
        self.logged: list[Record] = []
        self.recent = Recent(self.logged.append)
        self._now = factory.BOTH_CLOCKS
        for _ in range(count):
            self.tell()

    def tell(self, fact: Fact = Fact.NEIGHBOR_CONNECTED, **fields: str) -> None:
        self.recent.record(Record(fact=fact, fields=tuple(fields.items())), self._now)

    def wait(self, milliseconds: int) -> None:
        instant = later(self._now.instant, Duration(milliseconds))
        self._now = Now(instant=instant, unix=self._now.unix)
        self.recent.tell_due(self._now)

    def events(self) -> list[tuple[Fact, dict[str, str | int]]]:
        return [(one.fact.fact, dict(one.fact.fields)) for one in self.recent.after(0, EVENTS_KEPT)]


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
    told, seen, after, missed = Told(OTHERS_KEPT + 10), [], 4, 0
    while after < told.recent.told:
        body = await asked(told, after=str(after), boot_id=BOOT)
        seen += numbers(body)
        after, missed = cast("int", body["next"]), missed + cast("int", body["missed"])
    assert seen == list(range(11, OTHERS_KEPT + 11))
    assert missed == 6


def test_what_a_peer_causes_again_and_again_is_told_twice_in_ten_seconds() -> None:
    """Once at once, once with the number of its repeats; of each peer, code and kind apart."""
    told = Told()
    for number in range(1_000):
        told.tell(Fact.FETCH_DENIED, peer="n7", code="GRANT_INVALID", detail=str(number))
    told.tell(Fact.FETCH_DENIED, peer="n8", code="GRANT_INVALID", detail="another peer")
    told.tell(Fact.FETCH_DENIED, peer="n7", code="artifact_scope", namespace="another/code")
    told.wait(FOLD - 1)
    told.tell(Fact.FETCH_DENIED, peer="n7", code="GRANT_INVALID", detail="late")
    told.wait(1)
    told.tell(Fact.FETCH_DENIED, peer="n7", code="GRANT_INVALID", detail="anew")
    of_n7: dict[str, str | int] = {"peer": "n7", "code": "GRANT_INVALID"}
    assert told.events() == [
        (Fact.FETCH_DENIED, of_n7 | {"detail": "0"}),
        (Fact.FETCH_DENIED, {"peer": "n8", "code": "GRANT_INVALID", "detail": "another peer"}),
        (
            Fact.FETCH_DENIED,
            {"peer": "n7", "code": "artifact_scope", "namespace": "another/code"},
        ),
        (Fact.FETCH_DENIED, of_n7 | {"repeats": 1_000}),
        (Fact.FETCH_DENIED, of_n7 | {"detail": "anew"}),
    ]
    assert [(one.fact, dict(one.fields)) for one in told.logged] == told.events()


async def test_who_follows_is_told_the_repeats_and_is_not_woken_by_each(
    autojump_clock: object,
) -> None:
    told, denied = Told(), {"peer": "n7", "check": "membership"}
    told.tell(Fact.FETCH_DENIED, **denied)
    async with trio.open_nursery() as nursery:

        async def again() -> None:
            for _ in range(100):
                await trio.sleep(0.1)
                told.tell(Fact.FETCH_DENIED, **denied)
            told.wait(FOLD)

        nursery.start_soon(again)
        body = await asked(told, after="1", wait_ms="20000")
    (item,) = cast("list[dict[str, object]]", body["items"])
    assert (item["number"], item["repeats"], item["peer"]) == (2, 100, "n7")
    assert (body["next"], body["missed"]) == (2, 0)


def test_repeats_that_are_counted_at_the_end_are_told() -> None:
    told = Told()
    for _ in range(3):
        told.tell(Fact.PROBE_SILENCED, peer="n7")
    told.recent.tell_all(factory.BOTH_CLOCKS)
    assert told.events()[1:] == [(Fact.PROBE_SILENCED, {"peer": "n7", "repeats": 2})]


async def test_no_flood_pushes_out_what_counts_each_time() -> None:
    """Not even one by many peers, each of which folds; what is missed between is counted."""
    told = Told()
    told.tell(Fact.TRUST_FORKED, namespace="trust/bundle")
    for number in range(EVENTS_KEPT):
        told.tell(Fact.FETCH_DENIED, peer=f"n{number}", check="membership")
    told.tell(Fact.PINNED, source="uid:0")
    found = [fact for fact, _ in told.events() if fact is not Fact.FETCH_DENIED]
    assert found == [Fact.TRUST_FORKED, Fact.PINNED]
    body, missed, after = await asked(told, after="0"), 0, "0"
    assert numbers(body)[:2] == [1, EVENTS_KEPT - OTHERS_KEPT + 2]
    while body["items"]:
        missed += cast("int", body["missed"])
        after = str(body["next"])
        body = await asked(told, after=after, wait_ms="1")
    assert (missed, after) == (EVENTS_KEPT - OTHERS_KEPT, str(EVENTS_KEPT + 2))


def test_what_is_kept_of_a_text_is_bounded() -> None:
    told = Told()
    told.tell(reason="x" * 16_000)
    (kept,) = told.recent.newest(1)
    assert dict(kept.fact.fields) == {"reason": "x" * TEXT_BYTES_MAX}


@pytest.mark.parametrize("character", ["x", "\u2028", "\U0001f600"])
async def test_an_answer_is_bounded_in_bytes_and_the_next_goes_on(character: str) -> None:
    """Whatever a text is written as; or the loop would write megabytes in one go."""
    told = Told()
    for _ in range(LIMIT_MAX):
        told.tell(reason=TEXT_BYTES_MAX * character)
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
