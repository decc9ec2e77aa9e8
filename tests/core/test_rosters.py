"""Who is in a directory and in which order: one answer on every node, worked out once."""

import gc
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from fabgossip.core.rosters import Rosters, roster_from
from fabgossip.model.ids import ClusterId, ContentHash, NodeId
from fabgossip.model.scope import parse_scope_id
from fabgossip.model.topology import PeerClass, PeerDirectory, PeerRecord
from tests.core.artifacts import CLUSTER_SCOPE, EVERYBODY, IN_ACME, record
from tests.trust import factory

HASH = ContentHash(b"\x01" * 32)


def directory_of(*records: PeerRecord) -> PeerDirectory:
    return PeerDirectory(
        scope=parse_scope_id(CLUSTER_SCOPE), audiences=(EVERYBODY, IN_ACME), peers=records
    )


@given(st.lists(st.sampled_from(PeerClass), min_size=1, max_size=12))
def test_the_order_is_one_and_the_same_whatever_order_the_directory_has(
    classes: list[PeerClass],
) -> None:
    rows = [record(f"n{number}", peer_class=kind) for number, kind in enumerate(classes)]
    turned = list(reversed(rows))
    one = roster_from(factory.CLUSTER, directory_of(*rows))
    other = roster_from(factory.CLUSTER, directory_of(*turned))
    assert one.ranks == other.ranks
    assert one.circles[0].members == other.circles[0].members


def test_core_nodes_come_first_and_thin_ones_have_no_place() -> None:
    roster = roster_from(
        factory.CLUSTER,
        directory_of(
            record("a"),
            record("b", peer_class=PeerClass.THIN),
            *(record(f"c{number}", peer_class=PeerClass.CORE) for number in range(5)),
        ),
    )
    assert roster.circles[0].members[-1] == "a"
    assert set(roster.records) - set(roster.ranks) == {"b"}


def test_among_equals_the_hash_of_cluster_and_node_decides() -> None:
    """Bytes that must never drift: two versions of this program in one fabric share the order."""
    names = ["n1", "n2", "n3", "n4"]
    roster = roster_from(ClusterId("c9"), directory_of(*(record(name) for name in names)))
    digests = {sha256(b"fabgossip order\x00c9\x00" + one.encode()).digest(): one for one in names}
    assert list(roster.circles[0].members) == [digests[key] for key in sorted(digests)]


def test_a_circle_has_the_members_of_its_audience_alone_and_their_zones() -> None:
    rows = (
        record("a", place="r1/z1/k1", audiences=(0, 1)),
        record("b", place="r1/z2/k1", audiences=(0,)),
        record("c", place="r2/z1/k1", audiences=(1,)),
    )
    roster = roster_from(factory.CLUSTER, directory_of(*rows))
    everybody, acme = roster.circles
    assert set(everybody.members) == {"a", "b"}
    assert everybody.zones == {("r1", "z1"), ("r1", "z2")}
    assert acme.zones == {("r1", "z1"), ("r2", "z1")}
    assert roster.circles_of(NodeId("c")) == (acme,)
    assert roster.circles_of(NodeId("nobody")) == ()


def test_equal_directories_share_one_roster_as_long_as_somebody_holds_it() -> None:
    rosters, directory = Rosters(), directory_of(record("a"))
    first = rosters.roster_of(factory.CLUSTER, HASH, directory)
    assert rosters.roster_of(factory.CLUSTER, HASH, directory) is first
    assert rosters.roster_of(ClusterId("another"), HASH, directory) is not first
    changed = directory_of(record("a"), record("b"))
    assert rosters.roster_of(factory.CLUSTER, ContentHash(b"\x02" * 32), changed) is not first
    del first
    gc.collect()
    assert rosters.roster_of(factory.CLUSTER, HASH, changed).ranks.keys() == {"a", "b"}
