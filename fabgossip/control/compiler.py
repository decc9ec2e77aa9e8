"""Sources to artifacts: same nodes, documents, published state and time in, same bytes out.

Rows are ordered by key; no clock, no randomness. What has not changed and is not due for renewal
is left alone, so a second compile of the same input makes nothing new. Due is:

- what says something else than before, or to somebody else, or in another epoch;
- what names a key that does not count any more, or was itself revoked;
- what is past half of its refresh span; the revocation list sooner;
- a tombstone only by epoch and keys: it withdraws until its expiry, and nothing need be fresh.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from fabgossip.control.advice import near_word
from fabgossip.control.directories import peer_directories, storage_directories
from fabgossip.control.drafts import (
    CompileInput,
    Draft,
    PublishedHead,
    UnsignedArtifact,
    audience_of,
    content_hash_of,
    draft_of,
    is_worn,
    manifest_hash_of,
    manifest_of,
    namespace_of,
)
from fabgossip.control.snapshots import node_path, node_snapshots, snapshot_of
from fabgossip.control.sources.folder import Document, Source
from fabgossip.control.sources.problems import COMPILED_TYPES, SourceProblemsError
from fabgossip.errors import ControlError, ModelError
from fabgossip.model.artifact import (
    TYPE_RULES,
    ArtifactType,
    Base,
    Manifest,
    Tombstone,
)
from fabgossip.model.authority import RevocationList, RevokedKind, TrustBundle
from fabgossip.model.ids import ManifestHash, key_id_of
from fabgossip.model.increments import INCREMENT_MARK
from fabgossip.model.moment import UnixTime, is_past, seconds_between
from fabgossip.model.scope import Family
from fabgossip.model.topology import WINDOW_MAX
from fabgossip.trust.binding import size_max_of
from fabgossip.wire.contents import bundle_bytes, revocations_bytes
from fabgossip.wire.increments import increment_bytes
from fabgossip.wire.tables import Problem

REVOCATIONS_EVERY_S: Final = 300
"""The revocation list sooner: it is the sign of life by which nodes tell a quiet control plane from
one they cannot hear (*start*)."""


def compile_artifacts(given: CompileInput) -> tuple[UnsignedArtifact, ...]:
    """The artifacts that are new, changed or due for renewal, in the order to hand them out: trust;
    what takes away; each node's own snapshot, without which a new node believes nothing else; who
    is who; documents; and snapshots that may list all of that.

    Raises:
        SourceProblemsError: every problem of the source; nothing is made then.
        ControlError: there are no nodes to compile for.
    """
    _check_nodes(given)
    work = _Work(given)
    for draft in _trust_drafts(given):
        work.make(draft)
    documents = sorted(given.source.documents, key=lambda one: one.namespace)
    work.withdraw_again(documents)
    for draft in node_snapshots(given):
        work.make(draft)
    own, others, lists = _phases(given, documents)
    for document in own:
        work.attempt(document, partial(snapshot_of, given, document))
    for draft in (*peer_directories(given), *storage_directories(given)):
        work.make(draft)
    for document in others:
        work.attempt(document, partial(_document_draft, given, document))
    for document in lists:
        newest = tuple(work.newest.values())
        work.attempt(document, partial(snapshot_of, given, document, newest))
    return work.result()


def _phases(
    given: CompileInput, documents: list[Document]
) -> tuple[list[Document], list[Document], list[Document]]:
    """Documents for a node's own snapshot, those that are no snapshot, and all other snapshots."""
    named = {node_path(node_id) for node_id in given.members}
    kind = ArtifactType.CLUSTER_SNAPSHOT
    snapshots = [one for one in documents if one.artifact_type is kind]
    own = [one for one in snapshots if one.namespace in named and not one.covers]
    others = [one for one in documents if one.artifact_type is not kind]
    return own, others, [one for one in snapshots if one not in own]


def compile_trust(given: CompileInput) -> tuple[UnsignedArtifact, ...]:
    """Of the above only the trust bundle and the revocation list: a restriction waits for no other
    part of the input to be right."""
    work = _Work(given)
    for draft in _trust_drafts(given):
        work.make(draft)
    return work.result()


class _Work:
    """The artifacts made so far, what is newest of each namespace, and what was wrong."""

    __slots__ = ("_given", "_made", "_names", "_problems", "newest")

    def __init__(self, given: CompileInput) -> None:
        self._given = given
        self._made: list[UnsignedArtifact] = []
        self._names: set[str] = set()
        self._problems: list[Problem] = []
        self.newest = dict(given.published)

    def attempt(self, document: Document, draw: Callable[[], Draft]) -> None:
        """Draft a document and make what is due of it; what is wrong with it is kept."""
        try:
            draft = draw()
            if self._given.is_revoked(draft.namespace.node_id):
                return
            _check_document(self._given, draft)
            if draft.namespace.text in self._names:
                raise ControlError(f"{document.namespace}: named twice; take one out")
            self.make(draft)
        except (ModelError, ControlError) as error:
            key = document.key or document.namespace
            said = str(error).removeprefix(f"{document.namespace}: ")
            detail, _, suggestion = said.partition("; ")
            self._problems.append(
                Problem(code="conflict", key=key, detail=detail, suggestion=suggestion)
            )

    def make(self, draft: Draft) -> None:
        """What is due of a draft."""
        self._names.add(draft.namespace.text)
        for one in _versions(self._given, draft):
            self._add(one)

    def withdraw_again(self, documents: list[Document]) -> None:
        """Tombstones of an older epoch, or of keys that do not count any more."""
        prefix = self._given.bundle.prefix
        spoken = {f"{prefix}/{one.namespace}" for one in documents}
        for name, head in sorted(self._given.published.items()):
            before = head.manifest
            if before.tombstone is None or name in spoken | self._names:
                continue
            # What it withdrew has expired by the time it expires.
            is_over = is_past(before.expires_at, self._given.now)
            if not is_over and not _still_stands(self._given, before):
                self._add(withdrawal(self._given, before, before.tombstone))

    def _add(self, one: UnsignedArtifact) -> None:
        self._made.append(one)
        if one.manifest.base is None:
            self.newest[one.manifest.namespace.text] = head_after(
                self.newest.get(one.manifest.namespace.text), one.manifest, one.content
            )

    def result(self) -> tuple[UnsignedArtifact, ...]:
        """All that was made; raises `ControlError` with all that was wrong."""
        prefix = self._given.bundle.prefix
        for name in sorted(self._given.restored):
            head = self._given.published.get(name)
            if head is None or head.manifest.tombstone is None:
                detail = f"{name.removeprefix(prefix + '/')}: is not withdrawn"
                hint = "leave it out"
                self._problems.append(
                    Problem(code="conflict", key="--restore", detail=detail, suggestion=hint)
                )
        if self._problems:
            raise SourceProblemsError(self._problems)
        return tuple(self._made)


def head_after(
    before: PublishedHead | None, manifest: Manifest, content: bytes | None
) -> PublishedHead:
    """The head of a namespace once this manifest is published."""
    window: tuple[ManifestHash, ...] = ()
    if before is not None and _is_history(before.manifest, manifest):
        window = (manifest_hash_of(before.manifest), *before.window)[:WINDOW_MAX]
    return PublishedHead(manifest=manifest, content=content, window=window)


def _is_history(before: Manifest, manifest: Manifest) -> bool:
    """Whether a replaced manifest is worth keeping: of this epoch, and nothing was withdrawn."""
    is_of_epoch = before.authority_epoch == manifest.authority_epoch
    return is_of_epoch and before.tombstone is None and manifest.tombstone is None


def withdrawal(given: CompileInput, before: Manifest, tombstone: Tombstone) -> UnsignedArtifact:
    """The tombstone that follows a manifest, for the same audience under the same rights; raises
    `ControlError` where too few keys may sign it.

    It outlives what it withdraws, also where the clock was set back in between: nobody hands it on
    past its end.
    """
    draft = Draft(
        artifact_type=before.artifact_type,
        namespace=before.namespace,
        audience=before.audience,
        content=b"",
    )
    version = _next_version(given, before)
    manifest = manifest_of(given, draft, draft.artifact_type, version, b"", tombstone=tombstone)
    if is_past(manifest.expires_at, before.expires_at):
        manifest = replace(manifest, expires_at=before.expires_at)
    return UnsignedArtifact(manifest=manifest, content=b"")


def is_worth_handing(given: CompileInput, manifest: Manifest) -> bool:
    """Whether nodes that know today's trust would take what was once published. Steps of the trust
    chain they take or are past."""
    if manifest.artifact_type is ArtifactType.TRUST_BUNDLE:
        return True
    is_over = is_past(manifest.expires_at, given.now) and manifest.tombstone is None
    of_revoked = given.is_revoked(manifest.namespace.node_id)
    return not is_over and not of_revoked and _still_stands(given, manifest)


def tombstone_of(given: CompileInput, path: str, tombstone: Tombstone) -> UnsignedArtifact:
    """The withdrawal of a namespace.

    Raises:
        ControlError: there is nothing to withdraw, or the compiler itself makes what lives there.
        ModelError: `path` is no namespace.
    """
    namespace = namespace_of(given.bundle, path)
    head = given.published.get(namespace.text)
    if head is None:
        prefix = f"{given.bundle.prefix}/"
        hint = near_word(
            path,
            (
                name.removeprefix(prefix)
                for name, one in given.published.items()
                if one.manifest.artifact_type not in COMPILED_TYPES
            ),
        )
        raise ControlError(f"{path}: nothing was ever published there{hint}")
    if head.manifest.artifact_type in COMPILED_TYPES:
        raise ControlError(f"{path}: is made from the enrolled nodes; it cannot be withdrawn")
    if any(path == node_path(node_id) for node_id in given.members):
        raise ControlError(f"{path}: every enrolled node has its own snapshot; revoke the node")
    if head.manifest.tombstone is not None and _still_stands(given, head.manifest):
        raise ControlError(f"{path}: is withdrawn already, by {head.manifest.order}")
    return withdrawal(given, head.manifest, tombstone)


def _check_nodes(given: CompileInput) -> None:
    if not given.members:
        raise ControlError("no node is enrolled: fabgossip control enroll NODE")
    if not any(row.stores for row in given.members.values()):
        raise ControlError("no enrolled node stores for others: enroll one with --stores cluster")


def _trust_drafts(given: CompileInput) -> list[Draft]:
    bundle = given.bundle
    return [
        draft_of(bundle, ArtifactType.TRUST_BUNDLE, Family.TRUST_BUNDLE, bundle_bytes(bundle)),
        draft_of(
            bundle,
            ArtifactType.REVOCATION_LIST,
            Family.TRUST_REVOCATIONS,
            revocations_bytes(given.revocations),
        ),
    ]


def bundle_step(before: TrustBundle | None, bundle: TrustBundle, now: UnixTime) -> UnsignedArtifact:
    """The step of the chain from `before` to `bundle`: it names the roots of both, as both must
    sign."""
    given = CompileInput(
        bundle=bundle,
        nodes=(),
        source=Source(),
        revocations=RevocationList(),
        published={},
        now=now,
        claims_keys=(),
    )
    draft = _trust_drafts(given)[0]
    whole = _whole(given, draft, None)
    roots = {*bundle.root_keys, *(() if before is None else before.root_keys)}
    signers = tuple(sorted(key_id_of(root) for root in roots))
    return replace(whole, manifest=replace(whole.manifest, signer_key_ids=signers))


def _document_draft(given: CompileInput, document: Document) -> Draft:
    namespace = namespace_of(given.bundle, document.namespace)
    return Draft(
        artifact_type=document.artifact_type,
        namespace=namespace,
        audience=audience_of(namespace, document.audience),
        content=document.content,
        increments=document.increments,
    )


def _check_document(given: CompileInput, draft: Draft) -> None:
    """Raises `ControlError` if a document cannot be what its namespace is to say."""
    kind, path = draft.artifact_type, draft.namespace.text.removeprefix(f"{given.bundle.prefix}/")
    if draft.namespace.family not in TYPE_RULES[kind].families:
        raise ControlError(f"{path}: {kind.value} does not live there")
    size_max = size_max_of(given.bundle, kind)
    if len(draft.content) > size_max:
        raise ControlError(f"{path}: {len(draft.content)} bytes; {kind.value} may have {size_max}")
    if (RevokedKind.CONTENT, content_hash_of(draft.content)) in given.revoked:
        raise ControlError(f"{path}: this content is revoked; publish another")
    before = given.published.get(draft.namespace.text)
    if before is None or before.manifest.tombstone is None:
        return
    if draft.namespace.text not in given.restored:
        raise ControlError(
            f"{path}: is withdrawn by {before.manifest.order}, and the source still names it; take "
            f"it out, or compile with --restore {path}"
        )


def _versions(given: CompileInput, draft: Draft) -> list[UnsignedArtifact]:
    before = given.published.get(draft.namespace.text)
    if before is not None and not _is_due(given, draft, before.manifest):
        return []
    whole = _whole(given, draft, before)
    increment = _increment(given, draft, before, whole.manifest) if draft.increments else None
    return [whole] if increment is None else [_marked(whole), increment]


def _marked(whole: UnsignedArtifact) -> UnsignedArtifact:
    """A snapshot that says that an increment to it is signed as well: nobody asks for one in
    vain."""
    extensions = (*whole.manifest.extensions, (INCREMENT_MARK, b""))
    return replace(whole, manifest=replace(whole.manifest, extensions=extensions))


def _is_due(given: CompileInput, draft: Draft, before: Manifest) -> bool:
    age = seconds_between(before.issued_at, given.now)
    is_half_gone = is_worn(before.issued_at, before.refresh_by, given.now)
    if draft.artifact_type is ArtifactType.TRUST_BUNDLE and before.content_hash == content_hash_of(
        draft.content
    ):
        return is_half_gone and given.renews_bundle
    same = (
        before.content_hash == content_hash_of(draft.content)
        and before.audience == draft.audience
        and before.tombstone is None
    )
    if not same or not _still_stands(given, before):
        return True
    is_sign_of_life = draft.artifact_type is ArtifactType.REVOCATION_LIST
    return is_half_gone or (is_sign_of_life and age >= REVOCATIONS_EVERY_S)


def _still_stands(given: CompileInput, before: Manifest) -> bool:
    """Whether today's trust leaves a manifest as it is, times apart."""
    return (
        before.authority_epoch == given.bundle.authority_epoch
        and given.signers.needs_no_renewal(before.signer_key_ids, before.issued_at)
        and (RevokedKind.MANIFEST, manifest_hash_of(before)) not in given.revoked
        and (RevokedKind.CONTENT, before.content_hash) not in given.revoked
    )


def _whole(given: CompileInput, draft: Draft, before: PublishedHead | None) -> UnsignedArtifact:
    if draft.artifact_type is ArtifactType.TRUST_BUNDLE:
        # A bundle's version is its own; the same bundle is only ever issued again with fresh times.
        version = given.bundle.bundle_version
    else:
        version = 1 if before is None else _next_version(given, before.manifest)
    manifest = manifest_of(given, draft, draft.artifact_type, version, draft.content)
    return UnsignedArtifact(manifest=manifest, content=draft.content)


def _next_version(given: CompileInput, before: Manifest) -> int:
    return 1 if before.authority_epoch < given.bundle.authority_epoch else before.config_version + 1


def _increment(
    given: CompileInput, draft: Draft, before: PublishedHead | None, whole: Manifest
) -> UnsignedArtifact | None:
    """What changed since the version before, where that pays and both are of one epoch."""
    if (
        before is None
        or not before.content
        or before.manifest.authority_epoch != whole.authority_epoch
    ):
        return None
    frame = increment_bytes(before.content, draft.content)
    if frame is None:
        return None
    base = Base(
        version=before.manifest.config_version,
        content_hash=before.manifest.content_hash,
        result_hash=whole.content_hash,
        result_size=whole.content_size,
    )
    kind = ArtifactType.SNAPSHOT_INCREMENT
    manifest = manifest_of(given, draft, kind, whole.config_version, frame, base=base)
    return UnsignedArtifact(manifest=manifest, content=frame)
