"""What is older than the signed policy lets consumers read loses its link, and gets it back when it
may be read again."""

from dataclasses import replace
from typing import Final

import pytest

from fabgossip.core.catalog import HeadState
from fabgossip.core.effects import Answer, Fact, Materialize, Record
from fabgossip.core.events import (
    GateRequest,
    LinkId,
    Persisted,
    RefreshDue,
    RequestId,
    RequestMade,
    TimerFired,
)
from fabgossip.core.health import state_of
from fabgossip.core.problems import ProblemCode
from fabgossip.model.artifact import ArtifactType, Order
from fabgossip.model.authority import Opening
from fabgossip.model.mode import Mode, PermitCode
from fabgossip.model.policy import DegradedPolicy, DegradedRule
from fabgossip.model.topology import Snapshot
from fabgossip.wire.contents import snapshot_bytes
from tests.core.artifacts import (
    Artifact,
    artifact,
    revocations,
    routes,
    stored_head,
    tombstone,
)
from tests.core.narrowing import EDGES, STORED, no_more_an_edge
from tests.core.story import NOTHING_STORED, Story
from tests.trust import factory as f

REFRESH_S: Final = 30
MAX_AGE_S: Final = 60
EXPIRY_S: Final = 600
OVER_AGE_S: Final = REFRESH_S + MAX_AGE_S
KIND: Final = ArtifactType.ROUTE_POLICY_BUNDLE
OLD: Final = artifact(
    KIND,
    "routes/r1",
    content=b"routes 7",
    refresh_by=f.NOW + REFRESH_S,
    expires_at=f.NOW + EXPIRY_S,
)
NAMESPACE: Final = OLD.manifest.namespace.text


def snapshot(version: int, *rules: DegradedRule) -> Artifact:
    """The node's own, with what an outage allows."""
    degraded = DegradedPolicy(rules=rules)
    content = snapshot_bytes(Snapshot(endpoints=(), degraded=degraded, settings=b""))
    return artifact(ArtifactType.CLUSTER_SNAPSHOT, version=version, content=content)


def rule(max_age_s: int = MAX_AGE_S, *, withhold: bool = True) -> DegradedRule:
    return DegradedRule(artifact_type=KIND, max_age_s=max_age_s, withhold=withhold)


def publish(story: Story, artifact: Artifact, link: LinkId) -> None:
    """As far as the links that have to be switched by it."""
    story.announce(artifact, link).persisted()
    if artifact.manifest.tombstone is None:
        story.stored(artifact, link)


class Node(Story):
    """A node that reads the routes, under a policy; its disk does all that is asked."""

    def __init__(
        self,
        *rules: DegradedRule,
        old: Artifact = OLD,
        holds: tuple[Opening, ...] = f.OPENINGS,
    ) -> None:
        super().__init__(holds=holds)
        self.peer = self.link("n3")
        self.accept(snapshot(2, *rules), self.peer)
        self.accept(old, self.peer)

    def turn(self, seconds: int) -> list[tuple[str, Order | None]]:
        """Time passes up to so many seconds after the beginning; what the links become."""
        self.wait(seconds * 1_000 - self.now.instant)
        return self.did(TimerFired(timer=RefreshDue()))

    def did(self, event: TimerFired) -> list[tuple[str, Order | None]]:
        self.when(event)
        return self.switched()

    def switched(self) -> list[tuple[str, Order | None]]:
        """What the links of the routes became by the last event, once the disk has done it."""
        found, effects = [], list(self.effects)
        waiting = self.find(Materialize)
        while waiting:
            one = waiting.pop(0)
            self.when(Persisted(token=one.token, ok=True))
            effects += self.effects
            waiting += self.find(Materialize)
            if one.namespace == NAMESPACE:
                found.append((one.namespace, one.order))
        self.effects = effects
        return found

    def gives(self, artifact: Artifact) -> list[tuple[str, Order | None]]:
        """Somebody publishes something; what the links become by it."""
        publish(self, artifact, self.peer)
        return self.switched()

    @property
    def state(self) -> str:
        head = self.node.view.find(NAMESPACE)
        assert head is not None
        return state_of(head, self.now)

    @property
    def problems(self) -> list[ProblemCode]:
        found = self.node.view.snapshot(self.now).problems
        return [one.code for one in found if one.namespace == NAMESPACE]


AWAY: Final = [(NAMESPACE, None)]
BACK: Final = [(NAMESPACE, OLD.manifest.order)]


def test_it_is_put_away_at_the_very_second_the_policy_ends() -> None:
    node = Node(rule())
    assert node.turn(OVER_AGE_S - 1) == []
    assert (node.state, node.problems) == ("stale", [ProblemCode.REFRESH_OVERDUE])
    assert node.turn(OVER_AGE_S) == AWAY
    assert node.facts() == [Fact.ARTIFACT_WITHHELD]
    assert (node.state, node.problems) == ("withheld", [ProblemCode.WITHHELD])
    assert node.node.view.snapshot(node.now).namespaces.stale == 1
    (problem,) = (one for one in node.node.view.snapshot(node.now).problems if one.namespace)
    assert problem.because.startswith(f"{MAX_AGE_S} s past its refresh time")
    assert node.turn(OVER_AGE_S + 30) == []


@pytest.mark.parametrize("rules", [(), (rule(withhold=False),), (rule(10_000),)])
def test_nothing_but_a_rule_that_says_so_puts_anything_away(
    rules: tuple[DegradedRule, ...],
) -> None:
    node = Node(*rules)
    assert node.turn(OVER_AGE_S) == []
    assert node.state == "stale"


def test_what_is_put_away_is_held_and_a_newer_version_ends_it() -> None:
    node = Node(rule())
    node.turn(OVER_AGE_S)
    head = node.node.view.find(NAMESPACE)
    assert head is not None
    assert (head.is_held, head.state) == (True, HeadState.WITHHELD)
    node.gives(routes(8))
    assert node.state == "current"
    assert node.turn(OVER_AGE_S + 30) == []


@pytest.mark.parametrize("other", [rule(10_000), rule(withhold=False)], ids=["longer", "keep"])
def test_another_policy_brings_it_back_at_once(other: DegradedRule) -> None:
    node = Node(rule())
    assert node.turn(OVER_AGE_S) == AWAY
    assert node.gives(snapshot(3, other)) == BACK
    assert node.state == "stale"
    assert node.problems == [ProblemCode.REFRESH_OVERDUE]


def test_what_was_put_away_does_not_come_back_to_who_only_stores_it_since() -> None:
    for_edges = artifact(
        KIND,
        "routes/r1",
        content=b"routes 7",
        refresh_by=f.NOW + REFRESH_S,
        expires_at=f.NOW + EXPIRY_S,
        audience=EDGES,
    )
    node = Node(rule(), old=for_edges, holds=STORED)
    assert node.turn(OVER_AGE_S) == AWAY
    no_more_an_edge(node)
    assert node.gives(snapshot(3, rule(10_000))) == []


def test_no_rule_brings_nothing_back() -> None:
    """A policy that says nothing of a type allows nothing."""
    node = Node(rule())
    node.turn(OVER_AGE_S)
    assert node.gives(snapshot(3)) == []
    assert node.state == "withheld"


def test_a_clock_that_ran_ahead_puts_away_and_gives_back_once_it_is_believed_again() -> None:
    """Set right and not believed yet, it says nothing of any age."""
    node = Node(rule())
    node.step_clock(300)
    assert node.turn(1) == AWAY
    node.step_clock(-300)
    assert node.turn(2) == []
    assert node.node.view.snapshot(node.now).mode is Mode.CLOCK_SUSPECT
    node.gives(revocations(8))
    assert node.turn(3) == BACK
    assert node.node.view.snapshot(node.now).mode is Mode.FRESH
    assert node.state == "current"


def test_what_is_withdrawn_while_it_is_away_never_comes_back() -> None:
    node = Node(rule())
    node.turn(OVER_AGE_S)
    node.gives(tombstone(8))
    assert node.gives(snapshot(3, rule(10_000))) == []


def test_what_expires_or_is_contradicted_while_it_is_away_stays_away() -> None:
    node = Node(rule())
    node.turn(OVER_AGE_S)
    other = artifact(KIND, "routes/r1", content=b"other", refresh_by=f.NOW + REFRESH_S)
    node.announce(other, node.peer).persisted()
    assert node.state == "disputed"
    assert node.gives(snapshot(3, rule(100_000))) == []

    node = Node(rule())
    node.turn(OVER_AGE_S)
    node.turn(EXPIRY_S)
    assert node.state == "expired"
    assert node.gives(snapshot(3, rule(100_000))) == []


def test_the_disk_that_refuses_is_asked_again() -> None:
    node = Node(rule())
    node.wait(OVER_AGE_S * 1_000).when(TimerFired(timer=RefreshDue()))
    (away,) = node.find(Materialize)
    node.when(Persisted(token=away.token, ok=False))
    assert node.turn(OVER_AGE_S + 1) == AWAY


def test_the_gate_says_too_old_and_not_that_there_is_no_such_thing() -> None:
    node = Node(rule())
    node.turn(OVER_AGE_S)
    body = GateRequest(action="read-config", namespace=NAMESPACE)
    node.when(RequestMade(request=RequestId(1), body=body))
    permit = node.only(Answer).permit
    assert permit is not None
    assert (permit.allowed, permit.code) == (False, PermitCode.TOO_OLD)


def test_a_restart_forgets_neither_that_it_is_away_nor_how_it_comes_back() -> None:
    late = artifact(KIND, "routes/r1", content=b"routes 7", refresh_by=f.NOW - OVER_AGE_S)
    heads = (stored_head(late),)
    for away, state in ((((NAMESPACE, late.envelope),), "withheld"), ((), "stale")):
        story = Story(started=replace(NOTHING_STORED, heads=heads, put_away=away))
        head = story.node.view.find(NAMESPACE)
        assert head is not None
        assert state_of(head, story.now) == state
        link = story.link("n3")
        story.accept(snapshot(2, rule()), link)
        assert [one for one in story.find(Materialize) if one.namespace == NAMESPACE] == []
        publish(story, snapshot(3, rule(10_000)), link)
        back = [one.order for one in story.find(Materialize) if one.namespace == NAMESPACE]
        assert back == ([late.manifest.order] if away else [])


def test_a_start_puts_away_what_grew_too_old_while_the_node_was_down() -> None:
    late = artifact(KIND, "routes/r1", content=b"routes 7", refresh_by=f.NOW - OVER_AGE_S)
    heads = (stored_head(snapshot(2, rule())), stored_head(late))
    visible = ((NAMESPACE, late.envelope),)
    story = Story(started=replace(NOTHING_STORED, heads=heads, visible=visible))
    assert [
        (one.namespace, one.order) for one in story.find(Materialize) if one.namespace == NAMESPACE
    ] == AWAY
    withheld = [one for one in story.find(Record) if one.fact is Fact.ARTIFACT_WITHHELD]
    assert [dict(one.fields)["source"] for one in withheld] == ["over age"]


def test_a_tombstone_ends_what_was_put_away_also_where_its_bytes_stay() -> None:
    """Another namespace names the same bytes, so they are still here when the policy would let
    consumers read them again."""
    node = Node(rule())
    node.gives(routes(7, "r2", content=OLD.content))
    assert node.turn(OVER_AGE_S + 1) == AWAY
    node.gives(tombstone(8))
    assert node.gives(snapshot(3, rule(max_age_s=500))) == []
    assert node.turn(OVER_AGE_S + 30) == []
    assert node.state == "withdrawn"
