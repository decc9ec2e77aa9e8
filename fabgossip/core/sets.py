"""The sets two nodes compare: which manifests count in each audience, and what stands for them.

Decides: nothing; counts what it is told to count.
Keeps: equal manifests give equal fingerprints whatever the order they came in; what is past its
`expires_at`, but for trust, is in no set.
Must not know: why a manifest counts, who may know of it, what a peer has.

A peer may know less of an audience than all of it: some types, some shards. That part is its
*reach*; where it takes in all there is, the set is one and the same for all peers.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, TypeAlias

from fabgossip.core.ordered import FingerprintSet, OrderedMap
from fabgossip.model.artifact import TRUST_TYPES, ArtifactType, Manifest, VerifiedManifest
from fabgossip.model.ids import ContentHash
from fabgossip.model.messages import SET_ID_BYTES, SaltId
from fabgossip.model.moment import NEVER, UnixTime, is_past, seconds_between
from fabgossip.model.scope import ALL_SHARDS, Audience, shard_of

Reach: TypeAlias = tuple[tuple[ArtifactType, frozenset[int]], ...]
"""The types, and of each the shards, of an audience that both ends of a link may know."""
VIEWS_MAX: Final = 8
"""Sets kept of one audience (*start*): reaches times salts; beyond, the oldest is built anew when
it is asked for."""
TIME_BYTES: Final = 8
_SALT: Final = b"fabgossip salt"
_View: TypeAlias = tuple[Reach | None, SaltId]


@dataclass(frozen=True, slots=True)
class Salt:
    """What a day's fingerprints rest on: nobody knows it before the bundle is published."""

    salt_id: SaltId
    value: bytes


def salt_of(salt_id: SaltId, bundle_hash: ContentHash) -> Salt:
    """The salt of a day under a trust bundle. It rests on the content of the bundle: issued again,
    a bundle has another manifest hash, and nodes that hold either must agree."""
    day = salt_id.day.to_bytes(TIME_BYTES, "big")
    return Salt(salt_id, blake2b(day, digest_size=32, key=bundle_hash, person=_SALT).digest())


def key_of(verified: VerifiedManifest) -> bytes:
    """The place of a manifest in its set: signed values alone, never a local clock. What a node
    lacks is nearly always newest, so it lies together at the end."""
    return verified.manifest.issued_at.to_bytes(TIME_BYTES, "big") + verified.manifest_hash


def is_over(manifest: Manifest, now: UnixTime) -> bool:
    """Whether a manifest is too old to be told of. Trust never is: a list takes away past its end,
    and must reach whom it takes from; a chain of bundles is climbed over ended ones
    (`tests/attacks/test_revocation.py`)."""
    return manifest.artifact_type not in TRUST_TYPES and is_past(manifest.expires_at, now)


def set_id_of(audience: Audience) -> bytes:
    """What stands for the set of an audience between peers."""
    return audience.token[:SET_ID_BYTES]


@dataclass(slots=True)
class _Building:
    """A set that is made ahead of its time, and the keys it still lacks."""

    made: FingerprintSet
    rest: list[bytes]


class Sets:
    """What counts, by audience, and the fingerprint sets made of it."""

    __slots__ = (
        "_by_expiry", "_by_namespace", "_by_set_id", "_members", "_now", "_set_ids", "_views",
        "revision", )  # fmt: skip

    def __init__(self) -> None:
        self._by_namespace: dict[str, tuple[VerifiedManifest, ...]] = {}
        self._members: dict[Audience, dict[bytes, VerifiedManifest]] = {}
        self._set_ids: dict[Audience, bytes] = {}
        self._by_set_id: dict[bytes, Audience] = {}
        self._by_expiry: OrderedMap[tuple[UnixTime, bytes], str] = OrderedMap()
        self._views: dict[Audience, dict[_View, _Building]] = {}
        self._now = NEVER
        self.revision = 0
        """Grows with everything that counts or counts no more."""

    def on_counted(
        self, namespace: str, statements: tuple[VerifiedManifest, ...], now: UnixTime
    ) -> None:
        """Of a namespace these count from now on, and nothing else; what expired does not."""
        fresh = tuple(one for one in statements if not is_over(one.manifest, now))
        before = self._by_namespace.pop(namespace, ())
        kept = {one.manifest_hash for one in fresh}
        known = {one.manifest_hash for one in before}
        for one in before:
            if one.manifest_hash not in kept:
                self._drop(one)
        for one in fresh:
            if one.manifest_hash not in known:
                self._put(one)
            else:
                # The same statement may have gained signatures.
                self._members[one.manifest.audience][key_of(one)] = one
        if fresh:
            self._by_namespace[namespace] = fresh

    def _put(self, verified: VerifiedManifest) -> None:
        self.revision += 1
        audience, key = verified.manifest.audience, key_of(verified)
        if audience not in self._members:
            self._members[audience] = {}
            self._set_ids[audience] = set_id_of(audience)
            self._by_set_id[self._set_ids[audience]] = audience
        self._members[audience][key] = verified
        if verified.manifest.artifact_type not in TRUST_TYPES:
            self._by_expiry[(verified.manifest.expires_at, key)] = verified.manifest.namespace.text
        for (reach, _), view in self._views.get(audience, {}).items():
            if reach is None or _reaches(reach, verified.manifest):
                view.made.add(key)

    def _drop(self, verified: VerifiedManifest) -> None:
        self.revision += 1
        audience, key = verified.manifest.audience, key_of(verified)
        del self._members[audience][key]
        self._by_expiry.discard((verified.manifest.expires_at, key))
        for view in self._views.get(audience, {}).values():
            view.made.discard(key)
        if not self._members[audience]:
            del self._members[audience], self._by_set_id[self._set_ids.pop(audience)]
            self._views.pop(audience, None)

    def on_time(self, now: UnixTime) -> bool:
        """What expired counts no more. Whether the clock ran back, and what had expired before may
        count again. Cost: O(1) where nothing did."""
        if now == self._now:
            return False
        is_earlier = seconds_between(now, self._now) > 0
        self._now = now
        while rows := self._by_expiry.items_up_to((now, b"\xff" * (TIME_BYTES + 32)), 1_024):
            for namespace in dict.fromkeys(namespace for _, namespace in rows):
                self.on_counted(namespace, self._by_namespace[namespace], now)
        return is_earlier

    def has_expired(self, verified: VerifiedManifest) -> bool:
        """Whether a manifest was past its time when the sets were last looked at."""
        return is_over(verified.manifest, self._now)

    def audiences(self) -> tuple[Audience, ...]:
        """The audiences in which anything counts, in the order of their set ids."""
        return tuple(self._by_set_id[one] for one in sorted(self._by_set_id))

    def audience_of(self, set_id: bytes) -> Audience | None:
        """The audience of a set in which something counts."""
        return self._by_set_id.get(set_id)

    def find(self, audience: Audience, key: bytes) -> VerifiedManifest | None:
        """The manifest at a place."""
        return self._members.get(audience, {}).get(key)

    def view(self, audience: Audience, reach: Reach, salt: Salt) -> FingerprintSet:
        """What counts of an audience within a reach. Cost: O(set) when first asked for, else that
        of the types there are."""
        view = self._view(audience, reach, salt)
        self._build(audience, view, len(view.rest))
        return view.made

    def _view(self, audience: Audience, reach: Reach, salt: Salt) -> _Building:
        if audience not in self._members:
            return _Building(FingerprintSet(salt.value), [])
        views = self._views.setdefault(audience, {})
        key = (None if _is_whole(reach) else reach, salt.salt_id)
        found = views.get(key)
        if found is None:
            rows = self._members[audience].items()
            wanted = [one for one, its in rows if key[0] is None or _reaches(reach, its.manifest)]
            found = views[key] = _Building(FingerprintSet(salt.value), sorted(wanted, reverse=True))
            if len(views) > VIEWS_MAX:
                del views[next(iter(views))]
        return found

    def _build(self, audience: Audience, view: _Building, count: int) -> None:
        members = self._members.get(audience, {})
        for _ in range(min(count, len(view.rest))):
            key = view.rest.pop()
            if key in members:
                view.made.add(key)

    def build_ahead(self, salt: Salt, count: int) -> None:
        """Make sets of a salt that comes in force soon, at most `count` manifests of each audience
        at a time."""
        for audience, views in self._views.items():
            for reach in dict.fromkeys(reach for reach, _ in views):
                whole = ALL_OF_IT if reach is None else reach
                self._build(audience, self._view(audience, whole, salt), count)

    def keep_salts(self, kept: tuple[SaltId, ...]) -> None:
        """Sets of other salts are dropped."""
        for views in self._views.values():
            for key in [one for one in views if one[1] not in kept]:
                del views[key]

    def counted(self) -> dict[str, tuple[VerifiedManifest, ...]]:
        """What counts, by namespace, to read and not to keep."""
        return self._by_namespace

    def check(self) -> None:
        """Assert that sets, members and namespaces agree."""
        counted = [one for these in self._by_namespace.values() for one in these]
        assert sum(map(len, self._members.values())) == len(counted)
        ending = [one for one in counted if one.manifest.artifact_type not in TRUST_TYPES]
        assert len(self._by_expiry) == len(ending)
        assert all(self.find(one.manifest.audience, key_of(one)) is one for one in counted)
        for audience, views in self._views.items():
            assert len(views) <= VIEWS_MAX
            members = self._members[audience]
            for (reach, _), view in views.items():
                view.made.check()
                made = view.made.keys()
                assert made <= members.keys()
                lacking = members.keys() - made - set(view.rest)
                # A key that its reach does not take in is rightly in neither.
                assert reach is not None or not lacking
                assert not any(_reaches(reach or (), members[key].manifest) for key in lacking)


COMPARED_TYPES: Final = tuple(
    one for one in ArtifactType if one is not ArtifactType.SNAPSHOT_INCREMENT
)
"""Increments are asked for by the version they build on."""
ALL_OF_IT: Final[Reach] = tuple((one, ALL_SHARDS) for one in COMPARED_TYPES)


def _is_whole(reach: Reach) -> bool:
    return reach == ALL_OF_IT


def _reaches(reach: Reach, manifest: Manifest) -> bool:
    return any(
        kind is manifest.artifact_type
        and (shards == ALL_SHARDS or shard_of(manifest.namespace.text) in shards)
        for kind, shards in reach
    )
