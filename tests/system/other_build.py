"""A daemon of another build: the command line with the versions it speaks in front.

    python other_build.py LOWEST HIGHEST run --config FILE

Its messages are today's, whatever the version: there is one set so far. What differs is the range
it names, and so which version is agreed on with whom.
"""

import sys

from fabgossip.model import messages


def main() -> int:
    """Run the command that follows the two numbers."""
    lowest, highest = map(int, sys.argv[1:3])
    # Before any module takes the names.
    messages.SPOKEN = messages.Protocols(lowest=lowest, highest=highest)  # type: ignore[misc]
    messages.PROTOCOL = highest  # type: ignore[misc]
    from fabgossip.cli.main import run

    return run(sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
