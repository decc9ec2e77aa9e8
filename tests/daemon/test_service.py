"""A start, as far as it is seen from inside the process."""

import gc
from pathlib import Path

from tests.daemon import enrolled


async def test_what_a_start_takes_up_is_passed_over_by_the_garbage_collector(
    tmp_path: Path,
) -> None:
    """Else each full round of it stops the daemon for longer the more it holds."""
    before = gc.get_freeze_count()
    async with enrolled.served(enrolled.make(tmp_path)):
        assert gc.get_freeze_count() > before
        assert gc.isenabled()
