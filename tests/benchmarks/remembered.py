"""Whether what a node remembers stays within its limits: one core, published to without end.

Prints one JSON line per case, `{"peer", "case", "value", "unit"}`: the bytes of all that the core
and its verifier hold, once every so many versions of five namespaces. Wanted: no more once every
limit is reached, which takes some 17,000 versions.

    .venv/bin/python -m tests.benchmarks.remembered [--versions 24000] [--every 4000]

What of a daemon is not in the core, that is buffers, the index and Python's own heap, is what
`churn` sees and this does not.
"""

import argparse
import gc
import sys
from dataclasses import replace

from fabgossip.core.events import (
    AdvertiseDue,
    AnnounceDue,
    HaveDue,
    LinkId,
    RefreshDue,
    TimerFired,
)
from fabgossip.model.artifact import ArtifactType
from fabgossip.trust.signatures import Ed25519Verifier
from tests.benchmarks.fetch import report
from tests.core.artifacts import sealed
from tests.core.story import Story
from tests.trust import factory

NAMESPACES = 5
PEERS = ("n2", "n3", "n4")
APART_MS = 700
"""Time between two versions."""
TIMERS_EVERY = 10
TIMERS = (AnnounceDue(), HaveDue(), AdvertiseDue(), RefreshDue())


def size_of(*roots: object) -> int:
    """Bytes of everything that is reached from these, types and functions apart."""
    seen: set[int] = set()
    total, left = 0, list(roots)
    while left:
        one = left.pop()
        if id(one) in seen or isinstance(one, type) or callable(one):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        left += gc.get_referents(one)
    return total


def publish(story: Story, link: LinkId, number: int) -> None:
    """The next version of one of the namespaces, all the way to local software."""
    statement = factory.manifest(ArtifactType.ROUTE_POLICY_BUNDLE, f"routes/r{number % NAMESPACES}")
    content = b"routes %d" % number
    story.wait(APART_MS)
    story.accept(sealed(replace(statement, config_version=100 + number), content), link)


def main() -> None:
    """Publish, and weigh now and then."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--versions", type=int, default=24_000)
    parser.add_argument("--every", type=int, default=4_000)
    arguments = parser.parse_args()
    verifier = Ed25519Verifier()
    story = Story(verifier=verifier)
    links = [story.link(name) for name in PEERS]
    for number in range(1, arguments.versions + 1):
        publish(story, links[number % len(links)], number)
        if number % TIMERS_EVERY == 0:
            for timer in TIMERS:
                story.when(TimerFired(timer=timer))
        if number % arguments.every == 0:
            gc.collect()
            kib = size_of(story.node, verifier) / 1_024
            report(f"remembered after {number:,} versions", kib, "KiB")


if __name__ == "__main__":
    main()
