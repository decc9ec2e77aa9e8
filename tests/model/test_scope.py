"""Who may know, hold and apply: audiences, assignments and namespaces, as truth tables.

The two laws that matter most: nothing crosses clusters, and no assignment crosses organisations.
"""

import pytest

from fabgossip.errors import ModelError
from fabgossip.model.scope import (
    ALL_SHARDS,
    Audience,
    Entitlements,
    Family,
    ScopeId,
    ScopeKind,
    StorageAssignment,
    audience_from_scope_ids,
    covers,
    has_prefix,
    implies_audience,
    matches,
    may_hold,
    may_share,
    parse_namespace,
    parse_scope_id,
    scope_id,
    shard_of,
    shards_of_both,
)

TYPE = "service_assignment_bundle"
P = "platform/acme-net/cluster/prod"
NAMESPACE = f"{P}/services/dns"


def audience(text: str) -> Audience:
    return audience_from_scope_ids(tuple(ScopeId(one) for one in text.split()))


def held(text: str, *assignments: StorageAssignment) -> Entitlements:
    return Entitlements(frozenset(ScopeId(one) for one in text.split()), assignments)


def assignment(text: str, shards: tuple[int, ...] | None = None) -> StorageAssignment:
    return StorageAssignment(tuple(ScopeId(one) for one in text.split()), (TYPE,), shards)


# scope ids


@pytest.mark.parametrize("kind", ScopeKind)
def test_a_scope_id_tells_its_kind_and_name(kind: ScopeKind) -> None:
    parsed = parse_scope_id(f"{kind.value}:x-1")
    assert (parsed.kind, parsed.name) == (kind, "x-1")
    assert parsed == scope_id(kind, "x-1")


@pytest.mark.parametrize(
    "text", ["", "org", "org:", ":a", "tenant:a", "Org:a", "org:A", "org:a:b", "org: a", "org:a\n"]
)
def test_a_scope_id_outside_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(ModelError):
        parse_scope_id(text)


# audiences


@pytest.mark.parametrize(
    "text",
    [
        "",
        "org:a",
        "cluster:c cluster:d",
        "cluster:c org:a org:b",
        "org:a cluster:c",
        "cluster:c role:r role:r",
        " ".join(["cluster:c", *(f"node:n{n:02}" for n in range(32))]),
    ],
)
def test_an_audience_out_of_form_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="audience"):
        audience(text)


def test_an_audience_of_32_scope_ids_is_the_largest() -> None:
    largest = audience(" ".join(["cluster:c", *(f"node:n{n:02}" for n in range(31))]))
    assert len(largest.scope_ids) == 32


def test_audiences_of_other_members_have_other_tokens() -> None:
    texts = ["cluster:c", "cluster:c org:a", "cluster:c org:b", "cluster:c org:a role:r"]
    assert len({audience(text).token for text in texts}) == len(texts)
    assert audience(texts[1]).token == audience(texts[1]).token


def test_an_audience_names_at_most_one_organisation() -> None:
    assert audience("cluster:c").org is None
    assert audience("cluster:c org:a").org == ScopeId("org:a")


MATCHES = [
    # audience, held, in the audience
    ("cluster:c", "cluster:c", True),
    ("cluster:c", "cluster:d", False),
    ("cluster:c", "org:a role:r", False),
    ("cluster:c org:a", "cluster:c org:a", True),
    ("cluster:c org:a", "cluster:c org:b", False),
    ("cluster:c org:a", "cluster:c", False),
    ("cluster:c org:a", "cluster:d org:a", False),
    ("cluster:c org:a role:r", "cluster:c org:a", False),
    ("cluster:c org:a role:r", "cluster:c role:r", False),
    ("cluster:c org:a role:r", "cluster:c org:a role:r", True),
    ("cluster:c role:r role:s", "cluster:c role:s", True),
    ("cluster:c role:r role:s", "cluster:c role:t", False),
    ("cluster:c node:n1 node:n2", "cluster:c node:n2", True),
    ("cluster:c node:n1", "cluster:c node:n2", False),
    ("cluster:c service:s", "cluster:c role:s", False),
]


@pytest.mark.parametrize(("named", "has", "expected"), MATCHES)
def test_a_node_matches_with_one_id_of_every_kind_named(
    named: str, has: str, *, expected: bool
) -> None:
    assert matches(audience(named), held(has)) is expected


COVERS = [
    # assignment, audience, covered
    ("cluster:c", "cluster:c", True),
    ("cluster:c", "cluster:d", False),
    ("cluster:c", "cluster:c role:r", True),
    ("cluster:c", "cluster:c org:a", False),  # no wildcard crosses organisations
    ("role:r", "cluster:c org:a role:r", False),
    ("service:s", "cluster:c org:a service:s", False),
    ("cluster:c org:a", "cluster:c org:a", True),
    ("cluster:c org:a", "cluster:c org:b", False),
    ("cluster:c org:a", "cluster:c", False),  # an org assignment is not the whole cluster's
    ("org:a org:b", "cluster:c org:b", True),
    ("org:a org:b", "cluster:c org:x", False),
    ("cluster:c role:r", "cluster:c", False),
    ("cluster:c role:r", "cluster:c role:r", True),
    ("cluster:c role:r", "cluster:c role:r role:s", False),  # all ids of a kind, not one
    ("cluster:c role:r role:s", "cluster:c role:r", True),
    ("org:a", "cluster:c org:a role:r service:s", True),
]


@pytest.mark.parametrize(("assigned", "named", "expected"), COVERS)
def test_an_assignment_covers_only_what_it_names(
    assigned: str, named: str, *, expected: bool
) -> None:
    one = assignment(assigned)
    assert covers(one, audience(named), TYPE, NAMESPACE) is expected
    assert may_share(audience(named), held("node:n9", one)) is expected


ORGS = [f"org:{name}" for name in ("a", "b", "c")]
REST = ["cluster:c", "role:r", "service:s", "cluster:c role:r"]


@pytest.mark.parametrize("org", ORGS)
def test_no_assignment_crosses_organisations(org: str) -> None:
    others = [scope for scope in ORGS if scope != org]
    foreign = [assignment(rest) for rest in REST]
    foreign += [assignment(f"{rest} {other}") for rest in REST for other in others]
    foreign += [assignment(" ".join(others))]
    node = held(f"cluster:c role:r service:s {' '.join(others)}", *foreign)
    for named in (f"cluster:c {org}", f"cluster:c {org} role:r", f"cluster:c {org} service:s"):
        assert not may_hold(audience(named), TYPE, NAMESPACE, node)
        assert not may_share(audience(named), node)


def test_an_assignment_covers_its_types_only() -> None:
    one = assignment("cluster:c")
    assert covers(one, audience("cluster:c"), TYPE, NAMESPACE)
    assert not covers(one, audience("cluster:c"), "update_manifest", NAMESPACE)


def test_an_assignment_covers_its_shards_only() -> None:
    mine = shard_of(NAMESPACE)
    assert covers(assignment("cluster:c", (mine,)), audience("cluster:c"), TYPE, NAMESPACE)
    other = (mine + 1) % 256
    assert not covers(assignment("cluster:c", (other,)), audience("cluster:c"), TYPE, NAMESPACE)
    assert not covers(assignment("cluster:c", ()), audience("cluster:c"), TYPE, NAMESPACE)


def test_a_node_may_hold_what_it_matches_or_what_an_assignment_covers() -> None:
    named = audience("cluster:c org:a")
    assert may_hold(named, TYPE, NAMESPACE, held("cluster:c org:a"))
    assert may_hold(named, TYPE, NAMESPACE, held("cluster:c", assignment("org:a")))
    assert not may_hold(named, TYPE, NAMESPACE, held("cluster:c", assignment("org:b")))
    assert not matches(named, held("cluster:c", assignment("org:a")))


def test_two_hold_the_shards_that_each_of_them_does() -> None:
    named = audience("cluster:c org:a")
    everything = held("cluster:c org:a"), held("cluster:c", assignment("org:a"))
    few, others = (held("cluster:c", assignment("org:a", one)) for one in ((1, 2), (2, 3)))
    assert shards_of_both(named, TYPE, few, others) == {2}
    assert shards_of_both(named, TYPE, few, held("cluster:c")) == frozenset()
    for one in everything:
        assert shards_of_both(named, TYPE, one, few) == {1, 2}
        assert shards_of_both(named, TYPE, few, one) == {1, 2}


def test_all_shards_are_one_value_and_not_one_for_every_pair() -> None:
    """Each link of each node keeps them, by audience and type."""
    named = audience("cluster:c org:a")
    member, store = held("cluster:c org:a"), held("cluster:c", assignment("org:a"))
    found = [shards_of_both(named, TYPE, one, other) for one in (member, store)
             for other in (member, store)]  # fmt: skip
    assert all(one is ALL_SHARDS for one in found)


# namespaces

FAMILIES = [
    # tail, under an organisation, family, scopes implied beside the cluster
    ("trust/bundle", None, Family.TRUST_BUNDLE, ""),
    ("trust/revocations", None, Family.TRUST_REVOCATIONS, ""),
    ("snapshots/node/n1", None, Family.SNAPSHOT_NODE, "node:n1"),
    ("snapshots/node/n1", "a", Family.SNAPSHOT_NODE, "node:n1"),
    ("snapshots/role/edge", None, Family.SNAPSHOT_ROLE, "role:edge"),
    ("snapshots/role/edge", "a", Family.SNAPSHOT_ROLE, "role:edge"),
    ("peers/scope/cluster:prod", None, Family.PEERS, ""),
    ("peers/scope/role:edge", None, Family.PEERS, "role:edge"),
    ("peers/scope/org:a", "a", Family.PEERS, ""),
    ("storage/scope/service:dns", None, Family.STORAGE, "service:dns"),
    ("storage/scope/org:a", "a", Family.STORAGE, ""),
    ("services/dns", None, Family.SERVICES, "service:dns"),
    ("services/dns/zones", None, Family.SERVICES, "service:dns"),
    ("services/dns/zones", "a", Family.SERVICES, "service:dns"),
    ("routes/r1", None, Family.ROUTES, ""),
    ("routes/r1", "a", Family.ROUTES, ""),
    ("qos/q1", None, Family.QOS, ""),
    ("qos/q1", "a", Family.QOS, ""),
    ("updates/u1", None, Family.UPDATES, ""),
    ("updates/u1", "a", Family.UPDATES, ""),
]


@pytest.mark.parametrize(("tail", "org", "family", "implied"), FAMILIES)
def test_a_namespace_is_read_into_its_parts_and_implies_its_scopes(
    tail: str, org: str | None, family: Family, implied: str
) -> None:
    text = f"{P}/{tail}" if org is None else f"{P}/org/{org}/{tail}"
    parsed = parse_namespace(text)
    assert (parsed.text, parsed.org_id, parsed.family) == (text, org, family)
    assert (parsed.platform_id, parsed.cluster_id) == ("acme-net", "prod")
    expected = {"cluster:prod", *implied.split(), *([] if org is None else [f"org:{org}"])}
    assert [scope.text for scope in parsed.implied] == sorted(expected)


FORBIDDEN = {
    "nothing": "",
    "no cluster": "platform/acme-net",
    "cluster alone": P,
    "slash behind": f"{P}/routes/r1/",
    "slash before": f"/{P}/routes/r1",
    "empty segment": f"{P}//routes/r1",
    "two dots": f"{P}/routes/..",
    "two dots in the middle": f"{P}/../routes/r1",
    "one dot": f"{P}/routes/.",
    "upper case": f"{P}/routes/R1",
    "upper case family": f"{P}/Routes/r1",
    "NUL": f"{P}/routes/r\x001",
    "newline": f"{P}/routes/r1\n",
    "percent": f"{P}/routes/%2e",
    "percent slash": f"{P}/routes/a%2fb",
    "backslash": f"{P}/routes/a\\b",
    "umlaut": f"{P}/routes/ä",
    "unknown family": f"{P}/secrets/s1",
    "family without id": f"{P}/routes",
    "segment too many": f"{P}/routes/r1/r2",
    "three service segments": f"{P}/services/dns/a/b",
    "services alone": f"{P}/services",
    "other trust": f"{P}/trust/keys",
    "below trust": f"{P}/trust/bundle/x",
    "trust of an organisation": f"{P}/org/a/trust/bundle",
    "revocations of an organisation": f"{P}/org/a/trust/revocations",
    "organisation alone": f"{P}/org/a",
    "organisation in organisation": f"{P}/org/a/org/b/routes/r1",
    "bad organisation": f"{P}/org/A/routes/r1",
    "snapshot of neither": f"{P}/snapshots/org/a",
    "scope of no kind": f"{P}/peers/scope/edge",
    "scope of another cluster": f"{P}/peers/scope/cluster:test",
    "org scope without org": f"{P}/peers/scope/org:a",
    "org scope under another org": f"{P}/org/b/peers/scope/org:a",
    "org storage under another org": f"{P}/org/b/storage/scope/org:a",
    "words swapped": "cluster/prod/platform/acme-net/routes/r1",
}


@pytest.mark.parametrize("text", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_a_namespace_outside_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(ModelError):
        parse_namespace(text)


def test_a_namespace_over_512_bytes_is_refused_for_its_length() -> None:
    with pytest.raises(ModelError, match="513 characters"):
        parse_namespace(f"{P}/routes/".ljust(513, "a"))


def test_the_longest_path_the_grammar_allows_is_within_512_bytes() -> None:
    longest = "a" * 63
    text = f"platform/{longest}/cluster/{longest}/org/{longest}/services/{longest}/{longest}"
    assert parse_namespace(text).names == (longest, longest)


def test_a_directory_namespace_tells_its_scope_and_a_node_snapshot_its_node() -> None:
    assert parse_namespace(f"{P}/peers/scope/role:edge").scope == ScopeId("role:edge")
    assert parse_namespace(f"{P}/snapshots/node/n1").scope is None
    assert parse_namespace(f"{P}/snapshots/node/n1").node_id == "n1"
    assert parse_namespace(f"{P}/snapshots/role/n1").node_id is None


IMPLIES = [
    # namespace tail, audience, agrees
    ("routes/r1", "cluster:prod", True),
    ("routes/r1", "cluster:test", False),
    ("routes/r1", "cluster:prod role:edge", True),  # other kinds may narrow
    ("routes/r1", "cluster:prod org:a", True),
    ("org/a/routes/r1", "cluster:prod org:a", True),
    ("org/a/routes/r1", "cluster:prod", False),
    ("org/a/routes/r1", "cluster:prod org:b", False),
    ("snapshots/node/n1", "cluster:prod node:n1", True),
    ("snapshots/node/n1", "cluster:prod node:n1 node:n2", False),  # no other id of a kind
    ("snapshots/node/n1", "cluster:prod", False),
    ("services/dns", "cluster:prod service:dns service:web", False),
    ("services/dns", "cluster:prod role:edge service:dns", True),
    ("peers/scope/role:edge", "cluster:prod role:core", False),
    ("peers/scope/role:edge", "cluster:prod role:edge", True),
]


@pytest.mark.parametrize(("tail", "named", "expected"), IMPLIES)
def test_namespace_and_audience_cannot_disagree(tail: str, named: str, *, expected: bool) -> None:
    assert implies_audience(parse_namespace(f"{P}/{tail}"), audience(named)) is expected


def test_a_prefix_ends_at_a_whole_segment() -> None:
    assert has_prefix(f"{P}/routes/r1", P)
    assert has_prefix(f"{P}/routes/r1", f"{P}/routes/r1")
    assert not has_prefix(f"{P}/routes/r10", f"{P}/routes/r1")
    assert not has_prefix(P, f"{P}/routes")
