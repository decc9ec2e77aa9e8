"""A story with an attacker in it, judged by everything it caused and not by its last step."""

from fabgossip.core.effects import Effect, Fact, Materialize, Persist, ReceiveContent, Record, Send
from fabgossip.core.events import Event, Persisted, Started
from fabgossip.model.ids import ContentHash
from fabgossip.model.messages import (
    PREFIX_BYTES,
    Announce,
    GetHeads,
    Have,
    Heads,
    Holdings,
    Message,
)
from fabgossip.model.persistence import Change
from tests.core.artifacts import Artifact
from tests.core.story import NOTHING_STORED, Story
from tests.trust import factory


class Scene(Story):
    """Node n1 between an attacker, who says what a test wants, and a bystander, who must never hear
    of it."""

    def __init__(self, *, started: Started = NOTHING_STORED) -> None:
        self.caused: list[Effect] = []
        super().__init__(started=started)
        self.attacker = self.link("n2")
        self.bystander = self.link("n3")
        self.caused.clear()

    def when(self, event: Event) -> "Scene":
        """One event happens, and what it causes is kept."""
        super().when(event)
        self.caused += self.effects
        return self

    def offer(self, artifact: Artifact) -> "Scene":
        """The attacker announces something and brings its content as soon as it is asked for."""
        self.announce(artifact, self.attacker)
        if self.find(Persist):
            self.persisted()
        if self.find(ReceiveContent):
            self.stored(artifact, self.attacker)
        for switch in self.find(Materialize):
            self.when(Persisted(token=switch.token, ok=True))
        return self

    def publish(self, *artifacts: Artifact) -> "Scene":
        """What the cluster had before the attack; none of it counts as caused by it."""
        for artifact in artifacts:
            self.accept(artifact, self.attacker)
        self.caused.clear()
        return self

    # What it caused.

    @property
    def codes(self) -> list[str]:
        """Why things were refused, in order."""
        return [
            str(dict(one.fields)["code"])
            for one in self.caused
            if isinstance(one, Record) and one.fact is Fact.ARTIFACT_REJECTED
        ]

    @property
    def durable(self) -> list[Change]:
        """What went to the disk, in order."""
        return [change for one in self.caused if isinstance(one, Persist) for change in one.changes]

    @property
    def fetched(self) -> list[ContentHash]:
        """The contents asked of peers, in order."""
        return [one.wanted.content_hash for one in self.caused if isinstance(one, ReceiveContent)]

    @property
    def heads_asked(self) -> int:
        """How often it asked for what lies between, or is newer."""
        return sum(isinstance(one, GetHeads) for one in self._messages())

    def told(self, artifact: Artifact) -> bool:
        """Whether anybody at all learned from this node that an artifact exists."""
        return any(_speaks_of(artifact, message) for message in self._messages())

    def says_it_holds(self, artifact: Artifact) -> bool:
        """Whether this node told anybody that it has the content."""
        return any(
            _prefix(artifact) in entry.prefixes
            for message in self._messages()
            if isinstance(message, Holdings)
            for entry in message.entries
        )

    def _messages(self) -> list[Message]:
        return [one.message for one in self.caused if isinstance(one, Send)]


def _prefix(artifact: Artifact) -> bytes:
    return factory.parts(artifact.envelope).manifest_hash[:PREFIX_BYTES]


def _speaks_of(artifact: Artifact, message: Message) -> bool:
    match message:
        case Announce():
            return any(one.envelope == artifact.envelope for one in message.entries)
        case Heads():
            return artifact.envelope in message.envelopes
        case Have():
            return _prefix(artifact) in message.prefixes
        case _:
            return False
