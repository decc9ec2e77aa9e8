"""What simulated fabrics cost: speed of the start and of what follows, and memory of a node.

`python -m tests.benchmarks.simulated [--nodes 300]` runs three loads on a scenario of the library,
everything on (codec, checkers, trace):

- idle: nothing is published, the timers that ship;
- W2: the timers that ship, a publication every ten seconds;
- W1: the same, and every link asked for a sign of life once a second.

Time is that of the processor, so who else is there counts less; a machine whose caches others use
is slower all the same: compare two commits in one sitting.
"""

import argparse
import gc
import json
import re
import resource
import time
from pathlib import Path
from typing import Final

from fabgossip.cli.sim_authority import SeededAuthority
from fabgossip.sim.host import default_node
from fabgossip.sim.run import Engine, Run
from fabgossip.sim.scenario import Scenario, parse_scenario
from fabgossip.sim.world import NS_PER_S
from fabgossip.trust.signatures import Ed25519Verifier

SCENARIO: Final = Path("simulations/scenarios/scale-1000.toml")
STARTED_S: Final = 60
ENDED_S: Final = 120
OFTEN: Final = 'config = { "connections.ping_interval_ms" = 1000 }\n'
NEWS: Final = (
    'publication = [{ name = "news", type = "route_policy_bundle", namespace = "routes/news", '
    'size = "512B", at = "60s", every = "10s", until = "120s", through = "control" }]\n'
)
LOADS: Final = {"idle": "", "W2": NEWS, "W1": OFTEN + NEWS}


def scenario_of(load: str, nodes: int) -> Scenario:
    """The library's, with another load and of another size."""
    text = SCENARIO.read_text(encoding="ascii")
    head, rest = text.split("phases =")[0], text[text.index("[topology]") :]
    rest = re.sub(r'(name = "edge".*count = )\d+', rf"\g<1>{nodes - 1}", rest)
    phases = f'phases = {{ start = "{STARTED_S}s", quiet = "{ENDED_S - STARTED_S}s" }}\n'
    return parse_scenario(head + phases + load + rest, str(SCENARIO))


def rss_bytes() -> int:
    """Memory in use."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def say(case: str, value: float, unit: str) -> None:
    """One result."""
    print(json.dumps({"peer": "simulator", "case": case, "value": round(value, 1), "unit": unit}))


def measure(name: str, nodes: int) -> None:
    """One load."""
    scenario = scenario_of(LOADS[name], nodes)
    gc.collect()
    gc.disable()
    before = rss_bytes()
    engine = Engine(
        make_authority=SeededAuthority, verifier=Ed25519Verifier(), make_node=default_node
    )
    run = Run(scenario, 1, engine)
    events, spent = [0], [time.process_time()]
    for until_s in (STARTED_S, ENDED_S):
        run.run(until_s * NS_PER_S)
        events.append(run.trace.events)
        spent.append(time.process_time())
    for number, phase in enumerate(("start", "steady")):
        span_s = (STARTED_S, ENDED_S - STARTED_S)[number]
        took = spent[number + 1] - spent[number]
        count = events[number + 1] - events[number]
        say(f"{name} {phase}: virtual by processor time", span_s / took, "x")
        say(f"{name} {phase}: an event", took / count * 1e6, "us")
        say(f"{name} {phase}: events of a node", count / nodes / span_s, "1/s")
    say(f"{name}: memory of a node", (rss_bytes() - before) / nodes / 1e3, "KB")
    gc.enable()


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=300)
    parser.add_argument("--load", choices=tuple(LOADS), action="append")
    arguments = parser.parse_args()
    for name in arguments.load or LOADS:
        measure(name, arguments.nodes)


if __name__ == "__main__":
    main()
