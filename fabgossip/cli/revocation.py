"""The revocation in the demonstration: one node loses its trust, and everybody is watched."""

import time
from dataclasses import dataclass
from typing import Final, Protocol

from fabgossip.cli.fabric import Fabric, Node
from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.revoking import RevocationRow
from fabgossip.errors import FabgossipError
from fabgossip.model.authority import RevokedKind
from fabgossip.model.ids import ClusterId, NodeId
from fabgossip.model.moment import UnixTime
from fabgossip.trust.revocation import node_token

LOOK_EVERY_S: Final = 0.01
CUT_WITHIN_MS: Final = 1_000.0
"""A neighbour that accepted the list has this long to end its link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """What became of a node that was revoked."""

    cut_ms: dict[str, float]
    """By neighbour: at most so long from its acceptance of the list until its link was gone. The
    clock starts with the last look at which it had no list, so that the time between two looks
    counts against it."""
    says: str
    """The summary of the revoked node's own status."""
    mode: str

    @property
    def slowest_ms(self) -> float:
        """Of all neighbours."""
        return round(max(self.cut_ms.values(), default=0.0), 1)

    @property
    def is_good(self) -> bool:
        """Whether all neighbours cut it in time, and it knows why."""
        in_time = bool(self.cut_ms) and self.slowest_ms <= CUT_WITHIN_MS
        return in_time and self.mode == "revoked"


class Asked(Protocol):
    """A node that answers over its status socket."""

    def get(self, path: str) -> dict[str, object]:
        """The answer to a question without a body."""


@dataclass(slots=True)
class Neighbor:
    """A node that was linked to the revoked one."""

    node: Asked
    without_list_at: float
    """When it was last asked and had no list yet (monotonic seconds, as below)."""
    cut_at: float | None = None

    def look(self, node_id: str, version: int) -> None:
        """Ask it whether it has a list of this version, and whether it is linked to a node."""
        asked_at = time.monotonic()
        trust = self.node.get("/v1/status")["trust"]
        assert isinstance(trust, dict)
        if trust["revocation_version"] < version:
            self.without_list_at = asked_at
        # It may have accepted the list and ended the link between the two questions.
        if not _is_linked(self.node, node_id):
            self.cut_at = time.monotonic()

    @property
    def cut_ms(self) -> float:
        """See `Revocation.cut_ms`; once it is cut."""
        assert self.cut_at is not None
        return 1_000 * (self.cut_at - self.without_list_at)


def revoke_node(fabric: Fabric, node_id: str, timeout_s: float) -> Revocation:
    """Revoke a node, publish the list, and wait until every neighbour has cut it off.

    Raises:
        FabgossipError: not all did within `timeout_s`.
    """
    linked = [one for one in fabric.nodes if _is_linked(one, node_id)]
    version, handed_at = _revoke(fabric, node_id)
    watched = {one.row.node_id: Neighbor(one, handed_at) for one in linked}
    deadline = time.monotonic() + timeout_s
    while late := [name for name, one in watched.items() if one.cut_at is None]:
        if time.monotonic() > deadline:
            raise FabgossipError(f"{node_id} is revoked and still linked to {', '.join(late)}")
        for name in late:
            watched[name].look(node_id, version)
        time.sleep(LOOK_EVERY_S)
    verdict = _verdict(fabric.node(node_id), deadline)
    return Revocation(
        cut_ms={name: one.cut_ms for name, one in watched.items()},
        says=str(verdict["summary"]),
        mode=str(verdict["mode"]),
    )


def _is_linked(node: Asked, node_id: str) -> bool:
    items = node.get("/v1/peers")["items"]
    assert isinstance(items, list)
    return any(one["node_id"] == node_id for one in items)


def _revoke(fabric: Fabric, node_id: str) -> tuple[int, float]:
    """What `fabgossip control revoke`, `compile` and `publish` do; gives the list's version, and
    when it was handed over: nobody had it before."""
    authority = AuthorityFolder(fabric.authority_folder)
    now = UnixTime(int(time.time()))
    bundle = authority.bundle()
    token = node_token(ClusterId(bundle.cluster_id), NodeId(node_id))
    with authority.locked():
        authority.revoke(
            RevocationRow(
                kind=RevokedKind.NODE.name,
                value=token.hex(),
                subject=node_id,
                reason="demonstration",
                since_epoch=bundle.authority_epoch,
                since=now,
                until=0,
            ),
            now,
        )
    publication = fabric.publish("a node is revoked")
    age_s = time.time() - min(publication.began.values())
    return AuthorityFolder(fabric.authority_folder).list_version(), time.monotonic() - age_s


def _verdict(node: Node, deadline: float) -> dict[str, object]:
    """What the revoked node says of itself, once it has read the list that names it."""
    while True:
        verdict = node.get("/v1/status")["verdict"]
        assert isinstance(verdict, dict)
        if verdict["mode"] == "revoked" or time.monotonic() > deadline:
            return verdict
        time.sleep(LOOK_EVERY_S)
