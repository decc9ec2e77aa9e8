"""Checkpoints of audit logs: shown to few, believed if signed, kept within bounds, and compared."""

from dataclasses import replace

import pytest

from fabgossip.core.audits import HEADS_BURST, KEPT_PER_NODE, NODES_MAX, SHOWN_MAX, Audits
from fabgossip.core.effects import Disconnect, Fact, Persist, Record
from fabgossip.core.events import CheckpointSigned, LinkId, Started
from fabgossip.model.authority import AuditCheckpoint, VerifiedClaims
from fabgossip.model.ids import ClusterId, NodeId
from fabgossip.model.messages import AuditHead
from fabgossip.model.moment import Instant
from fabgossip.model.persistence import KeptCheckpoint, PutCheckpoints
from fabgossip.model.scope import Entitlements
from tests.core.story import VERIFIER, Peer, Story
from tests.trust import factory as f

N1 = f.NODE
OWN = b"the newest checkpoint of our own log"
ENDPOINT = ("control-endpoint",)


def claims(*roles: str) -> VerifiedClaims:
    statement = replace(f.claims(), roles=tuple(sorted(roles)))
    return VerifiedClaims(
        claims=statement, claims_hash=b"c" * 32, entitlements=Entitlements(frozenset())
    )


def head(number: int) -> bytes:
    return bytes([number]) * 32


def signed(size: int, number: int = 1) -> bytes:
    return f.signed_checkpoint(f.checkpoint(size, head(number)))


def sizes(audits: Audits, node_id: NodeId = N1) -> list[int]:
    return [one.size for one in audits.kept_of(node_id)]


def hear(audits: Audits, raw: bytes, at_ms: int = 0) -> list[Fact]:
    """A checkpoint comes from n1; gives the facts that follow."""
    verdict = audits.on_head(N1, claims("edge"), raw, Instant(at_ms))
    audits.check()
    return [one.fact for one in verdict.effects if isinstance(one, Record)]


def machine() -> Audits:
    return Audits(f.CLUSTER, VERIFIER)


# Ours, for others.


def test_control_endpoints_and_the_two_smallest_others_are_witnesses() -> None:
    audits = machine()
    linked: dict[NodeId, VerifiedClaims | None] = {
        NodeId(name): claims("edge") for name in ("n9", "n4", "n3", "n7")
    }
    linked |= {NodeId("n8"): claims(*ENDPOINT), NodeId("n2"): None}
    assert audits.next_witnesses(linked) == ()
    audits.on_signed(OWN)
    assert audits.next_witnesses(linked) == ("n8", "n2", "n3")
    assert audits.next_witnesses(linked) == ()
    audits.on_signed(OWN)
    assert audits.next_witnesses(linked) == ("n8", "n2", "n3")


def test_links_that_come_and_go_do_not_spread_a_checkpoint_without_end() -> None:
    audits = machine()
    audits.on_signed(OWN)
    shown = [audits.next_witnesses({NodeId(f"n{one}"): None}) for one in range(SHOWN_MAX + 9)]
    assert sum(map(len, shown)) == SHOWN_MAX
    audits.check()


def test_a_checkpoint_is_shown_to_open_links_and_to_those_that_open_later() -> None:
    story = Story()
    first = story.link("n5")
    early = story.connect("n4")
    story.when(CheckpointSigned(envelope=OWN))
    assert story.sent(first) == [AuditHead(checkpoint=OWN)]
    assert story.sent(early) == []
    later = story.link("n6")
    assert AuditHead(checkpoint=OWN) in story.sent(later)
    third = story.link("n7")
    assert AuditHead(checkpoint=OWN) not in story.sent(third)
    endpoint = story.link(Peer(name="n8", roles=ENDPOINT))
    assert AuditHead(checkpoint=OWN) in story.sent(endpoint)


# Theirs, for us.


def shown_by(story: Story, link: LinkId, raw: bytes) -> Story:
    return story.hear(link, AuditHead(checkpoint=raw))


def of_n2(cluster_id: ClusterId = f.CLUSTER) -> AuditCheckpoint:
    return replace(f.checkpoint(256, head(1)), node_id=NodeId("n2"), cluster_id=cluster_id)


def test_a_checkpoint_is_kept_once_it_is_found_signed() -> None:
    story = Story()
    link = story.link("n2")
    raw = f.signed_checkpoint(of_n2())
    kept = KeptCheckpoint(size=256, head=head(1), wall=f.NOW, envelope=raw)
    shown_by(story, link, raw)
    (change,) = story.only(Persist).changes
    assert change == PutCheckpoints(node_id=NodeId("n2"), kept=(kept,))
    assert story.node.view.checkpoints_of(NodeId("n2")) == (kept,)
    story.persisted().then()
    shown_by(story, link, raw).then()


@pytest.mark.parametrize(
    "raw",
    [
        f.signed_checkpoint(of_n2(), f.STRANGER),
        f.signed_checkpoint(f.checkpoint(256)),
        f.signed_checkpoint(of_n2(ClusterId("test"))),
        b"",
    ],
    ids=["a stranger's", "another node's", "another cluster's", "nothing"],
)
def test_what_the_senders_key_did_not_say_of_its_own_log_is_refused(raw: bytes) -> None:
    story = Story()
    link = story.link("n2")
    for _ in range(7):
        shown_by(story, link, raw).then()
        assert story.facts() == [Fact.ARTIFACT_REJECTED]
    shown_by(story, link, raw)
    assert story.find(Disconnect)
    assert story.node.view.checkpoints_of(NodeId("n2")) == ()
    assert story.node.view.checkpoints_of(N1) == ()


def test_without_claims_there_is_no_key_and_nothing_is_said() -> None:
    verdict = machine().on_head(N1, None, signed(256), Instant(0))
    assert (verdict.effects, verdict.is_bad) == ((), False)


def test_two_heads_of_one_size_are_evidence_and_leave_last() -> None:
    audits = machine()
    assert hear(audits, signed(256, 1)) == []
    assert hear(audits, signed(256, 2)) == [Fact.AUDIT_FORKED]
    for count in range(3 * KEPT_PER_NODE):
        hear(audits, signed(300 + count), at_ms=20_000 * (count + 1))
    proof = [one for one in audits.kept_of(N1) if one.is_evidence]
    assert [(one.size, one.head) for one in proof] == [(256, head(1)), (256, head(2))]
    assert len(audits.kept_of(N1)) == KEPT_PER_NODE + 2


def test_the_record_of_a_fork_names_the_node_the_size_and_both_heads() -> None:
    audits = machine()
    hear(audits, signed(256, 1))
    verdict = audits.on_head(N1, claims("edge"), signed(256, 2), Instant(0))
    assert verdict.effects[1:] == (
        Record(
            fact=Fact.AUDIT_FORKED,
            fields=(
                ("peer", "n1"), ("size", 256), ("head", "02" * 32), ("other", "01" * 32),
            ),
        ),
    )  # fmt: skip
    assert not verdict.is_bad


def test_the_last_eight_are_kept() -> None:
    audits = machine()
    for count in range(1, KEPT_PER_NODE + 4):
        hear(audits, signed(count), at_ms=20_000 * count)
    assert sizes(audits) == list(range(4, KEPT_PER_NODE + 4))


def test_more_than_a_burst_is_passed_over_until_time_has_gone_by() -> None:
    audits = machine()
    for count in range(1, HEADS_BURST + 9):
        hear(audits, signed(count))
    # The first of all is judged before its sender has an account.
    assert sizes(audits)[-1] == HEADS_BURST + 1
    hear(audits, signed(99), at_ms=10_000)
    hear(audits, signed(100), at_ms=10_001)
    assert sizes(audits)[-1] == 99


def test_what_is_kept_survives_a_restart_and_is_still_compared() -> None:
    before = KeptCheckpoint(size=256, head=head(1), wall=f.NOW, envelope=signed(256))
    audits = machine()
    audits.on_started((PutCheckpoints(node_id=N1, kept=(before,)),))
    assert hear(audits, signed(256, 2)) == [Fact.AUDIT_FORKED]
    story = Story(
        started=Started(
            trust=(), heads=(), floors=(),
            checkpoints=(PutCheckpoints(node_id=NodeId("n2"), kept=(before,)),),
        )
    )  # fmt: skip
    assert story.node.view.checkpoints_of(NodeId("n2")) == (before,)


def full(*, caught: bool) -> Audits:
    """As many nodes as are kept, the one heard of longest ago first."""
    pair = tuple(
        KeptCheckpoint(size=1, head=head(n), wall=f.NOW, envelope=b"", is_evidence=caught)
        for n in ((1, 2) if caught else (1,))
    )
    audits = machine()
    rows = [PutCheckpoints(node_id=NodeId(f"m{one}"), kept=pair) for one in range(NODES_MAX)]
    audits.on_started(tuple(rows))
    audits.check()
    return audits


def test_for_one_node_more_the_one_heard_of_longest_ago_leaves_the_disk_too() -> None:
    audits = full(caught=False)
    verdict = audits.on_head(N1, claims("edge"), signed(5), Instant(0))
    (persist,) = verdict.effects
    assert isinstance(persist, Persist)
    rows = [one for one in persist.changes if isinstance(one, PutCheckpoints)]
    assert [(one.node_id, len(one.kept)) for one in rows] == [("m0", 0), ("n1", 1)]
    assert audits.kept_of(NodeId("m0")) == ()
    audits.check()


def test_a_node_heard_of_again_is_not_the_next_to_leave() -> None:
    audits = full(caught=False)
    m0 = NodeId("m0")
    again = f.signed_checkpoint(replace(f.checkpoint(5), node_id=m0))
    audits.on_head(m0, claims("edge"), again, Instant(0))
    audits.on_head(N1, claims("edge"), signed(5), Instant(0))
    assert (sizes(audits, m0), sizes(audits, NodeId("m1"))) == ([1, 5], [])


def test_nobody_who_was_caught_leaves_for_a_node_more() -> None:
    audits = full(caught=True)
    assert audits.on_head(N1, claims("edge"), signed(5), Instant(0)).effects == ()
    assert audits.kept_of(N1) == ()
    audits.check()
