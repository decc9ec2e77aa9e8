"""Attack: pass one kind of statement off as another.

Powers: the attacker is a member with a good certificate. It has one good statement of every kind,
signed by the keys that may sign it, and can put another payload type on an envelope. The strongest
also holds keys that may sign the kind it pretends, and signs with them what was meant as the other
kind. It pretends at the door where the pretended kind is taken: announcements, the hello, a request
with a grant, an audit head.
"""

from dataclasses import replace
from typing import Final

import pytest

from fabgossip.model.artifact import ArtifactType
from fabgossip.model.envelope import PayloadKind
from fabgossip.model.messages import AuditHead, ContentAsk, GetContent, Holdings, Welcome
from fabgossip.wire.envelopes import envelope_bytes
from fabgossip.wire.statements import checkpoint_bytes, claims_bytes, grant_bytes, manifest_bytes
from tests.attacks.scene import ATTACKER, TRUST_LANE_ASKED, Scene
from tests.core.artifacts import Artifact, routes
from tests.core.story import Peer, identity
from tests.trust import factory as f

ARTIFACT_KINDS: Final = tuple(one.payload_kind for one in ArtifactType)
PAIRS: Final = [(real, said) for real in PayloadKind for said in PayloadKind if real is not said]
SIGNERS_OF: Final[dict[PayloadKind, tuple[f.Signer, ...]]] = {
    **{kind.payload_kind: signers for kind, signers in f.SIGNERS_OF.items()},
    PayloadKind.NODE_CLAIMS: (f.CLAIMER,),
    PayloadKind.FETCH_GRANT: (f.GRANTER,),
    PayloadKind.AUDIT_CHECKPOINT: (f.AUDITOR,),
}
STATEMENTS: Final[dict[PayloadKind, bytes]] = {
    **{kind.payload_kind: manifest_bytes(f.manifest(kind)) for kind in ArtifactType},
    PayloadKind.NODE_CLAIMS: claims_bytes(replace(f.claims(), node_id=ATTACKER)),
    PayloadKind.FETCH_GRANT: grant_bytes(
        replace(f.grant(), node_id=ATTACKER, certificate_hash=identity(ATTACKER).certificate_hash)
    ),
    PayloadKind.AUDIT_CHECKPOINT: checkpoint_bytes(replace(f.checkpoint(), node_id=ATTACKER)),
}


def relabelled(real: PayloadKind, said: PayloadKind, signers: tuple[f.Signer, ...]) -> bytes:
    """A good statement of one kind under the name of another."""
    payload = STATEMENTS[real]
    return envelope_bytes(said, payload, tuple(one.sign(real, payload) for one in signers))


def disguised(real: PayloadKind, said: PayloadKind) -> bytes:
    """A statement of one kind, signed as another by those who may sign the other."""
    return f.sealed(said, STATEMENTS[real], *SIGNERS_OF[said])


def test_there_are_thirteen_kinds_and_each_can_pretend_to_be_twelve_others() -> None:
    assert len(PayloadKind) == 13
    assert len(PAIRS) == 13 * 12
    assert STATEMENTS.keys() == SIGNERS_OF.keys() == set(PayloadKind)


@pytest.mark.parametrize(("real", "said"), PAIRS)
def test_every_pair(real: PayloadKind, said: PayloadKind) -> None:
    """The kind stands inside the signed bytes, and once more inside the payload: an envelope cannot
    be relabelled, not even by keys good for both kinds, nor filled with the payload of another."""
    tries = (
        relabelled(real, said, SIGNERS_OF[real]),
        relabelled(real, said, SIGNERS_OF[said]),
        disguised(real, said),
    )
    if said is PayloadKind.NODE_CLAIMS:
        for raw in tries:
            claims_are_refused(raw)
    elif said is PayloadKind.FETCH_GRANT:
        for raw in tries:
            grant_is_refused(raw)
    elif said is PayloadKind.AUDIT_CHECKPOINT:
        for raw, code in zip(tries, ("KEY_UNKNOWN", "SIG_INVALID", "MALFORMED"), strict=True):
            checkpoint_is_refused(raw, code)
    else:
        artifacts_are_refused(real, said, tries)


def artifacts_are_refused(
    real: PayloadKind, said: PayloadKind, tries: tuple[bytes, bytes, bytes]
) -> None:
    own = code_of_own_keys(real, said)
    inside = "TYPE_MISMATCH" if real in ARTIFACT_KINDS else "SCHEMA"
    for raw, code in zip(tries, (own, "SIG_INVALID", inside), strict=True):
        offered = Artifact(f.manifest(ArtifactType(said.value)), raw, f.CONTENT)
        asks_trust = code in ("KEY_UNKNOWN", "KEY_NOT_FOR_TYPE")
        Scene().publish(routes(7)).refuses(offered, code, asks_trust=asks_trust)


def code_of_own_keys(real: PayloadKind, said: PayloadKind) -> str:
    """Why the real signatures are not enough: their keys may not sign the pretended kind, or may,
    and did not."""
    own = set(SIGNERS_OF[real])
    if own & set(SIGNERS_OF[said]):
        return "SIG_INVALID"
    return "KEY_UNKNOWN" if own == {f.AUDITOR} else "KEY_NOT_FOR_TYPE"


def claims_are_refused(raw: bytes) -> None:
    """In the hello of a second peer, which keeps the trust lane and is told of nothing else."""
    scene = Scene().publish(routes(7))
    before = scene.state
    link = scene.connect("n4")
    hello = replace(Peer(name="n4").hello(), claims=raw)
    scene.hear(link, hello).hear(link, Welcome(protocol=1, features=0))
    scene.leaves(
        before,
        requests=[TRUST_LANE_ASKED],
        audited=[("claims_refused", "CLAIMS_INVALID", "n4")],
        onward=[Holdings(sequence=1, is_whole=True, entries=())],
    )
    (session,) = [one for one in scene.node.view.sessions() if one.link == link]
    assert session.claims is None


def grant_is_refused(raw: bytes) -> None:
    """It widens nothing, no use of it is counted, and the answer is as without it."""
    scene = Scene().publish(routes(7))
    before = scene.state
    secret = f.admitted(f.signed(f.manifest(ArtifactType.UPDATE_MANIFEST)))
    item = ContentAsk(secret.manifest_hash, secret.manifest.content_hash, 0, 1)
    scene.hear(scene.attacker, GetContent(items=(item,), grant=raw), 2)
    scene.leaves(before, audited=[("fetch_denied", "GRANT_INVALID", ATTACKER)])


def checkpoint_is_refused(raw: bytes, code: str) -> None:
    """It is no word about an audit log, and nothing of it is kept."""
    scene = Scene().publish(routes(7))
    before = scene.state
    scene.hear(scene.attacker, AuditHead(checkpoint=raw))
    scene.leaves(before, codes=[code], audited=[("artifact_rejected", code, ATTACKER)])
    assert scene.node.view.checkpoints_of(ATTACKER) == ()
