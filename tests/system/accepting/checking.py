"""What must hold once a node has started again on a folder its process left at any step.

Nothing that was acknowledged is lost, nothing is visible that is not verified, and a second start
changes nothing.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from fabgossip.core.catalog import EVIDENCE_MAX, GONE_STATES, Head, HeadState
from fabgossip.core.events import Started
from fabgossip.model.artifact import NO_ORDER, Order, VerifiedManifest
from fabgossip.model.ids import ManifestHash, NodeId
from fabgossip.model.moment import UnixTime
from fabgossip.trust.gate import TrustGate
from fabgossip.wire.envelopes import parse_envelope
from tests.core.artifacts import Artifact
from tests.core.story import VERIFIER
from tests.system.accepting.living import Life, Word
from tests.system.accepting.stories import Story
from tests.trust import factory

LINKS: Final = ("current", "staged")
BUNDLES: Final = f"{factory.PREFIX}/trust/bundle"
"""Its order is that of the chain: a bundle that proves to be none is forgotten again."""


@dataclass(slots=True)
class Ledger:
    """What was acknowledged, kept where no process of the node reaches."""

    floors: dict[str, Order] = field(default_factory=dict)
    answered: dict[str, set[ManifestHash]] = field(default_factory=dict)
    evidence: dict[str, tuple[Order, set[ManifestHash]]] = field(default_factory=dict)
    revoked: set[tuple[int, bytes]] = field(default_factory=set)
    claims: dict[str, tuple[int, int]] = field(default_factory=dict)
    uses: dict[str, int] = field(default_factory=dict)
    current: dict[str, tuple[Order, ManifestHash]] = field(default_factory=dict)
    time_floor: int = 0
    trust: int = 0
    is_whole: bool = False
    failures: int = 0
    said: int = 0

    def note(self, word: Word, artifacts: dict[ManifestHash, Artifact]) -> None:
        """A life acknowledged something."""
        kind, *rest = word
        match kind:
            case "head" | "floor" | "evidence" | "current":
                namespace, order = str(rest[0]), Order(int(rest[1]), int(rest[2]))
                if kind == "current":
                    self.current[namespace] = (order, _hash(rest[3]))
                    return
                self.floors[namespace] = max(order, self.floors.get(namespace, NO_ORDER))
                if kind == "evidence":
                    self._note_evidence(namespace, order, _hash(rest[3]))
            case "answer":
                artifact = artifacts[_hash(rest[0])]
                name = artifact.manifest.namespace.text
                self.answered.setdefault(name, set()).add(_hash(rest[0]))
            case "revoked":
                rows = (str(one).split(":") for one in rest[1:])
                self.revoked |= {(int(number), bytes.fromhex(value)) for number, value in rows}
            case "claims":
                seen = (int(rest[1]), int(rest[2]))
                self.claims[str(rest[0])] = max(seen, self.claims.get(str(rest[0]), (0, 0)))
            case "use":
                self.uses[str(rest[0])] = max(int(rest[1]), self.uses.get(str(rest[0]), 0))
            case "time":
                self.time_floor = max(self.time_floor, int(rest[0]))
            case "trust":
                self.trust = max(self.trust, int(rest[0]))
            case "whole":
                self.is_whole = bool(rest[0])
            case "failed":
                self.failures += 1
            case "said":
                self.said += 1
            case _:
                """Increments and what was dropped promise nothing."""

    def _note_evidence(self, namespace: str, order: Order, name: ManifestHash) -> None:
        before, names = self.evidence.get(namespace, (NO_ORDER, set()))
        if order > before:
            self.evidence[namespace] = (order, {name})
        elif order == before:
            names.add(name)


def _hash(value: str | int | bool) -> ManifestHash:  # noqa: FBT001  # part of a word
    return ManifestHash(bytes.fromhex(str(value)))


class FaultError(AssertionError):
    """A promise that was broken."""


def _demand(holds: bool, what: str) -> None:  # noqa: FBT001  # a condition, as of `assert`
    if not holds:
        raise FaultError(what)


@dataclass(slots=True)
class Inspection:
    """Starts the node on a folder and looks at everything."""

    folder: Path
    story: Story
    ledger: Ledger
    artifacts: dict[ManifestHash, Artifact]

    def start_twice(self, now: UnixTime) -> None:
        """Start, look, start again: the same is there."""
        first = self._start(now)
        second = self._start(now)
        for what, before in first.items():
            _demand(second[what] == before, f"the second start changed {what}")

    def _start(self, now: UnixTime) -> dict[str, object]:
        life = Life(self.folder, self.story, now, lambda _: None)
        try:
            self.look(life)
            return self._all_there_is(life)
        finally:
            life.close()

    def look(self, life: Life) -> None:
        """Everything that must hold of a node that is at rest."""
        started = self._stored(life)
        self._look_at_memory(started, life)
        self._look_at_floors(started)
        for namespace, names in self.ledger.answered.items():
            self._look_at_answered(life, namespace, names)
        for namespace, (order, names) in self.ledger.evidence.items():
            self._look_at_evidence(life, namespace, order, names)
        self._look_at_contents(life)
        self._look_at_local(life)
        self._look_for_purged(life)

    @staticmethod
    def _stored(life: Life) -> Started:
        index = life.state.index
        return Started(
            trust=index.trust_chain(),
            heads=index.heads(life.disk.read),
            floors=index.floors(),
            revoked=index.revoked(),
            memory=index.memory(),
        )

    def _look_at_memory(self, started: Started, life: Life) -> None:
        ledger, memory = self.ledger, started.memory
        _demand(ledger.revoked <= set(started.revoked), "a revocation is lost")
        known = {(kind.value, value) for kind, value in life.node.view.trust.revoked.values}
        _demand(ledger.revoked <= known, "a revocation does not bind")
        seen = {node_id: (epoch, version) for node_id, epoch, version in memory.claims_seen}
        for node_id, order in ledger.claims.items():
            _demand(seen.get(NodeId(node_id), (0, 0)) >= order, f"claims seen of {node_id} sank")
        uses = {row.grant_id.hex(): row.uses for row in memory.grant_uses}
        for grant, count in ledger.uses.items():
            _demand(uses.get(grant, 0) >= count, f"a use of grant {grant} is lost")
        _demand(memory.time_floor >= ledger.time_floor, "the time floor sank")
        _demand(memory.is_whole or not ledger.is_whole, "the end of amnesia is lost")
        bundle = life.node.view.trust.bundle.bundle_version
        _demand(bundle >= ledger.trust, f"bundle {ledger.trust} is lost, {bundle} is in force")

    def _look_at_floors(self, started: Started) -> None:
        floors = {row.namespace: row.order for row in started.floors}
        for namespace, order in self.ledger.floors.items():
            if namespace != BUNDLES:
                found = floors.get(namespace, NO_ORDER)
                _demand(found >= order, f"the floor of {namespace} sank from {order} to {found}")

    def _look_at_answered(self, life: Life, namespace: str, names: set[ManifestHash]) -> None:
        newest = max(self.artifacts[one].manifest.order for one in names)
        if namespace == BUNDLES:
            bundle = life.node.view.trust.bundle.bundle_version
            _demand(bundle >= newest.version, f"acknowledged bundle {newest} is not in force")
            return
        head = life.node.view.find(namespace)
        floors = {row.namespace: row.order for row in life.state.index.floors()}
        if head is None:
            # A row that today's trust or time refuses is not even recalled, nor does one below it
            # come back.
            for name in names:
                is_newest = self.artifacts[name].manifest.order == newest
                # A commit whose word nobody heard any more may have raised the floor above it.
                if is_newest and floors[namespace] == newest:
                    _demand(not self._is_good(life, name), f"{namespace} {newest} is lost")
            return
        _demand(head.manifest.order >= newest, f"{namespace} is at {head.manifest.order}")
        name = head.verified.manifest_hash
        if head.manifest.order == newest and name in names and head.state not in GONE_STATES:
            _demand(head.is_held, f"the content of {namespace} {newest} is lost")
        artifact = self.artifacts[name]
        if artifact.manifest.tombstone is not None:
            _demand(head.state is HeadState.WITHDRAWN, f"the tombstone of {namespace} is lost")

    def _is_good(self, life: Life, name: ManifestHash) -> bool:
        revoked = life.node.view.trust.revoked
        artifact = self.artifacts[name]
        is_late = artifact.manifest.expires_at <= life.now.unix
        return not (is_late or revoked.has_artifact(name, artifact.content_hash))

    def _look_at_evidence(
        self, life: Life, namespace: str, order: Order, names: set[ManifestHash]
    ) -> None:
        head = life.node.view.find(namespace)
        if head is None or head.manifest.order > order or head.state in GONE_STATES:
            return
        stored = {parse_envelope(one).manifest_hash for one in life.state.index.memory().evidence}
        for name in names:
            if self._is_good(life, name):
                known = {one.manifest_hash for one in head.statements}
                # All of it is on the disk; only so much of one order is kept in mind.
                is_full = len(known) >= EVIDENCE_MAX and name in stored
                _demand(name in known or is_full, f"evidence against {namespace} {order} is lost")

    def _look_at_contents(self, life: Life) -> None:
        index = life.state.index
        for path in _files(self.folder / "objects"):
            content = path.read_bytes()
            _demand(sha256(content).hexdigest() == path.name, f"{path.name} has other bytes")
            row = index.content(factory.hash_of(content))
            _demand(row is not None, f"{path.name} lies there without a row")
        _demand(not list(_files(self.folder / "incoming")), "something is left half-received")
        for head in life.node.view.heads_after("", 1_000):
            if not head.is_held:
                continue
            held = life.disk.read(head.manifest.content_hash)
            name = head.manifest.namespace.text
            _demand(held is not None, f"{name} is called held and is not there")
            assert held is not None
            same = sha256(held).digest() == head.manifest.content_hash
            _demand(same, f"{name} is held with other bytes")

    def _look_at_local(self, life: Life) -> None:
        gate = TrustGate(VERIFIER)
        for link in _links(self.folder / "local"):
            manifest = _visible(link)
            namespace = str(link.parent.relative_to(self.folder / "local"))
            verdict = gate.recall(
                (link / "envelope").read_bytes(), life.node.view.trust, life.now.unix
            )
            good = isinstance(verdict, VerifiedManifest)
            _demand(good, f"{link.name} of {namespace} shows what is refused: {verdict}")
            assert isinstance(verdict, VerifiedManifest)
            _demand(verdict.manifest_hash == manifest, "the envelope is another")
            _demand(manifest in self.artifacts, "nobody ever signed it")
            shown = self.artifacts[manifest]
            _demand(shown.manifest.namespace.text == namespace, "it is of another namespace")
            _demand(os.readlink(link) == f"v{shown.manifest.order}", "it has another name")
            same = (link / "content").read_bytes() == shown.content
            _demand(same, f"{link.name} of {namespace} has other bytes")
            self._look_at_shown(life.node.view.find(namespace), shown, link)
        for namespace, (order, name) in self.ledger.current.items():
            self._look_at_current(life, namespace, order, name)

    @staticmethod
    def _look_at_shown(head: Head | None, shown: Artifact, link: Path) -> None:
        namespace = shown.manifest.namespace.text
        if head is None and namespace == BUNDLES:
            return  # a bundle that proved to be none took the row, the one in force stays
        _demand(head is not None, f"{link.name} of {namespace} stands without a head")
        assert head is not None
        gone = head.state in GONE_STATES
        _demand(not gone, f"{link.name} of {namespace} is visible and {head.state.value}")
        is_newest = head.manifest.order == shown.manifest.order
        if is_newest and not head.is_disputed:
            same = head.manifest.content_hash == shown.content_hash
            _demand(same, f"{link.name} of {namespace} shows the other side")

    def _look_at_current(
        self, life: Life, namespace: str, order: Order, name: ManifestHash
    ) -> None:
        """What was switched to once is there, or a newer one, unless it was taken away since."""
        head = life.node.view.find(namespace)
        if head is None or head.state in GONE_STATES or head.is_disputed:
            return
        orders = [_order_of(os.readlink(one)) for one in _links(self.folder / "local" / namespace)]
        was_withdrawn = any(
            one.manifest.order > order and one.manifest.tombstone is not None
            for one in self.artifacts.values()
            if one.manifest.namespace.text == namespace
        )
        is_lost = not orders and head.verified.manifest_hash == name and not was_withdrawn
        _demand(not is_lost, f"{namespace} is not visible any more")
        sank = bool(orders) and max(orders) < order
        _demand(not sank, f"{namespace} shows {orders}, it showed {order} before")

    def _look_for_purged(self, life: Life) -> None:
        """What is to be purged has left every place."""
        for head in life.node.view.heads_after("", 1_000):
            stone = head.manifest.tombstone
            if stone is None or not stone.purge:
                continue
            gone = {
                one.content
                for one in self.artifacts.values()
                if one.manifest.namespace == head.manifest.namespace and one.content
            }
            places = (self.folder / "objects", self.folder / "incoming", self.folder / "local")
            for path in (one for place in places for one in _files(place)):
                left = path.name != "manifest.json" and path.read_bytes() in gone
                where = path.relative_to(self.folder)
                _demand(not left, f"{where} was to be purged")

    def look_at_the_newest(self, now: UnixTime) -> None:
        """The newest statement of every namespace is the head, unless trust refuses it now, or the
        node never told that it left amnesia and waits for a newer list than its disk has."""
        life = Life(self.folder, self.story, now, lambda _: None)
        try:
            if self.ledger.is_whole or not life.node.view.trust.freshness.has_amnesia:
                self._look_at_the_newest(life)
        finally:
            life.close()

    def _look_at_the_newest(self, life: Life) -> None:
        newest: dict[str, Order] = {}
        for name, one in self.artifacts.items():
            namespace, order = one.manifest.namespace.text, one.manifest.order
            if namespace != BUNDLES and self._is_good(life, name):
                newest[namespace] = max(order, newest.get(namespace, NO_ORDER))
        floors = {row.namespace: row.order for row in life.state.index.floors()}
        for namespace, order in newest.items():
            head = life.node.view.find(namespace)
            if floors.get(namespace, NO_ORDER) > order:
                continue  # what stands above it was revoked, has expired, or is listed only
            _demand(head is not None, f"{namespace} {order} is shut out")
            assert head is not None
            _demand(head.manifest.order >= order, f"{namespace} {order} is shut out")
            if head.state in GONE_STATES or head.is_disputed:
                continue
            _demand(head.is_held, f"{namespace} is {head.state.value} at the end")

    def _all_there_is(self, life: Life) -> dict[str, object]:
        stored = self._stored(life)
        tree = sorted(
            (str(one.relative_to(self.folder)), os.readlink(one) if one.is_symlink() else "")
            for place in ("objects", "incoming", "local")
            for one in (self.folder / place).rglob("*")
        )
        return {
            "the trust chain": stored.trust,
            "the heads": stored.heads,
            "the floors": stored.floors,
            "the revocations": stored.revoked,
            "the memory": replace(stored.memory, generation=0, is_whole=True, revoked_epoch=0),
            "the files": tree,
            "the states": [
                (one.manifest.order, one.state) for one in life.node.view.heads_after("", 99)
            ],
        }


def _files(folder: Path) -> Iterator[Path]:
    return (one for one in folder.rglob("*") if one.is_file() and not one.is_symlink())


def _links(folder: Path) -> Iterator[Path]:
    return (one for name in LINKS for one in folder.rglob(name) if one.is_symlink())


def _visible(link: Path) -> ManifestHash:
    """The statement a link shows; everything beside it is whole."""
    _demand(link.is_dir(), f"{link} points to nothing")
    for name in ("content", "envelope", "manifest.json"):
        _demand((link / name).is_file(), f"{link} has no {name}")
    envelope = factory.parts((link / "envelope").read_bytes())
    return ManifestHash(sha256(envelope.payload).digest())


def _order_of(name: str) -> Order:
    epoch, version = name.removeprefix("v").split(".")
    return Order(int(epoch), int(version))
