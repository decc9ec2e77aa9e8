"""What a list takes away is gone, and within an epoch nothing of it comes back."""

from fabgossip.model.authority import Revocation, RevocationList, RevokedKind
from fabgossip.model.ids import ClusterId, ContentHash, KeyId, ManifestHash, NodeId
from fabgossip.model.moment import UnixTime
from fabgossip.trust.revocation import (
    NOTHING_REVOKED,
    REVOKED_MAX,
    Revoked,
    node_token,
    revoked_after,
)

VALUE = bytes(range(32))
OTHER = bytes(range(1, 33))
PROD = ClusterId("prod")
NODE = NodeId("n1")


def entry(kind: RevokedKind, value: bytes) -> Revocation:
    return Revocation(
        kind=kind, value=value, reason="stolen", since_epoch=1, since=UnixTime(1), until=UnixTime(0)
    )


def revoked(kind: RevokedKind, value: bytes = VALUE) -> Revoked:
    return Revoked(1, frozenset({(kind, value)}))


def verdicts(known: Revoked) -> dict[str, bool]:
    return {
        "key": known.has_key(KeyId(VALUE)),
        "node": known.has_node(PROD, NODE),
        "certificate": known.has_certificate(VALUE),
        "manifest": known.has_artifact(ManifestHash(VALUE), ContentHash(OTHER)),
        "content": known.has_artifact(ManifestHash(OTHER), ContentHash(VALUE)),
    }


def hit(known: Revoked) -> set[str]:
    return {name for name, verdict in verdicts(known).items() if verdict}


def test_nothing_is_revoked_before_the_first_list() -> None:
    assert hit(NOTHING_REVOKED) == set()
    assert NOTHING_REVOKED.version == 0


def test_an_entry_takes_away_what_its_kind_names_and_nothing_else() -> None:
    assert hit(revoked(RevokedKind.SIGNING_KEY)) == {"key"}
    assert hit(revoked(RevokedKind.CERTIFICATE)) == {"certificate"}
    assert hit(revoked(RevokedKind.MANIFEST)) == {"manifest"}
    assert hit(revoked(RevokedKind.CONTENT)) == {"content"}
    assert hit(revoked(RevokedKind.GRANT)) == set()
    assert hit(revoked(RevokedKind.NODE)) == set()
    assert hit(revoked(RevokedKind.NODE, node_token(PROD, NODE))) == {"node"}


def test_a_node_is_named_for_one_cluster() -> None:
    known = revoked(RevokedKind.NODE, node_token(PROD, NODE))
    assert not known.has_node(ClusterId("test"), NODE)
    assert not known.has_node(PROD, NodeId("n2"))


def test_names_of_cluster_and_node_cannot_slide_into_each_other() -> None:
    assert node_token(ClusterId("a"), NodeId("bc")) != node_token(ClusterId("ab"), NodeId("c"))


def test_the_effective_set_never_shrinks_within_an_epoch() -> None:
    first = revoked_after(
        NOTHING_REVOKED, 1, 3, RevocationList(entries=(entry(RevokedKind.SIGNING_KEY, VALUE),))
    )
    second = revoked_after(first, 1, 4, RevocationList(entries=()))
    assert second.has_key(KeyId(VALUE))
    assert second.version == 4


def test_the_order_of_arrival_does_not_matter() -> None:
    lists = [
        (version, RevocationList(entries=(entry(RevokedKind.SIGNING_KEY, value),)))
        for version, value in ((3, VALUE), (4, OTHER))
    ]
    forth = back = NOTHING_REVOKED
    for version, listed in lists:
        forth = revoked_after(forth, 1, version, listed)
    for version, listed in reversed(lists):
        back = revoked_after(back, 1, version, listed)
    assert forth == back
    assert forth.version == 4
    assert revoked_after(forth, 1, *lists[0]) == forth


def test_only_the_first_list_of_a_higher_epoch_starts_anew() -> None:
    """A thief of the revocation key denied much: the next epoch lifts it, an older list does not
    bring it back."""
    false = RevocationList(entries=(entry(RevokedKind.SIGNING_KEY, VALUE),))
    kept = RevocationList(entries=(entry(RevokedKind.SIGNING_KEY, OTHER),))
    stolen = revoked_after(NOTHING_REVOKED, 1, 9, false)
    healed = revoked_after(stolen, 2, 1, kept)
    assert (healed.epoch, healed.version) == (2, 1)
    assert healed.has_key(KeyId(OTHER))
    assert not healed.has_key(KeyId(VALUE))
    assert revoked_after(healed, 1, 99, false) == healed


def test_beyond_its_limit_the_union_says_that_it_is_not_whole() -> None:
    def listed(first: int, count: int) -> RevocationList:
        values = (n.to_bytes(32, "big") for n in range(first, first + count))
        return RevocationList(
            entries=tuple(entry(RevokedKind.SIGNING_KEY, value) for value in values)
        )

    full = revoked_after(NOTHING_REVOKED, 1, 1, listed(0, REVOKED_MAX))
    assert (len(full.values), full.is_full) == (REVOKED_MAX, False)
    over = revoked_after(full, 1, 2, listed(REVOKED_MAX, 1))
    assert (len(over.values), over.is_full) == (REVOKED_MAX, True)
    assert revoked_after(over, 1, 3, listed(0, 1)).is_full
    assert not revoked_after(over, 2, 1, listed(0, 1)).is_full
