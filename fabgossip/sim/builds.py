"""Whether two builds understand each other.

Decides: held, violated or unproved.
Keeps: only links between nodes of different builds prove anything; a manifest nobody signed is
passed on by nobody, whatever further signatures were put beside those it has.
Must not know: what a node decides, or why.

As long as there is one version of the protocol both builds have one codec, and what is proved of
meaning is that what it reads it would have written.

| id | an honest node never ... |
|---|---|
| S18 | reads another meaning from bytes than who sent them, or alters signed ones it passes on |
"""

from fabgossip.errors import WireError
from fabgossip.model.messages import PREFIX_BYTES, Message
from fabgossip.sim.checkers import Docket
from fabgossip.sim.frugal import envelopes_of
from fabgossip.sim.ledger import Ledger
from fabgossip.wire.codec import message_body
from fabgossip.wire.envelopes import parse_envelope
from fabgossip.wire.framing import FrameKind


class Builds:
    """S18: what crosses a link between two builds."""

    def __init__(self, ledger: Ledger, docket: Docket, wires: dict[int, int]) -> None:
        """`wires`: the highest protocol version each node speaks."""
        self._ledger = ledger
        self._docket = docket
        self._wires = wires
        self._count = docket.open("S18")

    def on_heard(
        self, index: int, sender: int, frame: tuple[FrameKind, bytes], message: Message
    ) -> None:
        """A frame came, and means this to who got it."""
        if self._wires[index] == self._wires[sender]:
            return
        self._count.checks += 1
        if message_body(message) != frame:
            self._violated("meaning", index, f"{frame[0].name} of {self._ledger.node_id(sender)}")

    def on_sent(self, sender: int, receiver: int, message: Message) -> None:
        """A message left."""
        for envelope in envelopes_of(message):
            self._count.checks += self._wires[sender] != self._wires[receiver]
            if self._ledger.by_envelope(envelope) is None and self._is_altered(envelope):
                self._violated("altered", sender, f"{len(envelope)} bytes that nobody signed")

    def _is_altered(self, envelope: bytes) -> bool:
        try:
            prefix = parse_envelope(envelope).manifest_hash[:PREFIX_BYTES]
        except WireError:
            return True
        return self._ledger.by_prefix(prefix) is None

    def _violated(self, what: str, index: int, detail: str) -> None:
        self._docket.violated("S18", what, index, f"{self._ledger.node_id(index)}: {detail}")
