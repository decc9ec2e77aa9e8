"""The state folder and the pinned bundle: other roots only on the operator's word, and above it."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fabgossip.daemon.config import TrustTable
from fabgossip.daemon.pinning import settle_pin
from fabgossip.errors import ConfigError
from fabgossip.model.artifact import Order
from fabgossip.model.authority import TrustBundle
from fabgossip.model.ids import ManifestHash, NodeId
from fabgossip.model.persistence import PutFloor, PutMemory, PutTrust, StoredTrust
from fabgossip.storage.index import NodeIndex
from fabgossip.trust.bundle import PinnedTrust
from fabgossip.wire.contents import bundle_bytes
from tests.trust import factory

OLD, NEW = "a" * 64, "b" * 64
BUNDLE = factory.BUNDLE
OTHER_ROOTS = tuple(factory.signer(f"new root {one}") for one in range(3))
LATER_EPOCH = BUNDLE.authority_epoch + 1
REPLACEMENT = replace(factory.bundle(OTHER_ROOTS), bundle_version=1, authority_epoch=LATER_EPOCH)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[NodeIndex]:
    """Of a node that pinned `BUNDLE` and has followed it to the next."""
    with closing(NodeIndex(tmp_path / "index.sqlite")) as made:
        made.open(NodeId("n1"))
        assert not settle(made, BUNDLE, OLD)
        made.begin()
        step = PutTrust(version=4, envelope=b"4", content=bundle_bytes(factory.NEXT_BUNDLE))
        floor = PutFloor(
            namespace="x",
            order=Order(BUNDLE.authority_epoch, 9),
            manifest_hash=ManifestHash(bytes(32)),
        )
        made.commit((step, floor, PutMemory(is_whole=True)))
        yield made


def settle(index: NodeIndex, bundle: TrustBundle, sha256: str, rebootstrap: str = "") -> bool:
    manifest = factory.bundle_manifest(bundle)
    pinned = PinnedTrust(bundle=bundle, manifest=manifest, manifest_hash=ManifestHash(bytes(32)))
    table = TrustTable(bootstrap="b", bootstrap_sha256=sha256, rebootstrap=rebootstrap)
    return settle_pin(table, pinned, index)


@pytest.mark.parametrize(
    "bundle",
    [BUNDLE, factory.NEXT_BUNDLE, replace(BUNDLE, bundle_version=7)],
    ids=["the same", "a step of the chain", "a later one of the same roots"],
)
def test_a_bundle_of_the_same_line_keeps_the_chain(index: NodeIndex, bundle: TrustBundle) -> None:
    assert not settle(index, bundle, OLD if bundle is BUNDLE else NEW)
    assert [one.version for one in index.trust_chain()] == [4]
    assert index.begin().is_whole


@pytest.mark.parametrize(
    "bundle",
    [
        REPLACEMENT,
        replace(factory.NEXT_BUNDLE, protocol_min=2),
        replace(BUNDLE, bundle_version=7, root_threshold=3),
    ],
    ids=["other roots", "the other side of a fork", "another threshold"],
)
@pytest.mark.parametrize("word", ["", NEW])
def test_another_line_is_refused_without_the_operators_word(
    index: NodeIndex, bundle: TrustBundle, word: str
) -> None:
    with pytest.raises(ConfigError, match=f"made under another bundle, SHA-256 {OLD}"):
        settle(index, bundle, NEW, word)
    kept = index.pin()
    assert kept is not None
    assert kept.fingerprint == OLD
    assert [one.version for one in index.trust_chain()] == [4]


def test_on_the_operators_word_the_chain_goes_and_the_floors_stay(index: NodeIndex) -> None:
    assert settle(index, REPLACEMENT, NEW, OLD)
    assert index.trust_chain() == ()
    assert [one.order for one in index.floors()] == [Order(BUNDLE.authority_epoch, 9)]
    assert not index.begin().is_whole
    assert not settle(index, REPLACEMENT, NEW, OLD)


def test_it_happens_once(index: NodeIndex) -> None:
    """The setting may stay: the chain grown since is not dropped again."""
    settle(index, REPLACEMENT, NEW, OLD)
    step = StoredTrust(version=2, envelope=b"2", content=b"2")
    index.commit((PutTrust(version=2, envelope=b"2", content=b"2"),))
    settle(index, REPLACEMENT, NEW, OLD)
    assert index.trust_chain() == (step,)


def test_an_epoch_that_was_seen_is_not_above_it(index: NodeIndex) -> None:
    """What the old roots signed would outrank the new: the operator is told the epoch to name."""
    seen = replace(REPLACEMENT, authority_epoch=BUNDLE.authority_epoch)
    with pytest.raises(ConfigError, match=f"init --epoch {LATER_EPOCH} "):
        settle(index, seen, NEW, OLD)
    assert [one.version for one in index.trust_chain()] == [4]


def test_a_chain_that_is_damaged_is_no_excuse(index: NodeIndex) -> None:
    index.commit((PutTrust(version=5, envelope=b"5", content=b"broken"),))
    with pytest.raises(ConfigError, match="another bundle"):
        settle(index, REPLACEMENT, NEW)
