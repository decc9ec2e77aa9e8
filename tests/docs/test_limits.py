"""The tables of rates and limits say what the code holds to."""

from fabgossip.core.answers import ANSWERS_MAX, GRID_MS
from fabgossip.core.chains import ANSWER_WITHIN, ATTEMPTS_MAX, FETCHED_WITHIN, QUESTIONS_MAX
from fabgossip.core.chunks import OUTSTANDING_BYTES, OUTSTANDING_CHUNKS
from fabgossip.core.config import (
    ConnectionsConfig,
    DisseminationConfig,
    FetchingConfig,
    HoldingsConfig,
    NeighborsConfig,
)
from fabgossip.core.counting import SETTLED
from fabgossip.core.dissemination import LACKING_MAX, UNANSWERED
from fabgossip.core.failures import FAILURES_MAX as DIALS_FAILED_MAX
from fabgossip.core.hedging import HEDGED_STEPS, SOURCES_AT_ONCE, TOKEN, TOKENS_MAX
from fabgossip.core.holdings import AUDIENCES_PER_LINK_MAX
from fabgossip.core.lacking import ASKED_MAX as COMPARED_ASKED_MAX
from fabgossip.core.lacking import ASKED_OF_LINK_MAX, LACKING_SETS_MAX
from fabgossip.core.lacking import LACKING_MAX as COMPARED_LACKING_MAX
from fabgossip.core.ladder import IDLE_MS, SOURCES_MAX, STEPS, TURN_MS_MIN
from fabgossip.core.liveness import PATH_RTTS
from fabgossip.core.pace import BYTES_PER_S_MIN, WINDOW
from fabgossip.core.parts import LAST_CHUNKS, PARTS_MAX, SHARED_CHUNKS_MIN
from fabgossip.core.ranges import EXTRA_MAX
from fabgossip.core.rates import FLOOD_FACTOR, FLOOD_SPAN, RATES, Rate
from fabgossip.core.reconciliation import (
    PUSHED_BYTES_MAX,
    SILENCE,
    STARTED_MAX,
    VAIN_MAX,
    WAITS_MAX,
)
from fabgossip.core.sessions import NAMED_MAX, TOLD_MAX
from fabgossip.core.silence import (
    PATIENCE,
    READING_MS,
    SHORT_TURN_MS_MIN,
    SILENT_MS_MAX,
    SILENT_MS_MIN,
)
from fabgossip.core.slots import SERVED_PER_LINK_MAX, SERVED_SLOW_MAX
from fabgossip.core.standing import (
    BARRED,
    BOOT_CHANGES_MAX,
    BOOT_CHANGES_SPAN,
    FAILURES_MAX,
    FAILURES_SPAN,
    LINKS_MAX,
    LINKS_SPAN,
    PROBES_MAX,
    PROBES_SPAN,
    SLOW_READER,
    STANDINGS_MAX,
)
from fabgossip.core.wants import BACK_OFF_MAX, LACKED_MAX, SOURCES_PER_WANT_MAX
from fabgossip.core.wants import BARRED as SOURCE_BARRED
from fabgossip.daemon import connections, conversations, endpoints, submissions
from fabgossip.daemon.admission import ADDRESS_SHARE
from fabgossip.daemon.callers import CALLERS_MAX, PER_USER_MAX, RESERVED
from fabgossip.daemon.config import ListenTable
from fabgossip.model.artifact import CHUNK_BYTES_MIN
from fabgossip.model.authority import REVOCATIONS_MAX
from fabgossip.model.messages import CHAIN_STEPS_MAX, TrafficClass
from fabgossip.model.topology import DIRECTORY_PEERS_MAX, LISTINGS_MAX
from fabgossip.storage.contents import PARTS_BYTES_MAX
from fabgossip.wire.outbox import QUEUE_BYTES_MAX, SEND_BYTES_MAX
from fabgossip.wire.packing import DEPTH_MAX, ELEMENTS_MAX
from fabgossip.wire.streams import AHEAD_MAX
from tests.docs.pages import CHECKOUT, DOCS, REFERENCE, rows

PROTOCOL = REFERENCE / "protocol.md"

LAST_HEDGED = max(HEDGED_STEPS, key=STEPS.index)


def seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1_000:g} s"


def kib(count: int) -> str:
    return f"{count >> 20} MiB" if count >> 20 else f"{count >> 10} KiB"


def limits() -> dict[str, str]:
    """Every limit by the words the page uses, as the code has it."""
    listen, links = ListenTable(), ConnectionsConfig()
    spread, fetch = DisseminationConfig(), FetchingConfig()
    per_peer = f"{HoldingsConfig().per_peer_max:,}"
    queues = {one: kib(size) for one, size in QUEUE_BYTES_MAX.items()}
    assert {ADDRESS_SHARE, SOURCE_BARRED, FAILURES_SPAN, BARRED} == {4, 86_400_000, 60_000}
    assert (LINKS_SPAN, SLOW_READER, SERVED_SLOW_MAX) == (60_000, 60_000, 1)
    assert {PROBES_SPAN, BOOT_CHANGES_SPAN} == {600_000}
    assert {DIRECTORY_PEERS_MAX, REVOCATIONS_MAX, LISTINGS_MAX} == {50_000}
    return {
        "links": f"{listen.connections_max}",
        "TLS handshakes under way": (
            f"{listen.handshakes_in_flight_max}, a quarter of them of one address"
        ),
        "TLS handshakes others begin": (
            f"{listen.handshakes_per_second_max} per second, a quarter of them of one address"
        ),
        "a connection attempt": f"{endpoints.DIAL_S:g} s",
        "a TLS handshake": f"{endpoints.HANDSHAKE_S:g} s",
        "hello and welcome": seconds(links.hello_ms),
        "a frame, from its first byte to its last": f"{connections.FRAME_S:g} s",
        "handing a batch to the kernel": f"{connections.TOO_SLOW_S:g} s",
        "anything waiting for its peer, but bulk and the link itself": (
            f"{connections.SLOW_S:g} s, {connections.TOO_SLOW_S:g} s"
        ),
        "the last word of a link": f"{connections.CLEANUP_S:g} s",
        "silence of a link": seconds(links.silence_max_ms),
        "an answer to a ping": seconds(links.pong_deadline_ms),
        "links a node opens by itself": f"{NeighborsConfig().links_max}",
        "guests that came by themselves": f"{NeighborsConfig().guests_max}",
        "nodes whose failed dials are remembered": f"{DIALS_FAILED_MAX:,}",
        "numbers of requests remembered above one that did not come": f"{AHEAD_MAX:,}",
        "bytes queued per link": (
            f"{queues[TrafficClass.LINK]} link, {queues[TrafficClass.TRUST]} trust, "
            f"{queues[TrafficClass.TOMBSTONE]} tombstones, {queues[TrafficClass.SNAPSHOT]} "
            f"snapshots, {queues[TrafficClass.POLICY]} policies, {queues[TrafficClass.BULK]} bulk"
        ),
        "bytes queued on all links": kib(SEND_BYTES_MAX),
        "refused envelopes that are a peer's fault": f"{FAILURES_MAX} per node and minute",
        "links of a node": f"{LINKS_MAX} per minute, whoever dialled",
        "words about audiences a node may not share": f"{PROBES_MAX} per node and 10 minutes",
        "changes of a node's process": f"{BOOT_CHANGES_MAX} per 10 minutes",
        "nodes whose conduct is remembered": f"{STANDINGS_MAX:,}",
        "requests served at once": (
            f"{fetch.serve_streams_max} and one of every link, {SERVED_PER_LINK_MAX} of one link; "
            "one more of every link for trust"
        ),
        "increments of a chain, and what they cost": f"{CHAIN_STEPS_MAX}, half of the snapshot",
        "a chain, from the question to its last increment": (
            f"{seconds(ANSWER_WITHIN)} for the answer, of {QUESTIONS_MAX} peers at most; "
            f"{seconds(FETCHED_WITHIN)} for the contents"
        ),
        "snapshots on their way as chains": f"{ATTEMPTS_MAX}, one assembled at a time",
        "pace of a reader, all it is served over one link together": (
            f"{kib(BYTES_PER_S_MIN)}/s over {seconds(WINDOW)}"
        ),
        "*not available* waiting for the clock, per link": f"{ANSWERS_MAX:,}",
        "envelopes remembered as handled": f"{spread.seen_max:,}",
        "prefixes a link listed and we did not ask for yet": f"{spread.seen_max:,}",
        "the same, of all links": f"{LACKING_MAX:,}",
        "prefixes asked of a link and unanswered": (
            f"{spread.asked_max}, for {seconds(UNANSWERED)} each"
        ),
        "comparisons of sets started on a link": f"{STARTED_MAX}",
        "a comparison that brings nothing": seconds(SILENCE),
        "a comparison waiting for news under way": f"{WAITS_MAX} in a row, {seconds(SETTLED)} each",
        "comparisons of the same two roots": f"{VAIN_MAX} in a row",
        "manifests of a set given unasked in a comparison": kib(PUSHED_BYTES_MAX),
        "what a peer lacks, told in answer to one *ranges*": f"the newest {EXTRA_MAX:,}",
        "manifests asked of a link by id and unanswered": (
            f"{COMPARED_ASKED_MAX} of a set, {ASKED_OF_LINK_MAX:,} of all"
        ),
        "the same, not asked for yet": f"{COMPARED_LACKING_MAX:,}, of {LACKING_SETS_MAX:,} sets",
        "audiences a peer is remembered to have named": f"{NAMED_MAX:,}",
        "audiences a peer may tell the roots of at once": f"{TOLD_MAX:,}",
        "audiences a link's holdings may name": f"{AUDIENCES_PER_LINK_MAX}",
        "prefixes in the holdings of a link": f"{per_peer} listed, {per_peer} told one by one",
        "contents wanted": f"{fetch.wants_max:,}",
        "announcers, tried and barred sources of one content": f"{SOURCES_PER_WANT_MAX} each",
        "silence of a step of the ladder": ", ".join(
            f"{seconds(idle_ms)} {step.value}" for step, idle_ms in IDLE_MS.items()
        ),
        "sources asked in a step": ", ".join(
            f"{count} {step.value}" for step, count in SOURCES_MAX.items()
        ),
        "silence of a source of a small content": (
            f"two round trips (the least of the newest {PATH_RTTS}) and {READING_MS} ms, "
            f"{SILENT_MS_MIN} to {SILENT_MS_MAX} ms"
        ),
        "requests beside a silent source": f"one in {TOKEN} of an audience, and {TOKENS_MAX} more",
        "first byte of a source": (
            f"its share of what is left of the step, {TURN_MS_MIN} ms at least; of a small content "
            f"{PATIENCE} times that silence and {SHORT_TURN_MS_MIN} ms at least, if another "
            "storage endpoint could be asked at once"
        ),
        "pace of a source": f"{kib(BYTES_PER_S_MIN)}/s over {seconds(WINDOW)}",
        "a source that failed for a content": (
            f"{seconds(BACK_OFF_MAX)} at most, {seconds(LACKED_MAX)} if it lacked it, "
            "doubling from `fetching.missing_ms`"
        ),
        "a source that sent wrong bytes": "1 day",
        "content asked of a source and not yet written": (
            f"{kib(OUTSTANDING_BYTES)}, {OUTSTANDING_CHUNKS} chunks"
        ),
        f"sources of a content of {kib(SHARED_CHUNKS_MIN * CHUNK_BYTES_MIN)} or more": (
            f"{SOURCES_AT_ONCE} at once, of the steps up to {LAST_HEDGED.value}"
        ),
        "chunks asked of two sources at once": f"the last {LAST_CHUNKS}",
        "parts of contents that nobody adds to": (
            f"{PARTS_MAX}; {kib(PARTS_BYTES_MAX)} across a start"
        ),
        "entries in a list of a content that is read": f"{LISTINGS_MAX:,}",
        "nesting, elements of a content that is read": f"{DEPTH_MAX}, {ELEMENTS_MAX:,}",
    }


def test_every_limit_is_documented_with_its_number_and_what_happens_beyond() -> None:
    told = [row for row in rows(PROTOCOL) if len(row) == 3 and row[0] not in ("what", "---")]
    assert {row[0]: row[1] for row in told} == limits()
    assert all(row[2] for row in told)


def rate_text(rate: Rate) -> str:
    return (
        f"{rate.count:,} per second"
        if rate.per_ms == 1_000
        else f"{rate.count} per {seconds(rate.per_ms)}"
    )


def test_the_page_of_what_is_not_there_knows_what_is_brought_together() -> None:
    said = " ".join((DOCS / "explanation" / "limits.md").read_text("utf-8").split())
    size = kib(SHARED_CHUNKS_MIN * CHUNK_BYTES_MIN)
    assert SOURCES_AT_ONCE == 3
    assert f"up to three linked ones for contents of {size} or more" in said
    assert "several sources at once" not in said


ORDERS = {
    "GET /v1/audit": "`audit show`",
    "GET /v1/checkpoints": "`heads`",
    "POST /v1/pins": "`artifacts pin`",
    "DELETE /v1/pins": "`unpin`",
    "POST /v1/use": "`use`",
    "DELETE /v1/use": "`use`",
    "POST /v1/fetch": "`fetch`",
    "POST /v1/granted": "under a grant",
    "POST /v1/submit": "`submit`",
}
"""What of the command line asks for each route that only operators may."""


def test_who_installs_is_told_all_that_operators_may() -> None:
    table = [row for row in rows(REFERENCE / "status-api.md") if len(row) == 4]
    routes = {row[0].strip("`") for row in table if row[1] == "operate"}
    code = (CHECKOUT / "fabgossip" / "daemon" / "status.py").read_text("utf-8")
    assert (routes, code.count("is_operate=True")) == (set(ORDERS), len(ORDERS))
    (may,) = (row[1] for row in rows(DOCS / "how-to" / "install.md") if "-admin`" in row[0])
    assert [one for one in ORDERS.values() if one not in may] == []


def test_every_rate_is_documented_and_no_other() -> None:
    told = {
        row[0]: tuple(row[1:])
        for row in rows(PROTOCOL)
        if len(row) == 5 and row[0] not in ("kind", "---")
    }
    assert told == {
        kind.value.replace("_", " "): (
            rate.unit,
            rate_text(rate),
            f"{rate.burst:,}",
            rate.beyond.name.lower(),
        )
        for kind, rate in RATES.items()
    }


def test_what_the_page_says_in_words_is_so() -> None:
    assert (FLOOD_FACTOR, FLOOD_SPAN, GRID_MS) == (10, 10_000, 10)
    told = (REFERENCE / "status-api.md").read_text("utf-8")
    times = (conversations.IDLE_S, conversations.REQUEST_S, conversations.REPLY_S)
    assert (*times, submissions.SUBMIT_S) == (60, 5, 10, 120)
    assert (conversations.FIRST_S, CALLERS_MAX, PER_USER_MAX, RESERVED) == (5, 64, 24, 8)
    for words in (
        "64 connections", "24 of one user", "8 are", "first request comes within 5 s",
        "within 60 s", "within 5 s and one more per 64 KiB", "120 s", "within 10 s",
    ):  # fmt: skip
        assert words in told
