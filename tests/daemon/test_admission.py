"""Handshakes under way: bounded, and never all of one address."""

import pytest

from fabgossip.daemon.admission import ADDRESS_SHARE, Handshakes, Slot, origin_of


def taken(handshakes: Handshakes, *hosts: str) -> list[Slot]:
    found = [handshakes.enter(host) for host in hosts]
    return [slot for slot in found if slot is not None]


def test_one_address_has_its_share_and_no_more() -> None:
    handshakes = Handshakes(16)
    slots = taken(handshakes, *["192.0.2.1"] * 10)
    assert len(slots) == 16 // ADDRESS_SHARE
    assert len(taken(handshakes, "192.0.2.2")) == 1
    slots[0].leave()
    assert len(taken(handshakes, *["192.0.2.1"] * 2)) == 1


def test_all_addresses_together_have_the_whole_and_no_more() -> None:
    handshakes = Handshakes(16)
    slots = taken(handshakes, *[f"192.0.2.{number}" for number in range(20)])
    assert len(slots) == handshakes.in_flight == 16
    for slot in slots:
        slot.leave()
    assert handshakes.in_flight == 0
    assert len(taken(handshakes, *["192.0.2.1"] * 10)) == 4


def test_a_bound_of_one_still_lets_one_in() -> None:
    assert len(taken(Handshakes(1), "192.0.2.1", "192.0.2.2")) == 1


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
