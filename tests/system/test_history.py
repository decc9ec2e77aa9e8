"""A document with a history arrives version by version, byte for byte, and as increments."""

import json
import random
import tarfile
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest

from fabgossip.cli.fabric import Fabric, Node
from tests.system.conftest import SNAPSHOT
from tests.system.fabrics import HANG_S, until

pytestmark = [pytest.mark.system, pytest.mark.slow]

DATA = Path(__file__).parents[3] / "shared" / "data" / "public-suffix-list"
ARCHIVE = DATA / "versions.tar.xz"
VERSIONS = 5


def first_versions() -> list[bytes]:
    """The oldest versions, each the one the list beside the archive names."""
    rows = json.loads((DATA / "index.json").read_bytes())[:VERSIONS]
    versions = []
    with tarfile.open(ARCHIVE, "r:xz") as archive:
        for row in rows:
            member = next(one for one in archive if one.name.endswith(row["file"]))
            file = archive.extractfile(member)
            assert file is not None
            versions.append(file.read())
            assert sha256(versions[-1]).hexdigest() == row["sha256"]
    return versions


def wait_until_equal(files: list[Path], data: bytes) -> None:
    until(lambda: all(one.read_bytes() == data for one in files), "the version everywhere")


@pytest.mark.skipif(
    not ARCHIVE.is_file(), reason="no ../shared/data/public-suffix-list/versions.tar.xz"
)
def test_every_version_of_a_real_document_arrives_equal(four: Fabric) -> None:
    versions = first_versions()
    assert len(set(versions)) == VERSIONS
    namespace = f"{four.prefix}/{SNAPSHOT.namespace}"
    applied = [four.node(one).local(namespace) / "settings" for one in ("edge-1", "edge-2")]
    for number, version in enumerate(versions, 1):
        (four.source / SNAPSHOT.file).write_bytes(version)
        publication = four.publish(f"version {number}")
        wait_until_equal(applied, version)
        four.wait_for(publication, HANG_S)
        if number > 1:
            assert 0 < publication.increment_bytes < len(version) // 10
    for node_id in ("storage-1", "storage-2"):
        local = four.node(node_id).local(namespace)
        assert not local.exists(), f"{node_id} stores it and does not apply it"


def versions_of(size: int) -> list[bytes]:
    """A document that changes a little, larger than what rides along with an announcement."""
    first = random.Random(3).randbytes(size)
    return [first, *(first[:100] + b"version %d" % n + first[100:] for n in range(2, VERSIONS + 1))]


def test_who_follows_needs_the_increments_and_who_slept_the_chain(four: Fabric) -> None:
    """Nobody fetches a whole snapshot but for the first: what came over all links says so."""
    versions = versions_of(200_000)
    namespace = f"{four.prefix}/{SNAPSHOT.namespace}"
    sleeper, awake = four.node("edge-2"), four.node("edge-1")
    (four.source / SNAPSHOT.file).write_bytes(versions[0])
    four.wait_for(four.publish("first"), HANG_S)
    before, assembled_before = received(awake), assembled(awake)
    sleeper.stop()
    try:
        for version in versions[1:]:
            (four.source / SNAPSHOT.file).write_bytes(version)
            publication = four.publish("next")
            four.wait_for(publication, HANG_S, except_for=("edge-2",))
        assert received(awake) - before < len(versions[0]) // 2
        assert assembled(awake) - assembled_before == VERSIONS - 1
        assert awake.chains()["gaps"] == {}
    finally:
        sleeper.start()
    sleeper.wait_ready(HANG_S)
    wait_until_equal([sleeper.local(namespace) / "settings"], versions[-1])
    why = sleeper.get(f"/v1/why?namespace={quote(namespace)}")["chain"]
    assert isinstance(why, dict)
    assert (why["outcome"], why["steps"]) == ("assembled", VERSIONS - 1)
    saved = sleeper.chains()["saved_bytes"]
    assert isinstance(saved, int)
    assert saved > len(versions[-1]) // 2
    assert awake.local(namespace).joinpath("settings").read_bytes() == versions[-1]


def assembled(node: Node) -> int:
    """How many versions it has made of an increment since its start."""
    count = node.chains()["assembled"]
    assert isinstance(count, int)
    return count


def received(node: Node) -> int:
    """Over all its open links."""
    return sum(node.received_bytes().values())
