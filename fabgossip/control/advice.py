"""What can be signed and is hardly what was meant: said with what to type instead, never refused.

A misspelt id in an audience keeps a configuration from everybody; an organisation that no
control endpoint stores for keeps `publish` from ever ending well. Neither is a fault of the input:
roles are named before there are nodes that have them.
"""

import difflib
from collections.abc import Iterable
from typing import Final

from fabgossip.control.drafts import audience_of, namespace_of
from fabgossip.control.enrollment import NodeRow, entitlements_of
from fabgossip.control.sources.folder import Source
from fabgossip.model.artifact import Manifest
from fabgossip.model.authority import CONTROL_ENDPOINT_ROLE, TrustBundle
from fabgossip.model.mode import RISKS
from fabgossip.model.scope import Audience, ScopeId, ScopeKind, matches

KNOWN_MAX: Final = 8
"""As many known ids are named beside one that nobody has (*start*)."""


_KEPT: Final = (
    "nobody gets this version, and who has an earlier one keeps it until it expires; what takes it "
    "away is fabgossip control tombstone {}"
)


def nodes_matching(nodes: Iterable[NodeRow], audience: Audience, cluster_id: str) -> int:
    """How many nodes an artifact of this audience is for. Cost: O(nodes)."""
    return sum(matches(audience, entitlements_of(row, cluster_id)) for row in nodes)


def source_warnings(
    bundle: TrustBundle, nodes: tuple[NodeRow, ...], source: Source
) -> tuple[str, ...]:
    """What of a source that compiles reaches no enrolled node, or allows nothing; in its order."""
    held = {one for row in nodes for one in entitlements_of(row, bundle.cluster_id).scope_ids}
    warnings = []
    for document in source.documents:
        audience = audience_of(namespace_of(bundle, document.namespace), document.audience)
        strange = [one for one in audience.scope_ids if one not in held]
        for one in strange:
            words = f"no enrolled node matches {one.text} ({_known(one, held)})"
            warnings.append(f"{document.namespace}: {words}")
        if nodes_matching(nodes, audience, bundle.cluster_id):
            continue
        if not strange and nodes:
            ids = " and ".join(
                one.text for one in audience.scope_ids if one.kind is not ScopeKind.CLUSTER
            )
            warnings.append(f"{document.namespace}: no enrolled node matches {ids} together")
        if strange or nodes:
            warnings.append(f"{document.namespace}: {_KEPT.format(document.namespace)}")
    for action in source.degraded.actions:
        if action.action not in RISKS:
            warnings.append(_unknown_action(action.action))
    return tuple(warnings)


def _known(strange: ScopeId, held: set[ScopeId]) -> str:
    names = sorted(one.name for one in held if one.kind is strange.kind)
    kind = strange.kind.value
    if not names:
        return f"no {kind} is known"
    more = f", and {len(names) - KNOWN_MAX} more" if len(names) > KNOWN_MAX else ""
    return f"known {kind}s: {', '.join(names[:KNOWN_MAX])}{more}"


def _unknown_action(name: str) -> str:
    near = difflib.get_close_matches(name, RISKS, n=1)
    meant = f'did you mean "{near[0]}"?' if near else f"known actions: {', '.join(RISKS)}"
    return (
        f"degraded_action {name}: no known action, so of high risk, which no policy allows in an "
        f"outage; {meant}"
    )


def unserved_orgs(row: NodeRow, nodes: Iterable[NodeRow]) -> tuple[tuple[str, NodeRow], ...]:
    """Organisations a node brings that no control endpoint stores for, each with the endpoint to
    change. Nothing while no endpoint is enrolled: there is nobody to change yet."""
    endpoints = [one for one in nodes if CONTROL_ENDPOINT_ROLE in one.roles]
    served = {name for one in endpoints for name in one.stores}
    brought = sorted({*row.orgs, *row.stores} - served - {"cluster"})
    return tuple((org, endpoints[0]) for org in brought if endpoints)


def unstored_orgs(row: NodeRow, manifests: Iterable[Manifest]) -> tuple[str, ...]:
    """Organisations of these artifacts that a node does not store for, ascending."""
    scopes = {scope for one in manifests for scope in one.audience.scope_ids}
    orgs = {one.name for one in scopes if one.kind is ScopeKind.ORG}
    return tuple(sorted(orgs - set(row.stores)))


def near_word(word: str, known: Iterable[str]) -> str:
    """What was meant by a word that names nothing: the nearest of those that do, or some of them;
    nothing where there are none."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    more = f", and {len(names) - KNOWN_MAX} more" if len(names) > KNOWN_MAX else ""
    return f"; known: {', '.join(names[:KNOWN_MAX])}{more}" if names else ""


def storing_words(row: NodeRow, orgs: Iterable[str]) -> str:
    """What of `fabgossip control` lets a node store for further organisations: `--change` takes
    away whatever it does not name."""
    words = ["enroll", row.node_id, "--change --out FOLDER"]
    words += [f"--org {one}" for one in row.orgs]
    words += [f"--service {one}" for one in row.services]
    words += [f"--role {one}" for one in row.roles]
    words += [f"--stores {one}" for one in sorted({*row.stores, *orgs})]
    return " ".join(words)
