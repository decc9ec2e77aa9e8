"""Whether the other end of a link lives: pings, what is heard, suspicion, the end.

Decides: when a link is suspect, when it is down, when to look again.
Keeps: nobody is down within a minute of whom anything was heard since, nor before one more ping had
its time; when a link becomes suspect does not hang on what else it carries, of which others may not
know; what is judged here is our own links and is told to nobody.
Must not know: who is at the other end, what a link is for.

- The side that dialled pings every `ping_interval_ms`; an answer is due within `pong_deadline_ms`.
- The other side expects a ping within `silence_max_ms`: interval, its jitter and the answer's time.
- Who misses that is suspect until a ping or an answer comes, and is down if nothing does, or if
  nothing but other frames come for a minute.
- Links of thin nodes are pinged every 60 s and suspect after 75 s.
- Deadlines are multiplied by 1 + the lag score; from score 3 on no suspect goes down.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from random import Random
from typing import Final

from fabgossip.core.config import ConnectionsConfig
from fabgossip.core.events import LinkId
from fabgossip.core.lag import Lag
from fabgossip.core.lots import Lots
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Duration, Instant, elapsed, is_due, later

DOWN_AFTER: Final = Duration(5_000)
"""A suspect has so long to say anything (*start*)."""
THIN_INTERVAL_MS: Final = 60_000
THIN_SILENCE_MS: Final = 75_000
"""A radio that sleeps is not to be woken for us (*start*)."""
DOUBTED_MAX: Final = Duration(60_000)
"""Who neither asks nor answers for so long is down, whatever else it sends (*start*): it would hold
a place among the neighbours that nobody may rest on."""
LAG_MAX: Final = 3
PING_JITTER_DIVISOR: Final = 20
SEQUENCE_MASK: Final = 0xFFFFFFFF
PATH_RTTS: Final = 4
"""So many round trips show how long a path is: one that became longer is known after half a minute
(*start*)."""
RTTS_MAX: Final = 20
"""Round trips remembered of a link: some minutes (*start*)."""


class Life(Enum):
    """What a look at a link comes to."""

    ALIVE = 1
    SUSPECT = 2
    """It has just become so: it is due one more ping."""
    DOUBTED = 3
    """It was before, and has some time left."""
    DOWN = 4


@dataclass(slots=True)
class _Pulse:
    node_id: NodeId
    is_dialer: bool
    since: Instant
    heard_at: Instant
    """When any frame came last."""
    signed_at: Instant
    """When a ping or an answer to one came last."""
    is_thin: bool = False
    sequence: int = 0
    asked_at: Instant | None = None
    """When the newest question went out, as long as it is not answered."""
    waits_since: Instant | None = None
    """When the first question went out since the last sign of life: further ones give no more time
    to answer, or who is late itself, and hence patient, would ask for ever."""
    rtts_ms: deque[int] = field(default_factory=lambda: deque(maxlen=RTTS_MAX))
    """The newest round trips, oldest first."""
    suspect_since: Instant | None = None
    ping_at: Instant | None = None
    look_at: Instant | None = None
    """When the earliest timer out for a look is due."""


class Liveness:
    """The pulse of every link."""

    __slots__ = ("_config", "_lag", "_lots", "_pulses")

    def __init__(self, config: ConnectionsConfig, rng: Random) -> None:
        self._config = config
        self._lots = Lots(rng)
        self._lag = Lag()
        self._pulses: dict[LinkId, _Pulse] = {}

    def on_connected(self, link: LinkId, node_id: NodeId, now: Instant, *, is_dialer: bool) -> None:
        """A link passed TLS."""
        self._pulses[link] = _Pulse(node_id, is_dialer, now, now, now)

    def on_lost(self, link: LinkId) -> None:
        """A link ended."""
        self._pulses.pop(link, None)

    def on_thin(self, link: LinkId, *, is_thin: bool) -> None:
        """One end of a link is a thin node, or is not."""
        self._pulses[link].is_thin = is_thin

    def on_heard(self, link: LinkId, now: Instant) -> None:
        """A frame came, whatever it says."""
        pulse = self._pulses.get(link)
        if pulse is not None:
            pulse.heard_at = now

    def on_sign(self, link: LinkId, now: Instant) -> None:
        """A ping or an answer to one came: these come whatever else there is to say."""
        pulse = self._pulses.get(link)
        if pulse is not None:
            pulse.signed_at = now
            pulse.waits_since = pulse.suspect_since = None

    def on_welcome(self, link: LinkId, now: Instant) -> None:
        """The peer answered the hello, which left as soon as there was a link: both ends measure
        one round trip before the first ping."""
        pulse = self._pulses.get(link)
        if pulse is not None:
            pulse.rtts_ms.append(elapsed(pulse.since, now))

    def on_pong(self, link: LinkId, sequence: int, now: Instant) -> None:
        """The peer answered; only the newest question measures the round trip."""
        pulse = self._pulses.get(link)
        if pulse is not None and sequence == pulse.sequence and pulse.asked_at is not None:
            pulse.rtts_ms.append(elapsed(pulse.asked_at, now))
            pulse.asked_at = None

    def on_ping_due(self, link: LinkId, now: Instant) -> None:
        """The timer of `next_ping_at` fired."""
        pulse = self._pulses.get(link)
        if pulse is not None and pulse.ping_at is not None:
            self._lag.on_timer(pulse.ping_at, now)

    def next_ping(self, link: LinkId, now: Instant) -> int | None:
        """The sequence to ask with, for the side that dialled and for one that doubts; None for the
        other."""
        pulse = self._pulses.get(link)
        if pulse is None or not (pulse.is_dialer or pulse.suspect_since is not None):
            return None
        pulse.sequence = (pulse.sequence + 1) & SEQUENCE_MASK
        pulse.asked_at = now
        pulse.waits_since = now if pulse.waits_since is None else pulse.waits_since
        return pulse.sequence

    def next_ping_at(self, link: LinkId, now: Instant) -> Instant | None:
        """When to ask next, for the side that dialled."""
        pulse = self._pulses.get(link)
        if pulse is None or not pulse.is_dialer:
            return None
        interval = THIN_INTERVAL_MS if pulse.is_thin else self._config.ping_interval_ms
        pulse.ping_at = later(
            now, self._lots.around(interval, PING_JITTER_DIVISOR, pulse.node_id, now)
        )
        return pulse.ping_at

    def next_look_at(self, link: LinkId, now: Instant) -> Instant | None:
        """When to look whether a link lives, if no timer is out for that yet; None too while
        nothing is due from the peer."""
        pulse = self._pulses.get(link)
        at = None if pulse is None else self._due_at(pulse, now)
        if pulse is None or at is None:
            return None
        if is_due(at, now):
            at = later(now, DOWN_AFTER)
        if pulse.look_at is not None and pulse.look_at <= at:
            return None
        pulse.look_at = at
        return at

    def _due_at(self, pulse: _Pulse, now: Instant) -> Instant | None:
        if pulse.suspect_since is not None:
            return min(
                later(max(pulse.suspect_since, pulse.heard_at), DOWN_AFTER),
                later(pulse.suspect_since, DOUBTED_MAX),
            )
        if pulse.is_dialer:
            asked = pulse.waits_since
            deadline = self._patience(self._config.pong_deadline_ms, now)
            return None if asked is None else later(asked, deadline)
        silence = THIN_SILENCE_MS if pulse.is_thin else self._config.silence_max_ms
        return later(pulse.signed_at, self._patience(silence, now))

    def _patience(self, deadline_ms: int, now: Instant) -> Duration:
        return Duration(deadline_ms * (1 + self._lag.score(now)))

    def look(self, link: LinkId, now: Instant) -> Life:
        """Judge a link, at the time of `next_look_at` or later."""
        pulse = self._pulses.get(link)
        if pulse is None:
            return Life.ALIVE
        if pulse.look_at is not None and is_due(pulse.look_at, now):
            self._lag.on_timer(pulse.look_at, now)
            pulse.look_at = None
        if pulse.suspect_since is not None:
            is_silent = is_due(later(max(pulse.suspect_since, pulse.heard_at), DOWN_AFTER), now)
            is_over = is_silent or is_due(later(pulse.suspect_since, DOUBTED_MAX), now)
            return Life.DOWN if is_over and self._lag.score(now) < LAG_MAX else Life.DOUBTED
        if not self._is_overdue(pulse, now):
            return Life.ALIVE
        pulse.suspect_since = now
        return Life.SUSPECT

    def _is_overdue(self, pulse: _Pulse, now: Instant) -> bool:
        if pulse.is_dialer:
            deadline = self._patience(self._config.pong_deadline_ms, now)
            return pulse.waits_since is not None and elapsed(pulse.waits_since, now) >= deadline
        silence = THIN_SILENCE_MS if pulse.is_thin else self._config.silence_max_ms
        return elapsed(pulse.signed_at, now) >= self._patience(silence, now)

    def is_suspect(self, link: LinkId) -> bool:
        """Whether a link missed a deadline, and neither asked nor answered since."""
        pulse = self._pulses.get(link)
        return pulse is not None and pulse.suspect_since is not None

    def rtt_ms(self, link: LinkId) -> int | None:
        """The newest round trip, of a ping or of the hello."""
        pulse = self._pulses.get(link)
        return None if pulse is None or not pulse.rtts_ms else pulse.rtts_ms[-1]

    def least_rtt_ms(self, link: LinkId) -> int | None:
        """The least of the newest round trips: the path without what either end was busy with."""
        pulse = self._pulses.get(link)
        newest = () if pulse is None else islice(reversed(pulse.rtts_ms), PATH_RTTS)
        return min(newest, default=None)

    def slow_rtt_ms(self, link: LinkId) -> int | None:
        """What 95 in 100 of the newest round trips do not exceed."""
        pulse = self._pulses.get(link)
        if pulse is None or not pulse.rtts_ms:
            return None
        return sorted(pulse.rtts_ms)[-(-95 * len(pulse.rtts_ms) // 100) - 1]

    def heard_at(self, link: LinkId) -> Instant | None:
        """When a link last gave a sign of life."""
        pulse = self._pulses.get(link)
        return None if pulse is None else pulse.heard_at

    def links(self) -> frozenset[LinkId]:
        """All links there are."""
        return frozenset(self._pulses)
