"""Claims met before: what is remembered of a node never sinks, and of how many nodes is bounded."""

from dataclasses import replace

import pytest

from fabgossip.core.claims_seen import ClaimsSeen
from fabgossip.model.authority import NodeClaims
from fabgossip.model.ids import NodeId
from tests.trust import factory


def claims(version: int, *, epoch: int = 2, name: str = "n1") -> NodeClaims:
    return replace(
        factory.claims(factory.OPENINGS),
        node_id=NodeId(name),
        authority_epoch=epoch,
        claims_version=version,
    )


def test_older_claims_taken_up_late_bring_nothing_back() -> None:
    seen = ClaimsSeen()
    seen.on_taken_up(claims(5))
    seen.on_taken_up(claims(4))
    assert seen.is_older(claims(4))
    assert seen.is_known(claims(5))
    assert not seen.is_known(claims(6))
    assert not seen.is_older(claims(1, epoch=3))


def test_beyond_the_limit_who_was_seen_longest_ago_is_new_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fabgossip.core.claims_seen.CLAIMS_SEEN_MAX", 2)
    seen = ClaimsSeen()
    for name in ("n1", "n2", "n1", "n3"):
        seen.on_taken_up(claims(5, name=name))
        seen.check()
    known = [name for name in ("n1", "n2", "n3") if seen.is_known(claims(5, name=name))]
    assert known == ["n1", "n3"]
