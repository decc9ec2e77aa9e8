"""`fabgossip sim run` and `replay`: one seed, told to people or as one object."""

import argparse
import json
from pathlib import Path
from typing import Final, cast

from fabgossip.cli.output import say
from fabgossip.cli.sim_seed import (
    Ending,
    Order,
    Ran,
    find_scenario,
    read_text,
    result_of,
    run_seed,
)
from fabgossip.cli.sim_twin import compare
from fabgossip.cli.sim_verdict import (
    EXIT_NONDETERMINISTIC,
    code_hash,
    print_summary,
    told_signature,
)
from fabgossip.errors import ScenarioError, UsageError
from fabgossip.sim.campaign import is_campaign
from fabgossip.sim.narration import Line, Narration
from fabgossip.sim.quantities import parse_duration
from fabgossip.sim.replay import read_replay
from fabgossip.sim.scenario import Scenario, parse_scenario
from fabgossip.sim.sweep import Result

LINES_SHOWN: Final = 20
"""Records before a failure that a replay tells."""


def run_sim(arguments: argparse.Namespace) -> int:
    """`fabgossip sim run`."""
    path = find_scenario(arguments.scenario)
    text, changes = read_text(path), tuple(arguments.changes)
    if is_campaign(text):
        raise UsageError(f"{path}: is a campaign: fabgossip sim sweep {arguments.scenario}")
    until_ns = None
    if arguments.until is not None:
        try:
            until_ns = parse_duration(arguments.until)
        except ValueError as error:
            raise UsageError(f"--until: {error}") from error
    order = Order(
        origin=str(path),
        text=text,
        changes=changes,
        scenario=parse_scenario(text, str(path), changes),
        seed=arguments.seed,
        until_ns=until_ns,
        wall_limit_s=arguments.wall_limit,
        is_alone=True,
    )
    ending = run_seed(order)
    result = result_of(order, ending, arguments.out)
    if arguments.check_determinism:
        compare(order, result)
    if arguments.json:
        print(json.dumps(result))
    else:
        _tell(ending, result, order.scenario)
    return cast("int", result["exit_code"])


def _tell(ending: Ending, result: Result, scenario: Scenario) -> None:
    failure = cast("Result | None", result["failure"])
    if not isinstance(ending, Ran):
        assert failure is not None
        say(f"fabgossip: {failure['signature']}: {failure['detail']}")
        return
    print_summary(ending.outcome, result, ending.cost, scenario.proves)
    twin = cast("Result", result["run"]).get("twin")
    if twin is not None:
        print(f"  its twin under another hash seed is {twin}")
    replay = cast("Result", result["files"])["replay"]
    if replay is not None:
        print(f"  fabgossip sim replay {replay}")


def run_replay(arguments: argparse.Namespace) -> int:
    """`fabgossip sim replay`."""
    path: Path = arguments.file
    replay = read_replay(path)
    is_same_code = replay.code_hash == code_hash()
    if not is_same_code and not arguments.force:
        raise ScenarioError(
            f"{path}: code_hash: other code wrote it; --force runs its plan all the same"
        )
    scenario = parse_scenario(replay.scenario, str(path), replay.changes)
    is_whole = arguments.to_event is None
    narration = Narration(replay.at_ns if is_whole else scenario.end_ns, LINES_SHOWN)
    order = Order(
        origin=str(path),
        text=replay.scenario,
        changes=replay.changes,
        scenario=scenario,
        seed=replay.seed,
        until_ns=None if replay.until_ns == scenario.end_ns else replay.until_ns,
        wall_limit_s=arguments.wall_limit,
        plan=replay.plan,
        narration=narration,
        last_event=arguments.to_event,
        is_alone=True,
    )
    ending = run_seed(order)
    result = result_of(order, ending, None)
    is_same = isinstance(ending, Ran) and ending.outcome.trace_hash == replay.trace_hash
    if isinstance(ending, Ran) and is_whole and not is_same and is_same_code:
        result["verdict"], result["exit_code"] = "nondeterministic", EXIT_NONDETERMINISTIC
    if arguments.json:
        last = [_told(line, scenario) for line in narration.lines]
        print(json.dumps(
            result | {"is_same_trace": is_same, "was": replay.signature, "last": last}
        ))  # fmt: skip
    else:
        for line in narration.lines:
            row = _told(line, scenario)
            print("  {event}  {at_ns} ns  {place} < {source}  {kind}  {said}".format(**row))
        _tell(ending, result, scenario)
        became = "the same trace" if is_same else "another trace"
        became = became if is_whole else "not the whole trace"
        print(f"  was {told_signature(replay.signature)}; {became}")
    return cast("int", result["exit_code"])


def _told(line: Line, scenario: Scenario) -> Result:
    """A record with the names of its places."""
    time_ns, place, source, _ = line.key
    names = {node.index: str(node.node_id) for node in scenario.nodes}
    return {
        "event": line.number,
        "at_ns": time_ns,
        "place": names.get(place, "the world"),
        "source": names.get(source, "the world"),
        "kind": line.kind.name.lower(),
        "said": line.said,
    }
