"""What is handed out: in an order nodes can take, each once, and nothing that was superseded."""

from dataclasses import replace
from pathlib import Path

import pytest

from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.bundles import OldKeys
from fabgossip.control.publishing import Delivery, publish
from fabgossip.control.rotation import RotationWish, rotate
from fabgossip.control.signing import SignedArtifact
from fabgossip.control.sources.folder import Source
from fabgossip.model.artifact import Tombstone
from fabgossip.model.ids import ClusterId, PlatformId
from fabgossip.model.moment import seconds_after
from tests.control.believer import Believer
from tests.control.fabric import NOW, ROUTES, SNAPSHOT, STORE, node

QOS = replace(ROUTES, namespace="routes/other")
LIST = replace(SNAPSHOT, covers=("routes",), increments=False)
SOURCE = Source(documents=(ROUTES, QOS, LIST))
LATER = seconds_after(NOW, 60)


@pytest.fixture
def authority(tmp_path: Path) -> AuthorityFolder:
    made = AuthorityFolder(tmp_path / "authority")
    made.create(PlatformId("demo-test"), ClusterId("prod"), NOW, ())
    made.save_node(STORE)
    made.save_node(node("n2"))
    return made


def names(artifacts: tuple[SignedArtifact, ...]) -> list[str]:
    prefix = "platform/demo-test/cluster/prod/"
    return [one.manifest.namespace.text.removeprefix(prefix) for one in artifacts]


def test_the_order_is_one_a_node_can_take(authority: AuthorityFolder) -> None:
    authority.compile(SOURCE, NOW)
    authority.tombstone("routes/other", Tombstone(reason="bad", purge=False), NOW)
    rotate(authority, RotationWish(roles=("policy",)), LATER)
    assert names(authority.undelivered()) == [
        "trust/bundle",
        "trust/revocations",
        "routes/other",
        "snapshots/node/n2",
        "snapshots/node/store",
        "peers/scope/cluster:prod",
        "storage/scope/cluster:prod",
        "routes/main",
        "snapshots/role/edge",
    ]


def test_every_step_of_the_chain_is_handed_out_until_it_was_accepted(
    authority: AuthorityFolder,
) -> None:
    authority.compile(SOURCE, NOW)
    believer = Believer(authority.bootstrap())
    for _ in range(3):
        rotate(authority, RotationWish(roots=True), LATER)
    assert names(authority.undelivered()).count("trust/bundle") == 3
    believer.take_all(authority, LATER)
    assert believer.facts.bundle.bundle_version == 4
    assert authority.undelivered() == ()


def test_a_node_past_a_step_refuses_it_and_nothing_is_left_to_do(
    authority: AuthorityFolder,
) -> None:
    authority.compile(SOURCE, NOW)
    believer = Believer(authority.bootstrap())
    rotate(authority, RotationWish(roots=True, opens_epoch=True), LATER)
    authority.compile(SOURCE, LATER)
    believer.take_all(authority, LATER)
    rotate(authority, RotationWish(roots=True), LATER)
    believer.take_all(authority, LATER, everything=True)
    assert believer.refused == []
    assert authority.undelivered() == ()


def test_what_todays_trust_takes_away_is_not_handed_out(authority: AuthorityFolder) -> None:
    authority.compile(SOURCE, NOW)
    rotate(authority, RotationWish(roles=("policy",), old_keys=OldKeys.REVOKE), LATER)
    handed = names(authority.handouts(LATER, everything=True))
    assert "routes/main" not in handed
    assert "snapshots/role/edge" in handed
    month = seconds_after(NOW, 30 * 86_400)
    assert names(authority.handouts(month, everything=True)) == ["trust/bundle", "trust/bundle"]


def test_a_fresh_issue_of_a_bundle_stands_beside_the_step(authority: AuthorityFolder) -> None:
    authority.compile(SOURCE, NOW)
    rotate(authority, RotationWish(roots=True), LATER)
    believer = Believer(authority.bootstrap())
    late = seconds_after(LATER, 20 * 86_400)
    authority.compile_trust(late)
    assert names(authority.heads()).count("trust/bundle") == 3
    believer.take_all(authority, late)
    assert believer.refused == []
    rotate(authority, RotationWish(roots=True), late)
    assert names(authority.heads()).count("trust/bundle") == 3


def test_what_waits_for_its_list_is_handed_over_again_after_it(authority: AuthorityFolder) -> None:
    authority.compile(SOURCE, NOW)
    given: list[str] = []

    def submit(artifact: SignedArtifact) -> Delivery:
        (name,) = names((artifact,))
        given.append(name)
        waits = name.startswith("routes/") and "snapshots/role/edge" not in given
        outcome, code = ("refused", "AHEAD") if waits else ("admitted", "")
        return Delivery(artifact=artifact, outcome=outcome, code=code, detail="")

    deliveries = publish(authority, submit, NOW, everything=False)
    assert all(one.is_accepted for one in deliveries)
    assert given[-2:] == ["routes/main", "routes/other"]
    assert authority.undelivered() == ()


def test_what_a_node_waits_for_is_handed_over_as_soon_as_it_may_take_it(
    authority: AuthorityFolder,
) -> None:
    """A new node takes nothing before its own snapshot: those of others that came before it follow
    at once, and not after all the rest, or whole nodes would wait for that."""
    authority.compile(SOURCE, NOW)
    given: list[str] = []

    def submit(artifact: SignedArtifact) -> Delivery:
        (name,) = names((artifact,))
        given.append(name)
        waits = "routes/other" not in given
        outcome, code = ("refused", "MODE_DENIED") if waits else ("admitted", "")
        return Delivery(artifact=artifact, outcome=outcome, code=code, detail="")

    deliveries = publish(authority, submit, NOW, everything=False)
    assert all(one.is_accepted for one in deliveries)
    at = given.index("routes/other")
    refused, rest = given[:at], given[at + 1 :]
    assert refused
    assert rest[: len(refused)] == refused
    assert len(given) == len(deliveries) + len(refused)
