"""The laws of authority, whatever comes, in whatever order, and whenever the process dies.

A control plane signs everything there is to sign, a thief of three of its keys signs more, and an
adversary hands any of it, and forgeries, to a node over several links, in any order and as often as
it likes, while time passes, the wall clock is stepped, and the node restarts from what is durable.

The rules are told here once more, in a few lines each, from the ledger of what was signed; nothing
of `fabgossip.trust` is asked.
"""

from collections.abc import Callable
from random import Random
from typing import Final, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from fabgossip.core.catalog import Head, HeadState
from fabgossip.core.effects import Effect, Materialize, Send, ServeContent
from fabgossip.core.events import LinkId, RequestId, RequestMade, SubmitRequest
from fabgossip.model.artifact import TRUST_TYPES, ArtifactType, Order
from fabgossip.model.authority import KeyStatus, RevokedKind
from fabgossip.model.ids import ContentHash, ManifestHash, NodeId
from fabgossip.model.messages import Announce, Announced, ContentAsk, GetContent, Heads
from fabgossip.model.moment import UnixTime
from fabgossip.model.scope import Audience
from fabgossip.trust.revocation import node_token
from fabgossip.wire.contents import parse_revocations
from tests.properties.dwelling import OUTSIDER, PEERS, Dwelling, identity_of
from tests.properties.signing import (
    LISTS,
    NODE,
    OWN_SNAPSHOT,
    TAILS,
    ControlPlane,
    Signed,
)
from tests.trust import factory

CLAIMED: Final = (
    None,
    factory.OPENINGS,
    (factory.ORG_OPENING, factory.SERVICE_OPENING),
    (factory.SERVICE_OPENING,),
)
"""What claims in a snapshot commit to: none are in it, the same, narrower, narrower still."""
ACTED_ON: Final = frozenset(
    {HeadState.HELD, HeadState.APPLYING, HeadState.CURRENT, HeadState.UNAPPLIED}
)
GIVEN_UP: Final = frozenset(
    {HeadState.WITHDRAWN, HeadState.OUTDATED, HeadState.REFUSED, HeadState.EXPIRED}
)
Restricted: TypeAlias = frozenset[tuple[RevokedKind, bytes]]


Believed: TypeAlias = tuple[int, Restricted, dict[str, object], dict[str, Order]]
"""Bundle, revocations, heads with their states and sides, floors."""


def _believed(node: Dwelling) -> Believed:
    """Of the epoch in force; what is left of earlier ones is believed by nobody."""
    trust = node.node.view.trust
    epoch = trust.bundle.authority_epoch
    heads = [
        one
        for one in node.node.view.heads_after("", 1_000)
        if (one.is_disputed or one.state not in GIVEN_UP) and one.manifest.authority_epoch == epoch
    ]
    return (
        trust.bundle.bundle_version,
        trust.revoked.values if trust.revoked.epoch == epoch else frozenset(),
        {
            one.manifest.namespace.text: (
                one.manifest.order,
                frozenset(side.manifest_hash for side in (one.verified, *one.sides)),
                "disputed" if one.is_disputed else one.state,
            )
            for one in heads
        },
        {
            name: floor.order
            for name, floor in node.disk.floors.items()
            if name in {one.manifest.namespace.text for one in heads}
        },
    )


class Trial:
    """A node, who signs, who attacks, and what must hold after every step."""

    def __init__(self) -> None:
        self.plane = ControlPlane()
        self.contents: dict[ContentHash, bytes] = {}
        self.told: list[Signed] = []
        self._forged: list[bytes] = []
        self._requests = 0
        self._floors: dict[str, tuple[int, int]] = {}
        self._heads: dict[str, Order] = {}
        self._shown: dict[str, Order] = {}
        self._revoked: tuple[int, Restricted] = (0, frozenset())
        self._bundle_version = 0
        claims = self.plane.claims(NODE, factory.OPENINGS, is_new=True)
        self.node = Dwelling(claims, self.contents, self._watch)

    # What happens: each step takes two numbers.

    def publish(self, which: int, what: int) -> None:
        """The control plane says something new, or withdraws it."""
        self._sign(self.plane.publish(TAILS[which % len(TAILS)], is_last=what % 5 == 0))

    def publish_trust(self, which: int, what: int) -> None:
        """A list, a snapshot, an increment."""
        match which % 3:
            case 0:
                entries = [] if what % 2 else [self.plane.revocation(what // 2, which // 3)]
                self._sign(self.plane.publish_list(*entries))
            case 1:
                openings = CLAIMED[what % len(CLAIMED)]
                self._sign(self.plane.publish_snapshot(openings, covers=which % 2 == 0))
            case _:
                made = self.plane.publish_increment()
                if made is not None:
                    self._sign(made)

    def publish_bundle(self, which: int, what: int) -> None:
        """The next bundle; not too many."""
        if what % 3 == 0:
            self._sign(self.plane.publish_bundle(which))

    def steal(self, which: int, what: int) -> None:
        """The thief signs."""
        own = "routes/r2" if self.plane.only_adds else OWN_SNAPSHOT
        tails = ("routes/r1", "qos/q1", "org/acme/routes/r1", own)
        self._sign(self.plane.steal(tails[which % len(tails)], what, which // 4))

    def steal_list(self, which: int, what: int) -> None:
        """The thief revokes; not too often."""
        if what % 4 == 0:
            self._sign(self.plane.steal_list(which, self.plane.revocation(which, what)))

    def forge(self, which: int, what: int) -> None:
        """Nobody with a right to it signs, or what was signed is damaged; and it is handed over."""
        one = self._any(which)
        if one is None:
            return
        if what % 3 == 0:
            signers: tuple[factory.Signer, ...] = (factory.STRANGER,)
        elif what % 3 == 1:
            is_policy = factory.POLICY.key_id in one.signers
            signers = (factory.COMPILER if is_policy else factory.POLICY,)
        else:
            raw = bytearray(one.artifact.envelope)
            raw[what % len(raw)] ^= 1 << which % 8
            self._hand_over(bytes(raw), which)
            return
        said = one.manifest
        self._hand_over(factory.signed(said, *signers), which)

    def deliver(self, which: int, what: int) -> None:
        """Anything that was ever signed comes, again or for the first time."""
        one = self._any(what)
        if one is not None:
            self._hand_over(one.artifact.envelope, which)

    def deliver_newest(self, which: int, what: int) -> None:
        """One of the last things signed comes, and all it leads to ends well."""
        recent = self.told[-4:]
        if recent:
            self._hand_over(recent[what % len(recent)].artifact.envelope, which)
            self.node.settle()

    def write(self, *_: int) -> None:
        """The disk does what it was told."""
        self.node.write()

    def receive(self, which: int, what: int) -> None:
        """A content comes, or fails."""
        self.node.receive(which, fails=what % 8 == 0)

    def wait(self, which: int, what: int) -> None:
        """Time passes: a second, a minute, or more than an hour; then the node looks around."""
        seconds = (1, 60, 4_000)[what % 3]
        self._pass(seconds + which % 60)
        self.node.refresh()

    def step_clock(self, which: int, what: int) -> None:
        """The wall clock jumps; not too often."""
        if what % 4 == 0:
            self.node.step_clock((-7_200, -60, 60, 7_200)[which % 4])

    def restart(self, which: int, _: int) -> None:
        """The process dies, whatever is under way."""
        if which % 2:
            self.node.write()
        self._heads = {
            verified.manifest.namespace.text: verified.manifest.order
            for verified in self.node.disk.heads.values()
        }
        self._bundle_version = max(self.node.disk.trust, default=0)
        kept = frozenset((RevokedKind(kind), value) for kind, value in self.node.disk.revoked)
        self._revoked = (self.node.disk.revoked_epoch, kept)
        self.node.restart()

    def lose(self, which: int, _: int) -> None:
        """A link breaks."""
        self.node.lose(which)

    def probe(self, which: int, what: int) -> None:
        """A peer asks for anything."""
        one = self._any(what)
        if one is not None:
            ask = ContentAsk(
                manifest_hash=one.manifest_hash,
                content_hash=one.manifest.content_hash,
                first_chunk=0,
                chunk_count=1,
            )
            self.node.hear(self._link(which), GetContent(items=(ask,)), stream=1 + which % 4)

    def enroll(self) -> None:
        """The node learns of a first list and of its own snapshot."""
        for made in (self.plane.publish_list(), self.plane.publish_snapshot(factory.OPENINGS)):
            self._sign(made)
            self.deliver_newest(0, len(self.told) - 1)

    def told_to_another(self, told: list[Signed]) -> Believed:
        """What a new node believes that hears all this in this order, again and again."""
        other = Dwelling(self.node.claims, self.contents, lambda _: None)
        before: Believed | None = None
        for _ in range(ROUNDS_MAX):
            for one in told:
                claims = self.plane.claims("n2", PEERS["n2"])
                announce = Announce(entries=(Announced(one.artifact.envelope, 0),))
                other.hear(other.link("n2", claims), announce)
                other.settle()
                other.wait(1)
            other.refresh()
            other.settle()
            believed = _believed(other)
            if believed == before:
                return believed
            before = believed
        raise AssertionError("it never comes to rest")

    def _sign(self, made: Signed) -> None:
        self.told.append(made)
        self.contents[made.manifest.content_hash] = made.artifact.content

    def _any(self, which: int) -> Signed | None:
        return self.told[which % len(self.told)] if self.told else None

    def _link(self, which: int) -> LinkId:
        name = list(PEERS)[which % len(PEERS)]
        return self.node.link(name, self.plane.claims(name, PEERS[name]))

    def _hand_over(self, raw: bytes, which: int) -> None:
        """Over a link, in one of two ways, or from local software."""
        if which % 7 == 6:
            self._requests += 1
            request = RequestMade(
                request=RequestId(self._requests), body=SubmitRequest(envelope=raw)
            )
            self.node.play(request)
            return
        announce = Announce(entries=(Announced(raw, 0),))
        message = announce if which % 2 else Heads(envelopes=(raw,))
        self.node.hear(self._link(which), message)

    def _pass(self, seconds: int) -> None:
        self.node.wait(seconds)
        self.plane.now = UnixTime(self.plane.now + seconds)

    def step(self, what: int, which: int, more: int) -> None:
        """One step, a second of time, and the laws."""
        STEPS[what % len(STEPS)](self, which, more)
        self._pass(1)
        self.judge()

    # The laws.

    @property
    def _restrictions(self) -> Restricted:
        return self.node.node.view.trust.revoked.values

    def may_speak(self, one: Signed) -> bool:
        """Whether enough keys that still have the right to it signed a statement, and nothing the
        node has seen took it away."""
        bundle, revoked = self.node.node.view.trust.bundle, self._restrictions
        kind = one.manifest.artifact_type.value
        (right,) = [one for one in bundle.rights if one.kind == kind]
        believed = {key.key_id for key in bundle.keys if key.status is not KeyStatus.REVOKED}
        good = [
            key_id
            for key_id in one.signers
            if key_id in right.key_ids
            and key_id in believed
            and (RevokedKind.SIGNING_KEY, key_id) not in revoked
        ]
        return len(good) >= right.threshold and not (
            (RevokedKind.MANIFEST, one.manifest_hash) in revoked
            or (RevokedKind.CONTENT, one.manifest.content_hash) in revoked
        )

    def _is_for_us(self, audience: Audience, kind: ArtifactType) -> bool:
        """Of no organisation, of ours, or stored here."""
        org = audience.org
        own = self.node.node.view.trust.own
        stored = any(org in it.scope_ids and kind.value in it.types for it in own.assignments)
        return org is None or org in own.scope_ids or stored

    def judge(self) -> None:
        """All laws that speak of a state."""
        self._judge_trust()
        for head in self.node.node.view.heads_after("", 1_000):
            self._judge_head(head)
        self._judge_links()
        self._judge_disk()

    def _judge_trust(self) -> None:
        trust, plane = self.node.node.view.trust, self.plane
        assert trust.bundle in plane.bundles
        assert trust.bundle.bundle_version >= self._bundle_version
        self._bundle_version = trust.bundle.bundle_version
        lists = [one for one in self.told if one.artifact.tail == LISTS]
        said = {
            (entry.kind, entry.value)
            for one in lists
            for entry in parse_revocations(one.artifact.content).entries
        }
        assert trust.revoked.values <= said
        epoch, before = self._revoked
        assert trust.revoked.epoch > epoch or before <= trust.revoked.values
        self._revoked = (trust.revoked.epoch, trust.revoked.values)
        assert not trust.own.scope_ids or trust.own.scope_ids in plane.claimed

    def _judge_head(self, head: Head) -> None:
        for verified in head.statements:
            assert self.plane.ledger[verified.manifest_hash].manifest == verified.manifest
        manifest = head.manifest
        name = manifest.namespace.text
        assert manifest.order >= self._heads.get(name, manifest.order), name
        self._heads[name] = manifest.order
        if manifest.artifact_type in TRUST_TYPES:
            self._judge_list_head(head)
            return
        if head.state in GIVEN_UP or not head.is_durable:
            return
        signed = self.plane.ledger[head.verified.manifest_hash]
        assert self.may_speak(signed), (name, head.state)
        assert manifest.authority_epoch == self.node.node.view.trust.bundle.authority_epoch, name
        own_lane = name.endswith(OWN_SNAPSHOT)
        assert own_lane or self._is_for_us(manifest.audience, manifest.artifact_type), name

    def _judge_list_head(self, head: Head) -> None:
        """A list that is held restricts."""
        if head.manifest.artifact_type is not ArtifactType.REVOCATION_LIST or not head.is_held:
            return
        trust = self.node.node.view.trust
        if head.manifest.authority_epoch == trust.revoked.epoch:
            content = self.contents[head.manifest.content_hash]
            entries = parse_revocations(content).entries
            assert {(one.kind, one.value) for one in entries} <= trust.revoked.values

    def _judge_links(self) -> None:
        """Nobody who lost its trust stays linked, but to be told why."""
        parting = {one.link for one in self.node.node.view.sessions() if one.is_parting}
        links = self.node.links.items()
        assert not [one for link, one in links if link not in parting and self._is_cast_out(one)]

    def _is_cast_out(self, node_id: NodeId) -> bool:
        revoked, bundle = self._restrictions, self.node.node.view.trust.bundle
        shown = identity_of(node_id)
        gone = {ca.der for ca in bundle.node_cas if ca.status is KeyStatus.REVOKED}
        return (
            (RevokedKind.NODE, node_token(factory.CLUSTER, node_id)) in revoked
            or (RevokedKind.CERTIFICATE, shown.certificate_hash) in revoked
            or (node_id == "n3" and bool(gone))
        )

    def _judge_disk(self) -> None:
        disk, ledger = self.node.disk, self.plane.ledger
        for verified in (*disk.heads.values(), *disk.increments.values()):
            assert ledger[verified.manifest_hash].artifact.envelope == verified.envelope
        for _, manifest_hash in disk.evidence:
            assert ManifestHash(manifest_hash) in ledger
        for step in disk.trust.values():
            assert factory.parts(step.envelope).manifest_hash in ledger
            assert factory.hash_of(step.content) in self.contents
        for name, floor in disk.floors.items():
            assert ledger[floor.manifest_hash].manifest.order == floor.order
            order = (floor.order.epoch, floor.order.version)
            assert order >= self._floors.get(name, order), name
            self._floors[name] = order
        assert self._floors.keys() == disk.floors.keys()
        assert all(self.contents[one] == data for one, data in disk.contents.items())

    # What leaves the node.

    def _watch(self, effect: Effect) -> None:
        match effect:
            case Materialize():
                self._judge_switch(effect)
            case ServeContent():
                for item in effect.items:
                    self._judge_served(item.content_hash, self.node.links[effect.link])
            case Send(message=Announce() as said):
                self._judge_told([one.envelope for one in said.entries], effect.link)
            case Send(message=Heads() as said):
                self._judge_told(list(said.envelopes), effect.link)
            case _:
                pass

    def _judge_switch(self, effect: Materialize) -> None:
        """Only what may speak, is in time, and is no step back."""
        if effect.manifest is None:
            return
        one = self.plane.ledger[factory.parts(effect.envelope).manifest_hash]
        if effect.manifest.artifact_type not in TRUST_TYPES:
            assert self.may_speak(one)
            assert one.manifest.refresh_by > self.node.now.unix
        assert one.manifest.order >= self._shown.get(effect.namespace, one.manifest.order)
        self._shown[effect.namespace] = one.manifest.order

    def _judge_served(self, content_hash: ContentHash, peer: NodeId) -> None:
        """Under some statement that may speak, is in time, and is not of another organisation."""
        named = [one for one in self.told if one.manifest.content_hash == content_hash]
        assert any(self._may_serve(one, peer) for one in named)
        kinds = {one.manifest.artifact_type for one in named}
        assert kinds == {ArtifactType.REVOCATION_LIST} or not self._is_cast_out(peer)
        assert (RevokedKind.NODE, node_token(factory.CLUSTER, NODE)) not in self._restrictions

    def _may_serve(self, one: Signed, peer: NodeId) -> bool:
        if one.manifest.artifact_type in TRUST_TYPES:
            return True
        now = max(self.node.now.unix, self.node.reached)
        shown = peer != OUTSIDER or one.manifest.audience.org is None
        return shown and self.may_speak(one) and one.manifest.expires_at > now

    def _judge_told(self, envelopes: list[bytes], link: LinkId) -> None:
        """Nobody is told of what is not durable, nor an outsider of an organisation."""
        for raw in envelopes:
            one = self.plane.ledger[factory.parts(raw).manifest_hash]
            kept = {ManifestHash(row) for _, row in self.node.disk.evidence}
            assert one.manifest_hash in self.node.tap.manifests | kept
            assert self.node.links[link] != OUTSIDER or one.manifest.audience.org is None


_Step = Callable[[Trial, int, int], None]
STEPS: Final[tuple[_Step, ...]] = (
    Trial.publish,
    Trial.publish,
    Trial.publish_trust,
    Trial.publish_trust,
    Trial.publish_bundle,
    Trial.steal,
    Trial.steal_list,
    Trial.forge,
    Trial.deliver,
    Trial.deliver,
    Trial.deliver_newest,
    Trial.deliver_newest,
    Trial.deliver_newest,
    Trial.deliver_newest,
    Trial.write,
    Trial.receive,
    Trial.receive,
    Trial.wait,
    Trial.step_clock,
    Trial.restart,
    Trial.lose,
    Trial.probe,
    Trial.probe,
)
NUMBERS: Final = st.integers(0, 999)
SCRIPTS: Final = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=40, max_size=80)


@given(SCRIPTS)
def test_authority_is_what_was_signed_and_not_taken_away(
    script: list[tuple[int, int, int]],
) -> None:
    trial = Trial()
    trial.enroll()
    for what, which, more in script:
        trial.step(what, which, more)


SIGNING: Final[tuple[_Step, ...]] = (
    Trial.publish,
    Trial.publish_trust,
    Trial.publish_bundle,
    Trial.steal,
)
LINES: Final = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=6, max_size=14)
ENROLLED: Final = 2
"""A list and the own snapshot, with which a node begins."""
ORDERS: Final = 3
ROUNDS_MAX: Final = 12


@given(LINES, st.integers(0, 2**32))
@settings(max_examples=max(1, settings().max_examples // 2))
def test_whatever_comes_first_the_same_is_believed_in_the_end(
    script: list[tuple[int, int, int]], seed: int
) -> None:
    """Where nothing is revoked and no snapshot lists what is complete. What was accepted before its
    key was revoked, or before a snapshot left it out, has raised a floor that nothing brings down
    within the epoch; what comes after is refused, and raises none."""
    signing = Trial()
    signing.plane.only_adds = True
    signing.enroll()
    for what, which, more in script:
        SIGNING[what % len(SIGNING)](signing, which, more)
    chance = Random(seed)
    states = []
    for _ in range(ORDERS):
        first, others = signing.told[:ENROLLED], signing.told[ENROLLED:]
        chance.shuffle(others)
        states.append(signing.told_to_another([*first, *others]))
    assert all(one == states[0] for one in states)
