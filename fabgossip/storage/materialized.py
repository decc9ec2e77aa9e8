"""The node's local state: versioned folders and one atomic `current` link per namespace.

Decides: names and modes below `local/`, and the order of steps of a switch.
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
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from fabgossip.errors import StorageError
from fabgossip.model.artifact import ArtifactType, Manifest, Order
from fabgossip.storage.contents import sync_folder

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
    keep_versions: int
    activate: bool


class LocalState:
    """The folder `local/` of one node."""

    def __init__(self, folder: Path) -> None:
        self._local = folder / LOCAL

    def prepare(self) -> None:
        """Make the folder, unless the packaging made it with a group of its own."""
        self._local.mkdir(mode=TOP_MODE, exist_ok=True)

    def folder_of(self, namespace: str) -> Path:
        """Where a namespace's versions lie."""
        return self._local.joinpath(*namespace.split("/"))

    def switch(self, version: LocalVersion, source: int | bytes, settings: bytes | None) -> None:
        """Build the version's folder and point the link at it; does nothing where that is done
        already.

        `source` is a descriptor of the content or its bytes; `settings` the opaque part of a
        snapshot, as a file of its own.

        Raises:
            StorageError: the content is not the one that was signed.
            OSError: it could not be written. The link still points at the version before.
        """
        manifest = version.manifest
        folder = self.folder_of(manifest.namespace.text)
        name = f"v{manifest.order}"
        self._refuse_links(folder / name)
        link = "current" if version.activate else "staged"
        is_built = _is_built(folder / name, version.envelope)
        if _target(folder / link) == name and is_built:
            return
        self._make_folder(folder)
        if not is_built:
            # Another statement of the same order lost its trust: nobody may read it meanwhile.
            self._unlink(folder, name)
            _remove(folder / name)
            self._build(folder, name, version, source, settings)
        before = _target(folder / link)
        _point(folder, link, name)
        if before is not None and before != name:
            _point(folder, "previous", before)
        sync_folder(folder)
        self._drop_old(folder, version.keep_versions)

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

    def _make_folder(self, folder: Path) -> None:
        missing = [
            one
            for one in (folder, *folder.parents)
            if one.is_relative_to(self._local) and not one.exists()
        ]
        for one in reversed(missing):
            one.mkdir(mode=NAMESPACE_MODE if one == folder else TOP_MODE)
            sync_folder(one.parent)

    @staticmethod
    def _build(
        folder: Path, name: str, version: LocalVersion, source: int | bytes, settings: bytes | None
    ) -> None:
        building = folder / f"{_TEMPORARY}{name}"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(mode=NAMESPACE_MODE)
        if _write_hashed(building / "content", source) != version.manifest.content_hash:
            shutil.rmtree(building)
            raise StorageError(f"{folder}: its content is damaged on the disk")
        _write(building / "envelope", version.envelope)
        _write(building / "manifest.json", _manifest_json(version.manifest))
        if settings is not None:
            _write(building / "settings", settings)
        sync_folder(building)
        building.rename(folder / name)
        sync_folder(folder)

    @staticmethod
    def _unlink(folder: Path, name: str) -> None:
        for link in _LINKS:
            if _target(folder / link) == name:
                (folder / link).unlink()

    @staticmethod
    def _drop_old(folder: Path, keep: int) -> None:
        _remove_leavings(folder)
        linked = {_target(folder / link) for link in _LINKS}
        versions = sorted(
            (Order(int(found[1]), int(found[2])), one)
            for one in folder.iterdir()
            if (found := _VERSION.fullmatch(one.name)) and not one.is_symlink()
        )
        unlinked = [one for _, one in versions if one.name not in linked]
        spare = max(0, keep - sum(name is not None for name in linked) + 1)
        for one in unlinked[: len(unlinked) - spare] if spare else unlinked:
            _remove(one)

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
                _remove(one)
        sync_folder(folder)


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


def _write(path: Path, data: bytes) -> None:
    _write_hashed(path, data)


def _write_hashed(path: Path, source: int | bytes) -> bytes:
    """Write a file, durably, and give the hash of what was written."""
    digest = sha256()
    descriptor = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE
    )
    try:
        for part in (source,) if isinstance(source, bytes) else _parts_of(source):
            digest.update(part)
            _write_all(descriptor, part)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
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
