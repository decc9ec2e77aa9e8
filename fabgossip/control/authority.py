"""The authority folder: keys, trust chain, enrolled nodes, what was published.

```
authority/ (0700)
  lock                       one changing command at a time
  keys/<role>/<key id>.pem   0600, encrypted unless the platform is demo-...
  trust/bootstrap            the pinned file every node gets; <n>.envelope and <n>.content are the
  chain nodes/<node id>.json       what is registered of each node published/<hash>.envelope  every
  artifact ever published, content/<hash> beside it heads.json                 the newest of each
  namespace, in order of publication, and whether it was delivered
```
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from fabgossip.control.compiler import CompileInput, PublishedHead, compile_artifacts
from fabgossip.control.enrollment import (
    NodeRow,
    certificate_der,
    node_ca_certificate,
)
from fabgossip.control.keystore import (
    FOLDER_MODE,
    ArtifactKey,
    KeyFolder,
    new_artifact_key,
    new_node_key,
)
from fabgossip.control.signing import SignedArtifact, sign_artifact, signing_keys
from fabgossip.control.sources.folder import Source
from fabgossip.errors import ControlError, WireError
from fabgossip.model.artifact import TYPE_RULES, ArtifactType
from fabgossip.model.authority import (
    CERT_LIFE_MAX_S,
    MEMBER_ROLE,
    ContentCap,
    KeyStatus,
    NodeCa,
    RevocationList,
    Right,
    RoleRule,
    SigningKey,
    TrustBundle,
    Verb,
)
from fabgossip.model.envelope import PayloadKind
from fabgossip.model.ids import ClusterId, PlatformId
from fabgossip.model.moment import UnixTime, seconds_after
from fabgossip.trust.bundle import bundle_faults
from fabgossip.wire.contents import parse_bundle, pinned_bytes
from fabgossip.wire.envelopes import parse_envelope
from fabgossip.wire.statements import parse_manifest
from fabgossip.wire.tables import TableError, structure_table

KEY_LIFE_S: Final = 10 * 365 * 86_400
ROOTS: Final = 3
ROOT_THRESHOLD: Final = 2
CLAIMS_ROLE: Final = PayloadKind.NODE_CLAIMS.value
MEMBER_RULE: Final = RoleRule(
    role=MEMBER_ROLE,
    verbs=tuple(sorted(Verb)),
    types=tuple(sorted(ArtifactType)),
)
"""Every member may know and fetch every type, within its scopes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRole:
    """A role of the authority: how many keys, how many must sign, about what."""

    name: str
    count: int
    threshold: int
    kinds: tuple[str, ...]


KEY_ROLES: Final = (
    KeyRole(
        name="compiler", count=1, threshold=1,
        kinds=("cluster_snapshot", "snapshot_increment", "service_assignment_bundle"),
    ),
    KeyRole(name="directory", count=1, threshold=1, kinds=("peer_directory", "storage_directory")),
    KeyRole(
        name="policy", count=1, threshold=1, kinds=("route_policy_bundle", "qos_policy_bundle"),
    ),
    KeyRole(name="release", count=2, threshold=2, kinds=("update_manifest",)),
    KeyRole(name="revocation", count=1, threshold=1, kinds=("revocation_list",)),
    KeyRole(name="claims", count=1, threshold=1, kinds=(CLAIMS_ROLE,)),
    KeyRole(name="grants", count=1, threshold=1, kinds=(PayloadKind.FETCH_GRANT.value,)),
)  # fmt: skip
"""A stolen key of one role says nothing about the others' artifacts; releases take two."""


def first_bundle(
    platform_id: PlatformId,
    cluster_id: ClusterId,
    keys: dict[str, tuple[ArtifactKey, ...]],
    node_ca: bytes,
    now: UnixTime,
    caps: tuple[ContentCap, ...] = (),
) -> TrustBundle:
    """Trust bundle 1 of a cluster, from the keys of each role (`root` included)."""
    prefix = f"platform/{platform_id}/cluster/{cluster_id}"
    window = (seconds_after(now, -3_600), seconds_after(now, KEY_LIFE_S))
    signing = [
        SigningKey(
            key_id=key.key_id,
            public_key=key.public_key,
            status=KeyStatus.ACTIVE,
            not_before=window[0],
            not_after=window[1],
        )
        for role in KEY_ROLES
        for key in keys[role.name]
    ]
    rights = [
        Right(
            kind=kind,
            prefix=prefix,
            threshold=role.threshold,
            key_ids=tuple(sorted(key.key_id for key in keys[role.name])),
        )
        for role in KEY_ROLES
        for kind in role.kinds
    ]
    bundle = TrustBundle(
        platform_id=platform_id,
        cluster_id=cluster_id,
        bundle_version=1,
        authority_epoch=1,
        root_threshold=ROOT_THRESHOLD,
        root_keys=tuple(sorted(key.public_key for key in keys["root"])),
        keys=tuple(signing),
        rights=tuple(rights),
        node_cas=(NodeCa(node_ca),),
        cert_life_max_s=CERT_LIFE_MAX_S,
        protocol_min=1,
        content_caps=caps,
        role_rules=(MEMBER_RULE,),
    )
    faults = bundle_faults(bundle)
    if faults:
        raise ControlError(f"trust bundle: {'; '.join(faults)}")
    return bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRow:
    """A line of `heads.json`."""

    namespace: str
    manifest_hash: str
    content_hash: str
    is_increment: bool
    delivered: bool


class AuthorityFolder:
    """The control plane's state on disk."""

    def __init__(self, folder: Path, passphrase: bytes | None = None) -> None:
        self.folder = folder
        self._keys = KeyFolder(folder / "keys", passphrase)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One changing command at a time; raises `ControlError` if the folder is no authority or
        is in use."""
        path = self.folder / "lock"
        if not (self.folder / "trust" / "bootstrap").is_file():
            raise ControlError(
                f"{self.folder}: no authority here; fabgossip control init makes one"
            )
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ControlError(
                    f"{self.folder}: another control command is at work; try again"
                ) from error
            yield

    def create(
        self,
        platform_id: PlatformId,
        cluster_id: ClusterId,
        now: UnixTime,
        caps: tuple[ContentCap, ...],
    ) -> TrustBundle:
        """Make keys, trust bundle 1 and the bootstrap file; raises `ControlError` if the folder
        exists."""
        try:
            self.folder.mkdir(mode=FOLDER_MODE, parents=True)
            for name in ("trust", "nodes", "published", "content"):
                (self.folder / name).mkdir(mode=FOLDER_MODE)
        except OSError as error:
            raise ControlError(
                f"{self.folder}: {error.strerror}; an authority is never overwritten"
            ) from error
        keys = {
            role.name: tuple(new_artifact_key() for _ in range(role.count)) for role in KEY_ROLES
        }
        keys["root"] = tuple(new_artifact_key() for _ in range(ROOTS))
        for role, ring in keys.items():
            for key in ring:
                self._keys.add(role, key)
        ca_key = new_node_key()
        self._keys.add_node_ca(ca_key)
        ca = certificate_der(node_ca_certificate(ca_key, cluster_id, now))
        bundle = first_bundle(platform_id, cluster_id, keys, ca, now, caps)
        self._publish_bundle(bundle, now)
        return bundle

    def _publish_bundle(self, bundle: TrustBundle, now: UnixTime) -> None:
        given = CompileInput(
            bundle=bundle,
            nodes=(_SEED_NODE,),
            source=Source(),
            revocations=RevocationList(),
            published={},
            now=now,
        )
        unsigned = next(
            one
            for one in compile_artifacts(given)
            if one.manifest.artifact_type is ArtifactType.TRUST_BUNDLE
        )
        signed = sign_artifact(bundle, self._keys.ring(), unsigned.manifest, unsigned.content)
        trust = self.folder / "trust"
        _write_new(trust / f"{bundle.bundle_version}.envelope", signed.envelope)
        _write_new(trust / f"{bundle.bundle_version}.content", signed.content)
        _write_new(trust / "bootstrap", pinned_bytes(signed.envelope, signed.content))
        self.record((signed,))

    def bundle(self) -> TrustBundle:
        """The newest trust bundle; raises `ControlError`."""
        versions = [int(path.stem) for path in (self.folder / "trust").glob("*.content")]
        if not versions:
            raise ControlError(f"{self.folder}: no trust bundle; fabgossip control init makes one")
        try:
            return parse_bundle((self.folder / "trust" / f"{max(versions)}.content").read_bytes())
        except (OSError, WireError) as error:
            raise ControlError(f"{self.folder}/trust: {error}") from error

    def bootstrap(self) -> bytes:
        """The pinned file every node gets."""
        return (self.folder / "trust" / "bootstrap").read_bytes()

    def claims_keys(self) -> tuple[ArtifactKey, ...]:
        """The keys that sign claims, as many as must; raises `ControlError`."""
        bundle = self.bundle()
        return signing_keys(bundle, self._keys.ring(), CLAIMS_ROLE, bundle.prefix)

    def node_ca(self) -> ec.EllipticCurvePrivateKey:
        """The key that issues node certificates; raises `ControlError`."""
        return self._keys.node_ca()

    def nodes(self) -> tuple[NodeRow, ...]:
        """Every enrolled node, by id; raises `ControlError`."""
        rows = []
        for path in sorted((self.folder / "nodes").glob("*.json")):
            try:
                rows.append(structure_table(json.loads(path.read_bytes()), NodeRow))
            except (OSError, ValueError, TableError) as error:
                raise ControlError(f"{path}: {error}") from error
        return tuple(rows)

    def find_node(self, node_id: str) -> NodeRow | None:
        """What is registered of a node."""
        return next((row for row in self.nodes() if row.node_id == node_id), None)

    def save_node(self, row: NodeRow) -> None:
        """Register a node, or a new version of it."""
        _replace(
            self.folder / "nodes" / f"{row.node_id}.json",
            json.dumps(asdict(row), indent=2).encode(),
        )

    def _heads(self) -> dict[tuple[str, bool], HeadRow]:
        try:
            rows = json.loads((self.folder / "heads.json").read_bytes())
        except FileNotFoundError:
            return {}
        heads = [HeadRow(**row) for row in rows]
        return {(one.namespace, one.is_increment): one for one in heads}

    def _save_heads(self, heads: dict[tuple[str, bool], HeadRow]) -> None:
        rows = [asdict(one) for one in heads.values()]
        _replace(self.folder / "heads.json", json.dumps(rows, indent=1).encode())

    def _signed(self, row: HeadRow) -> SignedArtifact:
        envelope = (self.folder / "published" / f"{row.manifest_hash}.envelope").read_bytes()
        content = (self.folder / "content" / row.content_hash).read_bytes()
        manifest = parse_manifest(parse_envelope(envelope).payload)
        return SignedArtifact(manifest=manifest, envelope=envelope, content=content)

    def published(self) -> dict[str, PublishedHead]:
        """The newest of each namespace, with content where an increment may follow."""
        heads = {}
        for row in self._heads().values():
            if row.is_increment:
                continue
            envelope = (self.folder / "published" / f"{row.manifest_hash}.envelope").read_bytes()
            manifest = parse_manifest(parse_envelope(envelope).payload)
            content = None
            if manifest.artifact_type is ArtifactType.CLUSTER_SNAPSHOT:
                content = (self.folder / "content" / row.content_hash).read_bytes()
            heads[row.namespace] = PublishedHead(manifest=manifest, content=content)
        return heads

    def compile(self, source: Source, now: UnixTime) -> tuple[SignedArtifact, ...]:
        """Compile, sign and record what is new; raises `ControlError`."""
        bundle, ring = self.bundle(), self._keys.ring()
        given = CompileInput(
            bundle=bundle,
            nodes=self.nodes(),
            source=source,
            revocations=RevocationList(),
            published=self.published(),
            now=now,
        )
        signed = tuple(
            sign_artifact(bundle, ring, one.manifest, one.content)
            for one in compile_artifacts(given)
        )
        self.record(signed)
        return signed

    def record(self, artifacts: tuple[SignedArtifact, ...]) -> None:
        """Write artifacts, then the list of heads that names them: a crash between leaves files
        nobody names."""
        heads = self._heads()
        for one in artifacts:
            row = HeadRow(
                namespace=one.manifest.namespace.text,
                manifest_hash=parse_envelope(one.envelope).manifest_hash.hex(),
                content_hash=one.manifest.content_hash.hex(),
                is_increment=one.manifest.artifact_type is ArtifactType.SNAPSHOT_INCREMENT,
                delivered=False,
            )
            _replace(self.folder / "published" / f"{row.manifest_hash}.envelope", one.envelope)
            _replace(self.folder / "content" / row.content_hash, one.content)
            heads.pop((row.namespace, True), None)
            heads[(row.namespace, row.is_increment)] = row
        self._save_heads(heads)

    def undelivered(self) -> tuple[SignedArtifact, ...]:
        """The heads no node has accepted yet: trust first, an increment after its snapshot."""
        rows = [row for row in self._heads().values() if not row.delivered]
        signed = [self._signed(row) for row in rows]
        return tuple(sorted(signed, key=_delivery_order))

    def heads(self) -> tuple[SignedArtifact, ...]:
        """All heads, in the order they are to be handed out."""
        return tuple(sorted(map(self._signed, self._heads().values()), key=_delivery_order))

    def mark_delivered(self, artifacts: tuple[SignedArtifact, ...]) -> None:
        """Note that a node accepted these."""
        heads = self._heads()
        names = {parse_envelope(one.envelope).manifest_hash.hex() for one in artifacts}
        for key, row in heads.items():
            if row.manifest_hash in names:
                heads[key] = HeadRow(**{**asdict(row), "delivered": True})
        self._save_heads(heads)


_SEED_NODE: Final = NodeRow(node_id="seed", addresses=(), peer_class="core", stores=("cluster",))
"""A fabric of nobody: the first bundle is made before the first node."""


def _delivery_order(one: SignedArtifact) -> tuple[int, str, bool]:
    kind = one.manifest.artifact_type
    rank = (
        list(TYPE_RULES).index(kind)
        if kind in (ArtifactType.TRUST_BUNDLE, ArtifactType.REVOCATION_LIST)
        else 2
    )
    directories = (ArtifactType.PEER_DIRECTORY, ArtifactType.STORAGE_DIRECTORY)
    if rank == 2 and kind not in directories:
        rank = 3
    return rank, one.manifest.namespace.text, kind is ArtifactType.SNAPSHOT_INCREMENT


def _write_new(path: Path, data: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, data: bytes) -> None:
    """Old or new, never between."""
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)


def fingerprint(data: bytes) -> str:
    """SHA-256 in hexadecimal, as an operator types it from another channel."""
    return sha256(data).hexdigest()
