"""What neighbors were not told of yet.

Decides: whether a durable manifest is still news.
Keeps: a manifest is told once, and not before it is durable; of a bundle not before it was read.
Must not know: to whom news goes, and when it leaves.
"""

from dataclasses import replace

from fabgossip.core.catalog import prefix_of
from fabgossip.core.machines import Machines
from fabgossip.core.own_contents import OwnContents
from fabgossip.core.telling import Untold
from fabgossip.model.artifact import ArtifactType, VerifiedManifest
from fabgossip.model.messages import INLINE_BYTES_MAX
from fabgossip.model.moment import Now


class Announcing:
    """Tells of durable manifests and of contents that came to be held."""

    __slots__ = (
        "_contents",
        "_m",
        "_unadvertised",
        "_untold",
    )

    def __init__(self, machines: Machines, contents: OwnContents) -> None:
        self._m = machines
        self._contents = contents
        self._untold: dict[bytes, Untold] = {}
        """Prefixes of durable manifests not announced yet."""
        self._unadvertised: list[VerifiedManifest] = []

    def on_durable(self, verified: VerifiedManifest, untold: Untold) -> None:
        """A manifest may be told of from now on."""
        self._untold[prefix_of(verified.manifest_hash)] = untold

    def on_gone(self, verified: VerifiedManifest) -> None:
        """A manifest is nothing to tell of any more."""
        self._untold.pop(prefix_of(verified.manifest_hash), None)

    def tell(self, verified: VerifiedManifest, now: Now) -> None:
        """Announce a durable manifest, once."""
        untold = self._untold.pop(prefix_of(verified.manifest_hash), None)
        if untold is not None:
            self._m.telling.tell(verified, untold, now)

    def on_stuck(self, verified: VerifiedManifest, now: Now) -> None:
        """Its content cannot be had right now: others may know of it all the same; of a trust
        bundle only once it was read."""
        if verified.manifest.artifact_type is not ArtifactType.TRUST_BUNDLE:
            self.tell(verified, now)

    def tell_held(self, verified: VerifiedManifest, now: Now, content: bytes | None = None) -> None:
        """Its content is held: announce it, or advertise the content where it was told before."""
        prefix = prefix_of(verified.manifest_hash)
        untold = self._untold.get(prefix)
        if untold is not None:
            if content is not None and len(content) <= INLINE_BYTES_MAX:
                self._untold[prefix] = replace(untold, content=content)
            self.tell(verified, now)
        else:
            self._unadvertised.append(verified)

    @property
    def has_unadvertised(self) -> bool:
        """Whether something came to be held that neighbours were not told of."""
        return bool(self._unadvertised)

    def advertise(self, now: Now) -> None:
        """Tell neighbours what came to be held since the last time."""
        held = [one for one in self._unadvertised if self._contents.is_held(one.manifest)]
        self._unadvertised.clear()
        self._m.disclosure.advertise(held, now)
