"""The network keeps the daemon's limits, delays as its rules say and loses nothing over TCP."""

from fabgossip.sim.paths import LinkRule, Paths, Place
from fabgossip.sim.streams import Streams

HERE, BESIDE, AWAY = Place("eu", "z1", "k1"), Place("eu", "z1", "k2"), Place("us", "z1", "k1")
MS = 1_000_000


def rule(
    within: str, between: tuple[str, str], rtt_ms: int, jitter: str = "", **kind: int
) -> LinkRule:
    return LinkRule(
        within=within,
        between=between,
        rtt_ns=rtt_ms * MS,
        rtt_spread_ns=kind.get("rtt_spread_ns", 0),
        jitter=jitter or ("uniform" if kind.get("jitter_ns") else "none"),
        jitter_ns=kind.get("jitter_ns", 0),
        loss_ppm=kind.get("loss_ppm", 0),
        rate_bps=0,
    )


def paths(*rules: LinkRule) -> Paths:
    return Paths({1: HERE, 2: BESIDE, 3: AWAY, 4: HERE}, rules, Streams(1))


def test_the_most_specific_rule_wins() -> None:
    made = paths(
        rule("", ("*", "*"), 90),
        rule("", ("eu", "us"), 80),
        rule("region", ("", ""), 4),
        rule("rack", ("", ""), 2),
    )
    assert [made.delay_ns(1, other) for other in (4, 2, 3)] == [1 * MS, 2 * MS, 40 * MS]
    assert made.delay_ns(3, 1) == 40 * MS


def test_jitter_stays_within_its_scale() -> None:
    made = paths(rule("", ("*", "*"), 90, jitter_ns=MS))
    delays = [made.delay_ns(1, 3) or 0 for _ in range(1_000)]
    assert 45 * MS <= min(delays) < 45 * MS + MS // 20
    assert 46 * MS - MS // 20 < max(delays) <= 46 * MS


def test_loss_is_delay() -> None:
    made = paths(rule("", ("*", "*"), 90, loss_ppm=200_000))
    delays = [made.delay_ns(1, 3) for _ in range(10_000)]
    in_time = sum(delay == 45 * MS for delay in delays)
    assert 7_800 < in_time < 8_200
    again = sum(delay == 245 * MS for delay in delays)
    assert 1_450 < again < 1_750


def test_a_path_that_loses_everything_delivers_nothing() -> None:
    assert paths(rule("", ("*", "*"), 90, loss_ppm=1_000_000)).delay_ns(1, 3) is None


def test_jitter_is_spread_evenly_and_a_long_tail_is_as_long_as_its_table() -> None:
    """Tenths of the scale against a tenth each; the tail against one in 64 and one in 1,024."""
    even = paths(rule("", ("*", "*"), 90, jitter_ns=MS))
    counts = [0] * 10
    for _ in range(20_000):
        counts[((even.delay_ns(1, 3) or 0) - 45 * MS) * 10 // (MS + 1)] += 1
    assert all(1_850 < count < 2_150 for count in counts)
    tailed = paths(rule("", ("*", "*"), 90, "long_tail", jitter_ns=MS))
    late = [(tailed.delay_ns(1, 3) or 0) - 45 * MS for _ in range(64_000)]
    assert max(late) <= 32 * MS
    beyond_scale, beyond_eight = (sum(one > MS * times for one in late) for times in (1, 8))
    # Of one in 64, 7/8 pass the scale; of one in 1,024, 31/32 do, and 3/4 pass eight of it.
    assert 830 < beyond_scale < 1_040
    assert 30 < beyond_eight < 66
