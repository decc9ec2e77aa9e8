"""The frozen sections a node is configured by: one per machine and one for connections.

Decides: nothing.
Keeps: every number has a unit in its name and a source; *start* marks a value still to be tuned by
measurement.
Must not know: which file a value came from; daemon and simulator read the same keys.
"""

from dataclasses import dataclass
from typing import Annotated

from fabgossip.model.bounds import Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionsConfig:
    """Links as such."""

    hello_ms: Annotated[int, Bounds(100, 60_000)] = 5_000
    """A link must be open this long after TLS (*start*)."""
    ping_interval_ms: Annotated[int, Bounds(100, 600_000)] = 7_500
    """The dialling side asks for a sign of life this often (*start*)."""
    pong_deadline_ms: Annotated[int, Bounds(50, 60_000)] = 1_500
    """Its answer is due within this (*start*)."""
    silence_max_ms: Annotated[int, Bounds(200, 1_200_000)] = 9_400
    """The side that was dialled expects a ping within this: interval, its jitter, the time of the
    answer (*start*)."""

    def __post_init__(self) -> None:
        """A link must not be given up before it could answer."""
        if self.silence_max_ms <= self.ping_interval_ms:
            raise ValueError("silence_max_ms must exceed ping_interval_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighborsConfig:
    """Whom to be connected to."""

    quota_per_audience: Annotated[int, Bounds(1, 64)] = 3
    """Links wanted in every declared audience: survives two losses (*start*)."""
    mesh_members_max: Annotated[int, Bounds(1, 64)] = 6
    """Up to here everybody links to everybody: no chance where it can fail (*start*)."""
    links_min: Annotated[int, Bounds(0, 64)] = 5
    """Neighbours wanted over all audiences (*start*)."""
    links_ordinary_max: Annotated[int, Bounds(1, 1_024)] = 12
    """Up to so many neighbours whoever asks is taken; what is beyond and not needed is let go
    (*start*)."""
    links_upward_max: Annotated[int, Bounds(1, 1_024)] = 40
    """Up to so many who cannot do without this node are taken (*start*)."""
    thin_children_max: Annotated[int, Bounds(0, 1_024)] = 64
    """Thin nodes served at once (*start*)."""
    guests_max: Annotated[int, Bounds(1, 1_024)] = 64
    """Open links others dialled to nodes that are no neighbours (*start*)."""
    links_max: Annotated[int, Bounds(1, 1_024)] = 40
    """Links this node opens by itself, visits to fetch something among them."""
    dials_max: Annotated[int, Bounds(1, 64)] = 4
    """Dials under way at once, twice as many while there are fewer than two neighbours (*start*).
    """
    redial_min_ms: Annotated[int, Bounds(10, 600_000)] = 1_000
    """Longest first wait after a failed dial or a lost link, by lot; longer in a fabric of more
    than 100 nodes. Later ones double from this (*start*)."""
    redial_max_ms: Annotated[int, Bounds(10, 3_600_000)] = 60_000
    """Longest wait before a peer is dialled again (*start*)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisseminationConfig:
    """What is told to whom."""

    seen_max: Annotated[int, Bounds(16, 1_000_000)] = 16_384
    """Envelopes remembered so that a late copy costs a look-up, not a verification: 6 MB; the
    oldest leaves (*start*)."""
    asked_max: Annotated[int, Bounds(1, 4_096)] = 256
    """Manifests asked of one link and not yet answered: 180 KB at 0.7 KB each (*start*)."""
    eager_links: Annotated[int, Bounds(1, 64)] = 8
    """Links of an audience that carry announcements whole until duplicates prune them (*start*)."""
    inline_cold_max: Annotated[int, Bounds(0, 16_384)] = 4_096
    """Content of so many bytes rides along on any eager link; its first copies cost less than the
    two ways a request takes."""
    inline_warm_max: Annotated[int, Bounds(0, 16_384)] = 16_384
    """The same on links that were not pruned of late: nothing is multiplied there (*start*)."""
    batch_ms: Annotated[int, Bounds(1, 10_000)] = 2
    """Announcements that follow another on a link within this leave together (*start*)."""
    have_ms: Annotated[int, Bounds(1, 10_000)] = 50
    """News for links that do not carry announcements is gathered this long (*start*)."""
    audiences_max: Annotated[int, Bounds(1, 1_000_000)] = 4_096
    """Audiences whose trees are remembered; the one least recently used starts anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldingsConfig:
    """What neighbours say they hold."""

    batch_ms: Annotated[int, Bounds(1, 10_000)] = 250
    """What came to be held of one audience is told to a neighbour together this long after the
    first of it: later than news has come everywhere, so that telling of what is here does not hold
    up what is on its way (`tests/benchmarks/spread.py`, 2026-11: 50 ms made the last of 32 a
    quarter slower)."""
    per_peer_max: Annotated[int, Bounds(16, 1_000_000)] = 4_096
    """Prefixes remembered per neighbour; beyond, the oldest leaves and the neighbour counts as
    unknown for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchingConfig:
    """How content is fetched."""

    wants_max: Annotated[int, Bounds(1, 1_000_000)] = 20_000
    """Open wants; beyond, duty is not recorded (a refresh finds it again), then requests are
    refused."""
    trust_bytes_max: Annotated[int, Bounds(4_096, 1 << 30)] = 1 << 20
    """Bytes of contents in flight of the class `trust`; a content counts for 4 KiB at least, for
    256 KiB at most (*start*)."""
    snapshot_bytes_max: Annotated[int, Bounds(4_096, 1 << 30)] = 2 << 20
    """The same of snapshots and increments (*start*)."""
    policy_bytes_max: Annotated[int, Bounds(4_096, 1 << 30)] = 4 << 20
    """The same of directories, services, routes, policies and manifests of updates (*start*)."""
    bulk_bytes_max: Annotated[int, Bounds(4_096, 1 << 30)] = 2 << 20
    """The same of what is fetched for duty alone (*start*)."""
    per_link_bytes_max: Annotated[int, Bounds(4_096, 1 << 30)] = 4 << 20
    """Bytes in flight from one link, counted likewise, trust apart (*start*)."""
    retry_min_ms: Annotated[int, Bounds(10, 600_000)] = 500
    """First wait of a want that no source could serve, doubling (*start*)."""
    retry_max_ms: Annotated[int, Bounds(10, 3_600_000)] = 30_000
    """Longest wait of such a want (*start*)."""
    missing_ms: Annotated[int, Bounds(10, 3_600_000)] = 10_000
    """How long a source that failed is passed over for that content, doubling (*start*)."""
    serve_streams_max: Annotated[int, Bounds(1, 1_024)] = 32
    """Requests served at once, beyond one of every link and one of each for trust; further ones are
    told *busy* (*start*)."""
    ended_max: Annotated[int, Bounds(1, 100_000)] = 1_000
    """Ended wants kept for `why`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryConfig:
    """What the ladder may cost others."""

    endpoints_every_ms: Annotated[int, Bounds(10, 600_000)] = 500
    """This node asks somebody on rung 3 this often, whatever it wants: 2/s (*start*)."""
    endpoints_burst: Annotated[int, Bounds(1, 1_000)] = 8
    """And so often at once: a climb of every class (*start*)."""
    control_every_ms: Annotated[int, Bounds(10, 3_600_000)] = 10_000
    """This node turns to the control plane this often, with all that waits: 1,000 nodes that lost
    all else ask 100 times a second (*start*)."""
    control_burst: Annotated[int, Bounds(1, 1_000)] = 3
    """And so often at once (*start*)."""
    circuit_min_ms: Annotated[int, Bounds(10, 3_600_000)] = 10_000
    """A source that fails whatever it is asked for of an audience is left alone so long, give or
    take half, doubling (*start*)."""
    circuit_max_ms: Annotated[int, Bounds(10, 86_400_000)] = 300_000
    """And at most so long (*start*)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshConfig:
    """How often newer heads are asked for."""

    interval_ms: Annotated[int, Bounds(100, 3_600_000)] = 30_000
    """Trust, and every namespace near its `refresh_by`, are asked for this often, with jitter of
    20 % (*start*)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubbingConfig:
    """How often what is held is hashed again."""

    interval_ms: Annotated[int, Bounds(1_000, 7_776_000_000)] = 604_800_000
    """Each holding is hashed again after so long: a week (*start*)."""
    bytes_per_second: Annotated[int, Bounds(4_096, 1 << 40)] = 8 << 20
    """No faster than this (*start*)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """All sections."""

    connections: ConnectionsConfig = ConnectionsConfig()
    neighbors: NeighborsConfig = NeighborsConfig()
    dissemination: DisseminationConfig = DisseminationConfig()
    holdings: HoldingsConfig = HoldingsConfig()
    fetching: FetchingConfig = FetchingConfig()
    recovery: RecoveryConfig = RecoveryConfig()
    refresh: RefreshConfig = RefreshConfig()
    scrubbing: ScrubbingConfig = ScrubbingConfig()
