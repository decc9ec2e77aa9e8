"""When a fabric that came apart is whole again: equal sets, and every audience in one piece.

Decides: whether all nodes that are up hold the newest of what is theirs, and hang together.
Keeps: exact: judged at every change that could be the last one; by disks and links, never by what
a node believes.
Must not know: what took the fabric apart.
"""

from collections.abc import Callable, Iterable

from fabgossip.model.artifact import NO_ORDER, Order
from fabgossip.model.scope import Audience
from fabgossip.sim.authority import Issued
from fabgossip.sim.ledger import Ledger
from fabgossip.sim.measures import Ways


class Agreement:
    """What each node lacks, and how long the fabric took to agree after it was mended."""

    def __init__(
        self, ledger: Ledger, is_up: Callable[[int], bool], links: Callable[[], Ways]
    ) -> None:
        self._ledger = ledger
        self._is_up = is_up
        self._links = links
        self._newest: dict[str, Issued] = {}
        self._held: dict[tuple[int, str], Order] = {}
        self._lacking: dict[str, set[int]] = {}
        self._mended_ns: int | None = None
        self.heal_ms: int | None = None
        """Of the newest mending; None until it is over."""

    def on_durable(self, index: int, issued: Issued, now_ns: int) -> None:
        """A manifest is durable at a node; the first time makes it the newest."""
        name, order = issued.manifest.namespace.text, issued.manifest.order
        newest = self._newest.get(name)
        if newest is None or newest.manifest.order < order:
            self._newest[name] = issued
            self._lacking[name] = {
                one
                for one in self._ledger.indices()
                if self._ledger.applies(one, issued)
                and self._held.get((one, name), NO_ORDER) < order
            }
        self._held[(index, name)] = max(order, self._held.get((index, name), NO_ORDER))
        if order >= self._newest[name].manifest.order:
            self._lacking[name].discard(index)
        self.on_change(now_ns)

    def on_wiped(self, index: int) -> None:
        """A disk lost everything."""
        for place, name in [key for key in self._held if key[0] == index]:
            del self._held[(place, name)]
        for name, issued in self._newest.items():
            if self._ledger.applies(index, issued):
                self._lacking[name].add(index)

    def on_claims(self, index: int) -> None:
        """A node is entitled to other things than before."""
        for name, issued in self._newest.items():
            held = self._held.get((index, name), NO_ORDER)
            if not self._ledger.applies(index, issued):
                self._lacking[name].discard(index)
            elif held < issued.manifest.order:
                self._lacking[name].add(index)

    def on_mended(self, now_ns: int) -> None:
        """The last cut is gone."""
        self._mended_ns, self.heal_ms = now_ns, None

    def on_change(self, now_ns: int) -> None:
        """A link or a disk is other than before."""
        if self._mended_ns is None or not self.is_equal() or self.pieces():
            return
        self.heal_ms = -(-(now_ns - self._mended_ns) // 1_000_000)
        self._mended_ns = None

    @property
    def is_mending(self) -> bool:
        """Whether the fabric was mended and does not agree yet."""
        return self._mended_ns is not None

    def is_equal(self) -> bool:
        """Whether every node that is up holds the newest of everything in its audiences."""
        return not any(self._is_up(one) for lacking in self._lacking.values() for one in lacking)

    def pieces(self) -> list[tuple[Audience, int]]:
        """The audiences in more than one piece, and in how many; what is for one node alone spans
        nothing. Cost: O(audiences x links)."""
        ways = self._links()
        audiences = dict.fromkeys(
            one.manifest.audience
            for one in self._newest.values()
            if one.manifest.namespace.node_id is None
        )
        found = []
        for audience in audiences:
            members = {
                one
                for one in self._ledger.indices()
                if self._is_up(one) and self._ledger.may_share(one, audience)
            }
            count = _components(members, ways)
            if count > 1:
                found.append((audience, count))
        return found


def _components(members: set[int], ways: Ways) -> int:
    left, count = set(members), 0
    while left:
        count += 1
        reached = [left.pop()]
        while reached:
            near: Iterable[int] = (other for other, _ in ways.get(reached.pop(), ()))
            fresh = [other for other in near if other in left]
            left.difference_update(fresh)
            reached += dict.fromkeys(fresh)
    return count
