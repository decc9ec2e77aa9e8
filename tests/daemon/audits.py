"""An audit log in a folder, as a daemon keeps it, signed with the factory's key."""

from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fabgossip.daemon.audit import Audit
from fabgossip.daemon.driver import read_clocks
from fabgossip.daemon.recorder import LogOwner
from fabgossip.model.moment import Now
from fabgossip.storage.records import SEGMENTS_MAX
from fabgossip.trust.checkpoints import CheckpointSigner
from tests.core.story import boot_id
from tests.trust import factory

KEY_PEM = factory.AUDITOR.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def owner(boot: str = "first") -> LogOwner:
    """The factory's node, in one of its processes."""
    return LogOwner(
        cluster_id=factory.CLUSTER,
        node_id=factory.NODE,
        boot_id=boot_id(boot),
        signer=CheckpointSigner(KEY_PEM),
    )


def audit_in(folder: Path, clocks: Callable[[], Now] = read_clocks, boot: str = "first") -> Audit:
    """An open log, not started."""
    audit = Audit(folder, owner(boot), SEGMENTS_MAX, clocks)
    audit.open()
    return audit
