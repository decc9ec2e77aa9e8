"""What every test shares: how hard Hypothesis tries, whether a skip may pass, and that a failure in
what judges attacks shows what differs."""

import os
import subprocess
from collections.abc import Generator

import pytest
from hypothesis import settings

from fabgossip.cli.fabric import Fabric, Node
from tests.system.fabrics import COMMAND

pytest.register_assert_rewrite("tests.attacks.scene")

# The gate draws the same examples on every machine, so that a verdict repeats; fuzzing draws anew.
GATE_EXAMPLES_MAX = 50  # start
FUZZ_EXAMPLES_MAX = 2000  # start

settings.register_profile(
    "gate", max_examples=GATE_EXAMPLES_MAX, derandomize=True, deadline=None, database=None
)
settings.register_profile("fuzz", max_examples=FUZZ_EXAMPLES_MAX, deadline=None)
# An explicit --hypothesis-profile is loaded after this line and wins.
settings.load_profile(os.environ.get("FABGOSSIP_HYPOTHESIS_PROFILE", "gate"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="a skipped test fails the run")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--all") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test of real daemons that fails shows what each of them says of itself."""
    report = yield
    if call.when == "call" and call.excinfo is not None and isinstance(item, pytest.Function):
        for fabric in item.funcargs.values():
            if isinstance(fabric, Fabric):
                report.sections += [(one.row.node_id, _said_by(one)) for one in fabric.nodes]
    return report


def _said_by(node: Node) -> str:
    asked = [*COMMAND, "status", "--socket", str(node.socket)]
    status = subprocess.run(asked, capture_output=True, text=True, timeout=5, check=False)
    log = node.folder / "log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join([status.stdout + status.stderr, *lines[-40:]])
