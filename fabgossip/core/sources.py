"""Whom to ask for a content next: the steps of one climb, in strict order.

Decides: the best source of the first step that has one; when a step is over.
Keeps: a step is left only when no source of it is left, it has asked so many as it may, or its time
is spent; a source gets one try per climb, so who withholds a content keeps nobody from whom else to
ask; who was asked in vain for this content, were it only busy, comes last; who stands beside the
control plane is spared until rung 4, unless it announced the content or nobody else stores it.
Must not know: how many contents are under way, what a try comes to.

The steps are those of `ladder.py`. Of two equal sources the linked one comes first: a dial costs
both ends a handshake.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final, assert_never

from fabgossip.core.attempts import OPEN, SKIPPED
from fabgossip.core.backlog import Awaited, Slot, Token
from fabgossip.core.circuits import Circuit
from fabgossip.core.directories import FAR
from fabgossip.core.ladder import ASKING, SOURCES_MAX, Step, turn_ms
from fabgossip.core.silence import is_small, short_turn
from fabgossip.core.wants import Origin, Source, Want
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Duration, Instant, elapsed, later

PLACES: Final = ("same rack", "same zone", "same region", "another region", "place unknown")
"""Words for a distance."""
UPCOMING_MAX: Final = 8
"""Sources that `why` names as the next ones."""


@dataclass(frozen=True, slots=True)
class Supply:
    """Who may be asked for one content."""

    asker: NodeId
    """This node."""
    linked: tuple[Source, ...]
    absent: Callable[[], tuple[Source, ...]] = tuple
    """Who has no link; looked for only once the linked ones do not do."""

    def of(self, step: Step) -> tuple[Source, ...]:
        """All that may count at a step; nobody is dialled for the sake of rung 2."""
        is_linked_only = step in (Step.NORMAL, Step.RUNG_2)
        return self.linked if is_linked_only else (*self.linked, *self.absent())


@dataclass(frozen=True, slots=True)
class Room:
    """What this node allows itself."""

    is_full: Callable[[Source], bool]
    """Whether a source has to wait for a free slot of ours."""
    token_at: Callable[[Step, Want], Instant]
    """When a want may ask somebody of a step."""
    circuit_of: Callable[[NodeId], Circuit]
    """How a source stands, whatever it is asked for of the audience of the want."""
    probe_at: Callable[[NodeId], Instant]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What to do for a want now: ask `source`, wait, or (neither) give up for this climb."""

    source: Source | None = None
    turn_ms: int = 0
    """How long it may bring no byte."""
    reason: str = ""
    is_paid: bool = False
    """Whether it was counted when it was dialled."""
    awaits: tuple[Awaited, ...] = ()
    """What a want waits in line for."""
    look_at: Instant | None = None
    """When the step of a want that waits is out of time."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What is to be done for wants now."""

    started: tuple[Want, ...]
    """To be asked for, each with `source`, `step` and `reason` set."""
    dialing: tuple[Want, ...]
    """Whose source has to be dialled."""
    parked: tuple[Want, ...]
    """That nobody could serve in the climb that just ended."""
    look_at: Instant | None
    """When to look again although nothing happened."""


def next_source(want: Want, supply: Supply, room: Room, now: Instant) -> Choice:
    """The best source of the first step that has one. Steps that are over are left."""
    while True:
        choice = _in_step(want, supply, room, now)
        if choice is not None:
            return choice
        _leave(want, supply, room, now)
        if want.step is ASKING[-1]:
            return Choice()
        want.enter(ASKING[ASKING.index(want.step) + 1])


def beside(want: Want, supply: Supply, room: Room, now: Instant) -> Choice:
    """Whom to ask of the same step while its source is silent, or brings some of a large content:
    somebody linked of whom nothing bad is known, at once or not at all."""
    left_ms, sources_left = want.left_ms(now), SOURCES_MAX[want.step] - want.asked
    asked = [one.source.node_id for one in want.tries]
    free = [
        one
        for one in ranked_sources(want, want.step, supply)
        if one.link is not None
        and one.node_id not in asked
        and want.may_ask(one, now)
        and _is_sound(one, room)
        and not room.is_full(one)
    ]
    if left_ms <= 0 or sources_left <= 0 or not free:
        return Choice()
    why = f"while {asked[0]} is silent" if is_small(want) else f"beside {asked[0]}"
    reason = f"{_reason(want, free[0])}, {why}"
    its_turn = _turn(want, free[0], supply, room, turn_ms(left_ms, 1), now)
    return Choice(source=free[0], turn_ms=its_turn, reason=reason)


def _in_step(want: Want, supply: Supply, room: Room, now: Instant) -> Choice | None:
    """What to do in the step a want is in; None once the step is over."""
    left_ms, sources_left = want.left_ms(now), SOURCES_MAX[want.step] - want.asked
    if left_ms <= 0 or sources_left <= 0:
        return None
    ranked = [one for one in ranked_sources(want, want.step, supply) if want.may_ask(one, now)]
    if not ranked:
        return None
    usable = _usable(want, ranked, room)
    if not usable and not want.asked and not _has_other(want, supply, room, now):
        usable = _nearest_to_probe(want, ranked, room)
    if not usable:
        return None
    if room.token_at(want.step, want) > now:
        return _wait(want, (Token(want.step),), now)
    free = [one for one in usable if not room.is_full(one)]
    if not free:
        return _wait_for_slots(want, usable, supply, room, now)
    share = turn_ms(left_ms, min(len(free), sources_left))
    its_turn = _turn(want, free[0], supply, room, share, now)
    return Choice(source=free[0], turn_ms=its_turn, reason=_reason(want, free[0]))


def _turn(
    want: Want, source: Source, supply: Supply, room: Room, share_ms: int, now: Instant
) -> int:
    """How long a source may bring no byte: its share of the step, or less of a small content that
    another storage endpoint could be asked for at once."""
    if is_small(want) and _has_other_store(want, supply, room, now, source.node_id):
        return min(share_ms, short_turn(source))
    return share_ms


def _wait(want: Want, awaits: tuple[Awaited, ...], now: Instant) -> Choice:
    """Wait in line, while the time of the step runs."""
    want.step_since = now if want.step_since is None else want.step_since
    return Choice(awaits=awaits, look_at=later(now, Duration(want.left_ms(now))))


def _wait_for_slots(
    want: Want, usable: list[Source], supply: Supply, room: Room, now: Instant
) -> Choice:
    """All are asked for as many as they may be, which is no silence of theirs. So the time of the
    step runs only if it did before, for a dial, or where another one without a toll could bring
    more: or a long list of contents of one source would climb to whom everybody turns to."""
    awaits = tuple(
        dict.fromkeys(Slot(one.node_id if one.link is not None else None) for one in usable)
    )
    is_timed = want.step_since is not None or Slot(None) in awaits
    if is_timed or _has_other(want, supply, room, now):
        return _wait(want, awaits, now)
    return Choice(awaits=awaits)


def _has_other_store(want: Want, supply: Supply, room: Room, now: Instant, but: NodeId) -> bool:
    """Whether rung 1 has another source to ask at once: by the signed directories, for a neighbour
    that says it has everything must not shorten the turns of others."""
    asked = [but, *(one.source.node_id for one in want.tries)]
    return want.step is Step.NORMAL and any(
        is_of(want, Step.RUNG_1, one)
        and one.node_id not in asked
        and want.may_ask(one, now)
        and _is_sound(one, room)
        and not room.is_full(one)
        for one in supply.of(Step.RUNG_1)
    )


def _has_other(want: Want, supply: Supply, room: Room, now: Instant) -> bool:
    """Whether a later step, up to rung 2, has somebody to ask at once."""
    return any(
        is_of(want, step, one)
        and want.may_ask(one, now)
        and _is_sound(one, room)
        and not room.is_full(one)
        for step in (Step.RUNG_1, Step.RUNG_2)
        if ASKING.index(step) > ASKING.index(want.step)
        for one in supply.of(step)
    )


def _usable(want: Want, ranked: list[Source], room: Room) -> list[Source]:
    """Sources that are not shut out, those of which nothing bad is known first."""
    sound = [one for one in ranked if _is_sound(one, room)]
    if sound:
        return sound
    states = {one.node_id: room.circuit_of(one.node_id) for one in ranked}
    for state in (Circuit.CLOSED, Circuit.HALF_OPEN):
        usable = [one for one in ranked if states[one.node_id] is state]
        if usable:
            return usable
    return []


def _nearest_to_probe(want: Want, ranked: list[Source], room: Room) -> list[Source]:
    """Where all are shut out, and nobody else could be asked at once, one of them gets one request;
    the control plane is left alone."""
    if want.step is Step.RUNG_4:
        return []
    return [min(ranked, key=lambda one: room.probe_at(one.node_id))]


def _is_sound(source: Source, room: Room) -> bool:
    """Whether nothing bad is known of a source, nor of its link."""
    return not source.is_doubted and room.circuit_of(source.node_id) is Circuit.CLOSED


def _leave(want: Want, supply: Supply, room: Room, now: Instant) -> None:
    """A step without a single try is on record all the same, and so is who was shut out."""
    left = ranked_sources(want, want.step, supply) if want.left_ms(now) else []
    for one in left[: SOURCES_MAX[want.step] - want.asked]:
        if want.may_ask(one, now) and room.circuit_of(one.node_id) is Circuit.OPEN:
            probe_ms = elapsed(now, room.probe_at(one.node_id))
            reason = f"failed whatever it was asked for; probe in {probe_ms} ms"
            want.note(node_id=one.node_id, outcome=OPEN, reason=reason, at=now)
    if not want.trace.has(want.climbs, want.step):
        is_neighbor = want.is_for_head and want.step is Step.RUNG_2
        why = "no linked neighbour may know of it" if is_neighbor else _WHY_SKIPPED[want.step]
        want.note(node_id=None, outcome=SKIPPED, reason=why, at=now)


_WHY_SKIPPED: Final = {
    Step.NORMAL: "nobody linked announced it, and no storage endpoint is linked",
    Step.RUNG_1: "no other storage endpoint of its audience may be asked now",
    Step.RUNG_2: "no linked neighbour advertises it",
    Step.RUNG_3: "no endpoint of the snapshot, of another region, or configured may be asked now",
    Step.RUNG_4: "no control-plane endpoint is known, or may be asked now",
}


def is_of(want: Want, step: Step, source: Source) -> bool:
    """Whether a source may be asked at a step at all."""
    is_without = source.says is False and not want.is_for_head
    if is_without or (source.is_spared and step not in (Step.NORMAL, Step.RUNG_4)):
        return False
    match step:
        case Step.NORMAL:
            return source.node_id in want.announcers
        case Step.RUNG_1:
            return source.is_storage and source.distance != FAR
        case Step.RUNG_2:
            holds = source.says is True or source.node_id in want.announcers or source.is_mute
            return source.link is not None and (holds or want.is_for_head)
        case Step.RUNG_3:
            is_far = source.is_storage and source.distance == FAR
            return source.origin is not None or is_far
        case Step.RUNG_4:
            return source.is_control
        case Step.RUNG_5:
            return False
        case _:
            assert_never(step)


def ranked_sources(want: Want, step: Step, supply: Supply) -> list[Source]:
    """The sources of a step, best first, whether or not they were tried."""
    found = [one for one in supply.of(step) if is_of(want, step, one)]
    found.sort(key=lambda one: _rank(want, step, one, supply.asker))
    if step is not Step.NORMAL:
        return found
    # One announcer, then the home endpoint; further announcers where there is none.
    home = [one for one in _home(want, supply) if one not in found[:1]]
    return [*found[:1], *home, *(one for one in found[1:] if one not in home)]


def _home(want: Want, supply: Supply) -> list[Source]:
    """The nearest linked storage endpoint; one of another region only where nobody nearer stores
    what is wanted."""
    near = [one for one in supply.linked if is_of(want, Step.RUNG_1, one)]
    if not near and not any(is_of(want, Step.RUNG_1, one) for one in supply.absent()):
        near = [one for one in supply.linked if one.is_storage and is_of(want, Step.RUNG_3, one)]
    return sorted(near, key=lambda one: _rank(want, Step.RUNG_1, one, supply.asker))[:1]


def _rank(
    want: Want, step: Step, source: Source, asker: NodeId
) -> tuple[int, int, int, bool, int, bool, bytes, str]:
    """Who was asked in vain less often for this content, and failed less often; who says it has it;
    who is near, who is linked; then a lot per content, source and asker, so that contents and nodes
    spread over sources of one rank."""
    kind = _kind(source) if step is Step.RUNG_3 else 0
    seed = want.wanted.content_hash + f"{asker} {source.node_id}".encode("ascii")
    return (
        *want.vain_before(source.node_id),
        kind,
        source.says is not True,
        source.distance,
        source.link is None,
        blake2b(seed, digest_size=8).digest(),
        source.node_id,
    )


def _kind(source: Source) -> int:
    """Order of rung 3: the snapshot's endpoints, other regions, then what is only configured."""
    if source.origin is Origin.SNAPSHOT:
        return 0
    return 1 if source.is_storage else 2


def _reason(want: Want, source: Source) -> str:
    """Why this source comes now, in words."""
    place = PLACES[source.distance]
    in_vain, failed = want.vain_before(source.node_id)
    words = [_role(want, source), place]
    if source.link is None:
        words.append("dialled")
    if failed:
        did = "asked in vain" if want.is_for_head else "failed"
        words.append(f"{did} {_times(failed)} before")
    if in_vain > failed:
        words.append(f"was busy {_times(in_vain - failed)} before")
    return ", ".join(words)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _role(want: Want, source: Source) -> str:
    match want.step:
        case Step.NORMAL:
            return "announced it" if source.node_id in want.announcers else "home endpoint"
        case Step.RUNG_1:
            return "storage endpoint"
        case Step.RUNG_2 if want.is_for_head:
            return "neighbour"
        case Step.RUNG_2:
            return "advertises it" if source.says else "announced it"
        case Step.RUNG_3:
            return ("snapshot endpoint", "storage endpoint", "configured endpoint")[_kind(source)]
        case Step.RUNG_4:
            return "control-plane endpoint"
        case Step.RUNG_5:
            raise AssertionError("has no sources")
        case _:
            assert_never(want.step)


def upcoming(want: Want, supply: Supply, now: Instant) -> list[tuple[Step, NodeId, str]]:
    """Whom a want would ask after what is under way, in order, as things stand: a parked one from
    the beginning."""
    if want.step not in ASKING:
        trial = replace(want, climbs=want.climbs + 1)
        trial.enter(Step.NORMAL)
        now = max(now, want.retry_at)
    else:
        trial = replace(want)
    seen = {one.source.node_id for one in want.tries}
    found: list[tuple[Step, NodeId, str]] = []
    for step in ASKING[ASKING.index(trial.step) :]:
        if step is not trial.step:
            trial.enter(step)
        ranked = [
            one
            for one in ranked_sources(trial, step, supply)
            if one.node_id not in seen and trial.may_ask(one, now)
        ]
        for one in ranked[: SOURCES_MAX[step] - trial.asked]:
            seen.add(one.node_id)
            found.append((step, one.node_id, _reason(trial, one)))
    return found[:UPCOMING_MAX]
