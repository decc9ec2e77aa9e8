"""Grants used otherwise than they were meant.

Powers: the attacker is a member of the cluster, n7, outside the service whose bundle it wants. It
has one good grant for that, copies of the grants of others, and can write any grant it likes but
sign none; where a test says so, the grant key itself signed a wrong one. It asks as often and as
late as it likes, and may crash the node that serves, or step its clock.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from fabgossip.core.effects import (
    Answer,
    Disconnect,
    Outcome,
    Persist,
    ReceiveGranted,
    Send,
    ServeContent,
)
from fabgossip.core.events import (
    AnswersDue,
    Event,
    FetchFailure,
    GrantedReceived,
    GrantedRequest,
    LinkId,
    MessageReceived,
    PeerConnected,
    Persisted,
    RequestId,
    RequestMade,
    Started,
)
from fabgossip.core.standing import FAILURES_MAX
from fabgossip.model.artifact import ArtifactType, Tombstone
from fabgossip.model.authority import FetchGrant, KeyStatus, Narrowing, RevokedKind
from fabgossip.model.envelope import PayloadKind
from fabgossip.model.ids import NOTHING_HASH, ClusterId, ManifestHash, NodeId, PlatformId
from fabgossip.model.messages import GetContent, NotAvailable, Welcome
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import PutGrantUse
from fabgossip.model.scope import parse_scope_id
from fabgossip.trust.revocation import grant_token, node_token
from fabgossip.wire.statements import grant_bytes
from tests.attacks.powers import ask, frames, revokes
from tests.attacks.scene import ATTACKER, Scene, TrustState
from tests.core.artifacts import Artifact, artifact, revocations, trust
from tests.core.story import NOTHING_STORED, Peer, identity
from tests.trust import factory as f

MEMBER: Final = Peer(name="n7", holds=(), shows=())
DNS: Final = parse_scope_id("service:dns")
SERVICE: Final = artifact(ArtifactType.SERVICE_ASSIGNMENT_BUNDLE, content=b"dns")
OTHER_TYPE: Final = artifact(
    ArtifactType.QOS_POLICY_BUNDLE,
    audience=f.audience("cluster:prod", "service:dns"),
    content=b"qos of dns",
)
IN_ACME: Final = artifact(
    ArtifactType.SERVICE_ASSIGNMENT_BUNDLE, "org/acme/services/dns", content=b"dns of acme"
)
GOOD: Final = replace(
    f.grant(),
    node_id=NodeId("n7"),
    certificate_hash=identity("n7").certificate_hash,
    types=(ArtifactType.SERVICE_ASSIGNMENT_BUNDLE,),
    scope_ids=(DNS,),
    max_uses=2,
)
DENIED: Final = ("fetch_denied", "artifact_scope", "n7")
INVALID: Final = ("fetch_denied", "GRANT_INVALID", "n7")
USED: Final = ("grant_used", "", "n7")


class Server(Scene):
    """A node of the service, and the attacker's link to it."""

    def __init__(self) -> None:
        super().__init__()
        self.publish(SERVICE, OTHER_TYPE, IN_ACME)
        self.member = self.link(MEMBER)
        self.rest().caused.clear()


def asked(
    scene: Scene,
    link: LinkId,
    grant: bytes,
    wanted: Artifact = SERVICE,
    narrowing: Narrowing | None = None,
) -> bool:
    """Whether a request with a grant is served, once the disk has done what is asked of it."""
    message = GetContent(items=(ask(wanted),), grant=grant, narrowing=narrowing)
    scene.hear(link, message, stream=3)
    if scene.find(Persist):
        assert scene.find(ServeContent) == []
        scene.persisted()
    return bool(scene.find(ServeContent))


def uses(scene: Scene) -> list[int]:
    """The uses made durable, in order."""
    return [one.uses for one in scene.durable if isinstance(one, PutGrantUse)]


def with_(**fields: object) -> Callable[[], bytes]:
    """The good grant with other fields, well signed."""
    return lambda: f.signed_grant(replace(GOOD, **fields))  # type: ignore[arg-type]  # by name


def relabeled() -> bytes:
    """Another holder written into a grant whose signature is kept."""
    signed = f.signed_grant(replace(GOOD, node_id=NodeId("n8")))
    assert signed.count(b"\xa2n8") == 1
    return signed.replace(b"\xa2n8", b"\xa2n7")


MISUSED: Final[dict[str, Callable[[], bytes]]] = {
    "stolen from another node": with_(node_id=NodeId("n8")),
    "of another certificate of the node": with_(certificate_hash=bytes(32)),
    "another holder written in": relabeled,
    "signed by a stranger": lambda: f.signed_grant(GOOD, f.STRANGER),
    "signed by the claims key": lambda: f.signed_grant(GOOD, f.CLAIMER),
    "signed by a root": lambda: f.signed_grant(GOOD, f.ROOTS[0]),
    "not signed": lambda: f.sealed(PayloadKind.FETCH_GRANT, grant_bytes(GOOD)),
    "in an envelope of claims": lambda: f.sealed(
        PayloadKind.NODE_CLAIMS, grant_bytes(GOOD), f.GRANTER
    ),
    "no envelope": lambda: b"\xc1",
    "widened to an organisation": with_(scope_ids=(parse_scope_id("org:acme"), DNS)),
    "widened to the cluster": with_(scope_ids=(parse_scope_id("cluster:prod"), DNS)),
    "of another cluster": with_(cluster_id=ClusterId("test")),
    "of another platform": with_(platform_id=PlatformId("other")),
    "of the epoch before": with_(authority_epoch=1),
    "of the epoch after": with_(authority_epoch=3),
    "not valid yet": with_(not_before=UnixTime(f.NOW + 1)),
    "late by a second": with_(expires_at=f.NOW),
    "longer than a grant lives": with_(expires_at=UnixTime(f.NOW - 60 + 601)),
    "of no use": with_(max_uses=0),
    "needs newer trust": with_(min_trust_version=4),
    "needs a newer list": with_(min_revocation_version=2),
}


@pytest.mark.parametrize("name", MISUSED)
def test_misuse(name: str) -> None:
    """Answered as if there were no grant, byte for byte; no use is counted, and it is recorded."""
    answers = []
    for grant in (b"", MISUSED[name]()):
        scene = Server()
        before = scene.state
        assert not asked(scene, scene.member, grant)
        scene.due(AnswersDue)
        answers.append(frames(scene, scene.member))
        scene.leaves(before, audited=[INVALID, DENIED] if grant else [DENIED])
    assert len(answers[0]) == 1
    assert answers[0] == answers[1]


def forged() -> bytes:
    """The good grant with a signature of its key that is none."""
    signed = bytearray(f.signed_grant(GOOD))
    signed[-1] ^= 1
    return bytes(signed)


FAULTS: Final = {
    "stolen from another node",
    "of another certificate of the node",
    "another holder written in",
    "not signed",
    "in an envelope of claims",
    "no envelope",
    "forged",
}
"""What no honest node brings, whatever it knows that this one does not."""


@pytest.mark.parametrize("name", [*MISUSED, "forged"])
def test_who_brings_what_no_honest_node_has_is_cut_off_as_for_any_refused_envelope(
    name: str,
) -> None:
    """Each costs a verification. Who is late, early, or ahead of this node is only not served."""
    scene, make = Server(), MISUSED.get(name, forged)
    for _ in range(FAILURES_MAX - 1):
        assert not asked(scene, scene.member, make())
    assert scene.find(Disconnect) == []
    assert not asked(scene, scene.member, make())
    cut = [one for one in scene.audited if one[0] == "session_cut"]
    assert cut == ([("session_cut", "failures", "n7")] if name in FAULTS else [])
    assert [one.link for one in scene.find(Disconnect)] == [scene.member] * len(cut)


@pytest.mark.parametrize("what", ["used up", "revoked"])
def test_who_brings_a_grant_that_was_good_is_not_cut_off(what: str) -> None:
    scene, grant = Server(), f.signed_grant(GOOD)
    if what == "revoked":
        taken = TAKEN["the grant"]
        scene.announce(taken, scene.bystander)
        scene.carry_out(taken)
    served = [asked(scene, scene.member, grant) for _ in range(2 * FAILURES_MAX)]
    assert not any(served[GOOD.max_uses :])
    assert scene.audited.count(INVALID) >= 2 * FAILURES_MAX - GOOD.max_uses
    assert "session_cut" not in {event for event, _, _ in scene.audited}


def test_the_grant_itself_is_good_for_what_it_names() -> None:
    """The way by which the others were refused is open, for one request each."""
    scene = Server()
    before = scene.state
    grant = f.signed_grant(GOOD)
    assert asked(scene, scene.member, grant)
    assert not asked(scene, scene.member, b"")
    assert scene.audited == [USED, DENIED]
    assert uses(scene) == [1]
    assert (scene.state, scene.requests, scene.onward) == (before, [], [])


WIDENED: Final[dict[str, tuple[FetchGrant, Artifact, Narrowing | None, str]]] = {
    "another type": (GOOD, OTHER_TYPE, None, "artifact_type"),
    "an organisation": (GOOD, IN_ACME, None, "artifact_scope"),
    "another manifest": (
        replace(GOOD, manifest_hashes=(ManifestHash(bytes(32)),)),
        SERVICE,
        None,
        "artifact_scope",
    ),
    "more than it asked to use": (
        GOOD,
        SERVICE,
        Narrowing(scope_ids=(parse_scope_id("cluster:prod"),)),
        "artifact_scope",
    ),
}


@pytest.mark.parametrize("name", WIDENED)
def test_a_grant_opens_nothing_beside_what_it_names(name: str) -> None:
    """The use is spent all the same, or asking would be free."""
    grant, wanted, narrowing, check = WIDENED[name]
    scene = Server()
    before = scene.state
    assert not asked(scene, scene.member, f.signed_grant(grant), wanted, narrowing)
    assert uses(scene) == [1]
    assert scene.audited == [USED, ("fetch_denied", check, "n7")]
    assert (scene.state, scene.codes, scene.requests) == (before, [], [])
    assert scene.onward == []


def test_a_grant_of_this_node_is_refused_behind_its_next_certificate() -> None:
    scene = Server()
    before = scene.state
    renewed = replace(identity("n7"), certificate_hash=bytes(32))
    link = LinkId(100)
    scene.when(PeerConnected(link=link, identity=renewed, is_dialer=True))
    scene.hear(link, replace(MEMBER, boot="second").hello())
    scene.hear(link, Welcome(protocol=1, features=0))
    scene.caused.clear()
    assert not asked(scene, link, f.signed_grant(GOOD))
    scene.leaves(before, audited=[INVALID, DENIED])


def test_replayed_it_is_served_as_often_as_it_says_and_not_after_a_restart(tmp_path: Path) -> None:
    """A use that did not reach the disk was not served. One that did is spent for ever, and the
    others with it once the node starts again: what its own clock counted since the first use is
    lost, and the wall clock may say anything."""
    scene, grant = Server(), f.signed_grant(GOOD)
    assert [asked(scene, scene.member, grant) for _ in range(3)] == [True, True, False]
    assert uses(scene) == [1, 2]
    assert scene.audited == [USED, USED, INVALID, DENIED]

    for name, commits, left in (("whole", None, 0), ("the last is lost", -1, 0), ("both", -2, 2)):
        again = scene.restarted(tmp_path / name, commits)
        link = again.link(MEMBER)
        again.rest().caused.clear()
        before = again.state
        served = [asked(again, link, grant) for _ in range(2)]
        assert served == [True] * left + [False] * (2 - left)
        assert again.audited == [USED] * left + [INVALID, DENIED] * (2 - left)
        assert uses(again) == [1, 2][:left]
        assert (again.state, again.requests, again.onward) == (before, [], [])


def test_a_use_the_disk_refused_serves_nothing() -> None:
    scene = Server()
    before = scene.state
    message = GetContent(items=(ask(SERVICE),), grant=f.signed_grant(GOOD))
    scene.hear(scene.member, message, stream=3).persisted(ok=False)
    assert scene.find(ServeContent) == []
    assert scene.audited == [("storage_failed", "persist", ""), DENIED]
    assert (scene.state, scene.requests, scene.onward) == (before, [], [])


@pytest.mark.parametrize(
    ("waits_ms", "steps_s"),
    [(300_000, 0), (301_000, -20), (301_000, -600)],
    ids=["ended", "stepped back unnoticed", "stepped back far"],
)
def test_late_it_is_refused_whatever_the_wall_clock_says(waits_ms: int, steps_s: int) -> None:
    scene, grant = Server(), f.signed_grant(GOOD)
    assert asked(scene, scene.member, grant)
    scene.wait(waits_ms).step_clock(steps_s)
    scene.rest().caused.clear()
    before = scene.state
    assert not asked(scene, scene.member, grant)
    scene.leaves(before, audited=[INVALID, DENIED])


OLD_KEY: Final = replace(
    f.NEXT_BUNDLE,
    keys=tuple(
        replace(one, status=KeyStatus.REVOKED) if one.key_id == f.GRANTER.key_id else one
        for one in f.BUNDLE.keys
    ),
)
TAKEN: Final[dict[str, Artifact]] = {
    "the grant": revocations(8, revokes(RevokedKind.GRANT, grant_token(GOOD.grant_id))),
    "its key": revocations(8, revokes(RevokedKind.SIGNING_KEY, f.GRANTER.key_id)),
    "its key in the bundle": trust(OLD_KEY),
}


@pytest.mark.parametrize("is_waiting", [True, False], ids=["while its use is written", "before"])
@pytest.mark.parametrize("name", TAKEN)
def test_revoked_it_is_refused_at_once(
    name: str,
    is_waiting: bool,  # noqa: FBT001  # given by name
) -> None:
    """Also where the node had found it good and waited for its disk."""
    scene, taken = Server(), TAKEN[name]
    message = GetContent(items=(ask(SERVICE),), grant=f.signed_grant(GOOD))
    event: Event = MessageReceived(link=scene.member, stream=3, message=message)
    if is_waiting:
        scene.when(event)
        event = Persisted(token=scene.only(Persist).token, ok=True)
    scene.announce(taken, scene.bystander)
    scene.carry_out(taken).rest().caused.clear()
    before = scene.state
    scene.when(event)
    assert scene.find(ServeContent) == []
    scene.leaves(before, audited=[INVALID, DENIED])


def test_a_slow_disk_makes_no_grant_last_longer() -> None:
    scene = Server()
    message = GetContent(items=(ask(SERVICE),), grant=f.signed_grant(GOOD))
    scene.hear(scene.member, message, stream=3)
    written = Persisted(token=scene.only(Persist).token, ok=True)
    scene.wait(300_000)
    scene.rest().caused.clear()
    before = scene.state
    scene.when(written)
    assert scene.find(ServeContent) == []
    scene.leaves(before, audited=[INVALID, DENIED])


# The node that was given a grant.

MINE: Final = replace(GOOD, node_id=f.NODE, certificate_hash=identity("n1").certificate_hash)
REQUEST: Final = RequestId(1)
REFUSED: Final = ("grant_refused", "GRANT_INVALID")


class Holder(Scene):
    """A node outside the service, whose only peers are the attacker and a bystander, both of the
    service; an operator gives it a grant."""

    def __init__(self, *, started: Started = NOTHING_STORED, is_fresh: bool = True) -> None:
        super().__init__(started=started, is_fresh=is_fresh, holds=())
        self.rest().caused.clear()

    def use(self, grant: bytes, envelope: bytes = SERVICE.envelope) -> "Holder":
        body = GrantedRequest(grant=grant, envelope=envelope, timeout_ms=600_000)
        self.when(RequestMade(request=REQUEST, body=body))
        return self

    def receives(self, failure: FetchFailure | None = None) -> "Holder":
        size = 0 if failure is not None else SERVICE.manifest.content_size
        link = [one for one in self.caused if isinstance(one, ReceiveGranted)][-1].link
        self.when(GrantedReceived(request=REQUEST, link=link, failure=failure, received=size))
        return self

    @property
    def answers(self) -> list[tuple[Outcome, str]]:
        return [(one.outcome, one.code) for one in self.caused if isinstance(one, Answer)]

    @property
    def asked(self) -> int:
        return sum(isinstance(one, ReceiveGranted) for one in self.caused)

    def refuses_it(self, before: TrustState, code: str = "GRANT_INVALID") -> None:
        """The operator hears why, the audit log too, and nobody else anything."""
        assert (self.answers, self.asked) == ([(Outcome.REFUSED, code)], 0)
        (answer,) = (one for one in self.caused if isinstance(one, Answer))
        assert "; next: " in answer.detail
        audited = [one for one in self.audited if one[0] != "mode_changed"]
        assert [one[:2] for one in audited] == [("grant_refused", code)]
        assert (self.state, self.durable, self.switched) == (before, [], [])
        assert (self.requests, self.onward) == ([], [])


def mine(**fields: object) -> Callable[[], bytes]:
    """The good grant of this node with other fields, well signed."""
    return lambda: f.signed_grant(replace(MINE, **fields))  # type: ignore[arg-type]  # by name


NOT_MINE: Final[dict[str, Callable[[], bytes]]] = {
    "of another node": lambda: f.signed_grant(GOOD),
    "of another certificate of this node": mine(certificate_hash=bytes(32)),
    "signed by a stranger": lambda: f.signed_grant(MINE, f.STRANGER),
    "signed by the claims key": lambda: f.signed_grant(MINE, f.CLAIMER),
    "not signed": lambda: f.sealed(PayloadKind.FETCH_GRANT, grant_bytes(MINE)),
    "no envelope": lambda: b"\xc1",
    "of another cluster": mine(cluster_id=ClusterId("test")),
    "of the epoch before": mine(authority_epoch=1),
    "not valid yet": mine(not_before=UnixTime(f.NOW + 1)),
    "late by a second": mine(expires_at=f.NOW),
    "needs newer trust": mine(min_trust_version=4),
    "needs a newer list": mine(min_revocation_version=2),
    "of another type": mine(types=(ArtifactType.QOS_POLICY_BUNDLE,)),
    "of another manifest": mine(manifest_hashes=(ManifestHash(bytes(32)),)),
}


@pytest.mark.parametrize("name", NOT_MINE)
def test_a_bad_grant_is_refused_where_it_arrives(name: str) -> None:
    """Before any peer is shown it."""
    holder = Holder()
    before = holder.state
    holder.use(NOT_MINE[name]()).refuses_it(before)


FORGED: Final = replace(SERVICE.manifest, content_hash=f.hash_of(b"forged"), content_size=6)
NOT_NAMED: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "of an organisation": (lambda: IN_ACME.envelope, "AUDIENCE_NOT_OURS"),
    "of another service": (
        lambda: (
            artifact(
                ArtifactType.SERVICE_ASSIGNMENT_BUNDLE, "services/web", content=b"web"
            ).envelope
        ),
        "AUDIENCE_NOT_OURS",
    ),
    "signed by a stranger": (lambda: f.signed(FORGED, f.STRANGER), "KEY_UNKNOWN"),
    "signed by the grant key": (lambda: f.signed(FORGED, f.GRANTER), "KEY_NOT_FOR_TYPE"),
    "expired": (
        lambda: f.signed(replace(SERVICE.manifest, refresh_by=f.NOW, expires_at=f.NOW)),
        "EXPIRED",
    ),
    "of the epoch before": (
        lambda: f.signed(replace(SERVICE.manifest, authority_epoch=1)),
        "EPOCH_STALE",
    ),
    "for newer trust": (
        lambda: f.signed(replace(SERVICE.manifest, min_trust_version=4)),
        "TRUST_TOO_OLD",
    ),
    "a withdrawal": (
        lambda: f.signed(
            replace(
                SERVICE.manifest,
                content_hash=NOTHING_HASH,
                content_size=0,
                tombstone=Tombstone(reason="gone", purge=False),
            )
        ),
        "GRANT_INVALID",
    ),
    "no envelope": (lambda: b"\xc1", "MALFORMED"),
}


@pytest.mark.parametrize("name", NOT_NAMED)
def test_a_good_grant_fetches_no_artifact_but_a_good_one_it_names(name: str) -> None:
    holder = Holder()
    before = holder.state
    envelope, code = NOT_NAMED[name]
    holder.use(f.signed_grant(MINE), envelope()).refuses_it(before, code)


def amnesic() -> Holder:
    return Holder(is_fresh=False)


def stale() -> Holder:
    """Its list and its snapshot ran out; the grant is of that very minute."""
    holder = Holder()
    holder.wait((f.HOUR + 1) * 1_000)
    return holder


def partitioned() -> Holder:
    holder = Holder()
    holder.wait(15 * 60 * 1_000)
    return holder


def stepped() -> Holder:
    holder = Holder()
    holder.step_clock(31)
    return holder


def revoked() -> Holder:
    holder = Holder()
    token = node_token(f.CLUSTER, f.NODE)
    holder.announce(revocations(8, revokes(RevokedKind.NODE, token)), holder.attacker)
    holder.carry_out(revocations(8, revokes(RevokedKind.NODE, token)))
    return holder


@pytest.mark.parametrize("make", [amnesic, stale, partitioned, stepped, revoked])
def test_a_node_that_may_take_up_no_authority_takes_up_no_grant(
    make: Callable[[], Holder],
) -> None:
    """Whoever signed it, just now: an outage grants nothing."""
    holder = make()
    holder.rest().caused.clear()
    now = holder.now.unix
    before = holder.state
    fresh = replace(MINE, not_before=now, expires_at=UnixTime(now + 60))
    holder.use(f.signed_grant(fresh)).refuses_it(before)


@pytest.mark.parametrize("name", TAKEN)
def test_a_grant_taken_back_stops_what_is_under_way_and_gives_out_nothing(name: str) -> None:
    holder, taken = Holder(), TAKEN[name]
    holder.use(f.signed_grant(MINE))
    assert holder.asked == 1
    holder.announce(taken, holder.bystander)
    holder.carry_out(taken)
    assert holder.answers == [(Outcome.REFUSED, "GRANT_INVALID")]
    assert REFUSED in [one[:2] for one in holder.audited]
    holder.receives()
    assert holder.answers == [(Outcome.REFUSED, "GRANT_INVALID")]


@pytest.mark.parametrize("steps_s", [0, -20, -600], ids=["ended", "stepped back", "far"])
def test_a_grant_ends_with_its_time_whatever_the_wall_clock_says(steps_s: int) -> None:
    """Also one whose content is on its way, and one that is shown again from the same file."""
    holder = Holder()
    holder.use(f.signed_grant(MINE))
    holder.wait(301_000).step_clock(steps_s)
    holder.receives()
    assert holder.answers == [(Outcome.REFUSED, "GRANT_INVALID")]
    holder.caused.clear()
    before = holder.state
    holder.use(f.signed_grant(MINE)).refuses_it(before)


def test_what_a_grant_brought_is_nobodys_but_the_operators(tmp_path: Path) -> None:
    """Not the node's, after a restart either; not a neighbor's, whatever grant that has."""
    holder = Holder()
    before = holder.state
    holder.use(f.signed_grant(MINE)).receives()
    assert holder.answers == [(Outcome.DELIVERED, "")]
    assert holder.audited == [("grant_accepted", "", ""), ("grant_fetched", "", ATTACKER)]
    assert (holder.state, holder.durable, holder.switched) == (before, [], [])
    holder.rest()
    holder.link("n9")
    assert not holder.told(SERVICE)
    assert not holder.says_it_holds(SERVICE)
    member = holder.link(MEMBER)
    assert not asked(holder, member, f.signed_grant(GOOD))
    holder.due(AnswersDue)
    assert [one for one in holder.find(Send) if isinstance(one.message, NotAvailable)]

    again = holder.restarted(tmp_path)
    assert again.find(ReceiveGranted) == []
    assert again.node.view.granted(SERVICE.content_hash) == ()
    assert SERVICE.tail not in again.state.heads


def test_of_two_peers_the_liar_is_named_and_the_honest_one_is_believed() -> None:
    holder = Holder()
    before = holder.state
    holder.use(f.signed_grant(MINE)).receives(FetchFailure.BAD_HASH).receives()
    assert holder.answers == [(Outcome.DELIVERED, "")]
    assert [one for one in holder.audited if one[0] == "artifact_rejected"] == [
        ("artifact_rejected", "HASH_MISMATCH", ATTACKER)
    ]
    assert (holder.state, holder.durable) == (before, [])
