"""Every attack on links, peers and the node itself has the test the threat model names: `a::b` is
`test_a.py::test_b`.

The list of attacks on signatures, order and content is held by `test_table.py`.
"""

import ast
from pathlib import Path
from typing import Final

import pytest

NAMED: Final = (
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
    "clock::no_authority_from_time",
    "amnesia::deny_until_fresh",
    "crash_points::old_or_new",
    "audit::tampering",
)
FOLDER: Final = Path(__file__).parent


@pytest.mark.parametrize("name", NAMED)
def test_every_named_attack_has_its_test(name: str) -> None:
    module, _, test = name.partition("::")
    tree = ast.parse((FOLDER / f"test_{module}.py").read_text("utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    assert f"test_{test}" in {one.name for one in tree.body if isinstance(one, kinds)}


def test_every_attacker_has_its_powers_told() -> None:
    """A test without the powers of its attacker proves nothing about them."""
    for module in {name.partition("::")[0] for name in NAMED}:
        told = ast.get_docstring(ast.parse((FOLDER / f"test_{module}.py").read_text("utf-8")))
        assert told is not None
        assert "attacker" in told or "Powers: " in told, module
