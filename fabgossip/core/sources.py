"""Whom to ask for a content next: the steps of one climb, in strict order.

Decides: the best source of the first step that has one.
Keeps: a step is left only when no source of it is left; a source gets one try per climb, so who
withholds a content keeps nobody from whom else to ask; who failed for this content comes last.
Must not know: how many contents are under way, what a try comes to.

| step | sources |
|---|---|
| normal | who announced it, then the home endpoint: the nearest linked storage node |
| rung 1 | the other linked storage nodes, nearest failure domain first |
| rung 2 | linked neighbours that advertise it; of trust and a node's own snapshot, all |
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Final, assert_never

from fabgossip.core.wants import STEPS, Attempt, Source, Step, Want
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import TrafficClass
from fabgossip.model.moment import Instant

NOWHERE: Final = 4
"""Distance of a source no directory places."""


def next_source(
    want: Want,
    sources: tuple[Source, ...],
    is_full: Callable[[NodeId], bool],
    now: Instant,
) -> tuple[Source | None, bool]:
    """The best source of the first step that has one, and whether one is only waiting for a
    free slot."""
    is_busy = False
    for step in STEPS[STEPS.index(want.step) :]:
        for source in _ranked(want, step, sources):
            if not want.may_ask(source, now):
                continue
            if is_full(source.node_id):
                is_busy = True
                continue
            want.step = step
            return source, False
        if is_busy:
            return None, True
        if step is want.step and step is not STEPS[-1] and want.attempts:
            _note_skipped(want, step, now)
    return None, False


def _note_skipped(want: Want, step: Step, now: Instant) -> None:
    if any(one.step is step for one in want.attempts):
        return
    skipped = Attempt(at=now, step=step, node_id=None, outcome="skipped", took_ms=0, received=0)
    want.note(skipped)


def _ranked(want: Want, step: Step, sources: tuple[Source, ...]) -> list[Source]:
    match step:
        case Step.NORMAL:
            announcers = [
                one for one in sources if one.node_id in want.announcers and one.says is not False
            ]
            home = [one for one in _ranked(want, Step.RUNG_1, sources)[:1] if one not in announcers]
            return (
                sorted(
                    announcers,
                    key=lambda one: (
                        want.failures_before(one.node_id),
                        one.distance,
                        _lot(want, one),
                        one.node_id,
                    ),
                )
                + home
            )
        case Step.RUNG_1:
            eligible = [one for one in sources if one.is_storage and one.says is not False]
        case Step.RUNG_2:
            # A node shares no audience before it has these, so nobody advertises them to it.
            is_first = (
                want.traffic is TrafficClass.TRUST
                or want.verified.manifest.namespace.node_id is not None
            )
            eligible = [
                one for one in sources if one.says is True or (is_first and one.says is None)
            ]
        case _:
            assert_never(step)
    return sorted(
        eligible,
        key=lambda one: (
            want.failures_before(one.node_id),
            one.says is not True,
            one.distance,
            _lot(want, one),
            one.node_id,
        ),
    )


def _lot(want: Want, source: Source) -> bytes:
    """A lot per content and source, so that nodes spread over sources of one rank."""
    return blake2b(
        want.wanted.content_hash + source.node_id.encode("ascii"), digest_size=8
    ).digest()
