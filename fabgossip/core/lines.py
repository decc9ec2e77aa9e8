"""What this node knows of a namespace, as the trust gate asks for it.

Decides: nothing.
Keeps: of bundles the one in force is what stands, whatever is at the head.
Must not know: what the gate makes of it.
"""

from dataclasses import replace

from fabgossip.core.catalog import HeadState
from fabgossip.core.machines import Machines
from fabgossip.model.artifact import NO_ORDER, Manifest
from fabgossip.model.scope import Family, Namespace
from fabgossip.trust.gate import Line, Listed


class Lines:
    """The `Known` of the trust gate."""

    __slots__ = ("_m",)

    def __init__(self, machines: Machines) -> None:
        self._m = machines

    def line_of(self, namespace: Namespace) -> Line:
        """See `Known`."""
        head = self._m.catalog.find(namespace.text)
        floor = self._m.catalog.floor(namespace.text)
        line = Line(
            floor=floor.order,
            manifest_hash=floor.manifest_hash,
            withdrawn=NO_ORDER,
            is_here=head is not None and head.verified.manifest_hash == floor.manifest_hash,
        )
        if head is not None:
            withdrawn = head.manifest.order if head.manifest.tombstone is not None else NO_ORDER
            line = replace(line, withdrawn=withdrawn, has_increment=head.increment is not None)
            if head.state is HeadState.REFUSED and line.is_here:
                line = replace(line, manifest_hash=None, is_here=False)
        if namespace.family is Family.TRUST_BUNDLE:
            in_force, content_hash, issued_at = self._m.beliefs.bundle_line()
            line = replace(
                line,
                manifest_hash=in_force,
                is_here=head is not None and head.verified.manifest_hash == in_force,
                content_hash=content_hash,
                issued_at=issued_at,
            )
        return line

    def listed(self, manifest: Manifest) -> Listed | None:
        """See `Known`."""
        return self._m.listings.listed(manifest)
