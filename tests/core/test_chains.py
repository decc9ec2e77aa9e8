"""Attempts to assemble: one of a namespace, one assembly at a time, all of them bounded."""

from dataclasses import replace

from fabgossip.core.chains import (
    ANNOUNCERS_MAX,
    ATTEMPTS_MAX,
    ENDED_MAX,
    SET_ASIDE_MAX,
    Chains,
    Gap,
    Stage,
)
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.ids import ManifestHash, NodeId
from fabgossip.model.moment import Instant
from fabgossip.model.scope import parse_namespace
from tests.core.chained import snapshot_of, step
from tests.trust import factory

BASE = snapshot_of(5).manifest
START = Instant(0)


def head(number: int) -> VerifiedManifest:
    """The head of one of many namespaces."""
    namespace = parse_namespace(f"{factory.PREFIX}/snapshots/role/r{number}")
    one = snapshot_of(6).verified
    return replace(one, manifest=replace(one.manifest, namespace=namespace))


def test_attempts_beyond_the_limit_do_not_begin() -> None:
    chains = Chains()
    for number in range(ATTEMPTS_MAX):
        assert chains.begin(head(number), BASE, None, START) is not None
    assert chains.begin(head(ATTEMPTS_MAX), BASE, None, START) is None
    again = chains.begin(head(3), BASE, None, START)
    assert again is not None, "it takes the place of the one there is"
    chains.on_overtaken(again)
    assert chains.begin(head(ATTEMPTS_MAX), BASE, None, START) is not None
    chains.check()


def test_one_assembly_is_under_way_and_the_oldest_is_next() -> None:
    chains = Chains()
    attempts = [chains.begin(head(number), BASE, None, START) for number in range(3)]
    for one in reversed(attempts):
        assert one is not None
        chains.enter(one, Stage.WAITING)
    first = chains.next_assembly()
    assert first is attempts[0]
    assert chains.next_assembly() is None
    assert chains.on_built(snapshot_of(9).content_hash) is None, "another content frees nothing"
    assert chains.next_assembly() is None
    assert first is not None
    assert chains.on_built(first.head.manifest.content_hash) is first
    chains.on_assembled(first)
    assert chains.next_assembly() is attempts[1]
    chains.check()


def test_an_assembly_nobody_waits_for_any_more_frees_the_place_as_well() -> None:
    chains = Chains()
    attempt = chains.begin(head(1), BASE, None, START)
    assert attempt is not None
    chains.enter(attempt, Stage.WAITING)
    assert chains.next_assembly() is attempt
    chains.on_overtaken(attempt)
    assert chains.on_built(attempt.head.manifest.content_hash) is None
    other = chains.begin(head(2), BASE, None, START)
    assert other is not None
    chains.enter(other, Stage.WAITING)
    assert chains.next_assembly() is other


def test_what_ended_is_told_until_there_is_too_much_of_it() -> None:
    chains = Chains()
    for number in range(ENDED_MAX + 1):
        attempt = chains.begin(head(number), BASE, None, START)
        assert attempt is not None
        chains.on_gap(attempt, Gap.TIMEOUT, "why")
    assert chains.told(head(0).manifest.namespace.text) is None
    last = chains.told(head(ENDED_MAX).manifest.namespace.text)
    assert last is not None
    assert (last.outcome, last.detail) == ("timeout", "why")
    assert chains.snapshot().gaps == (("timeout", ENDED_MAX + 1),)


def test_what_was_set_aside_is_remembered_up_to_a_limit() -> None:
    chains, one = Chains(), step(6).verified
    for number in range(SET_ASIDE_MAX + 1):
        chains.set_aside(replace(one, manifest_hash=ManifestHash(number.to_bytes(32, "big"))))
    kept = [
        chains.is_set_aside(ManifestHash(number.to_bytes(32, "big")))
        for number in range(SET_ASIDE_MAX + 1)
    ]
    assert kept == [False] + [True] * SET_ASIDE_MAX


def test_who_told_is_remembered_up_to_a_limit() -> None:
    chains = Chains()
    attempt = chains.begin(head(1), BASE, None, START)
    assert attempt is not None
    names = [NodeId(f"n{number}") for number in range(ANNOUNCERS_MAX + 1)]
    for name in (*names, names[-1]):
        attempt.on_announced(name)
    assert list(attempt.announcers) == names[1:]
    chains.check()
