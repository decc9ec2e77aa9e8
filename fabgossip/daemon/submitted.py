"""Contents that came with local requests, until the node says what becomes of them.

Decides: whether one is exactly what a manifest signed.
Keeps: what is not taken leaves the disk.
Must not know: who submitted it, how it came.
"""

from dataclasses import dataclass

from fabgossip.core.events import ContentWanted, FetchFailure, RequestId
from fabgossip.model.artifact import WHOLE_BYTES_MAX
from fabgossip.model.ids import ContentHash
from fabgossip.storage.contents import IncomingContent


@dataclass(slots=True)
class Submission:
    """A content that came with a local request: in memory, or in a file already written; hashed as
    it came."""

    data: bytes | None
    incoming: IncomingContent | None
    size: int
    whole_hash: ContentHash
    chunk_hashes: tuple[ContentHash, ...]

    def fault(self, wanted: ContentWanted) -> FetchFailure | None:
        """Why it is not what was signed."""
        if self.size != wanted.size:
            return FetchFailure.BAD_LENGTH
        hashes = self.whole_hash, self.chunk_hashes
        is_right = hashes == (wanted.content_hash, wanted.chunk_hashes)
        return None if is_right else FetchFailure.BAD_HASH

    def drop(self) -> None:
        """It is not wanted."""
        if self.incoming is not None:
            self.incoming.drop()


class Submitted:
    """What waits, by request."""

    def __init__(self) -> None:
        self._waiting: dict[RequestId, Submission] = {}

    def on_submission(self, request: RequestId, submission: Submission) -> None:
        """A content waits under a request's number."""
        self._waiting[request] = submission

    def on_request_over(self, request: RequestId) -> None:
        """A request was answered: what is left of its content goes."""
        submission = self._waiting.pop(request, None)
        if submission is not None:
            submission.drop()

    def take(self, request: RequestId, wanted: ContentWanted) -> Submission | FetchFailure:
        """What waits under a request, if it is what was signed; it waits no longer."""
        submission = self._waiting.pop(request, None)
        if submission is None:
            return FetchFailure.MISSING
        fault = submission.fault(wanted)
        if fault is None:
            return submission
        submission.drop()
        return fault


def is_spooled(size: int) -> bool:
    """Whether a submitted content is written to a file as it comes instead of being kept in
    memory."""
    return size > WHOLE_BYTES_MAX
