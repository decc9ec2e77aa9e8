"""Laws of bytes: what is written is read back, what is read has one encoding, nothing else raised.

Hypothesis draws well-formed values, damages their bytes, and draws bytes of its own.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from operator import itemgetter

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabgossip.errors import ModelError, WireError
from fabgossip.model import messages as m
from fabgossip.model.artifact import ArtifactType, Manifest, Tombstone
from fabgossip.model.authority import (
    ClaimItem,
    KeyStatus,
    NodeCa,
    Opening,
    Revocation,
    RevocationList,
    RevokedKind,
    Right,
    SigningKey,
    TrustBundle,
)
from fabgossip.model.envelope import PAYLOAD_BYTES_MAX, PayloadKind, Signature
from fabgossip.model.ids import NOTHING_HASH, ArtifactId, ContentHash, KeyId, NodeId, key_id_of
from fabgossip.model.moment import UnixTime
from fabgossip.model.policy import DegradedPolicy, DegradedRule
from fabgossip.model.scope import (
    Audience,
    ScopeId,
    ScopeKind,
    StorageAssignment,
    audience_from_scope_ids,
    parse_namespace,
    parse_scope_id,
)
from fabgossip.model.topology import (
    Endpoint,
    FailureDomain,
    PeerClass,
    PeerDirectory,
    PeerRecord,
    Snapshot,
)
from fabgossip.wire.codec import message_body, parse_message
from fabgossip.wire.contents import (
    bundle_bytes,
    parse_bundle,
    parse_peer_directory,
    parse_revocations,
    parse_snapshot,
    peer_directory_bytes,
    revocations_bytes,
    snapshot_bytes,
)
from fabgossip.wire.envelopes import envelope_bytes, parse_envelope
from fabgossip.wire.framing import FrameKind, FrameReader
from fabgossip.wire.packing import Value, pack, unpack
from fabgossip.wire.statements import (
    TIME_MAX,
    claims_bytes,
    manifest_bytes,
    opening_value,
    openings_from,
    parse_claims,
    parse_manifest,
)
from tests.trust import factory as f
from tests.wire.samples import MESSAGES, SAMPLES, Sample, code_when_read

INTEGER_MAX = 2**53 - 1
LETTERS = "az09AZ.-_:/%\\\x00\n \x7f\xe4\u0430\u20ac\U0001f600"
"""Some of every length in UTF-8, and what grammars are attacked with."""
ids = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", fullmatch=True).filter(
    lambda text: len(text) <= 63
)
hashes = st.binary(min_size=32, max_size=32)
counts = st.integers(1, INTEGER_MAX)
moments = st.integers(0, TIME_MAX).map(UnixTime)
scopes = st.builds(
    lambda kind, name: ScopeId(f"{kind.value}:{name}"), st.sampled_from(ScopeKind), ids
)
types = st.sampled_from(ArtifactType)
values: st.SearchStrategy[Value] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(LETTERS, max_size=40)
    | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=20),
    max_leaves=40,
)


def hash_sets(most: int, least: int = 0) -> st.SearchStrategy[tuple[bytes, ...]]:
    drawn = st.lists(hashes, min_size=least, max_size=most, unique=True)
    return drawn.map(lambda rows: tuple(sorted(rows)))


@st.composite
def audiences(draw: st.DrawFn) -> Audience:
    others = draw(st.lists(scopes, max_size=10))
    named = {f"cluster:{draw(ids)}"}
    named |= {one.text for one in others if one.kind in (ScopeKind.ROLE, ScopeKind.NODE)}
    named |= {one.text for one in others[:1] if one.kind is ScopeKind.ORG}
    return audience_from_scope_ids(tuple(ScopeId(text) for text in sorted(named)))


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    times = sorted(draw(st.lists(moments, min_size=3, max_size=3, unique=True)))
    is_withdrawn = draw(st.booleans())
    names = draw(st.lists(ids.map(lambda text: text[:32]), max_size=4, unique=True))
    return Manifest(
        artifact_id=ArtifactId(draw(ids)),
        artifact_type=ArtifactType.ROUTE_POLICY_BUNDLE,
        cluster_id=f.CLUSTER,
        audience=draw(audiences()),
        namespace=parse_namespace(f"{f.PREFIX}/routes/{draw(ids)}"),
        config_version=draw(counts),
        authority_epoch=draw(counts),
        issued_at=times[0],
        refresh_by=times[1],
        expires_at=times[2],
        signer_key_ids=tuple(KeyId(one) for one in draw(hash_sets(16, 1))),
        content_hash=NOTHING_HASH if is_withdrawn else ContentHash(draw(hashes)),
        content_size=0 if is_withdrawn else draw(st.integers(0, 1 << 20)),
        min_trust_version=draw(st.integers(0, INTEGER_MAX)),
        min_revocation_version=draw(st.integers(0, INTEGER_MAX)),
        tombstone=Tombstone(reason=draw(ids), purge=draw(st.booleans())) if is_withdrawn else None,
        extensions=tuple((name, draw(st.binary(max_size=200))) for name in sorted(names)),
    )


assignments = st.builds(
    StorageAssignment,
    st.lists(scopes, min_size=1, max_size=5, unique=True).map(lambda rows: tuple(sorted(rows))),
    st.sets(types.map(lambda one: one.value), min_size=1).map(lambda rows: tuple(sorted(rows))),
    st.none() | st.sets(st.integers(0, 255)).map(lambda rows: tuple(sorted(rows))),
)
salts = st.binary(min_size=16, max_size=16)
hidden = scopes.filter(lambda one: one.kind in (ScopeKind.ORG, ScopeKind.SERVICE))
items = hidden.map(lambda one: ClaimItem(scope=one.text)) | assignments.map(
    lambda one: ClaimItem(assignment=one)
)
openings = st.lists(st.builds(Opening, salts, items), max_size=6, unique_by=repr).map(tuple)


@st.composite
def bundles(draw: st.DrawFn) -> TrustBundle:
    keys = draw(st.lists(hashes, max_size=4))
    return replace(
        f.BUNDLE,
        bundle_version=draw(counts),
        authority_epoch=draw(counts),
        root_keys=draw(hash_sets(8)),
        keys=tuple(
            SigningKey(
                key_id=key_id_of(key),
                public_key=key,
                status=draw(st.sampled_from(KeyStatus)),
                not_before=draw(moments),
                not_after=draw(moments),
            )
            for key in keys
        ),
        rights=(
            Right(
                kind=draw(st.sampled_from(PayloadKind)).value,
                prefix=draw(ids),
                threshold=draw(st.integers(1, 256)),
                key_ids=tuple(KeyId(one) for one in draw(hash_sets(4))),
            ),
        ),
        node_cas=tuple(
            draw(
                st.lists(
                    st.builds(NodeCa, st.binary(max_size=100), st.sampled_from(KeyStatus)),
                    max_size=8,
                )
            )
        ),
    )


revocation_lists = st.lists(
    st.builds(
        Revocation,
        kind=st.sampled_from(RevokedKind),
        value=hashes,
        reason=ids,
        since_epoch=counts,
        since=moments,
        until=moments,
    ),
    max_size=8,
).map(lambda rows: RevocationList(entries=tuple(rows)))
addresses = st.text("abc.:[]0123", max_size=260)
snapshots = st.builds(
    Snapshot,
    endpoints=st.lists(
        st.builds(Endpoint, address=addresses, node_id=ids.map(NodeId)), max_size=5
    ).map(tuple),
    degraded=st.builds(
        DegradedPolicy,
        rules=st.lists(
            st.builds(
                DegradedRule,
                artifact_type=types,
                max_age_s=st.integers(0, INTEGER_MAX),
                withhold=st.booleans(),
            ),
            max_size=5,
        ).map(tuple),
    ),
    settings=st.binary(max_size=200),
)


@st.composite
def directories(draw: st.DrawFn) -> PeerDirectory:
    declared = tuple(draw(st.lists(audiences(), max_size=4)))
    names = sorted(draw(st.sets(ids, max_size=5)))
    return PeerDirectory(
        scope=draw(scopes),
        audiences=declared,
        peers=tuple(
            PeerRecord(
                node_id=NodeId(name),
                addresses=tuple(draw(st.lists(addresses, max_size=3))),
                domain=FailureDomain(draw(ids), draw(ids), draw(ids)),
                peer_class=draw(st.sampled_from(PeerClass)),
                is_storage=draw(st.booleans()),
                audiences=tuple(n for n in range(len(declared)) if draw(st.booleans())),
            )
            for name in names
        ),
    )


@pytest.mark.slow
@given(values)
def test_a_value_has_one_encoding(value: Value) -> None:
    data = pack(value)
    assert unpack(data) == value
    assert pack(unpack(data)) == data


@pytest.mark.slow
@given(manifests())
def test_a_manifest_is_read_back(manifest: Manifest) -> None:
    assert parse_manifest(manifest_bytes(manifest)) == manifest


@pytest.mark.slow
@given(openings, st.lists(ids, max_size=8, unique=True), counts)
def test_claims_and_their_openings_are_read_back(
    shown: tuple[Opening, ...], roles: list[str], version: int
) -> None:
    statement = replace(f.claims(shown), roles=tuple(sorted(roles)), claims_version=version)
    assert parse_claims(claims_bytes(statement)) == statement
    kind, body = message_body(m.Claims(openings=shown))
    assert parse_message(kind, body) == m.Claims(openings=shown)


@pytest.mark.slow
@given(bundles())
def test_a_bundle_is_read_back(bundle: TrustBundle) -> None:
    assert parse_bundle(bundle_bytes(bundle)) == bundle


@given(revocation_lists)
def test_a_revocation_list_is_read_back(listed: RevocationList) -> None:
    assert parse_revocations(revocations_bytes(listed)) == listed


@given(snapshots)
def test_a_snapshot_is_read_back(snapshot: Snapshot) -> None:
    assert parse_snapshot(snapshot_bytes(snapshot)) == snapshot


@pytest.mark.slow
@given(directories())
def test_a_directory_is_read_back(directory: PeerDirectory) -> None:
    assert parse_peer_directory(peer_directory_bytes(directory)) == directory


@given(
    st.sampled_from(PayloadKind),
    st.binary(min_size=1, max_size=PAYLOAD_BYTES_MAX),
    st.lists(
        st.tuples(hashes, st.binary(min_size=64, max_size=64)), max_size=8, unique_by=itemgetter(0)
    ),
)
def test_an_envelope_is_read_back(
    kind: PayloadKind, payload: bytes, rows: list[tuple[bytes, bytes]]
) -> None:
    signatures = {key_id: Signature(KeyId(key_id), value) for key_id, value in rows}
    read = parse_envelope(envelope_bytes(kind, payload, tuple(signatures.values())))
    assert (read.kind, read.payload) == (kind, payload)
    assert {one.key_id: one for one in read.signatures} == signatures
    assert envelope_bytes(read.kind, read.payload, read.signatures) == read.raw


@given(st.sampled_from(SAMPLES), st.data())
def test_damaged_bytes_are_refused_or_are_the_one_encoding_of_another_value(
    sample: Sample, data: st.DataObject
) -> None:
    raw = bytearray(sample.data)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    for damaged in (bytes(raw), bytes(raw[:cut]) + bytes(raw[cut + 1 :])):
        if code_when_read(sample.parse, damaged) is None:
            assert sample.again(damaged) == damaged


@pytest.mark.slow
@given(st.sampled_from(SAMPLES), st.data())
def test_a_foreign_value_deep_inside_is_refused_or_legal(
    sample: Sample, data: st.DataObject
) -> None:
    value = msgpack.unpackb(sample.data, raw=False)
    changed = pack(replaced(value, data.draw))
    if code_when_read(sample.parse, changed) is None:
        assert sample.again(changed) == changed


def replaced(value: list[Value], draw: Callable[[st.SearchStrategy[Value]], Value]) -> Value:
    """`value` with one part, at any depth, drawn anew, left out or doubled."""
    if not value:
        return draw(values)
    place = draw(st.integers(0, len(value) - 1))
    assert isinstance(place, int)
    inner = value[place]
    if isinstance(inner, list) and draw(st.booleans()):
        return [*value[:place], replaced(inner, draw), *value[place + 1 :]]
    middle = draw(st.sampled_from([[], [inner, inner], None]))
    found = [draw(values)] if middle is None else middle
    assert isinstance(found, list)
    return [*value[:place], *found, *value[place + 1 :]]


@given(st.sampled_from(SAMPLES), st.binary(max_size=400))
def test_bytes_of_anybody_are_refused_by_name(sample: Sample, data: bytes) -> None:
    if code_when_read(sample.parse, data) is None:
        assert sample.again(data) == data


@given(st.text(LETTERS, max_size=600))
def test_text_of_anybody_is_a_word_or_a_model_error(text: str) -> None:
    for parse in (parse_namespace, parse_scope_id):
        with suppress(ModelError):
            assert parse(text).text == text


@given(values)
def test_openings_of_anybody_are_refused_by_name(value: Value) -> None:
    with suppress(WireError):
        read = openings_from(value)
        assert [opening_value(one) for one in read] == value


FRAMES = [message_body(message) for message in MESSAGES]


@given(st.lists(st.sampled_from(FRAMES), max_size=8), st.data())
def test_any_split_of_a_stream_gives_the_same_frames(
    sent: list[tuple[FrameKind, bytes]], data: st.DataObject
) -> None:
    stream = b""
    for kind, body in sent:
        stream += len(body).to_bytes(3, "big") + bytes((kind, 0, 0, 0, 1)) + body
        if data.draw(st.booleans()):
            filler = data.draw(st.binary(max_size=50))
            stream += len(filler).to_bytes(3, "big") + bytes((250, 5, 0, 0, 0)) + filler
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=12)))
    reader = FrameReader()
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        reader.feed(stream[start:end])
        found += [(frame.kind, bytes(frame.body)) for frame in reader.frames()]
    assert found == sent


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_a_stream_of_anybody_gives_frames_or_a_named_refusal(pieces: list[bytes]) -> None:
    reader = FrameReader()
    read = 0
    with suppress(WireError):
        for piece in pieces:
            reader.feed(piece)
            read += sum(8 + len(frame.body) for frame in reader.frames())
    assert read <= sum(len(piece) for piece in pieces)
