"""A story with an attacker in it, judged by everything it caused and not by its last step.

An attack is judged by five things: the codes, the exact trust left, here and on the disk, the
requests made, what was audited, and what was told onward. `Left` holds all of them, so a test that
asserts one asserts the others too: `leaves` for what an attack may cause, `refuses` for one that
must leave one record and nothing else, `Scene.at_start` for what a node makes of its disk.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from fabgossip.core.catalog import Head
from fabgossip.core.config import DisseminationConfig, HoldingsConfig
from fabgossip.core.effects import (
    Effect,
    Fact,
    Materialize,
    Persist,
    ReceiveContent,
    Record,
    Remove,
    Send,
)
from fabgossip.core.events import (
    AdvertiseDue,
    AnnounceDue,
    Event,
    HaveDue,
    LinkId,
    Persisted,
    Started,
    TimerFired,
)
from fabgossip.daemon.facts import RULES, Keep, entry_of
from fabgossip.model.artifact import Order
from fabgossip.model.authority import Opening
from fabgossip.model.ids import ContentHash, NodeId
from fabgossip.model.messages import (
    FEATURE_CHAINS,
    PREFIX_BYTES,
    Announce,
    GetChain,
    GetHeads,
    GetManifests,
    Graft,
    Have,
    Heads,
    Holdings,
    Ids,
    Manifests,
    Message,
    Ranges,
    Roots,
)
from fabgossip.model.persistence import Change, PutHead, PutMemory, PutRevoked, PutTimeFloor
from fabgossip.storage.index import NodeIndex
from fabgossip.storage.rows import DropContent, PutContent, Row
from fabgossip.trust.facts import TrustFacts
from fabgossip.trust.signatures import Verifier
from fabgossip.wire.statements import manifest_bytes
from tests.core.artifacts import Artifact
from tests.core.story import NOTHING_STORED, VERIFIER, Peer, Story, fresh_lane
from tests.trust import factory

NODE: Final = NodeId("n1")
ATTACKER: Final = NodeId("n2")
CONFIG: Final = DisseminationConfig()
HOLDINGS: Final = HoldingsConfig()
TRUST_LANE_ASKED: Final = f"heads trust/bundle trust/revocations snapshots/node/{NODE}"
"""What a node asks of a peer that seems to know newer trust."""


@dataclass(frozen=True)
class Standing:
    """What stands at the head of a namespace."""

    order: Order
    contents: tuple[ContentHash, ...]
    """Of every statement of that order, ascending: two or more are a dispute."""
    state: str


@dataclass(frozen=True)
class TrustState:
    """All that a node trusts at one moment: equal states judge equally."""

    facts: TrustFacts
    heads: dict[str, Standing]
    floors: dict[str, Order]


@dataclass(frozen=True, kw_only=True)
class Left:
    """All that an attack left: nothing at all but what is named."""

    state: TrustState
    codes: tuple[str, ...] = ()
    requests: tuple[str, ...] = ()
    audited: tuple[tuple[str, str, str], ...] = ()
    durable: tuple[Change, ...] = ()
    """What went to the disk; nothing of it, and the disk is what it was, byte for byte."""
    removed: tuple[ContentHash, ...] = ()
    switched: tuple[tuple[str, Order | None], ...] = ()
    onward: tuple[Message, ...] = ()


def asks_content(artifact: Artifact) -> str:
    """How a request for a content stands in `Scene.requests`."""
    return f"content {artifact.content_hash.hex()[:8]}"


def started_from(index: NodeIndex) -> Started:
    """What a daemon tells its core of an open index."""

    def content_of(content_hash: ContentHash) -> bytes | None:
        row = index.content(content_hash)
        return None if row is None else row.inline

    return Started(
        trust=index.trust_chain(),
        heads=index.heads(content_of),
        floors=index.floors(),
        revoked=index.revoked(),
        memory=index.begin(),
        evidence_contents=index.evidence_contents(content_of),
        checkpoints=index.checkpoints(),
    )


def _first_commits() -> list[tuple[Row, ...]]:
    """The index of a node that is in touch with its control plane, as every story begins."""
    rows: list[Row] = [
        PutMemory(is_whole=True),
        PutTimeFloor(unix=factory.NOW),
        PutRevoked(epoch=factory.BUNDLE.authority_epoch, entries=()),
    ]
    for one in fresh_lane(NODE):
        verified = factory.admitted(one.envelope)
        assert one.content is not None
        content_hash, size = verified.manifest.content_hash, len(one.content)
        rows += [
            PutHead(verified=verified),
            PutContent(content_hash=content_hash, size=size, inline=one.content),
        ]
    return [tuple(rows)]


class Scene(Story):
    """Node n1 between an attacker, who says what a test wants, and a bystander, who must never hear
    of it."""

    def __init__(
        self,
        *,
        started: Started = NOTHING_STORED,
        is_fresh: bool = True,
        holds: tuple[Opening, ...] = factory.OPENINGS,
        roles: tuple[str, ...] = ("edge",),
        verifier: Verifier = VERIFIER,
        state_generation: int = 0,
    ) -> None:
        self.caused: list[Effect] = []
        self.commits: list[tuple[Row, ...]] = _first_commits()
        """What went to the disk since the node was made, in order; each lands whole or not."""
        super().__init__(
            started=started,
            is_fresh=is_fresh,
            verifier=verifier,
            holds=holds,
            roles=roles,
            state_generation=state_generation,
        )
        for switch in [one for one in self.caused if isinstance(one, Materialize)]:
            self.when(Persisted(token=switch.token, ok=True))
        self.at_start = self.left
        self.attacker = self.link(Peer(name=ATTACKER, features=FEATURE_CHAINS))
        self.bystander = self.link("n3")
        self.caused.clear()

    def when(self, event: Event) -> "Scene":
        """One event happens, and what it causes is kept."""
        super().when(event)
        self.caused += self.effects
        for one in self.effects:
            match one:
                case Persist():
                    self.commits.append(one.changes)
                case Remove():
                    self.commits.append((DropContent(content_hash=one.content_hash),))
                case _:
                    pass
        return self

    def stored(self, artifact: Artifact, link: LinkId | None) -> "Scene":
        """See `Story.stored`; the bytes are on the disk before the core hears of it."""
        row = PutContent(
            content_hash=artifact.content_hash,
            size=len(artifact.content),
            inline=artifact.content,
        )
        self.commits.append((row,))
        super().stored(artifact, link)
        return self

    def offer(self, artifact: Artifact) -> "Scene":
        """The attacker announces something and brings its content as soon as it is asked for."""
        self.announce(artifact, self.attacker)
        return self.carry_out(artifact)

    def carry_out(self, *artifacts: Artifact) -> "Scene":
        """What the node wants is done, and what it wants then: the disk works, and whoever is asked
        for one of these contents brings it."""
        contents = {one.content_hash: one for one in artifacts}
        wanted = list(self.effects)
        while wanted:
            one = wanted.pop(0)
            match one:
                case Persist() | Materialize():
                    self.when(Persisted(token=one.token, ok=True))
                case ReceiveContent() if one.wanted.content_hash in contents:
                    self.stored(contents[one.wanted.content_hash], one.link)
                case _:
                    continue
            wanted += self.effects
        return self

    def publish(self, *artifacts: Artifact) -> "Scene":
        """What the cluster had before the attack; none of it counts as caused by it."""
        for artifact in artifacts:
            self.offer(artifact)
        self.rest()
        self.caused.clear()
        return self

    def rest(self) -> "Scene":
        """Whatever waits to be told is told."""
        effects: list[Effect] = []
        self.wait(max(CONFIG.batch_ms, CONFIG.have_ms, HOLDINGS.batch_ms))
        for timer in (AdvertiseDue(), AnnounceDue(), HaveDue()):
            effects += self.when(TimerFired(timer=timer)).effects
        self.effects = effects
        return self

    def restarted(self, folder: Path, commits: int | None = None) -> "Scene":
        """The node after a crash before which so many of its commits reached the disk (None: all),
        through a real index in `folder`."""
        folder.mkdir(exist_ok=True)
        index = NodeIndex(folder / "index.sqlite")
        index.open(NODE)
        index.begin()
        # One transaction gives the same rows, and waits for the disk once.
        index.commit(row for rows in self.commits[:commits] for row in rows)
        index.close()
        index.open(NODE)
        started = started_from(index)
        index.close()
        return Scene(started=started, is_fresh=False)

    def ignores(self, offered: Artifact) -> None:
        """Exactly these bytes were judged before: they change nothing, and cause nothing."""
        self.rest()
        before = self.state
        self.caused.clear()
        self.offer(offered).leaves(before)

    def refuses(self, offered: Artifact, code: str, *, asks_trust: bool = False) -> None:
        """The attack leaves one record and nothing else anywhere: not here, not on the disk, not
        with a neighbor, not with one who links later."""
        self.rest()
        before = self.state
        self.caused.clear()
        self.offer(offered).leaves(
            before,
            codes=[code],
            requests=[TRUST_LANE_ASKED] if asks_trust else [],
            audited=[("artifact_rejected", code, ATTACKER)],
        )
        self.link("n9")
        assert not self.told(offered)
        assert not self.says_it_holds(offered)

    def leaves(
        self,
        state: TrustState,
        *,
        codes: Iterable[str] = (),
        requests: Iterable[str] = (),
        audited: Iterable[tuple[str, str, str]] = (),
        durable: Iterable[Change] = (),
        removed: Iterable[ContentHash] = (),
        switched: Iterable[tuple[str, Order | None]] = (),
        onward: Iterable[Message] = (),
    ) -> None:
        """What happened since `caused` was cleared ends in this state and left this, and nothing
        else anywhere."""
        assert self.rest().left == Left(
            state=state,
            codes=tuple(codes),
            requests=tuple(requests),
            audited=tuple(audited),
            durable=tuple(durable),
            removed=tuple(removed),
            switched=tuple(switched),
            onward=tuple(onward),
        )

    # What it caused.

    @property
    def left(self) -> Left:
        """All of it."""
        return Left(
            state=self.state,
            codes=tuple(self.codes),
            requests=tuple(self.requests),
            audited=tuple(self.audited),
            durable=tuple(self.durable),
            removed=tuple(one.content_hash for one in self.caused if isinstance(one, Remove)),
            switched=tuple(self.switched),
            onward=tuple(self.onward),
        )

    @property
    def codes(self) -> list[str]:
        """Why things were refused, in order."""
        return [
            str(dict(one.fields)["code"])
            for one in self.caused
            if isinstance(one, Record) and one.fact is Fact.ARTIFACT_REJECTED
        ]

    def recorded(self, fact: Fact) -> list[Record]:
        """Every record of one fact, in order."""
        return [one for one in self.caused if isinstance(one, Record) and one.fact is fact]

    @property
    def durable(self) -> list[Change]:
        """What went to the disk, in order."""
        return [change for one in self.caused if isinstance(one, Persist) for change in one.changes]

    @property
    def fetched(self) -> list[ContentHash]:
        """The contents asked of peers, in order."""
        return [one.wanted.content_hash for one in self.caused if isinstance(one, ReceiveContent)]

    @property
    def state(self) -> TrustState:
        """Everything this node trusts, the list and the snapshot it started with included."""
        heads = {
            _tail(head.manifest.namespace.text): Standing(
                head.manifest.order,
                tuple(sorted(one.manifest.content_hash for one in (head.verified, *head.sides))),
                _word(head),
            )
            for head in self.node.view.heads_after("", 1_000)
        }
        floors = {_tail(name): order for name, order in self.node.view.floors().items()}
        return TrustState(self.node.view.trust, heads, floors)

    @property
    def audited(self) -> list[tuple[str, str, str]]:
        """Event, code and subject of what the audit log records, in order."""
        entries = [
            entry_of(one, self.now)
            for one in self.caused
            if isinstance(one, Record) and RULES[one.fact].keep is not Keep.NOTHING
        ]
        return [(one.event, one.code, one.subject) for one in entries]

    @property
    def blamed(self) -> list[str]:
        """Who was found guilty of each refusal: none, peer, signer."""
        return [
            str(dict(one.fields)["blame"])
            for one in self.caused
            if isinstance(one, Record) and one.fact is Fact.ARTIFACT_REJECTED
        ]

    @property
    def requests(self) -> list[str]:
        """What was asked of peers, in order: `content <hash>`, `heads <namespaces>`, `manifests
        <number>`, `chain <namespace>`."""
        asked = []
        for one in self.caused:
            match one:
                case ReceiveContent(link=int()):
                    asked.append(f"content {one.wanted.content_hash.hex()[:8]}")
                case Send(message=GetHeads() as message):
                    asked.append(" ".join(["heads", *(_tail(k.namespace) for k in message.known)]))
                case Send(message=GetChain() as message):
                    asked.append(f"chain {_tail(message.namespace)}")
                case Send(message=Graft() as message):
                    asked.append(f"manifests {len(message.prefixes)}")
                case Send(message=GetManifests() as message):
                    asked.append(f"manifests {len(message.ids)}")
                case _:
                    pass
        return asked

    @property
    def switched(self) -> list[tuple[str, Order | None]]:
        """What the local state was switched to, None withdrawn, in order."""
        return [
            (_tail(one.namespace), one.order) for one in self.caused if isinstance(one, Materialize)
        ]

    @property
    def onward(self) -> list[Message]:
        """Everything anybody was told of artifacts, in order."""
        kinds = Announce | Heads | Have | Holdings | Ids | Manifests | Ranges
        return [
            one
            for one in self._messages()
            if isinstance(one, kinds) or (isinstance(one, Roots) and one.entries)
        ]

    @property
    def announced(self) -> list[bytes]:
        """The envelopes that were announced, to whomever, in order and each once."""
        told = [
            entry.envelope
            for one in self._messages()
            if isinstance(one, Announce)
            for entry in one.entries
        ]
        return list(dict.fromkeys(told))

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


def _tail(namespace: str) -> str:
    return namespace.removeprefix(f"{factory.PREFIX}/")


def _word(head: Head) -> str:
    if head.is_disputed:
        return "disputed"
    return f"{head.state.value}, unlisted" if head.is_unlisted else head.state.value


def _prefix(artifact: Artifact) -> bytes:
    # From the statement, as the envelope may be one that nobody can read.
    return sha256(manifest_bytes(artifact.manifest)).digest()[:PREFIX_BYTES]


def _speaks_of(artifact: Artifact, message: Message) -> bool:
    match message:
        case Announce():
            return any(one.envelope == artifact.envelope for one in message.entries)
        case Heads():
            return artifact.envelope in message.envelopes
        case Have():
            return _prefix(artifact) in message.prefixes
        case Manifests():
            return artifact.envelope in message.envelopes
        case _:
            return False
