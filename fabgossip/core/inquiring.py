"""Questions for chains of increments: who is asked, and who is next.

Decides: whom to ask for a chain, and how many.
Keeps: nobody is asked who may not know of the version it starts from and of the one it leads to;
where nobody is left to ask, the chain is broken.
Must not know: what an answer is worth.
"""

from fabgossip.core.breaking import Breaking
from fabgossip.core.catalog import prefix_of
from fabgossip.core.chains import ANSWER_WITHIN, QUESTIONS_MAX, Attempt, Gap, Stage
from fabgossip.core.effects import SetTimer
from fabgossip.core.events import ChainDue
from fabgossip.core.machines import Machines
from fabgossip.core.sessions import Session
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import FEATURE_CHAINS, GetChain, TrafficClass
from fabgossip.model.moment import Duration, Now, later
from fabgossip.trust.authorization import may_disclose


class Inquiring:
    """Asks for chains."""

    __slots__ = ("_breaking", "_failed", "_m")

    def __init__(self, machines: Machines, breaking: Breaking) -> None:
        self._m = machines
        self._breaking = breaking
        self._failed: NodeId | None = None
        """Whose answer came to nothing last."""

    def ask(self, attempt: Attempt, gap: Gap, now: Now, *, detail: str = "") -> None:
        """Ask the next one for the chain; where nobody is left, it broke for this cause."""
        session = self._next_asked(attempt)
        if session is None:
            self._breaking.gap(attempt, gap, now, detail=detail)
            return
        attempt.link = session.link
        attempt.asked.append(session.node_id)
        self._m.chains.enter(attempt, Stage.ASKED)
        manifest = attempt.head.manifest
        question = GetChain(
            namespace=attempt.namespace,
            base=attempt.base.content_hash,
            head=manifest.content_hash,
        )
        self._m.disclosure.send(
            session.link, question, TrafficClass.SNAPSHOT, audience=manifest.audience
        )
        self.look_again(attempt, ANSWER_WITHIN, now)

    def _next_asked(self, attempt: Attempt) -> Session | None:
        """Of all who may know of both versions and do not say that they lack the newer one: who
        told of it first, then who told of it too; rather anybody than who failed last."""
        if len(attempt.asked) >= QUESTIONS_MAX:
            return None
        manifest, prefix = attempt.head.manifest, prefix_of(attempt.head.manifest_hash)
        able = [
            one
            for one in self._m.sessions.open_sessions()
            if one.hello is not None
            and one.hello.features & FEATURE_CHAINS
            and one.node_id not in attempt.asked
            and may_disclose(one.claims, manifest.audience)
            and may_disclose(one.claims, attempt.base.audience)
            and self._m.holdings.says(one.link, manifest.audience, prefix) is not False
        ]
        return min(
            able,
            key=lambda one: (
                one.node_id == self._failed,
                one.link != attempt.origin,
                one.node_id not in attempt.announcers,
            ),
            default=None,
        )

    def on_vain(self, attempt: Attempt, gap: Gap, now: Now, *, detail: str = "") -> None:
        """A question came to nothing: what one peer does not say, another may."""
        attempt.link, self._failed = None, attempt.peer
        if self._breaking.stands(attempt):
            self.ask(attempt, gap, now, detail=detail)
        else:
            self._breaking.gap(attempt, gap, now, detail=detail)

    def look_again(self, attempt: Attempt, within: Duration, now: Now) -> None:
        """The stage an attempt is in may take so long."""
        timer = ChainDue(namespace=attempt.namespace, generation=attempt.generation)
        self._m.out.append(SetTimer(timer=timer, at=later(now.instant, within)))
