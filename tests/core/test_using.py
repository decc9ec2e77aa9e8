"""An operator puts local software back to an older version: what is read changes, nothing else."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest

from fabgossip.core.effects import Answer, Fact, Materialize, Outcome, Persist, Record, Send
from fabgossip.core.events import (
    ClockChanged,
    GateRequest,
    LinkId,
    PapersRead,
    Persisted,
    RefreshDue,
    ReleaseRequest,
    RequestId,
    RequestMade,
    TimerFired,
    UseRequest,
)
from fabgossip.core.problems import ProblemCode
from fabgossip.model.artifact import ArtifactType, Order
from fabgossip.model.authority import ClaimItem, RevocationList, RevokedKind
from fabgossip.model.mode import Mode, PermitCode
from fabgossip.model.persistence import (
    DropHeldBack,
    PutHeldBack,
)
from fabgossip.model.policy import DegradedRule
from fabgossip.model.scope import StorageAssignment, parse_scope_id
from fabgossip.wire.contents import revocations_bytes
from tests.core.artifacts import (
    Artifact,
    acme_routes,
    artifact,
    peers,
    record,
    revocations,
    revoked,
    routes,
    sealed,
    stored_head,
    tombstone,
    trust,
)
from tests.core.story import NOTHING_STORED, Story
from tests.core.test_own_papers import papers
from tests.core.test_withholding import snapshot
from tests.trust import factory as f

NAMESPACE: Final = routes().manifest.namespace.text
ONE: Final = RequestId(1)
HOUR_S: Final = 3_600
OLD, NEW, NEWER = routes(7), routes(8), routes(9)
KIND: Final = ArtifactType.ROUTE_POLICY_BUNDLE


def read(story: Story) -> list[tuple[Order | None, bool]]:
    """What links of the namespace are asked for, and whether from a folder that is there."""
    return [
        (one.order, one.is_kept) for one in story.find(Materialize) if one.namespace == NAMESPACE
    ]


def order_of(one: Artifact) -> Order:
    return one.manifest.order


def asked(story: Story, one: Artifact = OLD, seconds: int = HOUR_S) -> Story:
    body = UseRequest(
        owner="uid:0",
        reason="8 breaks the edge",
        seconds=seconds,
        namespace=one.manifest.namespace.text,
        order=order_of(one),
        envelope=one.envelope,
    )
    return story.when(RequestMade(request=ONE, body=body))


def done(story: Story) -> Story:
    """The disk does all that is asked of it, and what follows from that."""
    effects = story.effects
    waiting: list[Persist | Materialize] = [*story.find(Persist), *story.find(Materialize)]
    while waiting:
        story.when(Persisted(token=waiting.pop(0).token, ok=True))
        waiting += [*story.find(Persist), *story.find(Materialize)]
        effects = effects + story.effects
    story.effects = effects
    return story


def release(story: Story) -> Story:
    body = ReleaseRequest(owner="uid:0", namespace=NAMESPACE)
    return story.when(RequestMade(request=ONE, body=body))


def turn(story: Story, seconds: int = 0) -> Story:
    return story.wait(seconds * 1_000).when(TimerFired(timer=RefreshDue()))


def holding(seconds: int = HOUR_S, *rules: DegradedRule) -> tuple[Story, LinkId]:
    """A node whose consumers were put back from the newest version to the one before."""
    story = Story()
    link = story.link("n3")
    if rules:
        story.accept(snapshot(2, *rules), link)
    story.accept(OLD, link).accept(NEW, link)
    done(asked(story, seconds=seconds))
    assert story.only(Answer).outcome is Outcome.HELD_BACK
    return story, link


def holds(story: Story) -> list[Order]:
    """What the problem says, and the state of the head agrees."""
    found = story.node.view.held_back(NAMESPACE)
    problems = story.node.view.snapshot(story.now).problems
    assert (found is not None) == (ProblemCode.HELD_BACK in {one.code for one in problems})
    return [] if found is None else [found.order]


def test_a_hold_is_durable_before_anything_is_switched_by_it_and_answered_after_that() -> None:
    story = Story()
    link = story.link("n3")
    story.accept(OLD, link).accept(NEW, link)
    asked(story)
    (put,) = story.only(Persist).changes
    assert isinstance(put, PutHeldBack)
    assert (put.held_back.order, put.held_back.before) == (
        order_of(OLD),
        NEW.verified.manifest_hash,
    )
    assert read(story) == []
    story.persisted()
    assert story.facts() == [Fact.HELD_BACK]
    assert read(story) == [(order_of(OLD), True)]
    assert story.find(Answer) == []
    story.materialized()
    answer = story.only(Answer)
    assert (answer.outcome, answer.held_back) == (Outcome.HELD_BACK, put.held_back)
    assert story.trusted["routes/r1"] == (order_of(NEW), "held_back")
    (problem,) = story.node.view.snapshot(story.now).problems[-1:]
    assert problem.code is ProblemCode.HELD_BACK
    assert problem.because == (
        'uid:0 put it back to 2.7: "8 breaks the edge"; for 60 minutes more at most, and 2.8 waits'
    )


def test_no_floor_moves_and_peers_are_told_and_served_as_before() -> None:
    story = Story()
    link = story.link("n3")
    story.accept(OLD, link).accept(NEW, link)
    floors = story.node.view.floors()
    done(asked(story))
    assert story.find(Send) == []
    assert story.node.view.floors() == floors
    head = story.node.view.find(NAMESPACE)
    assert head is not None
    assert (head.verified.manifest_hash, head.is_held) == (NEW.verified.manifest_hash, True)


def test_newer_versions_are_fetched_and_held_and_applied_at_the_release() -> None:
    story, link = holding()
    story.accept(NEWER, link)
    assert read(turn(story)) == []
    assert story.trusted["routes/r1"] == (order_of(NEWER), "held_back")
    release(story)
    answer = story.only(Answer)
    assert (answer.outcome, answer.namespace) == (Outcome.RELEASED, NAMESPACE)
    assert story.only(Persist).changes == (DropHeldBack(namespace=NAMESPACE),)
    assert read(story) == [(order_of(NEWER), False)]
    assert story.facts() == [Fact.RELEASED]
    done(story)
    assert story.trusted["routes/r1"] == (order_of(NEWER), "current")
    assert holds(story) == []


def test_a_hold_ends_by_its_time_but_not_by_a_clock_nobody_believes() -> None:
    story, _ = holding(60)
    assert read(turn(story, 59)) == []
    story.when(ClockChanged(is_synchronized=False))
    assert read(turn(story, 60)) == []
    assert holds(story) == [order_of(OLD)]
    story.when(ClockChanged(is_synchronized=True))
    turn(story)
    assert read(story) == [(order_of(NEW), False)]
    assert Fact.RELEASED in story.facts()


def test_what_was_read_before_a_hold_is_read_again_past_its_refresh_time() -> None:
    """The control plane is dark, and the older version proved to be no better."""
    story = Story()
    link = story.link("n3")
    brief = artifact(KIND, "routes/r1", version=8, content=b"brief", refresh_by=f.NOW + 60)
    story.accept(OLD, link).accept(brief, link)
    done(asked(story))
    turn(story, 2_000)
    assert story.node.view.snapshot(story.now).mode is not Mode.FRESH
    assert read(release(story)) == [(order_of(brief), False)]


def test_in_the_dark_that_is_so_however_a_hold_ends_and_after_a_second_one() -> None:
    story = Story()
    link = story.link("n3")
    brief = artifact(KIND, "routes/r1", version=8, content=b"brief", refresh_by=f.NOW + 60)
    older = ending(f.NOW + 3_000)
    story.accept(older, link).accept(brief, link)
    done(asked(story, routes(6)))
    done(asked(story, older))
    assert holds(story) == [order_of(older)]
    assert read(turn(story, 3_001)) == [(None, False), (order_of(brief), False)]


def test_a_wider_version_that_came_meanwhile_waits_for_a_fresh_mode_as_ever() -> None:
    edge = f.audience(f"cluster:{f.CLUSTER}", "role:edge")
    story = Story()
    link = story.link("n3")
    for version in (7, 8):
        one = artifact(KIND, "routes/r1", version=version, content=b"%d" % version, audience=edge)
        story.accept(one, link)
    old = artifact(KIND, "routes/r1", version=7, content=b"7", audience=edge)
    done(asked(story, old))
    story.accept(NEWER, link)
    turn(story, 1_000)
    assert read(release(story)) == []
    assert story.trusted["routes/r1"] == (order_of(NEWER), "held")


def test_a_new_epoch_that_is_not_heard_out_leaves_a_hold_as_it_is() -> None:
    """Without claims of that epoch nobody knows what is for this node."""
    story, link = holding()
    bundle = trust(replace(f.NEXT_BUNDLE, authority_epoch=3))
    story.announce(bundle, link).persisted().stored(bundle, link)
    assert read(story) == []
    assert story.trusted["routes/r1"] == (order_of(NEW), "outdated")
    assert holds(story) == [order_of(OLD)]
    assert asked(story).only(Answer).outcome is Outcome.UNKNOWN


def ending(at: int) -> Artifact:
    """The older version, which expires at this time."""
    return artifact(KIND, "routes/r1", content=b"brief", refresh_by=at, expires_at=at)


TAKEN: Final[dict[str, Callable[[], Artifact]]] = {
    "the version is revoked": lambda: revocations(
        8, revoked(RevokedKind.MANIFEST, OLD.verified.manifest_hash)
    ),
    "the newest is revoked": lambda: revocations(
        8, revoked(RevokedKind.MANIFEST, NEW.verified.manifest_hash)
    ),
    "a tombstone": lambda: tombstone(9),
}


@pytest.mark.parametrize("why", TAKEN)
def test_what_takes_a_version_away_takes_it_although_it_is_held(why: str) -> None:
    story, link = holding()
    one = TAKEN[why]()
    story.announce(one, link).persisted()
    if one.manifest.tombstone is None:
        story.stored(one, link)
    follows = [(order_of(NEW), False)] if why == "the version is revoked" else []
    assert read(story) == [(None, False), *follows]
    assert Fact.RELEASED in story.facts()
    changes = [one for row in story.find(Persist) for one in row.changes]
    assert DropHeldBack(namespace=NAMESPACE) in changes
    done(story)
    assert holds(story) == []


def test_a_version_that_expires_leaves_and_the_newest_is_read() -> None:
    brief = ending(f.NOW + 100)
    story = Story()
    link = story.link("n3")
    story.accept(brief, link).accept(NEW, link)
    done(asked(story, brief))
    assert read(turn(story, 101)) == [(None, False), (order_of(NEW), False)]
    done(story)
    assert story.trusted["routes/r1"] == (order_of(NEW), "current")


def test_a_version_over_the_age_of_the_policy_is_put_away_and_stays_held_back() -> None:
    rule = DegradedRule(artifact_type=KIND, max_age_s=60, withhold=True)
    brief = artifact(KIND, "routes/r1", content=b"brief", refresh_by=f.NOW + 30)
    story = Story()
    link = story.link("n3")
    story.accept(snapshot(2, rule), link).accept(brief, link).accept(NEW, link)
    done(asked(story, brief))
    assert read(turn(story, 91)) == [(None, False)]
    done(story)
    longer = replace(rule, max_age_s=10_000)
    story.announce(snapshot(3, longer), link).persisted().stored(snapshot(3, longer), link)
    assert read(story) == [(order_of(brief), True)]
    assert holds(story) == [order_of(brief)]


REFUSED: Final[dict[str, tuple[Artifact, str]]] = {
    "the newest": (NEW, "newest"),
    "a newer one than there is": (NEWER, "newest"),
    "expired": (ending(f.NOW - 1), "EXPIRED"),
    "of somebody else": (
        artifact(
            KIND,
            "routes/r1",
            content=b"for others",
            audience=f.audience(f"cluster:{f.CLUSTER}", "role:core"),
        ),
        "AUDIENCE_NOT_OURS",
    ),
    "an envelope that is none": (replace(OLD, envelope=b"changed"), "MALFORMED"),
    "the envelope of another version": (replace(OLD, envelope=routes(6).envelope), "damaged"),
}


def test_what_is_held_for_others_alone_is_not_put_back() -> None:
    """This node stores it, and may not apply it."""
    kind, tail = ArtifactType.SERVICE_ASSIGNMENT_BUNDLE, "services/dns"
    own = f.audience(f"cluster:{f.CLUSTER}", "service:dns")
    others = f.audience(f"cluster:{f.CLUSTER}", "role:core", "service:dns")
    assignment = StorageAssignment((parse_scope_id(f"cluster:{f.CLUSTER}"),), (kind.value,))
    stores = f.opening(ClaimItem(assignment=assignment), 9)
    story = Story(holds=(f.SERVICE_OPENING, stores))
    link = story.link("n3")
    story.accept(artifact(kind, tail, version=8, content=b"8", audience=own), link)
    answer = asked(story, artifact(kind, tail, content=b"7", audience=others)).only(Answer)
    assert (answer.outcome, answer.code) == (Outcome.REFUSED, "AUDIENCE_NOT_OURS")
    assert "it is not for this node" in answer.detail


def test_what_the_policy_would_put_away_is_not_put_back() -> None:
    rule = DegradedRule(artifact_type=KIND, max_age_s=60, withhold=True)
    brief = artifact(KIND, "routes/r1", content=b"brief", refresh_by=f.NOW - 61)
    story = Story()
    link = story.link("n3")
    story.accept(snapshot(2, rule), link).accept(NEW, link)
    assert asked(story, brief).only(Answer).code == "too_old"


@pytest.mark.parametrize("what", REFUSED)
def test_what_trust_refuses_or_is_no_older_version_is_not_put_back(what: str) -> None:
    one, code = REFUSED[what]
    story = Story()
    link = story.link("n3")
    story.accept(OLD, link).accept(NEW, link)
    asked(story, one)
    answer = story.only(Answer)
    assert (answer.outcome, answer.code) == (Outcome.REFUSED, code)
    assert (story.find(Persist), read(story), holds(story)) == ([], [], [])


def test_a_revoked_version_is_not_put_back_nor_anything_where_the_newest_is_gone() -> None:
    for taken, code in ((OLD, "ARTIFACT_REVOKED"), (NEW, "gone")):
        story = Story()
        link = story.link("n3")
        story.accept(OLD, link).accept(NEW, link)
        bad = revocations(8, revoked(RevokedKind.MANIFEST, taken.verified.manifest_hash))
        done(story.announce(bad, link).persisted().stored(bad, link))
        answer = asked(story).only(Answer)
        assert (answer.outcome, answer.code) == (Outcome.REFUSED, code)
        assert read(story) == []


def test_directories_and_trust_are_never_put_back() -> None:
    story = Story()
    link = story.link("n3")
    old, new = (peers(record("n1"), record("n3"), version=one) for one in (7, 8))
    story.accept(old, link).accept(new, link)
    answer = asked(story, old).only(Answer)
    assert (answer.outcome, answer.code) == (Outcome.REFUSED, "type")


def test_what_is_unknown_here_and_what_is_for_others_get_the_same_words() -> None:
    story = Story()
    story.link("n3")
    absent, foreign = acme_routes(), artifact(KIND, "org/globex/routes/r1")
    words = []
    for one in (absent, foreign):
        answer = asked(story, one).only(Answer)
        assert answer.outcome is Outcome.UNKNOWN
        words.append(answer.detail.removeprefix(one.manifest.namespace.text))
    assert words[0] == words[1]


@pytest.mark.parametrize("doubt", [Mode.CLOCK_SUSPECT, Mode.AMNESIA])
def test_who_cannot_know_what_is_revoked_or_expired_puts_nothing_back(doubt: Mode) -> None:
    started = replace(
        NOTHING_STORED,
        heads=(stored_head(NEW),),
        visible=((NAMESPACE, NEW.envelope),),
        memory=replace(NOTHING_STORED.memory, is_whole=doubt is not Mode.AMNESIA),
    )
    story = Story(started=started, is_fresh=doubt is not Mode.AMNESIA)
    if doubt is Mode.CLOCK_SUSPECT:
        story.when(ClockChanged(is_synchronized=False))
    answer = asked(story).only(Answer)
    assert (answer.outcome, answer.code) == (Outcome.REFUSED, "mode")


def test_a_disk_that_refuses_the_hold_leaves_all_as_it_was() -> None:
    story = Story()
    link = story.link("n3")
    story.accept(OLD, link).accept(NEW, link)
    asked(story).persisted(ok=False)
    assert story.only(Answer).outcome is Outcome.FAILED
    # A commit that is said to have failed may be on the disk all the same.
    assert story.only(Persist).changes == (DropHeldBack(namespace=NAMESPACE),)
    assert read(story) == []
    assert story.trusted["routes/r1"] == (order_of(NEW), "current")
    assert holds(story) == []


@pytest.mark.parametrize("is_held_before", [False, True])
def test_a_damaged_folder_is_not_switched_to_and_what_stood_before_stands(
    *, is_held_before: bool
) -> None:
    story = Story()
    link = story.link("n3")
    story.accept(routes(6), link).accept(OLD, link).accept(NEW, link)
    if is_held_before:
        done(asked(story, OLD))
    asked(story, routes(6)).persisted()
    story.when(Persisted(token=story.only(Materialize).token, ok=False))
    assert story.only(Answer).outcome is Outcome.FAILED
    assert story.facts() == [Fact.STORAGE_FAILED, Fact.RELEASED]
    assert read(story) == []
    state = "held_back" if is_held_before else "current"
    assert story.trusted["routes/r1"] == (order_of(NEW), state)
    changes = [one for row in story.find(Persist) for one in row.changes]
    assert [type(one) for one in changes] == [DropHeldBack, PutHeldBack][: 1 + is_held_before]
    assert holds(story) == [order_of(OLD)] * is_held_before


def test_what_is_withdrawn_while_it_is_put_back_is_answered_so() -> None:
    story = Story()
    link = story.link("n3")
    story.accept(OLD, link).accept(NEW, link)
    asked(story).persisted()
    switch = story.only(Materialize).token
    story.announce(tombstone(9), link).persisted()
    away = story.find(Materialize)[-1].token
    story.when(Persisted(token=switch, ok=True))
    answer = story.only(Answer)
    assert (answer.outcome, "taken away" in answer.detail) == (Outcome.FAILED, True)
    story.when(Persisted(token=away, ok=True))
    assert holds(story) == []


def test_of_a_namespace_one_is_under_way_at_a_time() -> None:
    story = Story()
    link = story.link("n3")
    story.accept(OLD, link).accept(NEW, link)
    put = asked(story).only(Persist).token
    assert asked(story).only(Answer).outcome is Outcome.FAILED
    assert release(story).only(Answer).outcome is Outcome.FAILED
    done(story.when(Persisted(token=put, ok=True)))
    assert holds(story) == [order_of(OLD)]


def test_a_hold_whose_time_is_over_while_it_is_made_ends_after_that() -> None:
    story = Story()
    link = story.link("n3")
    story.accept(OLD, link).accept(NEW, link)
    put = asked(story, seconds=1).only(Persist).token
    assert read(turn(story, 5)) == []
    assert story.node.view.held_back(NAMESPACE) is not None
    done(story.when(Persisted(token=put, ok=True)))
    assert read(turn(story, 6)) == [(order_of(NEW), False)]


def test_a_release_of_what_is_not_held_back_is_told_so() -> None:
    story = Story()
    assert release(story).only(Answer).outcome is Outcome.UNKNOWN


def test_a_release_the_disk_refused_is_not_written_over_a_hold_that_came_since() -> None:
    story, _ = holding()
    drop = release(story).only(Persist).token
    switch = story.only(Materialize).token
    story.when(Persisted(token=drop, ok=False)).when(Persisted(token=switch, ok=True))
    done(asked(story))
    changes = [one for found in turn(story).find(Persist) for one in found.changes]
    assert [one for one in changes if isinstance(one, DropHeldBack)] == []
    assert holds(story) == [order_of(OLD)]


def test_the_claims_of_a_new_epoch_end_a_hold_of_the_one_before() -> None:
    """Its version stays, as the last good one, until something newer comes."""
    story, link = holding()
    bundle = trust(replace(f.NEXT_BUNDLE, authority_epoch=3))
    story.announce(bundle, link).persisted().stored(bundle, link)
    listed = sealed(
        replace(f.manifest(ArtifactType.REVOCATION_LIST), authority_epoch=3),
        revocations_bytes(RevocationList()),
    )
    story.accept(listed, link)
    claims = f.signed_claims(replace(f.claims(), authority_epoch=3))
    story.when(PapersRead(papers=papers(claims=claims)))
    own = snapshot(2)
    fresh = sealed(replace(own.manifest, authority_epoch=3), own.content)
    story.announce(fresh, link).persisted().stored(fresh, link)
    assert read(story) == []
    assert Fact.RELEASED in story.facts()
    assert asked(story).only(Answer).code == "EPOCH_STALE"


def test_the_gate_judges_what_is_in_use_and_opens_nothing_of_the_newest() -> None:
    rule = DegradedRule(artifact_type=KIND, max_age_s=60, withhold=False)
    story, _ = holding(HOUR_S, rule)
    said = {}
    for action in ("read-config", "start-service", "activate-update"):
        body = GateRequest(action=action, namespace=NAMESPACE)
        permit = story.when(RequestMade(request=ONE, body=body)).only(Answer).permit
        assert permit is not None
        said[action] = permit.code
        if action == "read-config":
            assert "2.7 is in use, 2.8 held back" in permit.reason
    assert said == {
        "read-config": PermitCode.ALLOWED_STALE,
        "start-service": PermitCode.ALLOWED_STALE,
        "activate-update": PermitCode.NOT_USABLE,
    }


def test_who_did_it_why_and_until_when_is_on_record() -> None:
    story = Story()
    link = story.link("n3")
    story.accept(OLD, link).accept(NEW, link)
    asked(story).persisted()
    (held_back,) = (one for one in story.find(Record) if one.fact is Fact.HELD_BACK)
    assert dict(held_back.fields) == {
        "source": "uid:0",
        "namespace": NAMESPACE,
        "epoch": 2,
        "version": 7,
        "until": f.NOW + HOUR_S,
        "detail": "8 breaks the edge",
    }
