"""A start, as far as it is seen from inside the process."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from fabgossip.core.events import Event, Started
from fabgossip.daemon.driver import Driver
from tests.daemon import enrolled


@pytest.fixture(autouse=True)
def _unfrozen() -> Iterator[None]:
    yield
    gc.unfreeze()


async def test_what_a_start_takes_up_is_passed_over_by_the_garbage_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each full round of it stops the daemon for longer the more it holds."""
    taken_up: list[list[object]] = []
    post = Driver.post

    def taking_up(driver: Driver, event: Event) -> None:
        if isinstance(event, Started):
            assert not gc.isenabled()
            taken_up.append([])
        post(driver, event)

    monkeypatch.setattr(Driver, "post", taking_up)
    async with enrolled.served(enrolled.make(tmp_path)):
        assert gc.isenabled()
        (one,) = taken_up
        assert not any(found is one for found in gc.get_objects())
