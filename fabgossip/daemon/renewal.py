"""What this node shows of itself, and how that is replaced while it runs.

Certificate, key and claims are read at the start, and again once their files are others. What does
not fit together, or would not be believed by what this node believes of others, is named in
`status` and changes nothing. What was judged is used from memory: a trust bundle that changes later
finds it as it was, whatever lies in the files by then. Links that are open go on.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, Never, TypeAlias

import trio

from fabgossip.core.claims_seen import order_of
from fabgossip.core.events import Event, OwnPapers, PapersRead
from fabgossip.daemon.config import Config
from fabgossip.daemon.endpoints import TlsContexts
from fabgossip.daemon.papers import Papers, check_tls, load_papers
from fabgossip.errors import ConfigError
from fabgossip.model.artifact import Order
from fabgossip.model.authority import NodeClaims, NodeIdentity, TrustBundle
from fabgossip.model.moment import Instant, Now, UnixTime
from fabgossip.trust.facts import TrustFacts
from fabgossip.trust.identity import (
    ClaimsTrust,
    certificate_times,
    verify_claims,
    verify_leaf,
)
from fabgossip.trust.rejections import Rejection
from fabgossip.trust.signatures import Ed25519Verifier

LOOK_S: Final = 5.0
"""Between two looks at the files (*start*): a few system calls."""
_Stamp: TypeAlias = tuple[tuple[int, int, int] | None, ...]


class Shown:
    """The papers in use, and their TLS contexts for the trust bundle in force."""

    def __init__(self, papers: Papers, contexts: TlsContexts) -> None:
        self.papers = papers
        self._contexts = {papers.pinned.bundle: contexts}

    def tls(self, bundle: TrustBundle) -> TlsContexts:
        """The contexts for a bundle; raises `ssl.SSLError` where its CAs are not to be used."""
        if bundle not in self._contexts:
            self._contexts = {bundle: TlsContexts(bundle, self.papers.pair)}
        return self._contexts[bundle]

    def take(self, papers: Papers) -> None:
        """Show these from the next link on."""
        self.papers = papers
        self._contexts = {}


class Renewal:
    """Looks after the files of the identity. All methods are called from the loop."""

    def __init__(
        self,
        config: Config,
        shown: Shown,
        believed: Callable[[], TrustFacts],
        unix: Callable[[], UnixTime],
        post: Callable[[Event], None],
    ) -> None:
        self._config = config
        self._shown = shown
        self._believed = believed
        self._unix = unix
        self._post = post
        self._asked = trio.Event()
        self._judged = self._seen = self._stamp()
        self._fault = ""

    def ask(self) -> None:
        """Look now: somebody says that the files are others."""
        self._asked.set()

    async def watch(self) -> Never:
        """Take up other files, for ever."""
        while True:
            with trio.move_on_after(LOOK_S):
                await self._asked.wait()
            if self._asked.is_set():
                self._asked = trio.Event()
                self._read()
            else:
                self.look()

    def look(self) -> None:
        """Read the files once they are others, and have been so for one look: not half of them."""
        stamp, before = self._stamp(), self._seen
        self._seen = stamp
        if stamp != self._judged and stamp == before:
            self._read()

    def _read(self) -> None:
        self._judged = self._stamp()
        try:
            papers = load_papers(self._config, self._unix())
            check_tls(papers)
            self._check_same(papers)
            identity = self._judge(papers)
        except ConfigError as error:
            self._say(str(error))
            return
        before = self._shown.papers
        if (papers.pair, papers.claims_envelope, papers.openings) == (
            before.pair,
            before.claims_envelope,
            before.openings,
        ):
            self._say("")
            return
        self._fault = ""
        self._shown.take(replace(papers, pinned=before.pinned))
        read = OwnPapers(
            certificate=identity,
            certificate_times=certificate_times(papers.certificate),
            claims=papers.claims_envelope,
            openings=papers.openings,
        )
        self._post(PapersRead(papers=read))

    def _say(self, fault: str) -> None:
        if fault != self._fault:
            self._fault = fault
            self._post(PapersRead(papers=None, fault=fault))

    def _check_same(self, papers: Papers) -> None:
        """Who a node is, and by which key its audit log is signed, takes a restart to change."""
        before = self._shown.papers
        if papers.node_id != before.node_id:
            raise ConfigError(
                f"identity.certificate: of node {papers.node_id}, this one is {before.node_id}"
            )
        if papers.signer.public_key != before.signer.public_key:
            raise ConfigError("audit.key: another key than at the start takes a restart")

    def _judge(self, papers: Papers) -> NodeIdentity:
        """By what this node believes of others: what it would not take from a peer, no peer takes
        from it."""
        facts = self._believed()
        found = verify_leaf(papers.certificate, facts.bundle, facts.revoked, self._unix())
        if not isinstance(found, NodeIdentity):
            raise ConfigError(f"identity.certificate: {self._config.certificate}: {found.detail}")
        if papers.claims_envelope != self._shown.papers.claims_envelope:
            self._judge_claims(papers, facts)
        return found

    def _judge_claims(self, papers: Papers, facts: TrustFacts) -> None:
        """Those of the files; that the ones in use may have ended meanwhile keeps no certificate
        from being renewed."""
        trust = ClaimsTrust(facts.bundle, facts.revoked, Ed25519Verifier())
        now = Now(instant=Instant(0), unix=self._unix())  # no rule of claims asks for the first
        claims = verify_claims(papers.claims_envelope, (), papers.node_id, trust, now)
        if isinstance(claims, Rejection):
            raise ConfigError(f"identity.claims: {self._config.claims}: {claims.detail}")
        if _age(claims.claims) < _age(self._shown.papers.claims):
            raise ConfigError(
                f"identity.claims: {self._config.claims}: older than those in use; put the newer "
                "ones back"
            )

    def _stamp(self) -> _Stamp:
        """What tells other files, and a bundle that may judge them otherwise."""
        config = self._config
        files = (config.certificate, config.private_key, config.claims)
        return (*map(_file_stamp, files), (self._believed().bundle.bundle_version, 0, 0))


def _age(claims: NodeClaims) -> tuple[Order, UnixTime]:
    return order_of(claims), claims.issued_at


def _file_stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
