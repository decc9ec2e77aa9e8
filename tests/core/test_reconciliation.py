"""Sets become equal, whatever is lost on the way, at a cost that follows the difference."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabgossip.core import ranges as ranges_module
from fabgossip.core.lacking import ASKED_MAX, ASKED_OF_LINK_MAX
from fabgossip.core.ranges import (
    CUT,
    DEEP,
    EXTRA_MAX,
    LISTED_MAX,
    WHOLE_LISTED_MAX,
    compare,
    first_step,
)
from fabgossip.core.reconciliation import (
    LOOK_AGAIN,
    PUSHED_BYTES_MAX,
    REMEMBERED_MAX,
    SILENCE,
    STARTED_MAX,
    VAIN_MAX,
    VAIN_WAIT_MAX,
    VAIN_WAIT_MIN,
    Owed,
    Reconciliation,
)
from fabgossip.model.messages import (
    RANGES_BYTES_MAX,
    GetManifests,
    Ids,
    Manifests,
    Message,
    Range,
    RangeMode,
    Ranges,
    Roots,
    SaltId,
    SetRoot,
)
from fabgossip.model.moment import Duration, Instant, later
from fabgossip.wire.ranges import ranges_bytes
from tests.core.artifacts import EVERYBODY
from tests.core.pair import LINK, SALT, SET, Pair, keep
from tests.core.test_ordered import made_of
from tests.trust import factory

START = Instant(1_000)


def keys(count: int, chance: Random, start: int = 1_700_000_000) -> list[bytes]:
    """Manifests as they are issued, some in the same second."""
    return [
        (start + number // 3).to_bytes(8, "big") + chance.randbytes(32) for number in range(count)
    ]


NUMBERS = st.sets(st.integers(0, 400), max_size=250)


@given(NUMBERS, NUMBERS, st.integers(0, 1), st.integers(0, 2**32), st.integers(0, 3))
def test_any_two_sets_become_equal_whatever_is_lost_or_comes_twice(
    one: set[int], other: set[int], starter: int, seed: int, loss: int
) -> None:
    """A third of all messages is lost, a third comes twice, for a while; then none is."""
    names = keys(401, Random(7))
    mine, theirs = ({names[number] for number in numbers} for numbers in (one, other))
    chance, pair = Random(seed), Pair(mine, theirs)
    budget = 40 * loss

    def arrives(_message: Message) -> int:
        nonlocal budget
        budget -= 1
        return chance.randrange(3) if budget > 0 else 1

    pair.run(arrives, 400, starter=starter)
    for end in pair.ends:
        end.own.check()
        assert {key for _, key in end.own.rows(b"", None)} == mine | theirs


def test_both_ends_may_start_at_once() -> None:
    """The one that dialled goes on, so nothing is said twice and neither waits for the other."""
    names = keys(300, Random(3))
    pair = Pair(set(names[:200]), set(names[100:]))
    for at in (0, 1):
        root = pair.ends[1 - at].root()
        for ranges in pair.ends[at].machine.on_root(
            LINK, SET, SALT, pair.ends[at].own, root, pair.now
        ):
            pair.send(at, ranges)
    pair.drain(keep)
    told = [key for one in pair.messages if isinstance(one, Manifests) for key in one.envelopes]
    assert len(told) == len(set(told)) > 0
    assert pair.ends[0].machine.next_timer(LINK, pair.now) == later(pair.now, LOOK_AGAIN)
    assert pair.ends[1].machine.next_timer(LINK, pair.now) is None


@pytest.mark.parametrize(
    ("name", "differ", "bytes_max"),
    [
        ("newest", 10, 190),
        ("newest", 100, 40),
        ("superseding", 10, 190),
        ("superseding", 100, 40),
        ("scattered", 10, 450),
        ("scattered", 100, 350),
        ("none", 0, 0),
    ],
)
def test_what_a_difference_costs(name: str, differ: int, bytes_max: int) -> None:
    """At 5,000 manifests; `tests/benchmarks/reconcile.py` says the same at 100,000. Whoever lacks
    it, and without the manifests themselves."""
    chance = Random(11)
    base = keys(5_000, chance)
    fresh = keys(differ, chance, 1_800_000_000)
    for at in (0, 1):
        sets = [set(base), set(base)]
        supersedes: dict[bytes, bytes] = {}
        match name:
            case "newest":
                sets[at] |= set(fresh)
            case "superseding":
                supersedes = dict(zip(fresh, chance.sample(base, differ), strict=True))
                sets[at] = (sets[at] - set(supersedes.values())) | set(fresh)
            case "scattered":
                gone = chance.sample(base[:-16], differ)
                sets[0] -= set(gone[: differ // 2])
                sets[1] -= set(gone[differ // 2 :])
            case _:
                pass
        pair = Pair(sets[0], sets[1])
        pair.supersedes = supersedes
        assert pair.run() <= 2
        assert pair.bytes <= bytes_max * differ
        # Beside what differs a few superseded ones may come, and be refused.
        assert differ <= pair.manifests <= differ + differ // 10


def test_a_set_of_which_much_lies_scattered_is_listed() -> None:
    """The second time within a minute: cutting it would cost more than its list."""
    chance = Random(5)
    base = keys(2_000, chance)
    own, other = made_of(base), made_of([*base[::2], *keys(16, chance, 1_800_000_000)])
    machine, now = Reconciliation(), START
    root = SetRoot(EVERYBODY, len(other), other.root())
    (first,) = machine.on_root(LINK, SET, SALT, own, root, now)
    assert {one.mode for one in first.ranges} == {RangeMode.FINGERPRINT}
    listed = tuple(other.id_of(key) for _, key in other.rows(b"", None))
    whole = Range(upper=None, mode=RangeMode.IDS, ids=listed)
    answer = Ranges(set_id=SET, salt=SALT, step=1, more=False, ranges=(whole,))
    machine.on_ranges(LINK, answer, own, now, is_dialer=True)
    machine.on_compared(LINK, SET, now)
    own.add(b"something came")
    again = machine.on_root(LINK, SET, SALT, own, root, later(now, LOOK_AGAIN))
    assert sum(len(one.ids) for ranges in again for one in ranges.ranges) == len(own)


def test_of_the_first_step_only_the_newest_difference_is_answered() -> None:
    """Old ranges differ because of versions that the newest ones supersede."""
    base = keys(2_000, Random(2))
    own, other = made_of(base), made_of([*base[1:], b"\xff" * 40])
    (first,) = first_step(own, len(other), is_list=False)
    newest = compare(other, first, 0)
    assert newest.answers[0][0].mode is RangeMode.SKIP
    assert newest.answers[0][0].upper == first[-2].upper
    # Where the newest is equal, whatever differs is old, and all of it is answered.
    other.discard(b"\xff" * 40)
    (answered,) = compare(other, first, 0).answers
    assert answered[-1].upper == first[0].upper
    assert len([one for one in answered if one.mode is RangeMode.FINGERPRINT]) == CUT


def test_one_range_makes_nobody_list_a_whole_set() -> None:
    """Of what it lacks the other hears the newest part, and that there is more."""
    own = made_of(keys(EXTRA_MAX + 1_000, Random(6)))
    rows = [key for _, key in own.rows(b"", None)]
    nothing = (Range(upper=None, mode=RangeMode.IDS),)
    compared = compare(own, nothing, 0)
    assert compared.extra == rows[: -EXTRA_MAX - 1 : -1]
    assert compared.keys == EXTRA_MAX
    (more,) = compared.answers
    rest = more[0].upper
    assert rest is not None
    assert own.rank(rest) == 1_000
    fingerprint = own.fingerprint(b"", rest)
    assert more == (Range(upper=rest, mode=RangeMode.FINGERPRINT, fingerprint=fingerprint),)
    assert compare(own, more, 1).answers == ()


def test_a_part_that_was_not_looked_at_is_named_for_each_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the order of the set, whatever else is answered between."""
    own = made_of(keys(400, Random(6)))
    first, second = own.boundary(100), own.boundary(200)
    said = (
        Range(upper=first, mode=RangeMode.IDS),
        Range(upper=second, mode=RangeMode.FINGERPRINT, fingerprint=b"another!"),
        Range(upper=None, mode=RangeMode.IDS, ids=(b"8 bytes!",)),
    )
    monkeypatch.setattr(ranges_module, "EXTRA_MAX", 150)
    compared = compare(own, said, 2)
    assert (len(compared.extra), compared.lacking) == (150, [b"8 bytes!"])
    (answer,) = compared.answers
    assert {one.mode for one in answer} == {RangeMode.FINGERPRINT}
    uppers = [one.upper for one in answer if one.upper is not None]
    assert uppers == sorted(uppers)
    assert [own.rank(one) for one in uppers] == [100, 125, 150, 175, 200, 250]


@pytest.mark.parametrize("starter", [0, 1])
@pytest.mark.parametrize(
    ("mine", "theirs"),
    [((0, 1, 300), (0, 400, 1)), ((0, 400, 2), (1, 400, 2)), ((0, 100, 1), (100, 400, 3))],
)
def test_a_set_of_which_an_answer_brings_a_part_comes_in_several(
    monkeypatch: pytest.MonkeyPatch,
    starter: int,
    mine: tuple[int, int, int],
    theirs: tuple[int, int, int],
) -> None:
    monkeypatch.setattr(ranges_module, "EXTRA_MAX", 20)
    names = keys(400, Random(8))
    one, other = ({names[number] for number in range(*of)} for of in (mine, theirs))
    pair = Pair(one, other)
    assert pair.run(starter=starter) <= 6
    assert {key for _, key in pair.ends[0].own.rows(b"", None)} == one | other
    assert pair.manifests == len(one ^ other)


@pytest.mark.parametrize("count", [LISTED_MAX, LISTED_MAX + 1])
def test_a_short_range_is_listed_and_a_longer_one_cut(count: int) -> None:
    own = made_of(keys(count, Random(1)))
    other = (Range(upper=None, mode=RangeMode.FINGERPRINT, fingerprint=b"another!"),)
    (answer,) = compare(own, other, 2).answers
    modes = {one.mode for one in answer}
    assert modes == {RangeMode.IDS if count == LISTED_MAX else RangeMode.FINGERPRINT}
    (deep,) = compare(own, other, DEEP).answers
    assert {one.mode for one in deep} == {RangeMode.IDS}


def test_a_long_range_is_cut_however_deep_the_other_says_it_is() -> None:
    """The step is the word of the other, who may begin with any."""
    other = (Range(upper=None, mode=RangeMode.FINGERPRINT, fingerprint=b"another!"),)
    for count, mode in (
        (WHOLE_LISTED_MAX, RangeMode.IDS),
        (WHOLE_LISTED_MAX + 1, RangeMode.FINGERPRINT),
    ):
        (answer,) = compare(made_of(keys(count, Random(1))), other, DEEP).answers
        assert {one.mode for one in answer} == {mode}


@pytest.mark.parametrize("count", [WHOLE_LISTED_MAX, WHOLE_LISTED_MAX + 1])
def test_a_small_set_is_listed_at_once_whoever_has_it(count: int) -> None:
    small, large = made_of(keys(count, Random(1))), made_of(keys(500, Random(2)))
    is_small = count == WHOLE_LISTED_MAX
    (said,) = first_step(small, len(large), is_list=False)
    assert (said[0].mode is RangeMode.IDS) is is_small
    (asked,) = first_step(large, len(small), is_list=False)
    assert (len(asked) == 1) is is_small
    (answer,) = compare(small, asked, 0).answers
    assert (answer[-1].mode is RangeMode.IDS and len(answer) == 1) is is_small


def test_every_message_fits_its_frame() -> None:
    """Of a set at its largest for a test, listed, and cut with every range unequal."""
    own = made_of(keys(12_000, Random(4)))
    bounds = [own.boundary(rank) for rank in range(9, 12_000, 9)]
    unequal = tuple(
        Range(upper=upper, mode=RangeMode.FINGERPRINT, fingerprint=b"another!")
        for upper in (*bounds, None)
    )
    cut = compare(own, unequal, 3).answers
    listed = first_step(own, 9_000, is_list=True)
    for messages in (cut, listed):
        assert len(messages) > 1
        assert all(len(ranges_bytes(one)) <= RANGES_BYTES_MAX for one in messages)
    ids = [one for ranges in listed for each in ranges for one in each.ids]
    assert ids == [own_id for own_id, _ in own.rows(b"", None)]


# Limits.


def told(count: int, root: bytes = b"another root 16b") -> SetRoot:
    return SetRoot(EVERYBODY, count, root)


def test_no_more_sets_than_this_are_compared_on_a_link_at_once() -> None:
    machine, own = Reconciliation(), made_of([b"a"])
    started = [
        bool(machine.on_root(LINK, b"set %04d" % number, SALT, own, told(1), START))
        for number in range(STARTED_MAX + 1)
    ]
    assert started == [True] * STARTED_MAX + [False]
    assert machine.next_waiting(LINK) is None
    end = Ranges(set_id=b"set 0001", salt=SALT, step=1, more=False, ranges=())
    machine.on_ranges(LINK, end, own, START, is_dialer=True)
    machine.on_compared(LINK, b"set 0001", START)
    assert machine.next_waiting(LINK) == (b"set %04d" % STARTED_MAX, SALT, told(1))
    assert machine.next_waiting(LINK) is None
    machine.check()


def test_a_silent_comparison_ends_and_its_roots_are_told_again() -> None:
    machine, own = Reconciliation(), made_of([b"a"])
    assert machine.on_root(LINK, SET, SALT, own, told(1), START)
    assert not machine.on_root(LINK, SET, SALT, own, told(1), START)
    due = machine.next_timer(LINK, START)
    assert due == later(START, SILENCE)
    assert machine.on_due(LINK, Instant(due - 1)) == Owed()
    assert machine.on_due(LINK, due) == Owed((EVERYBODY,))
    assert machine.on_root(LINK, SET, SALT, own, told(1), due)


def test_what_leads_to_nothing_waits_longer_each_time() -> None:
    """A peer whose root never becomes ours although it sends nothing: asked again, not for ever; a
    root that changed is news."""
    machine, own, now = Reconciliation(), made_of([b"a"]), START

    def starts() -> bool:
        is_started = bool(machine.on_root(LINK, SET, SALT, own, told(1), now))
        if is_started:
            # It ends at once: the peer has nothing to say.
            end = Ranges(set_id=SET, salt=SALT, step=1, more=False, ranges=())
            machine.on_ranges(LINK, end, own, now, is_dialer=True)
            machine.on_compared(LINK, SET, now)
        return is_started

    assert [starts() for _ in range(VAIN_MAX + 1)] == [True] * VAIN_MAX + [False]
    own.add(b"b")
    assert starts()
    own.discard(b"b")
    assert [starts() for _ in range(VAIN_MAX + 1)] == [True] * VAIN_MAX + [False]
    wait = VAIN_WAIT_MIN
    while wait < VAIN_WAIT_MAX:
        now = later(now, Duration(wait - 1))
        assert not starts()
        now = later(now, Duration(1))
        assert [starts(), starts()] == [True, False]
        wait = Duration(2 * wait)
    for _ in range(2):
        now = later(now, VAIN_WAIT_MAX)
        assert [starts(), starts()] == [True, False]


def test_the_first_unequal_ping_is_answered_at_once_and_later_ones_after_a_moment() -> None:
    """A link that opens has nothing on its way; of another, what a cut held up comes first."""
    machine, roots = Reconciliation(), (b"ours", b"theirs")
    assert machine.on_ping(LINK, roots, START)
    assert not machine.on_ping(LINK, (b"same", b"same"), START)
    assert machine.next_timer(LINK, START) is None
    assert not machine.on_ping(LINK, roots, START)
    due = machine.next_timer(LINK, START)
    assert due == later(START, LOOK_AGAIN)
    assert machine.on_due(LINK, due) == Owed(all_roots=True)
    assert machine.next_timer(LINK, due) is None
    machine.on_more_shared(LINK)
    assert machine.on_ping(LINK, roots, due)


def test_further_pings_put_nothing_off() -> None:
    """Nor does what is dropped again, or waited for again: the first time stands."""
    machine, dropped = Reconciliation(), factory.audience("cluster:prod", "service:s1")
    machine.on_ping(LINK, (b"ours", b"theirs"), START)
    due = later(START, LOOK_AGAIN)
    for number, at in enumerate(range(START, due, LOOK_AGAIN // 4)):
        now = Instant(at)
        assert not machine.on_ping(LINK, (b"ours", b"theirs %d" % number), now)
        machine.on_unsent(LINK, dropped, now)
        assert machine.wait(LINK, EVERYBODY, now), "it waits already"
        machine.next_timer(LINK, now)
    assert machine.on_due(LINK, due) == Owed(
        audiences=(dropped, EVERYBODY), all_roots=True, holdings=True
    )
    machine.check()


def test_an_equal_ping_makes_the_next_difference_news() -> None:
    machine, roots = Reconciliation(), (b"ours", b"theirs")
    for _ in range(VAIN_MAX + 1):
        machine.on_ping(LINK, roots, START)
    machine.on_ping(LINK, (b"same", b"same"), START)
    machine.on_due(LINK, machine.next_timer(LINK, START) or START)
    machine.on_ping(LINK, roots, START)
    assert machine.next_timer(LINK, START) == later(START, LOOK_AGAIN)


@pytest.mark.parametrize("begins", ["here", "there", "other salts"])
def test_each_comparison_brings_so_much_unasked_and_no_more(begins: str) -> None:
    machine, own = Reconciliation(), made_of([b"a"])
    machine.on_pushed(LINK, SET, PUSHED_BYTES_MAX)
    machine.on_pushed(LINK, b"another!", 1)
    assert machine.room_unasked(LINK, SET) == 0
    match begins:
        case "here":
            assert machine.on_root(LINK, SET, SALT, own, told(1), START)
        case "there":
            whole = Range(upper=None, mode=RangeMode.SKIP)
            step = Ranges(set_id=SET, salt=SALT, step=0, more=False, ranges=(whole,))
            machine.on_ranges(LINK, step, own, START, is_dialer=True)
        case _:
            machine.on_other_salts(LINK)
    assert machine.room_unasked(LINK, SET) == PUSHED_BYTES_MAX
    for number in range(REMEMBERED_MAX + 1):
        machine.on_pushed(LINK, b"set %04d" % number, 1)
    machine.check()


def test_a_difference_that_stays_is_not_told_with_every_ping() -> None:
    """The ends see what they share differently, and there is nothing to compare."""
    machine, now = Reconciliation(), START
    roots, others = (b"ours", b"theirs"), (b"ours", b"others")

    def is_told(roots: tuple[bytes, bytes]) -> bool:
        nonlocal now
        is_now = machine.on_ping(LINK, roots, now)
        machine.next_timer(LINK, now)
        now = later(now, LOOK_AGAIN)
        return is_now or machine.on_due(LINK, now).all_roots

    assert [is_told(roots) for _ in range(VAIN_MAX + 2)] == [True] * VAIN_MAX + [False] * 2
    assert is_told(others)
    assert [is_told(roots) for _ in range(VAIN_MAX + 1)] == [True] * VAIN_MAX + [False]
    # Where more is shared than before, the same roots are worth another look.
    machine.on_more_shared(LINK)
    assert is_told(roots)


def test_no_more_is_asked_of_a_set_than_this_at_once() -> None:
    machine = Reconciliation()
    ids = tuple(b"%08d" % number for number in range(2 * ASKED_MAX))
    asks = machine.on_lacking(LINK, SET, SALT, ids, START)
    assert sum(len(one.ids) for one in asks) == ASKED_MAX
    assert machine.on_lacking(LINK, SET, SALT, ids, START) == ()
    settled = Manifests(set_id=SET, answered=3, envelopes=())
    (more,) = machine.on_manifests(LINK, settled, START)
    assert more.ids == ids[ASKED_MAX : ASKED_MAX + 3]
    machine.check()


def test_no_more_is_asked_of_a_link_than_it_can_answer() -> None:
    """Of many sets together; what is answered makes room for whichever waits."""
    machine = Reconciliation()
    ids = tuple(b"%08d" % number for number in range(ASKED_MAX))
    sets = [b"set %04d" % number for number in range(ASKED_OF_LINK_MAX // ASKED_MAX + 1)]
    asks = [machine.on_lacking(LINK, one, SALT, ids, START) for one in sets]
    assert [sum(len(ask.ids) for ask in one) for one in asks] == [
        *[ASKED_MAX] * (len(sets) - 1),
        0,
    ]
    machine.check()
    (more,) = machine.on_manifests(LINK, Manifests(set_id=sets[0], answered=5, envelopes=()), START)
    assert (more.set_id, more.ids) == (sets[-1], ids[:5])
    machine.check()


def test_what_was_told_under_two_salts_is_asked_for_under_each() -> None:
    machine, other = Reconciliation(), SaltId(SALT.bundle_version, SALT.day + 1)
    full = tuple(b"%08d" % number for number in range(ASKED_MAX))
    machine.on_lacking(LINK, SET, SALT, full, START)
    machine.on_lacking(LINK, SET, SALT, (b"before", b"as well"), START)
    machine.on_lacking(LINK, SET, other, (b"after",), START)
    settled = Manifests(set_id=SET, answered=ASKED_MAX, envelopes=())
    assert machine.on_manifests(LINK, settled, START) == (
        GetManifests(set_id=SET, salt=SALT, ids=(b"before", b"as well")),
        GetManifests(set_id=SET, salt=other, ids=(b"after",)),
    )


def test_no_set_waits_for_another() -> None:
    """What is done about one set must not show whether there is another, of which its members may
    not know: each has limits and times of its own."""
    hidden, ids = b"hidden", tuple(b"%08d" % number for number in range(2 * ASKED_MAX))
    audience, other = EVERYBODY, factory.audience("cluster:prod", "service:hidden")

    def course(*, is_hidden: bool) -> list[object]:
        machine, own, seen = Reconciliation(), made_of([b"a"]), list[object]()
        if is_hidden:
            hidden_root = SetRoot(other, 1, b"another root 16b")
            assert machine.on_root(LINK, hidden, SALT, own, hidden_root, START)
            machine.on_lacking(LINK, hidden, SALT, ids, START)
            machine.on_pushed(LINK, hidden, PUSHED_BYTES_MAX)
            machine.on_unsent(LINK, other, START)
            assert machine.wait(LINK, other, START)
        machine.next_timer(LINK, START)
        now = later(START, Duration(400))
        seen.append(machine.room_unasked(LINK, SET))
        seen.append(machine.wait(LINK, audience, now))
        seen.append(machine.on_root(LINK, SET, SALT, own, told(1), now))
        seen.append(machine.on_lacking(LINK, SET, SALT, ids, now))
        machine.next_timer(LINK, now)
        for at in range(now, later(now, Duration(2 * SILENCE)), 100):
            machine.check()
            owed = machine.on_due(LINK, Instant(at))
            machine.next_timer(LINK, Instant(at))
            if audience in owed.audiences:
                seen.append(at)
        return seen

    assert course(is_hidden=True) == course(is_hidden=False)
    assert course(is_hidden=False)[-2:] == [START + 400 + LOOK_AGAIN, START + 400 + SILENCE]


def test_what_is_never_answered_is_given_up() -> None:
    """Or a link that lost one answer would never be asked for anything again."""
    machine = Reconciliation()
    ids = tuple(b"%08d" % number for number in range(2 * ASKED_MAX))
    machine.on_lacking(LINK, SET, SALT, ids, START)
    due = machine.next_timer(LINK, START)
    assert due == later(START, SILENCE)
    machine.on_due(LINK, due)
    assert machine.on_lacking(LINK, SET, SALT, ids[:1], due) == (
        GetManifests(set_id=SET, salt=SALT, ids=ids[:1]),
    )


def test_a_peer_that_answers_nothing_again_and_again_holds_no_place() -> None:
    """Empty answers are none: what was asked is given up after a silence, and others get its
    place."""
    machine, now = Reconciliation(), START
    ids = tuple(b"%08d" % number for number in range(ASKED_MAX))
    sets = [b"set %04d" % number for number in range(ASKED_OF_LINK_MAX // ASKED_MAX)]
    for one in sets:
        machine.on_lacking(LINK, one, SALT, ids, now)
    assert machine.on_lacking(LINK, SET, SALT, ids[:1], now) == ()
    own = made_of([b"a"])
    assert machine.on_root(LINK, sets[0], SALT, own, told(1), now)
    owed = Owed()
    for _ in range(3):
        machine.next_timer(LINK, now)
        now = later(now, Duration(SILENCE // 3 + 1))
        for one in sets:
            machine.on_manifests(LINK, Manifests(set_id=one, answered=0, envelopes=()), now)
        owed = machine.on_due(LINK, now)
    assert owed.audiences == (EVERYBODY,), "its comparison has ended, too"
    assert owed.asks == (GetManifests(set_id=SET, salt=SALT, ids=ids[:1]),)
    machine.check()


def test_however_many_sets_a_peer_names_little_of_them_is_kept() -> None:
    """The sets a peer may share are as many as it likes to make up."""
    machine = Reconciliation()
    full = tuple(b"%08d" % number for number in range(ASKED_MAX))
    for number in range(ASKED_OF_LINK_MAX // ASKED_MAX):
        machine.on_lacking(LINK, b"full %03d" % number, SALT, full, START)
    for number in range(2 * REMEMBERED_MAX):
        assert machine.on_lacking(LINK, b"set %05d" % number, SALT, full[:1], START) == ()
    machine.check()


def test_memory_of_a_link_has_an_end_and_ends_with_it() -> None:
    machine, own = Reconciliation(), made_of([b"a"])
    for number in range(REMEMBERED_MAX + 1):
        machine.on_root(LINK, b"set %04d" % number, SALT, own, told(1), START)
        machine.on_unsent(LINK, factory.audience("cluster:prod", f"service:s{number}"), START)
    machine.check()
    machine.on_lost(LINK)
    assert machine.next_timer(LINK, START) is None
    assert machine.on_due(LINK, later(START, SILENCE)) == Owed()


def test_answers_nobody_asked_for_change_nothing() -> None:
    machine, own = Reconciliation(), made_of([b"a"])
    whole = Range(upper=None, mode=RangeMode.IDS)
    late = Ranges(set_id=SET, salt=SALT, step=1, more=False, ranges=(whole,))
    answers, compared = machine.on_ranges(LINK, late, own, START, is_dialer=True)
    assert (answers, compared.extra, compared.lacking) == ((), [], [])
    assert machine.on_manifests(LINK, Manifests(set_id=SET, answered=9, envelopes=()), START) == ()
    assert machine.next_timer(LINK, START) is None


def test_what_is_counted_by_the_pair_is_what_is_said() -> None:
    """The measure of the tests above: no kind of message is left out."""
    pair = Pair(set(keys(400, Random(1))), set(keys(3, Random(2))))
    pair.run()
    assert {type(one) for one in pair.messages} == {Roots, Ranges, Ids, GetManifests, Manifests}
