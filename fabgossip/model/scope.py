"""Who may know, hold and apply an artifact: scope ids, audiences, namespaces, entitlements.

- An audience names scope ids. A node matches it when, for every kind named, it holds at least one
  id of that kind: *and* across kinds, *or* within a kind. `cluster` is always named, so nothing
  crosses clusters.
- A storage assignment covers an audience when each kind it names is named by the audience with no
  other ids, and an organisation in the audience is named by the assignment too: no wildcard crosses
  organisations.
- A namespace is the path of a line of versions. It implies scope ids, so namespace and audience
  cannot disagree.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b, sha256
from itertools import pairwise
from typing import Final

from fabgossip.errors import ModelError
from fabgossip.model.ids import ClusterId, NodeId, OrgId, PlatformId, parse_id, shown
from fabgossip.model.words import Word

SCOPE_IDS_MAX: Final = 32
"""Most scope ids an audience can name (the manifest's bound)."""
NAMESPACE_BYTES_MAX: Final = 512
AUDIENCE_TOKEN_BYTES: Final = 16
ALL_SHARDS: Final = frozenset(range(256))
"""The shard of a namespace is a byte."""


class ScopeKind(Word):
    """The five kinds of entitlement."""

    CLUSTER = "cluster"
    ORG = "org"
    SERVICE = "service"
    ROLE = "role"
    NODE = "node"


SHARED_MAX: Final = 4_096
"""Audiences kept once for all that name them: about 4 MB (*start*)."""
_KINDS: Final = {kind.value: kind for kind in ScopeKind}


@dataclass(frozen=True, slots=True, order=True)
class ScopeId:
    """One typed entitlement, written `kind:id`."""

    text: str

    @property
    def kind(self) -> ScopeKind:
        """The part before the colon."""
        return _KINDS[self.text.partition(":")[0]]

    @property
    def name(self) -> str:
        """The part after the colon."""
        return self.text.partition(":")[2]


def parse_scope_id(text: str) -> ScopeId:
    """`kind:id` with a kind of `ScopeKind`; raises `ModelError`."""
    kind, colon, name = text.partition(":")
    if not colon or kind not in _KINDS:
        raise ModelError(
            f"scope id {shown(text)}: expected cluster:, org:, service:, role: or node: and an id"
        )
    parse_id(name, "scope id")
    return ScopeId(text)


def scope_id(kind: ScopeKind, name: str) -> ScopeId:
    """The scope id of a name already parsed."""
    return ScopeId(f"{kind.value}:{name}")


@dataclass(frozen=True, slots=True)
class Audience:
    """Scope ids as a rule, ascending and unique, exactly one `cluster:`, at most one `org:`."""

    scope_ids: tuple[ScopeId, ...]
    token: bytes = field(init=False, repr=False, compare=False)
    """16 bytes that stand for this audience among those who may know it."""
    _by_kind: dict[ScopeKind, tuple[ScopeId, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Made once: most of what a node keeps is kept by audience, and what a peer may be told is
        asked of each for each artifact."""
        text = "\n".join(scope.text for scope in self.scope_ids)
        token = blake2b(text.encode("ascii"), digest_size=AUDIENCE_TOKEN_BYTES).digest()
        object.__setattr__(self, "token", token)
        by_kind: dict[ScopeKind, tuple[ScopeId, ...]] = {}
        for scope in self.scope_ids:
            by_kind[scope.kind] = (*by_kind.get(scope.kind, ()), scope)
        object.__setattr__(self, "_by_kind", by_kind)

    def __hash__(self) -> int:
        return hash(self.token)

    def ids_of(self, kind: ScopeKind) -> tuple[ScopeId, ...]:
        """The ids named of one kind."""
        return self._by_kind.get(kind, ())

    @property
    def org(self) -> ScopeId | None:
        """The organisation named, if any."""
        return next(iter(self.ids_of(ScopeKind.ORG)), None)


def audience_from_scope_ids(scope_ids: tuple[ScopeId, ...]) -> Audience:
    """The audience of these ids, which must stand as they stand on the wire.

    Raises:
        ModelError: not 1..32 ids, not ascending and unique, not exactly one cluster, more than one
            organisation.
    """
    if not 1 <= len(scope_ids) <= SCOPE_IDS_MAX:
        raise ModelError(f"audience: {len(scope_ids)} scope ids, expected 1 to {SCOPE_IDS_MAX}")
    if any(first >= second for first, second in pairwise(scope_ids)):
        raise ModelError("audience: scope ids must be ascending and unique")
    audience = Audience(scope_ids)
    if len(audience.ids_of(ScopeKind.CLUSTER)) != 1:
        raise ModelError("audience: exactly one cluster: must be named")
    if len(audience.ids_of(ScopeKind.ORG)) > 1:
        raise ModelError(
            "audience: at most one org: may be named; publish one artifact per organisation"
        )
    return audience


@lru_cache(maxsize=SHARED_MAX)
def shared(audience: Audience) -> Audience:
    """One value for all that are equal: thousands of statements name few audiences. For what was
    verified only, or its time would tell a peer whether others name its audience."""
    return audience


@dataclass(frozen=True, slots=True)
class StorageAssignment:
    """What a node may hold for others: scope ids, artifact type names, shards (None = all of
    0..255).
    """

    scope_ids: tuple[ScopeId, ...]
    types: tuple[str, ...]
    shards: tuple[int, ...] | None = None
    assigned: frozenset[ScopeId] = field(init=False, repr=False, compare=False)
    """The scope ids."""
    kinds: frozenset[ScopeKind] = field(init=False, repr=False, compare=False)
    """Of which kinds they are."""

    def __post_init__(self) -> None:
        """Made once, for the same reason as those of an audience."""
        object.__setattr__(self, "assigned", frozenset(self.scope_ids))
        object.__setattr__(self, "kinds", frozenset(one.kind for one in self.scope_ids))

    @property
    def org_ids(self) -> tuple[ScopeId, ...]:
        """The organisations it names."""
        return tuple(scope for scope in self.scope_ids if scope.kind is ScopeKind.ORG)


@dataclass(frozen=True, slots=True)
class Entitlements:
    """The scope ids a node holds and its storage assignments, as far as somebody knows them."""

    scope_ids: frozenset[ScopeId]
    assignments: tuple[StorageAssignment, ...] = ()


def shard_of(namespace: str) -> int:
    """Shard byte of a namespace: first byte of its SHA-256."""
    return sha256(namespace.encode("ascii")).digest()[0]


def matches(audience: Audience, held: Entitlements) -> bool:
    """Whether a node with these entitlements is in the audience, so may apply the artifact."""
    if held.scope_ids.issuperset(audience.scope_ids):
        return True  # nearly always the answer where it is yes, and it costs no look at kinds
    met: dict[str, bool] = {}
    for scope in audience.scope_ids:
        kind = scope.text.partition(":")[0]
        met[kind] = met.get(kind, False) or scope in held.scope_ids
    return all(met.values())


def covers(
    assignment: StorageAssignment, audience: Audience, type_name: str, namespace: str
) -> bool:
    """Whether a storage assignment lets its node hold an artifact of this audience, type and
    namespace.
    """
    if type_name not in assignment.types:
        return False
    if assignment.shards is not None and shard_of(namespace) not in assignment.shards:
        return False
    return _covers_scope(assignment, audience)


def _covers_scope(assignment: StorageAssignment, audience: Audience) -> bool:
    for kind in assignment.kinds:
        ids = audience.ids_of(kind)
        if not ids or not assignment.assigned.issuperset(ids):
            return False
    return audience.org is None or audience.org in assignment.assigned


def may_hold(audience: Audience, type_name: str, namespace: str, held: Entitlements) -> bool:
    """Whether these entitlements allow holding, hence knowing of, this artifact."""
    if matches(audience, held):
        return True
    return any(covers(one, audience, type_name, namespace) for one in held.assignments)


def shards_held(audience: Audience, type_name: str, held: Entitlements) -> frozenset[int]:
    """The shards of a type that these entitlements allow holding in an audience."""
    if matches(audience, held):
        return ALL_SHARDS
    shards: frozenset[int] = frozenset()
    for one in held.assignments:
        if type_name in one.types and _covers_scope(one, audience):
            if one.shards is None:
                return ALL_SHARDS
            shards |= frozenset(one.shards)
    return shards


def shards_of_both(
    audience: Audience, type_name: str, one: Entitlements, other: Entitlements
) -> frozenset[int]:
    """The shards of a type that both may hold. All of them, which is the rule, are one value and
    not a new one for every pair."""
    first, second = shards_held(audience, type_name, one), shards_held(audience, type_name, other)
    if first is ALL_SHARDS:
        return second
    return first if second is ALL_SHARDS else first & second


def may_share(audience: Audience, held: Entitlements) -> bool:
    """Whether these entitlements may hold some artifact of the audience, whatever its type and
    namespace.
    """
    return matches(audience, held) or any(_covers_scope(one, audience) for one in held.assignments)


def is_within(audience: Audience, readers: Audience) -> bool:
    """Whether everybody in the audience `readers` is in `audience` too: for each kind that names,
    the readers' ids are among its ids.
    """
    for kind in {scope.kind for scope in audience.scope_ids}:
        ids = readers.ids_of(kind)
        if not ids or not set(ids) <= set(audience.ids_of(kind)):
            return False
    return True


class Family(Word):
    """The heads of the namespace tree below cluster or organisation."""

    TRUST_BUNDLE = "trust/bundle"
    TRUST_REVOCATIONS = "trust/revocations"
    SNAPSHOT_NODE = "snapshots/node"
    SNAPSHOT_ROLE = "snapshots/role"
    PEERS = "peers/scope"
    STORAGE = "storage/scope"
    SERVICES = "services"
    ROUTES = "routes"
    QOS = "qos"
    UPDATES = "updates"


@dataclass(frozen=True, slots=True)
class Namespace:
    """A parsed namespace: its text, and the parts it was made of."""

    text: str
    platform_id: PlatformId
    cluster_id: ClusterId
    org_id: OrgId | None
    family: Family
    names: tuple[str, ...]
    """Segments below the family: node id, role, scope id, service (and name), route, qos or update
    id.
    """

    @property
    def implied(self) -> tuple[ScopeId, ...]:
        """Scope ids every artifact under this path must name, ascending."""
        return tuple(sorted(_implied(self)))

    @property
    def scope(self) -> ScopeId | None:
        """The scope a peer or storage directory speaks about."""
        if self.family in (Family.PEERS, Family.STORAGE):
            return ScopeId(self.names[0])
        return None

    @property
    def node_id(self) -> NodeId | None:
        """The node a node snapshot is for."""
        return NodeId(self.names[0]) if self.family is Family.SNAPSHOT_NODE else None


def _implied(namespace: Namespace) -> set[ScopeId]:
    implied = {scope_id(ScopeKind.CLUSTER, namespace.cluster_id)}
    if namespace.org_id is not None:
        implied.add(scope_id(ScopeKind.ORG, namespace.org_id))
    match namespace.family:
        case Family.SNAPSHOT_NODE:
            implied.add(scope_id(ScopeKind.NODE, namespace.names[0]))
        case Family.SNAPSHOT_ROLE:
            implied.add(scope_id(ScopeKind.ROLE, namespace.names[0]))
        case Family.SERVICES:
            implied.add(scope_id(ScopeKind.SERVICE, namespace.names[0]))
        case Family.PEERS | Family.STORAGE:
            implied.add(ScopeId(namespace.names[0]))
        case (
            Family.TRUST_BUNDLE
            | Family.TRUST_REVOCATIONS
            | Family.ROUTES
            | Family.QOS
            | Family.UPDATES
        ):
            pass
    return implied


_GRAMMAR: Final = (
    "platform/ID/cluster/ID/[org/ID/] and trust, snapshots, peers, storage, services, routes, qos "
    "or updates"
)
_LOCAL_NAME: Final = re.compile(r"current|previous|staged|(?:tmp-)?v[0-9]+\.[0-9]+|.*\.new")
_ONE_SEGMENT: Final = {"routes": Family.ROUTES, "qos": Family.QOS, "updates": Family.UPDATES}
_TWO_SEGMENTS: Final = {
    ("snapshots", "node"): Family.SNAPSHOT_NODE,
    ("snapshots", "role"): Family.SNAPSHOT_ROLE,
    ("peers", "scope"): Family.PEERS,
    ("storage", "scope"): Family.STORAGE,
}
_FIXED: Final = {
    ("trust", "bundle"): Family.TRUST_BUNDLE,
    ("trust", "revocations"): Family.TRUST_REVOCATIONS,
}


def parse_namespace(text: str) -> Namespace:
    """A path of the tree `platform/ID/cluster/ID/[org/ID/]...`.

    Raises:
        ModelError: not of the grammar, over 512 bytes, or a scope segment that contradicts the
            path.
    """
    if len(text) > NAMESPACE_BYTES_MAX:
        raise ModelError(f"namespace: {len(text)} characters, at most {NAMESPACE_BYTES_MAX}")
    parts = text.split("/")
    if len(parts) < 5 or parts[0] != "platform" or parts[2] != "cluster":
        raise ModelError(f"namespace {shown(text)}: expected {_GRAMMAR}")
    platform_id = PlatformId(parse_id(parts[1], "platform id"))
    cluster_id = ClusterId(parse_id(parts[3], "cluster id"))
    rest = parts[4:]
    org_id = None
    if rest[0] == "org" and len(rest) > 2:
        org_id = OrgId(parse_id(rest[1], "org id"))
        rest = rest[2:]
    family, names = _family(rest, text)
    if org_id is not None and family in _FIXED.values():
        raise ModelError(
            f"namespace {shown(text)}: trust belongs to the cluster, not to an organisation"
        )
    namespace = Namespace(text, platform_id, cluster_id, org_id, family, names)
    _check_scope_segment(namespace)
    return namespace


def _family(rest: list[str], text: str) -> tuple[Family, tuple[str, ...]]:
    head = tuple(rest[:2])
    if len(rest) == 2 and head in _FIXED:
        return _FIXED[head], ()
    if len(rest) == 3 and head in _TWO_SEGMENTS:
        family = _TWO_SEGMENTS[head]
        if family in (Family.PEERS, Family.STORAGE):
            return family, (parse_scope_id(rest[2]).text,)
        return family, (parse_id(rest[2], "namespace segment"),)
    if len(rest) in (2, 3) and rest[0] == "services":
        return Family.SERVICES, tuple(_service_segment(part) for part in rest[1:])
    if len(rest) == 2 and rest[0] in _ONE_SEGMENT:
        return _ONE_SEGMENT[rest[0]], (parse_id(rest[1], "namespace segment"),)
    raise ModelError(f"namespace {shown(text)}: expected {_GRAMMAR}")


def _service_segment(text: str) -> str:
    """A service's own namespace is the folder its parts lie in: none may be named like a version
    or a link of it."""
    if _LOCAL_NAME.fullmatch(text):
        raise ModelError(
            f"namespace segment {shown(text)}: names a version or a link of the local state"
        )
    return parse_id(text, "namespace segment")


def _check_scope_segment(namespace: Namespace) -> None:
    scope = namespace.scope
    if scope is None:
        return
    if scope.kind is ScopeKind.CLUSTER and scope.name != namespace.cluster_id:
        raise ModelError(f"namespace {shown(namespace.text)}: the scope names another cluster")
    if scope.kind is ScopeKind.ORG and scope.name != namespace.org_id:
        raise ModelError(
            f"namespace {shown(namespace.text)}: an org: scope stands only under the same org/"
        )


def implies_audience(namespace: Namespace, audience: Audience) -> bool:
    """Whether the audience names every scope the path implies, and no other of an implied kind."""
    implied = frozenset(namespace.implied)
    kinds = {scope.kind for scope in implied}
    named = frozenset(audience.scope_ids)
    if not implied <= named:
        return False
    return all(scope in implied for scope in named if scope.kind in kinds)


def has_prefix(namespace: str, prefix: str) -> bool:
    """Whether `prefix` is the namespace or one of its ancestors, by whole segments."""
    return namespace == prefix or namespace.startswith(prefix + "/")
