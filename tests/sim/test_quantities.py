"""What is written as a duration is read as the same."""

import pytest

from fabgossip.sim.quantities import parse_duration, write_duration


@pytest.mark.parametrize(
    "text", ["0s", "1ns", "999999999999ns", "16m", "1000s", "366d", "1234567us"]
)
def test_a_duration_is_written_as_it_is_read(text: str) -> None:
    duration_ns = parse_duration(text)
    assert parse_duration(write_duration(duration_ns)) == duration_ns
