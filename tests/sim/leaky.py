"""Runs one small scenario and prints its trace hash; may plant a leak in every node, or faults."""

import sys
import time

from fabgossip.core.effects import Effect, Send
from fabgossip.core.events import Event
from fabgossip.core.node import Node
from fabgossip.core.setup import NodeSetup
from fabgossip.model.moment import Now
from fabgossip.sim.host import NodeMaker, SimulatedNode, default_node
from fabgossip.trust.signatures import Verifier
from tests.sim.factory import FIVE, ROUTES, TOPOLOGY, run_of, scenario


class SetOrderNode(Node):
    """Lets the order of a set of strings decide when it sends."""

    def handle(self, event: Event, now: Now) -> list[Effect]:
        """As the node does, but for the order."""
        effects = super().handle(event, now)
        turn = list({"first", "second", "third", "fourth", "fifth"}).index("first")
        sends: list[Effect] = [one for one in effects if isinstance(one, Send)]
        others: list[Effect] = [one for one in effects if not isinstance(one, Send)]
        return sends[turn:] + others + sends[:turn] if turn % 2 else others + sends


class ClockNode(Node):
    """Looks at the real clock."""

    def handle(self, event: Event, now: Now) -> list[Effect]:
        """As the node does, but for what it leaves out."""
        effects = super().handle(event, now)
        is_odd = time.perf_counter_ns() // 100 % 2
        return effects[::-1] if is_odd and len(effects) > 1 else effects


TROUBLES = """
phases = { start = "6s", quiet = "2s", faults = "9s", heal = "1s", liveness = "1s" }
nemesis = [
  { kind = "islands", at = "8s", for = "3s", with = { count = 2 } },
  { kind = "ring_majorities", at = "11s", for = "2s" },
  { kind = "swizzle_clog", at = "9s", for = "4s", select = { group = "near" } },
  { kind = "corrupt", at = "9s", for = "4s", select = { group = "far" }, with = { p = 0.05 } },
  { kind = "mtu_hole", at = "13s", for = "2s", select = { group = "far" }, with = { passes = "1400B" } },
  { kind = "churn", at = "8s", for = "7s", select = { group = "near" }, with = { up = "2s", down = "500ms" } },
  { kind = "crash_at", at = "8s", for = "7s", select = { group = "far" }, with = { point = "commit_written", p = 0.1, down = "300ms" } },
  { kind = "bit_rot", at = "11s", for = "0s", with = { p = 0.5 } },
  { kind = "io_error", at = "10s", for = "2s", select = { group = "near" }, with = { op = "read", p = 0.3 } },
  { kind = "torn_write", at = "9s", for = "3s", select = { group = "store" } },
  { kind = "sync_lies", at = "12s", for = "2s", select = { group = "near", pick = "one" } },
  { kind = "disk_rollback", at = "13s", for = "1s", select = { group = "far" }, with = { age = "2s" } },
  { kind = "skew", at = "8s", for = "8s", select = { group = "near" }, with = { by = 10 } },
  { kind = "drift", at = "8s", for = "8s", select = { group = "far" }, with = { ppm = 30000 } },
  { kind = "freeze", at = "9s", for = "4s", select = { group = "near", pick = "one" } },
  { kind = "suspend", at = "14s", for = "2s", select = { group = "near", pick = "one" } },
]
publication = [
  { name = "routes", type = "route_policy_bundle", namespace = "routes/core", size = ["1KiB", "40KiB"], at = "4s", every = "900ms", until = "16s", through = "store" },
]
"""  # noqa: E501  # rows of a scenario
"""Every way a fault draws."""


def maker(leak: str) -> NodeMaker:
    """How nodes of a kind are made."""

    def make(setup: NodeSetup, verifier: Verifier) -> SimulatedNode:
        return (SetOrderNode if leak == "set" else ClockNode)(setup, verifier)

    return default_node if leak in ("none", "faults") else make


def main(leak: str, seed: int) -> None:
    """Run and print."""
    calm = 'phases = { quiet = "24s" }', f"publication = [{ROUTES % 'store'}]"
    made = scenario(*((TROUBLES,) if leak == "faults" else calm), TOPOLOGY, FIVE)
    outcome = run_of(made, seed, maker(leak)).run()
    sys.stdout.write(f"{outcome.trace_hash} {outcome.events}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
