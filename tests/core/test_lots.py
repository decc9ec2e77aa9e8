"""What is drawn for one thing says nothing of what was drawn for others."""

from random import Random

from fabgossip.core.lots import Lots

NAMES = [f"n{number}" for number in range(2_000)]


def test_draws_for_others_shift_nothing() -> None:
    alone, busy = Lots(Random(1)), Lots(Random(1))
    for name in NAMES:
        busy.below(10, name, "others")
    assert alone.below(1 << 60, "n2", 7) == busy.below(1 << 60, "n2", 7)


def test_another_name_or_seed_draws_another_number() -> None:
    drawn = {Lots(Random(seed)).below(1 << 60, name) for seed in (1, 2) for name in NAMES}
    assert len(drawn) == 2 * len(NAMES)
    lots = Lots(Random(1))
    assert lots.below(1 << 60, "a", "b") != lots.below(1 << 60, "b", "a")


def test_every_number_below_the_bound_comes_about_as_often() -> None:
    lots = Lots(Random(1))
    drawn = [lots.below(10, name) for name in NAMES]
    assert {drawn.count(number) // 50 for number in range(10)} <= {3, 4}


def test_a_wait_stays_within_its_part() -> None:
    lots = Lots(Random(1))
    waits = [lots.around(1_000, 20, name) for name in NAMES]
    assert (min(waits), max(waits)) == (950, 1_050)
    assert {lots.around(3, 20, name) for name in NAMES} == {2, 3, 4}
