"""What comparing two sets costs in bytes: every frame of both ends by the real codec, and 22 bytes
of TLS for each, without the manifests themselves; from the unequal ping to equal roots.

Prints one JSON line per case, `{"case", "differ", "bytes_per_difference", "limit", "comparisons"}`;
exits 1 if a limit is passed. The limits are the aims of the design.

    .venv/bin/python -m tests.benchmarks.reconcile [--items 100000] [--seeds 2]
"""

import argparse
import json
import sys
from random import Random

from fabgossip.model.messages import SaltId, TrafficClass
from fabgossip.wire.codec import message_body
from fabgossip.wire.framing import frame_bytes
from tests.core.pair import RECORD_BYTES, Pair
from tests.wire.samples import ping

CASES = (
    ("newest", 10, 190),
    ("newest", 100, 40),
    ("newest", 1_000, 40),
    ("superseding", 10, 190),
    ("superseding", 100, 40),
    ("scattered", 10, 450),
    ("scattered", 1_000, 200),
)
NONE_MAX = 60


def keys(count: int, chance: Random, start: int) -> list[bytes]:
    """Manifests as they are issued: three in a second."""
    return [(start + one // 3).to_bytes(8, "big") + chance.randbytes(32) for one in range(count)]


def cost(name: str, differ: int, items: int, seed: int, at: int) -> tuple[float, int]:
    """Bytes per difference, and how often roots were held against each other; `at` is the end that
    has the news."""
    chance = Random(f"{seed}/{name}/{differ}")
    base, fresh = keys(items, chance, 1_700_000_000), keys(differ, chance, 1_800_000_000)
    sets = [set(base), set(base)]
    supersedes: dict[bytes, bytes] = {}
    if name == "scattered":
        gone = chance.sample(base, differ)
        sets[0] -= set(gone[: differ // 2])
        sets[1] -= set(gone[differ // 2 :])
    else:
        sets[at] |= set(fresh)
    if name == "superseding":
        supersedes = dict(zip(fresh, chance.sample(base, differ), strict=True))
        sets[at] -= set(supersedes.values())
    pair = Pair(sets[0], sets[1])
    pair.supersedes = supersedes
    comparisons = pair.run()
    return (pair.bytes + ping_bytes()) / differ, comparisons


def ping_bytes() -> int:
    """A ping on the wire, with numbers of any size a node comes to in years."""
    message = ping(2**31)
    kind, body = message_body(type(message)(
        sequence=message.sequence, salt=SaltId(65_000, 30_000), link_root=message.link_root
    ))  # fmt: skip
    return len(frame_bytes(kind, TrafficClass.LINK, 0, body)) + RECORD_BYTES


def report(case: str, differ: int, value: float, limit: int, comparisons: int) -> bool:
    """One line; whether the limit holds."""
    line = {
        "case": case,
        "differ": differ,
        "bytes_per_difference": round(value, 1),
        "limit": limit,
        "comparisons": comparisons,
    }
    print(json.dumps(line), flush=True)  # what the command is for
    return value <= limit


def main() -> int:
    """Run every case."""
    parser = argparse.ArgumentParser(description="Bytes per difference of comparing two sets.")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=2)
    chosen = parser.parse_args()
    are_held = [report("none", 0, ping_bytes(), NONE_MAX, 0)]
    for seed in range(chosen.seeds):
        for name, differ, limit in CASES:
            for at in (0,) if name == "scattered" else (0, 1):
                value, comparisons = cost(name, differ, chosen.items, seed, at)
                are_held.append(report(name, differ, value, limit, comparisons))
    return 0 if all(are_held) else 1


if __name__ == "__main__":
    sys.exit(main())
