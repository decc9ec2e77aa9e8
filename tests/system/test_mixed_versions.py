"""An update in the middle: today's build, the one after it and the one after that in one fabric.

Today's speaks version 1, the next one 1 and 2, the late one 2 and 3. Today's and the late one have
no word in common, and everybody still has everything: the next one speaks with both.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fabgossip.cli.fabric import Fabric
from fabgossip.control.enrollment import NodeRow
from fabgossip.model.messages import Bye, ByeReason, Hello, Message, Welcome
from fabgossip.wire.codec import parse_message
from fabgossip.wire.envelopes import parse_envelope
from fabgossip.wire.framing import EARLY_KINDS, FrameReader
from fabgossip.wire.statements import parse_claims
from tests.system.conftest import storage
from tests.system.fabrics import (
    CLUSTER,
    HANG_S,
    Daemon,
    Document,
    RecordedDaemon,
    daemon_of,
    enrolled,
    until,
    write_source,
)

pytestmark = [pytest.mark.system, pytest.mark.slow]

OTHER_BUILD = Path(__file__).with_name("other_build.py")
TODAY = ("today-1", "today-2")
SPOKEN = {"next-1": (1, 2), "late-1": (2, 3)}
ROWS = (
    storage("today-1", "control-endpoint"),
    storage("next-1"),
    # Without services: those are shown to the control endpoint first, and that is of today's build.
    *(NodeRow(node_id=one, addresses=(), roles=("edge",)) for one in ("today-2", "late-1")),
)
POLICY = Document("qos_policy_bundle", "qos/default")


def of_build(row: NodeRow, folder: Path) -> Daemon:
    """A node of the build its name says; today's note what they hear."""
    if row.node_id in TODAY:
        return RecordedDaemon(row, folder, CLUSTER)
    daemon = Daemon(row, folder, CLUSTER)
    daemon.command = (sys.executable, str(OTHER_BUILD), *map(str, SPOKEN[row.node_id]))
    return daemon


@pytest.fixture(scope="module")
def mixed() -> Iterator[Fabric]:
    """All four, running."""
    with enrolled(ROWS) as fabric:
        fabric.nodes[:] = [of_build(one.row, one.folder) for one in fabric.nodes]
        write_source(fabric.source, (POLICY,))
        fabric.start(HANG_S)
        yield fabric


def heard(fabric: Fabric, node_id: str) -> Iterator[tuple[str, list[Message | None]]]:
    """For each link of a node of today's build: who the peer was, and what it said. Only the words
    that begin and end a link are read; None stands for another."""
    daemon = daemon_of(fabric, node_id)
    assert isinstance(daemon, RecordedDaemon)
    for path in daemon.record.glob("*.frames"):
        reader = FrameReader()
        reader.feed(path.read_bytes())
        words = [
            parse_message(one.kind, bytes(one.body)) if one.kind in EARLY_KINDS else None
            for one in reader.frames()
        ]
        for hello in (one for one in words if isinstance(one, Hello)):
            yield parse_claims(parse_envelope(hello.claims).payload).node_id, words


@pytest.mark.parametrize("origin", ["today-1", "next-1"])
def test_what_either_build_is_given_reaches_all(mixed: Fabric, origin: str) -> None:
    mixed.nodes.sort(key=lambda one: one.row.node_id != origin)
    text = f"from {origin}\n".encode()
    (mixed.source / POLICY.file).write_bytes(text)
    mixed.wait_for(mixed.publish(f"at {origin}"), HANG_S)
    for node in mixed.nodes:
        content = node.local(f"{mixed.prefix}/{POLICY.namespace}") / "content"
        assert content.read_bytes() == text


def test_the_next_build_speaks_the_version_before_with_todays(mixed: Fabric) -> None:
    """It says that it could do more, and agrees on what both can."""
    links = [words for node in TODAY for peer, words in heard(mixed, node) if peer == "next-1"]
    ranges = {
        (one.protocol_min, one.protocol_max)
        for words in links
        for one in words
        if isinstance(one, Hello)
    }
    agreed = {one.protocol for words in links for one in words if isinstance(one, Welcome)}
    assert (ranges, agreed) == ({(1, 2)}, {1})


def test_builds_without_a_version_in_common_say_so_and_nothing_else(mixed: Fabric) -> None:
    def links() -> list[list[Message | None]]:
        return [words for node in TODAY for peer, words in heard(mixed, node) if peer == "late-1"]

    until(lambda: bool(links()), "the late build was heard", HANG_S)
    said = {type(one) for words in links() for one in words}
    reasons = {one.reason for words in links() for one in words if isinstance(one, Bye)}
    assert Hello in said
    assert said <= {Hello, Bye}
    assert reasons <= {ByeReason.VERSION}
