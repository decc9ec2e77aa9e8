"""Power goes away at any step of taking something up.

Powers: the attacker chooses when the node ends: behind any of its commits, or by a kill
anywhere. Then it offers what is validly signed once more.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from fabgossip.model.authority import RevokedKind
from tests.attacks.powers import revokes, without_times
from tests.attacks.scene import Scene, TrustState, asks_content
from tests.core.artifacts import Artifact, node_snapshot, revocations, routes, tombstone, trust
from tests.system.accepting.rounds import Rounds
from tests.trust import factory

ROUNDS = 4  # start

HELD = (routes(7), node_snapshot(7))
FIVE = trust(replace(factory.NEXT_BUNDLE, bundle_version=5))
TAKEN_UP: dict[str, tuple[Artifact, list[str]]] = {
    "routes": (routes(8), []),
    "a tombstone": (tombstone(8), ["artifact_withheld"]),
    "its own snapshot": (node_snapshot(8, b"other settings"), []),
    "a bundle": (trust(factory.NEXT_BUNDLE), ["bundle_accepted"]),
    "a bundle after another": (FIVE, ["bundle_accepted"]),
    "a list": (
        revocations(2, revokes(RevokedKind.MANIFEST, bytes(32))),
        ["revocation_accepted"],
    ),
}


def is_between(state: TrustState, old: TrustState, new: TrustState, name: str) -> bool:
    """The statement is durable, so nothing older is taken any more, but its content is not here: it
    grants nothing, and the node is at most as fresh as before."""
    waiting = replace(new.heads[name], state="behind")
    facts, before = state.facts, old.facts
    return (
        (state.floors, state.heads) == (new.floors, new.heads | {name: waiting})
        and (facts.bundle, facts.own) == (before.bundle, before.own)
        and facts.revoked.values == before.revoked.values
        and facts.freshness
        in (
            before.freshness,
            replace(before.freshness, snapshot_refresh_by=None),
            replace(
                before.freshness,
                revocations_refresh_by=None,
                # Only what is at the head counts: so it is partitioned sooner, never later.
                newest_issued_at=facts.freshness.newest_issued_at,
            ),
        )
        and facts.freshness.newest_issued_at <= before.freshness.newest_issued_at
    )


@pytest.mark.parametrize("what", TAKEN_UP)
def test_old_or_new(what: str, tmp_path: Path) -> None:
    """The node that starts again behind each commit is the one before or the one after, and never
    again the one before: what is signed but whose content is missing is not taken for new. Offered
    once more, only what is missing is asked for, and it ends as if nothing had happened."""
    offered, audited = TAKEN_UP[what]
    before = (trust(factory.NEXT_BUNDLE),) if offered is FIVE else ()
    scene = Scene().publish(*HELD, *before)
    first = len(scene.commits)
    old = scene.restarted(tmp_path / "old").state
    scene.offer(offered).rest()
    new = scene.restarted(tmp_path / "new").state
    assert [event for event, _, _ in scene.audited] == audited

    words = []
    for commits in range(first, len(scene.commits) + 1):
        again = scene.restarted(tmp_path / str(commits), commits)
        state = again.state
        word = "new" if state == new else "old" if state == old else "between"
        assert word != "between" or is_between(state, old, new, offered.tail)
        words.append(word)
        again.offer(offered).rest()
        assert again.codes == []
        is_missing = word != "new" and offered.manifest.tombstone is None
        assert again.requests == ([asks_content(offered)] if is_missing else [])
        events = [event for event, _, _ in again.audited if event != "mode_changed"]
        assert events == ([] if word == "new" else audited)
        # What was durable was told as the links opened; what was not is told now, and only now.
        assert again.told(offered) is (word == "old" and "snapshots/" not in offered.tail)
        assert (again.state.heads, again.state.floors) == (scene.state.heads, scene.state.floors)
        assert without_times(again.state.facts) == without_times(scene.state.facts)
    assert words == sorted(words, key=["old", "between", "new"].index)
    assert (words[0], words[-1]) == ("old", "new")
    assert words.count("between") == (offered.manifest.tombstone is None)


@pytest.mark.slow
@pytest.mark.parametrize("is_failing", [False, True], ids=["killed", "the disk fails"])
def test_a_process_that_ends_anywhere_leaves_old_or_new(tmp_path: Path, is_failing: bool) -> None:  # noqa: FBT001  # a parameter
    """The first rounds of `python -m tests.system.accepting`: nothing acknowledged is lost, nothing
    is visible that is not verified, and a second start changes nothing."""
    rounds = Rounds(1, tmp_path, is_failing=is_failing)
    rounds.take_census()
    for number in range(ROUNDS):
        rounds.play(number)
    assert rounds.tally.faults == []
    assert rounds.tally.hit.total() >= ROUNDS // 2
