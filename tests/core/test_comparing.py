"""Two nodes hold their sets against each other: what one lacks comes to it, and nothing else is
said."""

from dataclasses import replace

import pytest

from fabgossip.core.counting import SETTLED
from fabgossip.core.disclosure import Disclosure
from fabgossip.core.events import (
    ComparisonDue,
    HaveDue,
    LinkId,
    MessageReceived,
    Started,
    TimerFired,
    Unsent,
)
from fabgossip.core.rates import RATES, Kind
from fabgossip.core.reconciliation import LOOK_AGAIN, PUSHED_BYTES_MAX, STARTED_MAX
from fabgossip.core.salts import DAY_S, OVERLAP_S
from fabgossip.core.sessions import Session
from fabgossip.model.artifact import ArtifactType, VerifiedManifest
from fabgossip.model.authority import MEMBER_ROLE
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import (
    Announce,
    GetManifests,
    Graft,
    Have,
    Ids,
    Manifests,
    Message,
    Ping,
    Ranges,
    Roots,
    SaltId,
    SetRoot,
)
from fabgossip.model.moment import Now
from fabgossip.model.persistence import StoredMemory
from fabgossip.wire.codec import message_body
from tests.core.artifacts import (
    EVERYBODY,
    IN_ACME,
    Artifact,
    acme_peers,
    acme_routes,
    artifact,
    revocations,
    routes,
    stored_head,
    tombstone,
    trust,
    update,
)
from tests.core.duet import Duet
from tests.core.story import SALT, Peer, Story, announcement, handed_over, roots_told
from tests.trust import factory

COMPARISON = (Roots, Ranges, Ids, GetManifests, Manifests)
BOTH = acme_peers("n1", "n2")


def node(name: str, *held: Artifact) -> Story:
    """A node that has these on its disk."""
    rows = tuple(stored_head(one) for one in held)
    return Story(name=name, started=Started(trust=(), heads=rows, floors=()))


def answered(story: Story, link: LinkId) -> list[Roots]:
    """What is told because of a ping, at once or after a moment."""
    told = roots(story, link)
    if told:
        return told
    later_on = story.wait(LOOK_AGAIN).when(TimerFired(timer=ComparisonDue(link=link)))
    return roots(later_on, link)


def roots(story: Story, link: LinkId) -> list[Roots]:
    return [one for one in story.sent(link) if isinstance(one, Roots)]


def trusted(story: Story) -> dict[str, int]:
    """Version by namespace, of what both may have."""
    return {
        head.manifest.namespace.text: head.manifest.config_version
        for head in story.node.view.heads_after("", 1_000)
        if "/snapshots/node/" not in head.manifest.namespace.text
    }


def test_what_either_missed_comes_to_it_when_the_link_opens() -> None:
    """A newer version, a withdrawal and something unheard of; on both sides, nothing grafted."""
    theirs = (routes(8, "r1"), routes(7, "r2"), tombstone(9, "r3"))
    ours = (routes(7, "r1"), routes(8, "r3"), routes(7, "r4"))
    duet = Duet(node("n1", *ours), node("n2", *theirs), (*ours, *theirs)).open()
    one, other = (trusted(story) for story in duet.nodes)
    assert one == other
    assert {one[f"{factory.PREFIX}/routes/r{n}"] for n in (1, 2)} == {8, 7}
    assert one[f"{factory.PREFIX}/routes/r3"] == 9
    assert one[f"{factory.PREFIX}/routes/r4"] == 7
    assert duet.said(Have, Graft) == []


def test_equal_sets_are_found_equal_by_the_ping_alone() -> None:
    """A link that has nothing to tell costs a few bytes, however much both hold."""
    held = tuple(routes(7, f"r{number}") for number in range(40))
    duet = Duet(node("n1", *held), node("n2", *held)).open()
    # Claims count once they are durable; a second link knows them from the start.
    duet.close().sent.clear()
    duet.open().run(60_000)
    assert duet.said(*COMPARISON) == []
    pings = duet.said(Ping)
    assert len(pings) > 5
    assert max(len(message_body(one)[1]) for one in pings) <= 60 - 8 - 22


def test_an_audience_that_only_one_end_ever_heard_of_is_found() -> None:
    """Neither the dialler's nor the other's: of what the roots do not name, the peer is told."""
    edges = factory.audience("cluster:prod", "role:edge")
    only = artifact(ArtifactType.ROUTE_POLICY_BUNDLE, "routes/edges", audience=edges)
    for at in (0, 1):
        held: list[tuple[Artifact, ...]] = [(), ()]
        held[at] = (only,)
        duet = Duet(node("n1", *held[0]), node("n2", *held[1]), (only,)).open().run(20_000)
        for story in duet.nodes:
            assert only.manifest.namespace.text in trusted(story)


def test_many_audiences_are_compared_one_after_the_other_without_a_pause() -> None:
    """More than are compared at once: the others follow, and wait for no ping."""
    many = [
        artifact(
            ArtifactType.ROUTE_POLICY_BUNDLE,
            f"routes/r{number}",
            audience=factory.audience("cluster:prod", f"node:m{number}", "node:n1", "node:n2"),
        )
        for number in range(3 * STARTED_MAX)
    ]
    assert len({one.manifest.audience for one in many}) == len(many)
    duet = Duet(node("n1"), node("n2", *many), many).open()
    assert trusted(duet.nodes[0]) == trusted(duet.nodes[1])


def test_the_other_side_of_a_dispute_is_given_once_it_is_durable() -> None:
    """What a power cut could take back is not told, and not counted."""
    story = node("n1", routes())
    link = story.link("n2")
    side = routes(7, content=b"another")
    story.announce(side, link)
    persist = story.effects
    assert handed_over(story, link, EVERYBODY) & {routes().envelope, side.envelope} == {
        routes().envelope
    }
    story.effects = persist
    story.persisted()
    assert handed_over(story, link, EVERYBODY) >= {routes().envelope, side.envelope}


def test_a_node_that_cannot_vouch_tells_of_no_set() -> None:
    """Its disk may be of last week: it has forgotten that, and learns from others first."""
    seen = ((NodeId("n2"), factory.BUNDLE.authority_epoch, 1),)
    for is_whole, expected in ((True, {EVERYBODY}), (False, set())):
        memory = StoredMemory(is_whole=is_whole, claims_seen=seen)
        rows = (stored_head(routes()),)
        story = Story(started=Started(trust=(), heads=rows, floors=(), memory=memory))
        link = story.link("n2")
        (session,) = story.node.view.sessions()
        assert session.claims is not None
        assert roots_told(story, link) == expected


def test_under_an_expired_list_trust_alone_is_compared() -> None:
    """Of everything else nobody may be told; the list itself takes away past its end."""
    lasting = artifact(
        ArtifactType.ROUTE_POLICY_BUNDLE, "routes/r9", expires_at=factory.NOW + 9 * factory.DAY
    )
    story = node("n1", lasting)
    link = story.link("n2")
    for wait_s, expected in ((0, 2), (factory.DAY - 1, 1)):  # a later ping is answered after 1 s
        story.wait(1_000 * wait_s)
        salt = SaltId(SALT.bundle_version, story.now.unix // DAY_S)
        story.hear(link, Ping(sequence=1, salt=salt, link_root=b"another!"))
        told = [one for one in answered(story, link) if one.entries]
        assert [one.count for one in told[-1].entries] == [expected]


def test_what_a_role_may_not_know_of_is_not_compared() -> None:
    """The peer's, and ours: two ends must come to the same set."""
    limited = replace(
        factory.NEXT_BUNDLE,
        role_rules=(
            factory.role_rule(MEMBER_ROLE, ArtifactType.UPDATE_MANIFEST),
            factory.role_rule("edge"),
        ),
    )
    story = node("n1", routes(), update())
    story.accept(trust(limited), story.link("n9"))
    salt = SaltId(limited.bundle_version, SALT.day)
    for number, (roles, expected) in enumerate(((("edge",), 4), (("member",), 3))):
        link = story.link(Peer(name=f"n{2 + number}", roles=roles))
        story.wait(SETTLED)
        story.hear(link, Ping(sequence=1, salt=salt, link_root=b"another!"))
        told = [one for one in story.sent(link) if isinstance(one, Roots)]
        assert [one.count for one in told[-1].entries if one.audience == EVERYBODY] == [expected]


def test_a_clock_that_runs_back_brings_back_what_had_ended() -> None:
    """It ran ahead: a tombstone it took for old counts again. `check` holds what counts against the
    catalogue."""
    story = node("n1", tombstone(8))
    for step in (factory.DAY, -factory.DAY):
        story.step_clock(step)
        story.connect("n9")
        story.node.check()


def test_an_organisation_this_node_did_not_show_is_not_compared() -> None:
    """The peer could not tell what both share; what is compared is never wider than that."""
    story = node("n1", acme_routes())
    link = story.link("n4")
    assert IN_ACME not in roots_told(story, link)
    story.accept(acme_peers("n1", "n4"), story.link("n2"))
    assert IN_ACME in roots_told(story, link)


@pytest.mark.parametrize("teller", [0, 1])
def test_a_dropped_announcement_comes_once_the_queue_had_time_to_drain(teller: int) -> None:
    duet = Duet(node("n1"), node("n2"), (routes(),)).open()
    duet.arrives = lambda _, message: not isinstance(message, Announce)
    origin = duet.nodes[teller].link(Peer(name="n9"))
    duet.nodes[teller].announce(routes(), origin)
    duet.nodes[teller].persisted()
    duet.tell(teller, Unsent(link=duet.link, audience=EVERYBODY))
    duet.run(LOOK_AGAIN - 1)
    assert f"{factory.PREFIX}/routes/r1" not in trusted(duet.nodes[1 - teller])
    duet.run(1)
    assert f"{factory.PREFIX}/routes/r1" in trusted(duet.nodes[1 - teller])


def test_a_salt_of_another_day_changes_nothing() -> None:
    """Over midnight and its overlap, with a peer whose clock is two minutes ahead: pings alone."""
    held = tuple(routes(7, f"r{number}") for number in range(5))
    ahead = 120
    midnight = DAY_S - factory.NOW % DAY_S
    duet = Duet(node("n1", *held), node("n2", *held))
    duet.nodes[1].step_clock(ahead)
    for story in duet.nodes:
        story.step_clock(midnight - ahead - 60)
    duet.open()
    duet.sent.clear()
    duet.run(600_000)
    days = {one.salt.day for one in duet.said(Ping) if isinstance(one, Ping)}
    assert len(days) == 2
    assert duet.said(*COMPARISON) == []


@pytest.mark.parametrize(
    ("second", "day", "is_good"),
    [
        (OVERLAP_S - 1, -1, True),
        (OVERLAP_S, -1, False),
        (DAY_S - OVERLAP_S - 1, 1, False),
        (DAY_S - OVERLAP_S, 1, True),
        (DAY_S // 2, 0, True),
    ],
)
def test_another_days_salt_is_good_around_midnight_alone(
    second: int,
    day: int,
    is_good: bool,  # noqa: FBT001  # a case
) -> None:
    story = node("n1", routes())
    link = story.link("n2", is_dialer=False)
    story.wait(1_000 * (DAY_S - factory.NOW % DAY_S + second))
    salt = SaltId(SALT.bundle_version, SALT.day + 1 + day)
    story.hear(link, Ping(sequence=1, salt=salt, link_root=b"another!"))
    told = [one.salt for one in story.sent(link) if isinstance(one, Roots)]
    assert (salt in told) is is_good


def test_a_node_that_does_not_trust_its_clock_takes_the_day_of_who_asks() -> None:
    """Of each for itself, at once and later: what one peer asks under changes nothing for another.
    A day that is far from its own is nobody's, so that nobody makes it build sets of any."""
    story = node("n1", routes())
    links = [story.link(name, is_dialer=False) for name in ("n2", "n3", "n4")]
    story.step_clock(7_200)
    today = story.now.unix // DAY_S

    def asks(number: int, day: int) -> Story:
        ping = Ping(sequence=1, salt=SaltId(SALT.bundle_version, day), link_root=b"%08d" % day)
        return story.hear(links[number], ping)

    for far in (1, today - 2, today + 2):
        assert roots(asks(0, far), links[0]) == []
    for _ in ("at once", "after a moment"):
        for number, day in enumerate((today - 1, today, today + 1)):
            told = answered(asks(number, day), links[number])
            assert {one.salt.day for one in told} == {day}


def test_under_another_bundle_nothing_is_compared_and_who_is_behind_is_told() -> None:
    """Once in a while; a peer that is ahead is asked instead."""
    story = node("n1", routes(), revocations(3))
    link = story.link("n2", is_dialer=False)
    for version, expected in ((SALT.bundle_version - 1, "Announce"), (99, "GetHeads")):
        old = Ping(sequence=1, salt=SaltId(version, SALT.day), link_root=b"another!")
        told = [type(one).__name__ for one in story.hear(link, old).sent(link)]
        assert set(told) == {"Pong", expected}
        again = [type(one).__name__ for one in story.hear(link, old).sent(link)]
        assert again == ["Pong"]
        story.wait(5_000)


@pytest.mark.parametrize("at", [0, 1])
def test_a_new_bundle_between_two_words_of_a_comparison_delays_nothing(at: int) -> None:
    """The end that accepted it cannot answer under the old salt, and the other must not wait for
    that answer."""
    theirs = (routes(8, "r1"), routes(7, "r2"))
    ours = (routes(7, "r1"), routes(7, "r3"))
    newer = trust(replace(factory.BUNDLE, bundle_version=factory.BUNDLE.bundle_version + 1))
    duet = Duet(node("n1", *ours), node("n2", *theirs), (*ours, *theirs, newer))
    duet.open_to(at, "n9")
    crossed: list[int] = []

    def arrives(sender: int, message: Message) -> bool:
        if isinstance(message, Ranges) and sender != at and not crossed:
            crossed.append(at)
            duet.hear(at, announcement(newer))
        return True

    duet.arrives = arrives
    duet.open().run(LOOK_AGAIN)
    assert crossed
    one, other = (trusted(story) for story in duet.nodes)
    assert one == other
    assert one[newer.manifest.namespace.text] == newer.manifest.config_version


def test_a_set_that_is_not_shared_is_none() -> None:
    """Asked for or told of: the same silence as for a set nobody has, at the same cost."""
    story = node("n1", BOTH, acme_routes(), routes())
    outsider = story.link(Peer(name="n5", holds=(), shows=()))
    nobody = factory.audience("cluster:prod", "service:none")
    facts = []
    for audience in (IN_ACME, nobody):
        assert handed_over(story, outsider, audience) == set()
        assert story.sent(outsider) == []
        facts.append(story.facts())
        roots = (SetRoot(audience, 1, bytes(16)),)
        story.hear(outsider, Roots(salt=SALT, is_first=False, is_last=False, entries=roots))
        assert story.sent(outsider) == []
        facts.append(story.facts())
    assert facts[0] == facts[1] == facts[2] == facts[3]
    assert roots_told(story, outsider) == {EVERYBODY}


def test_what_stands_for_a_link_tells_nothing_of_other_audiences() -> None:
    """Two worlds that differ in what a peer may not know send it the same bytes."""
    sent = []
    for held in ((BOTH,), (BOTH, acme_routes())):
        story = node("n1", *held)
        outsider = story.link(Peer(name="n5", holds=(), shows=()))
        first = story.sent(outsider)
        story.hear(outsider, Ping(sequence=1, salt=SALT, link_root=b"another!"))
        sent.append((first, story.sent(outsider)))
    assert any(isinstance(one, Ping) for one in sent[0][0])
    assert sent[0] == sent[1]


def test_what_does_not_fit_unasked_is_offered_and_asked_for() -> None:
    """A node that comes with nothing gets everything, and never more at once than it can take."""
    many = tuple(routes(7, f"r{number}") for number in range(300))
    duet = Duet(node("n1"), node("n2", *many), many).open().run(30_000)
    assert trusted(duet.nodes[0]) == trusted(duet.nodes[1])
    unasked = [
        one for one in duet.said(Manifests) if isinstance(one, Manifests) and not one.answered
    ]
    assert sum(len(raw) for one in unasked for raw in one.envelopes) <= PUSHED_BYTES_MAX
    assert duet.said(Ids)
    asked = [one for one in duet.said(GetManifests) if isinstance(one, GetManifests)]
    assert max(len(one.ids) for one in asked) == 64
    told = [
        raw for one in duet.said(Manifests) if isinstance(one, Manifests) for raw in one.envelopes
    ]
    assert len(told) == len(set(told))


def test_what_a_peer_may_know_is_asked_for_what_it_is_given_and_for_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One range of 31 bytes stands for a whole set; what it makes a node do is bounded, and paid:
    who asks again and again soon gets no answer."""
    story = node("n1", *(routes(7, f"r{number}") for number in range(120)))
    link = story.link("n2")
    monkeypatch.setitem(RATES, Kind.RANGES, replace(RATES[Kind.RANGES], burst=200))
    asked, may_know = list[object](), Disclosure.may_know

    def counted(self: Disclosure, session: Session, one: VerifiedManifest, now: Now) -> bool:
        asked.append(one)
        return may_know(self, session, one, now)

    monkeypatch.setattr(Disclosure, "may_know", counted)
    given = handed_over(story, link, EVERYBODY)
    (offer,) = [one for one in story.sent(link) if isinstance(one, Ids)]
    assert len(asked) == len(given) < 120 < len(given) + len(offer.ids)
    assert sum(map(len, given)) <= PUSHED_BYTES_MAX
    # 120 keys and what was given cost so much that a burst of 200 does not cover four of them.
    heard = [bool(handed_over(story, link, EVERYBODY)) for _ in range(4)]
    assert (heard[0], heard[-1]) == (True, False)
    assert story.sent(link) == []


def test_what_was_found_by_comparing_is_passed_on_as_late_news() -> None:
    """A node that comes back after a week floods nobody: neighbours hear of it, and ask."""
    story = node("n1")
    giver, other = story.link("n2"), story.link("n3")
    found = Manifests(set_id=EVERYBODY.token[:8], answered=0, envelopes=(routes().envelope,))
    story.hear(giver, found).persisted().stored(routes(), giver)
    assert [one for one in story.sent(other) if isinstance(one, Announce)] == []
    (news,) = story.due(HaveDue).sent(other)
    assert news == Have(audience=EVERYBODY, prefixes=(routes().prefix,), is_late=True)


def test_lost_words_are_made_good_by_later_ones() -> None:
    """Each kind of message is lost once; in the end both have everything."""
    many = tuple(routes(7, f"r{number}") for number in range(120))
    lost: set[type[Message]] = set()

    def loses_the_first(_sender: int, message: Message) -> bool:
        if isinstance(message, COMPARISON) and type(message) not in lost:
            lost.add(type(message))
            return False
        return True

    duet = Duet(node("n1", *many[:20]), node("n2", *many[10:]), many)
    duet.arrives = loses_the_first
    duet.open().run(120_000)
    assert lost == set(COMPARISON)
    assert trusted(duet.nodes[0]) == trusted(duet.nodes[1])


def test_what_expires_leaves_the_set_at_its_second() -> None:
    """Nodes that swept it out at different times still agree."""
    story = node("n1", routes())
    link = story.link("n2")
    assert routes().envelope in handed_over(story, link, EVERYBODY)
    story.step_clock(routes().manifest.expires_at - factory.NOW)
    assert routes().envelope not in handed_over(story, link, EVERYBODY)


def test_a_message_of_a_link_that_never_compared_is_harmless() -> None:
    """Answers to nothing asked are passed over."""
    story = node("n1", routes())
    link = story.link("n2")
    unasked = (
        Ranges(set_id=EVERYBODY.token[:8], salt=SALT, step=1, more=False, ranges=()),
        Manifests(set_id=EVERYBODY.token[:8], answered=64, envelopes=()),
    )
    for message in unasked:
        story.when(MessageReceived(link=link, stream=0, message=message))
        assert story.sent(link) == []


def test_roots_wait_until_news_of_their_sets_is_no_more_under_way() -> None:
    """A comparison would bring it early, and when it does hangs on what else differs: on sets of
    which whoever hears of the news from here may know nothing."""
    story = node("n1", routes(7))
    link, other = story.link("n2", is_dialer=False), story.link("n3")
    story.wait(60_000)
    story.announce(routes(8), other).persisted()
    ping = Ping(sequence=1, salt=SALT, link_root=b"another!")
    # Of what else the peer may have it can tell at once.
    (first,) = roots(story.hear(link, ping), link)
    assert (first.is_first, first.is_last, first.entries) == (True, True, ())
    story.due(ComparisonDue)
    assert [one.audience for told in roots(story, link) for one in told.entries] == [EVERYBODY]


def test_roots_of_other_sets_do_not_wait_for_it() -> None:
    """When a set is compared must not hang on news of another."""
    story = node("n1", BOTH, routes(7), acme_routes())
    link, other = story.link("n2", is_dialer=False), story.link("n3")
    story.wait(60_000)
    story.announce(routes(8), other).persisted()
    ping = Ping(sequence=1, salt=SALT, link_root=b"another!")
    (first,) = roots(story.hear(link, ping), link)
    assert [one.audience for one in first.entries] == [IN_ACME]


def test_what_a_peer_did_not_name_waits_likewise() -> None:
    story = node("n1", BOTH, routes(7), acme_routes())
    link, other = story.link("n2", is_dialer=False), story.link("n3")
    story.wait(60_000)
    story.announce(routes(8), other).persisted()
    nothing = Roots(salt=SALT, is_first=True, is_last=True, entries=())
    (unnamed,) = roots(story.hear(link, nothing), link)
    assert [one.audience for one in unnamed.entries] == [IN_ACME]
    story.due(ComparisonDue)
    assert [one.audience for told in roots(story, link) for one in told.entries] == [EVERYBODY]


def test_news_that_never_ends_puts_off_no_comparison_for_ever() -> None:
    story = node("n1", routes(7))
    link, other = story.link("n2", is_dialer=False), story.link("n3")
    story.wait(60_000)
    story.hear(link, Ping(sequence=1, salt=SALT, link_root=b"another!"))
    told = 0
    for version in range(8, 14):
        story.wait(500).announce(routes(version), other).persisted()
        story.due(ComparisonDue) if version > 8 else story.hear(
            link, Ping(sequence=2, salt=SALT, link_root=b"one more")
        )
        told += len(roots(story, link))
    assert told >= 1


def test_a_peer_s_root_waits_likewise() -> None:
    """What is news here may be on its way to it."""
    story = node("n1", routes(7))
    link, other = story.link("n2", is_dialer=False), story.link("n3")
    story.wait(60_000)
    story.announce(routes(8), other).persisted()
    root = SetRoot(EVERYBODY, 1, b"another root")
    story.hear(link, Roots(salt=SALT, is_first=True, is_last=False, entries=(root,)))
    assert not [one for one in story.sent(link) if isinstance(one, Ranges)]
    story.wait(SETTLED)
    story.hear(link, Roots(salt=SALT, is_first=True, is_last=False, entries=(root,)))
    assert [one for one in story.sent(link) if isinstance(one, Ranges)]
