"""What was signed in a small fabric, and a docket to bring findings to: the ground of a checker's
test."""

from dataclasses import dataclass, field
from functools import cache

from fabgossip.model.artifact import VerifiedManifest
from fabgossip.sim.authority import Issued
from fabgossip.sim.checkers import Docket
from fabgossip.sim.ledger import Ledger
from fabgossip.sim.run import Run
from tests.sim.factory import OFTEN, SEVEN, TOPOLOGY, run_of, scenario

CONTROL, EDGE, STORE = 1, 2, 6
"""Places of a control node, an edge of acme and a store."""
ROUTES = "platform/p1/cluster/c1/routes/core"
ACME = "platform/p1/cluster/c1/org/acme/services/dns"
LIST = "platform/p1/cluster/c1/trust/revocations"
BUNDLE = "platform/p1/cluster/c1/trust/bundle"


@cache
def _run() -> Run:
    run = run_of(scenario('phases = { quiet = "12s" }', OFTEN, TOPOLOGY, SEVEN), 1)
    assert run.run().violations == ()
    return run


def ledger() -> Ledger:
    """What was signed; of all tests, so none of them changes it."""
    return _run().watch.ledger


def heads_of(index: int) -> dict[str, VerifiedManifest]:
    """What the disk of a node has."""
    return _run().hosts[index].disk.heads


@dataclass
class Truth:
    """Seven nodes that ran for twelve seconds; a checker's findings."""

    ledger: Ledger = field(default_factory=ledger)
    docket: Docket = field(default_factory=Docket)

    def newest(self, name: str) -> Issued:
        issued = self.ledger.newest(name)
        assert issued is not None
        return issued

    def index_of(self, name: str) -> int:
        return next(one for one in self.ledger.indices() if self.ledger.node_id(one) == name)

    def signatures(self) -> list[str]:
        return [one.signature for one in self.docket.violations]
