"""A snapshot that changes a little from version to version, and the increments between them."""

import random
from dataclasses import replace
from functools import cache
from typing import Final

from fabgossip.model.artifact import ArtifactType, Base
from fabgossip.model.increments import INCREMENT_MARK
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.topology import Snapshot
from fabgossip.wire.contents import snapshot_bytes
from fabgossip.wire.increments import increment_bytes
from tests.core.artifacts import Artifact, sealed
from tests.trust import factory

TAIL: Final = "snapshots/role/edge"
NAME: Final = f"{factory.PREFIX}/{TAIL}"
_SETTINGS: Final = random.Random(7).randbytes(4_000)


@cache
def snapshot_of(version: int, *, is_marked: bool = True, epoch: int = 2) -> Artifact:
    """A version of the snapshot; marked, it says that an increment to it is signed as well."""
    settings = _SETTINGS + b" version %d" % version
    content = snapshot_bytes(Snapshot(endpoints=(), degraded=DegradedPolicy(), settings=settings))
    statement = replace(
        factory.manifest(ArtifactType.CLUSTER_SNAPSHOT, TAIL),
        config_version=version,
        authority_epoch=epoch,
        extensions=((INCREMENT_MARK, b""),) if is_marked else (),
    )
    return sealed(statement, content)


@cache
def step(version: int, base: int | None = None) -> Artifact:
    """The increment to a version, from the one before unless said otherwise."""
    base = version - 1 if base is None else base
    before, after = snapshot_of(base), snapshot_of(version)
    frame = increment_bytes(before.content, after.content)
    assert frame is not None
    return other_step(version, base, frame)


@cache
def other_step(version: int, base: int, frame: bytes) -> Artifact:
    """An increment of any content that claims to lead from one version to another."""
    after = snapshot_of(version)
    statement = replace(
        factory.manifest(ArtifactType.SNAPSHOT_INCREMENT, TAIL),
        config_version=version,
        base=Base(
            version=base,
            content_hash=snapshot_of(base).content_hash,
            result_hash=after.content_hash,
            result_size=after.manifest.content_size,
        ),
    )
    return sealed(statement, frame)
