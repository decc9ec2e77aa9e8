"""Names that are paths, and paths that are traps.

Powers: the attacker holds a signing key with a right on the whole cluster and writes whatever bytes
it likes into a manifest: every name that ever became a file outside its folder. In the second half
it can also lay links into the folder of the local state.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fabgossip.core.effects import Materialize
from fabgossip.model.artifact import ArtifactType
from fabgossip.storage.materialized import LocalState, LocalVersion
from fabgossip.storage.syncing import Syncing
from fabgossip.wire.packing import Value
from tests.attacks.powers import resealed
from tests.attacks.scene import ATTACKER, Scene
from tests.core.artifacts import Artifact, artifact, routes
from tests.core.story import announcement
from tests.trust import factory

PREFIX = factory.PREFIX
ID, NAMESPACE, SCOPES = 1, 5, 4
NAMES: dict[str, str] = {
    "dots": "..",
    "one dot": ".",
    "nothing": "",
    "a way out": "../../../etc/cron.d/x",
    "absolute": "/etc/passwd",
    "dots at the end": "r1..",
    "a dot before": ".hidden",
    "a NUL": "r1\x00",
    "a NUL inside": "r\x001",
    "a newline": "r1\n",
    "a newline inside": "r\n1",
    "a carriage return": "r1\r",
    "300 characters": "r" * 300,
    "64 characters": "r" * 64,
    "a back slash": "r\\1",
    "a blank": "r 1",
    "a tilde": "~root",
    "a variable": "$HOME",
    "a star": "*",
    "a dash before": "-rf",
    "upper case": "R1",
    "one upper letter": "rOutes",
    "encoded dots": "%2e%2e",
    "an encoded slash": "r1%2f..",
    "an encoded NUL": "r1%00",
    "NFD": "re\u0301",
    "NFC": "r\u00e9",
    "Cyrillic": "r\u043e",
    "full width": "\uff52\uff11",
    "a fraction slash": "r\u20441",
    "dots of one character": "\u2025",
    "no width": "r\u200b1",
    "right to left": "\u202er1",
    "a digit of another script": "r\u0661",
    "a stream": "r1::$data",
}
BAD: dict[str, tuple[int, tuple[Value, ...]]] = {
    "a segment": (NAMESPACE, tuple(f"{PREFIX}/routes/{one}" for one in NAMES.values())),
    "an artifact id": (ID, tuple(NAMES.values())),
    "an organisation": (
        NAMESPACE,
        tuple(f"{PREFIX}/org/{one}/routes/r1" for one in NAMES.values()),
    ),
    "a scope": (SCOPES, tuple(sorted(("cluster:prod", f"role:{one}")) for one in NAMES.values())),
    "a service": (
        NAMESPACE,
        tuple(
            f"{PREFIX}/services/dns/{one}"
            for one in ("current", "previous", "staged", "v2.7", "tmp-v2.7", "current.new")
        ),
    ),
    "the whole": (
        NAMESPACE,
        (
            f"{PREFIX}/routes/r1/",
            f"{PREFIX}//routes/r1",
            f"/{PREFIX}/routes/r1",
            f"{PREFIX}/routes/r1/x",
            f"{PREFIX}/routes/r1".encode(),
            f"{PREFIX}/routes/".ljust(513, "r"),
        ),
    ),
}
CODES = {"ID_SYNTAX", "SCHEMA"}


class World:
    """A scene whose local state is a real folder, beside files that are nobody's business."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.outside = folder / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_text("secret")
        self.state = folder / "state"
        self.state.mkdir()
        self.local = LocalState(self.state, Syncing())
        self.local.prepare()
        self.scene = Scene()

    def offer(self, one: Artifact) -> None:
        """What is to be switched is switched on the real disk."""
        self.scene.caused.clear()
        self.scene.offer(one)
        for effect in self.scene.caused:
            if isinstance(effect, Materialize) and effect.manifest is not None:
                self.local.switch((version_of(one),))

    def files(self) -> dict[str, str]:
        """Every name below the root, with what a link points at and a file holds."""
        return {str(one.relative_to(self.root)): shown(one) for one in sorted(self.root.rglob("*"))}


def shown(path: Path) -> str:
    if path.is_symlink():
        return f"-> {os.readlink(path)}"
    return "folder" if path.is_dir() else path.read_bytes().hex()


def version_of(one: Artifact) -> LocalVersion:
    return LocalVersion(
        manifest=one.manifest,
        envelope=one.envelope,
        source=one.content,
        settings=None,
        keep_versions=0,
        activate=True,
    )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    before = os.umask(0o026)
    yield World(tmp_path)
    os.umask(before)


@pytest.mark.parametrize(("place", "values"), BAD.values(), ids=BAD)
def test_nothing_outside(world: World, place: int, values: tuple[Value, ...]) -> None:
    """Refused by its syntax before anything is named by it; the disk is as it was."""
    world.offer(routes(7))
    files, state = world.files(), world.scene.rest().state
    for value in values:
        base = SERVICE if "services" in str(value) else routes(8)
        world.offer(resealed(base.manifest, place, value, content=base.content))
        scene = world.scene.rest()
        assert len(scene.codes) == 1, value
        assert scene.codes[0] in CODES, value
        assert scene.blamed == ["signer"]
        scene.leaves(
            state,
            codes=scene.codes,
            audited=[("artifact_rejected", scene.codes[0], ATTACKER)],
        )
        assert world.files() == files


SERVICE = artifact(ArtifactType.SERVICE_ASSIGNMENT_BUNDLE, "services/dns/a", version=8)
ODD_BUT_GOOD = ("a..b", "a.b-c_9", "0", "con", "r" * 63, "v1.2", "current")


@pytest.mark.parametrize("name", ODD_BUT_GOOD)
def test_an_odd_name_that_is_an_id_stays_in_its_folder(world: World, name: str) -> None:
    """The grammar is no stricter than it says, and what it lets through lies where it should."""
    good = routes(7, name=name)
    before = world.files()
    world.offer(good)
    assert world.scene.codes == []
    made = world.files().keys() - before.keys()
    folder = f"state/local/{good.manifest.namespace.text}"
    assert {f"{folder}/v2.7/content", f"{folder}/current"} <= made
    assert all(f"{folder}/".startswith(f"{one}/") or one.startswith(folder) for one in made)
    assert announcement(good) in world.scene.onward


@dataclass(frozen=True)
class Trap:
    """A link laid below `local/`, at a place of the namespace's way."""

    at: str
    is_dangling: bool = False


NAME = routes(7).manifest.namespace.text
TRAPS = {
    "the first folder": Trap("platform"),
    "a folder on the way": Trap(f"{PREFIX}/routes"),
    "the namespace itself": Trap(NAME),
    "to nowhere": Trap(NAME, is_dangling=True),
    "the version": Trap(f"{NAME}/v2.7"),
    "what is being built": Trap(f"{NAME}/tmp-v2.7"),  # noqa: S108  # a name in the state folder
}


@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS)
def test_a_link_on_the_way_is_not_followed(world: World, trap: Trap) -> None:
    place = world.state / "local" / trap.at
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(world.outside / ("gone" if trap.is_dangling else ""))
    before = shown_below(world.outside)
    (fault,) = world.local.switch((version_of(routes(7)),))
    assert isinstance(fault, OSError)
    assert shown_below(world.outside) == before
    assert not (world.state / "local" / NAME / "current").exists()


@pytest.mark.parametrize("trap", [TRAPS["a folder on the way"], TRAPS["the namespace itself"]])
def test_withdrawing_through_a_link_removes_nothing_outside(world: World, trap: Trap) -> None:
    """Not even what has the names of versions and links."""
    victim = world.outside / ("r1" if trap.at != NAME else "")
    (victim / "v2.7").mkdir(parents=True)
    (victim / "v2.7" / "content").write_text("theirs")
    (victim / "current").symlink_to("v2.7")
    place = world.state / "local" / trap.at
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(world.outside)
    before = shown_below(world.outside)
    with pytest.raises(OSError, match=r".*"):
        world.local.withdraw(NAME, purge=True)
    assert shown_below(world.outside) == before


def shown_below(folder: Path) -> dict[str, str]:
    return {str(one.relative_to(folder)): shown(one) for one in sorted(folder.rglob("*"))}


def test_a_link_laid_where_a_content_is_written_is_not_followed(world: World) -> None:
    """`current` is ours to lay; a foreign one is replaced, and what it pointed at stays."""
    folder = world.local.folder_of(NAME)
    folder.mkdir(parents=True)
    (folder / "current").symlink_to(world.outside)
    before = shown_below(world.outside)
    assert world.local.switch((version_of(routes(7)),)) == (None,)
    assert os.readlink(folder / "current") == "v2.7"
    assert shown_below(world.outside) == before
