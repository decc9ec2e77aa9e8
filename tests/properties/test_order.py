"""One trusted set, whatever the order of arrival and wherever a restart falls.

Routes of two namespaces, tombstones of them, snapshots that cover and list them, the node's own
snapshot and revocation lists are signed, several statements of one order among them, by two keys;
some of it is revoked. Nodes hear all of it in different orders, as often as gossip repeats it, one
of them with a restart in the middle, and are compared in everything they trust.

What a node refused raises no floor, and no floor sinks. So where the highest order ever stated or
listed does not count in the end, because it was revoked or is not listed, two nodes may differ by
who met it before that: there they need to agree only if their floors do.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import permutations
from random import Random
from typing import Final, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabgossip.core.catalog import EVIDENCE_MAX, Head, HeadState
from fabgossip.model.artifact import NO_ORDER, ArtifactType, Order, Tombstone
from fabgossip.model.authority import Revocation, RevocationList, RevokedKind
from fabgossip.model.ids import NOTHING_HASH, ContentHash, ManifestHash
from fabgossip.model.messages import Announce, Announced
from fabgossip.model.moment import UnixTime
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.topology import Listing, Snapshot
from fabgossip.wire.contents import (
    bundle_bytes,
    parse_snapshot,
    revocations_bytes,
    snapshot_bytes,
)
from tests.properties.dwelling import PEERS, Dwelling
from tests.properties.signing import LISTS, NODE, OWN_SNAPSHOT, ControlPlane, Signed
from tests.trust import factory

ROUTES: Final = ("routes/r1", "routes/r2")
COVERING: Final = "snapshots/role/edge"
COVERS: Final = ((), ("routes",), ("routes/r1",), ("routes/r2",))
SECOND: Final = factory.DIRECTORY
"""Another key that may sign routes."""
ARRIVALS: Final = 4
ROUNDS_MAX: Final = 12
NOTHING: Final = "nothing"


class Signing:
    """Everything that is signed in one trial."""

    def __init__(self) -> None:
        self.plane = ControlPlane()
        self.claims = self.plane.claims(NODE, factory.OPENINGS, is_new=True)
        self.first = [self._two_keys(), self.revoke(1), self.plane.publish_snapshot(None)]
        """With which every node begins."""
        self.told: list[Signed] = []
        self.entries: list[Revocation] = []

    def _two_keys(self) -> Signed:
        kind = ArtifactType.ROUTE_POLICY_BUNDLE.value
        others = tuple(one for one in factory.BUNDLE.rights if one.kind != kind)
        rights = (*others, factory.right(kind, factory.POLICY, SECOND))
        bundle = replace(factory.BUNDLE, bundle_version=4, rights=rights)
        said = self.plane.statement(ArtifactType.TRUST_BUNDLE, "trust/bundle", 4)
        return self.plane.sign(said, bundle_bytes(bundle), *factory.ROOTS[:2])

    def route(self, tail: str, version: int, variant: int, key: int) -> None:
        """Variants 3 and 4 are tombstones, the last one purges."""
        said = self.plane.statement(ArtifactType.ROUTE_POLICY_BUNDLE, tail, version)
        content = b"%s %d %d" % (tail.encode(), version, variant)
        if variant > 2:
            gone = Tombstone(reason="withdrawn", purge=variant > 3)
            said = replace(said, content_hash=NOTHING_HASH, content_size=0, tombstone=gone)
            content = b""
        self._tell(self.plane.sign(said, content, (factory.POLICY, SECOND)[key]))

    def snapshot(self, tail: str, version: int, covers: int, variant: int, listed: int) -> None:
        """One that covers something, and lists of it whatever there is."""
        is_covering = tail == COVERING
        said = self.plane.statement(ArtifactType.CLUSTER_SNAPSHOT, tail, version)
        names = COVERS[covers] if is_covering else ()
        below = [[one for one in self.told if one.artifact.tail == tail] for tail in ROUTES]
        chosen = [some[listed % len(some)] for some in below if some and listed]
        content = snapshot_bytes(
            Snapshot(
                endpoints=(),
                degraded=DegradedPolicy(),
                settings=b"%d" % variant,
                covers=tuple(f"{factory.PREFIX}/{one}" for one in names),
                listings=tuple(_listing(one) for one in chosen if names),
            )
        )
        self._tell(self.plane.sign(said, content, factory.COMPILER))

    def lose(self, which: int, how: int) -> None:
        """Something loses its trust: a statement, a content, a key."""
        one = self.told[which % len(self.told)]
        kind, value = (
            (RevokedKind.MANIFEST, bytes(one.manifest_hash)),
            (RevokedKind.CONTENT, bytes(one.manifest.content_hash)),
            (RevokedKind.SIGNING_KEY, bytes(SECOND.key_id)),
        )[how % 3]
        if value == NOTHING_HASH:
            kind, value = RevokedKind.MANIFEST, bytes(one.manifest_hash)
        self.entries.append(
            Revocation(
                kind=kind,
                value=value,
                reason="stolen",
                since_epoch=1,
                since=factory.NOW,
                until=UnixTime(0),
            )
        )

    def revoke(self, version: int, *entries: Revocation) -> Signed:
        """A list of these."""
        rows = {(one.kind.value, one.value): one for one in entries}
        content = revocations_bytes(
            RevocationList(entries=tuple(rows[key] for key in sorted(rows)))
        )
        said = self.plane.statement(ArtifactType.REVOCATION_LIST, LISTS, version)
        return self.plane.sign(said, content, factory.REVOKER)

    def publish_lists(self, *, is_disputed: bool) -> None:
        """List after list each names one thing more; of the last there may be two, which share what
        is new."""
        for count in range(1, len(self.entries)):
            self._tell(self.revoke(1 + count, *self.entries[:count]))
        if self.entries:
            version, last = 1 + len(self.entries), self.entries[-1:]
            self._tell(self.revoke(version, *self.entries))
            if is_disputed:
                self._tell(self.revoke(version, *last))

    def _tell(self, one: Signed) -> None:
        if one not in self.told:
            self.told.append(one)

    def contents(self) -> dict[ContentHash, bytes]:
        """Of everything that was ever signed."""
        return {
            one.manifest.content_hash: one.artifact.content for one in (*self.first, *self.told)
        }

    # What must be true of every node alike.

    def may_differ(self, tail: str) -> bool:
        """Whether the highest order ever stated or listed of a namespace does not count in the end,
        so that its floor tells who met it in time."""
        mine = [one for one in (*self.first, *self.told) if one.artifact.tail == tail]
        listed = [row.order for one in self.told for row in _listings(one) if _tail(row) == tail]
        highest = max([NO_ORDER, *listed, *(one.manifest.order for one in mine)])
        there = [one for one in mine if one.manifest.order == highest and not self._is_lost(one)]
        if not there or tail not in ROUTES:
            return not there and bool(mine)
        withdrawn = any(one.manifest.tombstone is not None for one in there)
        return not withdrawn and self._is_ahead(tail, highest)

    def _is_lost(self, one: Signed) -> bool:
        lost = {bytes(entry.value) for entry in self.entries}
        return bool(lost & {bytes(key) for key in one.signers}) or bool(
            lost & {bytes(one.manifest_hash), bytes(one.manifest.content_hash)}
        )

    def _is_ahead(self, tail: str, order: Order) -> bool:
        """Whether a snapshot in force covers a namespace and does not list this order of it."""
        if self.may_differ(COVERING):
            return True
        mine = [one for one in self.told if one.artifact.tail == COVERING]
        highest = max((one.manifest.order for one in mine), default=NO_ORDER)
        there = [one for one in mine if one.manifest.order == highest and not self._is_lost(one)]
        names = {prefix for one in there for prefix in _covers(one)}
        name = f"{factory.PREFIX}/{tail}"
        if not any(name == one or name.startswith(f"{one}/") for one in names):
            return False
        listed = [row for one in there for row in _listings(one) if _tail(row) == tail]
        return len(there) > 1 or not listed or listed[0].order != order


def _covers(one: Signed) -> tuple[str, ...]:
    return _snapshot(one).covers


def _listings(one: Signed) -> tuple[Listing, ...]:
    is_snapshot = one.manifest.artifact_type is ArtifactType.CLUSTER_SNAPSHOT
    return _snapshot(one).listings if is_snapshot else ()


def _snapshot(one: Signed) -> Snapshot:
    return parse_snapshot(one.artifact.content)


def _tail(row: Listing) -> str:
    return row.namespace.removeprefix(f"{factory.PREFIX}/")


def _listing(one: Signed) -> Listing:
    return Listing(
        namespace=one.manifest.namespace.text,
        order=one.manifest.order,
        manifest_hash=one.manifest_hash,
    )


Stands: TypeAlias = tuple[frozenset[ManifestHash], str]


@dataclass(frozen=True)
class Trusted:
    """All that a node trusts."""

    bundle_version: int
    revoked: tuple[int, frozenset[tuple[RevokedKind, bytes]]]
    is_disputed: bool
    snapshot_refresh_by: UnixTime | None
    floors: dict[str, Order]
    standing: dict[str, Stands]


def _standing(head: Head, floor: Order) -> Stands:
    """What a head is worth: nothing if it is refused, below the floor, or not what is listed."""
    hashes = frozenset(one.manifest_hash for one in head.rivals)
    if len(hashes) >= EVIDENCE_MAX:
        hashes = frozenset()  # of many, those stay as evidence that came first
    if head.state is HeadState.WITHDRAWN and head.manifest.order == floor:
        return hashes, "withdrawn"
    if head.state is HeadState.REFUSED or head.manifest.order < floor or head.is_unlisted:
        return frozenset(), NOTHING
    return hashes, "disputed" if head.is_disputed else head.state.value


def trusted(node: Dwelling) -> Trusted:
    """By its own word; and the consumers of what is withdrawn see nothing of it."""
    view = node.node.view
    floors = {_short(name): order for name, order in view.floors().items()}
    standing = {}
    for head in view.heads_after("", 1_000):
        name = head.manifest.namespace.text
        what = _standing(head, view.floors()[name])
        if what[1] != NOTHING:
            standing[_short(name)] = what
        if head.state is HeadState.WITHDRAWN and name in node.disk.local:
            assert node.disk.local[name].current is None
    return Trusted(
        view.trust.bundle.bundle_version,
        (view.trust.revoked.version, view.trust.revoked.values),
        view.trust.freshness.is_disputed,
        view.trust.freshness.snapshot_refresh_by,
        floors,
        standing,
    )


def _short(name: str) -> str:
    return name.removeprefix(f"{factory.PREFIX}/")


def heard(signing: Signing, told: list[Signed], restart_at: int | None) -> Trusted:
    """What a node trusts that hears all this in this order, again and again; after one more restart
    it trusts the same."""
    contents = signing.contents()
    node = Dwelling(signing.claims, contents, lambda _: None)
    before: Trusted | None = None
    for one in signing.first:
        _say(signing, node, one)
    for count in range(ROUNDS_MAX):
        for place, one in enumerate(told):
            if count == 0 and place == restart_at:
                node.restart()
                node.settle()
            _say(signing, node, one)
        node.refresh()
        node.settle()
        after = trusted(node)
        if after == before:
            node.restart()
            node.settle()
            assert trusted(node) == after
            return after
        before = after
    raise AssertionError("it never comes to rest")


def _say(signing: Signing, node: Dwelling, one: Signed) -> None:
    claims = signing.plane.claims("n2", PEERS["n2"])
    announce = Announce(entries=(Announced(one.artifact.envelope, 0),))
    node.hear(node.link("n2", claims), announce)
    node.settle()
    node.wait(1)


def agree(signing: Signing, states: Iterable[Trusted]) -> None:
    """Every node trusts the same, as far as it can."""
    first, *others = states
    for other in others:
        assert other.bundle_version == first.bundle_version
        assert other.revoked == first.revoked
        assert other.is_disputed == first.is_disputed
        if not signing.may_differ(OWN_SNAPSHOT):
            assert other.snapshot_refresh_by == first.snapshot_refresh_by
        same_covers = other.floors.get(COVERING) == first.floors.get(COVERING)
        for tail in (*ROUTES, COVERING, OWN_SNAPSHOT):
            if not signing.may_differ(tail):
                assert other.floors.get(tail) == first.floors.get(tail), tail
            elif other.floors.get(tail) != first.floors.get(tail) or not same_covers:
                continue
            assert other.standing.get(tail) == first.standing.get(tail), tail


NUMBERS: Final = st.integers(0, 999)
SAID: Final = st.lists(st.tuples(*(NUMBERS,) * 5), min_size=3, max_size=9)
LOST: Final = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=3)


def signed(said: list[tuple[int, ...]], lost: list[tuple[int, int]], is_disputed: int) -> Signing:
    """Statements by five numbers each, and what is revoked of them."""
    signing = Signing()
    for what, a, b, c, d in said:
        if what % 3 < 2:
            signing.route(ROUTES[a % 2], 1 + b % 2, c % 5, d % 2)
        else:
            tail = (COVERING, COVERING, OWN_SNAPSHOT)[a % 3]
            signing.snapshot(tail, 1 + b % 2, c % 4, d % 2, d // 2 % 4)
    for which, how in lost:
        signing.lose(which, how)
    signing.publish_lists(is_disputed=is_disputed % 2 == 1)
    return signing


def _two_tombstones(signing: Signing) -> None:
    signing.route(ROUTES[0], 1, 0, 0)
    signing.route(ROUTES[0], 2, 3, 0)
    signing.route(ROUTES[0], 2, 4, 0)


def _a_tombstone_and_content(signing: Signing) -> None:
    signing.route(ROUTES[0], 1, 0, 0)
    signing.route(ROUTES[0], 1, 3, 0)


def _a_revoked_tombstone_and_content(signing: Signing) -> None:
    signing.route(ROUTES[0], 1, 0, 0)
    signing.route(ROUTES[0], 1, 3, 0)
    signing.lose(1, 0)


def _a_fifth_that_withdraws(signing: Signing) -> None:
    for variant, key in ((0, 0), (0, 1), (1, 0), (1, 1), (3, 0)):
        signing.route(ROUTES[0], 1, variant, key)


def _three_and_one_is_revoked(signing: Signing) -> None:
    for variant in (0, 1, 2):
        signing.route(ROUTES[0], 1, variant, 0)
    signing.lose(1, 0)


def _the_fifth_is_left_alone(signing: Signing) -> None:
    for variant in (0, 1, 2, 3):
        signing.route(ROUTES[0], 1, variant, 1)
    signing.route(ROUTES[0], 1, 0, 0)
    signing.lose(0, 2)


def _the_listed_one_is_revoked(signing: Signing) -> None:
    signing.route(ROUTES[0], 1, 0, 0)
    signing.snapshot(COVERING, 1, 1, 0, 1)
    signing.route(ROUTES[0], 1, 1, 0)
    signing.lose(0, 0)


def _two_snapshots_that_list(signing: Signing) -> None:
    signing.route(ROUTES[0], 1, 0, 0)
    signing.snapshot(COVERING, 1, 1, 0, 1)
    signing.snapshot(COVERING, 1, 1, 1, 1)


def _two_snapshots_and_one_covers(signing: Signing) -> None:
    signing.route(ROUTES[0], 1, 0, 0)
    signing.snapshot(COVERING, 1, 0, 0, 0)
    signing.snapshot(COVERING, 1, 1, 1, 1)


def _two_snapshots_and_one_is_revoked(signing: Signing) -> None:
    signing.route(ROUTES[0], 1, 0, 0)
    signing.snapshot(COVERING, 1, 1, 0, 1)
    signing.snapshot(COVERING, 1, 1, 1, 0)
    signing.lose(2, 0)


def _two_own_snapshots(signing: Signing) -> None:
    signing.snapshot(OWN_SNAPSHOT, 2, 0, 0, 0)
    signing.snapshot(OWN_SNAPSHOT, 2, 0, 1, 0)


def _two_of_which_one_is_listed(signing: Signing) -> None:
    signing.route(ROUTES[0], 1, 0, 0)
    signing.snapshot(COVERING, 1, 1, 0, 1)
    signing.route(ROUTES[0], 1, 1, 0)


def _two_of_which_each_was_listed(signing: Signing) -> None:
    signing.route(ROUTES[0], 1, 0, 0)
    signing.route(ROUTES[0], 1, 1, 0)
    signing.snapshot(COVERING, 1, 1, 0, 2)
    signing.snapshot(COVERING, 2, 1, 0, 1)
    del signing.told[0]


def _a_tombstone_of_what_is_listed(signing: Signing) -> None:
    signing.route(ROUTES[0], 1, 0, 0)
    signing.snapshot(COVERING, 1, 1, 0, 1)
    signing.route(ROUTES[0], 1, 3, 0)


@pytest.mark.parametrize(
    ("say", "tail", "word"),
    [
        (_two_tombstones, ROUTES[0], "withdrawn"),
        (_a_tombstone_and_content, ROUTES[0], "withdrawn"),
        (_a_revoked_tombstone_and_content, ROUTES[0], "current"),
        (_a_fifth_that_withdraws, ROUTES[0], "withdrawn"),
        (_three_and_one_is_revoked, ROUTES[0], "disputed"),
        (_the_fifth_is_left_alone, ROUTES[0], "current"),
        (_the_listed_one_is_revoked, ROUTES[0], NOTHING),
        (_two_snapshots_that_list, ROUTES[0], NOTHING),
        (_two_snapshots_and_one_covers, ROUTES[0], NOTHING),
        (_two_snapshots_and_one_is_revoked, ROUTES[0], "current"),
        (_two_own_snapshots, OWN_SNAPSHOT, "disputed"),
        (_two_of_which_one_is_listed, ROUTES[0], "disputed"),
        (_two_of_which_each_was_listed, ROUTES[0], "current"),
        (_a_tombstone_of_what_is_listed, ROUTES[0], "withdrawn"),
    ],
)
def test_what_was_once_decided_by_who_came_first(
    say: Callable[[Signing], None], tail: str, word: str
) -> None:
    """Orders of a few statements, each also with a restart before its last one."""
    signing = Signing()
    say(signing)
    signing.publish_lists(is_disputed=False)
    orders = list(permutations(signing.told))
    states = [
        heard(signing, list(told), restart_at)
        for told in orders[:: 1 + len(orders) // 6]
        for restart_at in (None, len(told) - 1)
    ]
    agree(signing, states)
    assert {one.standing.get(tail, (frozenset(), NOTHING))[1] for one in states} == {word}


@given(SAID, LOST, NUMBERS, NUMBERS)
@settings(max_examples=max(1, settings().max_examples // 2))
def test_every_order_of_arrival_ends_in_one_trusted_set(
    said: list[tuple[int, ...]], lost: list[tuple[int, int]], is_disputed: int, seed: int
) -> None:
    signing = signed(said, lost, is_disputed)
    chance, states = Random(seed), []
    for count in range(ARRIVALS):
        told = list(signing.told)
        chance.shuffle(told)
        restart_at = chance.randrange(len(told)) if count % 2 else None
        states.append(heard(signing, told, restart_at))
    agree(signing, states)
