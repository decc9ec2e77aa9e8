"""What becomes of each fact, in the log and in the audit log: one table, with every fact in it."""

import pytest

from fabgossip.core.effects import Fact, Record
from fabgossip.daemon.facts import RULES, Keep, entry_of
from fabgossip.daemon.logs import LogLevel
from tests.trust import factory

QUIET = {Fact.PROBE_SILENCED}
"""Whoever probes is already answered with silence, and causes any number."""
GRAVE = {"reject", "deny", "withhold", "cut", "dispute", "alarm"}


def test_every_fact_has_its_rule() -> None:
    unsorted = sorted(set(Fact) - set(RULES))
    assert not unsorted, (
        f"{[one.name for one in unsorted]}: add each to RULES in fabgossip/daemon/facts.py: "
        "Keep.EACH for what changes trust or permission, Keep.FOLDED for what a peer can cause at "
        "will, Keep.NOTHING for everything else"
    )


def test_only_traffic_is_not_audited() -> None:
    """A content that is stuck is traffic too: each try that failed is a record of its own."""
    assert {one for one in Fact if RULES[one].keep is Keep.NOTHING} == {
        Fact.ARTIFACT_ACCEPTED,
        Fact.ARTIFACT_CURRENT,
        Fact.ARTIFACT_STAGED,
        Fact.NEIGHBOR_CONNECTED,
        Fact.NEIGHBOR_LOST,
        Fact.RECOVERY_STARTED,
        Fact.RECOVERY_ENDED,
        Fact.WANT_STUCK,
        Fact.CHAIN_ASSEMBLED,
    }


@pytest.mark.parametrize("fact", [one for one in Fact if RULES[one].decision in GRAVE])
def test_what_refuses_takes_away_or_alarms_is_a_warning(fact: Fact) -> None:
    assert (RULES[fact].level >= LogLevel.WARNING) is (fact not in QUIET)


def test_two_trusts_in_contradiction_are_an_error() -> None:
    """Nobody but the holders of roots can mend it, and no peer can cause it."""
    assert RULES[Fact.TRUST_FORKED].level is LogLevel.ERROR


@pytest.mark.parametrize("state", ["withdrawn", "over age"])
def test_the_record_of_a_withdrawal_names_what_was_withdrawn_and_why(state: str) -> None:
    namespace = f"{factory.PREFIX}/routes/edge"
    fields = (("namespace", namespace), ("version", 7), ("content_hash", "ab"), ("source", state))
    entry = entry_of(Record(fact=Fact.ARTIFACT_WITHHELD, fields=fields), factory.BOTH_CLOCKS)
    assert (entry.code, entry.subject, entry.object) == (state, namespace, "ab")
    assert (entry.decision, entry.inputs) == ("withhold", (("version", 7),))
