"""A daemon with a fault: the command line with two more arguments in front.

    python poisoned_daemon.py {raise,kill} TAIL run --config FILE

Its process ends whenever it accepts an artifact of a namespace that ends in TAIL.
"""

import os
import signal
import sys

from fabgossip.core.accepting import Accepting
from fabgossip.core.durability import Provenance
from fabgossip.model.artifact import VerifiedManifest


def main() -> int:
    """Run the command that follows."""
    how, tail = sys.argv[1:3]
    accept = Accepting.accept

    def poisoned(
        accepting: Accepting, verified: VerifiedManifest, provenance: Provenance, source: str
    ) -> None:
        if verified.manifest.namespace.text.endswith(tail):
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ZeroDivisionError(tail)
        accept(accepting, verified, provenance, source)

    Accepting.accept = poisoned  # type: ignore[method-assign, assignment]
    from fabgossip.cli.main import run

    return run(sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
