"""What a query may say, whichever route it is for."""

import pytest

from fabgossip.daemon.callers import Caller
from fabgossip.daemon.conversations import HEAD_BYTES_MAX, RefusedError, Request
from fabgossip.model.scope import NAMESPACE_BYTES_MAX
from tests.trust import factory


async def nothing(_: object) -> None:
    """No body."""


def namespace(text: str) -> str | None:
    caller = Caller(uid=1_000, groups=frozenset())
    request = Request("GET", "/v1/gate", {"namespace": text}, {}, caller, nothing)
    return request.namespace(factory.PREFIX)


@pytest.mark.parametrize("text", ["routes/edge", f"{factory.PREFIX}/routes/edge"])
def test_a_namespace_may_be_named_below_its_cluster(text: str) -> None:
    assert namespace(text) == f"{factory.PREFIX}/routes/edge"


LONG = HEAD_BYTES_MAX - 500


@pytest.mark.parametrize(
    "text",
    [
        "platform/" + "x" * LONG,
        "routes/" + "x" * LONG,
        "services/" + "/".join(["x" * 63] * (NAMESPACE_BYTES_MAX // 64)),
        "routes/\u2028",
        "routes/" + "\U0001f600" * 60,
        "nobody/knows",
        "",
    ],
    ids=["long", "long below", "too many parts", "line", "wide", "family", "empty"],
)
def test_what_can_be_no_namespace_is_refused_with_few_words(text: str) -> None:
    """A reader's gate questions are kept with what they name: no more than a namespace may have."""
    with pytest.raises(RefusedError) as caught:
        namespace(text)
    reply = caught.value.reply
    assert (reply.code, reply.body["code"]) == (400, "namespace")
    assert str(reply.body["detail"]).startswith("namespace")
    assert len(str(reply.body["detail"])) < 2 * NAMESPACE_BYTES_MAX
