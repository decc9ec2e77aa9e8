"""A node that holds a version of a snapshot, and a peer that knows of chains."""

from fabgossip.core.effects import (
    Persist,
    ReceiveContent,
)
from fabgossip.core.events import (
    LinkId,
    Persisted,
    Started,
)
from fabgossip.model.ids import ContentHash
from fabgossip.model.messages import (
    FEATURE_CHAINS,
    Announce,
    Announced,
    Chain,
    GetChain,
)
from tests.core.artifacts import (
    Artifact,
)
from tests.core.chained import NAME, snapshot_of
from tests.core.story import NOTHING_STORED, Peer, Story


class Chained(Story):
    """A node that holds a version of the snapshot, and a peer that knows of chains."""

    def __init__(
        self,
        held: int = 5,
        *,
        features: int = FEATURE_CHAINS,
        started: Started = NOTHING_STORED,
    ) -> None:
        super().__init__(started=started)
        self.features = features
        self.peer = self.join("n2")
        if started is NOTHING_STORED:
            self.accept(snapshot_of(held), self.peer)

    def join(self, name: str) -> LinkId:
        return self.link(Peer(name=name, features=self.features))

    def hear_of(self, *told: Artifact, content: bool = False) -> "Chained":
        """The peer announces these together, and the disk takes them."""
        entries = tuple(
            Announced(one.envelope, 0, one.content if content and not one.is_read else None)
            for one in told
        )
        self.hear(self.peer, Announce(entries=entries))
        return self.all_persisted()

    def all_persisted(self) -> "Chained":
        """The disk answers for all it was given, in order; effects of all that are gathered."""
        effects = list(self.effects)
        todo = [one.token for one in self.find(Persist)]
        while todo:
            self.when(Persisted(token=todo.pop(0), ok=True))
            effects += self.effects
            todo += [one.token for one in self.find(Persist)]
        self.effects = effects
        return self

    def told_again(
        self, artifact: Artifact, link: LinkId, content: bytes | None = None
    ) -> "Chained":
        """Another peer announces what is known here already, perhaps with its content."""
        self.hear(link, Announce(entries=(Announced(artifact.envelope, 1, content),)))
        return self.all_persisted()

    def questions(self, link: LinkId) -> list[GetChain]:
        """The chains a link was asked for, in the last step."""
        return [one for one in self.sent(link) if isinstance(one, GetChain)]

    def answer(self, *steps: Artifact, head: int, link: LinkId | None = None) -> "Chained":
        """A peer answers for a chain."""
        envelopes = tuple(one.envelope for one in steps)
        chain = Chain(head=snapshot_of(head).content_hash, envelopes=envelopes)
        self.hear(self.peer if link is None else link, chain)
        return self.all_persisted()

    def bring(self, *contents: Artifact) -> "Chained":
        """The peer's contents come."""
        effects = []
        for one in contents:
            self.stored(one, self.peer)
            effects += self.effects
        self.effects = effects
        return self

    @property
    def wanted(self) -> list[ContentHash]:
        """The contents asked for, or taken from an announcement."""
        return [one.wanted.content_hash for one in self.find(ReceiveContent)]

    @property
    def gaps(self) -> dict[str, int]:
        return dict(self.node.view.snapshot(self.now).chains.gaps)

    @property
    def state(self) -> str:
        head = self.node.view.find(NAME)
        assert head is not None
        return head.state.value
