"""Everything ever published, and the newest of each namespace: `published/`, `content/`,
`heads.json`.

Trust bundles have a row for each step of the chain beside: a node takes only exactly the next, so
all of them are handed out, in order, until each was accepted.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from fabgossip.control.compiler import head_after
from fabgossip.control.drafts import PublishedHead
from fabgossip.control.files import replace_file, replace_files
from fabgossip.control.signing import SignedArtifact
from fabgossip.errors import ControlError, WireError
from fabgossip.model.artifact import ArtifactType, Manifest, Order
from fabgossip.model.ids import ManifestHash, parse_hash
from fabgossip.model.moment import UnixTime
from fabgossip.wire.contents import parse_snapshot
from fabgossip.wire.envelopes import parse_envelope
from fabgossip.wire.statements import parse_manifest
from fabgossip.wire.tables import TableError, structure_table

FOLDERS: Final = ("published", "content")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRow:
    """A line of `heads.json`."""

    namespace: str
    manifest_hash: str
    content_hash: str
    is_increment: bool
    delivered: bool
    window: tuple[str, ...] = ()
    """Earlier manifest hashes, newest first."""
    step: int = 0
    """For the signatures that opened a step of the trust chain: the bundle's version."""

    def __post_init__(self) -> None:
        """A file that was edited by hand says where it went wrong; a hash is a file's name."""
        parse_hash(self.manifest_hash, "manifest_hash")
        parse_hash(self.content_hash, "content_hash")
        for one in self.window:
            parse_hash(one, "window")

    @property
    def key(self) -> tuple[str, bool, int]:
        """One row stands under each."""
        return self.namespace, self.is_increment, self.step


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heads:
    """All of `heads.json`."""

    heads: tuple[HeadRow, ...]


class PublishedFolder:
    """Artifacts on disk, and the list of heads that names those that matter."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _rows(self) -> dict[tuple[str, bool, int], HeadRow]:
        path = self._folder / "heads.json"
        try:
            rows = structure_table({"heads": json.loads(path.read_bytes())}, _Heads).heads
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TableError) as error:
            raise ControlError(f"{path}: {error}") from error
        return {row.key: row for row in rows}

    def _save(self, rows: Iterable[HeadRow]) -> None:
        data = json.dumps([asdict(row) for row in rows], indent=1)
        replace_file(self._folder / "heads.json", data.encode())

    def _envelope_path(self, row: HeadRow) -> Path:
        return self._folder / "published" / f"{row.manifest_hash}.envelope"

    def _content_path(self, row: HeadRow) -> Path:
        return self._folder / "content" / row.content_hash

    def _signed(self, row: HeadRow) -> SignedArtifact:
        try:
            envelope = self._envelope_path(row).read_bytes()
            content = self._content_path(row).read_bytes()
            manifest = parse_manifest(parse_envelope(envelope).payload)
        except (OSError, WireError) as error:
            raise ControlError(f"{row.namespace}: {error}") from error
        return SignedArtifact(manifest=manifest, envelope=envelope, content=content)

    def newest(self) -> dict[str, PublishedHead]:
        """The newest of each namespace, with content where the next version needs it."""
        heads: dict[str, PublishedHead] = {}
        for row in self._rows().values():
            if row.is_increment:
                continue
            signed = self._signed(row)
            manifest = signed.manifest
            before = heads.get(row.namespace)
            if before is not None and _moment(before.manifest) > _moment(manifest):
                continue
            keeps = manifest.artifact_type is ArtifactType.CLUSTER_SNAPSHOT
            heads[row.namespace] = PublishedHead(
                manifest=manifest,
                content=signed.content if keeps else None,
                window=tuple(ManifestHash(bytes.fromhex(one)) for one in row.window),
            )
        return heads

    def record(self, artifacts: tuple[SignedArtifact, ...], *, is_step: bool = False) -> None:
        """Write artifacts, then the list of heads that names them: a crash between leaves files
        nobody names. The first step of the trust chain every node pins; it is delivered."""
        rows = self._rows()
        before = self.newest()
        files = []
        for one in artifacts:
            manifest = one.manifest
            name = manifest.namespace.text
            head = head_after(before.get(name), manifest, None)
            row = HeadRow(
                namespace=name,
                manifest_hash=parse_envelope(one.envelope).manifest_hash.hex(),
                content_hash=manifest.content_hash.hex(),
                is_increment=manifest.base is not None,
                delivered=is_step and manifest.config_version == 1,
                window=() if manifest.base is not None else tuple(h.hex() for h in head.window),
                step=manifest.config_version if is_step else 0,
            )
            files.append((self._envelope_path(row), one.envelope))
            files.append((self._content_path(row), one.content))
            rows.pop((name, True, 0), None)
            if is_step:
                rows.pop((name, False, 0), None)
            rows.pop(row.key, None)
            rows[row.key] = row
            if not row.is_increment:
                before[name] = head
        replace_files(files)
        self._save(rows.values())

    def content_of(self, namespace: str) -> bytes | None:
        """The content of the newest of a namespace; None if there never was one."""
        row = self._rows().get((namespace, False, 0))
        return None if row is None else self._signed(row).content

    def undelivered(self) -> tuple[SignedArtifact, ...]:
        """What no node has accepted yet, in the order it is to be handed out."""
        return self._in_order(row for row in self._rows().values() if not row.delivered)

    def all(self) -> tuple[SignedArtifact, ...]:
        """All heads, in the order they are to be handed out."""
        return self._in_order(self._rows().values())

    def _in_order(self, rows: Iterable[HeadRow]) -> tuple[SignedArtifact, ...]:
        """A snapshot is told to nobody before its increment, for a moment: that comes right behind
        it."""
        found = tuple(map(self._signed, rows))
        ranks = {
            one.manifest.namespace.text: _rank(one) for one in found if one.manifest.base is None
        }
        return tuple(sorted(found, key=lambda one: _delivery_order(one, ranks)))

    def mark_delivered(self, artifacts: tuple[SignedArtifact, ...]) -> None:
        """Note that a node accepted these."""
        names = {parse_envelope(one.envelope).manifest_hash.hex() for one in artifacts}
        rows = self._rows().values()
        self._save(
            replace(row, delivered=True) if row.manifest_hash in names else row for row in rows
        )


def _moment(manifest: Manifest) -> tuple[Order, UnixTime]:
    """A trust bundle may be issued again under its own version."""
    return manifest.order, manifest.issued_at


def _delivery_order(one: SignedArtifact, ranks: dict[str, int]) -> tuple[int, int, int, str, bool]:
    """Trust, chain step after chain step; what takes away; each node's own snapshot, without which
    a new node believes nothing else; who is who; documents; and snapshots that may list them, an
    increment right after its snapshot."""
    manifest = one.manifest
    if manifest.artifact_type is ArtifactType.TRUST_BUNDLE:
        return 0, manifest.config_version, manifest.issued_at, "", False
    name, is_increment = manifest.namespace.text, manifest.base is not None
    rank = ranks.get(name, _LAST_RANK) if is_increment else _rank(one)
    return rank, 0, 0, name, is_increment


_LAST_RANK: Final = 6


def _rank(one: SignedArtifact) -> int:
    kind = one.manifest.artifact_type
    if kind is ArtifactType.TRUST_BUNDLE:
        return 0
    if kind is ArtifactType.REVOCATION_LIST:
        return 1
    if one.manifest.tombstone is not None:
        return 2
    if _is_own_snapshot(one):
        return 3
    if kind in (ArtifactType.PEER_DIRECTORY, ArtifactType.STORAGE_DIRECTORY):
        return 4
    return _LAST_RANK if kind is ArtifactType.CLUSTER_SNAPSHOT else 5


def _is_own_snapshot(one: SignedArtifact) -> bool:
    """Whether this is a node's own snapshot, and lists nothing that has to come before."""
    manifest = one.manifest
    if manifest.artifact_type is not ArtifactType.CLUSTER_SNAPSHOT:
        return False
    return manifest.namespace.node_id is not None and not parse_snapshot(one.content).covers
