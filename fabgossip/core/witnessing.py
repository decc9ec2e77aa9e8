"""Who is shown the newest checkpoint of our audit log, and what is made of theirs.

Decides: nothing `Audits` does not decide.
Keeps: a checkpoint that its sender is to blame for counts against it.
Must not know: what is in a log.
"""

from fabgossip.core.machines import Machines
from fabgossip.core.sessions import Session
from fabgossip.model.messages import AuditHead, TrafficClass
from fabgossip.model.moment import Now


class Witnessing:
    """Passes checkpoints between the links and `Audits`."""

    __slots__ = ("_m",)

    def __init__(self, machines: Machines) -> None:
        self._m = machines

    def show_head(self) -> None:
        """Witnesses who have not seen the newest checkpoint of our log are shown it."""
        linked = {one.node_id: one for one in self._m.sessions.open_sessions()}
        claims = {node_id: one.claims for node_id, one in linked.items()}
        for node_id in self._m.audits.next_witnesses(claims):
            head = AuditHead(checkpoint=self._m.audits.own)
            self._m.disclosure.send(linked[node_id].link, head, TrafficClass.POLICY)

    def on_head(self, session: Session, message: AuditHead, now: Now) -> None:
        """A peer shows the newest checkpoint of its log."""
        sender, claims = session.node_id, session.claims
        verdict = self._m.audits.on_head(sender, claims, message.checkpoint, now.instant)
        self._m.out.extend(verdict.effects)
        if verdict.is_bad:
            self._m.policing.on_failed(session, now.instant)
