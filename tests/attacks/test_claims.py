"""Claims that were good once, or for somebody else, or never.

Powers: the attacker is a member with a certificate of its own. It has every claims envelope ever
signed for any node of any cluster, its own older ones with more in them, and can make openings of
anything. It connects again whenever it likes, also after the node it talks to was restarted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from fabgossip.core.effects import Persist, Send
from fabgossip.core.events import LinkId, Persisted, Started
from fabgossip.model.authority import ClaimItem, NodeClaims, Opening
from fabgossip.model.ids import ClusterId, NodeId, PlatformId
from fabgossip.model.messages import Announce, Claims, Have, Heads, Holdings, Message, Welcome
from fabgossip.model.mode import Mode
from fabgossip.model.moment import seconds_after
from fabgossip.model.persistence import PutClaimsSeen
from fabgossip.wire.statements import commitment_of
from tests.attacks.scene import Scene
from tests.core.artifacts import acme_routes, revocations, trust
from tests.core.story import NOTHING_STORED, Peer
from tests.trust import factory

MALLORY: Final = NodeId("n6")
ORG: Final = factory.ORG_OPENING
FORGED: Final = factory.opening(ClaimItem(scope="org:acme"), 77)


def claims(version: int = 1, holds: tuple[Opening, ...] = (), **fields: object) -> NodeClaims:
    statement = replace(factory.claims(holds), node_id=MALLORY, claims_version=version)
    return replace(statement, **fields)  # type: ignore[arg-type]  # by name


def vault(started: Started = NOTHING_STORED) -> Scene:
    """A node with something of an organisation, which the attacker is not in any more."""
    scene = Scene(started=started).publish(acme_routes())
    scene.caused.clear()
    return scene


def hello(
    scene: Scene, envelope: bytes, openings: tuple[Opening, ...] = (), *, boot: str = "first"
) -> LinkId:
    """The attacker connects and shows these claims."""
    link = scene.connect(MALLORY)
    say = replace(Peer(name=MALLORY, boot=boot).hello(), claims=envelope, openings=openings)
    scene.hear(link, say)
    durable(scene)
    scene.hear(link, Welcome(protocol=1, features=0))
    return link


def durable(scene: Scene) -> None:
    for put in scene.find(Persist):
        scene.when(Persisted(token=put.token, ok=True))


def told(scene: Scene, link: LinkId) -> Sequence[Message]:
    """What the attacker was told of artifacts, of the trust lane apart."""
    kinds = Announce | Have | Heads
    return [
        one.message
        for one in scene.caused
        if isinstance(one, Send) and one.link == link and isinstance(one.message, kinds)
    ] + [
        one.message
        for one in scene.caused
        if isinstance(one, Send)
        and one.link == link
        and isinstance(one.message, Holdings)
        and one.message.entries
    ]


@dataclass(frozen=True)
class Forgery:
    """What is shown in the hello."""

    envelope: bytes
    openings: tuple[Opening, ...] = ()


def signed(statement: NodeClaims, *signers: factory.Signer) -> bytes:
    return factory.signed_claims(statement, *signers)


PADDED: Final = claims(holds=(factory.SERVICE_OPENING,))
FORGERIES: dict[str, Forgery] = {
    "an opening nobody committed to": Forgery(signed(claims(holds=(ORG,))), (FORGED,)),
    "a good opening and a forged one": Forgery(signed(claims(holds=(ORG,))), (ORG, FORGED)),
    "the opening of another node": Forgery(signed(claims()), (ORG,)),
    "claims of another node": Forgery(
        signed(replace(factory.claims((ORG,)), node_id=NodeId("n2"))), (ORG,)
    ),
    "claims of another cluster": Forgery(
        signed(claims(holds=(ORG,), cluster_id=ClusterId("test"))), (ORG,)
    ),
    "claims of another platform": Forgery(
        signed(claims(holds=(ORG,), platform_id=PlatformId("other"))), (ORG,)
    ),
    "claims of the epoch before": Forgery(signed(claims(holds=(ORG,), authority_epoch=1)), (ORG,)),
    "expired claims": Forgery(signed(claims(holds=(ORG,), expires_at=factory.NOW)), (ORG,)),
    "claims of the future": Forgery(
        signed(claims(holds=(ORG,), issued_at=seconds_after(factory.NOW, 121))), (ORG,)
    ),
    "signed by itself": Forgery(signed(claims(holds=(ORG,)), factory.STRANGER), (ORG,)),
    "signed by a key for other things": Forgery(
        signed(claims(holds=(ORG,)), factory.POLICY), (ORG,)
    ),
    "a commitment put in afterwards": Forgery(
        signed(PADDED).replace(PADDED.commitments[-1], commitment_of(FORGED)),
        (FORGED,),
    ),
    "cut short": Forgery(signed(claims(holds=(ORG,)))[:-1], (ORG,)),
    "nothing": Forgery(b"", (ORG,)),
}  # fmt: skip


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_forgery(forgery: Forgery) -> None:
    """A certificate is left, and with it the trust lane; nothing else is shown, and nothing is
    remembered of such claims."""
    scene = vault()
    before = scene.state
    link = hello(scene, forgery.envelope, forgery.openings)
    assert scene.audited == [("claims_refused", "CLAIMS_INVALID", MALLORY)]
    assert (scene.state, scene.durable, scene.codes) == (before, [], [])
    assert told(scene, link) == []
    scene.caused.clear()
    lane = revocations(8)
    scene.accept(lane, scene.attacker)
    assert lane.envelope in [
        entry.envelope
        for one in told(scene, link)
        if isinstance(one, Announce)
        for entry in one.entries
    ]
    assert all(isinstance(one, Announce) for one in told(scene, link))


def test_a_forged_opening_later_leaves_a_peer_as_it_was() -> None:
    scene = vault()
    link = hello(scene, signed(claims(holds=(ORG,))))
    scene.caused.clear()
    scene.hear(link, Claims(openings=(FORGED,)))
    assert told(scene, link) == []
    scene.hear(link, Claims(openings=(ORG,)))
    assert told(scene, link) != []


OLD: Final = signed(claims(1, (ORG,)))
"""With the organisation, which version 2 takes away."""
NEW: Final = signed(claims(2))


def test_older_claims_count_no_more_once_newer_were_seen_also_after_a_restart() -> None:
    scene = vault()
    hello(scene, NEW)
    seen = PutClaimsSeen(node_id=MALLORY, epoch=2, version=2)
    assert scene.durable == [seen]
    restarted = vault(
        replace(
            NOTHING_STORED,
            memory=replace(NOTHING_STORED.memory, claims_seen=((MALLORY, 2, 2),)),
        )
    )
    for one in (scene, restarted):
        one.caused.clear()
        before = one.state
        link = hello(one, OLD, (ORG,), boot="second")
        assert one.audited[-1] == ("claims_refused", "CLAIMS_INVALID", MALLORY)
        assert (one.state, one.durable) == (before, [])
        assert told(one, link) == []


def test_older_claims_that_were_under_way_count_no_more_either(tmp_path: Path) -> None:
    """Both are shown before either is durable: what the disk remembers is the newer one."""
    scene = vault()
    first, second = (scene.connect(MALLORY, is_dialer=False) for _ in range(2))
    puts = []
    for link, envelope, boot in ((first, NEW, "first"), (second, OLD, "second")):
        say = replace(Peer(name=MALLORY, boot=boot).hello(), claims=envelope, openings=())
        scene.hear(link, say)
        puts += scene.find(Persist)
    for put in puts:
        scene.when(Persisted(token=put.token, ok=True))
    shown = next(one for one in scene.node.sessions() if one.link == second)
    assert shown.claims is None
    again = scene.restarted(tmp_path)
    hello(again, OLD, (ORG,))
    assert again.audited[-1] == ("claims_refused", "CLAIMS_INVALID", MALLORY)


def test_claims_of_a_newer_epoch_wait_for_its_bundle() -> None:
    scene = vault()
    next_epoch = replace(factory.BUNDLE, bundle_version=4, authority_epoch=3)
    link = hello(scene, signed(claims(1, (ORG,), authority_epoch=3)), (ORG,))
    assert scene.audited == [("claims_refused", "CLAIMS_INVALID", MALLORY)]
    assert told(scene, link) == []
    scene.accept(trust(next_epoch), scene.attacker)
    session = next(one for one in scene.node.sessions() if one.link == link)
    # A new epoch makes our own list and snapshot those of another epoch: no new authority yet.
    assert scene.node.snapshot(scene.now).mode is Mode.STALE
    assert (session.claims, session.offered is not None) == (None, True)
    assert told(scene, link) == []


OTHER_LIST: Final = revocations(1)
WAYS: dict[str, Callable[[Scene], object]] = {
    "stale": lambda scene: scene.wait(factory.HOUR * 1_000 + 1_000),
    "clock suspect": lambda scene: scene.step_clock(-3_600),
    "disputed": lambda scene: scene.announce(OTHER_LIST, scene.attacker),
}
"""Another list than the one every story begins with, of the same version."""


@pytest.mark.parametrize("degrade", WAYS.values(), ids=WAYS)
def test_claims_never_seen_before_do_not_count_while_the_node_is_degraded(
    degrade: Callable[[Scene], object],
) -> None:
    """Those it knew go on; the attacker's count once the node is fresh, and not before."""
    scene = vault()
    degrade(scene)
    scene.caused.clear()
    link = hello(scene, OLD, (ORG,))
    assert told(scene, link) == []
    assert [one for one in scene.durable if isinstance(one, PutClaimsSeen)] == []
    session = next(one for one in scene.node.sessions() if one.link == link)
    assert session.claims is None
    known = next(one for one in scene.node.sessions() if one.link == scene.bystander)
    assert known.claims is not None
