"""A scenario file is refused whole, with every problem by its dotted path."""

import pytest

from fabgossip.errors import ScenarioError
from fabgossip.model.messages import SPOKEN
from fabgossip.sim.scenario import Through, parse_scenario
from tests.sim.factory import FIVE, HEAD, OFTEN, ROUTES, SEVEN, TOPOLOGY, scenario


def problems(*parts: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario("\n".join(parts), "f.toml")
    assert caught.value.exit_code == 78
    return [line.removeprefix("f.toml: ") for line in str(caught.value).splitlines()]


def test_every_problem_of_form_is_told_at_once() -> None:
    lines = problems(
        HEAD,
        'seeds = ["one"]\nphases = { quit = "1s" }',
        'nemesis = [{ kind = "cut", at = "1s", fro = "2s", between = ["eu", "us"] }]',
        TOPOLOGY,
        FIVE.replace("count = 3", "count = 0"),
    )
    paths = [line.partition(": ")[0] for line in lines]
    assert sorted(paths) == [
        "nemesis[0].for",
        "nemesis[0].fro",
        "phases.quit",
        "seeds[0]",
        "topology.group[1].count",
    ]
    assert 'did you mean "quiet"?' in next(line for line in lines if "quit" in line)


def test_every_problem_of_meaning_is_told_at_once() -> None:
    lines = problems(
        HEAD.replace("redial_min_ms", "redial_min"),
        'phases = { quiet = "soon", faults = "5s" }',
        "publication = [",
        ROUTES.replace("2KiB", "2kb").replace("routes/core", "qos/core") % "nobody",
        "]",
        'act = [{ kind = "explode", at = "1s", node = "far-9" }]',
        'nemesis = [{ kind = "cut", at = "1s", for = "1x", between = ["eu", "mars"] }]',
        TOPOLOGY.replace('"10ms"', '"10"'),
        FIVE,
    )
    assert sorted(line.partition(": ")[0] for line in lines) == [
        "act[0].kind",
        "act[0].node",
        "config.neighbors.redial_min",
        "nemesis[0].between",
        "nemesis[0].for",
        "phases.quiet",
        "publication[0].namespace",
        "publication[0].size",
        "publication[0].through",
        "topology.link[0].rtt",
    ]


@pytest.mark.parametrize(
    ("kind", "lacking"),
    [("pin", {"node", "publication"}), ("equivocate", {"publication"}), ("crash", {"node"})],
)
def test_an_act_is_told_whom_and_what_it_befalls(kind: str, lacking: set[str]) -> None:
    lines = problems(HEAD, f'act = [{{ kind = "{kind}", at = "1s" }}]', TOPOLOGY, FIVE)
    assert lines == [f"act[0].{one}: {kind} needs one" for one in sorted(lacking)]


def test_a_node_is_of_this_build_or_the_next() -> None:
    mixed = SEVEN.replace('orgs = "one"', 'wire = "n+1", orgs = "one"')
    spoken = {str(one.node_id): one.protocols for one in scenario(TOPOLOGY, mixed).nodes}
    assert spoken["store-0"] == SPOKEN
    assert (spoken["edge-0"].lowest, spoken["edge-0"].highest) == (1, 2)
    (line,) = problems(HEAD, TOPOLOGY, mixed.replace("n+1", "n+9"))
    assert line == "topology.group[2].wire: 'n+9' is none of n, n+1"


def test_nodes_stand_in_order_of_their_ids_and_in_turn_in_regions_and_organisations() -> None:
    made = scenario(TOPOLOGY, SEVEN)
    rows = [(one.index, one.node_id, one.place.region, one.orgs) for one in made.nodes]
    assert rows[:3] == [
        (1, "control-0", "eu", ()),
        (2, "edge-0", "eu", ("acme",)),
        (3, "edge-1", "us", ("zed",)),
    ]


def test_whom_a_publication_goes_through_is_a_group_or_drawn_from_one() -> None:
    of_a_group = f"publication = [{ROUTES % 'store'}]"
    drawn = of_a_group.replace('"store"', '{ group = "*", pick = "one" }')
    made = [scenario(one, TOPOLOGY, FIVE).publications[0] for one in (of_a_group, drawn)]
    assert [one.through for one in made] == [
        Through(group="store", is_drawn=False), Through(group="*", is_drawn=True),
    ]  # fmt: skip
    (line,) = problems(HEAD, drawn.replace('"one"', '"most"'), TOPOLOGY, FIVE)
    assert line.startswith("publication[0].through.pick: ")


def test_a_publication_repeats_until_its_end() -> None:
    made = scenario(OFTEN, TOPOLOGY, SEVEN)
    assert [len(one.at_ns) for one in made.publications] == [14, 3]
    assert made.publications[1].at_ns == (11 * 10**9, 15 * 10**9, 19 * 10**9)


def test_settings_have_the_daemons_own_names() -> None:
    assert scenario(TOPOLOGY, FIVE).config.neighbors.redial_min_ms == 200


SNAPSHOT = (
    '{ name = "snap", type = "cluster_snapshot", namespace = "snapshots/role/edge", '
    'size = "5MiB", at = "20s", through = "store" }'
)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (("seeds = []",), "seeds: names none, so a sweep would run nothing"),
        (('proves = ["S1", "S99"]',), "proves: 'S99' is none of S1, S2"),
        ((f"publication = [{ROUTES % 'store'}, {ROUTES % 'store'}]",),
         "publication: two have the name 'routes'"),
        ((f"publication = [{ROUTES % 'store'}, {ROUTES.replace('routes', 'more', 1) % 'store'}]",),
         "publication: two have the namespace 'routes/core'"),
        ((f"publication = [{ROUTES.replace('2KiB', '17MiB') % 'store'}]",),
         "publication[0].size: 17825792 bytes, route_policy_bundle may have 16777216"),
        (('worlds = { differ = ["snap"], observers = ["far"] }', f"publication = [{SNAPSHOT}]"),
         "publication[0].size: 10485760 bytes, cluster_snapshot may have 8388608"),
    ],
)  # fmt: skip
def test_what_could_show_nothing_is_refused(parts: tuple[str, ...], told: str) -> None:
    lines = problems(HEAD, *parts, TOPOLOGY, FIVE)
    assert any(told in line for line in lines), lines


def test_what_fits_its_type_is_taken() -> None:
    assert (
        scenario(f"publication = [{SNAPSHOT}]", TOPOLOGY, FIVE).publications[0].size_max == 5 << 20
    )
