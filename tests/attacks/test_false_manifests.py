"""A manifest that names what another key signed, and says something else about it.

Powers: the attacker stole one signing key that may sign routes, and no other. It signs a manifest
that names the content hash of a revocation list, a bundle, or what a better key signed, with a
size, or chunks, of its own choice, or the right ones. It is a member, says it has everything, and
brings nothing; only this node may have heard of its manifest. The other peers are honest.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from fabgossip.core.effects import Answer, Outcome, Persist, ReceiveContent, ServeContent
from fabgossip.core.events import (
    ContentFailed,
    FetchFailure,
    FetchRequest,
    LinkId,
    Persisted,
    RefreshDue,
    RequestId,
    RequestMade,
)
from fabgossip.core.wants import WantState
from fabgossip.model.artifact import ArtifactType, Manifest, chunk_size_of
from fabgossip.model.authority import KeyStatus, RevokedKind
from fabgossip.model.ids import ContentHash
from fabgossip.model.messages import GetContent, TrafficClass
from tests.attacks.powers import ask, revokes
from tests.attacks.scene import Scene
from tests.core.artifacts import (
    Artifact,
    artifact,
    node_snapshot,
    revocations,
    routes,
    tombstone,
    trust,
)
from tests.trust import factory as f

LIST: Final = revocations(9, revokes(RevokedKind.SIGNING_KEY, f.POLICY.key_id))
BUNDLE: Final = trust(
    replace(
        f.BUNDLE,
        bundle_version=4,
        keys=tuple(
            replace(key, status=KeyStatus.REVOKED) if key.key_id == f.POLICY.key_id else key
            for key in f.BUNDLE.keys
        ),
    )
)
SERVICE: Final = artifact(
    ArtifactType.SERVICE_ASSIGNMENT_BUNDLE, content=b"what the compiler signed"
)
CONTENTS: Final = {"a revocation list": LIST, "a bundle": BUNDLE, "a service": SERVICE}


def names(victim: Artifact, size: int, name: str = "evil") -> Artifact:
    """The thief's word about somebody else's content."""
    statement = replace(
        f.manifest(ArtifactType.ROUTE_POLICY_BUNDLE, f"routes/{name}"),
        content_hash=victim.content_hash,
        content_size=size,
    )
    return Artifact(statement, f.signed(statement), b"")


def persist(scene: Scene) -> None:
    """The disk works, whatever it leads to."""
    tokens = [one.token for one in scene.find(Persist)]
    effects = list(scene.effects)
    for token in tokens:
        scene.when(Persisted(token=token, ok=True))
        effects += scene.effects
    scene.effects = effects


def plays_on(scene: Scene, victim: Artifact, honest: tuple[LinkId, ...]) -> list[ReceiveContent]:
    """All that is asked of peers until somebody brings the content. The honest ones have it under
    its own manifest and answer any other like what they never heard of; the attacker brings
    nothing."""
    asked: list[ReceiveContent] = []
    waiting = scene.find(ReceiveContent)
    while waiting:
        one = waiting.pop(0)
        asked.append(one)
        if one.link in honest and one.wanted == victim.wanted:
            scene.stored(victim, one.link)
            return asked
        reason = FetchFailure.MISSING if one.link in honest else FetchFailure.STALLED
        failed = ContentFailed(
            wanted=one.wanted, link=one.link, request=None, reason=reason, received=0
        )
        waiting += scene.when(failed).find(ReceiveContent)
    return asked


@pytest.mark.parametrize("is_first", [True, False], ids=["false one first", "true one first"])
@pytest.mark.parametrize("says", [-1, 0, 1], ids=["too short", "the right size", "too long"])
@pytest.mark.parametrize("victim", CONTENTS.values(), ids=CONTENTS)
def test_keeps_nobody_from_the_content(victim: Artifact, says: int, is_first: bool) -> None:  # noqa: FBT001  # a case
    """An honest source is asked with the manifest it has, at the first try it gets; nobody is
    blamed; and what the attacker is asked is asked for the attacker's own want alone."""
    scene = Scene()
    evil = names(victim, victim.manifest.content_size + says)
    told = [(evil, scene.attacker), (victim, scene.bystander)]
    effects = []
    for one, link in told if is_first else reversed(told):
        scene.announce(one, link)
        persist(scene)
        effects += scene.effects
    scene.effects = effects
    asked = plays_on(scene, victim, (scene.bystander,))
    mine = [one for one in asked if one.wanted == victim.wanted]
    assert [one.link for one in mine] == [scene.bystander]
    # What was kept from this node is what takes the thief's key away.
    assert scene.codes == ([] if victim is SERVICE else ["KEY_REVOKED"])
    assert "peer" not in scene.blamed
    assert scene.state.heads[victim.tail].state in ("current", "applying")
    ended = scene.node.view.want_of(victim.verified)
    assert ended is not None
    assert ended.state is WantState.SATISFIED
    traffic = {one.traffic for one in mine}
    assert traffic == {TrafficClass.POLICY if victim is SERVICE else TrafficClass.TRUST}


def test_what_bars_a_source_for_the_thiefs_word_bars_it_for_nothing_else() -> None:
    """Even one that answers the false manifest with true bytes, which are too long for it."""
    scene = Scene()
    evil = names(LIST, 7)
    scene.announce(evil, scene.bystander)
    persist(scene)
    one = scene.only(ReceiveContent)
    failed = ContentFailed(
        wanted=one.wanted, link=one.link, request=None, reason=FetchFailure.BAD_LENGTH, received=0
    )
    scene.when(failed)
    scene.announce(LIST, scene.bystander)
    persist(scene)
    assert scene.only(ReceiveContent).link == scene.bystander
    assert scene.only(ReceiveContent).wanted == LIST.wanted


@pytest.mark.parametrize("is_first", [True, False], ids=["false one first", "true one first"])
def test_true_bytes_are_not_the_content_of_a_false_manifest(is_first: bool, tmp_path: Path) -> None:  # noqa: FBT001  # a case
    """Neither applied nor told as held, and not after a restart: the disk knows how long what it
    holds is. Whoever asks under it is told that there is nothing, so an honest node is never
    caught sending other bytes than were signed."""
    scene = Scene()
    evil = names(SERVICE, SERVICE.manifest.content_size + 1)
    if is_first:
        scene.announce(evil, scene.attacker)
        persist(scene)
    scene.offer(SERVICE).rest()
    if is_first:
        want = scene.node.view.want_of(evil.verified)
        assert want is not None
        assert want.state is WantState.REFUSED
    else:
        scene.announce(evil, scene.attacker)
        persist(scene)
    scene.rest()
    again = scene.restarted(tmp_path)
    for one in (scene, again):
        assert one.state.heads[evil.tail].state == "behind"
        assert one.state.heads[SERVICE.tail].state == "current"
        assert not one.says_it_holds(evil)
        one.hear(one.bystander, GetContent(items=(ask(evil), ask(SERVICE))), 1)
        (served,) = one.only(ServeContent).items
        assert served.item == 1
    assert evil.tail not in {tail for tail, _ in (*scene.switched, *again.at_start.switched)}


def test_a_request_by_hash_is_answered_whoever_lies_about_it() -> None:
    """Which of two sizes is true nobody knows before the content is here."""
    scene = Scene()
    evil = names(SERVICE, SERVICE.manifest.content_size + 1, name="a")
    for one, link in ((evil, scene.attacker), (SERVICE, scene.bystander)):
        scene.announce(one, link)
        persist(scene)
    body = FetchRequest(content_hash=SERVICE.content_hash, namespace=None, timeout_ms=1_000)
    scene.when(RequestMade(request=RequestId(1), body=body))
    assert scene.find(Answer) == []
    scene.stored(SERVICE, scene.bystander)
    answer = scene.only(Answer)
    assert (answer.outcome, answer.content_hash) == (Outcome.HELD, SERVICE.content_hash)


def test_a_request_waits_on_when_the_false_manifest_alone_goes() -> None:
    scene = Scene()
    evil = names(SERVICE, SERVICE.manifest.content_size + 1, name="r1")
    for one, link in ((evil, scene.attacker), (SERVICE, scene.bystander)):
        scene.announce(one, link)
        persist(scene)
    body = FetchRequest(content_hash=SERVICE.content_hash, namespace=None, timeout_ms=1_000)
    scene.when(RequestMade(request=RequestId(1), body=body))
    scene.announce(tombstone(8), scene.attacker)
    persist(scene)
    assert scene.find(Answer) == []
    scene.stored(SERVICE, scene.bystander)
    assert scene.only(Answer).outcome is Outcome.HELD


def test_a_manifest_that_contradicts_itself_is_its_signers_fault() -> None:
    """Every chunk came as it was signed, and the whole is not what was signed. Who brought it did
    nothing wrong and is asked for other things; nobody is asked for this again."""
    scene = Scene()
    evil = names(SERVICE, 2 << 20)
    chunks = tuple(ContentHash(bytes([n]) * 32) for n in range((2 << 20) // chunk_size_of(2 << 20)))
    evil = resigned(replace(evil.manifest, chunk_hashes=chunks))
    scene.announce(evil, scene.bystander)
    persist(scene)
    one = scene.only(ReceiveContent)
    failed = ContentFailed(
        wanted=one.wanted,
        link=one.link,
        request=None,
        reason=FetchFailure.CONTRADICTED,
        received=2 << 20,
    )
    scene.when(failed)
    assert (scene.codes, scene.blamed) == (["CONTENT_INVALID"], ["signer"])
    assert scene.audited == [
        ("fetch_failed", "contradicted", ""),
        ("artifact_rejected", "CONTENT_INVALID", ""),
    ]
    assert scene.state.heads[evil.tail].state == "invalid"
    assert scene.announce(evil, scene.attacker).find(ReceiveContent) == []
    assert scene.link("n7") not in [one.link for one in scene.find(ReceiveContent)]
    scene.announce(SERVICE, scene.bystander)
    persist(scene)
    assert scene.only(ReceiveContent).link == scene.bystander


def resigned(statement: Manifest) -> Artifact:
    return Artifact(statement, f.signed(statement), b"")


def test_equal_content_of_one_signer_is_fetched_once_and_ends_all_that_wait_for_it() -> None:
    scene = Scene()
    same = [routes(7, name=name, content=b"the same bytes") for name in ("r1", "r2")]
    other = artifact(ArtifactType.SERVICE_ASSIGNMENT_BUNDLE, content=b"the same bytes")
    for one in (*same, other):
        scene.announce(one, scene.bystander)
        persist(scene)
    asked = [one.wanted for one in scene.caused if isinstance(one, ReceiveContent)]
    assert asked == [same[0].wanted, other.wanted]
    scene.stored(other, scene.bystander)
    ended = [scene.node.view.want_of(one.verified) for one in (*same, other)]
    assert [want.state for want in ended if want is not None] == [WantState.SATISFIED] * 3
    assert {scene.state.heads[one.tail].state for one in (*same, other)} == {"applying"}


OTHER_KEY: Final = f.signer("a key for other routes")


def test_a_key_for_the_same_type_stands_in_nobodys_way_either() -> None:
    """Routes of another prefix, signed by its own key: the thief names their hash, with the right
    size, and only this node has heard of that."""
    right = f.right(
        ArtifactType.ROUTE_POLICY_BUNDLE.value, OTHER_KEY, prefix=f"{f.PREFIX}/routes/r1"
    )
    bundle = replace(
        f.BUNDLE,
        bundle_version=4,
        keys=(*f.BUNDLE.keys, f.signing_key(OTHER_KEY)),
        rights=(*f.BUNDLE.rights, right),
    )
    scene = Scene().publish(trust(bundle))
    statement = replace(routes(7).manifest, signer_key_ids=(OTHER_KEY.key_id,))
    victim = Artifact(statement, f.signed(statement, OTHER_KEY), routes(7).content)
    evil = names(victim, victim.manifest.content_size, name="a")
    for one, link in ((evil, scene.attacker), (victim, scene.bystander)):
        scene.announce(one, link)
        persist(scene)
    asked = [one for one in scene.caused if isinstance(one, ReceiveContent)]
    assert [(one.link, one.wanted) for one in asked] == [
        (scene.attacker, evil.wanted),
        (scene.bystander, victim.wanted),
    ]


def test_what_this_node_reads_is_asked_for_only_under_a_manifest_of_its_type() -> None:
    """One key signs both, and the bytes are the same: a snapshot neither waits for, nor comes in
    the class of, a content of lesser weight."""
    scene = Scene()
    same = node_snapshot(8)
    lesser = artifact(ArtifactType.SERVICE_ASSIGNMENT_BUNDLE, content=same.content)
    for one in (lesser, same):
        scene.announce(one, scene.bystander)
        persist(scene)
    asked = [one for one in scene.caused if isinstance(one, ReceiveContent)]
    assert [(one.wanted, one.traffic) for one in asked] == [
        (lesser.wanted, TrafficClass.POLICY),
        (same.wanted, TrafficClass.SNAPSHOT),
    ]


def test_the_try_of_one_want_says_nothing_of_another_from_the_same_source() -> None:
    scene = Scene()
    evil = names(LIST, 7)
    for one in (evil, LIST):
        scene.announce(one, scene.bystander)
        persist(scene)
    failed = ContentFailed(
        wanted=LIST.wanted,
        link=scene.bystander,
        request=None,
        reason=FetchFailure.MISSING,
        received=0,
    )
    scene.when(failed)
    wants = [scene.node.view.want_of(one.verified) for one in (evil, LIST)]
    assert [want.state for want in wants if want is not None] == [
        WantState.FETCHING,
        WantState.PARKED,
    ]


def test_nobody_is_asked_under_a_manifest_that_counts_no_more() -> None:
    """The same bytes under two names, of which one has expired: an honest source would refuse."""
    scene = Scene()
    old = artifact(
        ArtifactType.ROUTE_POLICY_BUNDLE, "routes/a", refresh_by=f.NOW + 5, expires_at=f.NOW + 9
    )
    good = artifact(ArtifactType.ROUTE_POLICY_BUNDLE, "routes/b")
    for one in (old, good):
        scene.announce(one, scene.bystander)
        persist(scene)
    assert scene.find(ReceiveContent) == []
    scene.due(RefreshDue)
    failed = ContentFailed(
        wanted=old.wanted,
        link=scene.bystander,
        request=None,
        reason=FetchFailure.MISSING,
        received=0,
    )
    scene.when(failed)
    scene.announce(good, scene.bystander)
    assert scene.only(ReceiveContent).wanted == good.wanted
