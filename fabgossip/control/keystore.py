"""Private keys of the control plane: a ring in memory, a folder on disk.

The only place, with `signing.py`, where a key that can sign artifacts is held; the only one that
draws keys.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fabgossip.errors import ControlError
from fabgossip.model.ids import KeyId, key_id_of

FOLDER_MODE: Final = 0o700
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

    def of_role(self, role: str) -> tuple[ArtifactKey, ...]:
        """The keys of a role, in the order they were added."""
        return tuple(self._by_role.get(role, ()))

    def find(self, key_id: KeyId) -> ArtifactKey | None:
        """The private key of an id, if it is in this ring."""
        return self._by_id.get(key_id)


def write_private(path: Path, data: bytes) -> None:
    """Write a file only its owner can read; raises `ControlError` if it exists or cannot be
    written."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, KEY_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror}") from error


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

    def add_node_ca(self, key: ec.EllipticCurvePrivateKey) -> None:
        """Write the key that issues node certificates; raises `ControlError`."""
        self._write("node-ca", "node-ca", private_pem(key, self._passphrase))

    def _write(self, role: str, name: str, pem: bytes) -> None:
        folder = self._folder / role
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        write_private(folder / f"{name}.pem", pem)

    def ring(self) -> KeyRing:
        """All artifact keys of the folder; raises `ControlError`."""
        rows = []
        for path in sorted(self._folder.glob("*/*.pem")):
            if path.parent.name != "node-ca":
                key = self._load(path)
                if not isinstance(key, Ed25519PrivateKey):
                    raise ControlError(f"{path}: not an Ed25519 key")
                rows.append((path.parent.name, ArtifactKey(key)))
        return KeyRing(rows)

    def node_ca(self) -> ec.EllipticCurvePrivateKey:
        """The key that issues node certificates; raises `ControlError`."""
        path = self._folder / "node-ca" / "node-ca.pem"
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
