"""What a run notes of itself costs no more for each event in a large fabric than in a small one."""

import pytest

from fabgossip.sim.trace import (
    CHECKPOINT_EVENTS,
    CHECKPOINT_EVENTS_PER_NODE,
    Kind,
    Trace,
    world_event,
)


def looks(nodes: int, events: int) -> int:
    """How often every node is looked at in so many events."""
    looked: list[int] = []

    def snapshots() -> bytes:
        looked.append(nodes)
        return b""

    trace = Trace(snapshots, nodes)
    happened = world_event(Kind.CHECK)
    for number in range(events):
        trace.add((number, 1, 1, number), happened)
    assert len(trace.checkpoints) == len(looked)
    return len(looked)


@pytest.mark.parametrize("nodes", [3, CHECKPOINT_EVENTS // CHECKPOINT_EVENTS_PER_NODE])
def test_a_small_fabric_is_looked_at_after_every_ten_thousand_events(nodes: int) -> None:
    assert looks(nodes, 2 * CHECKPOINT_EVENTS) == 2


def test_a_large_one_only_after_so_many_for_each_node() -> None:
    assert looks(200, 2 * CHECKPOINT_EVENTS - 1) == 0
    assert looks(200, 2 * CHECKPOINT_EVENTS) == 1
