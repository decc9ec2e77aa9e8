"""Private keys of the control plane: a ring in memory, a folder on disk.

The only place, with `signing.py`, where a key that can sign artifacts is held; the only one that
draws keys.
"""

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fabgossip.control.files import ensure_folder, replace_one, said
from fabgossip.errors import ControlError
from fabgossip.model.authority import KeyStatus, TrustBundle
from fabgossip.model.ids import KeyId, key_id_of
from fabgossip.storage.syncing import sync_folder

KEY_MODE: Final = 0o600


@dataclass(frozen=True, slots=True)
class ArtifactKey:
    """An Ed25519 key that signs artifacts, claims or bundles."""

    private: Ed25519PrivateKey

    @property
    def public_key(self) -> bytes:
        """32 raw bytes."""
        return self.private.public_key().public_bytes_raw()

    @property
    def key_id(self) -> KeyId:
        """SHA-256 of the public key."""
        return key_id_of(self.public_key)


def new_artifact_key() -> ArtifactKey:
    """A fresh key from the system's entropy."""
    return ArtifactKey(Ed25519PrivateKey.generate())


def artifact_key_from_seed(seed: bytes) -> ArtifactKey:
    """The key of a 32-byte seed: for simulations and tests, where a key must be the same every
    time."""
    return ArtifactKey(Ed25519PrivateKey.from_private_bytes(seed))


def new_node_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key for a certificate."""
    return ec.generate_private_key(ec.SECP256R1())


def random_bytes(count: int) -> bytes:
    """Entropy for salts and padding."""
    return os.urandom(count)


class KeyRing:
    """Private artifact keys by role and id."""

    __slots__ = ("_by_id", "_by_role")

    def __init__(self, keys: Iterable[tuple[str, ArtifactKey]]) -> None:
        self._by_role: dict[str, list[ArtifactKey]] = {}
        self._by_id: dict[KeyId, ArtifactKey] = {}
        for role, key in keys:
            self._by_role.setdefault(role, []).append(key)
            self._by_id[key.key_id] = key

    def with_keys(self, keys: Iterable[tuple[str, tuple[ArtifactKey, ...]]]) -> "KeyRing":
        """This ring and further keys, by role."""
        mine = [(role, key) for role, ring in self._by_role.items() for key in ring]
        return KeyRing([*mine, *((role, key) for role, ring in keys for key in ring)])

    def of_role(self, role: str) -> tuple[ArtifactKey, ...]:
        """The keys of a role, in the order they were added."""
        return tuple(self._by_role.get(role, ()))

    def find(self, key_id: KeyId) -> ArtifactKey | None:
        """The private key of an id, if it is in this ring."""
        return self._by_id.get(key_id)


def write_private(path: Path, data: bytes) -> None:
    """Write a new file only its owner can read, durably; raises `ControlError` if it exists or
    cannot be written, and then leaves nothing: half a key would stop every later command."""
    if os.path.lexists(path):
        raise ControlError(f"{path}: {os.strerror(errno.EEXIST)}")
    replace_private(path, data)


def replace_private(path: Path, data: bytes) -> None:
    """The same, in place of the file there may be; raises `ControlError`."""
    replace_one(path, data, KEY_MODE)
    with said(path):
        sync_folder(path.parent)


def _encryption(passphrase: bytes | None) -> serialization.KeySerializationEncryption:
    if passphrase is None:
        return serialization.NoEncryption()
    return serialization.BestAvailableEncryption(passphrase)


def private_pem(
    key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey, passphrase: bytes | None
) -> bytes:
    """PKCS#8 PEM, encrypted where there is a passphrase."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, _encryption(passphrase)
    )


class KeyFolder:
    """`keys/<role>/<key id>.pem` below an authority folder."""

    def __init__(self, folder: Path, passphrase: bytes | None) -> None:
        self._folder = folder
        self._passphrase = passphrase

    def add(self, role: str, key: ArtifactKey) -> None:
        """Write an artifact key; raises `ControlError`."""
        self._write(role, key.key_id.hex(), private_pem(key.private, self._passphrase))

    def add_node_ca(self, key: ec.EllipticCurvePrivateKey, certificate: bytes) -> None:
        """Write the key of a node CA, named by the SHA-256 of its DER; raises `ControlError`."""
        name = self._node_ca_path(certificate).stem
        self._write("node-ca", name, private_pem(key, self._passphrase))

    def _write(self, role: str, name: str, pem: bytes) -> None:
        folder = self._folder / role
        ensure_folder(folder)
        write_private(folder / f"{name}.pem", pem)

    def ring(self, root_folders: tuple[Path, ...] = ()) -> KeyRing:
        """All artifact keys of the folder, and root keys that lie elsewhere; raises
        `ControlError`."""
        paths = [one for one in self._folder.glob("*/*.pem") if one.parent.name != "node-ca"]
        rows = [(path.parent.name, self._artifact_key(path)) for path in sorted(paths)]
        for folder in root_folders:
            if not folder.is_dir():
                raise ControlError(f"{folder}: no such folder")
            found = sorted(folder.glob("*.pem"))
            if not found:
                raise ControlError(f"{folder}: no *.pem in it")
            rows += [("root", self._artifact_key(path)) for path in found]
        return KeyRing(rows)

    def _artifact_key(self, path: Path) -> ArtifactKey:
        key = self._load(path)
        if not isinstance(key, Ed25519PrivateKey):
            raise ControlError(f"{path}: not an Ed25519 key")
        return ArtifactKey(key)

    def remove_revoked(self, bundle: TrustBundle) -> None:
        """Delete the private keys a bundle revoked, in whatever role: they sign nothing any more.
        The others stay until the operator removes them. Raises `ControlError`."""
        for key in bundle.keys:
            if key.status is KeyStatus.REVOKED:
                for path in self._folder.glob(f"*/{key.key_id.hex()}.pem"):
                    _unlink(path)
        for ca in bundle.node_cas:
            if ca.status is KeyStatus.REVOKED:
                _unlink(self._node_ca_path(ca.der))

    def _node_ca_path(self, certificate: bytes) -> Path:
        return self._folder / "node-ca" / f"{sha256(certificate).hexdigest()}.pem"

    def node_ca(self, certificate: bytes) -> ec.EllipticCurvePrivateKey:
        """The key of the node CA with this DER; raises `ControlError`."""
        path = self._node_ca_path(certificate)
        key = self._load(path)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ControlError(f"{path}: not an elliptic-curve key")
        return key

    def _load(self, path: Path) -> object:
        try:
            return serialization.load_pem_private_key(path.read_bytes(), self._passphrase)
        except (OSError, ValueError, TypeError) as error:
            hint = (
                "name the passphrase file with --passphrase-file"
                if self._passphrase is None
                else "wrong passphrase?"
            )
            raise ControlError(f"{path}: cannot be read ({error}); {hint}") from error


def _unlink(path: Path) -> None:
    with said(path):
        path.unlink(missing_ok=True)
