"""Handshakes under way and in a second: bounded, and never all of one address."""

import pytest

from fabgossip.daemon.admission import ADDRESS_SHARE, Handshakes, Slot, origin_of


def taken(handshakes: Handshakes, *hosts: str) -> list[Slot]:
    found = [handshakes.enter(host) for host in hosts]
    return [slot for slot in found if slot is not None]


def test_one_address_has_its_share_and_no_more() -> None:
    handshakes = Handshakes(16, 20)
    slots = taken(handshakes, *["192.0.2.1"] * 10)
    assert len(slots) == 16 // ADDRESS_SHARE
    assert len(taken(handshakes, "192.0.2.2")) == 1
    slots[0].leave()
    assert len(taken(handshakes, *["192.0.2.1"] * 2)) == 1


def test_all_addresses_together_have_the_whole_and_no_more() -> None:
    handshakes = Handshakes(16, 20)
    slots = taken(handshakes, *[f"192.0.2.{number}" for number in range(20)])
    assert len(slots) == handshakes.in_flight == 16
    for slot in slots:
        slot.leave()
    assert handshakes.in_flight == 0
    assert len(taken(handshakes, *["192.0.2.1"] * 10)) == 4


def test_a_bound_of_one_still_lets_one_in() -> None:
    assert len(taken(Handshakes(1, 20), "192.0.2.1", "192.0.2.2")) == 1


def waits(handshakes: Handshakes, host: str, count: int, now: float = 100.0) -> list[float]:
    """How long each of several that came at once waits, as a slot does it."""
    found = []
    for _ in range(count):
        own = handshakes.wait_of(origin_of(host), now)
        found.append(own + handshakes.wait_of_all(now + own))
    return found


def test_one_address_has_a_quarter_of_the_rate_and_a_second_of_it_at_once() -> None:
    assert waits(Handshakes(16, 20), "192.0.2.1", 8) == pytest.approx([0.0] * 5 + [0.2, 0.4, 0.6])


def test_who_floods_makes_nobody_else_wait() -> None:
    handshakes = Handshakes(64, 20)
    for second in range(10):
        for _ in range(5):
            own = handshakes.wait_of("192.0.2.1", 100.0 + second)
            assert handshakes.wait_of_all(100.0 + second + own) == 0.0
        assert waits(handshakes, "192.0.2.2", 1, 100.0 + second) == [0.0]


def test_all_addresses_together_have_the_rate_and_no_more() -> None:
    handshakes = Handshakes(64, 20)
    found = [waits(handshakes, f"192.0.2.{number}", 1)[0] for number in range(22)]
    assert found == pytest.approx([0.0] * 20 + [0.05, 0.1])


def test_a_rate_below_one_for_an_address_still_lets_the_first_in() -> None:
    assert waits(Handshakes(16, 1), "192.0.2.1", 2) == pytest.approx([0.0, 4.0])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:0:0:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "192.0.2.1", False),
    ],
)
def test_a_machine_that_owns_a_subnet_counts_as_one_address(
    one: str,
    other: str,
    same: bool,  # noqa: FBT001
) -> None:
    assert (origin_of(one) == origin_of(other)) is same
