"""A peer that hangs, its kernel still acknowledging, costs nobody else any time."""

import signal

import pytest

from fabgossip.cli.fabric import Fabric
from tests.system.fabrics import HANG_S, daemon_of, until

pytestmark = [pytest.mark.system, pytest.mark.slow]

SOON_S = 6.0
"""A fetch that had asked the hung peer goes elsewhere after about one second; a write to it is
given up after ten."""
LARGE_BYTES = 3 << 20
"""More than a link's queue and the kernel's buffers hold."""


@pytest.mark.parametrize("hung", ["storage-2", "edge-2"])
def test_a_publication_reaches_all_others_while_one_hangs(four: Fabric, hung: str) -> None:
    daemon = daemon_of(four, hung)
    daemon.freeze()
    try:
        text = f"while {hung} hangs\n".encode()
        (four.source / "qos-default").write_bytes(text)
        (four.source / "routes-edge").write_bytes(text)
        (four.source / "services-dns").write_bytes(text * (LARGE_BYTES // len(text)))
        publication = four.publish("while one hangs")
        assert len(publication.artifacts) == 3
        four.wait_for(publication, SOON_S, except_for=(hung,))
    finally:
        daemon.signal(signal.SIGCONT)
    four.wait_for(publication, HANG_S)
    edge = four.node("edge-1").local(f"{four.prefix}/services/dns") / "content"
    content = (four.source / "services-dns").read_bytes()
    until(lambda: edge.read_bytes() == content, "the large content is applied")
