"""Which envelopes were handled already, and what a neighbour's list tells us we lack.

Decides: whether an envelope is worth the gate; which prefixes of a `Have` to ask for.
Keeps: a copy of what was judged for good costs a look-up; nothing is asked twice of one link.
Must not know: what the gate thinks, who may know of what.
"""

from collections import OrderedDict
from hashlib import sha256

from fabgossip.core.config import DisseminationConfig
from fabgossip.core.events import LinkId
from fabgossip.model.messages import GRAFT_PREFIXES_MAX


class Dissemination:
    """Memory of what came by."""

    __slots__ = ("_config", "_grafted", "_seen", "_seen_prefixes")

    def __init__(self, config: DisseminationConfig) -> None:
        self._config = config
        self._seen: OrderedDict[bytes, bytes] = OrderedDict()
        self._seen_prefixes: OrderedDict[bytes, bytes] = OrderedDict()
        self._grafted: dict[LinkId, OrderedDict[bytes, bytes]] = {}

    def seen_prefix(self, envelope: bytes) -> bytes | None:
        """The manifest prefix of exactly these bytes, if they were judged for good."""
        return self._seen.get(sha256(envelope).digest())

    def on_judged(self, envelope: bytes, prefix: bytes) -> None:
        """These bytes were judged for good, whatever the verdict."""
        _remember(self._seen, sha256(envelope).digest(), prefix, self._config.seen_max)
        _remember(self._seen_prefixes, prefix, prefix, self._config.seen_max)

    def on_lost(self, link: LinkId) -> None:
        """A link ended: what was asked of it may be asked elsewhere."""
        self._grafted.pop(link, None)

    def next_grafts(
        self, link: LinkId, prefixes: tuple[bytes, ...]
    ) -> tuple[tuple[bytes, ...], ...]:
        """The prefixes never seen and not yet asked of this link, in runs of at most 64."""
        asked = self._grafted.setdefault(link, OrderedDict())
        wanted = [one for one in prefixes if one not in self._seen_prefixes and one not in asked]
        for one in wanted:
            _remember(asked, one, one, self._config.seen_max)
        return tuple(
            tuple(wanted[start : start + GRAFT_PREFIXES_MAX])
            for start in range(0, len(wanted), GRAFT_PREFIXES_MAX)
        )

    def check(self) -> None:
        """Assert the limits."""
        assert len(self._seen) <= self._config.seen_max
        assert len(self._seen_prefixes) <= self._config.seen_max


def _remember(rows: OrderedDict[bytes, bytes], key: bytes, value: bytes, rows_max: int) -> None:
    rows[key] = value
    rows.move_to_end(key)
    if len(rows) > rows_max:
        rows.popitem(last=False)
