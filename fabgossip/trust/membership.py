"""Whether a node that was identified once still is one of the cluster's.

Decides: whether an identity lost its trust, and whether a link to it may stand.
Keeps: what a list or a bundle takes from a CA it takes from every certificate of it.
Must not know: how the identity was proved.
"""

from fabgossip.model.authority import KeyStatus, NodeIdentity, TrustBundle
from fabgossip.trust.bundle import is_active
from fabgossip.trust.identity import node_ca_hash
from fabgossip.trust.revocation import Revoked


def has_lost_trust(identity: NodeIdentity, bundle: TrustBundle, revoked: Revoked) -> bool:
    """Whether a node, its certificate, or the CA that signed it, is revoked."""
    return revoked.has_identity(bundle.cluster_id, identity) or any(
        ca.status is KeyStatus.REVOKED and node_ca_hash(ca.der) == identity.issuer_hash
        for ca in bundle.node_cas
    )


def may_link(
    identity: NodeIdentity, bundle: TrustBundle, previous: TrustBundle | None, revoked: Revoked
) -> bool:
    """Whether a link to this node may open or go on: nothing of it is revoked, and no bundle
    ended the CA that signed it, by a status or by leaving it out. The leaf rules saw that CA
    issue under the bundle in force, or the one before it."""
    issuing = {ca.der for ca in bundle.node_cas if is_active(ca.status)}
    known = bundle.node_cas if previous is None else (*bundle.node_cas, *previous.node_cas)
    ended = {node_ca_hash(ca.der) for ca in known if ca.der not in issuing}
    return identity.issuer_hash not in ended and not has_lost_trust(identity, bundle, revoked)
