"""A run ends with a verdict on its nodes, whatever they do; its own limits are no verdict."""

import pytest

from fabgossip.core.effects import Effect, SetTimer
from fabgossip.core.events import Event, TimerFired
from fabgossip.core.node import Node
from fabgossip.model.moment import Now
from fabgossip.sim.scenario import Scenario
from fabgossip.sim.world import OutOfTimeError
from tests.sim.factory import FIVE, TOPOLOGY, run_of, scenario

LATER = 'phases = { start = "1s", quiet = "11s", heal = "2s", liveness = "6s" }'


def made() -> Scenario:
    return scenario(LATER, TOPOLOGY, FIVE)


class Spinning(Node):
    """Asks to be woken now, for ever."""

    def handle(self, event: Event, now: Now) -> list[Effect]:
        """As the node does, but for its timers."""
        effects = super().handle(event, now)
        if isinstance(event, TimerFired):
            effects.append(SetTimer(timer=event.timer, at=now.instant))
        return effects


class Raising(Node):
    """Breaks when its first timer is due."""

    def handle(self, event: Event, now: Now) -> list[Effect]:
        """As the node does, but for its timers."""
        if isinstance(event, TimerFired):
            raise ValueError("no idea")
        return super().handle(event, now)


def test_a_node_that_spins_breaks_safety(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fabgossip.sim.world.SAME_INSTANT_EVENTS_MAX", 500)
    outcome = run_of(made(), 1, Spinning).run()
    assert [one.signature for one in outcome.violations] == ["S19/spin/SpinError"]
    assert outcome.checkers["S19"].violations == 1
    assert outcome.trace_hash == run_of(made(), 1, Spinning).run().trace_hash


def test_a_node_that_breaks_before_the_quiet_phase_is_over_is_judged_all_the_same() -> None:
    outcome = run_of(made(), 1, Raising).run()
    assert [one.signature for one in outcome.violations] == ["S19/handle/ValueError"]


def test_a_run_of_too_many_events_is_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fabgossip.sim.world.EVENTS_MAX", 300)
    with pytest.raises(OutOfTimeError, match="more than 300 events at"):
        run_of(made(), 1).run()
