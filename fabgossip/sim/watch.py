"""Where facts of a run are heard: hands each to the checkers and measures that want it.

Decides: nothing.
Keeps: listeners change nothing, so the trace is the same with and without them.
Must not know: what a listener makes of a fact.
"""

from fabgossip.core.events import Started
from fabgossip.model.artifact import Order, VerifiedManifest
from fabgossip.model.ids import ContentHash
from fabgossip.model.messages import Message
from fabgossip.sim.authority import Issued
from fabgossip.sim.checkers import Applied, Disclosed, Docket, Durable, Floors, Sound
from fabgossip.sim.disk import Local
from fabgossip.sim.ledger import Ledger
from fabgossip.sim.measures import Measures
from fabgossip.sim.world import World


class Watch:
    """All listeners of a run."""

    def __init__(self, world: World, ledger: Ledger, measures: Measures) -> None:
        self._world = world
        self.ledger = ledger
        self.measures = measures
        self.docket = Docket()
        self._disclosed = Disclosed(ledger, self.docket)
        self._applied = Applied(ledger, self.docket)
        self._floors = Floors(ledger, self.docket)
        self._sound = Sound(ledger, self.docket)
        self._durable = Durable(ledger, self.docket)

    def sent(self, sender: int, receiver: int, message: Message) -> None:
        """A message left a node."""
        self.docket.now_ns = self._world.now_ns
        self._disclosed.on_sent(sender, receiver, message)
        self._durable.on_sent(sender, message)
        self.measures.on_sent(message)

    def content_sent(self, sender: int, receiver: int, content_hash: ContentHash) -> None:
        """A content began to leave a node."""
        self.docket.now_ns = self._world.now_ns
        self._disclosed.on_content_sent(sender, receiver, content_hash)
        self._durable.on_content_sent(sender, content_hash)

    def delivered(self, index: int, message: Message) -> None:
        """A message arrived."""
        self.measures.on_message(index, message)

    def content_received(self, index: int, content_hash: ContentHash) -> None:
        """A whole, verified content arrived from a peer."""
        self.measures.on_stored(index, self.ledger.by_content(content_hash))

    def durable_manifest(self, index: int, verified: VerifiedManifest, floor: Order) -> None:
        """See `DiskTap`."""
        self.docket.now_ns = self._world.now_ns
        self._floors.on_durable_manifest(index, verified, floor)
        self._durable.on_durable_manifest(index, verified)
        self.measures.on_durable_manifest(index, verified, self._world.now_ns)

    def durable_content(self, index: int, content_hash: ContentHash) -> None:
        """See `DiskTap`."""
        self._durable.on_durable_content(index, content_hash)

    def materialized(self, index: int, namespace: str, local: Local) -> None:
        """See `DiskTap`."""
        self.docket.now_ns = self._world.now_ns
        self._applied.on_materialized(index, namespace, local)
        self._floors.on_materialized(index, namespace, local)
        self.measures.on_materialized(index, namespace, local, self._world.now_ns)

    def started(self, index: int, started: Started) -> None:
        """A process read its disk."""
        self.docket.now_ns = self._world.now_ns
        self._floors.on_started(index, started)

    def crashed(self, index: int) -> None:
        """A process died."""
        self.measures.on_crashed(index)

    def handled(self) -> None:
        """A node handled an event and checked itself."""
        self._sound.on_handled()

    def raised(self, index: int, what: str, error: BaseException) -> None:
        """A node raised, failed its check, or sent what the codec refuses."""
        self.docket.now_ns = self._world.now_ns
        self._sound.on_raised(index, what, error)
        if what != "wire":
            self._world.stop()

    def issued(self, issued: Issued) -> None:
        """The control plane signed an artifact."""
        self.ledger.on_issued(issued)
