"""How much a link may say: every bucket at its limit and one beyond, and trust apart."""

from dataclasses import replace
from typing import Final

import pytest

from fabgossip.core.effects import Disconnect, Fact, Persist, Send
from fabgossip.core.events import (
    LinkId,
    LostReason,
    PeerConnected,
    PeerLost,
    Persisted,
    RefreshDue,
)
from fabgossip.core.rates import (
    ASKED_MAX,
    FLOOD_FACTOR,
    FLOOD_SPAN,
    KEYS_PER_RANGE,
    RATES,
    Beyond,
    Kind,
    Rates,
)
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import (
    GRAFT_PREFIXES_MAX,
    Announce,
    Announced,
    AuditHead,
    Busy,
    ByeReason,
    Cancel,
    Chain,
    Claims,
    ContentAsk,
    GetChain,
    GetContent,
    GetHeads,
    GetManifests,
    Graft,
    Have,
    HeadKnown,
    Heads,
    Holdings,
    HoldingsEntry,
    HoldingsMode,
    Ids,
    Manifests,
    Message,
    NeighborAnswer,
    Pong,
    Prune,
    Ranges,
    Roots,
    Welcome,
)
from fabgossip.model.moment import Duration, Instant, later
from tests.core.artifacts import EVERYBODY, IN_ACME, acme_routes, revocations, routes
from tests.core.story import Peer, Story, identity
from tests.wire.samples import RANGES, SALT, ping

A, B = LinkId(1), LinkId(2)
START: Final = Instant(1_000_000)
ROUTES, TRUST = routes().envelope, revocations(1).envelope
ITEM: Final = ContentAsk(routes().verified.manifest_hash, routes().content_hash, 0, 1)
ONE_RANGE: Final = Ranges(set_id=b"set id!!", salt=SALT, step=1, more=False, ranges=())
ONE_ID: Final = GetManifests(set_id=b"set id!!", salt=SALT, ids=(b"8 bytes!",))
ONE_UNIT: Final[dict[Kind, Message]] = {
    Kind.CLAIMS: Claims(openings=()),
    Kind.PING: ping(1),
    Kind.PONG: Pong(sequence=1),
    Kind.NEIGHBOR: NeighborAnswer(is_yes=True, retry_after_s=0),
    Kind.ANNOUNCE: Announce(entries=(Announced(ROUTES, 0),)),
    Kind.HAVE: Have(audience=EVERYBODY, prefixes=(b"p" * 16,)),
    Kind.GRAFT: Graft(audience=EVERYBODY, prefixes=(b"p" * 16,)),
    Kind.PRUNE: Prune(audience=EVERYBODY),
    Kind.HOLDINGS: Holdings(sequence=1, is_whole=False, entries=()),
    Kind.ROOTS: Roots(salt=SALT, is_first=False, is_last=False, entries=()),
    Kind.RANGES: ONE_RANGE,
    Kind.IDS: Ids(set_id=b"set id!!", salt=SALT, ids=()),
    Kind.GET_MANIFESTS: ONE_ID,
    Kind.MANIFESTS: Manifests(set_id=b"set id!!", answered=0, envelopes=(ROUTES,)),
    Kind.GET_HEADS: GetHeads(known=(HeadKnown("n", 0, 0),)),
    Kind.HEADS: Heads(envelopes=(ROUTES,)),
    Kind.GET_CHAIN: GetChain(namespace="n", base=ITEM.content_hash, head=ITEM.content_hash),
    Kind.CHAIN: Chain(head=ITEM.content_hash, envelopes=()),
    Kind.GET_CONTENT: GetContent(items=(ITEM,)),
    Kind.CANCEL: Cancel(),
    Kind.AUDIT_HEAD: AuditHead(checkpoint=b""),
}
KINDS: Final = sorted(ONE_UNIT)


def passes(rates: Rates, message: Message, now: Instant = START, link: LinkId = A) -> bool:
    found = rates.passed(link, message, now)
    rates.check()
    assert (found.beyond is None) == (found.message == message)
    return found.beyond is None


def spend(rates: Rates, kind: Kind, now: Instant = START) -> None:
    """Say as much of a kind as is allowed at once."""
    for _ in range(RATES[kind].burst):
        assert passes(rates, ONE_UNIT[kind], now)


def test_every_kind_that_is_counted_has_a_rate_and_a_message() -> None:
    assert set(RATES) == set(Kind) == set(ONE_UNIT) | {Kind.TRUST, Kind.UNWANTED}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_bucket_gives_its_burst_and_then_one_unit_at_a_time(kind: Kind) -> None:
    rates, rate = Rates(), RATES[kind]
    spend(rates, kind)
    found = rates.passed(A, ONE_UNIT[kind], START)
    assert (found.message, found.beyond, found.is_flood) == (None, rate.beyond, False)
    unit_ms = -(-rate.per_ms // rate.count)
    assert not passes(rates, ONE_UNIT[kind], later(START, Duration(unit_ms - 1)))
    assert passes(rates, ONE_UNIT[kind], later(START, Duration(unit_ms)))
    assert rates.reduced == ((kind.value, 2),)


def test_an_empty_answer_costs_as_much_as_an_envelope_and_is_free_where_it_was_asked_for() -> None:
    """Or one could make a node look, again and again, for nothing."""
    rates, empty = Rates(), Manifests(set_id=b"set id!!", answered=1, envelopes=())
    spend(rates, Kind.MANIFESTS)
    rates.on_asked(A, 1)
    assert passes(rates, empty)
    assert not passes(rates, empty)
    assert rates.reduced == ((Kind.MANIFESTS.value, 1),)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bucket_never_holds_more_than_its_burst(kind: Kind) -> None:
    rates = Rates()
    assert passes(rates, ONE_UNIT[kind])
    week = later(START, Duration(7 * 86_400_000))
    spend(rates, kind, week)
    assert not passes(rates, ONE_UNIT[kind], week)


@pytest.mark.parametrize(
    ("kind", "many"),
    [
        (Kind.GRAFT, Graft(audience=EVERYBODY, prefixes=tuple(b"%016d" % n for n in range(64)))),
        (Kind.GET_HEADS, GetHeads(known=tuple(HeadKnown(f"{n:03}", 0, 0) for n in range(256)))),
        (Kind.GET_CONTENT, GetContent(items=(ITEM,) * 1_000)),
        (Kind.RANGES, replace(ONE_RANGE, ranges=RANGES)),
        (Kind.GET_MANIFESTS, replace(ONE_ID, ids=tuple(b"%08d" % n for n in range(64)))),
    ],
)
def test_one_message_costs_as_much_as_what_it_asks_for(kind: Kind, many: Message) -> None:
    rates, rate = Rates(), RATES[kind]
    units = {
        Kind.GRAFT: 64,
        Kind.GET_HEADS: 256,
        Kind.GET_CONTENT: 1_000,
        Kind.RANGES: len(RANGES),
        Kind.GET_MANIFESTS: 64,
    }[kind]
    for _ in range(rate.burst // units):
        assert passes(rates, many)
    assert not passes(rates, many)


PREFIXES: Final = tuple(b"%016d" % number for number in range(1_024))
LISTED: Final = HoldingsEntry(EVERYBODY, HoldingsMode.ONLY, PREFIXES)
NAMED: Final = HoldingsEntry(EVERYBODY, HoldingsMode.NONE, ())


@pytest.mark.parametrize(
    ("message", "lots"),
    [
        (Have(audience=EVERYBODY, prefixes=PREFIXES[:64]), 1),
        (Have(audience=EVERYBODY, prefixes=PREFIXES[:65], is_late=True), 2),
        (Have(audience=EVERYBODY, prefixes=PREFIXES[:512], is_late=True), 8),
        (Holdings(sequence=1, is_whole=True, entries=(NAMED,) * 64), 8),
        (Holdings(sequence=1, is_whole=False, entries=(LISTED,)), 17),
        (Ids(set_id=b"set id!!", salt=SALT, ids=(b"8 bytes!",) * 64), 1),
        (Ids(set_id=b"set id!!", salt=SALT, ids=(b"8 bytes!",) * 4_096), 64),
    ],
)
def test_a_message_costs_as_much_as_the_prefixes_and_ids_it_makes_a_node_look_at(
    message: Message, lots: int
) -> None:
    """Or the largest message there is would be as cheap as the smallest: within its rate, a third
    of a core."""
    (kind,) = (kind for kind, one in ONE_UNIT.items() if isinstance(message, type(one)))
    rates = Rates()
    assert sum(passes(rates, message) for _ in range(RATES[kind].burst)) == (
        RATES[kind].burst // lots
    )


def test_a_graft_for_nothing_costs_as_much_as_one_for_all_it_may_ask() -> None:
    rates, empty = Rates(), Graft(audience=EVERYBODY, prefixes=())
    for _ in range(RATES[Kind.GRAFT].burst // GRAFT_PREFIXES_MAX):
        assert passes(rates, empty)
    assert not passes(rates, empty)


def test_what_an_answer_carried_is_paid_in_full_whatever_was_left() -> None:
    """Or a bucket that is nearly empty would forgive what each answer costs: over a minute no more
    envelopes than the rate allows, and never a debt that a burst would not cover."""
    rates, rate = Rates(), RATES[Kind.GET_HEADS]
    spend(rates, Kind.GET_HEADS)
    found, minute = 80, 60_000
    answered = 0
    for at in range(0, minute, 10):
        now = later(START, Duration(at))
        if passes(rates, ONE_UNIT[Kind.GET_HEADS], now):
            rates.on_found(A, found - 1, now)
            rates.check()
            answered += found
    allowed = minute * rate.count // rate.per_ms
    assert allowed - found <= answered <= allowed + found
    rates.on_found(A, 9 * rate.burst, later(START, Duration(minute)))
    rates.check()


def test_what_a_step_of_a_comparison_went_through_is_paid_in_ranges() -> None:
    """One range may stand for a whole set, so its price is known only afterwards."""
    rates, rate = Rates(), RATES[Kind.RANGES]
    spend(rates, Kind.RANGES)
    rates.on_compared(A, keys=KEYS_PER_RANGE + 1, manifests=3, now=START)
    rates.check()
    unit_ms = Duration(-(-6 * rate.per_ms // rate.count))
    assert not passes(rates, ONE_RANGE, later(START, Duration(unit_ms - 1)))
    assert passes(rates, ONE_RANGE, later(START, unit_ms))


def test_links_and_kinds_have_buckets_of_their_own() -> None:
    rates = Rates()
    spend(rates, Kind.PING)
    assert not passes(rates, ONE_UNIT[Kind.PING])
    assert passes(rates, ONE_UNIT[Kind.PONG])
    assert passes(rates, ONE_UNIT[Kind.PING], link=B)
    rates.on_lost(A)
    assert passes(rates, ONE_UNIT[Kind.PING])


def test_trust_passes_where_everything_else_is_used_up() -> None:
    """One envelope at a time: the others of the same message are left out."""
    rates = Rates()
    spend(rates, Kind.ANNOUNCE)
    mixed = Announce(entries=(Announced(ROUTES, 0), Announced(TRUST, 3), Announced(ROUTES, 1)))
    found = rates.passed(A, mixed, START)
    assert found.message == Announce(entries=(Announced(TRUST, 3),))
    assert found.beyond is Beyond.SKIPPED
    told = rates.passed(A, Heads(envelopes=(TRUST,)), START)
    assert told.message == Heads(envelopes=(TRUST,))
    assert rates.reduced == (("announce", 2),)


def test_what_only_claims_to_be_trust_has_a_limit_too() -> None:
    rates = Rates()
    lies = Announce(entries=(Announced(TRUST[:70] + b"nothing that was signed", 0),) * 10)
    whole = RATES[Kind.TRUST].burst + RATES[Kind.ANNOUNCE].burst
    assert sum(passes(rates, lies) for _ in range(whole // 10)) == whole // 10
    assert not passes(rates, lies)
    assert not passes(rates, ONE_UNIT[Kind.ANNOUNCE])


def test_answers_that_were_asked_for_pass_beside_the_rate_as_far_as_they_were() -> None:
    rates = Rates()
    spend(rates, Kind.ANNOUNCE)
    rates.on_asked(A, 2)
    assert [passes(rates, ONE_UNIT[Kind.ANNOUNCE]) for _ in range(3)] == [True, True, False]
    for _ in range(3):
        rates.on_asked(A, ASKED_MAX)
    rates.check()
    for _ in range(ASKED_MAX):
        assert passes(rates, ONE_UNIT[Kind.ANNOUNCE])
    assert not passes(rates, ONE_UNIT[Kind.ANNOUNCE])


@pytest.mark.parametrize("kind", [Kind.PING, Kind.CANCEL, Kind.AUDIT_HEAD, Kind.CLAIMS])
def test_ten_times_the_rate_for_ten_seconds_is_a_flood_and_no_less(kind: Kind) -> None:
    rate = RATES[kind]
    allowed = (FLOOD_FACTOR * rate.count * FLOOD_SPAN) // rate.per_ms + rate.burst
    rates = Rates()
    floods = [rates.passed(A, ONE_UNIT[kind], START).is_flood for _ in range(allowed + 1)]
    assert floods == [False] * allowed + [True]
    calm = Rates()
    for _ in range(allowed):
        calm.passed(A, ONE_UNIT[kind], START)
    assert not calm.passed(A, ONE_UNIT[kind], later(START, FLOOD_SPAN)).is_flood


# What the node does about it.


def flood(story: Story, link: LinkId, message: Message, count: int) -> None:
    for _ in range(count):
        story.hear(link, message)


def test_what_was_skipped_is_found_by_holding_sets_against_the_peers() -> None:
    """Nothing is lost for good: at the next refresh the peer hears what stands for our sets."""
    story = Story()
    origin = story.link("n2")
    story.accept(routes(7, name="r0"), origin)
    known = Announce(entries=(Announced(routes(7, name="r0").envelope, 0),) * 16)
    # The first announcement took one of the burst already.
    flood(story, origin, known, RATES[Kind.ANNOUNCE].burst // 16)
    story.announce(routes(7, name="r9"), origin)
    assert "routes/r9" not in story.trusted
    assert story.node.view.snapshot(story.now).policing.reduced == (("announce", 2),)
    for expected in (1, 0):
        story.due(RefreshDue)
        assert sum(isinstance(one, Roots) for one in story.sent(origin)) == expected


def test_what_was_told_before_the_claims_counted_is_found_once_they_do() -> None:
    """It came too early to be heard, and would be missing until the next ping."""
    story, peer = Story(), Peer(name="n2")
    link = story.connect(peer.name)
    claims = story.hear(link, peer.hello()).only(Persist)
    story.hear(link, Welcome(protocol=1, features=0))
    story.hear(link, Have(audience=IN_ACME, prefixes=(acme_routes().prefix,)))
    assert story.sent(link) == []
    story.when(Persisted(token=claims.token, ok=True))
    assert sum(isinstance(one, Roots) for one in story.sent(link)) == 1


def test_the_buckets_of_a_link_end_with_it() -> None:
    """Or every link there ever was would be remembered."""
    story = Story()
    link = story.link("n2")
    flood(story, link, ONE_UNIT[Kind.PING], RATES[Kind.PING].burst + 1)
    assert story.sent(link) == []
    story.when(PeerLost(link=link, node_id=NodeId("n2"), reason=LostReason.EOF))
    story.when(PeerConnected(link=link, identity=identity("n2"), is_dialer=True))
    story.hear(link, Peer(name="n2").hello()).hear(link, Welcome(protocol=1, features=0))
    assert story.hear(link, ONE_UNIT[Kind.PING]).sent(link) == [Pong(sequence=1)]


def test_of_a_link_whose_word_was_skipped_nothing_is_believed() -> None:
    """Half a word would say of a source that it lacks what it holds."""
    story = Story()
    story.accept(routes(), story.link("n2"))
    teller = story.link("n3")
    head = story.node.view.heads_after("", 1)[0]
    all_of_it = HoldingsEntry(EVERYBODY, HoldingsMode.ALL_EXCEPT, ())
    story.hear(teller, Holdings(sequence=1, is_whole=True, entries=(all_of_it,)))
    assert "n3" in story.node.view.advertisers(head).by_all
    flood(story, teller, ONE_UNIT[Kind.HOLDINGS], RATES[Kind.HOLDINGS].burst)
    assert "n3" not in story.node.view.advertisers(head).by_all


def test_requests_above_the_rate_are_told_busy_before_any_look_up() -> None:
    story = Story()
    link = story.link("n2")
    story.accept(routes(), link)
    pieces = tuple(replace(ITEM, first_chunk=number) for number in range(1_000))
    whole = GetContent(items=pieces)
    burst = RATES[Kind.GET_CONTENT].burst
    streams = range(2, 2 * (burst // 1_000) + 2, 2)
    for stream in streams:
        story.hear(link, whole, stream)
    left = burst - 1_000 * len(streams)
    story.hear(link, GetContent(items=pieces[: left + 2]), 100)
    assert [one for one in story.sent(link) if not isinstance(one, Busy)] == []
    busy = [one.item for one in story.sent(link) if isinstance(one, Busy)]
    assert busy == list(range(left + 2))
    assert {one.stream for one in story.find(Send)} == {100}


def test_a_flood_ends_the_link_and_a_new_one_has_to_wait() -> None:
    story = Story()
    link = story.link("n2")
    rate = RATES[Kind.PING]
    allowed = FLOOD_FACTOR * rate.count * FLOOD_SPAN // rate.per_ms + rate.burst
    flood(story, link, ping(1), allowed)
    assert story.find(Disconnect) == []
    flood(story, link, ping(1), 1)
    closed = story.only(Disconnect)
    assert (closed.bye, closed.retry_after_s) == (ByeReason.OVER_RATE, 600)
    assert closed.lost is LostReason.PROTOCOL
    assert story.facts() == [Fact.SESSION_CUT]
    again = story.connect("n2")
    assert story.only(Disconnect).link == again
