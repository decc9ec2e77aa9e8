"""What the gate judges by: what a node believes, knows of a line of versions, and asked for.

Decides: nothing; words only.
Keeps: facts are replaced whole, so one judgement never sees half a change.
Must not know: the envelope that is judged.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from fabgossip.model.artifact import NO_ORDER, Manifest, Order
from fabgossip.model.authority import TrustBundle
from fabgossip.model.ids import ContentHash, ManifestHash, NodeId
from fabgossip.model.mode import Freshness
from fabgossip.model.moment import NEVER, UnixTime
from fabgossip.model.scope import Entitlements, Namespace
from fabgossip.trust.revocation import Revoked


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustFacts:
    """What a node believes at one moment; replaced whole when anything of it changes."""

    bundle: TrustBundle
    revoked: Revoked
    own: Entitlements
    own_node_id: NodeId
    bundle_expires_at: UnixTime
    freshness: Freshness
    revocations_expires_at: UnixTime | None = None
    """None: no list of this epoch was ever accepted."""
    previous: TrustBundle | None = None
    """The bundle before the one in force: its roots can have signed another successor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What a node knows of one namespace's line of versions."""

    floor: Order
    manifest_hash: ManifestHash | None
    """The manifest accepted, or listed, at the floor."""
    withdrawn: Order
    """Every order up to here is withdrawn by a tombstone."""
    is_here: bool = True
    """Whether the manifest at the floor is held; else it may come again, or for the first time."""
    has_increment: bool = False
    """Whether an increment at the floor is held already."""
    content_hash: ContentHash | None = None
    """Of the manifest accepted at the floor, and when that was issued."""
    issued_at: UnixTime = NEVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What a covering snapshot says of a namespace; `NO_ORDER` where it lists nothing."""

    order: Order
    manifest_hash: ManifestHash | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What we asked for, so that an answer to another question is refused; None where anything may
    come.
    """

    manifest_hash: ManifestHash | None = None
    namespace: str | None = None
    result_hash: ContentHash | None = None
    """What an increment of a chain must make: the content at the floor, or what the increment after
    it starts from."""


ANYTHING: Final = Asked()


class Known(Protocol):
    """What the gate asks about what was accepted before."""

    def line_of(self, namespace: Namespace) -> Line:
        """The line of versions of a namespace."""
        ...

    def listed(self, manifest: Manifest) -> Listed | None:
        """What the covering snapshot says of the manifest's namespace, None if none covers it."""
        ...


class _Nothing:
    """Nothing was accepted before."""

    def line_of(self, _: Namespace, /) -> Line:
        return Line(floor=NO_ORDER, manifest_hash=None, withdrawn=NO_ORDER)

    def listed(self, _: Manifest, /) -> Listed | None:
        return None


NOTHING_KNOWN: Final[Known] = _Nothing()
