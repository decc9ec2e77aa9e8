"""Two whole nodes and the link between them: every message passes the real codec, disks and
contents are there at once, time jumps from one timer to the next.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable

from fabgossip.core.effects import Disconnect, Materialize, Persist, ReceiveContent, Send, SetTimer
from fabgossip.core.events import (
    ContentStored,
    Event,
    LinkId,
    LostReason,
    MessageReceived,
    PeerConnected,
    PeerLost,
    Persisted,
    Timer,
    TimerFired,
)
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import Message
from fabgossip.model.moment import Instant, elapsed
from fabgossip.wire.codec import message_body, parse_message
from tests.core.artifacts import Artifact
from tests.core.story import Story, identity

NAMES = ("n1", "n2")


def arrives(_sender: int, _message: Message) -> bool:
    """Nothing is lost."""
    return True


class Duet:
    """Nodes `n1`, which dials, and `n2`."""

    def __init__(
        self, one: Story, other: Story, artifacts: Iterable[Artifact] = (), link: int = 100
    ) -> None:
        self.nodes = (one, other)
        self.link = LinkId(link)
        self.arrives: Callable[[int, Message], bool] = arrives
        self.sent: list[tuple[int, Message]] = []
        self._contents = {each.content_hash: each for each in artifacts}
        self._due: list[tuple[Instant, int, int, Timer]] = []
        self._queue: deque[tuple[int, Event]] = deque()
        self._count = 0
        self._third: dict[int, LinkId] = {}

    def open(self) -> "Duet":
        """The link opens, and all that follows at once happens."""
        for at, peer in ((0, NAMES[1]), (1, NAMES[0])):
            self._queue.append(
                (at, PeerConnected(link=self.link, identity=identity(peer), is_dialer=at == 0))
            )
        return self.settle()

    def close(self) -> "Duet":
        """The link ends."""
        for at, peer in ((0, NAMES[1]), (1, NAMES[0])):
            lost = PeerLost(link=self.link, node_id=NodeId(peer), reason=LostReason.EOF)
            self._queue.append((at, lost))
        self.settle()
        self.link = LinkId(self.link + 1)
        return self

    def tell(self, at: int, event: Event) -> "Duet":
        """Something happens to a node, and all that follows at once."""
        self._queue.append((at, event))
        return self.settle()

    def open_to(self, at: int, name: str) -> "Duet":
        """One of the two has a link to a third node, of which only what `hear` says comes."""
        self._third[at] = self.nodes[at].link(name)
        return self

    def hear(self, at: int, message: Message) -> "Duet":
        """The third node says something, and all that follows at once happens."""
        return self.tell(at, MessageReceived(link=self._third[at], stream=0, message=message))

    def settle(self) -> "Duet":
        """All that waits for no timer happens."""
        while self._queue:
            at, event = self._queue.popleft()
            story = self.nodes[at].when(event)
            for one in story.effects:
                match one:
                    case Send():
                        self._pass_on(at, one)
                    case Persist() | Materialize():
                        self._queue.append((at, Persisted(token=one.token, ok=True)))
                    case ReceiveContent():
                        artifact = self._contents[one.wanted.content_hash]
                        self._queue.append((at, _stored(artifact, one)))
                    case SetTimer():
                        self._count += 1
                        heapq.heappush(self._due, (one.at, self._count, at, one.timer))
                    case Disconnect():
                        raise AssertionError(one)
                    case _:
                        pass
        return self

    def _pass_on(self, at: int, send: Send) -> None:
        if send.link != self.link:
            return
        self.sent.append((at, send.message))
        if self.arrives(at, send.message):
            message = parse_message(*message_body(send.message))
            received = MessageReceived(link=self.link, stream=send.stream, message=message)
            self._queue.append((1 - at, received))

    def run(self, milliseconds: int) -> "Duet":
        """Time passes, and every timer fires."""
        start = self.nodes[0].now.instant
        end = Instant(start + milliseconds)
        while self._due and self._due[0][0] <= end:
            instant, _, at, timer = heapq.heappop(self._due)
            self._wait_until(instant)
            self.tell(at, TimerFired(timer=timer))
        self._wait_until(end)
        return self

    def _wait_until(self, instant: Instant) -> None:
        for story in self.nodes:
            story.wait(elapsed(story.now.instant, instant))

    def said(self, *kinds: type[Message]) -> list[Message]:
        """The messages of these kinds, of both nodes, in order."""
        return [message for _, message in self.sent if isinstance(message, kinds)]


def _stored(artifact: Artifact, wanted: ReceiveContent) -> Event:
    return ContentStored(wanted=wanted.wanted, link=wanted.link, content=artifact.content)
