"""A real document with a real history arrives version by version, byte for byte."""

import json
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest

from fabgossip.cli.fabric import Fabric
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
