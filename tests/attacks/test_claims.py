"""Claims and openings made up, borrowed, or kept from better days.

Powers: the attacker is a member of the cluster, n7, with a good certificate and no organisation. It
has the claims and openings of others, its own from when it was in the organisation, and can write
any claims it likes but sign none; where a test says so, a key signed what it has no right to.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from fabgossip.core.effects import Disconnect, Send, ServeContent
from fabgossip.core.events import LinkId
from fabgossip.core.sets import set_id_of
from fabgossip.core.standing import FAILURES_MAX
from fabgossip.model.authority import ClaimItem, NodeClaims, Opening
from fabgossip.model.envelope import PayloadKind
from fabgossip.model.ids import ClusterId, NodeId, PlatformId
from fabgossip.model.messages import (
    Announce,
    Claims,
    GetContent,
    Graft,
    Have,
    Heads,
    Ids,
    Manifests,
    Ping,
    Range,
    RangeMode,
    Ranges,
    Roots,
    Welcome,
)
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import PutClaimsSeen
from fabgossip.wire.statements import claims_bytes
from tests.attacks.powers import ACME, BOTH_ORGS, GLOBEX, ask, in_org, salted
from tests.attacks.scene import TRUST_LANE_ASKED, Scene
from tests.core.artifacts import EVERYBODY, IN_ACME, Artifact, revocations, routes
from tests.core.story import SALT, Peer
from tests.trust import factory as f

SECRET: Final = in_org("acme")
OTHER: Final = in_org("globex")
LISTED: Final = revocations(8)
OURS: Final = replace(f.claims(()), node_id=NodeId("n7"))
"""What the attacker really is entitled to."""
THEN: Final = replace(f.claims((ACME,)), node_id=NodeId("n7"))
"""What it was entitled to."""
REFUSED: Final = ("claims_refused", "CLAIMS_INVALID", "n7")


class Guarded(Scene):
    """A node with something of each of two organisations, and the newest revocation list."""

    def __init__(self) -> None:
        super().__init__(holds=BOTH_ORGS)
        self.publish(SECRET, routes(7), LISTED)
        self.accept(OTHER, self.link(Peer(name="n8", holds=BOTH_ORGS, shows=BOTH_ORGS)))
        self.rest().caused.clear()

    def link_showing(self, claims: bytes, openings: tuple[Opening, ...]) -> LinkId:
        """The attacker links with these claims."""
        link = self.connect("n7")
        self.hear(link, replace(Peer(name="n7").hello(), claims=claims, openings=openings))
        self.carry_out()
        self.hear(link, Welcome(protocol=1, features=0))
        self.carry_out()
        return link


def served(scene: Scene, link: LinkId, artifact: Artifact) -> bool:
    """Whether a request is answered with content."""
    scene.hear(link, GetContent(items=(ask(artifact),)), 2)
    return bool(scene.find(ServeContent))


def heard_of(scene: Scene, link: LinkId) -> set[bytes]:
    """Every envelope a link was shown; of sets it must have been told nothing."""
    found: set[bytes] = set()
    for one in scene.caused:
        if isinstance(one, Send) and one.link == link:
            assert not isinstance(one.message, Have | Roots | Ranges | Ids | Manifests)
            if isinstance(one.message, Announce):
                found |= {entry.envelope for entry in one.message.entries}
            elif isinstance(one.message, Heads):
                found |= set(one.message.envelopes)
    return found


def with_(**fields: object) -> Callable[[], bytes]:
    """The claims of before with other fields, well signed."""
    return lambda: f.signed_claims(replace(THEN, **fields))  # type: ignore[arg-type]  # by name


def relabeled() -> bytes:
    """Another node written into claims whose signature is kept."""
    signed = f.signed_claims(replace(THEN, node_id=NodeId("n3")))
    assert signed.count(b"\xa2n3") == 1
    return signed.replace(b"\xa2n3", b"\xa2n7")


def sealed_by(*signers: f.Signer) -> Callable[[], bytes]:
    return lambda: f.sealed(PayloadKind.NODE_CLAIMS, claims_bytes(THEN), *signers)


FORGED: Final[dict[str, tuple[Callable[[], bytes], tuple[Opening, ...]]]] = {
    "of another node": (with_(node_id=NodeId("n3")), (ACME,)),
    "another node written in": (relabeled, (ACME,)),
    "of another cluster": (with_(cluster_id=ClusterId("test")), (ACME,)),
    "of another platform": (with_(platform_id=PlatformId("other")), (ACME,)),
    "of the epoch before": (with_(authority_epoch=1), (ACME,)),
    "of the epoch after": (with_(authority_epoch=3), (ACME,)),
    "issued in the future": (with_(issued_at=UnixTime(f.NOW + 121)), (ACME,)),
    "expired": (with_(expires_at=f.NOW), (ACME,)),
    "not padded": (with_(commitments=THEN.commitments[:15]), (ACME,)),
    "needs newer trust": (with_(min_trust_version=4), (ACME,)),
    "needs a newer list": (with_(min_revocation_version=9), (ACME,)),
    "signed by a stranger": (sealed_by(f.STRANGER), (ACME,)),
    "signed by the grant key": (sealed_by(f.GRANTER), (ACME,)),
    "signed by the compiler": (sealed_by(f.COMPILER), (ACME,)),
    "signed by a root": (sealed_by(f.ROOTS[0]), (ACME,)),
    "not signed": (sealed_by(), (ACME,)),
    "in an envelope of a grant": (
        lambda: f.sealed(PayloadKind.FETCH_GRANT, claims_bytes(THEN), f.CLAIMER),
        (ACME,),
    ),
    "no envelope": (lambda: b"\xc1", (ACME,)),
    "nothing": (lambda: b"", (ACME,)),
    "an opening of another node": (lambda: f.signed_claims(OURS), (ACME,)),
    "an opening beside a good one": (with_(), (ACME, GLOBEX)),
    "the item with another salt": (with_(), (salted("guessed", ACME.item),)),
    "another item with the salt": (
        with_(),
        (Opening(ACME.salt, ClaimItem(scope="org:globex")),),
    ),
    "a commitment as a salt": (
        with_(),
        (Opening(THEN.commitments[0][:16], ClaimItem(scope="org:acme")),),
    ),
    "an assignment for the item": (
        with_(),
        (Opening(ACME.salt, ClaimItem(assignment=f.ASSIGNMENT)),),
    ),
}


OF_AN_EPOCH = {
    "of the epoch before": "EPOCH_STALE",
    "of the epoch after": "EPOCH_UNKNOWN",
}


@pytest.mark.parametrize("name", FORGED)
def test_forgery(name: str) -> None:
    """Who shows it keeps the trust lane and nothing more: no list, no announcement, no content but
    the revocations; nothing it showed becomes durable."""
    scene, (make, openings) = Guarded(), FORGED[name]
    before = scene.state
    link = scene.link_showing(make(), openings)
    scene.rest()
    assert scene.audited == [(REFUSED[0], OF_AN_EPOCH.get(name, REFUSED[1]), *REFUSED[2:])]
    assert (scene.state, scene.codes, scene.durable, scene.switched) == (before, [], [], [])
    assert scene.requests == [TRUST_LANE_ASKED]
    scene.hear(link, Graft(audience=IN_ACME, prefixes=(SECRET.prefix,)))
    for audience in (IN_ACME, EVERYBODY):
        nothing = (Range(upper=None, mode=RangeMode.IDS),)
        set_id = set_id_of(audience)
        scene.hear(link, Ranges(set_id=set_id, salt=SALT, step=0, more=False, ranges=nothing))
    scene.hear(link, Ping(sequence=1, salt=SALT, link_root=b"another!"))
    kept = (SECRET, OTHER, routes(7))
    assert [served(scene, link, one) for one in (*kept, LISTED)] == [False] * len(kept) + [True]
    shown = {one.envelope for one in kept}
    assert not heard_of(scene, link) & shown
    assert (scene.state, scene.durable) == (before, [])


def test_what_is_not_forged_opens_the_organisation() -> None:
    """The way by which the others were refused is open."""
    scene = Guarded()
    link = scene.link_showing(f.signed_claims(THEN), (ACME,))
    assert scene.audited == [("claims_accepted", "", "n7")]
    assert scene.durable == [PutClaimsSeen(node_id=NodeId("n7"), epoch=2, version=1)]
    assert [served(scene, link, one) for one in (SECRET, routes(7), OTHER)] == [True, True, False]


def newer() -> NodeClaims:
    """What the attacker was given when it left the organisation."""
    return replace(OURS, claims_version=2)


@pytest.mark.parametrize("is_restarted", [False, True], ids=["still running", "restarted"])
def test_claims_of_before_are_refused_once_newer_ones_were_seen(
    tmp_path: Path,
    is_restarted: bool,  # noqa: FBT001  # given by name
) -> None:
    """On another link, in another process, well signed and unexpired as they are."""
    guarded = Guarded()
    guarded.link_showing(f.signed_claims(newer()), ())
    assert guarded.durable == [PutClaimsSeen(node_id=NodeId("n7"), epoch=2, version=2)]
    scene = guarded.restarted(tmp_path / "again") if is_restarted else guarded
    scene.rest().caused.clear()
    before = scene.state
    link = scene.connect("n7")
    hello = replace(Peer(name="n7", boot="second").hello(), claims=f.signed_claims(THEN))
    scene.hear(link, replace(hello, openings=(ACME,)))
    scene.hear(link, Welcome(protocol=1, features=0))
    scene.rest()
    assert scene.audited == [REFUSED]
    assert not served(scene, link, SECRET)
    assert SECRET.envelope not in heard_of(scene, link)
    assert (scene.state, scene.durable) == (before, [])


def test_a_forged_opening_on_an_open_link_adds_nothing_to_what_it_showed() -> None:
    """The claims stand, as they are signed; the forgery is recorded, and counts as a failure."""
    scene = Guarded()
    link = scene.link_showing(f.signed_claims(THEN), (ACME,))
    scene.rest().caused.clear()
    before = scene.state
    scene.hear(link, Claims(openings=(GLOBEX,)))
    assert scene.audited == [REFUSED]
    (session,) = [one for one in scene.node.view.sessions() if one.link == link]
    assert session.openings == (ACME,)
    assert not served(scene, link, OTHER)
    assert served(scene, link, SECRET)
    assert (scene.state, scene.durable, scene.requests) == (before, [], [])
    assert scene.onward == []


def badly_signed(number: int) -> bytes:
    """Claims with a signature of the claims key that is none, each time another."""
    signed = bytearray(f.signed_claims(newer()))
    signed[-1] ^= 1 + number
    return bytes(signed)


NEWER: Final[dict[str, tuple[Callable[[int], bytes], tuple[Opening, ...], bool]]] = {
    "badly signed": (badly_signed, (), True),
    "no envelope": (lambda _: b"\xc1", (), True),
    "of another node": (
        lambda _: f.signed_claims(replace(newer(), node_id=NodeId("n3"))),
        (),
        True,
    ),
    "an opening without a commitment": (lambda _: f.signed_claims(newer()), (GLOBEX,), True),
    "of the epoch after": (
        lambda _: f.signed_claims(replace(newer(), authority_epoch=3)),
        (),
        False,
    ),
    "which need newer trust": (
        lambda _: f.signed_claims(replace(newer(), min_trust_version=4)),
        (),
        False,
    ),
    "signed by a key of newer trust": (
        lambda _: f.signed_claims(newer(), f.STRANGER),
        (),
        False,
    ),
}


@pytest.mark.parametrize("name", NEWER)
def test_who_shows_newer_claims_that_no_honest_node_has_is_cut_off(name: str) -> None:
    """Also who never had good ones, over a link that stays; who is ahead of this node is not."""
    scene, (make, openings, is_fault) = Guarded(), NEWER[name]
    link = scene.link_showing(b"\xc1", ())
    for number in range(FAILURES_MAX):
        assert scene.find(Disconnect) == []
        scene.hear(link, Claims(claims=make(number), openings=openings))
    assert [one.link for one in scene.find(Disconnect)] == [link] * is_fault
    assert (("session_cut", "failures", "n7") in scene.audited) is is_fault


def test_forged_newer_claims_on_an_open_link_cost_what_it_had() -> None:
    """It is told nothing of the organisation any more, not even what comes later."""
    scene = Guarded()
    link = scene.link_showing(f.signed_claims(THEN), (ACME,))
    assert served(scene, link, SECRET)
    scene.rest().caused.clear()
    before = scene.state
    forged = f.signed_claims(replace(THEN, claims_version=2), f.STRANGER)
    scene.hear(link, Claims(openings=(ACME, GLOBEX), claims=forged))
    assert not served(scene, link, SECRET)
    assert scene.audited == [REFUSED, ("fetch_denied", "cluster_membership", "n7")]
    assert (scene.state, scene.durable, scene.requests) == (before, [], [])
    later = in_org("acme", version=8, content=b"later")
    scene.announce(later, scene.bystander)
    scene.carry_out(later)
    scene.rest()
    assert scene.trusted["org/acme/routes/r1"] == (later.manifest.order, "current")
    assert heard_of(scene, link) == set()
