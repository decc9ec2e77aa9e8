"""Every target on its seeds, and every input that was a finding once: the targets cannot rot.

A finding is kept as a file, whatever its name, in the folder of its target.
"""

from pathlib import Path
from random import Random

import pytest

from fabgossip.wire.packing import unpack
from tests.fuzzing import judging, living
from tests.fuzzing.mutation import mutated
from tests.fuzzing.target import INPUT_BYTES_MAX, Target
from tests.fuzzing.targets import TARGETS
from tests.trust import factory

REGRESSIONS = Path(__file__).with_name("regressions")
MUTATIONS = 20
"""Inputs made from each seed: enough that the ways to make one are walked, too few to search."""

every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())


@every_target
def test_a_target_takes_its_seeds_and_what_is_made_of_them(target: Target) -> None:
    for seed in target.seeds():
        assert len(seed) <= INPUT_BYTES_MAX
        target.run(seed)
        for number in range(MUTATIONS):
            target.run(mutated(seed, Random(number), lambda part: part[1:] + b"\x01"))


@every_target
def test_no_finding_comes_back(target: Target) -> None:
    for path in sorted((REGRESSIONS / target.name).glob("*")):
        print(path)  # noqa: T201  # names the input where this fails
        target.run(path.read_bytes())


def test_every_folder_of_findings_belongs_to_a_target() -> None:
    assert {path.name for path in REGRESSIONS.iterdir() if path.is_dir()} <= TARGETS.keys()


def test_the_seeds_reach_what_the_targets_judge() -> None:
    """A judge that believes none of its seeds proves nothing by refusing what is made of them."""
    assert all(factory.code_of(factory.admit(one)) is None for one in judging.ENVELOPES)
    believed = set()
    for seed in living.NODE.seeds():
        script = unpack(seed)
        assert isinstance(script, list)
        stage = living.Stage()
        for step in script:
            what, who, which, more, data = living.parts_of(step)
            living.STEPS[what](stage, who, which, more, data)
        believed |= {
            head.verified.manifest_hash for head in stage.story.node.view.heads_after("", 99)
        }
    assert len(believed) >= len(living.STATED) // 2


@pytest.mark.parametrize(
    ("name", "seed"),
    [("gate", judging.ENVELOPES[0]), ("bootstrap", judging.PINNED), ("leaf", judging.LEAF)],
)
def test_a_target_finds_what_is_believed_without_having_been_signed(
    monkeypatch: pytest.MonkeyPatch, name: str, seed: bytes
) -> None:
    monkeypatch.setattr(judging, "SIGNED", frozenset())
    monkeypatch.setattr(judging, "SIGNED_LEAVES", frozenset())
    with pytest.raises(AssertionError):
        TARGETS[name].run(seed)
