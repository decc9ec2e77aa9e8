"""The authority folder: keys, trust chain, enrolled nodes, what was revoked and published.

```
authority/ (0700)
  lock                            one changing command at a time
  keys/<role>/<key id>.pem        0600, encrypted unless the platform is demo-...
  keys/node-ca/<certificate>.pem  the same, named by the SHA-256 of the CA's DER
  trust/<n>.content <n>.envelope  the chain, as each step was first signed
  trust/bootstrap                 the newest bundle as a file: what new nodes pin
  nodes/<node id>.json            what is registered of each node
  revocations.json                what was revoked
  published/<hash>.envelope       every artifact ever published, content/<hash> beside it
  heads.json                      the newest of each namespace, and whether it was delivered
  ledger/                         who did what, recorded before it is done
```

A new bundle is in force once its envelope has its name in `trust/`; what has to follow from that is
made good by the next command that takes the lock, should this one be cut short.
"""

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from fabgossip.control.advice import near_word
from fabgossip.control.bundles import (
    CLAIMS_ROLE,
    KEY_ROLES,
    LEDGER_KIND,
    ROOTS,
    first_bundle,
    takes_away,
)
from fabgossip.control.compiler import (
    bundle_step,
    compile_artifacts,
    compile_trust,
    is_worth_handing,
    tombstone_of,
)
from fabgossip.control.deeds import (
    authority_deed,
    replication_deeds,
    revocation_deeds,
    signed_deeds,
)
from fabgossip.control.drafts import (
    CompileInput,
    Minimums,
    PublishedHead,
    UnsignedArtifact,
    is_worn,
    manifest_hash_of,
    revoked_keys,
)
from fabgossip.control.enrollment import (
    NodeRow,
    active_node_ca,
    certificate_der,
    node_ca_certificate,
)
from fabgossip.control.files import make_folder, replace_file, said
from fabgossip.control.keystore import (
    ArtifactKey,
    KeyFolder,
    KeyRing,
    new_artifact_key,
    new_node_key,
)
from fabgossip.control.ledger import Deed, Ledger, LedgerSigner
from fabgossip.control.published import FOLDERS, PublishedFolder
from fabgossip.control.revoking import RevocationBook, RevocationRow, read_book, write_book
from fabgossip.control.signing import (
    SignedArtifact,
    Signers,
    sign_artifact,
    signing_keys,
)
from fabgossip.control.sources.folder import Source
from fabgossip.control.sources.problems import SourceProblemsError
from fabgossip.control.uncompiled import Uncompiled, uncompiled_of
from fabgossip.errors import ControlError, WireError
from fabgossip.model.artifact import TRUST_TYPES, ArtifactType, Tombstone
from fabgossip.model.authority import (
    ContentCap,
    RevocationList,
    RevokedKind,
    TrustBundle,
)
from fabgossip.model.ids import ClusterId, KeyId, NodeId, PlatformId, key_id_of
from fabgossip.model.moment import UnixTime
from fabgossip.model.policy import ReplicationPolicy
from fabgossip.trust.bundle import right_for
from fabgossip.trust.checkpoints import ledger_keys
from fabgossip.trust.revocation import node_token
from fabgossip.wire.contents import parse_bundle, parse_storage_directory, pinned_bytes
from fabgossip.wire.envelopes import parse_envelope
from fabgossip.wire.statements import parse_manifest
from fabgossip.wire.tables import Problem, TableError, structure_table


class AuthorityFolder:
    """The control plane's state on disk."""

    def __init__(self, folder: Path, passphrase: bytes | None = None, reason: str = "") -> None:
        """`reason` is why the operator does what follows, for the ledger."""
        self.folder = folder
        self.keys = KeyFolder(folder / "keys", passphrase)
        self._published = PublishedFolder(folder)
        self._ledger = Ledger(folder, reason)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One changing command at a time; raises `ControlError` if the folder is no authority or
        is in use."""
        path = self.folder / "lock"
        if not (self.folder / "trust" / "bootstrap").is_file():
            raise ControlError(
                f"{self.folder}: no authority here; fabgossip control init makes one"
            )
        with said(path):
            lock = path.open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ControlError(
                    f"{self.folder}: another control command is at work; try again"
                ) from error
            except OSError as error:
                raise ControlError(f"{path}: cannot be locked: {error.strerror}") from error
            self._settle()
            yield

    def create(
        self,
        platform_id: PlatformId,
        cluster_id: ClusterId,
        now: UnixTime,
        caps: tuple[ContentCap, ...],
        epoch: int = 1,
    ) -> TrustBundle:
        """Make keys, trust bundle 1 and the bootstrap file; raises `ControlError` if the folder
        exists."""
        if self.folder.exists():
            raise ControlError(f"{self.folder}: File exists; an authority is never overwritten")
        make_folder(self.folder)
        for name in ("trust", "nodes", *FOLDERS):
            make_folder(self.folder / name)
        keys = {role.name: new_keys(role.count) for role in KEY_ROLES} | {"root": new_keys(ROOTS)}
        ca_key = new_node_key()
        ca = certificate_der(node_ca_certificate(ca_key, cluster_id, now))
        bundle = first_bundle(platform_id, cluster_id, keys, ca, now, caps, epoch)
        ring = KeyRing((role, key) for role, some in keys.items() for key in some)
        unsigned = bundle_step(None, bundle, now)
        signed = sign_artifact(bundle, ring, unsigned.manifest, unsigned.content)
        signer = ledger_signer(Signers(bundle=bundle), ring, (bundle,), now)
        deeds = (authority_deed(bundle), *signed_deeds((signed,)))
        with self._ledger.noting(deeds, signer, now, is_first=True):
            for role, some in keys.items():
                for key in some:
                    self.keys.add(role, key)
            self.keys.add_node_ca(ca_key, ca)
            self.put_in_force(bundle, signed)
        return bundle

    @contextmanager
    def noted(self, deeds: Sequence[Deed], now: UnixTime) -> Iterator[None]:
        """Record what is about to be done, let it be done, sign the ledger; raises `ControlError`
        before anything is done."""
        with self.noted_by(deeds, self.signers(now), self.keys.ring(), now):
            yield

    @contextmanager
    def noted_by(
        self, deeds: Sequence[Deed], signers: Signers, ring: KeyRing, now: UnixTime
    ) -> Iterator[None]:
        """The same, signed by keys that may count only from now on."""
        signer = ledger_signer(signers, ring, self.chain(), now)
        with self._ledger.noting(deeds, signer, now):
            yield

    def put_in_force(self, bundle: TrustBundle, signed: SignedArtifact) -> None:
        """Make a bundle the newest of the chain; what it needs is written already."""
        trust = self.folder / "trust"
        replace_file(trust / f"{bundle.bundle_version}.content", signed.content)
        replace_file(trust / f"{bundle.bundle_version}.envelope", signed.envelope)
        self._settle()

    def _settle(self) -> None:
        """What follows from the newest bundle: nodes are handed it, new ones pin it, and private
        keys it revoked are gone, thieves being why."""
        version = self._versions()[-1]
        signed = self._step(version)
        pinned = pinned_bytes(signed.envelope, signed.content)
        path = self.folder / "trust" / "bootstrap"
        if not path.is_file() or self.bootstrap() != pinned:
            self._published.record((signed,), is_step=True)
            replace_file(path, pinned)
        self.keys.remove_revoked(self.bundle())

    def _versions(self) -> list[int]:
        """The bundles of the chain, ascending; raises `ControlError`."""
        paths = list((self.folder / "trust").glob("*.envelope"))
        strange = [path for path in paths if not (path.stem.isascii() and path.stem.isdigit())]
        if strange:
            raise ControlError(f"{strange[0]}: expected NUMBER.envelope")
        found = sorted(int(path.stem) for path in paths)
        if not found:
            raise ControlError(f"{self.folder}: no trust bundle; fabgossip control init makes one")
        return found

    def _step(self, version: int) -> SignedArtifact:
        trust = self.folder / "trust"
        try:
            envelope = (trust / f"{version}.envelope").read_bytes()
            content = (trust / f"{version}.content").read_bytes()
            manifest = parse_manifest(parse_envelope(envelope).payload)
        except (OSError, WireError) as error:
            raise ControlError(f"{trust}: {error}") from error
        return SignedArtifact(manifest=manifest, envelope=envelope, content=content)

    def chain(self) -> tuple[TrustBundle, ...]:
        """Every trust bundle, the newest last; raises `ControlError`."""
        try:
            return tuple(parse_bundle(self._step(one).content) for one in self._versions())
        except WireError as error:
            raise ControlError(f"{self.folder}/trust: {error}") from error

    def bundle(self) -> TrustBundle:
        """The newest trust bundle; raises `ControlError`."""
        return self.chain()[-1]

    def bootstrap(self) -> bytes:
        """The pinned file every new node gets; raises `ControlError`."""
        path = self.folder / "trust" / "bootstrap"
        with said(path):
            return path.read_bytes()

    def minimums(self, now: UnixTime) -> Minimums:
        """The bundle that revoked something last, and the list that has every key and node revoked
        so far."""
        chain = self.chain()
        trust = [
            after.bundle_version for before, after in pairwise(chain) if takes_away(before, after)
        ]
        return Minimums(
            trust=max(trust, default=0),
            revocation=self.book().version_min(chain[-1].authority_epoch, now),
        )

    def signers(self, now: UnixTime) -> Signers:
        """Whose signatures count."""
        return Signers(bundle=self.bundle(), revoked=revoked_keys(self._revocations(now)))

    def signing_keys(self, kind: str, now: UnixTime) -> tuple[ArtifactKey, ...]:
        """The keys that sign claims or grants, as many as must; raises `ControlError`."""
        signers = self.signers(now)
        return signing_keys(signers, self.keys.ring(), kind, signers.bundle.prefix, now)

    def node_ca(self) -> ec.EllipticCurvePrivateKey:
        """The key that issues node certificates now; raises `ControlError`."""
        return self.keys.node_ca(active_node_ca(self.bundle()))

    def nodes(self) -> tuple[NodeRow, ...]:
        """Every enrolled node, by id; raises `ControlError`."""
        rows = []
        for path in sorted((self.folder / "nodes").glob("*.json")):
            try:
                rows.append(structure_table(json.loads(path.read_bytes()), NodeRow))
            except (OSError, ValueError, TableError) as error:
                raise ControlError(f"{path}: {error}") from error
        return tuple(rows)

    def find_node(self, node_id: str) -> NodeRow | None:
        """What is registered of a node."""
        return next((row for row in self.nodes() if row.node_id == node_id), None)

    def members(self, now: UnixTime) -> tuple[NodeRow, ...]:
        """Every enrolled node that is not revoked, by id; raises `ControlError`."""
        return tuple(self._given(Source(), now, KeyRing(())).members.values())

    def enrolled(self, node_id: str) -> NodeRow:
        """An enrolled node, revoked or not; raises `ControlError`."""
        row = self.find_node(node_id)
        if row is None:
            hint = near_word(node_id, (one.node_id for one in self.nodes()))
            raise ControlError(f"{node_id} is not enrolled{hint}")
        return row

    def member(self, node_id: str, now: UnixTime) -> NodeRow:
        """An enrolled node that is not revoked; raises `ControlError`."""
        row = self.enrolled(node_id)
        bundle = self.bundle()
        token = node_token(bundle.cluster_id, NodeId(node_id)).hex()
        for entry in self.book().in_force(bundle.authority_epoch, now):
            if (entry.revoked_kind, entry.value) == (RevokedKind.NODE, token):
                raise ControlError(
                    f'{node_id} is revoked: "{entry.reason}" (entry {entry.entry_id}); enroll it '
                    "under another id, or, if the entry is wrong: fabgossip control rotate "
                    f"--new-epoch --lift {entry.entry_id}"
                )
        return row

    def save_node(self, row: NodeRow) -> None:
        """Register a node, or a new version of it."""
        replace_file(
            self.folder / "nodes" / f"{row.node_id}.json",
            json.dumps(asdict(row), indent=2).encode(),
        )

    def save_book(self, book: RevocationBook) -> None:
        """Replace what was revoked."""
        write_book(self.folder / "revocations.json", book)

    def book(self) -> RevocationBook:
        """What was ever revoked; raises `ControlError`."""
        return read_book(self.folder / "revocations.json")

    def _revocations(self, now: UnixTime) -> RevocationList:
        return self.book().listed(self.bundle().authority_epoch, now)

    def list_version(self) -> int:
        """Version of the newest revocation list of this epoch; 0: none yet."""
        bundle = self.bundle()
        head = self.published().get(bundle.revocations_namespace)
        if head is None or head.manifest.authority_epoch != bundle.authority_epoch:
            return 0
        return head.manifest.config_version

    def revoke(self, row: RevocationRow, now: UnixTime) -> bool:
        """Put an entry into the book, for the next list; whether it was not in force already.

        Raises:
            ControlError: what it names must not be taken away by a list, or no list can hold it.
        """
        self._check_revocable(row, now)
        bundle, before = self.bundle(), self.book()
        numbered = replace(
            row, since_epoch=bundle.authority_epoch, listed_in=self.list_version() + 1
        )
        book = before.with_row(numbered, now)
        if book is before:
            return False
        is_node = row.revoked_kind is RevokedKind.NODE
        node = self.find_node(row.subject) if is_node else None
        with self.noted(revocation_deeds(numbered, node), now):
            self.save_book(book)
        return True

    def _check_revocable(self, row: RevocationRow, now: UnixTime) -> None:
        bundle = self.bundle()
        value = bytes.fromhex(row.value)
        if row.revoked_kind is RevokedKind.SIGNING_KEY:
            if value in {key_id_of(root) for root in bundle.root_keys}:
                raise ControlError(
                    "a root key: no list takes it away; fabgossip control rotate --roots does"
                )
            if value not in {key.key_id for key in bundle.keys}:
                raise ControlError(f"{row.subject}: no key of the trust bundle has this id")
            right = right_for(bundle, LEDGER_KIND, bundle.prefix)
            if right is not None and value in right.key_ids:
                raise ControlError(
                    "the key of the ledger, which no node asks for: "
                    "fabgossip control rotate --role ledger --keep-old revoke"
                )
            self._check_list_key(KeyId(value), now)
        heads = (one.manifest for one in self.published().values())
        trust = [one for one in heads if one.artifact_type in TRUST_TYPES]
        hashes: dict[RevokedKind, set[bytes]] = {
            RevokedKind.MANIFEST: {manifest_hash_of(one) for one in trust},
            RevokedKind.CONTENT: {one.content_hash for one in trust},
        }
        if value in hashes.get(row.revoked_kind, set()):
            raise ControlError("trust in force: it is replaced, never revoked")

    def _check_list_key(self, key_id: KeyId, now: UnixTime) -> None:
        signers = self.signers(now)
        left = replace(signers, revoked=signers.revoked | {key_id})
        kind = ArtifactType.REVOCATION_LIST.value
        try:
            left.named(kind, signers.bundle.revocations_namespace, now)
        except ControlError as error:
            raise ControlError(
                "no list takes away the key that signs it: "
                "fabgossip control rotate --role revocation --keep-old revoke"
            ) from error

    def published(self) -> dict[str, PublishedHead]:
        """The newest of each namespace, with content where the next version needs it."""
        return self._published.newest()

    def _given(self, source: Source, now: UnixTime, ring: KeyRing) -> CompileInput:
        """What a compile depends on, but for the keys of claims."""
        bundle = self.bundle()
        roots = [ring.find(key_id_of(root)) for root in bundle.root_keys]
        return CompileInput(
            bundle=bundle,
            nodes=self.nodes(),
            source=source,
            revocations=self._revocations(now),
            published=self.published(),
            now=now,
            claims_keys=(),
            minimums=self.minimums(now),
            renews_bundle=len(roots) - roots.count(None) >= bundle.root_threshold,
        )

    def compile_trust(
        self, now: UnixTime, root_folders: tuple[Path, ...] = ()
    ) -> tuple[SignedArtifact, ...]:
        """Sign and record the revocation list, and the trust bundle where that is due: neither
        waits for a source to be right."""
        ring = self.keys.ring(root_folders)
        return self._sign(compile_trust(self._given(Source(), now, ring)), ring, now)

    def compile(
        self,
        source: Source,
        now: UnixTime,
        *,
        root_folders: tuple[Path, ...] = (),
        restored: tuple[str, ...] = (),
    ) -> tuple[SignedArtifact, ...]:
        """Compile, sign and record what is new; `restored` are withdrawn namespaces, below the
        cluster, that may come back. Raises `SourceProblemsError`, `ControlError`; then nothing is
        recorded."""
        ring = self.keys.ring(root_folders)
        return self._sign(self._drafted(source, now, ring, restored), ring, now)

    def source_problems(
        self, source: Source, now: UnixTime, restored: tuple[str, ...] = ()
    ) -> tuple[Problem, ...]:
        """What compiling a source would find wrong with it; nothing is signed. Raises
        `ControlError`."""
        try:
            self._drafted(source, now, self.keys.ring(), restored)
        except SourceProblemsError as error:
            return error.problems
        return ()

    def _drafted(
        self, source: Source, now: UnixTime, ring: KeyRing, restored: tuple[str, ...]
    ) -> tuple[UnsignedArtifact, ...]:
        given = self._given(source, now, ring)
        given = replace(
            given,
            claims_keys=self.signing_keys(CLAIMS_ROLE, now),
            restored=frozenset(f"{given.bundle.prefix}/{one}" for one in restored),
        )
        return compile_artifacts(given)

    def _sign(
        self, artifacts: tuple[UnsignedArtifact, ...], ring: KeyRing, now: UnixTime
    ) -> tuple[SignedArtifact, ...]:
        bundle = self.bundle()
        signed = tuple(sign_artifact(bundle, ring, one.manifest, one.content) for one in artifacts)
        if not signed:
            return ()
        deeds = (*self._policy_deeds(signed), *signed_deeds(signed))
        with self.noted(deeds, now):
            self.record(signed)
        return signed

    def _policy_deeds(self, signed: tuple[SignedArtifact, ...]) -> tuple[Deed, ...]:
        """The rules of replication stand in every storage directory alike, so the cluster's own
        tells whether they changed."""
        prefix = self.bundle().prefix
        name = f"{prefix}/storage/scope/cluster:{self.bundle().cluster_id}"
        fresh = next((one for one in signed if one.manifest.namespace.text == name), None)
        if fresh is None:
            return ()
        before = self._published.content_of(name)
        try:
            policies = [
                ReplicationPolicy() if one is None else parse_storage_directory(one).replication
                for one in (before, fresh.content)
            ]
        except WireError as error:
            raise ControlError(f"{name}: {error}") from error
        return replication_deeds(prefix, *policies)

    def is_bundle_due(self, now: UnixTime) -> bool:
        """Whether the trust bundle should be issued with fresh times: its roots must be at hand for
        that."""
        head = self.published().get(self.bundle().bundle_namespace)
        if head is None:
            raise ControlError(f"{self.folder}/heads.json: names no trust bundle")
        return is_worn(head.manifest.issued_at, head.manifest.refresh_by, now)

    def tombstone(self, path: str, tombstone: Tombstone, now: UnixTime) -> SignedArtifact:
        """Withdraw the namespace of a path below the cluster; raises `ControlError`,
        `ModelError`."""
        ring = self.keys.ring()
        unsigned = tombstone_of(self._given(Source(), now, ring), path, tombstone)
        (signed,) = self._sign((unsigned,), ring, now)
        return signed

    def record(self, artifacts: tuple[SignedArtifact, ...]) -> None:
        """See `PublishedFolder.record`."""
        self._published.record(artifacts)

    def undelivered(self) -> tuple[SignedArtifact, ...]:
        """See `PublishedFolder.undelivered`."""
        return self._published.undelivered()

    def heads(self) -> tuple[SignedArtifact, ...]:
        """See `PublishedFolder.all`."""
        return self._published.all()

    def handouts(self, now: UnixTime, *, everything: bool) -> tuple[SignedArtifact, ...]:
        """What no node has accepted yet, or everything, less what today's trust takes away from:
        until the next compile nothing may stand in its place."""
        given = self._given(Source(), now, KeyRing(()))
        found = self.heads() if everything else self.undelivered()
        return tuple(one for one in found if is_worth_handing(given, one.manifest))

    def uncompiled(self, now: UnixTime) -> Uncompiled:
        """What was decided and is in nothing signed yet; raises `ControlError`."""
        given = self._given(Source(), now, KeyRing(()))
        return uncompiled_of(given, self.book(), self.list_version())

    def mark_delivered(self, artifacts: tuple[SignedArtifact, ...]) -> None:
        """See `PublishedFolder.mark_delivered`."""
        self._published.mark_delivered(artifacts)


def ledger_signer(
    signers: Signers, ring: KeyRing, chain: Sequence[TrustBundle], now: UnixTime
) -> LedgerSigner:
    """Who signs the ledger; raises `ControlError` where nobody can."""
    bundle = signers.bundle
    (key, *_) = signing_keys(signers, ring, LEDGER_KIND, bundle.prefix, now)
    return LedgerSigner(cluster_id=bundle.cluster_id, key=key, known=ledger_keys(chain))


def new_keys(count: int) -> tuple[ArtifactKey, ...]:
    return tuple(new_artifact_key() for _ in range(count))


def fingerprint(data: bytes) -> str:
    """SHA-256 in hexadecimal, as an operator types it from another channel."""
    return sha256(data).hexdigest()
