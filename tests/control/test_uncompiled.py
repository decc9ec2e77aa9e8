"""What was decided and is in nothing signed yet."""

from dataclasses import replace

from fabgossip.control.compiler import compile_artifacts
from fabgossip.control.drafts import CompileInput
from fabgossip.control.revoking import RevocationBook, RevocationRow
from fabgossip.control.uncompiled import Uncompiled, uncompiled_of
from tests.control.fabric import NODES, NOW, given, published

NOBODY = RevocationBook()


def entry(subject: str, since_epoch: int = 1, listed_in: int = 1) -> RevocationRow:
    return RevocationRow(
        kind="NODE",
        value=subject.encode().hex().ljust(64, "0"),
        subject=subject,
        reason="gone",
        since_epoch=since_epoch,
        since=NOW,
        listed_in=listed_in,
    )


def compiled() -> CompileInput:
    """A fabric of which everything is compiled."""
    return given(published=published(compile_artifacts(given())))


def test_an_enrolled_node_waits_until_it_is_compiled() -> None:
    assert uncompiled_of(given(), NOBODY, 0).nodes == ("n1", "n2", "n3", "store")
    waiting = uncompiled_of(compiled(), NOBODY, 1)
    assert (waiting, bool(waiting)) == (Uncompiled(), False)


def test_a_change_of_what_a_node_is_entitled_to_waits_and_a_renewal_does_not() -> None:
    store, n1, *others = NODES
    changed = replace(n1, roles=(), claims_version=2)
    renewed = [replace(one, zone="z9") for one in others]
    found = uncompiled_of(replace(compiled(), nodes=(store, changed, *renewed)), NOBODY, 1)
    assert found == Uncompiled(nodes=("n1",))


def test_a_revocation_waits_for_the_first_list_that_has_it() -> None:
    book = RevocationBook((entry("old"), entry("new", listed_in=3)))
    assert uncompiled_of(compiled(), book, 2).entries == book.rows[1:]
    assert uncompiled_of(compiled(), book, 3).entries == ()


def test_what_is_older_than_the_epoch_waits_for_its_first_list() -> None:
    now = compiled()
    later = replace(now, bundle=replace(now.bundle, authority_epoch=2))
    book = RevocationBook((entry("old", listed_in=7),))
    assert uncompiled_of(later, book, 0).entries == book.rows
    assert uncompiled_of(later, book, 1).entries == ()
