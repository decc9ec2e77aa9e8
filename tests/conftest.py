"""What every test shares: how hard Hypothesis tries, and whether a skip may pass."""

import os

import pytest
from hypothesis import settings

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
