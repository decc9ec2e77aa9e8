"""`GET /v1/status`: right at once where that is cheap, and never all that the loop does."""

from dataclasses import replace
from typing import cast

import trio

from fabgossip.core.events import AuditState
from fabgossip.core.health import NodeSnapshot
from fabgossip.core.space import AMPLE
from fabgossip.daemon.audit import AuditView
from fabgossip.daemon.callers import Caller
from fabgossip.daemon.conversations import Request
from fabgossip.daemon.driver import Driver
from fabgossip.daemon.questions import FEW_NAMESPACES, Questions
from fabgossip.model.moment import Now
from tests.core.story import Story
from tests.fuzzing.local import ABOUT
from tests.trust import factory


class Node:
    """A node of so many namespaces, and its view, as far as a status asks for them."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.looks = 0
        self.view = self
        self._seen = Story().node.view.snapshot(factory.BOTH_CLOCKS)

    def snapshot(self, _: Now) -> NodeSnapshot:
        self.looks += 1
        return replace(self._seen, namespaces=replace(self._seen.namespaces, total=self.total))


class Log:
    """An audit log, to be shown."""

    def view(self) -> AuditView:
        return AuditView(sequence=0, anchored_at=None, state=AuditState.INTACT)


class Asked:
    """A driver of such a node, and who asks it for its status."""

    def __init__(self, total: int) -> None:
        self.node = Node(total)
        self.audit = Log()
        self.space = AMPLE
        self._questions = Questions(cast("Driver", self), ABOUT, lambda: True)

    async def total(self) -> int:
        """The namespaces a status tells of."""

        async def nothing(_: object) -> None:
            await trio.lowlevel.checkpoint()

        caller = Caller(uid=1_000, groups=frozenset())
        request = Request("GET", "/v1/status", {}, {}, caller, nothing)
        body = (await self._questions.on_status(request)).body
        return cast("dict[str, int]", body["namespaces"])["total"]


async def test_the_status_of_few_namespaces_is_always_of_now(autojump_clock: object) -> None:
    asked = Asked(FEW_NAMESPACES - 1)
    assert await asked.total() == FEW_NAMESPACES - 1
    for total in (FEW_NAMESPACES, FEW_NAMESPACES + 1):
        asked.node.total = total
        assert await asked.total() == total


async def test_who_asks_again_and_again_for_the_status_of_many_is_shown_one_look(
    autojump_clock: object,
) -> None:
    """A look costs as much as there are namespaces, and any reader may ask in a loop."""
    asked = Asked(FEW_NAMESPACES + 1)
    for _ in range(100):
        await asked.total()
    assert asked.node.looks == 1
    asked.node.total += 1
    await trio.sleep(10)
    assert await asked.total() == FEW_NAMESPACES + 2
    assert asked.node.looks == 2
