"""No node sees the world: whatever of it one looks at in a run ends the run, by name."""

import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from fabgossip.cli.sim_verdict import unfinished
from fabgossip.core.effects import Effect
from fabgossip.core.events import Event
from fabgossip.core.node import Node
from fabgossip.core.setup import NodeSetup
from fabgossip.model.moment import Now
from fabgossip.sim.guard import Guard, LeakedWorldError
from fabgossip.trust.signatures import Verifier
from tests.sim.factory import FIVE, TOPOLOGY, run_of, scenario

LEAKS = {
    "time.monotonic": "import time\ndef leak(): time.monotonic()",
    "time.time_ns": "import time\ndef leak(): time.time_ns()",
    "random.getrandbits": "import random\ndef leak(): random.getrandbits(8)",
    "uuid.uuid4": "import uuid\ndef leak(): uuid.uuid4()",
    "secrets.token_bytes": "import secrets\ndef leak(): secrets.token_bytes(8)",
    "os.urandom": "import os\ndef leak(): os.urandom(8)",
    "builtins.id": "def leak(): id(leak)",
    "open": "def leak(): open('/dev/null').close()",
    "os.listdir": "import os\ndef leak(): os.listdir('/')",
    "socket.__new__": "import socket\ndef leak(): socket._socket.socket().close()",
}


def planted(source: str, module: str = "fabgossip.core.planted") -> Callable[[], object]:
    """A function of a module that is not there."""
    names: dict[str, object] = {"__name__": module}
    exec(compile(source, "planted.py", "exec"), names)  # noqa: S102  # a leak to be found
    leak = names["leak"]
    assert callable(leak)
    return leak


class LeakyNode(Node):
    """Looks at the world, and hides what that raises."""

    def __init__(self, leak: Callable[[], object], setup: NodeSetup, verifier: Verifier) -> None:
        super().__init__(setup, verifier)
        self._leak = leak

    def handle(self, event: Event, now: Now) -> list[Effect]:
        """As the node does."""
        with suppress(LeakedWorldError):
            self._leak()
        return super().handle(event, now)


@pytest.mark.parametrize("what", sorted(LEAKS))
def test_a_planted_leak_ends_the_run_by_its_name(what: str) -> None:
    made = scenario('phases = { quiet = "2s" }', TOPOLOGY, FIVE)
    leak = planted(LEAKS[what])
    with pytest.raises(LeakedWorldError) as raised:
        run_of(made, 1, partial(LeakyNode, leak)).run()
    assert str(raised.value) == f"fabgossip.core.planted calls {what}"
    result = unfinished("small", 1, raised.value)
    assert (result["verdict"], result["exit_code"]) == ("nondeterministic", 12)
    leak()  # nobody watches any more


def test_who_is_no_part_of_the_deciding_half_notices_nothing() -> None:
    with Guard() as guard:
        for what in sorted(LEAKS):
            planted(LEAKS[what], "fabgossip.cli.planted")()
        assert random.Random(1).getrandbits(8) == random.Random(1).getrandbits(8)
    assert guard.leak is None


def breaking() -> None:
    """Ends a run in its middle."""
    with Guard():
        assert vars(time)["monotonic"] is not WHOLE[0]
        raise ValueError("odd")


def functions() -> list[object]:
    """Some that are watched in a run."""
    return [vars(time)["monotonic"], vars(os)["urandom"], vars(random)["random"]]


WHOLE = functions()


def test_after_a_run_all_is_as_it_was() -> None:
    with pytest.raises(ValueError, match="odd"):
        breaking()
    assert functions() == WHOLE
