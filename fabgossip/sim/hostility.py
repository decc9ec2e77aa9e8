"""What a scenario says of hostile nodes: which script they follow, and with what.

Decides: whether a group's script, papers and parameters are ones there are.
Keeps: every problem is told by its dotted path; a node is honest where nothing is said.
Must not know: how a script works.
"""

from dataclasses import dataclass
from typing import Final

from fabgossip.sim.problems import Problems
from fabgossip.sim.quantities import parse_duration
from fabgossip.sim.tables import GroupTable, ScriptTable

SCRIPTS: Final[dict[str, str]] = {
    "scope_prober": "asks in every way for what it may not know, with forged claims and grants",
    "stale_replayer": "says again what it overheard, to everybody",
    "claims_thief": "shows the claims and openings of others as its own",
    "false_advertiser": "says that it holds everything and serves nothing",
    "wrong_bytes": "serves other bytes than it was asked for",
    "reconcile_liar": "lies about the roots and ranges of its sets",
    "censor": "passes on nothing but trust",
    "flooder": "says more than anybody may, of every kind",
    "malformed_frames": "sends frames that are none",
    "eclipse_all": "links to everybody, again and again, and passes on nothing",
}
"""Each script: what it does. All of them do else what an honest node does."""
PAPERS: Final = ("good", "expired", "revoked")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostility:
    """How a node is hostile."""

    script: str
    papers: str
    every_ns: int
    count: int


def read_hostility(path: str, group: GroupTable, problems: Problems) -> Hostility | None:
    """What a group says of itself; None: its nodes are honest."""
    if not group.adversary:
        if group.with_ != ScriptTable() or group.papers != "good":
            problems.add(
                f"{path}.adversary", "is missing: honest nodes have good papers, no script"
            )
        return None
    if group.adversary not in SCRIPTS:
        problems.add_unknown(f"{path}.adversary", group.adversary, SCRIPTS)
    if group.papers not in PAPERS:
        problems.add(f"{path}.papers", f"{group.papers!r} is none of {', '.join(PAPERS)}")
    every_ns = problems.read(f"{path}.with.every", parse_duration, group.with_.every, 1)
    if every_ns <= 0:
        problems.add(f"{path}.with.every", "takes no time")
    return Hostility(
        script=group.adversary, papers=group.papers, every_ns=every_ns, count=group.with_.count
    )
