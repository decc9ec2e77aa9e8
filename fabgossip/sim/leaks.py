"""What hostile nodes know from elsewhere: every name and hash, from the moment it was signed.

Decides: nothing.
Keeps: what is known at a moment is the same in every run that is given the same leaks, whatever
that run itself issues; so hostile nodes ask alike in two worlds.
Must not know: who may know what, what is asked with it.
"""

from fabgossip.sim.authority import Issued


class Leaks:
    """Everything ever signed, in order of time."""

    def __init__(self) -> None:
        self._signed: list[tuple[int, Issued]] = []

    def add(self, at_ns: int, issued: Issued) -> None:
        """The control plane signed an artifact; time never runs back."""
        self._signed.append((at_ns, issued))

    def known(self, now_ns: int) -> tuple[Issued, ...]:
        """All that was signed until a moment."""
        return tuple(issued for at_ns, issued in self._signed if at_ns <= now_ns)
