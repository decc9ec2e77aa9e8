"""What follows where a chain of increments breaks: the full snapshot.

Decides: what is left of a chain that broke.
Keeps: a snapshot that is still wanted is fetched whole, from whoever told of it; what only was
to lead there is wanted no more; an increment that makes something else than was signed is its
signer's fault, and is gone.
Must not know: why a chain broke.
"""

from fabgossip.core.catalog import HeadState, prefix_of
from fabgossip.core.chains import Attempt, Gap
from fabgossip.core.durability import Durability
from fabgossip.core.effects import Fact, Record
from fabgossip.core.machines import Machines
from fabgossip.core.own_contents import OwnContents
from fabgossip.core.recording import Fields, rejected
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.ids import ContentHash
from fabgossip.model.moment import Now
from fabgossip.model.persistence import DropIncrement
from fabgossip.trust.rejections import Rejection, RejectionCode


class Breaking:
    """Ends attempts that came to nothing."""

    __slots__ = ("_contents", "_durability", "_m")

    def __init__(self, machines: Machines, durability: Durability, contents: OwnContents) -> None:
        self._m = machines
        self._durability = durability
        self._contents = contents

    def stands(self, attempt: Attempt) -> bool:
        """Whether what an attempt is for is still wanted."""
        head = self._m.catalog.find(attempt.namespace)
        return (
            head is not None
            and head.verified.manifest_hash == attempt.head.manifest_hash
            and head.state is HeadState.BEHIND
        )

    def gap(self, attempt: Attempt, gap: Gap, now: Now, *, detail: str = "") -> None:
        """The full snapshot is fetched; increments that only were to lead to it are not."""
        attempt.link = None
        self._m.chains.on_gap(attempt, gap, detail)
        self._tell_gap(attempt, gap, detail)
        if not self.stands(attempt):
            return
        self.let_go(attempt)
        want = self._contents.want(attempt.head, attempt.origin, now)
        if want is not None:
            for announcer in attempt.announcers:
                self._m.fetching.on_announced(want, announcer, now.instant)

    def let_go(self, attempt: Attempt) -> None:
        """Increments that only were to lead to a snapshot, and are not here yet, are of no use any
        more."""
        for one in attempt.steps:
            is_newest = one.manifest.order == attempt.head.manifest.order
            if not is_newest and not self._contents.is_held(one.manifest):
                self.forget(one)

    def _tell_gap(self, attempt: Attempt, gap: Gap, detail: str) -> None:
        fields = (*fields_of_attempt(attempt), ("outcome", gap.value), ("detail", detail))
        self._m.out.append(Record(fact=Fact.CHAIN_BROKEN, fields=fields))

    def set_aside(self, increment: VerifiedManifest) -> None:
        """What is signed about an increment is not true, whoever brings it."""
        self._m.chains.set_aside(increment)
        prefix = prefix_of(increment.manifest_hash)
        self._m.dissemination.on_refused(increment.envelope, prefix, was_signed=True)
        wrong = Rejection(
            code=RejectionCode.CONTENT_INVALID,
            detail="the increment does not make the result it names",
            namespace=increment.manifest.namespace.text,
            manifest_hash=increment.manifest_hash,
            was_signed=True,
        )
        self._m.out.append(rejected(wrong, source=""))
        self.forget(increment)

    def forget(self, increment: VerifiedManifest) -> None:
        """An increment is of no use any more."""
        self._m.catalog.on_increment_gone(increment)
        namespace = increment.manifest.namespace.text
        self._durability.keep(
            DropIncrement(namespace=namespace, manifest_hash=increment.manifest_hash)
        )
        self._contents.release(increment.manifest.content_hash)

    def on_damage(self, content_hash: ContentHash, now: Now) -> None:
        """A content that was to be read for an assembly is gone from the own disk, or damaged."""
        fields = (("operation", "read"), ("content_hash", content_hash.hex()))
        self._m.out.append(Record(fact=Fact.STORAGE_FAILED, fields=fields))
        self._contents.on_vanished(content_hash, now)


def fields_of_attempt(attempt: Attempt) -> Fields:
    """What names an attempt."""
    return (
        ("namespace", attempt.namespace),
        ("content_hash", attempt.head.manifest.content_hash.hex()),
        ("base", attempt.base.content_hash.hex()),
        ("peer", attempt.peer or ""),
        ("steps", len(attempt.steps)),
        ("bytes", attempt.step_bytes),
    )
