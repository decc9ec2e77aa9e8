"""The command without the fuzzer, and what it reads of the fuzzer's last lines."""

import importlib.util
import sys

import pytest

from tests.fuzzing import __main__ as command
from tests.fuzzing.targets import TARGETS

LOG = """\
INFO: Seed: 1
#2\tINITED cov: 20 ft: 20 corp: 1/1b exec/s: 0 rss: 47Mb
#8\tNEW    cov: 30 ft: 30 corp: 3/5b lim: 4096 exec/s: 0 rss: 51Mb L: 2/2 MS: 6 Custom-
"""
END = """\
Done 20000 runs in 1 second(s)
stat::number_of_executed_units: 20000
stat::peak_rss_mb:              52
"""
NOTES: dict[str, float | str] = {"slowest_ms": 1.5, "slowest_hex": "00"}
TARGET = TARGETS["words"]


def test_without_the_fuzzer_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["fuzzing"])
    assert command.main() == 2
    assert "pip install" in capsys.readouterr().err


@pytest.mark.parametrize(("log", "inputs", "peak_mib"), [(LOG + END, 20_000, 52), (LOG, 8, 51)])
def test_figures_are_read_of_an_end_and_of_a_death(log: str, inputs: int, peak_mib: int) -> None:
    result = command.result_of(TARGET, log, NOTES, 2.0, None)
    assert (result.inputs, result.edges, result.peak_mib) == (inputs, 30, peak_mib)
    assert (result.inputs_per_s, result.slowest_ms) == (inputs // 2, 1.5)


def test_a_process_that_died_without_an_input_is_a_finding() -> None:
    finding = command.finding_of("INFO: a\n#8\tNEW cov: 1\nKilled\n", [])
    assert (finding.kind, finding.path, finding.log) == ("died", "", "Killed")
