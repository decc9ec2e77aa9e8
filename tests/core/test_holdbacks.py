"""The holds of a node: one of a namespace, until a time, and undone by nothing older."""

from typing import Final

from fabgossip.core.holdbacks import Holdbacks
from fabgossip.model.artifact import Order
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import DropHeldBack, DropPin, HeldBack, PutHeldBack

NAMES: Final = ("b", "a", "c")


def held_back(namespace: str = "a", version: int = 7, until: int = 100) -> HeldBack:
    return HeldBack(
        namespace=namespace,
        order=Order(2, version),
        envelope=b"envelope",
        before=None,
        owner="uid:0",
        reason="a drill",
        until=UnixTime(until),
    )


def test_the_newest_hold_of_a_namespace_is_the_one_there_is() -> None:
    holdbacks = Holdbacks()
    for name in NAMES:
        holdbacks.on_hold(held_back(name))
    holdbacks.on_hold(held_back("b", 6))
    holdbacks.check()
    assert [(one.namespace, one.order.version) for one in holdbacks.all()] == [
        ("a", 7),
        ("b", 6),
        ("c", 7),
    ]
    assert holdbacks.on_over("b") == held_back("b", 6)
    assert (holdbacks.find("b"), holdbacks.on_over("b")) == (None, None)


def test_a_hold_ends_with_its_second_and_not_before() -> None:
    holdbacks = Holdbacks()
    holdbacks.on_hold(held_back("a", until=100))
    holdbacks.on_hold(held_back("b", until=101))
    assert holdbacks.ended(UnixTime(99)) == ()
    assert [one.namespace for one in holdbacks.ended(UnixTime(101))] == ["a", "b"]


def test_what_the_disk_refused_is_not_written_over_what_was_asked_since() -> None:
    holdbacks = Holdbacks()
    drop, put = DropHeldBack(namespace="a"), PutHeldBack(held_back=held_back())
    assert not holdbacks.is_overtaken(drop)
    assert holdbacks.is_overtaken(put)
    holdbacks.on_hold(held_back())
    assert holdbacks.is_overtaken(drop)
    assert not holdbacks.is_overtaken(put)
    holdbacks.on_hold(held_back(version=6))
    assert holdbacks.is_overtaken(put)
    assert not holdbacks.is_overtaken(DropPin(pin_id=1))
