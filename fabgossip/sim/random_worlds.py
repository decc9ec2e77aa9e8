"""A scenario drawn whole from a seed, for two worlds that must look alike to its observers.

Decides: organisations, roles, places, distances, publications, faults, the hostile prober; which
organisation is hidden, and from whom.
Keeps: the same seed gives the same text, and one more draw of one kind shifts none of another;
nothing is drawn that couples audiences by design (`worlds.py`), and what differs is published for
audiences that are in use in both worlds.
Must not know: how a scenario is run, how the other world differs.
"""

from typing import Final

from fabgossip.sim.streams import Stream, Streams

RANDOM: Final = "random"
"""The name of every such scenario."""
ORGS: Final = ("acme", "elm", "oak", "zed")
SERVICES: Final = ("dns", "vpn")
REGIONS: Final = ("ap", "eu", "us")
HONEST_OBSERVERS: Final = 4
"""And a hostile one."""
FAULTS_MS: Final = 11_000
HEALS_MS: Final = 20_000
FAULTS_MAX: Final = 3
FAULTS: Final = (
    ("isolate", ""),
    ("isolate", 'with = { direction = "in" }'),
    ("partition", ""),
    ("reset", ""),
    ("latency", 'with = { add = "30ms" }'),
    ("wall_step", "with = { by = 40 }"),
    ("crash", ""),
    ("pause", ""),
)
"""None that draws for each packet or counts bytes: what is hidden would shift the draws and the
counts of what is not (`loss`, `slow_reader`, `disk_full`). And none that ends a link for who says
something on it: whatever is said first ends it for all (`half_open`)."""
STOPPING: Final = ("crash", "pause")
"""Of edge nodes only: the control plane hands out one thing after the other, so what is hidden and
cannot be handed out would hold up what is not."""


def random_scenario_text(seed: int) -> str:
    """The scenario file of a seed."""
    drawn = _Drawn(Streams(seed))
    return "\n".join(
        (
            "schema = 1",
            f'name = "{RANDOM}"',
            f'title = "A world drawn from seed {seed}"',
            'proves = ["S1", "S4"]',
            f"seeds = [{seed}]",
            'phases = { start = "7s", quiet = "4s", faults = "9s", heal = "3s", liveness = "4s" }',
            f"publication = [\n{_lines(drawn.publications())}\n]",
            f"act = [\n{_lines(drawn.acts())}\n]",
            f"nemesis = [\n{_lines(drawn.faults())}\n]",
            drawn.worlds(),
            "[topology]",
            *drawn.topology(),
            "",
        )
    )


def _lines(rows: list[str]) -> str:
    return "\n".join(f"  {{ {row} }}," for row in rows)


class _Drawn:
    """All draws of one seed."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        orgs = self._of("orgs")
        count = 2 + orgs.below(2)
        self._orgs = tuple(sorted(_some(ORGS, count, orgs)))
        services = self._of("services")
        self._services = {one: _some(SERVICES, 1 + services.below(2), services) for one in ORGS}
        hidden = self._of("hidden")
        self._hidden, self._seeing = _some(self._orgs, 2, hidden)
        self._has_db = hidden.below(2) == 1
        """Whether a role is hidden as well."""
        regions = self._of("regions")
        self._regions = tuple(sorted(_some(REGIONS, 1 + regions.below(3), regions)))
        self._secrets: list[str] = []

    def _of(self, name: str) -> Stream:
        return self._streams.of(f"random/{name}")

    def publications(self) -> list[str]:
        """What all may know, what the observers may, and what they may not."""
        hidden, own = f"org/{self._hidden}", f"org/{self._seeing}"
        service = self._services[self._hidden][0]
        only = f'audience = ["service:{service}"], '
        rows = [
            self._routes("open", "routes/open"),
            self._routes("own", f"{own}/routes/own"),
            self._first("secret-first", f"{hidden}/routes/first"),
            self._first("served-first", f"{hidden}/routes/served-first", only),
            self._secret("secret", f"{hidden}/routes/secret"),
            self._secret(
                "served", f"{hidden}/services/{service}", kind="service_assignment_bundle"
            ),
        ]
        if self._has_db:
            role = 'audience = ["role:db"], '
            rows.append(self._first("db-first", "qos/db-first", role, kind="qos_policy_bundle"))
            rows.append(self._secret("db", "qos/db", role, kind="qos_policy_bundle"))
        return rows

    def _first(
        self, name: str, namespace: str, audience: str = "", kind: str = "route_policy_bundle"
    ) -> str:
        """Early, in both worlds: the directories declare its audience from then on."""
        at_ms = 3_500 + self._of(f"publication/{name}").below(1_500)
        return _publication(name, kind, namespace, f'{audience}size = "600B", at = "{at_ms}ms"')

    def _secret(
        self, name: str, namespace: str, audience: str = "", kind: str = "route_policy_bundle"
    ) -> str:
        self._secrets.append(name)
        return self._routes(name, namespace, audience, kind)

    def _routes(
        self, name: str, namespace: str, audience: str = "", kind: str = "route_policy_bundle"
    ) -> str:
        chance = self._of(f"publication/{name}")
        at_ms, every_ms = 6_000 + chance.below(3_000), 700 + chance.below(4_000)
        sizes = ["400B", ("3KiB", "20KiB", "150KiB")[chance.below(3)]]
        times = f'at = "{at_ms}ms", every = "{every_ms}ms", until = "{HEALS_MS}ms"'
        return _publication(name, kind, namespace, f"{audience}size = {_toml(sizes)}, {times}")

    def acts(self) -> list[str]:
        """Sometimes what is hidden is withdrawn."""
        rows = []
        for name in self._secrets:
            chance = self._of(f"act/{name}")
            at_ms = HEALS_MS + chance.below(2_000)
            if chance.below(3) == 0:
                rows.append(f'kind = "tombstone", at = "{at_ms}ms", publication = "{name}"')
        return rows

    def faults(self) -> list[str]:
        """A few, of any node."""
        chance = self._of("faults")
        rows = []
        for _ in range(chance.below(FAULTS_MAX + 1)):
            kind, parameters = FAULTS[chance.below(len(FAULTS))]
            at_ms, lasts_ms = FAULTS_MS + chance.below(6_000), 500 + chance.below(4_000)
            pick = ("one", "minority")[chance.below(2)]
            edge = 'role = "edge", ' if kind in STOPPING else ""
            rows.append(
                f'kind = "{kind}", at = "{at_ms}ms", for = "{lasts_ms}ms", '
                f'select = {{ {edge}pick = "{pick}" }}' + (parameters and f", {parameters}")
            )
        return rows

    def worlds(self) -> str:
        """What differs, and who must not notice."""
        return f'worlds = {{ differ = {_toml(self._secrets)}, observers = ["seeing", "probe"] }}'

    def topology(self) -> list[str]:
        """Who there is, and how far apart."""
        chance = self._of("distances")
        near_ms, far_ms, spread_ms = (
            1 + chance.below(5), 20 + chance.below(100), chance.below(10),
        )  # fmt: skip
        regions = ", ".join(f'{{ name = "{one}", zones = 2 }}' for one in self._regions)
        orgs = ", ".join(
            f'{{ name = "{one}", services = {_toml(list(self._services[one]))} }}'
            for one in self._orgs
        )
        return [
            f"regions = [{regions}]",
            f"orgs = [{orgs}]",
            "link = [",
            f'  {{ within = "region", rtt = "{near_ms}ms" }},',
            f'  {{ between = ["*", "*"], rtt = "{far_ms}ms", rtt_spread = "{spread_ms}ms" }},',
            "]",
            f"group = [\n{_lines(self._groups())}\n]",
        ]

    def _groups(self) -> list[str]:
        chance = self._of("groups")
        stores = ["cluster:c1", *(f"org:{one}" for one in self._orgs)]
        core = f'peer_class = "core", assigned = {_toml(stores)}'
        rows = [
            self._group("control", "control-endpoint", 1, core),
            self._group("store", "storage", 1 + chance.below(2), core),
            self._group("both", "edge", 1, 'orgs = "all", services = "all"'),
            self._group("hidden", "edge", 1 + chance.below(2), self._members(self._hidden)),
            self._group("seeing", "edge", HONEST_OBSERVERS, self._members(self._seeing)),
        ]
        if self._has_db:
            rows.append(self._group("db", "db", 1 + chance.below(2), ""))
        every_ms, count = 200 + chance.below(600), 1 + chance.below(3)
        prober = (
            f'{self._members(self._seeing)}, adversary = "scope_prober", '
            f'with = {{ every = "{every_ms}ms", count = {count} }}'
        )
        return [*rows, self._group("probe", "edge", 1, prober)]

    def _group(self, name: str, role: str, count: int, more: str) -> str:
        chance = self._of(f"group/{name}")
        regions = _some(self._regions, 1 + chance.below(len(self._regions)), chance)
        row = f'name = "{name}", role = "{role}", count = {count}, regions = {_toml(list(regions))}'
        return f"{row}, {more}" if more else row

    @staticmethod
    def _members(org: str) -> str:
        return f'orgs = ["{org}"], services = "all"'


def _publication(name: str, kind: str, namespace: str, more: str) -> str:
    return f'name = "{name}", type = "{kind}", namespace = "{namespace}", {more}, through = "store"'


def _some(of: tuple[str, ...], count: int, chance: Stream) -> tuple[str, ...]:
    """So many of them, in the sequence they were drawn."""
    left = list(of)
    return tuple(left.pop(chance.below(len(left))) for _ in range(min(count, len(of))))


def _toml(words: list[str]) -> str:
    return "[" + ", ".join(f'"{one}"' for one in words) + "]"
