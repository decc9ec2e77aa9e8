"""The node's local state: versioned folders and one atomic `current` link per namespace.

Decides: names and modes below `local/`, and the order of steps of a switch: files, synced; version
folders under their names, synced; links, synced; what is too old. Each for a whole group.
Keeps: a reader of `current` sees one whole verified version or no link; the link is the truth; a
version folder is whole and never changes under its name while a link points to it.
Must not know: who may apply what, where content comes from.

Layout: `local/<namespace segments>/v<epoch>.<version>/{content, envelope, manifest.json}`,
`current`, `previous`, and `staged` for what its consumer has to activate. Content is copied, never
linked: a consumer running as root cannot damage the store; and it is hashed while it is copied, for
bytes that rested on a disk are believed no more than a peer's. Folders are created with their final
mode and never changed: an explicit chmod would drop an inherited setgid bit, so the process runs
with umask 0026. Names come from parsed namespaces only; a scope id's colon is a plain character of
a file name.
"""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeAlias

from fabgossip.errors import StorageError
from fabgossip.model.artifact import ArtifactType, Manifest, Order
from fabgossip.storage.contents import rounded
from fabgossip.storage.syncing import Syncing, sync_folder

LOCAL: Final = "local"
TOP_MODE: Final = 0o751
NAMESPACE_MODE: Final = 0o750
FILE_MODE: Final = 0o440
_VERSION: Final = re.compile(r"v(\d+)\.(\d+)")
_COPY_BYTES: Final = 1 << 20
"""Of a content in memory at once: one may have 256 MiB."""
_TEMPORARY: Final = "tmp-"
_LINKS: Final = ("current", "staged", "previous")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalVersion:
    """What is to become the local state of a namespace."""

    manifest: Manifest
    envelope: bytes
    source: int | bytes
    """A descriptor of the content, or its bytes; of a kept version, of the file in its folder."""
    settings: bytes | None
    """The opaque part of a snapshot, a file of its own."""
    keep_versions: int
    activate: bool
    is_kept: bool = False
    """Its folder is there, and only the link is to move, if every byte in it is what was signed."""
    is_damaged: bool = False
    """What its folder has is not what was signed."""

    @property
    def namespace(self) -> str:
        """Whose local state it is to become."""
        return self.manifest.namespace.text

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"v{self.manifest.order}"

    @property
    def link(self) -> str:
        """What points to it."""
        return "current" if self.activate else "staged"


Fault: TypeAlias = OSError | StorageError
"""Why a version could not be switched to: the disk, or a content that is not the one signed."""


@dataclass(slots=True)
class _Switch:
    """A version on its way into its namespace's folder."""

    version: LocalVersion
    folder: Path
    fault: Fault | None = None
    is_over: bool = False
    """It stood there already."""
    files: list[int] = field(default_factory=list)
    """Descriptors of what was written and is not durable yet."""
    unsynced: list[Path] = field(default_factory=list)
    """Folders in which something was made."""
    building: Path | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether there is another step to take."""
        return self.fault is None and not self.is_over

    def close(self) -> None:
        """Its files stay open until they are durable, no longer."""
        while self.files:
            os.close(self.files.pop())


class LocalState:
    """The folder `local/` of one node."""

    def __init__(self, folder: Path, syncing: Syncing) -> None:
        self._local = folder / LOCAL
        self._syncing = syncing
        self.used_bytes = 0
        """What lies in the versions of all namespaces."""

    def prepare(self) -> None:
        """Make the folder, unless the packaging made it with a group of its own."""
        self._local.mkdir(mode=TOP_MODE, exist_ok=True)
        self.used_bytes = _bytes_in(self._local)

    def folder_of(self, namespace: str) -> Path:
        """Where a namespace's versions lie."""
        return self._local.joinpath(*namespace.split("/"))

    def switch(self, versions: Sequence[LocalVersion]) -> tuple[Fault | None, ...]:
        """Build the folder of each version and point the link of its namespace at it; nothing is
        done where that is done already. Gives what went wrong with each: its link still points at
        the version before. Of a namespace there is one version at most. Blocks."""
        switches = [_Switch(one, self.folder_of(one.namespace)) for one in versions]
        try:
            _each(switches, self._build)
            self._sync_built(switches)
        finally:
            for one in switches:
                one.close()
        _each(switches, self._name)
        self._sync_folders(switches)
        _each(switches, _link)
        self._sync_folders(switches)
        _each(switches, self._drop_old)
        return tuple(one.fault for one in switches)

    def _build(self, switch: _Switch) -> None:
        version, folder = switch.version, switch.folder
        name = version.name
        self._refuse_links(folder / name)
        is_built = _is_built(folder / name, version.envelope)
        if version.is_kept:
            _check_kept(folder / name, version)
        if _target(folder / version.link) == name and is_built and not version.is_damaged:
            switch.is_over = True
            return
        if not version.is_kept:
            # It lay there unread, for who knows how long.
            is_built = is_built and not version.is_damaged and _is_whole(folder / name, version)
        switch.unsynced = self._make_folder(folder)
        if not is_built:
            # Another statement of the same order lost its trust: nobody may read it meanwhile.
            _unlink(folder, name)
            self._remove(folder / name)
            _write_version(switch)

    def _sync_built(self, switches: list[_Switch]) -> None:
        """All that was written, and the folders on the way to it."""
        owners = [one for one in switches if one.is_under_way for _ in one.files]
        files = [file for one in switches if one.is_under_way for file in one.files]
        for one, fault in zip(owners, self._syncing.sync(files), strict=True):
            one.fault = one.fault or fault
        under_way = [one for one in switches if one.is_under_way]
        failed = self._syncing.sync_folders(path for one in under_way for path in one.unsynced)
        for one in under_way:
            one.fault = next((failed[path] for path in one.unsynced if path in failed), None)

    def _sync_folders(self, switches: list[_Switch]) -> None:
        under_way = [one for one in switches if one.is_under_way]
        failed = self._syncing.sync_folders(one.folder for one in under_way)
        for one in under_way:
            one.fault = failed.get(one.folder)

    def kept(self, namespace: str) -> tuple[tuple[Order, bytes], ...]:
        """The versions of a namespace that are still there, oldest first, and the envelope beside
        each. `namespace` is one that a verified manifest has: a path is made of it. Raises
        `OSError`."""
        folder = self.folder_of(namespace)
        self._refuse_links(folder)
        found = [(order, _envelope_of(folder / name)) for order, name in _versions_in(folder)]
        return tuple((order, envelope) for order, envelope in found if envelope)

    def open_kept(self, namespace: str, order: Order) -> int:
        """A descriptor of the content of a version that is still there; raises `OSError`."""
        folder = self.folder_of(namespace) / f"v{order}"
        self._refuse_links(folder)
        return os.open(folder / "content", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def is_shown(self, manifest: Manifest, envelope: bytes, settings: bytes | None) -> bool:
        """Whether a version lies in its folder as it was signed, and local software finds it there:
        `current` or `staged` points to it, and no other link is on the way. Reads all of it;
        blocks."""
        folder = self.folder_of(manifest.namespace.text)
        name = f"v{manifest.order}"
        try:
            self._refuse_links(folder / name)
        except OSError:
            return False
        version = LocalVersion(
            manifest=manifest,
            envelope=envelope,
            source=b"",
            settings=settings,
            keep_versions=0,
            activate=True,
        )
        is_linked = name in (_target(folder / "current"), _target(folder / "staged"))
        return is_linked and _is_whole(folder / name, version)

    def visible(self) -> tuple[tuple[str, bytes], ...]:
        """Namespace and envelope of everything `current` and `staged` point to, in order; an empty
        envelope where the link points to nothing whole. Walks `local/`, which holds what this node
        applies."""
        links = [
            Path(folder, name)
            for folder, folders, files in os.walk(self._local)
            for name in ("current", "staged")
            if name in folders or name in files
        ]
        return tuple(
            ("/".join(one.parent.relative_to(self._local).parts), _envelope_of(one))
            for one in sorted(links)
            if one.is_symlink()
        )

    def put_away(self) -> tuple[tuple[str, bytes], ...]:
        """Namespace and envelope of the newest version, in order, where there are versions and
        neither `current` nor `staged`. Walks `local/` as `visible` does."""
        found = []
        for folder, folders, files in os.walk(self._local):
            versions = [one for one in map(_VERSION.fullmatch, folders) if one is not None]
            if versions and not {"current", "staged"} & {*folders, *files}:
                newest = max(versions, key=lambda one: Order(int(one[1]), int(one[2])))
                place = Path(folder)
                name = "/".join(place.relative_to(self._local).parts)
                found.append((name, _envelope_of(place / newest[0])))
        return tuple(sorted(found))

    def _refuse_links(self, folder: Path) -> None:
        """Whoever lays a link on the way to a version would have us write, or delete, elsewhere
        (`tests/attacks/test_paths.py`). `local/` itself may be one: it is the operator's."""
        for one in (folder, *folder.parents):
            if one != self._local and one.is_relative_to(self._local) and one.is_symlink():
                raise NotADirectoryError(errno.ENOTDIR, "a link stands where a folder should", one)

    def _make_folder(self, folder: Path) -> list[Path]:
        """Gives the folders in which one was made."""
        missing = [
            one
            for one in (folder, *folder.parents)
            if one.is_relative_to(self._local) and not one.exists()
        ]
        for one in reversed(missing):
            one.mkdir(mode=NAMESPACE_MODE if one == folder else TOP_MODE)
        return [one.parent for one in missing]

    def _name(self, switch: _Switch) -> None:
        if switch.building is not None:
            self.used_bytes += _bytes_in(switch.building)
            switch.building.rename(switch.folder / switch.version.name)

    def _remove(self, version: Path) -> None:
        self.used_bytes -= _bytes_in(version)
        _remove(version)

    def _drop_old(self, switch: _Switch) -> None:
        folder = switch.folder
        _remove_leavings(folder)
        linked = {_target(folder / link) for link in _LINKS}
        unlinked = [folder / name for _, name in _versions_in(folder) if name not in linked]
        spare = max(0, switch.version.keep_versions - sum(name is not None for name in linked) + 1)
        for one in unlinked[: len(unlinked) - spare] if spare else unlinked:
            self._remove(one)

    def withdraw(self, namespace: str, *, purge: bool = False) -> None:
        """Take the links of a namespace away; its versions stay for whoever has them open, unless
        they are to be purged. Raises `OSError`."""
        folder = self.folder_of(namespace)
        self._refuse_links(folder)
        if not folder.is_dir():
            return
        for link in ("current", "staged"):
            (folder / link).unlink(missing_ok=True)
        if purge:
            (folder / "previous").unlink(missing_ok=True)
            _remove_leavings(folder)
            for one in [one for one in folder.iterdir() if _VERSION.fullmatch(one.name)]:
                self._remove(one)
        sync_folder(folder)


def _each(switches: list[_Switch], step: Callable[[_Switch], None]) -> None:
    """Take a step with all that are under way."""
    for one in switches:
        if one.is_under_way:
            try:
                step(one)
            except (OSError, StorageError) as error:
                one.fault = error


def _write_version(switch: _Switch) -> None:
    version, folder = switch.version, switch.folder
    building = folder / f"{_TEMPORARY}{version.name}"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(mode=NAMESPACE_MODE)
    switch.building = building
    switch.unsynced.append(building)
    if _write_hashed(switch, "content", version.source) != version.manifest.content_hash:
        shutil.rmtree(building)
        raise StorageError(f"{folder}: its content is damaged on the disk")
    _write_hashed(switch, "envelope", version.envelope)
    _write_hashed(switch, "manifest.json", _manifest_json(version.manifest))
    if version.settings is not None:
        _write_hashed(switch, "settings", version.settings)


def _check_kept(folder: Path, version: LocalVersion) -> None:
    """Local software is shown nothing that was changed since it was written; raises
    `StorageError`."""
    digest, source = sha256(), version.source
    for part in (source,) if isinstance(source, bytes) else _parts_of(source):
        digest.update(part)
    settings = folder / "settings"
    is_whole = (
        digest.digest() == version.manifest.content_hash
        and _is_built(folder, version.envelope)
        and (settings.read_bytes() if settings.exists() else None) == version.settings
    )
    if not is_whole or any(one.is_symlink() for one in folder.iterdir()):
        raise StorageError(f"{folder}: is not what was signed any more")


def _is_whole(folder: Path, version: LocalVersion) -> bool:
    """Whether a version's folder has what was signed, and nothing else; what cannot be read is not
    what was signed."""
    files = {
        "envelope": version.envelope,
        "manifest.json": _manifest_json(version.manifest),
        **({} if version.settings is None else {"settings": version.settings}),
    }
    try:
        if {one.name for one in folder.iterdir()} != {"content", *files}:
            return False
        for name, data in files.items():
            if (folder / name).is_symlink() or (folder / name).read_bytes() != data:
                return False
        return _hash_of(folder / "content") == version.manifest.content_hash
    except OSError:
        return False


def _hash_of(path: Path) -> bytes:
    """Of a file, and of nothing a link leads to; raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        digest = sha256()
        for part in _parts_of(descriptor):
            digest.update(part)
    finally:
        os.close(descriptor)
    return digest.digest()


def _versions_in(folder: Path) -> list[tuple[Order, str]]:
    """The versions of a namespace and the names of their folders, oldest first; raises
    `OSError`."""
    return sorted(
        (Order(int(found[1]), int(found[2])), one.name)
        for one in (folder.iterdir() if folder.is_dir() else ())
        if (found := _VERSION.fullmatch(one.name)) and not one.is_symlink()
    )


def _link(switch: _Switch) -> None:
    folder, version = switch.folder, switch.version
    before = _target(folder / version.link)
    _point(folder, version.link, version.name)
    if before is not None and before != version.name:
        _point(folder, "previous", before)


def _unlink(folder: Path, name: str) -> None:
    for link in _LINKS:
        if _target(folder / link) == name:
            (folder / link).unlink()


def _bytes_in(folder: Path) -> int:
    """What the files below a folder take; of one that leaves meanwhile, nothing."""
    found = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                found += rounded(os.lstat(os.path.join(place, name)).st_size)
    return found


def _is_built(folder: Path, envelope: bytes) -> bool:
    """Whether a version is there, whole, as it appears, and of this very statement."""
    return _envelope_of(folder) == envelope


def _envelope_of(folder: Path) -> bytes:
    try:
        return (folder / "envelope").read_bytes()
    except OSError:
        return b""


def _remove(folder: Path) -> None:
    """A version leaves its name at once and its place then, so half of one is never taken for it;
    raises `OSError`."""
    if folder.is_dir():
        leaving = folder.with_name(f"{_TEMPORARY}{folder.name}")
        if leaving.is_dir():
            shutil.rmtree(leaving)
        shutil.rmtree(folder.rename(leaving))


def _remove_leavings(folder: Path) -> None:
    """What a crash left half-built or half-removed; raises `OSError`."""
    for one in [one for one in folder.iterdir() if one.name.startswith(_TEMPORARY)]:
        shutil.rmtree(one)


def _target(link: Path) -> str | None:
    try:
        return os.readlink(link)
    except OSError:
        return None


def _point(folder: Path, link: str, name: str) -> None:
    fresh = folder / f"{link}.new"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(name)
    fresh.rename(folder / link)


def _write_hashed(switch: _Switch, name: str, source: int | bytes) -> bytes:
    """Write a file of a version that is being built, and give the hash of what was written."""
    assert switch.building is not None
    digest = sha256()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(switch.building / name, flags, FILE_MODE)
    switch.files.append(descriptor)
    for part in (source,) if isinstance(source, bytes) else _parts_of(source):
        digest.update(part)
        _write_all(descriptor, part)
    return digest.digest()


def _parts_of(descriptor: int) -> Iterator[bytes]:
    offset = 0
    while part := os.pread(descriptor, _COPY_BYTES, offset):
        yield part
        offset += len(part)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _manifest_json(manifest: Manifest) -> bytes:
    """For people, not evidence: the evidence is the envelope beside it."""
    fields = {
        "artifact_id": manifest.artifact_id,
        "artifact_type": manifest.artifact_type.value,
        "audience": [scope.text for scope in manifest.audience.scope_ids],
        "authority_epoch": manifest.authority_epoch,
        "config_version": manifest.config_version,
        "content_hash": manifest.content_hash.hex(),
        "content_size": manifest.content_size,
        "expires_at": manifest.expires_at,
        "issued_at": manifest.issued_at,
        "namespace": manifest.namespace.text,
        "refresh_by": manifest.refresh_by,
    }
    return json.dumps(fields, indent=2, sort_keys=True).encode("ascii") + b"\n"


def has_settings(artifact_type: ArtifactType) -> bool:
    """Whether a type's content wraps opaque settings that consumers read as a file of their own."""
    return artifact_type is ArtifactType.CLUSTER_SNAPSHOT
