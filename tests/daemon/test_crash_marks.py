"""What a process was handling when it ended is left alone, once that has happened too often."""

from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from fabgossip.core.accepting import Accepting
from fabgossip.core.effects import Persist
from fabgossip.core.events import (
    LinkId,
    MessageReceived,
    RequestId,
    RequestMade,
    SubmitRequest,
    Token,
    UseRequest,
)
from fabgossip.daemon.crash_marks import (
    FOLDER,
    HANDLED_MAX,
    SPAN_S,
    CrashMarks,
    digests_of,
    envelopes_in,
    envelopes_kept,
    one_by_one,
)
from fabgossip.daemon.driver import read_clocks
from fabgossip.model.artifact import NO_ORDER
from fabgossip.model.messages import Announce, Announced, Chain, Heads, Manifests
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import PutHead
from tests.core.artifacts import routes
from tests.daemon.fabric import End, contexts, driver_of
from tests.wire.samples import ping

NOW: Final = UnixTime(1_000_000)
ONE, TWO = digests_of((b"one", b"two"))


def ended(
    folder: Path, *digests: bytes, at: int = 0, is_raised: bool = True, is_over: bool = False
) -> None:
    """A process that begins a step and ends in it, or after it."""
    now = UnixTime(NOW + at)
    with closing(CrashMarks(folder, now)) as marks:
        marks.note(digests, now, is_raised=is_raised)
        if is_over:
            marks.take_back()


def shunned(folder: Path, at: int = 0) -> dict[bytes, int]:
    with closing(CrashMarks(folder, UnixTime(NOW + at))) as marks:
        return dict(marks.shunned)


def suspects(folder: Path, at: int = 0) -> tuple[bytes, ...]:
    with closing(CrashMarks(folder, UnixTime(NOW + at))) as marks:
        return tuple(marks.suspects)


def test_a_step_that_is_over_leaves_nothing(tmp_path: Path) -> None:
    for _ in range(5):
        ended(tmp_path, ONE, is_over=True)
    assert (shunned(tmp_path), suspects(tmp_path)) == ({}, ())


def test_what_raised_twice_within_an_hour_is_left_alone_for_an_hour_after_the_second(
    tmp_path: Path,
) -> None:
    ended(tmp_path, ONE, TWO)
    assert (shunned(tmp_path), suspects(tmp_path)) == ({}, (ONE, TWO))
    ended(tmp_path, ONE, at=600)
    assert shunned(tmp_path, at=600) == {ONE: SPAN_S * 1_000}
    assert suspects(tmp_path, at=600) == (TWO,)
    assert shunned(tmp_path, at=1_200) == {ONE: (SPAN_S - 600) * 1_000}
    assert shunned(tmp_path, at=SPAN_S - 1) == {ONE: 601_000}
    assert shunned(tmp_path, at=SPAN_S) == {}
    assert suspects(tmp_path, at=SPAN_S) == (ONE,)
    assert suspects(tmp_path, at=SPAN_S + 600) == ()


def test_who_may_have_been_killed_over_something_else_counts_less(tmp_path: Path) -> None:
    for count in (1, 2):
        ended(tmp_path, ONE, at=count, is_raised=False)
        assert shunned(tmp_path, at=count) == {}
    ended(tmp_path, ONE, at=3, is_raised=False)
    assert shunned(tmp_path, at=3) == {ONE: SPAN_S * 1_000}


def test_what_others_wrote_there_keeps_nobody_from_starting(tmp_path: Path) -> None:
    ended(tmp_path, ONE)
    history = tmp_path / FOLDER / "history"
    assert suspects(tmp_path) == (ONE,)
    history.write_bytes(b"\xff\n1 2\nx y z\n" + history.read_bytes() + b"1 1 zz")
    (tmp_path / FOLDER / "handling").write_bytes(b"\xff" * 7)
    assert suspects(tmp_path) == (ONE,)
    (tmp_path / FOLDER / "handling").write_bytes(b"\xff" * 100_000)
    assert suspects(tmp_path) == (ONE,)


def test_a_clock_put_back_forgets_instead_of_shunning_for_ever(tmp_path: Path) -> None:
    ended(tmp_path, ONE)
    ended(tmp_path, ONE)
    assert shunned(tmp_path, at=-1) == {}


def test_a_note_is_bounded(tmp_path: Path) -> None:
    many = digests_of(b"%d" % number for number in range(HANDLED_MAX + 1))
    ended(tmp_path, *many)
    assert suspects(tmp_path) == many[:HANDLED_MAX]


def test_every_message_that_brings_envelopes_is_noted_and_what_is_kept_of_them() -> None:
    for message in (
        Announce(entries=(Announced(b"one", 0), Announced(b"two", 0))),
        Manifests(set_id=b"12345678", answered=1, envelopes=(b"one", b"two")),
        Heads(envelopes=(b"one", b"two")),
        Chain(head=routes().content_hash, envelopes=(b"one", b"two")),
    ):
        event = MessageReceived(link=LinkId(1), stream=0, message=message)
        assert envelopes_in(event) == (b"one", b"two"), message
    submitted = RequestMade(request=RequestId(1), body=SubmitRequest(envelope=b"one"))
    assert envelopes_in(submitted) == (b"one",)
    body = UseRequest(owner="", reason="", seconds=1, namespace="", order=NO_ORDER, envelope=b"one")
    used = RequestMade(request=RequestId(2), body=body)
    assert envelopes_in(used) == (b"one",)
    kept = Persist(token=Token(1), changes=(PutHead(verified=routes().verified),))
    assert envelopes_kept(kept) == (routes().envelope,)


async def test_a_step_that_raises_leaves_a_note_of_what_it_judged_and_none_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raising(*_: object) -> None:
        raise ZeroDivisionError("of a poisoned manifest")

    monkeypatch.setattr(Accepting, "accept", raising)
    async with trio.open_nursery() as nursery:
        with closing(End(tmp_path / "disk", nursery)) as end:
            driver = driver_of(end, contexts(tmp_path, "n1"), nursery)
            body = SubmitRequest(envelope=routes().envelope)
            with pytest.raises(ZeroDivisionError):
                driver.post(RequestMade(request=RequestId(1), body=body))
            # Whatever is said while the process ends changes nothing any more.
            driver.post(RequestMade(request=RequestId(2), body=body))
            with closing(CrashMarks(end.folder, read_clocks().unix)) as marks:
                assert tuple(marks.suspects) == digests_of((routes().envelope,))
            nursery.cancel_scope.cancel()


@given(st.integers(1, 9), st.integers(0, 12))
def test_a_message_in_parts_says_the_same(count: int, answered: int) -> None:
    envelopes = tuple(b"%d" % number for number in range(count))
    whole = Manifests(set_id=b"12345678", answered=answered, envelopes=envelopes)
    parts = [one for one in one_by_one(whole) if isinstance(one, Manifests)]
    assert [one.envelopes for one in parts] == [(one,) for one in envelopes]
    assert sum(one.answered for one in parts) == answered
    assert {one.set_id for one in parts} == {whole.set_id}
    assert all(one.answered <= 1 for one in parts[:-1])
    heads = one_by_one(Heads(envelopes=envelopes))
    assert heads == tuple(Heads(envelopes=(one,)) for one in envelopes)
    entries = tuple(Announced(one, 3, one) for one in envelopes)
    assert one_by_one(Announce(entries=entries)) == tuple(
        Announce(entries=(one,)) for one in entries
    )
    for kept in (ping(1), Manifests(set_id=b"12345678", answered=3, envelopes=())):
        assert one_by_one(kept) == (kept,)
