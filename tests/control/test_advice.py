"""What is said of a source and of nodes that can be signed and are hardly meant."""

from dataclasses import replace

import pytest

from fabgossip.control.advice import (
    nodes_matching,
    source_warnings,
    storing_words,
    unserved_orgs,
    unstored_orgs,
)
from fabgossip.control.compiler import compile_artifacts
from fabgossip.control.enrollment import NodeRow
from fabgossip.control.sources.folder import Document, Source
from fabgossip.control.sources.policies import DEFAULT_DEGRADED
from fabgossip.model.mode import RISKS
from fabgossip.model.policy import DegradedAction, DegradedMode
from fabgossip.model.scope import parse_scope_id
from tests.control.fabric import NODES, ROUTES, STORE, bundle, given, node
from tests.trust import factory

ENDPOINT = node("control-1", roles=("control-endpoint",), stores=("acme", "cluster"))


def routes(*audience: str, namespace: str = "routes/main") -> Document:
    scopes = tuple(parse_scope_id(one) for one in audience)
    return replace(ROUTES, namespace=namespace, audience=scopes)


def warnings(*documents: Document, nodes: tuple[NodeRow, ...] = NODES) -> tuple[str, ...]:
    return source_warnings(bundle(), nodes, Source(documents=documents))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (routes("role:egde"), "no enrolled node matches role:egde (known roles: edge, member)"),
        (
            routes("role:edge", "role:egde"),
            "no enrolled node matches role:egde (known roles: edge, member)",
        ),
        (
            routes(namespace="org/acne/routes/main"),
            "no enrolled node matches org:acne (known orgs: acme)",
        ),
        (routes("role:edge", "node:n3"), "no enrolled node matches node:n3 and role:edge together"),
    ],
)
def test_a_document_for_nobody_is_told_with_who_is_known(document: Document, words: str) -> None:
    assert warnings(document)[0] == f"{document.namespace}: {words}"


@pytest.mark.parametrize(
    ("audience", "is_for_nobody"),
    [
        (("role:egde",), True),
        (("role:egde", "role:egge"), True),
        (("role:edge", "node:n3"), True),
        (("role:edge", "role:egde"), False),
    ],
)
def test_what_nobody_gets_takes_nothing_away_and_what_does_is_said(
    audience: tuple[str, ...],
    is_for_nobody: bool,  # noqa: FBT001
) -> None:
    said = [one for one in warnings(routes(*audience)) if "keeps it until it expires" in one]
    assert len(said) == is_for_nobody
    assert all("fabgossip control tombstone routes/main" in one for one in said)


def test_a_document_for_somebody_is_not_spoken_of() -> None:
    assert warnings(routes(), routes("role:edge", namespace="org/acme/routes/a")) == ()


def test_many_known_ids_are_cut_and_counted() -> None:
    nodes = tuple(node(f"n{number}") for number in range(11))
    said = warnings(routes("node:n77"), nodes=nodes)[0]
    assert said.endswith("(known nodes: n0, n1, n10, n2, n3, n4, n5, n6, and 3 more)")


def test_a_document_for_a_kind_nobody_has_says_that() -> None:
    said = warnings(routes("service:dns"), nodes=(STORE,))[0]
    assert said.endswith("matches service:dns (no service is known)")


def test_every_known_action_is_silent_and_a_slip_is_told() -> None:
    """An action nobody knows is of high risk: no policy allows that in an outage, so the table does
    nothing."""

    def said(*names: str) -> tuple[str, ...]:
        actions = tuple(DegradedAction(action=one, modes=(DegradedMode.STALE,)) for one in names)
        source = Source(degraded=replace(DEFAULT_DEGRADED, actions=actions))
        return source_warnings(bundle(), NODES, source)

    assert said(*sorted(RISKS)) == ()
    (warning,) = said("rout")
    assert warning.startswith("degraded_action rout: no known action")
    assert warning.endswith('did you mean "route"?')


def test_nodes_are_counted_as_they_would_apply_it() -> None:
    made = compile_artifacts(given(routes("role:edge"), routes(namespace="routes/all")))
    counts = {
        one.manifest.namespace.names[0]: nodes_matching(
            NODES, one.manifest.audience, factory.CLUSTER
        )
        for one in made
        if one.manifest.artifact_type is ROUTES.artifact_type
    }
    assert counts == {"main": 1, "all": 4}


def test_an_organisation_no_endpoint_stores_for_is_named_with_the_endpoint_to_change() -> None:
    row = node("n9", orgs=("acme",), stores=("cluster", "nowhere"))
    assert unserved_orgs(row, (ENDPOINT, row)) == (("nowhere", ENDPOINT),)
    assert unserved_orgs(row, (row,)) == ()
    served = replace(ENDPOINT, node_id="control-2", stores=("nowhere",))
    assert unserved_orgs(row, (ENDPOINT, served, row)) == ()


def test_the_command_that_changes_an_endpoint_takes_nothing_away_from_it() -> None:
    row = replace(ENDPOINT, orgs=("acme",), services=("dns",))
    assert storing_words(row, ["nowhere"]) == (
        "enroll control-1 --change --out FOLDER --org acme --service dns "
        "--role control-endpoint --stores acme --stores cluster --stores nowhere"
    )


def test_what_a_node_refused_names_the_organisations_it_lacks() -> None:
    documents = (
        routes(namespace="org/acme/routes/a"),
        routes("org:globex", namespace="routes/b"),
        routes(),
    )
    made = compile_artifacts(given(*documents))
    manifests = [one.manifest for one in made if one.manifest.artifact_type is ROUTES.artifact_type]
    assert len(manifests) == 3
    assert unstored_orgs(ENDPOINT, manifests) == ("globex",)
