"""S4: no frame has a name in it of what its receiver may not know exists.

Decides: which names are secret from whom: the organisations a node has nothing to do with.
Keeps: looks at the bytes that travel, so it owes nothing to what a message is meant to say.
Must not know: the fields of messages; S1 judges those.
"""

from fabgossip.model.scope import ScopeKind
from fabgossip.sim.checkers import Docket
from fabgossip.sim.ledger import Ledger
from fabgossip.sim.network import SentFrame


class Named:
    """Looks for the names of foreign organisations in every frame of honest nodes."""

    def __init__(self, ledger: Ledger, docket: Docket) -> None:
        self._ledger = ledger
        self._docket = docket
        self._count = docket.open("S4")
        orgs = {index: _orgs(ledger, index) for index in ledger.indices()}
        self._known = sorted({one for names in orgs.values() for one in names})
        self._canaries = {index: self._foreign(names) for index, names in orgs.items()}

    def on_claims(self, index: int) -> None:
        """A node has to do with others; what it had to do with it knows."""
        self._canaries[index] = self._foreign(_orgs(self._ledger, index))

    def _foreign(self, names: frozenset[str]) -> tuple[bytes, ...]:
        return tuple(word for one in self._known if one not in names for word in _words(one))

    def on_frame(self, index: int, sender: int, frame: SentFrame) -> None:
        """A frame came to a node."""
        for word in self._canaries[index]:
            self._count.checks += 1
            if word in frame.body:
                names = self._ledger.node_id(sender), self._ledger.node_id(index)
                detail = f"{names[0]} told {names[1]} of {word.decode()}"
                self._docket.violated("S4", f"named/{frame.kind.name.lower()}", sender, detail)


def _orgs(ledger: Ledger, index: int) -> frozenset[str]:
    """The organisations a node is in or stores for."""
    ever = ledger.ever(index)
    stored = [one for held in ever for each in held.assignments for one in each.scope_ids]
    scopes = [one for held in ever for one in held.scope_ids]
    return frozenset(one.name for one in (*scopes, *stored) if one.kind is ScopeKind.ORG)


def _words(org: str) -> tuple[bytes, bytes]:
    return f"org:{org}".encode(), f"/org/{org}/".encode()
