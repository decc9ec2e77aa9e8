"""Runs one small scenario and prints its trace hash; may plant a leak in every node."""

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


def maker(leak: str) -> NodeMaker:
    """How nodes of a kind are made."""

    def make(setup: NodeSetup, verifier: Verifier) -> SimulatedNode:
        return (SetOrderNode if leak == "set" else ClockNode)(setup, verifier)

    return default_node if leak == "none" else make


def main(leak: str, seed: int) -> None:
    """Run and print."""
    made = scenario(
        'phases = { quiet = "24s" }', f"publication = [{ROUTES % 'store'}]", TOPOLOGY, FIVE
    )
    outcome = run_of(made, seed, maker(leak)).run()
    sys.stdout.write(f"{outcome.trace_hash} {outcome.events}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
