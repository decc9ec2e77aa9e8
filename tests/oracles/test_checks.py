"""The eight checks against Cedar, for the rows in which every check says yes or no.

The law: where each check has an answer, a Cedar policy that demands all of them decides as we do.
Stated difference: where one has none, Cedar skips the `forbid` that asks for it and allows; we
deny. That is why the decision is written by hand and Cedar is not asked at run time.
"""

from collections.abc import Callable
from itertools import product
from typing import Final

import pytest
from cedarpy import PolicySet, is_authorized

from fabgossip.model.authority import Verb
from fabgossip.trust import authorization
from fabgossip.trust.authorization import CHECKS, Check, Object, Subject, authorize
from tests.trust import factory as f

NAMES: Final = tuple(name for name, _ in CHECKS)
DEMANDING: Final = PolicySet.from_str(
    "permit (principal, action, resource) when { "
    + " && ".join(f"context.{name}" for name in NAMES)
    + " };"
)
FORBIDDING: Final = PolicySet.from_str(
    "permit (principal, action, resource);"
    + "".join(
        f"forbid (principal, action, resource) unless {{ context.{name} }};" for name in NAMES
    )
)


def cedar_allows(policies: PolicySet, answers: dict[str, bool]) -> bool:
    request = {
        "principal": 'Node::"n2"',
        "action": 'Action::"fetch"',
        "resource": 'Artifact::"a-1"',
        "context": dict(answers),
    }
    return is_authorized(request, policies, []).allowed


def always(outcome: Check) -> Callable[..., Check]:
    return lambda *_: outcome


def we_allow(patch: pytest.MonkeyPatch, outcomes: tuple[Check, ...]) -> bool:
    rows = tuple(zip(NAMES, map(always, outcomes), strict=True))
    patch.setattr(authorization, "CHECKS", rows)
    subject = Subject(identity=None, claims=None)
    return authorize(subject, Object(manifest=None), Verb.FETCH, f.FACTS, f.NOW).allow


def test_where_every_check_has_an_answer_cedar_decides_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All 256 rows, whether the policy demands each yes or forbids each no."""
    allowed = 0
    for outcomes in product((Check.PASS, Check.FAIL), repeat=len(NAMES)):
        answers = {name: one is Check.PASS for name, one in zip(NAMES, outcomes, strict=True)}
        ours = we_allow(monkeypatch, outcomes)
        assert cedar_allows(DEMANDING, answers) is ours
        assert cedar_allows(FORBIDDING, answers) is ours
        allowed += ours
    assert allowed == 1


@pytest.mark.parametrize("name", NAMES)
def test_where_a_check_has_no_answer_cedar_may_allow_and_we_deny(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = dict.fromkeys(NAMES, True)
    del answers[name]
    unknown = tuple(Check.UNKNOWN if one == name else Check.PASS for one in NAMES)
    assert not we_allow(monkeypatch, unknown)
    assert not cedar_allows(DEMANDING, answers)
    assert cedar_allows(FORBIDDING, answers)
