"""Grafts: what asking for the news of audiences does to those who really share them.

Powers: the attacker is a member, and names whatever audiences it may know of, real or not: to one
that names a service it holds it can add any other.
"""

from dataclasses import replace

from fabgossip.core.config import DisseminationConfig, NodeConfig
from fabgossip.core.effects import Fact
from fabgossip.core.events import AnnounceDue, TimerFired
from fabgossip.model.messages import Announce, Graft, Prune
from fabgossip.model.scope import Audience, parse_scope_id
from tests.core.artifacts import EVERYBODY, IN_ACME, acme_routes, routes
from tests.core.story import Peer, Story, announcement
from tests.trust import factory

TREES = 8


def invented(number: int) -> Audience:
    """An audience of which nothing ever was announced, and which the attacker may know."""
    names = (*(one.text for one in EVERYBODY.scope_ids), "service:dns", f"service:zz{number}")
    return Audience(tuple(parse_scope_id(name) for name in sorted(names)))


def test_grafts_for_audiences_that_do_not_exist_leave_the_trees_of_others_alone() -> None:
    """A link that was pruned stays so."""
    limits = replace(DisseminationConfig(), audiences_max=TREES)
    story = Story(config=NodeConfig(dissemination=limits))
    origin, pruned, evil = (story.link(name) for name in ("n2", "n3", "m1"))
    story.hear(origin, announcement(routes(7))).persisted()
    assert announcement(routes(7), hops=2) in story.sent(pruned)
    story.wait(1_000).when(TimerFired(timer=AnnounceDue()))
    story.hear(pruned, Prune(audience=EVERYBODY))
    for number in range(2 * TREES):
        story.hear(evil, Graft(audience=invented(number), prefixes=()))
        assert story.facts() == []
    story.hear(origin, announcement(routes(8))).persisted()
    assert not any(isinstance(one, Announce) for one in story.sent(pruned))


def test_a_graft_for_an_audience_that_is_not_ours_is_a_probe() -> None:
    """It gets no answer, as if there were no such audience."""
    story = Story(holds=tuple(one for one in factory.OPENINGS if one.item.scope != "org:acme"))
    link = story.link(Peer(name="n2"))
    story.hear(link, Graft(audience=IN_ACME, prefixes=(acme_routes().prefix,)))
    assert (story.sent(link), story.facts()) == ([], [Fact.PROBE_SILENCED])
