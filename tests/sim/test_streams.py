"""Chance depends on seed, path and number of the draw, and on nothing else."""

from fabgossip.sim.streams import Stream, Streams


def test_splitmix64_gives_the_published_values() -> None:
    # Seed 1234567, from the reference implementation by Vigna, prng.di.unimi.it/splitmix64.c.
    stream = Stream(1234567)
    assert [stream.draw() for _ in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_a_draw_in_one_stream_shifts_no_other() -> None:
    one, other = Streams(7), Streams(7)
    other.of("link/1>2").draw()
    assert one.of("link/2>1").draw() == other.of("link/2>1").draw()


def test_draw_i_does_not_depend_on_what_was_drawn_before() -> None:
    stream = Streams(7).of("disk/n3")
    later = stream.at(5)
    assert [stream.draw() for _ in range(6)][5] == later


def test_another_seed_gives_another_stream() -> None:
    assert Streams(1).of("a").draw() != Streams(2).of("a").draw()


def test_scaled_draws_stay_in_their_bound() -> None:
    stream = Streams(3).of("x")
    drawn = [stream.below(10) for _ in range(1_000)]
    assert sorted(set(drawn)) == list(range(10))
