"""Rounds: a folder, lives that end at chosen steps, and the look at what they left.

Each life is a fork of this process, which holds no thread, no index and no key of its own open: so
it costs a few milliseconds, and what it acknowledged is known outside before it ends.
"""

import os
import select
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from json import loads
from pathlib import Path
from random import Random
from typing import Final

from fabgossip.errors import StorageError
from fabgossip.model.ids import ManifestHash
from fabgossip.model.moment import UnixTime
from tests.core.artifacts import Artifact
from tests.system.accepting.checking import FaultError, Inspection, Ledger
from tests.system.accepting.living import Life, Say, Word, line_of
from tests.system.accepting.steps import NEVER, Plan, Steps
from tests.system.accepting.stories import Action, Given, Story, story_with

CENSUS: Final = 12
"""Stories told to their end first, to know the points there are."""
LIVES: Final = 3
BY_NUMBER: Final = 0.3
"""So many of the last lives end at any step, whatever it is; the others at a point of their own.
"""
AT_RANDOM: Final = 0.15
"""So many kills come from outside, at a random time."""
RESTART: Final = "restart"
"""The name of every start but the first."""
OCCURRENCES: Final = (1, 1, 1, 2, 3)
FAILING: Final = (1, 1, 2, 5, 20)
PATIENCE: Final = 0.7
"""How often the disk is waited for before the next thing happens."""
_CRASHED: Final = 3


@dataclass(slots=True)
class Fault:
    """A promise broken in a round."""

    seed: int
    number: int
    points: list[str]
    what: str


@dataclass(slots=True)
class Tally:
    """What all rounds came to."""

    known: tuple[str, ...] = ()
    hit: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    at_random: int = 0
    ends: int = 0
    """Lives that came to their end before the chosen step."""
    faults: list[Fault] = field(default_factory=list)


@dataclass(slots=True)
class Ending:
    """How a life ended, and where the next one goes on."""

    at: int = 0
    """Number of the action it had come to."""
    point: str = ""
    taken: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    crash: str = ""


class Rounds:
    """All rounds of one seed; `is_failing`: the disk fails instead of the process being killed."""

    def __init__(self, seed: int, place: Path, *, is_failing: bool) -> None:
        self._seed = seed
        self._place = place
        self._is_failing = is_failing
        self._steps = 1
        self._seconds = 0.01
        self.tally = Tally()

    def take_census(self) -> None:
        """Learn every point that some stories have, from start to end and started again."""
        known: set[str] = set()
        totals: list[int] = []
        times: list[float] = []
        for number in range(CENSUS):
            story, folder = Story(seed=f"census {number}"), self._folder()
            begin = time.perf_counter()
            for _ in range(2):
                ending, _ = self._live(folder, story, 0, NEVER, Random(number), Ledger(), None)
                assert not ending.crash, ending.crash
                known |= set(ending.taken)
                totals.append(ending.taken.total())
            times.append((time.perf_counter() - begin) / 2)
            shutil.rmtree(folder)
        self._steps = sum(totals) // len(totals)
        self._seconds = sum(times) / CENSUS
        order = sorted(known)
        Random(self._seed).shuffle(order)
        self.tally.known = tuple(order)

    def _folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._place))

    def play(self, number: int) -> None:
        """One round, from an empty folder to a node that has caught up."""
        rng = Random(f"{self._seed} {number}")
        targets = self._targets(number)
        story = story_with(f"{self._seed} {number}", targets[0].partition(" | ")[0])
        folder, ledger, points = self._folder(), Ledger(), list[str]()
        inspection = Inspection(folder, story, ledger, story.artifacts())
        try:
            at = 0
            for life in range(LIVES):
                plan = self._plan(rng, targets[life : life + 1], story.actions[at:])
                delay = self._delay(rng) if not self._is_failing else None
                ending, now = self._live(folder, story, at, plan, rng, ledger, delay)
                at = ending.at
                self._note(ending, points, is_random=delay is not None)
                if ending.crash:
                    raise FaultError(ending.crash)
                inspection.start_twice(now)
                if ending.failed and ledger.failures:
                    _demand_said(ledger)
            self._catch_up(folder, story, inspection)
        except (FaultError, AssertionError, StorageError, OSError) as error:
            what = f"{type(error).__name__}: {error}"
            if not isinstance(error, FaultError):
                what = traceback.format_exc()
            self.tally.faults.append(Fault(self._seed, number, points, what))
        finally:
            shutil.rmtree(folder)
        self.tally.rounds += 1

    def _targets(self, number: int) -> tuple[str, str]:
        """The points whose turn it is, of a first life and of a second."""
        first = [one for one in self.tally.known if not one.startswith(RESTART)]
        second = [one for one in self.tally.known if one.startswith(RESTART)]
        return first[number % len(first)], second[number % len(second)]

    def _plan(self, rng: Random, target: tuple[str, ...], left: list[Action]) -> Plan:
        """A life ends at the point whose turn it is, the last one anywhere."""
        failing = rng.choice(FAILING) if self._is_failing else 0
        if target:
            return Plan(point=target[0], occurrence=rng.choice(OCCURRENCES), failing=failing)
        if rng.random() < BY_NUMBER:
            occurrence = 1 + rng.randrange(self._steps // LIVES)
            return Plan(occurrence=occurrence, failing=failing)
        names = {one.name for one in left}
        points = [one for one in self.tally.known if one.partition(" | ")[0] in names]
        return Plan(point=rng.choice(points or self.tally.known), failing=failing)

    def _delay(self, rng: Random) -> float | None:
        return rng.uniform(0, self._seconds) if rng.random() < AT_RANDOM else None

    def _note(self, ending: Ending, points: list[str], *, is_random: bool) -> None:
        points.append(ending.point or ("a random time" if is_random else "its end"))
        if ending.point:
            self.tally.hit[ending.point] += 1
        elif is_random:
            self.tally.at_random += 1
        else:
            self.tally.ends += 1

    def _live(
        self,
        folder: Path,
        story: Story,
        first: int,
        plan: Plan,
        rng: Random,
        ledger: Ledger,
        delay: float | None,
    ) -> tuple[Ending, UnixTime]:
        """A life from the action `first` on; gives how it ended, and when."""
        chance = rng.random()
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(reading)
            _live_and_die(folder, story, first, plan, Random(chance), writing)
        os.close(writing)
        ending = Ending(at=first)
        artifacts = story.artifacts()
        with _ended(pid, reading, delay):
            for word in _words(reading):
                _take(word, ending, ledger, artifacts)
        later = [one.at for one in story.actions[ending.at + 1 :]]
        return ending, later[0] if later else story.end

    def _catch_up(self, folder: Path, story: Story, inspection: Inspection) -> None:
        """Everything newest is handed over once more, and is accepted: a crash shut nothing out."""
        life = Life(folder, story, story.end, lambda word: self._heard(word, inspection))
        try:
            # Twice: whose rival lost its trust only later is not believed the first time.
            for action in (*story.actions, *story.actions):
                if isinstance(action.what, Given):
                    life.submit(action.what.artifact)
                    life.settle()
            life.look_around()
            life.settle()
        finally:
            life.close()
        inspection.start_twice(story.end)
        inspection.look_at_the_newest(story.end)

    @staticmethod
    def _heard(word: Word, inspection: Inspection) -> None:
        inspection.ledger.note(word, inspection.artifacts)


def _demand_said(ledger: Ledger) -> None:
    if not ledger.said:
        raise FaultError("the disk failed, and the node says nothing")


def _live_and_die(
    folder: Path, story: Story, first: int, plan: Plan, rng: Random, writing: int
) -> None:
    """The child: never returns."""
    write = os.write

    def say(word: Word) -> None:
        line = line_of(word)
        while line:
            line = line[write(writing, line) :]

    steps = Steps(plan, lambda point: say(("point", point)))
    steps.doing = RESTART if (folder / "index.sqlite").exists() else "start"
    steps.install()
    try:
        _tell(folder, story, first, steps, rng, say)
        for point, count in steps.taken.items():
            say(("taken", point, count))
        for point in steps.failed:
            say(("broke", point))
    except StorageError as error:
        # The disk failed while the node started: it says so and ends.
        say(("failed",))
        say(("said", str(error)))
        for point in steps.failed:
            say(("broke", point))
    except BaseException:  # noqa: BLE001  # told to the parent, which reports it
        say(("crash", traceback.format_exc()))
    finally:
        os._exit(_CRASHED)  # no clean end: what was not durable by now is lost


def _tell(folder: Path, story: Story, first: int, steps: Steps, rng: Random, say: Say) -> None:
    actions = story.actions[first:]
    life = Life(folder, story, actions[0].at if actions else story.end, say)
    for number, action in enumerate(actions, first):
        say(("action", number))
        steps.doing = action.name
        life.play(action)
        if rng.random() < PATIENCE:
            life.settle()
    say(("action", len(story.actions)))
    life.settle()
    life.look_around()
    life.settle()


@contextmanager
def _ended(pid: int, reading: int, delay: float | None) -> Iterator[None]:
    """The child has ended when this has; after `delay` seconds it is killed."""
    if delay is not None:
        # Nothing is read meanwhile: the pipe holds more than a story says.
        select.select([], [], [], delay)
        os.kill(pid, signal.SIGKILL)
    try:
        yield
    finally:
        os.close(reading)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _words(reading: int) -> Iterator[Word]:
    """What a life said until it ended; half a word is none."""
    left = b""
    while data := os.read(reading, 1 << 16):
        *lines, left = (left + data).split(b"\n")
        for line in lines:
            yield tuple(loads(line))


def _take(
    word: Word, ending: Ending, ledger: Ledger, artifacts: dict[ManifestHash, Artifact]
) -> None:
    match word:
        case ("action", int(number)):
            ending.at = number
        case ("point", str(point)):
            ending.point = point
        case ("taken", str(point), int(count)):
            ending.taken[point] = count
        case ("broke", str(point)):
            ending.failed.append(point)
        case ("crash", str(text)):
            ending.crash = text
        case _:
            ledger.note(word, artifacts)
