"""Other papers are shown without a restart, if they are fit to be, and the old ones otherwise."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.enrollment import NodeRow
from fabgossip.control.node_folder import NodePlaces, enroll_node, renew_node
from fabgossip.core.beliefs import Beliefs
from fabgossip.core.events import Event, OwnPapers, PapersRead
from fabgossip.daemon.config import read_config
from fabgossip.daemon.driver import read_clocks
from fabgossip.daemon.papers import check_tls, load_papers
from fabgossip.daemon.renewal import LOOK_S, Renewal, Shown
from fabgossip.model.moment import UnixTime, seconds_after
from fabgossip.trust.facts import TrustFacts
from fabgossip.trust.identity import certificate_times
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.statements import parse_own_claims
from tests.daemon import enrolled

DAY = 86_400


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, its node n1 enrolled a day ago, and another node."""
    folder = enrolled.make(tmp_path_factory.mktemp("fabric"), age_s=DAY).parent
    places = NodePlaces(listen="127.0.0.1:0", storage="state", socket="status.sock")
    other = NodeRow(node_id="n2", addresses=("127.0.0.1:7421",))
    enroll_node(authority_of(folder), other, folder / "n2", places, read_clocks().unix)
    return folder


@dataclass
class Scene:
    """A node's folder, what it shows, and what the core is told."""

    folder: Path
    shown: Shown
    facts: TrustFacts
    now: UnixTime
    told: list[Event] = field(default_factory=list)

    @property
    def identity(self) -> Path:
        return self.folder / "n1" / "identity"

    def renew(self) -> None:
        renew_node(authority_of(self.folder), "n1", self.folder / "n1", self.now)

    def read(self) -> PapersRead | None:
        """What the core was told last."""
        found = self.told.pop() if self.told else None
        assert not self.told
        assert found is None or isinstance(found, PapersRead)
        return found

    def fault(self) -> str:
        found = self.read()
        assert found is not None
        assert found.papers is None
        return found.fault


def authority_of(folder: Path) -> AuthorityFolder:
    return AuthorityFolder(folder / "authority")


@pytest.fixture
def scene(pristine: Path, tmp_path: Path) -> tuple[Scene, Renewal]:
    folder = enrolled.copied(pristine, tmp_path)
    config = read_config(folder / "n1" / "fabgossip.toml", None)
    now = read_clocks().unix
    papers = load_papers(config, now)
    made = Scene(
        folder,
        Shown(papers, check_tls(papers)),
        Beliefs(papers.own_identity(), Ed25519Verifier()).facts,
        now,
    )
    renewal = Renewal(config, made.shown, lambda: made.facts, lambda: made.now, made.told.append)
    return made, renewal


def looks(renewal: Renewal, count: int = 2) -> None:
    for _ in range(count):
        renewal.look()


def test_renewed_papers_are_taken_up_once_they_have_lain_there_for_a_look(
    scene: tuple[Scene, Renewal],
) -> None:
    made, renewal = scene
    before = made.shown.tls(made.facts.bundle)
    looks(renewal, 3)
    assert made.read() is None
    made.renew()
    renewal.look()
    assert made.read() is None
    renewal.look()
    pem = x509.load_pem_x509_certificate((made.identity / "node.crt").read_bytes())
    der = pem.public_bytes(Encoding.DER)
    found = made.read()
    assert found is not None
    assert isinstance(found.papers, OwnPapers)
    assert found.papers.certificate_times == certificate_times(der)
    assert found.papers.claims == made.shown.papers.claims_envelope
    assert found.papers.openings
    assert made.shown.papers.certificate == der
    after = made.shown.tls(made.facts.bundle)
    assert after is not before
    looks(renewal, 3)
    assert made.read() is None
    assert made.shown.tls(made.facts.bundle) is after


def another_key(made: Scene) -> None:
    key = (made.folder / "n2" / "identity" / "node.key").read_bytes()
    (made.identity / "node.key").write_bytes(key)


def another_node(made: Scene) -> None:
    for name in ("node.crt", "node.key", "claims", "audit.key"):
        content = (made.folder / "n2" / "identity" / name).read_bytes()
        (made.identity / name).write_bytes(content)


def half_a_file(made: Scene) -> None:
    whole = (made.identity / "node.crt").read_bytes()
    (made.identity / "node.crt").write_bytes(whole[: len(whole) // 2])


def of_another_node_than_its_claims(made: Scene) -> None:
    content = (made.folder / "n2" / "identity" / "node.crt").read_bytes()
    (made.identity / "node.crt").write_bytes(content)


UNFIT: dict[str, tuple[Callable[[Scene], None], str]] = {
    "the key is another's": (another_key, "identity.private_key: does not fit"),
    "all is another node's": (another_node, "of node n2, this one is n1"),
    "the certificate is another node's": (of_another_node_than_its_claims, "certificate of n2"),
    "half a file": (half_a_file, "not a certificate in PEM"),
    "no file": (lambda made: (made.identity / "node.crt").unlink(), "No such file"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_is_not_fit_is_named_once_and_the_old_stays(
    case: str, scene: tuple[Scene, Renewal]
) -> None:
    made, renewal = scene
    before, papers = made.shown.tls(made.facts.bundle), made.shown.papers
    spoil, words = UNFIT[case]
    kept = {path: path.read_bytes() for path in made.identity.iterdir()}
    spoil(made)
    looks(renewal)
    assert words in made.fault()
    assert made.shown.papers is papers
    assert made.shown.tls(made.facts.bundle) is before
    looks(renewal, 3)
    assert made.read() is None
    # A bundle that changes meanwhile finds what was good, not what lies there.
    other = replace(made.facts.bundle, bundle_version=2)
    assert made.shown.tls(other) is not before
    for path, content in kept.items():
        path.write_bytes(content)
    looks(renewal)
    assert made.fault() == ""


def test_what_peers_would_refuse_as_revoked_is_not_taken_up(scene: tuple[Scene, Renewal]) -> None:
    made, renewal = scene
    made.facts = replace(made.facts, bundle=replace(made.facts.bundle, node_cas=()))
    made.renew()
    looks(renewal)
    assert "identity.certificate" in made.fault()
    made.facts = replace(made.facts, bundle=made.shown.papers.pinned.bundle)
    # Another bundle may judge otherwise.
    made.facts = replace(made.facts, bundle=replace(made.facts.bundle, bundle_version=2))
    looks(renewal)
    found = made.read()
    assert found is not None
    assert found.papers is not None


def test_one_that_has_ended_when_it_is_read_is_not_taken_up(scene: tuple[Scene, Renewal]) -> None:
    made, renewal = scene
    made.renew()
    made.now = seconds_after(made.now, 8 * DAY)
    looks(renewal)
    assert ": expired" in made.fault()


async def test_whoever_says_that_they_are_others_does_not_wait_for_a_look(
    scene: tuple[Scene, Renewal], autojump_clock: trio.testing.MockClock
) -> None:
    made, renewal = scene
    made.renew()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(renewal.watch)
        renewal.ask()
        await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() < LOOK_S
        found = made.read()
        assert found is not None
        assert found.papers is not None
        nursery.cancel_scope.cancel()


def test_a_key_that_needs_a_password_is_refused_and_nobody_is_asked(
    scene: tuple[Scene, Renewal],
) -> None:
    made, renewal = scene
    key = made.identity / "node.key"
    text = key.read_bytes()
    private = load_pem_private_key(text, None)
    locked = private.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")
    )
    key.write_bytes(locked)
    looks(renewal)
    assert "identity.private_key: needs a password" in made.fault()


def test_claims_that_nobody_would_believe_are_not_taken_up(scene: tuple[Scene, Renewal]) -> None:
    """The node would have no claims that count, and be told of nothing."""
    made, renewal = scene
    made.renew()
    path = made.identity / "claims"
    forged = bytearray(path.read_bytes())
    envelope, _ = parse_own_claims(bytes(forged))
    end = bytes(forged).index(envelope) + len(envelope) - 1
    forged[end] ^= 1
    path.chmod(0o600)
    path.write_bytes(bytes(forged))
    looks(renewal)
    assert "identity.claims" in made.fault()


def test_claims_older_than_those_in_use_are_not_taken_up(scene: tuple[Scene, Renewal]) -> None:
    made, renewal = scene
    path = made.identity / "claims"
    before = path.read_bytes()
    made.now = seconds_after(made.now, 60)
    made.renew()
    looks(renewal)
    found = made.read()
    assert found is not None
    assert found.papers is not None
    path.chmod(0o600)
    path.write_bytes(before)
    looks(renewal)
    assert "older than those in use" in made.fault()
