"""Kills a node between any two steps of accepting an artifact, and looks at what is left.

    python -m tests.system.accepting [--rounds N] [--seed S] [--only NUMBER] [--failing]
                                     [--folder PATH] [--json]

With --failing the disk fails at the step instead, and the node goes on. Prints how many distinct
points of those known were hit. Ends with 1 where a promise was broken; `--seed` and `--only` play
that round again.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.system.accepting.rounds import Rounds, Tally

ROUNDS: Final = 1_000
SHOWN_MAX: Final = 20


def main() -> int:
    """Play the rounds asked for; gives the exit code."""
    arguments = _parser().parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        rounds = Rounds(arguments.seed, Path(place), is_failing=arguments.failing)
        rounds.take_census()
        begin = time.perf_counter()
        chosen = range(arguments.rounds) if arguments.only is None else (arguments.only,)
        for number in chosen:
            rounds.play(number)
        seconds = time.perf_counter() - begin
    _print(rounds.tally, seconds, as_json=arguments.json)
    return 1 if rounds.tally.faults else 0


def _print(tally: Tally, seconds: float, *, as_json: bool) -> None:
    hit = len(tally.hit.keys() & set(tally.known))
    summary = {
        "rounds": tally.rounds,
        "rounds_per_s": round(tally.rounds / seconds, 1),
        "points_known": len(tally.known),
        "points_hit": hit,
        "points_hit_beyond": len(tally.hit) - hit,
        "ends_at_points": tally.hit.total(),
        "ends_at_random": tally.at_random,
        "lives_to_the_end": tally.ends,
        "faults": [
            {"seed": one.seed, "only": one.number, "points": one.points, "what": one.what}
            for one in tally.faults
        ],
    }
    if as_json:
        print(json.dumps(summary, indent=2))
        return
    for one in tally.faults[:SHOWN_MAX]:
        print(f"--seed {one.seed} --only {one.number}: {one.what}")
        for point in one.points:
            print(f"    ended at {point}")
    for name, value in summary.items():
        print(f"{name:18} {len(tally.faults) if name == 'faults' else value}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.system.accepting", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="play this one round")
    parser.add_argument("--failing", action="store_true", help="fail the disk instead of killing")
    parser.add_argument("--folder", type=Path, help="where the state folders are made")
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
