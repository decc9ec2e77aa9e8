"""What of this node itself lost its trust.

Decides: which part of it, the gravest first.
Keeps: that something is revoked is known by the revoked set alone; why, its list says while it is
here.
Must not know: what follows for the node.
"""

from dataclasses import dataclass
from enum import StrEnum

from fabgossip.core.setup import OwnIdentity
from fabgossip.model.authority import Revocation, RevocationList, RevokedKind
from fabgossip.trust.facts import TrustFacts
from fabgossip.trust.membership import has_lost_trust
from fabgossip.trust.revocation import node_token


class OwnPart(StrEnum):
    """What of a node can lose its trust."""

    NODE = "node"
    CERTIFICATE = "certificate"
    NODE_CA = "node_ca"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRevocation:
    """Which part of this node lost its trust, and the entry that says why."""

    part: OwnPart
    entry: Revocation | None
    """None where a trust bundle ended the CA, or no list that has the entry is here."""


class OwnTrust:
    """The node, its certificate and the CA of that, held against what is revoked."""

    __slots__ = ("_entries", "_own")

    def __init__(self, own: OwnIdentity) -> None:
        self._own = own
        self._entries: dict[tuple[RevokedKind, bytes], Revocation] = {}

    def on_papers(self, own: OwnIdentity) -> None:
        """Another certificate is shown."""
        self._own = own

    def on_list(self, listed: RevocationList, facts: TrustFacts) -> None:
        """Of what was revoked only kinds and values are durable: the reason is kept here."""
        names = frozenset(self._names(facts).values())
        if not names & facts.revoked.values:
            return
        for one in listed.entries:
            if (one.kind, one.value) in names:
                self._entries[(one.kind, one.value)] = one

    def revocation(self, facts: TrustFacts) -> OwnRevocation | None:
        """What of this node lost its trust, the gravest; None: nothing."""
        for part, name in self._names(facts).items():
            if name in facts.revoked.values:
                return OwnRevocation(part=part, entry=self._entries.get(name))
        certificate = self._own.certificate
        if certificate is not None and has_lost_trust(certificate, facts.bundle, facts.revoked):
            return OwnRevocation(part=OwnPart.NODE_CA, entry=None)
        return None

    def _names(self, facts: TrustFacts) -> dict[OwnPart, tuple[RevokedKind, bytes]]:
        """As a list would name this node and what its identity rests on."""
        node_id, certificate = self._own.node_id, self._own.certificate
        names = {OwnPart.NODE: (RevokedKind.NODE, node_token(facts.bundle.cluster_id, node_id))}
        if certificate is not None:
            names[OwnPart.CERTIFICATE] = (RevokedKind.CERTIFICATE, certificate.certificate_hash)
            names[OwnPart.NODE_CA] = (RevokedKind.CERTIFICATE, certificate.issuer_hash)
        return names
