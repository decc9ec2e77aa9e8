"""Messages to and from frame bodies: one row per kind, exactly the fields of the protocol version
in force.

Content frames carry raw bytes and are no messages; see `content_body` and `parse_content_header`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fabgossip.errors import WireError
from fabgossip.model import messages as m
from fabgossip.model.artifact import CHUNKS_MAX
from fabgossip.model.envelope import ENVELOPE_BYTES_MAX
from fabgossip.model.ids import BOOT_ID_BYTES, HASH_BYTES, BootId, ContentHash, ManifestHash
from fabgossip.model.scope import NAMESPACE_BYTES_MAX
from fabgossip.wire.framing import (
    BODY_BYTES_MAX,
    CONTENT_FRAME_BYTES_MAX,
    CONTENT_HEADER_BYTES,
    FrameKind,
)
from fabgossip.wire.packing import (
    FRAME_TOO_LARGE,
    MALFORMED,
    SCHEMA,
    TYPE_MISMATCH,
    Value,
    as_array,
    as_bool,
    as_bytes,
    as_enum,
    as_int,
    as_text,
    expect_ascending,
    pack,
    unpack,
)
from fabgossip.wire.ranges import ids_from, ranges_bytes, ranges_from
from fabgossip.wire.statements import (
    audience_from,
    audience_value,
    narrowing_from,
    narrowing_value,
    opening_value,
    openings_from,
)

HOPS_MAX: Final = 255
VERSION_MAX: Final = 255
FEATURES_MAX: Final = 2**32 - 1
SEQUENCE_MAX: Final = 2**32 - 1
RETRY_MAX: Final = 2**32 - 1
DAY_MAX: Final = 2**32 - 1
MESSAGE_ELEMENTS_MAX: Final = 16_384
"""Elements in any message body: the largest is 1,024 content items of 5."""


@dataclass(frozen=True, slots=True)
class ContentHeader:
    """What a content frame carries: which item of the request, where its bytes belong, whether it
    is the item's last.
    """

    item: int
    is_last: bool
    offset: int


def content_header_bytes(header: ContentHeader) -> bytes:
    """The 8 bytes before the raw bytes of a content frame."""
    return (
        header.item.to_bytes(2, "big")
        + bytes((int(header.is_last), 0))
        + header.offset.to_bytes(4, "big")
    )


def parse_content_header(body: memoryview) -> tuple[ContentHeader, memoryview]:
    """Header and raw bytes of a content frame; raises `WireError` MALFORMED."""
    if len(body) <= CONTENT_HEADER_BYTES and not (
        len(body) == CONTENT_HEADER_BYTES and body[2] == 1
    ):
        raise WireError(MALFORMED, "a content frame without content")
    if len(body) - CONTENT_HEADER_BYTES > CONTENT_FRAME_BYTES_MAX:
        raise WireError(FRAME_TOO_LARGE, "a content frame")
    if body[2] > 1 or body[3] != 0:
        raise WireError(MALFORMED, "flags of a content frame")
    header = ContentHeader(
        int.from_bytes(body[:2], "big"), body[2] == 1, int.from_bytes(body[4:8], "big")
    )
    return header, body[CONTENT_HEADER_BYTES:]


def _hello(value: m.Hello) -> Value:
    return [
        value.protocol_min,
        value.protocol_max,
        value.features,
        value.boot_id,
        value.claims,
        [opening_value(opening) for opening in value.openings],
        value.bundle_version,
        value.revocation_version,
        value.epoch,
    ]


def _parse_hello(value: Value) -> m.Hello:
    fields = as_array(value, "hello", length=9)
    return m.Hello(
        protocol_min=as_int(fields[0], "lowest protocol", low=1, high=VERSION_MAX),
        protocol_max=as_int(fields[1], "highest protocol", low=1, high=VERSION_MAX),
        features=as_int(fields[2], "features", high=FEATURES_MAX),
        boot_id=BootId(as_bytes(fields[3], "boot id", length=BOOT_ID_BYTES)),
        claims=as_bytes(fields[4], "claims", length_max=ENVELOPE_BYTES_MAX),
        openings=openings_from(fields[5]),
        bundle_version=as_int(fields[6], "bundle version"),
        revocation_version=as_int(fields[7], "revocation version"),
        epoch=as_int(fields[8], "epoch"),
    )


def _parse_welcome(value: Value) -> m.Welcome:
    protocol, features = as_array(value, "welcome", length=2)
    return m.Welcome(
        protocol=as_int(protocol, "protocol", low=1, high=VERSION_MAX),
        features=as_int(features, "features", high=FEATURES_MAX),
    )


def _parse_claims(value: Value) -> m.Claims:
    openings, claims = as_array(value, "claims", length=2)
    return m.Claims(
        openings=openings_from(openings),
        claims=as_bytes(claims, "claims envelope", length_max=ENVELOPE_BYTES_MAX),
    )


def _parse_ping(value: Value) -> m.Ping:
    sequence, bundle, day, root = as_array(value, "ping", length=4)
    return m.Ping(
        sequence=as_int(sequence, "sequence", high=SEQUENCE_MAX),
        salt=_salt(bundle, day),
        link_root=as_bytes(root, "link root", length=m.LINK_ROOT_BYTES),
    )


def _salt(bundle: Value, day: Value) -> m.SaltId:
    return m.SaltId(as_int(bundle, "bundle version"), as_int(day, "day", high=DAY_MAX))


def _parse_pong(value: Value) -> m.Pong:
    (sequence,) = as_array(value, "pong", length=1)
    return m.Pong(sequence=as_int(sequence, "sequence", high=SEQUENCE_MAX))


def _parse_neighbor_ask(value: Value) -> m.NeighborAsk:
    purpose, is_needed = as_array(value, "neighbour ask", length=2)
    return m.NeighborAsk(
        purpose=as_enum(purpose, m.NeighborPurpose, "purpose"),
        is_needed=as_bool(is_needed, "needed"),
    )


def _parse_neighbor_answer(value: Value) -> m.NeighborAnswer:
    is_yes, retry = as_array(value, "neighbour answer", length=2)
    return m.NeighborAnswer(
        is_yes=as_bool(is_yes, "yes"), retry_after_s=as_int(retry, "retry after", high=RETRY_MAX)
    )


def _parse_bye(value: Value) -> m.Bye:
    reason, retry = as_array(value, "bye", length=2)
    return m.Bye(
        reason=as_enum(reason, m.ByeReason, "reason"),
        retry_after_s=as_int(retry, "retry after", high=RETRY_MAX),
    )


def _parse_announce(value: Value) -> m.Announce:
    entries = as_array(value, "announce", length_max=m.ANNOUNCE_ENTRIES_MAX)
    announced = []
    for entry in entries:
        envelope, hops, content = as_array(entry, "announced", length=3)
        announced.append(
            m.Announced(
                as_bytes(envelope, "envelope", length_max=ENVELOPE_BYTES_MAX),
                as_int(hops, "hops", high=HOPS_MAX),
                None
                if content is None
                else as_bytes(content, "content", length_max=m.INLINE_BYTES_MAX),
            )
        )
    return m.Announce(entries=tuple(announced))


def _prefixes(value: Value, length_max: int) -> tuple[bytes, ...]:
    rows = as_array(value, "prefixes", length_max=length_max)
    prefixes = tuple(as_bytes(row, "prefix", length=m.PREFIX_BYTES) for row in rows)
    expect_ascending(prefixes, "prefixes")
    return prefixes


def _parse_have(value: Value) -> m.Have:
    audience, late, prefixes = as_array(value, "have", length=3)
    return m.Have(
        audience=audience_from(audience),
        prefixes=_prefixes(prefixes, m.HAVE_PREFIXES_MAX),
        is_late=as_bool(late, "late"),
    )


def _parse_graft(value: Value) -> m.Graft:
    audience, prefixes = as_array(value, "graft", length=2)
    return m.Graft(
        audience=audience_from(audience), prefixes=_prefixes(prefixes, m.GRAFT_PREFIXES_MAX)
    )


def _parse_prune(value: Value) -> m.Prune:
    (audience,) = as_array(value, "prune", length=1)
    return m.Prune(audience=audience_from(audience))


def _holdings(value: m.Holdings) -> Value:
    entries: list[Value] = [
        [audience_value(entry.audience), entry.mode.value, list(entry.prefixes)]
        for entry in value.entries
    ]
    return [value.sequence, value.is_whole, entries]


def _parse_holdings(value: Value) -> m.Holdings:
    sequence, whole, rows = as_array(value, "holdings", length=3)
    entries = []
    for row in as_array(rows, "holdings entries", length_max=m.HOLDINGS_ENTRIES_MAX):
        audience, mode, prefixes = as_array(row, "holdings entry", length=3)
        entries.append(
            m.HoldingsEntry(
                audience_from(audience),
                as_enum(mode, m.HoldingsMode, "mode"),
                _prefixes(prefixes, m.HOLDINGS_PREFIXES_MAX),
            )
        )
    return m.Holdings(
        sequence=as_int(sequence, "sequence", high=SEQUENCE_MAX),
        is_whole=as_bool(whole, "whole"),
        entries=tuple(entries),
    )


def _roots(value: m.Roots) -> Value:
    entries: list[Value] = [
        [audience_value(one.audience), one.count, one.root] for one in value.entries
    ]
    return [value.salt.bundle_version, value.salt.day, value.is_first, value.is_last, entries]


def _parse_roots(value: Value) -> m.Roots:
    bundle, day, first, last, rows = as_array(value, "roots", length=5)
    entries = []
    for row in as_array(rows, "roots entries", length_max=m.ROOTS_ENTRIES_MAX):
        audience, count, root = as_array(row, "root of a set", length=3)
        entries.append(
            m.SetRoot(
                audience_from(audience),
                as_int(count, "count"),
                as_bytes(root, "root", length=m.ROOT_BYTES),
            )
        )
    return m.Roots(
        salt=_salt(bundle, day),
        is_first=as_bool(first, "first"),
        is_last=as_bool(last, "last"),
        entries=tuple(entries),
    )


def _ranges(value: m.Ranges) -> Value:
    data = ranges_bytes(value.ranges)
    return [*_set(value), value.step, value.more, data]


def _set(value: m.Ranges | m.Ids | m.GetManifests) -> list[Value]:
    return [value.set_id, value.salt.bundle_version, value.salt.day]


def _set_id(value: Value) -> bytes:
    return as_bytes(value, "set id", length=m.SET_ID_BYTES)


def _parse_ranges(value: Value) -> m.Ranges:
    set_id, bundle, day, step, more, data = as_array(value, "ranges", length=6)
    return m.Ranges(
        set_id=_set_id(set_id),
        salt=_salt(bundle, day),
        step=as_int(step, "step", high=m.RANGES_STEPS_MAX),
        more=as_bool(more, "more"),
        ranges=ranges_from(as_bytes(data, "ranges", length_max=m.RANGES_BYTES_MAX)),
    )


def _salted_ids(value: Value, count_max: int) -> tuple[bytes, ...]:
    return ids_from(as_bytes(value, "ids", length_max=count_max * m.SALTED_ID_BYTES))


def _parse_ids(value: Value) -> m.Ids:
    set_id, bundle, day, rows = as_array(value, "ids", length=4)
    return m.Ids(
        set_id=_set_id(set_id),
        salt=_salt(bundle, day),
        ids=_salted_ids(rows, m.OFFERED_IDS_MAX),
    )


def _parse_get_manifests(value: Value) -> m.GetManifests:
    set_id, bundle, day, rows = as_array(value, "get manifests", length=4)
    return m.GetManifests(
        set_id=_set_id(set_id),
        salt=_salt(bundle, day),
        ids=_salted_ids(rows, m.GET_MANIFESTS_IDS_MAX),
    )


def _parse_manifests(value: Value) -> m.Manifests:
    set_id, answered, rows = as_array(value, "manifests", length=3)
    envelopes = as_array(rows, "envelopes", length_max=m.MANIFESTS_ENTRIES_MAX)
    return m.Manifests(
        set_id=_set_id(set_id),
        answered=as_int(answered, "answered", high=m.GET_MANIFESTS_IDS_MAX),
        envelopes=tuple(
            as_bytes(row, "envelope", length_max=ENVELOPE_BYTES_MAX) for row in envelopes
        ),
    )


def _parse_get_heads(value: Value) -> m.GetHeads:
    known = []
    question, rows = as_array(value, "get heads", length=2)
    for row in as_array(rows, "heads known", length_max=m.HEADS_ENTRIES_MAX):
        namespace, epoch, version = as_array(row, "head known", length=3)
        known.append(
            m.HeadKnown(
                as_text(namespace, "namespace", length_max=NAMESPACE_BYTES_MAX),
                as_int(epoch, "epoch"),
                as_int(version, "version"),
            )
        )
    # Named again it would be answered again. Their order is the asker's: it is answered in it.
    if len({one.namespace for one in known}) != len(known):
        raise WireError(SCHEMA, "namespaces: must be unique")
    return m.GetHeads(known=tuple(known), question=as_int(question, "question"))


def _parse_heads(value: Value) -> m.Heads:
    question, rows = as_array(value, "heads", length=2)
    envelopes = as_array(rows, "envelopes", length_max=m.HEADS_ENTRIES_MAX)
    return m.Heads(
        envelopes=tuple(
            as_bytes(row, "envelope", length_max=ENVELOPE_BYTES_MAX) for row in envelopes
        ),
        question=as_int(question, "question"),
    )


def _parse_get_chain(value: Value) -> m.GetChain:
    namespace, base, head = as_array(value, "get chain", length=3)
    return m.GetChain(
        namespace=as_text(namespace, "namespace", length_max=NAMESPACE_BYTES_MAX),
        base=ContentHash(as_bytes(base, "base", length=HASH_BYTES)),
        head=ContentHash(as_bytes(head, "head", length=HASH_BYTES)),
    )


def _parse_chain(value: Value) -> m.Chain:
    head, rows = as_array(value, "chain", length=2)
    envelopes = as_array(rows, "increments", length_max=m.CHAIN_STEPS_MAX)
    return m.Chain(
        head=ContentHash(as_bytes(head, "head", length=HASH_BYTES)),
        envelopes=tuple(
            as_bytes(row, "envelope", length_max=ENVELOPE_BYTES_MAX) for row in envelopes
        ),
    )


def _get_content(value: m.GetContent) -> Value:
    items: list[Value] = [
        [one.manifest_hash, one.content_hash, one.first_chunk, one.chunk_count]
        for one in value.items
    ]
    return [items, value.grant, narrowing_value(value.narrowing)]


def _parse_get_content(value: Value) -> m.GetContent:
    items = []
    rows, grant, narrowing = as_array(value, "get content", length=3)
    for row in as_array(rows, "content items", length_max=m.CONTENT_ITEMS_MAX):
        manifest_hash, content_hash, first, count = as_array(row, "content item", length=4)
        items.append(
            m.ContentAsk(
                ManifestHash(as_bytes(manifest_hash, "manifest hash", length=HASH_BYTES)),
                ContentHash(as_bytes(content_hash, "content hash", length=HASH_BYTES)),
                as_int(first, "first chunk", high=CHUNKS_MAX - 1),
                as_int(count, "chunk count", low=1, high=CHUNKS_MAX),
            )
        )
    if not items:
        raise WireError(MALFORMED, "a content request without items")
    return m.GetContent(
        items=tuple(items),
        grant=as_bytes(grant, "grant", length_max=ENVELOPE_BYTES_MAX),
        narrowing=narrowing_from(narrowing),
    )


def _parse_not_available(value: Value) -> m.NotAvailable:
    (item,) = as_array(value, "not available", length=1)
    return m.NotAvailable(item=as_int(item, "item", high=m.CONTENT_ITEMS_MAX - 1))


def _parse_busy(value: Value) -> m.Busy:
    item, retry = as_array(value, "busy", length=2)
    return m.Busy(
        item=as_int(item, "item", high=m.CONTENT_ITEMS_MAX - 1),
        retry_after_ms=as_int(retry, "retry after", high=RETRY_MAX),
    )


def _parse_bad_request(value: Value) -> m.BadRequest:
    (code,) = as_array(value, "bad request", length=1)
    return m.BadRequest(code=as_enum(code, m.BadRequestCode, "code"))


def _parse_audit_head(value: Value) -> m.AuditHead:
    (checkpoint,) = as_array(value, "audit head", length=1)
    return m.AuditHead(checkpoint=as_bytes(checkpoint, "checkpoint", length_max=ENVELOPE_BYTES_MAX))


def _parse_cancel(value: Value) -> m.Cancel:
    as_array(value, "cancel", length=0)
    return m.Cancel()


_PARSERS: Final[dict[FrameKind, Callable[[Value], m.Message]]] = {
    FrameKind.HELLO: _parse_hello,
    FrameKind.WELCOME: _parse_welcome,
    FrameKind.CLAIMS: _parse_claims,
    FrameKind.PING: _parse_ping,
    FrameKind.PONG: _parse_pong,
    FrameKind.BYE: _parse_bye,
    FrameKind.NEIGHBOR_ASK: _parse_neighbor_ask,
    FrameKind.NEIGHBOR_ANSWER: _parse_neighbor_answer,
    FrameKind.ANNOUNCE: _parse_announce,
    FrameKind.HAVE: _parse_have,
    FrameKind.GRAFT: _parse_graft,
    FrameKind.PRUNE: _parse_prune,
    FrameKind.HOLDINGS: _parse_holdings,
    FrameKind.ROOTS: _parse_roots,
    FrameKind.RANGES: _parse_ranges,
    FrameKind.IDS: _parse_ids,
    FrameKind.GET_MANIFESTS: _parse_get_manifests,
    FrameKind.MANIFESTS: _parse_manifests,
    FrameKind.GET_HEADS: _parse_get_heads,
    FrameKind.HEADS: _parse_heads,
    FrameKind.GET_CHAIN: _parse_get_chain,
    FrameKind.CHAIN: _parse_chain,
    FrameKind.GET_CONTENT: _parse_get_content,
    FrameKind.NOT_AVAILABLE: _parse_not_available,
    FrameKind.BUSY: _parse_busy,
    FrameKind.BAD_REQUEST: _parse_bad_request,
    FrameKind.CANCEL: _parse_cancel,
    FrameKind.AUDIT_HEAD: _parse_audit_head,
}


def message_body(message: m.Message) -> tuple[FrameKind, bytes]:
    """Kind and body of a message."""
    kind, value = _value_of(message)
    return kind, pack(value)


def _value_of(message: m.Message) -> tuple[FrameKind, Value]:
    match message:
        case m.Hello():
            return FrameKind.HELLO, _hello(message)
        case m.Welcome():
            return FrameKind.WELCOME, [message.protocol, message.features]
        case m.Claims():
            shown: list[Value] = [opening_value(opening) for opening in message.openings]
            return FrameKind.CLAIMS, [shown, message.claims]
        case m.Ping():
            salt = message.salt
            return FrameKind.PING, [
                message.sequence, salt.bundle_version, salt.day, message.link_root,
            ]  # fmt: skip
        case m.Pong():
            return FrameKind.PONG, [message.sequence]
        case m.NeighborAsk():
            return FrameKind.NEIGHBOR_ASK, [message.purpose.value, message.is_needed]
        case m.NeighborAnswer():
            return FrameKind.NEIGHBOR_ANSWER, [message.is_yes, message.retry_after_s]
        case m.Bye():
            return FrameKind.BYE, [message.reason.value, message.retry_after_s]
        case m.Announce():
            return FrameKind.ANNOUNCE, [
                [one.envelope, one.hops, one.content] for one in message.entries
            ]
        case m.Have():
            return FrameKind.HAVE, [
                audience_value(message.audience),
                message.is_late,
                list(message.prefixes),
            ]
        case m.Graft():
            return FrameKind.GRAFT, [audience_value(message.audience), list(message.prefixes)]
        case m.Prune():
            return FrameKind.PRUNE, [audience_value(message.audience)]
        case m.Holdings():
            return FrameKind.HOLDINGS, _holdings(message)
        case m.Roots():
            return FrameKind.ROOTS, _roots(message)
        case m.Ranges():
            return FrameKind.RANGES, _ranges(message)
        case m.Ids():
            return FrameKind.IDS, [*_set(message), b"".join(message.ids)]
        case m.GetManifests():
            return FrameKind.GET_MANIFESTS, [*_set(message), b"".join(message.ids)]
        case m.Manifests():
            return FrameKind.MANIFESTS, [
                message.set_id, message.answered, list(message.envelopes),
            ]  # fmt: skip
        case m.GetHeads():
            return FrameKind.GET_HEADS, [
                message.question,
                [[one.namespace, one.epoch, one.version] for one in message.known],
            ]
        case m.Heads():
            return FrameKind.HEADS, [message.question, list(message.envelopes)]
        case m.GetChain():
            return FrameKind.GET_CHAIN, [message.namespace, message.base, message.head]
        case m.Chain():
            return FrameKind.CHAIN, [message.head, list(message.envelopes)]
        case m.GetContent():
            return FrameKind.GET_CONTENT, _get_content(message)
        case m.NotAvailable():
            return FrameKind.NOT_AVAILABLE, [message.item]
        case m.Busy():
            return FrameKind.BUSY, [message.item, message.retry_after_ms]
        case m.BadRequest():
            return FrameKind.BAD_REQUEST, [message.code.value]
        case m.Cancel():
            return FrameKind.CANCEL, []
        case m.AuditHead():
            return FrameKind.AUDIT_HEAD, [message.checkpoint]


def parse_message(kind: FrameKind, body: bytes) -> m.Message:
    """The message of a frame.

    Raises:
        WireError: FRAME_TOO_LARGE, TYPE_MISMATCH (a content frame), or what `wire/packing.py`
            names.
    """
    if len(body) > BODY_BYTES_MAX[kind]:
        raise WireError(FRAME_TOO_LARGE, f"a body of {len(body)} bytes")
    parser = _PARSERS.get(kind)
    if parser is None:
        raise WireError(TYPE_MISMATCH, "content is no message")
    return parser(unpack(body, elements_max=MESSAGE_ELEMENTS_MAX))
