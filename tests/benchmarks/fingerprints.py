"""What a set with fingerprints costs beside the bare sorted list and one BLAKE2b, in one sitting.

Prints one JSON line per operation, `{"operation", "us", "beside_us", "ratio", "limit"}`; exits 1 if
a ratio passes its limit. Absolute figures on shared machines are noise.

    .venv/bin/python -m tests.benchmarks.fingerprints [--items 100000]
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from random import Random

from sortedcontainers import SortedList

from fabgossip.core.ordered import FingerprintSet

REPEATS = 5
SAMPLE = 2_000


def keys(count: int, start: int, chance: Random) -> list[bytes]:
    """Manifests as they are issued: three in a second."""
    return [(start + one // 3).to_bytes(8, "big") + chance.randbytes(32) for one in range(count)]


def micros(work: Callable[[bytes], object], over: Sequence[bytes]) -> float:
    """The least of some runs, per item."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        for one in over:
            work(one)
        best = min(best, time.perf_counter() - start)
    return best / len(over) * 1e6


def once(work: Callable[[bytes], object], over: Sequence[bytes]) -> float:
    """One run, per item: what cannot be done twice."""
    start = time.perf_counter()
    for one in over:
        work(one)
    return (time.perf_counter() - start) / len(over) * 1e6


def main() -> int:
    """Run every operation."""
    parser = argparse.ArgumentParser(description="Cost of a fingerprint set.")
    parser.add_argument("--items", type=int, default=100_000)
    count = parser.parse_args().items
    chance = Random(1)
    base = keys(count, 1_700_000_000, chance)
    own, bare = FingerprintSet(b"salt"), SortedList()
    hashing = micros(lambda one: blake2b(one, digest_size=32, key=b"salt").digest(), base[:SAMPLE])
    rows = [("append", once(own.add, base), once(bare.add, base) + hashing, 8.0)]
    gone, fresh = chance.sample(base, SAMPLE), keys(SAMPLE, 1_800_000_000, chance)
    taken = once(own.discard, gone) + once(own.add, fresh)
    beside = once(bare.remove, gone) + once(bare.add, fresh) + hashing
    rows.append(("replace", taken, beside, 6.0))
    start = time.perf_counter()
    own.root()
    settled = (time.perf_counter() - start) * 1e6
    everything = hashing * count
    rows.append(("settle", settled, everything, 0.05))
    asked = chance.sample(base, SAMPLE)
    ranged = micros(lambda one: own.fingerprint(one, None), asked)
    bisected = micros(bare.bisect_left, asked)
    rows.append(("range", ranged, 2 * bisected + hashing, 12.0))
    are_held = True
    for operation, value, other, limit in rows:
        ratio = value / other
        are_held &= ratio <= limit
        line = {
            "operation": operation,
            "us": round(value, 2),
            "beside_us": round(other, 2),
            "ratio": round(ratio, 3),
            "limit": limit,
        }
        print(json.dumps(line), flush=True)  # what the command is for
    return 0 if are_held else 1


if __name__ == "__main__":
    sys.exit(main())
