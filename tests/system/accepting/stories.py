"""What a node is given to accept: a seeded sequence of everything that has to survive.

The author holds the keys and never errs, but for what an adversary would sign with stolen ones:
two statements of one order, and a bundle that is none.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from random import Random
from typing import Final

from fabgossip.control.drafts import chunk_hashes_of
from fabgossip.model.artifact import ArtifactType, Base, Tombstone
from fabgossip.model.authority import Revocation, RevocationList, RevokedKind
from fabgossip.model.ids import NOTHING_HASH, ManifestHash, NodeId
from fabgossip.model.moment import UnixTime
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.topology import Listing, Snapshot
from fabgossip.trust.revocation import grant_token
from fabgossip.wire.contents import bundle_bytes, revocations_bytes, snapshot_bytes
from tests.core.artifacts import Artifact, sealed
from tests.core.story import identity
from tests.trust import factory

ACTIONS: Final = 24
STEP_S: Final = 5
LONG_WAIT_S: Final = 400
FILE_BYTES: Final = 40_000
"""Above what rests in the index."""
CHUNKED_BYTES: Final = 1_200_000
"""Above what comes in one piece."""
PEERS: Final = ("p1", "p2")
ROUTES: Final = ("routes/r1", "routes/r2")
SERVICES: Final = ("services/dns", "services/dns/more")
LISTED: Final = "qos/q1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """An artifact, handed over by local software or announced by a peer."""

    artifact: Artifact
    by_peer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """A peer connects and shows claims; with a grant it also asks for a content."""

    node_id: NodeId
    claims: bytes
    grant: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Time passes, and the node looks around."""

    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something that happens to the node; `name` is part of every point within it."""

    name: str
    what: Given | Meeting | Waiting
    at: UnixTime


def manifest_hash_in(envelope: bytes) -> ManifestHash:
    """How the statement in an envelope is named."""
    return ManifestHash(sha256(factory.parts(envelope).payload).digest())


def manifest_hash_of(artifact: Artifact) -> ManifestHash:
    """How a statement is named."""
    return manifest_hash_in(artifact.envelope)


@dataclass(slots=True)
class Story:
    """The actions of one seed; `star` is the one that must occur, twice where it can."""

    seed: str
    star: str = ""
    actions: list[Action] = field(default_factory=list)
    _rng: Random = field(init=False)
    _now: UnixTime = factory.NOW
    _versions: dict[str, int] = field(default_factory=dict)
    _newest: dict[str, Artifact] = field(default_factory=dict)
    _entries: list[Revocation] = field(default_factory=list)
    _claims: dict[str, int] = field(default_factory=dict)
    _bundle: int = factory.BUNDLE.bundle_version

    def __post_init__(self) -> None:
        self._rng = Random(self.seed)
        # What ends the amnesia of a new folder.
        self._list()
        self._own_snapshot()
        kinds = [*self._rng.choices(list(_KINDS), _WEIGHTS, k=ACTIONS)]
        if self.star in _KINDS:
            kinds[2] = kinds[ACTIONS // 2] = self.star
        for kind in kinds:
            _KINDS[kind][0](self)

    @property
    def end(self) -> UnixTime:
        """After the last action."""
        return UnixTime(self._now + STEP_S)

    def artifacts(self) -> dict[ManifestHash, Artifact]:
        """Everything ever signed, by manifest hash."""
        given = [one.what.artifact for one in self.actions if isinstance(one.what, Given)]
        return {manifest_hash_of(one): one for one in given}

    def _add(self, name: str, what: Given | Meeting | Waiting) -> None:
        self._now = UnixTime(self._now + STEP_S)
        self.actions.append(Action(name=name, what=what, at=self._now))

    def _next_version(self, tail: str) -> int:
        self._versions[tail] = self._versions.get(tail, 0) + 1
        return self._versions[tail]

    def _sealed(
        self,
        kind: ArtifactType,
        tail: str,
        content: bytes,
        *,
        version: int | None = None,
        lives_s: int = factory.DAY,
    ) -> Artifact:
        """The next version of a namespace, issued now."""
        statement = replace(
            factory.manifest(kind, tail),
            config_version=self._next_version(tail) if version is None else version,
            issued_at=self._now,
            refresh_by=UnixTime(self._now + min(lives_s, factory.HOUR)),
            expires_at=UnixTime(self._now + lives_s),
            chunk_hashes=chunk_hashes_of(content),
        )
        return sealed(statement, content)

    def _give(self, name: str, artifact: Artifact) -> None:
        self._newest[artifact.tail] = artifact
        self._add(name, Given(artifact=artifact, by_peer=self._rng.random() < 0.3))

    def _bytes(self, size: int) -> bytes:
        return self._rng.randbytes(32) + bytes(size - 32)

    def _route(self, *, lives_s: int = factory.DAY, name: str = "route") -> None:
        tail, content = self._rng.choice(ROUTES), self._bytes(200)
        kind = ArtifactType.ROUTE_POLICY_BUNDLE
        self._give(name, self._sealed(kind, tail, content, lives_s=lives_s))

    def _short_lived(self) -> None:
        self._route(lives_s=LONG_WAIT_S // 2, name="short-lived route")
        self._wait()

    def _service(self) -> None:
        tail, content = self._rng.choice(SERVICES), self._bytes(FILE_BYTES)
        self._give("file", self._sealed(ArtifactType.SERVICE_ASSIGNMENT_BUNDLE, tail, content))

    def _large(self) -> None:
        content = self._bytes(CHUNKED_BYTES)
        kind = ArtifactType.SERVICE_ASSIGNMENT_BUNDLE
        self._give("chunked file", self._sealed(kind, "services/dns/large", content))

    def _update(self) -> None:
        content = self._bytes(100)
        self._give("update", self._sealed(ArtifactType.UPDATE_MANIFEST, "updates/u1", content))

    def _own_snapshot(self) -> None:
        content = snapshot_bytes(
            Snapshot(endpoints=(), degraded=DegradedPolicy(), settings=self._bytes(64))
        )
        tail = f"snapshots/node/{factory.NODE}"
        self._give("snapshot", self._sealed(ArtifactType.CLUSTER_SNAPSHOT, tail, content))

    def _increment(self) -> None:
        tail = f"snapshots/node/{factory.NODE}"
        newest = self._newest[tail]
        statement = replace(
            factory.manifest(ArtifactType.SNAPSHOT_INCREMENT, tail),
            config_version=newest.manifest.config_version,
            issued_at=self._now,
            base=Base(
                version=max(1, newest.manifest.config_version - 1),
                content_hash=factory.hash_of(b"before"),
                result_hash=newest.content_hash,
                result_size=len(newest.content),
            ),
        )
        self._add("increment", Given(artifact=sealed(statement, self._bytes(80))))

    def _listing(self) -> None:
        """A floor that is raised before the artifact is here, which may come or not."""
        listed = self._sealed(ArtifactType.QOS_POLICY_BUNDLE, LISTED, self._bytes(150))
        row = Listing(
            namespace=listed.manifest.namespace.text,
            order=listed.manifest.order,
            manifest_hash=manifest_hash_of(listed),
        )
        snapshot = Snapshot(
            endpoints=(),
            degraded=DegradedPolicy(),
            settings=b"",
            covers=(listed.manifest.namespace.text,),
            listings=(row,),
        )
        tail = "snapshots/role/edge"
        content = snapshot_bytes(snapshot)
        self._give("listing", self._sealed(ArtifactType.CLUSTER_SNAPSHOT, tail, content))
        if self._rng.random() < 0.7:
            self._give("listed", listed)

    def _tombstone(self) -> None:
        tail = self._rng.choice((*ROUTES, *SERVICES))
        is_route = tail in ROUTES
        purge = self._rng.random() < 0.6
        kind = ArtifactType.ROUTE_POLICY_BUNDLE if is_route else _SERVICE
        statement = replace(
            factory.manifest(kind, tail),
            config_version=self._next_version(tail),
            issued_at=self._now,
            content_hash=NOTHING_HASH,
            content_size=0,
            tombstone=Tombstone(reason="withdrawn", purge=purge),
        )
        artifact = Artifact(statement, factory.signed(statement), b"")
        self._give("purge" if purge else "tombstone", artifact)

    def _list(self, *extra: Revocation, name: str = "list") -> None:
        """Only a part of what was revoked before is said again: the union must not need it."""
        again = [one for one in self._entries if self._rng.random() < 0.5]
        self._entries += extra
        entries = sorted((*again, *extra), key=lambda one: (one.kind.value, one.value))
        content = revocations_bytes(RevocationList(entries=tuple(entries)))
        kind = ArtifactType.REVOCATION_LIST
        self._give(name, self._sealed(kind, "trust/revocations", content))

    def _revocation(self, kind: RevokedKind, value: bytes) -> Revocation:
        return Revocation(
            kind=kind,
            value=value,
            reason="stolen",
            since_epoch=factory.BUNDLE.authority_epoch,
            since=self._now,
            until=UnixTime(0),
        )

    def _revoke(self) -> None:
        """Something that is held: its statement or its content; or a grant."""
        held = [one for tail in (*ROUTES, *SERVICES) if (one := self._newest.get(tail)) is not None]
        if not held or self._rng.random() < 0.2:
            token = grant_token(self._rng.choice(_GRANTS))
            self._list(self._revocation(RevokedKind.GRANT, token), name="revoked grant")
            return
        victim = self._rng.choice(held)
        by_content = victim.content and self._rng.random() < 0.5
        kind = RevokedKind.CONTENT if by_content else RevokedKind.MANIFEST
        value = victim.content_hash if by_content else manifest_hash_of(victim)
        self._list(self._revocation(kind, value), name="revoked artifact")

    def _bundle_step(self) -> None:
        self._bundle += 1
        content = replace(factory.BUNDLE, bundle_version=self._bundle)
        statement = replace(
            factory.bundle_manifest(content),
            issued_at=self._now,
            expires_at=UnixTime(self._now + factory.DAY),
        )
        artifact = Artifact(statement, factory.signed(statement), bundle_bytes(content))
        self._give("bundle", artifact)

    def _no_bundle(self) -> None:
        statement = replace(
            factory.bundle_manifest(replace(factory.BUNDLE, bundle_version=self._bundle + 1)),
            issued_at=self._now,
        )
        self._add("no bundle", Given(artifact=sealed(statement, b"no bundle at all")))

    def _equivocation(self) -> None:
        """Two statements of one order; sometimes one of them is revoked, and the other stands."""
        tail = self._rng.choice(ROUTES)
        kind = ArtifactType.ROUTE_POLICY_BUNDLE
        first = self._sealed(kind, tail, self._bytes(200))
        version = first.manifest.config_version
        second = self._sealed(kind, tail, self._bytes(200), version=version)
        self._give("route", first)
        self._add("other side", Given(artifact=second, by_peer=self._rng.random() < 0.5))
        if self._rng.random() < 0.6:
            loser, winner = self._rng.choice(((first, second), (second, first)))
            self._newest[tail] = winner
            entry = self._revocation(RevokedKind.MANIFEST, manifest_hash_of(loser))
            self._list(entry, name="revoked side")

    def _peer(self, *, grant: bytes = b"", name: str = "claims") -> None:
        node_id = self._rng.choice(PEERS)
        if not grant:
            self._claims[node_id] = self._claims.get(node_id, 0) + 1
        statement = replace(
            factory.claims(),
            node_id=NodeId(node_id),
            claims_version=self._claims.setdefault(node_id, 1),
        )
        claims = factory.signed_claims(statement)
        if grant:
            holder = replace(
                factory.grant(),
                grant_id=grant,
                node_id=NodeId(node_id),
                certificate_hash=identity(node_id).certificate_hash,
                not_before=UnixTime(self._now - 60),
                expires_at=UnixTime(factory.NOW + 3 * factory.HOUR),
            )
            grant = factory.signed_grant(holder)
        self._add(name, Meeting(node_id=NodeId(node_id), claims=claims, grant=grant))

    def _grant(self) -> None:
        self._peer(grant=self._rng.choice(_GRANTS), name="grant")

    def _wait(self) -> None:
        self._add("wait", Waiting(seconds=LONG_WAIT_S))
        self._now = UnixTime(self._now + LONG_WAIT_S)


_SERVICE: Final = ArtifactType.SERVICE_ASSIGNMENT_BUNDLE
_GRANTS: Final = (b"g" * 16, b"h" * 16, b"i" * 16)
_KINDS: Final[dict[str, tuple[Callable[[Story], None], int]]] = {
    "route": (Story._route, 4),  # noqa: SLF001  # the table of this class's own actions
    "short-lived route": (Story._short_lived, 1),  # noqa: SLF001
    "file": (Story._service, 3),  # noqa: SLF001
    "chunked file": (Story._large, 1),  # noqa: SLF001
    "update": (Story._update, 1),  # noqa: SLF001
    "snapshot": (Story._own_snapshot, 2),  # noqa: SLF001
    "increment": (Story._increment, 1),  # noqa: SLF001
    "listing": (Story._listing, 2),  # noqa: SLF001
    "purge": (Story._tombstone, 3),  # noqa: SLF001
    "list": (Story._list, 1),  # noqa: SLF001
    "revoked artifact": (Story._revoke, 3),  # noqa: SLF001
    "bundle": (Story._bundle_step, 2),  # noqa: SLF001
    "no bundle": (Story._no_bundle, 1),  # noqa: SLF001
    "revoked side": (Story._equivocation, 2),  # noqa: SLF001
    "claims": (Story._peer, 2),  # noqa: SLF001
    "grant": (Story._grant, 2),  # noqa: SLF001
    "wait": (Story._wait, 1),  # noqa: SLF001
}
_WEIGHTS: Final = [weight for _, weight in _KINDS.values()]
_STARS: Final = {
    "tombstone": "purge", "listed": "listing", "revoked grant": "revoked artifact",
    "other side": "revoked side",
}  # fmt: skip


def story_with(seed: str, name: str) -> Story:
    """A story in which an action of this name is likely, if there is one."""
    return Story(seed=seed, star=_STARS.get(name, name))
