"""Which links carry announcements of an audience whole, and which only hear that there is one.

Decides: of the links that may know an audience, which are eager; when a duplicate prunes a link;
how much content rides along.
Keeps: an audience has a tree once something of it was announced, and no word of a peer makes one;
every audience with a link has an eager one when something is announced; a link is in the tree as
long as its peer may know the audience, whatever it may know of what is announced in it; the link
that brought something first is never pruned for it; what is decided for one audience depends on
that audience alone, and on which links are in doubt.
Must not know: what is announced, who may know of what, what a message looks like.

- A new link starts eager while its audience has fewer than `eager_links` eager ones; of several new
  ones the lot of this node and its peer decides, not age: else whoever came last would be lazy to
  all its neighbours.
- A duplicate on an eager link makes it lazy at both ends: what remains is the tree along which the
  news came first, so along the fastest of the links that brought any; `hastening` finds faster ones
  among those that only tell.
- A graft makes a link eager again at both ends.
- A link in doubt is lazy in every tree, and carries nothing whole while another can.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from fabgossip.core.config import DisseminationConfig
from fabgossip.core.events import LinkId
from fabgossip.model.moment import Duration, Instant, is_due, later
from fabgossip.model.scope import Audience

PRUNE_EVERY = Duration(1_000)
"""A link is pruned for one audience no more often, so that two ends never prune by turns (*start*).
"""
WARM_AFTER = 3
"""Announcements a link carried without being pruned before larger contents ride along (*start*)."""


@dataclass(slots=True)
class _Branch:
    """One link in the tree of one audience."""

    is_eager: bool
    unpruned: int = 0
    """Announcements sent since it was pruned or came to be."""
    prune_at: Instant | None = None
    """When it may be pruned again."""


@dataclass(slots=True)
class _Tree:
    branches: dict[LinkId, _Branch] = field(default_factory=dict)

    def eager(self) -> list[LinkId]:
        return [link for link, branch in self.branches.items() if branch.is_eager]


class Trees:
    """The tree of each audience, as this node sees it: its own links."""

    __slots__ = ("_config", "_doubtful", "_trees")

    def __init__(self, config: DisseminationConfig) -> None:
        self._config = config
        self._trees: OrderedDict[Audience, _Tree] = OrderedDict()
        self._doubtful: dict[LinkId, None] = {}

    def on_links(
        self, audience: Audience, links: tuple[LinkId, ...], lot: Callable[[LinkId], bytes]
    ) -> None:
        """Something of an audience is announced: its tree spans all links whose peers may know the
        audience now. Were it only those that may know of what is announced, the others would lose
        what they pruned, and see by it that there was something."""
        tree = self._tree(audience)
        for gone in [link for link in tree.branches if link not in links]:
            del tree.branches[gone]
        for link in sorted((one for one in links if one not in tree.branches), key=lot):
            room = len(tree.eager()) < self._config.eager_links
            tree.branches[link] = _Branch(is_eager=room and link not in self._doubtful)

    def eager(
        self, audience: Audience, links: tuple[LinkId, ...], origin: LinkId | None = None
    ) -> tuple[LinkId, ...]:
        """Those of some links of a tree that carry whole what came over `origin`. Where all of them
        are lazy the first other one that is not in doubt does, this once: it stays lazy for what is
        told to more."""
        eager = tuple(link for link in links if self.is_eager(audience, link))
        others = [link for link in links if link != origin]
        return eager or tuple(sorted(others, key=self._doubtful.__contains__)[:1])

    def _tree(self, audience: Audience) -> _Tree:
        tree = self._trees.setdefault(audience, _Tree())
        self._trees.move_to_end(audience)
        if len(self._trees) > self._config.audiences_max:
            self._trees.popitem(last=False)
        return tree

    def inline_max(self, audience: Audience, link: LinkId) -> int:
        """How large a content may ride along on an eager link now, in bytes."""
        branch = self._branch(audience, link)
        is_warm = branch is not None and branch.unpruned >= WARM_AFTER
        return self._config.inline_warm_max if is_warm else self._config.inline_cold_max

    def on_announced(self, audience: Audience, link: LinkId) -> None:
        """An announcement went out on an eager link."""
        branch = self._branch(audience, link)
        if branch is not None:
            branch.unpruned += 1

    def on_duplicate(self, audience: Audience, link: LinkId, now: Instant) -> bool:
        """A link brought what another one had brought before; whether to prune it now."""
        branch = self._branch(audience, link)
        if branch is None or (branch.prune_at is not None and not is_due(branch.prune_at, now)):
            return False
        branch.prune_at = later(now, PRUNE_EVERY)
        self._make_lazy(branch)
        return True

    def on_pruned(self, audience: Audience, link: LinkId) -> None:
        """The peer has what we send from elsewhere. A link that carried nothing since it is eager
        has nothing to prune: else who prunes it beforehand would see later whether there was a
        tree, by something it may not know of."""
        branch = self._branch(audience, link)
        if branch is not None and branch.unpruned:
            self._make_lazy(branch)

    @staticmethod
    def _make_lazy(branch: _Branch) -> None:
        branch.is_eager = False
        branch.unpruned = 0

    def on_grafted(self, audience: Audience, link: LinkId) -> None:
        """One end asked for what the tree did not bring: the link carries it from now on. Where
        there is no tree yet nothing is lazy: audiences anybody may name make none."""
        self._doubtful.pop(link, None)
        tree = self._trees.get(audience)
        if tree is not None:
            tree.branches.setdefault(link, _Branch(is_eager=True)).is_eager = True

    def on_doubtful(self, link: LinkId) -> None:
        """A link is slow, or may be dead: it carries news only, until it is grafted again."""
        self._doubtful[link] = None
        for tree in self._trees.values():
            branch = tree.branches.get(link)
            if branch is not None:
                self._make_lazy(branch)

    def on_alive(self, link: LinkId) -> None:
        """Its peer answered: it is as good as any other lazy link."""
        self._doubtful.pop(link, None)

    def on_lost(self, link: LinkId) -> None:
        """A link ended, or its peer may know less than before."""
        self._doubtful.pop(link, None)
        for tree in self._trees.values():
            tree.branches.pop(link, None)

    def is_eager(self, audience: Audience, link: LinkId) -> bool:
        """Whether a link carries the announcements of an audience."""
        branch = self._branch(audience, link)
        return branch is not None and branch.is_eager

    def _branch(self, audience: Audience, link: LinkId) -> _Branch | None:
        tree = self._trees.get(audience)
        return None if tree is None else tree.branches.get(link)

    def links(self) -> frozenset[LinkId]:
        """All links that are in some tree or in doubt."""
        spanned = {link for tree in self._trees.values() for link in tree.branches}
        return frozenset(spanned | self._doubtful.keys())

    def check(self) -> None:
        """Assert the limit."""
        assert len(self._trees) <= self._config.audiences_max
