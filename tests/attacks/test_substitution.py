"""Attack: bring other bytes than those that were signed.

Powers: the attacker is a member with a good certificate and the first one who is asked. It serves
any bytes under the name of any content. Another neighbor is honest.
"""

from pathlib import Path
from typing import Final

import pytest

from fabgossip.core.effects import ReceiveContent
from fabgossip.core.events import ContentFailed, FetchFailure, LinkId
from fabgossip.model.artifact import ArtifactType, Order
from fabgossip.model.authority import Revocation, RevokedKind
from fabgossip.model.moment import UnixTime
from fabgossip.storage.contents import ContentFiles
from tests.attacks.scene import Scene, Standing, asks_content
from tests.core.artifacts import (
    Artifact,
    artifact,
    node_snapshot,
    peers,
    record,
    revocations,
    routes,
)
from tests.trust import factory as f

T = ArtifactType
WRONG: Final = (FetchFailure.BAD_HASH, FetchFailure.BAD_LENGTH)


def sample(kind: ArtifactType, version: int) -> Artifact:
    match kind:
        case T.REVOCATION_LIST:
            stolen = Revocation(
                kind=RevokedKind.CONTENT,
                value=f.hash_of(b"stolen %d" % version),
                reason="stolen",
                since_epoch=1,
                since=f.NOW,
                until=UnixTime(0),
            )
            return revocations(version, stolen)
        case T.CLUSTER_SNAPSHOT:
            return node_snapshot(version, b"settings %d" % version)
        case T.PEER_DIRECTORY:
            return peers(record(f"n{version}"), version=version)
        case _:
            return artifact(kind, version=version, content=b"version %d" % version)


def fails(scene: Scene, wanted: Artifact, link: LinkId, reason: FetchFailure) -> None:
    """What the one that was asked brought does not have the signed hash, or size."""
    scene.when(
        ContentFailed(
            content_hash=wanted.content_hash, link=link, request=None, reason=reason, received=0
        )
    )


@pytest.mark.parametrize("reason", WRONG)
@pytest.mark.parametrize(
    "kind",
    [
        T.REVOCATION_LIST,
        T.CLUSTER_SNAPSHOT,
        T.PEER_DIRECTORY,
        T.ROUTE_POLICY_BUNDLE,
        T.UPDATE_MANIFEST,
    ],
)
def test_never_visible(kind: ArtifactType, reason: FetchFailure, tmp_path: Path) -> None:
    """No reader sees them, nothing is read out of them, nobody hears that they are held; the sender
    is not asked again, and one honest source is enough."""
    scene = Scene().publish(sample(kind, 7))
    before, wanted = scene.state, sample(kind, 8)
    scene.announce(wanted, scene.attacker)
    scene.persisted()
    assert scene.only(ReceiveContent).link == scene.attacker
    fails(scene, wanted, scene.attacker, reason)
    scene.rest()
    behind = Standing(Order(2, 8), (wanted.content_hash,), "behind")
    assert scene.state.heads == before.heads | {wanted.tail: behind}
    assert scene.state.facts.revoked == before.facts.revoked
    assert (scene.codes, scene.switched) == ([], [])
    assert scene.audited == []
    assert not scene.says_it_holds(wanted)
    assert scene.requests == [asks_content(wanted)]

    again = scene.restarted(tmp_path)
    assert again.state.heads[wanted.tail] == behind
    assert wanted.tail not in dict(again.switched_at_start)

    scene.announce(wanted, scene.attacker)
    assert scene.find(ReceiveContent) == []
    scene.announce(wanted, scene.bystander)
    assert [one.link for one in scene.find(ReceiveContent)] == [scene.bystander]
    scene.carry_out(wanted).rest()
    good = Standing(Order(2, 8), (wanted.content_hash,), "current")
    assert scene.state.heads[wanted.tail] == good
    assert scene.switched == [(wanted.tail, Order(2, 8))]


def names_below(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.rglob("*") if one.is_file())


def test_bytes_under_way_have_no_name_a_reader_knows(tmp_path: Path) -> None:
    """Until the whole hash matched they lie in a file that no content hash leads to; dropped, they
    are gone."""
    files = ContentFiles(tmp_path)
    files.prepare()
    wanted = routes(8)
    incoming = files.open_incoming(wanted.content_hash, len(wanted.content))
    incoming.write_at(0, b"x" * len(wanted.content))
    assert wanted.content_hash.hex() not in names_below(tmp_path)
    incoming.drop()
    assert names_below(tmp_path) == []
