"""Every attack the threat model names has the test it names: `a::b` is `test_a.py::test_b`.

A test that is renamed is renamed here too, so no attack loses its proof unseen.
"""

import ast
from pathlib import Path
from typing import Final

import pytest

NAMED: Final = (
    "signatures::refused_for_each_type",
    "type_confusion::every_pair",
    "signatures::one_key_counts_once",
    "signatures::flood_costs_nothing",
    "signatures::weak_keys",
    "bootstrap::silent_on_bad_root",
    "bootstrap::poisoned_store",
    "succession::every_rotation",
    "succession::exactly_next",
    "succession::fork_heals",
    "drill::stolen_keys",
    "rollback::never_down",
    "rollback::no_trace",
    "rollback::fast_forward",
    "freeze::stale_on_time",
    "mix_match::listing_decides",
    "increments::only_the_listed_result",
    "history::listed_or_chained",
    "equivocation::order_independent",
    "context::epoch_and_cluster",
    "substitution::never_visible",
    "golden::old_and_extended",
    "withholding::each_piece",
    "eclipse::not_fooled",
    "paths::nothing_outside",
    "endless::cut_at_signed_size",
    "slow::each_stage",
    "encoding::bombs",
    "confused_deputy::two_orgs",
    "rights::order_is_irrelevant",
    "storage_node::cannot_author",
    "authorization::fails_closed",
    "grants::misuse",
    "claims::forgery",
    "probing::answers_look_alike",
    "disclosure::two_worlds",
    "disclosure::unwanted_push",
    "advertising::false_word",
    "identity::leaf_table",
    "identity::sybil_and_clone",
    "live_links::revoked_is_cut",
    "live_links::no_downgrade",
    "revocation::asymmetry",
    "clock::no_authority_from_time",
    "amnesia::deny_until_fresh",
    "crash_points::old_or_new",
    "audit::tampering",
)
MODULES: Final = sorted({name.partition("::")[0] for name in NAMED})
FOLDER: Final = Path(__file__).parent


def parsed(module: str) -> ast.Module:
    return ast.parse((FOLDER / f"test_{module}.py").read_text("utf-8"))


@pytest.mark.parametrize("name", NAMED)
def test_every_named_attack_has_its_test(name: str) -> None:
    module, _, test = name.partition("::")
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    assert f"test_{test}" in {one.name for one in parsed(module).body if isinstance(one, kinds)}


@pytest.mark.parametrize("module", MODULES)
def test_every_attack_says_what_the_attacker_can_do(module: str) -> None:
    """A test without the powers of its attacker proves nothing about them."""
    said = ast.get_docstring(parsed(module)) or ""
    assert "Powers: " in said or "The attacker " in said
