"""What becomes of each fact: how urgent it is in the log, how much of it the audit log has, which
of its fields are the code, the subject and the object of a record, and what its repeats share.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from fabgossip.core.effects import Fact, Record
from fabgossip.daemon.logs import LogLevel
from fabgossip.model.moment import Now
from fabgossip.storage.records import Entry


class Keep(Enum):
    """How much of a fact the audit log has."""

    NOTHING = 0
    EACH = 1
    FOLDED = 2
    """Who causes it can cause any number: repeats are counted."""


ALLOW: Final = "allow"
_CODES: Final = ("code", "check", "reason", "operation", "outcome")
_SUBJECTS: Final = ("peer", "source", "node", "action")
_OBJECTS: Final = ("namespace", "content_hash")


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of a fact, and the word for what was decided."""

    level: LogLevel
    keep: Keep
    decision: str = ""
    codes: tuple[str, ...] = _CODES
    """Fields of which the first there is becomes the code of a record; likewise its subject."""
    subjects: tuple[str, ...] = _SUBJECTS


RULES: Final[dict[Fact, Rule]] = {
    Fact.STARTED: Rule(LogLevel.INFO, Keep.EACH),
    Fact.ENVELOPE_SHUNNED: Rule(LogLevel.WARNING, Keep.EACH, "alarm"),
    Fact.BUNDLE_ACCEPTED: Rule(LogLevel.INFO, Keep.EACH, "accept"),
    Fact.REVOCATION_ACCEPTED: Rule(LogLevel.INFO, Keep.EACH, "accept"),
    Fact.ARTIFACT_REJECTED: Rule(LogLevel.WARNING, Keep.FOLDED, "reject"),
    Fact.ARTIFACT_WITHHELD: Rule(
        LogLevel.WARNING, Keep.EACH, "withhold", codes=("source",), subjects=("namespace",)
    ),
    Fact.SESSION_CUT: Rule(LogLevel.WARNING, Keep.FOLDED, "cut"),
    Fact.NEIGHBOR_EVICTED: Rule(LogLevel.INFO, Keep.FOLDED),
    Fact.FETCH_DENIED: Rule(LogLevel.WARNING, Keep.FOLDED, "deny"),
    Fact.FETCH_FAILED: Rule(LogLevel.DEBUG, Keep.FOLDED),
    Fact.PROBE_SILENCED: Rule(LogLevel.DEBUG, Keep.FOLDED, "deny"),
    Fact.STORAGE_FAILED: Rule(LogLevel.WARNING, Keep.FOLDED),
    Fact.STORAGE_REFUSES: Rule(LogLevel.ERROR, Keep.FOLDED),
    Fact.PINNED: Rule(LogLevel.INFO, Keep.EACH, "pin"),
    Fact.UNPINNED: Rule(LogLevel.INFO, Keep.EACH, "unpin"),
    Fact.HELD_BACK: Rule(LogLevel.WARNING, Keep.EACH, "hold back"),
    Fact.RELEASED: Rule(LogLevel.INFO, Keep.EACH, "release"),
    Fact.CONTENT_DAMAGED: Rule(LogLevel.ERROR, Keep.EACH),
    Fact.LOCAL_DAMAGED: Rule(LogLevel.ERROR, Keep.EACH),
    Fact.CONTENT_EVICTED: Rule(LogLevel.INFO, Keep.FOLDED),
    Fact.STORAGE_TAKES: Rule(LogLevel.WARNING, Keep.FOLDED),
    Fact.SUBMITTED: Rule(LogLevel.INFO, Keep.EACH),
    Fact.AUDIT_FORKED: Rule(LogLevel.WARNING, Keep.FOLDED),
    Fact.MODE_CHANGED: Rule(LogLevel.INFO, Keep.EACH),
    Fact.CLAIMS_ACCEPTED: Rule(LogLevel.INFO, Keep.EACH, "accept"),
    Fact.CLAIMS_REFUSED: Rule(LogLevel.WARNING, Keep.FOLDED, "reject"),
    Fact.ARTIFACT_DISPUTED: Rule(LogLevel.WARNING, Keep.EACH, "dispute"),
    Fact.DISPUTE_SETTLED: Rule(LogLevel.INFO, Keep.EACH, "accept"),
    Fact.TRUST_FORKED: Rule(LogLevel.ERROR, Keep.EACH, "dispute"),
    Fact.SILENT_REMOVAL: Rule(LogLevel.WARNING, Keep.EACH, "alarm"),
    Fact.IDENTITY_REFUSED: Rule(LogLevel.WARNING, Keep.FOLDED, "reject"),
    Fact.IDENTITY_CLONED: Rule(LogLevel.WARNING, Keep.FOLDED, "alarm"),
    Fact.IDENTITY_RENEWED: Rule(LogLevel.INFO, Keep.EACH, "accept"),
    Fact.RENEWAL_REFUSED: Rule(LogLevel.ERROR, Keep.FOLDED, "reject"),
    Fact.GRANT_USED: Rule(LogLevel.INFO, Keep.EACH, ALLOW),
    Fact.GRANT_ACCEPTED: Rule(LogLevel.INFO, Keep.EACH, "accept"),
    Fact.GRANT_REFUSED: Rule(LogLevel.WARNING, Keep.FOLDED, "reject"),
    Fact.GRANT_FETCHED: Rule(LogLevel.INFO, Keep.EACH, ALLOW),
    Fact.GATE_ANSWERED: Rule(LogLevel.INFO, Keep.FOLDED),
    Fact.CONTENT_PURGED: Rule(LogLevel.INFO, Keep.EACH, "purge"),
    Fact.CRITICAL_UNDER_REPLICATED: Rule(
        LogLevel.WARNING, Keep.EACH, "alarm", subjects=("namespace",)
    ),
    Fact.CRITICAL_REPLICATION_RESTORED: Rule(LogLevel.INFO, Keep.EACH, subjects=("namespace",)),
    Fact.ARTIFACT_ACCEPTED: Rule(LogLevel.DEBUG, Keep.NOTHING),
    Fact.ARTIFACT_CURRENT: Rule(LogLevel.INFO, Keep.NOTHING),
    Fact.ARTIFACT_STAGED: Rule(LogLevel.INFO, Keep.NOTHING),
    Fact.NEIGHBOR_CONNECTED: Rule(LogLevel.INFO, Keep.NOTHING),
    Fact.NEIGHBOR_LOST: Rule(LogLevel.INFO, Keep.NOTHING),
    Fact.RECOVERY_STARTED: Rule(LogLevel.INFO, Keep.NOTHING),
    Fact.RECOVERY_ENDED: Rule(LogLevel.INFO, Keep.NOTHING),
    Fact.WANT_STUCK: Rule(LogLevel.WARNING, Keep.NOTHING),
    Fact.CHAIN_ASSEMBLED: Rule(LogLevel.INFO, Keep.NOTHING),
    Fact.CHAIN_BROKEN: Rule(LogLevel.INFO, Keep.FOLDED, subjects=("peer", "namespace")),
}
"""Every fact. Denials, rejections, trust, cut links, sources that failed and storage trouble are
recorded; traffic is not, nor that a content is stuck, for each of its tries is. What refuses, takes
away or alarms is a warning at least; two bundles that contradict each other are an error, for only
roots can cause and mend them.

What was withheld is the subject of its record: nobody did it, and its source says why."""


def kind_of(record: Record) -> Record:
    """A fact with no more than what its repeats share: its code, subject and decision."""
    rule = RULES[record.fact]
    fields = {name: value for name, value in record.fields if value != ""}
    names = (_first(rule.codes, fields), _first(rule.subjects, fields), "decision")
    kept = tuple((name, fields[name]) for name in names if name in fields)
    return Record(fact=record.fact, fields=kept)


def _first(names: tuple[str, ...], fields: dict[str, str | int]) -> str:
    """The first of the names there is, or none."""
    return next((one for one in names if one in fields), "")


def entry_of(record: Record, now: Now) -> Entry:
    """The entry of a fact: the first of its fields that names it becomes code, subject, object; the
    others are inputs."""
    rule = RULES[record.fact]
    fields = {name: value for name, value in record.fields if value != ""}

    def first_of(names: tuple[str, ...]) -> str:
        return str(fields.pop(_first(names, fields), ""))

    return Entry(
        wall=now.unix,
        mono=now.instant,
        event=record.fact.value,
        code=first_of(rule.codes),
        subject=first_of(rule.subjects),
        object=first_of(_OBJECTS),
        decision=str(fields.pop("decision", rule.decision)),
        inputs=tuple(fields.items()),
    )
