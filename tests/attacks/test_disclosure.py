"""Learning what others have, and giving what nobody may have.

Powers: the attacker is a member of one organisation and links to a node of two. It names every
audience, namespace, prefix, manifest and content of the other one, in any order and at any moment,
keeps each frame it gets, and may start its link anew. In the second half it pushes to a node what
that node may not hold, well signed, or more than anybody has to say.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fabgossip.core import disclosure
from fabgossip.core.answers import GRID_MS
from fabgossip.core.effects import Disconnect, ReceiveContent, ServeContent, SetTimer
from fabgossip.core.events import (
    AdvertiseDue,
    AnswersDue,
    ComparisonDue,
    ContentServed,
    Event,
    GraftDue,
    LinkId,
    LostReason,
    PeerLost,
    RefreshDue,
    TimerFired,
    Unsent,
)
from fabgossip.core.rates import FLOOD_FACTOR, FLOOD_SPAN, RATES, Kind
from fabgossip.core.sets import set_id_of
from fabgossip.core.standing import FAILURES_MAX
from fabgossip.model.artifact import ArtifactType, Order, Tombstone
from fabgossip.model.authority import Opening
from fabgossip.model.ids import NOTHING_HASH
from fabgossip.model.messages import (
    ANNOUNCE_ENTRIES_MAX,
    PREFIX_BYTES,
    Announce,
    Announced,
    ByeReason,
    Claims,
    GetChain,
    GetContent,
    GetHeads,
    GetManifests,
    Graft,
    Have,
    HeadKnown,
    Heads,
    Holdings,
    HoldingsEntry,
    HoldingsMode,
    Ids,
    Message,
    Ping,
    Range,
    RangeMode,
    Ranges,
    Roots,
    SetRoot,
)
from fabgossip.model.moment import Instant
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.scope import Audience
from fabgossip.model.topology import Snapshot
from fabgossip.trust.authorization import Decision, authorize
from fabgossip.wire.contents import snapshot_bytes
from tests.attacks.powers import ACME, BOTH_ORGS, GLOBEX, ask, frames, node
from tests.attacks.scene import ATTACKER, HOLDINGS, NODE, Scene, asks_content
from tests.core.artifacts import (
    EVERYBODY,
    Artifact,
    acme_peers,
    acme_routes,
    artifact,
    peers,
    record,
    routes,
    sealed,
)
from tests.core.story import SALT, Peer, Story
from tests.core.test_narrowing import WITHOUT_ACME
from tests.trust import factory

IN_GLOBEX: Final = factory.audience(f"cluster:{factory.CLUSTER}", "org:globex")
NAMES: Final = ("r1", "r2", "r3")
OUTSIDER: Final = Peer(name="n7", holds=(ACME,), shows=(ACME,))
MEMBER: Final = Peer(name="n8", holds=BOTH_ORGS, shows=BOTH_ORGS)
Seen = tuple[Instant, bytes]
"""What the attacker sees of one frame: when it left, and all of it; or when its link is looked at
again, which decides when the next one leaves."""


def secret(name: str = "r1", version: int = 7, *, side: str = "") -> Artifact:
    """Routes of the organisation the attacker is not in."""
    statement = factory.manifest(ArtifactType.ROUTE_POLICY_BUNDLE, f"org/globex/routes/{name}")
    content = f"globex {name} {version} {side}".encode()
    return sealed(replace(statement, config_version=version), content)


def prefix(artifact: Artifact) -> bytes:
    return ask(artifact).manifest_hash[:PREFIX_BYTES]


def withdrawn(name: str, version: int) -> Artifact:
    statement = replace(
        secret(name, version).manifest,
        content_hash=NOTHING_HASH,
        content_size=0,
        tombstone=Tombstone(reason="withdrawn", purge=True),
    )
    return Artifact(statement, factory.signed(statement), b"")


class World(Scene):
    """A node of two organisations, the attacker of the first, an honest member of both, and every
    frame the attacker ever saw with the moment it left."""

    def __init__(self, watched: Peer = OUTSIDER) -> None:
        self.seen: list[Seen] = []
        self.watched = LinkId(0)
        super().__init__(holds=BOTH_ORGS)
        self.peer = watched
        self.member = self.link(MEMBER)
        self.enter()

    def enter(self) -> "World":
        """The attacker's link opens, anew if there was one."""
        if self.watched:
            lost = PeerLost(
                link=self.watched, node_id=node(self.peer.name), reason=LostReason.RESET
            )
            self.when(lost)
        # The number the next link gets: what is said while it opens counts too.
        self.watched = LinkId(self._links + 1)
        assert self.link(self.peer) == self.watched
        return self

    def when(self, event: Event) -> "World":
        super().when(event)
        at = self.now.instant
        self.seen += [(at, frame) for frame in frames(self, self.watched)]
        for one in self.effects:
            if isinstance(one, ReceiveContent | ServeContent | Disconnect):
                self.seen += [(at, repr(one).encode())] if one.link == self.watched else []
            if isinstance(one, SetTimer) and getattr(one.timer, "link", None) == self.watched:
                self.seen.append((one.at, repr(one.timer).encode()))
        return self

    def bring(self, artifact: Artifact, link: LinkId) -> None:
        """Somebody announces something and brings its content when it is asked for."""
        self.announce(artifact, link)
        self.carry_out(artifact)

    def bring_whole(self, artifact: Artifact, link: LinkId) -> None:
        """Somebody announces something small with its content, so it is told of before it is
        held."""
        entry = Announced(artifact.envelope, 0, artifact.content)
        self.hear(link, Announce(entries=(entry,)))
        self.carry_out(artifact)

    def say(self, message: Message, link: LinkId | None = None, stream: int = 0) -> None:
        """Somebody, the attacker if nobody is named, says something, and streams end."""
        self.hear(self.watched if link is None else link, message, stream)
        for one in self.find(ServeContent):
            self.when(ContentServed(link=one.link, stream=one.stream))


Step = Callable[[World], object]


def whole(artifact: Artifact) -> Holdings:
    entry = HoldingsEntry(artifact.manifest.audience, HoldingsMode.ALL_EXCEPT, ())
    return Holdings(sequence=1, is_whole=True, entries=(entry,))


def secrets(name: str) -> dict[str, Step]:
    """What may befall one name of the other organisation."""
    return {
        f"{name} comes": lambda world: world.bring(secret(name), world.member),
        f"{name} comes whole": lambda world: world.bring_whole(secret(name, 6), world.member),
        f"{name} comes anew": lambda world: world.bring(secret(name, 8), world.member),
        f"{name} is told of": lambda world: world.announce(secret(name, 9), world.member),
        f"{name} is disputed": lambda world: [
            world.bring(secret(name, 8, side=side), world.member) for side in ("a", "b")
        ],
        f"{name} is withdrawn": lambda world: world.bring(withdrawn(name, 10), world.member),
        f"{name} is listed": lambda world: world.say(
            Have(audience=IN_GLOBEX, prefixes=(prefix(secret(name)),)), world.member
        ),
        f"{name} is asked for": lambda world: world.say(
            GetContent(items=(ask(secret(name)),)), world.member, 1
        ),
    }


def directory(version: int) -> Artifact:
    rows = (record("n1"), record("n8"), record("n9"))
    return peers(*rows, version=version, scope="org:globex", below="org/globex/")


SECRETS: Final[dict[str, Step]] = {
    **{what: step for name in NAMES for what, step in secrets(name).items()},
    "a directory": lambda world: world.bring(directory(7), world.member),
    "a whole word": lambda world: world.say(whole(secret()), world.member),
    "a lost frame": lambda world: world.when(Unsent(link=world.member, audience=IN_GLOBEX)),
}


def nothing_of(audience: Audience) -> Ranges:
    """Says that its sender has nothing of an audience."""
    nothing = (Range(upper=None, mode=RangeMode.IDS),)
    return Ranges(set_id=set_id_of(audience), salt=SALT, step=0, more=False, ranges=nothing)


def probes(name: str) -> dict[str, Message]:
    """All the ways to ask for one name."""
    return {
        f"list {name}": Have(audience=IN_GLOBEX, prefixes=(prefix(secret(name)),)),
        f"tell the root of {name}": Roots(
            salt=SALT, is_first=True, is_last=True, entries=(SetRoot(IN_GLOBEX, 1, bytes(16)),)
        ),
        f"compare {name}": nothing_of(IN_GLOBEX),
        f"have ids of {name}": Ids(set_id=set_id_of(IN_GLOBEX), salt=SALT, ids=(b"an id of",)),
        f"ask for ids of {name}": GetManifests(
            set_id=set_id_of(IN_GLOBEX), salt=SALT, ids=(b"an id of",)
        ),
        f"graft {name}": Graft(audience=IN_GLOBEX, prefixes=(prefix(secret(name)),)),
        f"graft {name} elsewhere": Graft(
            audience=acme_routes().manifest.audience, prefixes=(prefix(secret(name)),)
        ),
        f"heads of {name}": GetHeads(
            known=(HeadKnown(secret(name).manifest.namespace.text, 0, 0),)
        ),
        f"chain of {name}": GetChain(
            namespace=secret(name).manifest.namespace.text,
            base=secret(name, 6).content_hash,
            head=secret(name).content_hash,
        ),
        f"content of {name}": GetContent(items=(ask(secret(name)), ask(secret(name, 8)))),
        f"have {name}": Holdings(
            sequence=2,
            is_whole=False,
            entries=(HoldingsEntry(IN_GLOBEX, HoldingsMode.ONLY, (prefix(secret(name)),)),),
        ),
    }


PROBES: Final[dict[str, Message]] = {
    **{what: message for name in NAMES for what, message in probes(name).items()},
    "have everything": whole(secret()),
    "show another's opening": Claims(openings=(Opening(b"s" * 16, GLOBEX.item),)),
}
BATCH: Final = Announce(entries=(Announced(routes(7).envelope, 0),) * ANNOUNCE_ENTRIES_MAX)


def says_too_much(world: World) -> None:
    """Some of it is skipped: then the attacker is asked for its lists, of what it may know."""
    for _ in range(RATES[Kind.ANNOUNCE].burst // ANNOUNCE_ENTRIES_MAX + 1):
        world.say(BATCH)


PUBLIC: Final[dict[str, Step]] = {
    "routes come": lambda world: world.bring(routes(7), world.member),
    "routes come whole": lambda world: world.bring_whole(routes(6), world.member),
    "the attacker brings routes": lambda world: world.bring(routes(8), world.watched),
    "routes of its own": lambda world: world.bring(acme_routes(7), world.member),
    "it says too much": says_too_much,
    "it relinks": World.enter,
    "it compares": lambda world: world.say(nothing_of(acme_routes().manifest.audience)),
    "advertise": lambda world: world.wait(HOLDINGS.batch_ms).when(TimerFired(timer=AdvertiseDue())),
    "its turn comes": lambda world: world.when(TimerFired(timer=ComparisonDue(link=world.watched))),
    "the turn of others comes": lambda world: world.when(
        TimerFired(timer=ComparisonDue(link=world.member))
    ),
    "it asks whether we live": lambda world: world.say(
        Ping(sequence=1, salt=SALT, link_root=b"another!")
    ),
    "it has nothing": lambda world: world.say(nothing_of(EVERYBODY)),
    "refresh": lambda world: world.when(TimerFired(timer=RefreshDue())),
    "a moment": lambda world: world.wait(10),
    "a second": lambda world: world.wait(1_000),
}
ACTS: Final = st.lists(
    st.tuples(
        st.lists(st.sampled_from(sorted(SECRETS)), max_size=3),
        st.sampled_from(sorted(PUBLIC) + sorted(PROBES)),
    ),
    min_size=1,
    max_size=12,
)
Acts = list[tuple[list[str], str]]
RECORDS: Final = {
    ("probe_silenced", "", OUTSIDER.name),
    ("fetch_denied", "artifact_scope", OUTSIDER.name),
    ("claims_refused", "CLAIMS_INVALID", OUTSIDER.name),
}


def seen_in(world: World, acts: Acts, *, with_secrets: bool) -> list[Seen]:
    """What the attacker saw of all this."""
    for stream, (hidden, act) in enumerate(acts):
        for one in hidden if with_secrets else ():
            SECRETS[one](world)
        if act in PUBLIC:
            PUBLIC[act](world)
        else:
            probe(world, PROBES[act], 2 * stream + 1)
    return world.seen


def probe(world: World, message: Message, stream: int) -> None:
    """The attacker asks; that leaves a record at most, and nothing anywhere else."""
    before, told = world.state, list(world.caused)
    world.caused.clear()
    world.say(message, stream=stream)
    world.wait(10).when(TimerFired(timer=AnswersDue(link=world.watched)))
    assert world.state == before
    assert (world.codes, world.requests, world.durable, world.switched) == ([], [], [], [])
    assert set(world.audited) <= RECORDS
    assert not any(world.told(secret(name, version)) for name in NAMES for version in (7, 8))
    world.caused[:0] = told


@given(ACTS)
@example([(["r1 comes"], "routes come"), ([], "it says too much"), ([], "refresh")])
@example([(["r1 comes whole"], "a moment"), ([], "routes come whole"), ([], "advertise")])
@example([(["a directory"], "it says too much"), ([], "refresh")])
@example([(["a directory"], "it relinks")])
def test_two_worlds(acts: Acts) -> None:
    """They differ in one organisation's matters only: whoever is not in it sees the same frames, at
    the same moments, whatever it asks and whatever happens there."""
    with_secrets = seen_in(World(), acts, with_secrets=True)
    without = seen_in(World(), acts, with_secrets=False)
    # Pair by pair: a list of all frames says nothing to who reads of a failure.
    pairs = zip_longest(with_secrets, without)
    assert next((one for one in pairs if one[0] != one[1]), None) is None
    assert [one for one in with_secrets if b"globex" in one[1]] == []


@pytest.mark.parametrize("hidden", ["r1 comes", "r1 is told of", "r1 is disputed", "a directory"])
def test_who_is_in_the_organisation_sees_the_difference(hidden: str) -> None:
    """Or the worlds would not differ at all."""
    acts: Acts = [([], "routes come"), ([hidden], "advertise"), ([], "it relinks")]
    peer = replace(OUTSIDER, holds=BOTH_ORGS, shows=BOTH_ORGS)
    one, other = (seen_in(World(peer), acts, with_secrets=each) for each in (True, False))
    assert one != other


def pushed(number: int) -> Artifact:
    """Something of an organisation this node is not in; none of them twice."""
    return secret(f"p{number}")


def test_unwanted_push() -> None:
    """What this node may not hold is refused unread, whoever signed it; who pushes it is to blame,
    and is cut off at the limit. What others bring is taken all the while."""
    scene = Scene().publish(routes(7))
    for number in range(FAILURES_MAX - 1):
        scene.caused.clear()
        scene.refuses(pushed(number), "AUDIENCE_NOT_OURS")
        assert scene.blamed == ["peer"]
        assert cuts_of(scene) == []

    scene.caused.clear()
    before = scene.state
    scene.offer(pushed(FAILURES_MAX)).rest()
    assert cuts_of(scene) == [ByeReason.CLOSED]
    scene.leaves(
        before,
        codes=["AUDIENCE_NOT_OURS"],
        audited=[
            ("artifact_rejected", "AUDIENCE_NOT_OURS", ATTACKER),
            ("session_cut", "failures", ATTACKER),
        ],
    )
    others_are_unharmed(scene)


def test_what_is_not_for_this_node_is_said_once_and_read_once() -> None:
    """A peer that honestly believes other claims of ours sends one thing again and again: that is
    one failure, however many copies come, and of whichever link."""
    scene = Scene().publish(routes(7))
    scene.refuses(pushed(1), "AUDIENCE_NOT_OURS")
    for _ in range(FAILURES_MAX):
        scene.ignores(pushed(1))
    scene.announce(pushed(1), scene.bystander)
    assert scene.codes == []
    assert cuts_of(scene) == []


def test_what_was_not_for_this_node_is_taken_once_its_claims_are_others() -> None:
    audience = factory.audience(f"cluster:{factory.CLUSTER}", "role:db")
    for_databases = artifact(ArtifactType.ROUTE_POLICY_BUNDLE, "routes/db", audience=audience)
    scene = Scene().publish(routes(7))
    scene.refuses(for_databases, "AUDIENCE_NOT_OURS")
    scene.ignores(for_databases)
    claims = replace(
        factory.claims(), roles=("db", "edge"), claims_version=2, issued_at=factory.NOW
    )
    snapshot = Snapshot(
        endpoints=(),
        degraded=DegradedPolicy(),
        settings=b"",
        claims=factory.signed_claims(claims),
    )
    content = snapshot_bytes(snapshot)
    scene.offer(artifact(ArtifactType.CLUSTER_SNAPSHOT, f"snapshots/node/{NODE}", content=content))
    assert "routes/db" not in scene.trusted
    scene.announce(for_databases, scene.attacker).persisted()
    assert scene.trusted["routes/db"] == (Order(2, 7), "behind")


def cuts_of(scene: Scene) -> list[ByeReason | None]:
    """Why the attacker's link was ended."""
    return [
        one.bye
        for one in scene.caused
        if isinstance(one, Disconnect) and one.link == scene.attacker
    ]


def others_are_unharmed(scene: Scene) -> None:
    """What a bystander announces comes from the bystander, and is taken."""
    scene.caused.clear()
    scene.announce(routes(8), scene.bystander)
    scene.carry_out(routes(8)).rest()
    assert (scene.codes, scene.audited) == ([], [])
    assert scene.requests == [asks_content(routes(8))]
    assert scene.trusted["routes/r1"] == (Order(2, 8), "current")


def test_a_burst_uses_up_nobody_elses_room() -> None:
    """Above the rate nothing is read; far above, the link ends. Neither costs another link."""
    scene = Scene().publish(routes(7))
    rate = RATES[Kind.ANNOUNCE]
    before = scene.state
    allowed = FLOOD_FACTOR * rate.count * FLOOD_SPAN // rate.per_ms + rate.burst
    # What was published before came over the same link, in the same moment.
    for _ in range(allowed // ANNOUNCE_ENTRIES_MAX - 1):
        scene.hear(scene.attacker, BATCH)
    assert cuts_of(scene) == []
    ((reduced, units),) = scene.node.view.snapshot(scene.now).policing.reduced
    assert (reduced, units > 0) == ("announce", True)
    scene.hear(scene.attacker, BATCH)
    assert cuts_of(scene) == [ByeReason.OVER_RATE]
    scene.leaves(before, audited=[("session_cut", "over_rate", ATTACKER)])
    others_are_unharmed(scene)


@pytest.mark.parametrize("is_late", [True, False])
def test_naming_a_hidden_statement_in_an_open_audience_does_not_tell_whether_it_came(
    *, is_late: bool
) -> None:
    """Who knows of its prefix, and no more, would see that it is not asked for any more."""

    def asked(*, has_come: bool) -> list[list[bytes]]:
        story = Story()
        friend = story.link("n2")
        story.accept(acme_peers("n1", "n2"), friend)
        spy = story.link(Peer(name="n5", holds=WITHOUT_ACME, shows=WITHOUT_ACME))
        have = Have(audience=EVERYBODY, prefixes=(acme_routes().prefix,), is_late=is_late)
        heard = [grafted(story.hear(spy, have), spy)]
        if has_come:
            story.announce(acme_routes(), friend).persisted()
            heard[0] += grafted(story, spy)
        story.wait(60_000)
        for timer in (GraftDue(), RefreshDue()):
            heard.append(grafted(story.when(TimerFired(timer=timer)), spy))
        return heard

    assert asked(has_come=True) == asked(has_come=False)


def grafted(story: Story, link: LinkId) -> list[bytes]:
    return [prefix for one in story.sent(link) if isinstance(one, Graft) for prefix in one.prefixes]


def test_a_change_of_a_set_that_a_peer_is_not_shown_delays_no_answer_to_it() -> None:
    """It claims to be of the organisation, and no directory lists it: we hide that we are."""

    def answered(*, changes: bool) -> list[Message]:
        story = Story()
        friend = story.link("n2")
        story.accept(acme_peers("n1", "n2"), friend)
        spy = story.link("n5")
        story.wait(60_000)
        if changes:
            story.announce(acme_routes(), friend).persisted()
        story.hear(spy, Ping(sequence=1, salt=SALT, link_root=b"another!"))
        return story.sent(spy)

    assert answered(changes=True) == answered(changes=False)


NAMED: Final = {
    "forbidden and newer": secret("r1", 6),
    "forbidden and no newer": secret("r1", 7),
    "absent": secret("r9"),
}


@pytest.mark.parametrize("question", ["heads", "graft"])
@pytest.mark.parametrize("named", NAMED.values(), ids=NAMED)
def test_a_name_costs_the_same_work_whatever_there_is_of_it(
    monkeypatch: pytest.MonkeyPatch, named: Artifact, question: str
) -> None:
    """The time an answer takes is one a prober measures: a look-up more or less for each name."""
    world = World()
    world.bring(secret("r1"), world.member)
    decided: list[object] = []

    def counted(*args: Any) -> Decision:  # noqa: ANN401  # whatever it is asked
        decided.append(args)
        return authorize(*args)

    monkeypatch.setattr(disclosure, "authorize", counted)
    name, order = named.manifest.namespace.text, named.manifest.order
    if question == "heads":
        world.say(GetHeads(known=(HeadKnown(name, order.epoch, order.version),) * 4))
    else:
        world.say(Graft(audience=EVERYBODY, prefixes=tuple(prefix(named) for _ in range(4))))
    assert len(decided) == 4
    assert world.sent(world.watched) == []


def test_that_there_is_nothing_newer_is_told_on_a_grid_of_the_clock() -> None:
    """Whether that is so because the name is not in use, or not for who asks."""
    for named in NAMED.values():
        world = World()
        world.bring(secret("r1"), world.member)
        world.wait(3)
        world.say(GetHeads(known=(HeadKnown(named.manifest.namespace.text, 0, 0),)))
        assert world.sent(world.watched) == []
        world.due(AnswersDue)
        assert world.now.instant % GRID_MS == 0
        assert world.sent(world.watched) == [Heads(envelopes=())]
