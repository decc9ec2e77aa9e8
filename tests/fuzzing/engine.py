"""One target under the fuzzer, in a process of its own: the fuzzer ends the process it runs in.

    python -m tests.fuzzing.engine TARGET NOTES [flags of libFuzzer] [folders of inputs]

NOTES is written anew whenever an input took longer than any before, so that it is right however the
process ends.
"""

import json
import resource
import sys
import time
from pathlib import Path
from random import Random
from typing import Final

import atheris

with atheris.instrument_imports(include=["fabgossip", "h11"]):
    from tests.fuzzing.mutation import mutated
    from tests.fuzzing.target import RSS_MIB_MAX, Target
    from tests.fuzzing.targets import TARGETS

INPUT_S_MAX: Final = 2.0
"""Processor time: other programs on the machine make no input slow."""


class TooSlowError(Exception):
    """An input took longer than one may."""


class TooLargeError(Exception):
    """An input took more memory than one may, if only for a moment."""


class Engine:
    """Runs a target on what the fuzzer brings and remembers the slowest."""

    def __init__(self, target: Target, notes: Path) -> None:
        self._target = target
        self._notes = notes
        self._slowest_s = 0.0

    def run(self, data: bytes) -> None:
        """One input."""
        begin = time.process_time()
        self._target.run(data)
        took_s = time.process_time() - begin
        if took_s > self._slowest_s:
            self._slowest_s = took_s
            self._notes.write_text(
                json.dumps({"slowest_ms": round(took_s * 1_000, 2), "slowest_hex": data.hex()})
            )
        if took_s > INPUT_S_MAX:
            raise TooSlowError(f"one input took {took_s:.1f} s of processor time")
        # The fuzzer looks once a second only, and sees what is in use then.
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if peak_kib > RSS_MIB_MAX << 10:
            raise TooLargeError(f"the process took {peak_kib >> 10} MiB")


def mutate(data: bytes, size_max: int, seed: int) -> bytes:
    """Another input; one that grew too long stays as it was."""

    def blindly(part: bytes) -> bytes:
        return bytes(atheris.Mutate(part, len(part) + 64)) if part else b"\x00"

    made = mutated(bytes(data), Random(seed), blindly)
    return made if len(made) <= size_max else bytes(data)


def main(arguments: list[str]) -> None:
    """Fuzz until the flags say it is enough; does not return."""
    name, notes, *flags = arguments
    engine = Engine(TARGETS[name], Path(notes))
    atheris.Setup([sys.argv[0], *flags], engine.run, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
