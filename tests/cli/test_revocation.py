"""How long a neighbour takes to cut a revoked node, as it is seen from outside."""

from fabgossip.cli.revocation import CUT_WITHIN_MS, Neighbor, Revocation

REVOKED = "edge-1"


class Answers:
    """A node whose answers are given in order: version of its list, then whether it is linked."""

    def __init__(self, *looks: tuple[int, bool]) -> None:
        self._looks = list(looks)

    def get(self, path: str) -> dict[str, object]:
        if path == "/v1/status":
            return {"trust": {"revocation_version": self._looks[0][0]}}
        linked = self._looks.pop(0)[1]
        return {"items": [{"node_id": REVOKED}] if linked else []}


def test_who_cuts_between_the_two_questions_of_a_look_was_quick() -> None:
    neighbor = Neighbor(Answers((1, True), (1, False)), 0.0)
    neighbor.look(REVOKED, 2)
    seen = [neighbor.cut_at]
    neighbor.look(REVOKED, 2)
    seen.append(neighbor.cut_at)
    assert [one is None for one in seen] == [True, False]
    assert 0 <= neighbor.cut_ms < CUT_WITHIN_MS


def test_the_clock_runs_from_the_last_look_without_the_list() -> None:
    neighbor = Neighbor(Answers((1, True), (2, True), (2, False)), 0.0)
    neighbor.look(REVOKED, 2)
    without = neighbor.without_list_at
    neighbor.look(REVOKED, 2)
    neighbor.look(REVOKED, 2)
    assert neighbor.without_list_at == without > 0
    assert neighbor.cut_at is not None
    assert neighbor.cut_ms == 1_000 * (neighbor.cut_at - without)


def test_a_cut_that_nobody_had_to_make_is_no_proof() -> None:
    assert not Revocation(cut_ms={}, says="", mode="revoked").is_good
    assert Revocation(cut_ms={"core-1": 3.0}, says="", mode="revoked").is_good
    assert not Revocation(cut_ms={"core-1": 3.0}, says="", mode="fresh").is_good
    assert not Revocation(cut_ms={"core-1": CUT_WITHIN_MS + 1}, says="", mode="revoked").is_good
