"""The revocation in the demonstration: one node loses its trust, and everybody is watched."""

import time
from dataclasses import dataclass
from typing import Final

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
    """By neighbour: from the moment it was seen to have the list until its link was gone."""
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


@dataclass(slots=True)
class _Neighbor:
    """A node that was linked to the revoked one."""

    node: Node
    accepted_at: float | None = None
    cut_at: float | None = None


def revoke_node(fabric: Fabric, node_id: str, timeout_s: float) -> Revocation:
    """Revoke a node, publish the list, and wait until every neighbour has cut it off.

    Raises:
        FabgossipError: not all did within `timeout_s`.
    """
    watched = [_Neighbor(one) for one in fabric.nodes if _is_linked(one, node_id)]
    version = _revoke(fabric, node_id)
    deadline = time.monotonic() + timeout_s
    while any(one.cut_at is None for one in watched):
        if time.monotonic() > deadline:
            late = ", ".join(one.node.row.node_id for one in watched if one.cut_at is None)
            raise FabgossipError(f"{node_id} is revoked and still linked to {late}")
        for one in watched:
            _look(one, node_id, version)
        time.sleep(LOOK_EVERY_S)
    verdict = _verdict(fabric.node(node_id), deadline)
    return Revocation(
        cut_ms={
            one.node.row.node_id: 1_000 * max(0.0, (one.cut_at or 0) - (one.accepted_at or 0))
            for one in watched
        },
        says=str(verdict["summary"]),
        mode=str(verdict["mode"]),
    )


def _is_linked(node: Node, node_id: str) -> bool:
    items = node.get("/v1/peers")["items"]
    assert isinstance(items, list)
    return any(one["node_id"] == node_id for one in items)


def _revoke(fabric: Fabric, node_id: str) -> int:
    """What `fabgossip control revoke`, `compile` and `publish` do; gives the list's version."""
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
    fabric.publish("a node is revoked")
    return AuthorityFolder(fabric.authority_folder).list_version()


def _look(neighbor: _Neighbor, node_id: str, version: int) -> None:
    if neighbor.accepted_at is None:
        trust = neighbor.node.get("/v1/status")["trust"]
        assert isinstance(trust, dict)
        if trust["revocation_version"] >= version:
            neighbor.accepted_at = time.monotonic()
    if neighbor.cut_at is None and not _is_linked(neighbor.node, node_id):
        neighbor.cut_at = time.monotonic()


def _verdict(node: Node, deadline: float) -> dict[str, object]:
    """What the revoked node says of itself, once it has read the list that names it."""
    while True:
        verdict = node.get("/v1/status")["verdict"]
        assert isinstance(verdict, dict)
        if verdict["mode"] == "revoked" or time.monotonic() > deadline:
            return verdict
        time.sleep(LOOK_EVERY_S)
