"""No check without a test that misses it: the table the command wrote is whole and up to date."""

import ast

import pytest

from tests.mutation.killers import known_killers
from tests.mutation.mutants import CANARY, HARMLESS, Mutant, every_mutant, tree_of

ENTRIES = [one for one in every_mutant() if one.is_entry]


@pytest.mark.parametrize("mutant", ENTRIES, ids=lambda one: one.name)
def test_a_test_turns_red_without_this_check(mutant: Mutant) -> None:
    """If not: `python -m tests.mutation --only NAME --write`, and where it survives, a test."""
    assert mutant.name in known_killers()


def test_no_two_checks_have_one_name() -> None:
    names = [one.name for one in every_mutant()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("mutant", [CANARY, *every_mutant()], ids=lambda one: one.name)
def test_every_mutant_is_another_program(mutant: Mutant) -> None:
    tree = tree_of(mutant.module)
    before = ast.unparse(tree)
    mutant.edit(tree)
    assert ast.unparse(ast.fix_missing_locations(tree)) != before


def test_the_harmless_mutant_is_the_same_program() -> None:
    tree = tree_of(HARMLESS.module)
    before = ast.unparse(tree)
    HARMLESS.edit(tree)
    assert ast.unparse(tree) == before
