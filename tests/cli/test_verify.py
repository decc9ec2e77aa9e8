"""`fabgossip verify` after keys were rotated: with a node's state it says what that node would."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.bundles import OldKeys
from fabgossip.control.rotation import RotationWish, rotate
from fabgossip.control.signing import SignedArtifact
from fabgossip.control.sources.folder import Source
from fabgossip.daemon.driver import read_clocks
from fabgossip.model.artifact import ArtifactType, VerifiedManifest
from fabgossip.model.authority import RevokedKind
from fabgossip.model.ids import ClusterId, NodeId, PlatformId
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import PutHead, PutRevoked, PutTrust
from fabgossip.storage.index import INDEX_NAME, NodeIndex
from fabgossip.trust.gate import TrustGate
from fabgossip.trust.signatures import Ed25519Verifier
from tests.cli.test_commands import Output, outcome
from tests.control.believer import Believer
from tests.control.fabric import ROUTES, STORE

DAY_S = 86_400


@dataclass(frozen=True)
class Rotated:
    """Routes signed, their key retired two days ago, and the routes signed again since."""

    folder: Path
    before: SignedArtifact
    after: SignedArtifact

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @contextmanager
    def index(self) -> Iterator[NodeIndex]:
        """Of a node that pinned the first bundle, as its daemon left it."""
        index = NodeIndex(self.state / INDEX_NAME)
        index.open(NodeId("n1"))
        yield index
        index.close()

    def verify(self, output: Output, one: SignedArtifact, *more: str | Path) -> str:
        """The code it is refused with, or `good`."""
        envelope = self.folder / "envelope"
        envelope.write_bytes(one.envelope)
        pinned = ("--bootstrap", self.folder / "pinned")
        code, out, _ = outcome(output, "verify", envelope, *pinned, *more, "--json")
        body = json.loads(out)
        assert code == (0 if body["verified"] else 5)
        return "good" if body["verified"] else str(body["code"])


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Rotated:
    folder = tmp_path_factory.mktemp("rotated")
    now = read_clocks().unix
    authority = AuthorityFolder(folder / "authority")
    authority.create(PlatformId("demo-x"), ClusterId("prod"), UnixTime(now - 3 * DAY_S), ())
    authority.save_node(STORE)
    (folder / "pinned").write_bytes(authority.bootstrap())
    before = routes(authority, UnixTime(now - 3 * DAY_S))
    wish = RotationWish(roles=("policy",), old_keys=OldKeys.RETIRE)
    rotate(authority, wish, UnixTime(now - 2 * DAY_S))
    after = routes(authority, UnixTime(now - DAY_S))
    (folder / "state").mkdir()
    found = Rotated(folder, before, after)
    trust = authority.folder / "trust"
    envelope, content = ((trust / f"2.{one}").read_bytes() for one in ("envelope", "content"))
    with found.index() as index:
        index.commit([PutTrust(version=2, envelope=envelope, content=content)])
    return found


def routes(authority: AuthorityFolder, now: UnixTime) -> SignedArtifact:
    authority.compile(Source(documents=(ROUTES,)), now)
    heads = authority.heads()
    return next(
        one for one in heads if one.manifest.artifact_type is ArtifactType.ROUTE_POLICY_BUNDLE
    )


def test_what_a_later_key_signed_is_good_by_the_bundles_the_node_followed(
    rotated: Rotated, capsys: Output
) -> None:
    assert rotated.verify(capsys, rotated.after) == "KEY_UNKNOWN"
    assert rotated.verify(capsys, rotated.after, "--state", rotated.state) == "good"


def test_a_retired_key_vouches_for_what_the_node_has_accepted_and_not_for_what_turns_up_late(
    rotated: Rotated, capsys: Output
) -> None:
    state = ("--state", rotated.state)
    assert rotated.verify(capsys, rotated.before, *state) == "KEY_RETIRED"
    with rotated.index() as index:
        index.commit([PutHead(verified=verified(rotated))])
    assert rotated.verify(capsys, rotated.before, *state) == "good"


def test_what_the_node_knows_to_be_revoked_is_bad(rotated: Rotated, capsys: Output) -> None:
    entry = (RevokedKind.CONTENT.value, rotated.after.manifest.content_hash)
    with rotated.index() as index:
        index.commit([PutRevoked(epoch=1, entries=(entry,))])
    assert rotated.verify(capsys, rotated.after, "--state", rotated.state) == "ARTIFACT_REVOKED"


def test_a_state_folder_that_is_none_is_said_and_not_made(
    rotated: Rotated, tmp_path: Path, capsys: Output
) -> None:
    envelope = tmp_path / "envelope"
    envelope.write_bytes(rotated.after.envelope)
    pinned = ("--bootstrap", rotated.folder / "pinned")
    code, _, err = outcome(capsys, "verify", envelope, *pinned, "--state", tmp_path / "no")
    assert (code, f"{tmp_path / 'no'}: no index.sqlite here; name storage.path" in err) == (1, True)
    assert not (tmp_path / "no").exists()


def verified(rotated: Rotated) -> VerifiedManifest:
    facts = Believer((rotated.folder / "pinned").read_bytes()).facts
    found = TrustGate(Ed25519Verifier()).inspect(
        rotated.before.envelope, facts, rotated.before.manifest.issued_at
    )
    assert isinstance(found, VerifiedManifest)
    return found
