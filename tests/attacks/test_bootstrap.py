"""Attack: give a node another beginning, or another past.

Powers: the attacker writes the bootstrap file of a node and its fingerprint in the configuration,
but holds no quorum of roots; or it writes the rows of the node's own index while the node is
stopped. It waits at the address the node would dial.
"""

import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

from fabgossip.control.enrollment import NodeRow
from fabgossip.model.artifact import Order
from fabgossip.storage.index import NodeIndex
from fabgossip.wire.contents import bundle_bytes, parse_bundle, parse_pinned, pinned_bytes
from fabgossip.wire.statements import parse_manifest
from tests.attacks.powers import files_below
from tests.attacks.scene import NODE, Scene, Standing, started_from
from tests.core.artifacts import Artifact, node_snapshot, revocations, routes, trust
from tests.daemon import enrolled
from tests.system.fabrics import HANG_S, Daemon, run_command, short_folder
from tests.trust import factory as f

EXIT_CONFIG: Final = 78
CLUSTER: Final = "prod"


# A false beginning.


def unsigned(pinned: bytes) -> bytes:
    """The last bit of a root signature is another."""
    envelope, content = parse_pinned(pinned)
    return pinned_bytes(envelope[:-1] + bytes([envelope[-1] ^ 1]), content)


def other_content(pinned: bytes) -> bytes:
    envelope, content = parse_pinned(pinned)
    return pinned_bytes(envelope, content[:-1] + bytes([content[-1] ^ 1]))


def of_strangers(_: bytes) -> bytes:
    """A whole bundle of the attacker's, sound but for one root too few."""
    statement = f.bundle_manifest(f.BUNDLE)
    return pinned_bytes(f.signed(statement, f.ROOTS[0]), trust(f.BUNDLE).content)


def under_other_roots(pinned: bytes) -> bytes:
    """The node's own bundle in every word, but with roots of the attacker's, who all sign it: sound
    in itself, so that nothing but the fingerprint tells."""
    envelope, content = parse_pinned(pinned)
    roots = tuple(f.signer(f"root {number} of the attacker") for number in range(3))
    keys = tuple(sorted(one.public_key for one in roots))
    content = bundle_bytes(replace(parse_bundle(content), root_keys=keys))
    statement = replace(
        parse_manifest(f.parts(envelope).payload),
        content_hash=f.hash_of(content),
        content_size=len(content),
        signer_key_ids=tuple(sorted(one.key_id for one in roots)),
    )
    return pinned_bytes(f.signed(statement, *roots), content)


def no_bundle(_: bytes) -> bytes:
    return pinned_bytes(routes(7).envelope, routes(7).content)


def cut(pinned: bytes) -> bytes:
    return pinned[: len(pinned) // 2]


def empty(_: bytes) -> bytes:
    return b""


Forger = Callable[[bytes], bytes]
FORGERS: Final[tuple[Forger, ...]] = (unsigned, other_content, of_strangers, no_bundle, cut, empty)


@pytest.fixture
def home() -> Iterator[Path]:
    """A node's folder, as it was enrolled."""
    with short_folder() as folder:
        yield enrolled.make(folder)


@pytest.fixture
def waiting() -> Iterator[socket.socket]:
    """Where the node's first packet would go."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0)
        yield listener


def dials(home: Path, listener: socket.socket) -> None:
    """The node begins with the one who waits."""
    path = home / "fabgossip.toml"
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    entry = f'\n[[bootstrap]]\naddress = "{address}"\nnode_id = "n2"\n'
    path.write_text(path.read_text() + entry)


def replace_pinned(home: Path, forge: Forger, *, with_fingerprint: bool) -> None:
    pinned, config = home / "trust" / "bootstrap", home / "fabgossip.toml"
    before = pinned.read_bytes()
    forged = forge(before)
    pinned.chmod(0o600)
    pinned.write_bytes(forged)
    pinned.chmod(0o444)
    if with_fingerprint:
        text, old = config.read_text(), sha256(before).hexdigest()
        assert text.count(old) == 1
        config.write_text(text.replace(old, sha256(forged).hexdigest()))


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.parametrize(
    ("forge", "with_fingerprint"),
    [*((one, True) for one in FORGERS), (under_other_roots, False)],
    ids=[*(one.__name__ for one in FORGERS), "the file alone"],
)
def test_silent_on_bad_root(
    home: Path, waiting: socket.socket, forge: Forger, *, with_fingerprint: bool
) -> None:
    """Exit 78, one message that names the setting, no packet, no socket, no state folder: a node
    that does not know whom to believe says nothing to anybody."""
    dials(home, waiting)
    replace_pinned(home, forge, with_fingerprint=with_fingerprint)
    before = files_below(home)
    ended = run_command("run", "--config", home / "fabgossip.toml")
    assert ended.returncode == EXIT_CONFIG, ended.stderr
    assert "trust.bootstrap" in ended.stderr
    assert "Traceback" not in ended.stderr
    with pytest.raises(BlockingIOError):
        waiting.accept()
    assert files_below(home) == before


@pytest.mark.system
@pytest.mark.slow
def test_with_its_own_root_the_same_node_does_call(home: Path, waiting: socket.socket) -> None:
    """So that the silence above proves something."""
    dials(home, waiting)
    waiting.settimeout(HANG_S)
    daemon = Daemon(NodeRow(node_id="n1", addresses=()), home, CLUSTER)
    daemon.start()
    try:
        with closing(waiting.accept()[0]):
            assert daemon.is_running
    finally:
        daemon.terminate()


# A false past.

FOUR: Final = trust(replace(f.BUNDLE, bundle_version=4))
STRANGE_KEYS: Final = replace(
    f.BUNDLE,
    bundle_version=4,
    keys=tuple(
        f.signing_key(f.STRANGER) if one.key_id == f.POLICY.key_id else one for one in f.BUNDLE.keys
    ),
    rights=tuple(
        replace(
            one,
            key_ids=tuple(
                f.STRANGER.key_id if key == f.POLICY.key_id else key for key in one.key_ids
            ),
        )
        for one in f.BUNDLE.rights
    ),
)
"""What the attacker would like to be believed: the same version, with its own key for routes."""
R1: Final = routes(7).manifest.namespace.text


def lived() -> Scene:
    """A node with a chain, a list, routes and a dispute."""
    return (
        Scene()
        .publish(
            FOUR, revocations(2), node_snapshot(7), routes(7), routes(7, name="r2", content=b"one")
        )
        .publish(routes(7, name="r2", content=b"another"))
    )


def edited(folder: Path, statement: str, *values: object) -> Scene:
    """The node after somebody wrote into its index while it was stopped."""
    lived().restarted(folder)
    with closing(sqlite3.connect(folder / "index.sqlite")) as db:
        assert db.execute(statement, values).rowcount > 0
        db.commit()
    index = NodeIndex(folder / "index.sqlite")
    index.open(NODE)
    started = started_from(index)
    index.close()
    return Scene(started=started, is_fresh=False)


HEAD: Final = "UPDATE head SET envelope = ? WHERE namespace = ?"


POISONS: Final = {
    "a flipped bit": (routes(7).envelope[:-1] + b"\x00", "SIG_INVALID"),
    "cut": (routes(7).envelope[:-5], "TRUNCATED"),
    "empty": (b"", "TRUNCATED"),
    "of a stranger": (f.signed(routes(9).manifest, f.STRANGER), "KEY_UNKNOWN"),
}


@pytest.mark.parametrize(("envelope", "code"), POISONS.values(), ids=POISONS)
def test_poisoned_store(envelope: bytes, code: str, tmp_path: Path) -> None:
    """Found before the first answer: the row is not believed, its local state withdrawn, the rest
    stands, and the log says so. Who can write the file can at most take away."""
    unspoilt = lived().restarted(tmp_path / "unspoilt").at_start
    scene = edited(tmp_path / "spoilt", HEAD, envelope, R1)
    known = unspoilt.state.heads.items()
    heads = {tail: one for tail, one in known if tail != "routes/r1"}
    *started, mode = unspoilt.audited
    assert scene.at_start == replace(
        unspoilt,
        state=replace(unspoilt.state, heads=heads),
        codes=(code,),
        audited=(*started, ("artifact_rejected", code, "disk"), mode),
        switched=tuple(
            ("routes/r1", None) if one == ("routes/r1", Order(2, 7)) else one
            for one in unspoilt.switched
        ),
    )
    scene.link("n9")
    assert not scene.told(routes(7))
    # What was poisoned can be had again: its floor stands, so exactly that, or what is newer.
    scene.refuses(routes(6), "VERSION_ROLLBACK")


def test_a_row_set_back_to_an_older_version_is_not_current(tmp_path: Path) -> None:
    """Well signed, once current; but the floor remembers what stood there."""
    scene = edited(tmp_path, HEAD, routes(6).envelope, R1)
    assert scene.state.floors["routes/r1"] == Order(2, 7)
    assert scene.state.heads["routes/r1"].state.endswith("unlisted")
    assert ("routes/r1", Order(2, 6)) not in scene.at_start.switched


@pytest.mark.parametrize(
    ("statement", "value", "code"),
    [
        (
            "UPDATE trust SET envelope = ? WHERE version = 4",
            f.signed(f.bundle_manifest(STRANGE_KEYS), f.STRANGER),
            "KEY_UNKNOWN",
        ),
        (
            "UPDATE trust SET content = ? WHERE version = 4",
            bundle_bytes(STRANGE_KEYS),
            "HASH_MISMATCH",
        ),
    ],
    ids=["envelope", "content"],
)
def test_a_poisoned_step_ends_the_chain(
    statement: str, value: bytes, code: str, tmp_path: Path
) -> None:
    """The roots signed the hash of a step, not what somebody wrote beside it: the chain ends before
    it. The node climbs again by what is signed, here by the head of its own index, and the
    attacker's keys are nobody's."""
    scene = edited(tmp_path, statement, value)
    assert scene.node.view.trust.bundle == replace(f.BUNDLE, bundle_version=4)
    (refused,) = [one for one in scene.at_start.audited if one[0] == "artifact_rejected"]
    assert refused == ("artifact_rejected", code, "disk")
    forged = replace(routes(8).manifest, signer_key_ids=(f.STRANGER.key_id,))
    offered = Artifact(forged, f.signed(forged, f.STRANGER), routes(8).content)
    scene.refuses(offered, "KEY_UNKNOWN", asks_trust=True)


def test_a_poisoned_content_is_not_read(tmp_path: Path) -> None:
    """What fabgossip itself reads is hashed again when it comes off the disk: a snapshot rewritten
    there says nothing to this node."""
    evil = node_snapshot(7, b"evil").content
    scene = edited(
        tmp_path,
        "UPDATE content SET inline = ? WHERE content_hash = ?",
        evil,
        node_snapshot(7).content_hash,
    )
    assert scene.state.heads["snapshots/node/n1"].state == "invalid"
    assert scene.node.view.trust.freshness.snapshot_refresh_by is None
    assert ("artifact_rejected", "HASH_MISMATCH", "disk") in scene.at_start.audited


def test_poisoned_evidence_is_no_evidence(tmp_path: Path) -> None:
    """It would silence a namespace for ever."""
    bad = f.signed(routes(7, name="r2", content=b"x").manifest, f.STRANGER)
    scene = edited(tmp_path, "UPDATE evidence SET envelope = ?", bad)
    one = routes(7, name="r2", content=b"one")
    stands = Standing(Order(2, 7), (one.content_hash,), "current")
    assert scene.state.heads["routes/r2"] == stands
