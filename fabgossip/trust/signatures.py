"""Which keys signed exactly these bytes; not whether they may.

Decides: whether an Ed25519 signature over the DSSE pre-authentication encoding is good, and whether
a public key is fit to be trusted at all.
Keeps: signatures are checked over the received payload before it is decoded; a verdict is
arithmetic, never authority.
Must not know: rights, roles, time.

- Algorithm and hash are fixed; nothing is read from the message.
- The library accepts small-order public keys, under which one signature verifies many messages, so
  they are refused when a key is loaded (`test_signatures.py`).
- The point a signature begins with obeys the same rule: libsodium refuses one of small order, the
  library does not, and two nodes must not disagree (`tests/oracles/test_ed25519.py`).
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from hashlib import sha256
from typing import Final, Protocol, TypeVar, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fabgossip.model.envelope import PayloadKind

VERDICTS_MAX: Final = 16_384
"""Verdicts a node remembers (*start*): about 6 MB; a verification costs 0.12 ms (measured 2026-10).
"""
PUBLIC_KEYS_MAX: Final = 1_024
READ_BYTES_MAX: Final = 2 << 20
"""Bytes whose value a node remembers (*start*); the value takes a few times as much."""
T = TypeVar("T", bound=Hashable)
_POINT_BYTES: Final = 32
_FIELD_PRIME: Final = 2**255 - 19
_SIGN_BIT: Final = 1 << 255
_SMALL_ORDER_Y: Final = frozenset(
    {
        0,
        1,
        _FIELD_PRIME - 1,
        int.from_bytes(
            bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
            "little",
        ),
        int.from_bytes(
            bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
            "little",
        ),
    }
)
"""The y coordinates of the eight points of small order (RFC 7748, section 7; Chalkias et al. 2020,
table 1).
"""


class Verifier(Protocol):
    """Answers whether a signature is good; real on a node, shared by all nodes of a simulation."""

    def is_good(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether `signature` (64 bytes) by `public_key` (32 bytes) over `message` is good."""
        ...

    def read(self, parse: Callable[[bytes], T], data: bytes) -> T:
        """`parse(data)`; raises what that raises. Equal bytes may give one shared frozen value,
        which is no verdict: whoever asks judges it anew."""
        ...


def signed_bytes(kind: PayloadKind, payload: bytes) -> bytes:
    """DSSE v1 pre-authentication encoding: type and payload with their lengths, so neither can
    slide into the other.
    """
    payload_type = kind.payload_type.encode("ascii")
    return b"DSSEv1 %d %b %d %b" % (len(payload_type), payload_type, len(payload), payload)


def is_fit_public_key(public_key: bytes) -> bool:
    """Whether 32 raw bytes are a canonical encoding and not a point of small order."""
    y = int.from_bytes(public_key, "little") & (_SIGN_BIT - 1)
    return y < _FIELD_PRIME and y not in _SMALL_ORDER_Y


class Ed25519Verifier:
    """The real `Verifier`, remembering its last verdicts and what it read."""

    __slots__ = (
        "_keys", "_read_bytes", "_read_bytes_max", "_values", "_verdicts", "_verdicts_max",
    )  # fmt: skip

    def __init__(
        self, *, verdicts_max: int = VERDICTS_MAX, read_bytes_max: int = READ_BYTES_MAX
    ) -> None:
        self._verdicts_max = verdicts_max
        self._read_bytes_max = read_bytes_max
        self._values: OrderedDict[tuple[object, bytes], Hashable] = OrderedDict()
        self._read_bytes = 0
        self._keys: OrderedDict[bytes, Ed25519PublicKey | None] = OrderedDict()
        self._verdicts: OrderedDict[tuple[bytes, bytes, bytes], bool] = OrderedDict()

    def is_good(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """See `Verifier`."""
        question = (public_key, sha256(message).digest(), signature)
        verdict = self._verdicts.get(question)
        if verdict is None:
            verdict = self._verify(public_key, message, signature)
            self._verdicts[question] = verdict
            if len(self._verdicts) > self._verdicts_max:
                self._verdicts.popitem(last=False)
        return verdict

    def read(self, parse: Callable[[bytes], T], data: bytes) -> T:
        """See `Verifier`. A failure is not remembered."""
        key = (parse, data)
        known = self._values.get(key)
        if known is not None:
            return cast("T", known)
        value = parse(data)
        self._values[key] = value
        self._read_bytes += len(data)
        while self._read_bytes > self._read_bytes_max:
            (_, oldest), _ = self._values.popitem(last=False)
            self._read_bytes -= len(oldest)
        return value

    def _verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        key = self._key(public_key)
        if key is None or not is_fit_public_key(signature[:_POINT_BYTES]):
            return False
        try:
            key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def _key(self, public_key: bytes) -> Ed25519PublicKey | None:
        if public_key not in self._keys:
            fit = is_fit_public_key(public_key)
            self._keys[public_key] = Ed25519PublicKey.from_public_bytes(public_key) if fit else None
            if len(self._keys) > PUBLIC_KEYS_MAX:
                self._keys.popitem(last=False)
        return self._keys[public_key]
