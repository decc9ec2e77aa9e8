"""Inputs are made as the fuzzer needs them: the same from one seed, and not only refused ones."""

from random import Random

import msgpack
import pytest

from fabgossip.errors import WireError
from fabgossip.wire.packing import unpack
from tests.fuzzing import der, mutation
from tests.fuzzing.judging import LEAF
from tests.wire.samples import ENVELOPE, SAMPLES, code_when_read

SEEDS = range(200)


def tail(part: bytes) -> bytes:
    """A blind change that takes no chance."""
    return part[1:] + b"\x01"


def test_the_same_seed_makes_the_same_input() -> None:
    made = [mutation.mutated(ENVELOPE, Random(seed), tail) for seed in SEEDS]
    assert made == [mutation.mutated(ENVELOPE, Random(seed), tail) for seed in SEEDS]
    assert len(set(made)) > len(SEEDS) // 2


def test_of_every_format_something_else_is_made_that_is_read() -> None:
    """Formats of one value only apart: those have too few others."""
    for sample in SAMPLES:
        made = [mutation.mutated(sample.data, Random(seed), tail) for seed in SEEDS]
        read = {one for one in made if code_when_read(sample.parse, one) is None}
        assert read - {sample.data} or len(sample.data) < 8, sample.name


def test_longer_forms_hold_the_same_value_and_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutation, "LONG_ONE_IN", 1)
    monkeypatch.setattr(mutation, "CHANGES", (0,))
    longer = [mutation.mutated(ENVELOPE, Random(seed), lambda part: part) for seed in SEEDS]
    assert {str(msgpack.unpackb(one)) for one in longer} == {str(unpack(ENVELOPE))}
    for one in set(longer) - {ENVELOPE}:
        with pytest.raises(WireError, match="NONCANONICAL"):
            unpack(one)


def test_a_certificate_is_made_of_its_parts_again() -> None:
    (whole,) = der.parts_of(LEAF) or []
    assert der.der_of([whole]) == LEAF
    assert len(der.parts_of(whole[1]) or []) == 3
    assert der.parts_of(LEAF[:-1]) is None
    made = [der.changed([whole], Random(seed)) for seed in SEEDS]
    assert all(der.parts_of(one) is not None for one in made)
