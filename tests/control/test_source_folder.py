"""`fabric.toml`: what a snapshot covers, and what an outage allows."""

from pathlib import Path

import pytest

from fabgossip.control.sources.folder import DEFAULT_DEGRADED, Source, read_source
from fabgossip.errors import ControlError
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.policy import DegradedAction, DegradedMode, DegradedRule

SNAPSHOT = (
    '[[artifact]]\ntype = "cluster_snapshot"\nnamespace = "snapshots/role/edge"\nfile = "s"\n'
)


def source(folder: Path, text: str) -> Source:
    (folder / "s").write_bytes(b"settings")
    (folder / "fabric.toml").write_text(f"schema = 1\n{text}")
    return read_source(folder)


def test_covered_prefixes_stand_in_one_order(tmp_path: Path) -> None:
    text = SNAPSHOT + 'covers = ["routes", "qos/gold", "org/acme/routes"]\n'
    (document,) = source(tmp_path, text).documents
    assert document.covers == ("org/acme/routes", "qos/gold", "routes")


@pytest.mark.parametrize("prefix", ["trust", "snapshots", "", "org/acme", "routes/", "nowhere"])
def test_what_no_snapshot_covers_is_refused(prefix: str, tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="covers"):
        source(tmp_path, SNAPSHOT + f'covers = ["{prefix}"]\n')


def test_only_a_snapshot_covers(tmp_path: Path) -> None:
    text = '[[artifact]]\ntype = "qos_policy_bundle"\nnamespace = "qos/q"\nfile = "s"\n'
    with pytest.raises(ControlError, match="only a cluster_snapshot"):
        source(tmp_path, text + 'covers = ["routes"]\n')


def test_what_is_not_said_of_an_outage_has_a_default(tmp_path: Path) -> None:
    assert source(tmp_path, "").degraded == DEFAULT_DEGRADED


def test_what_is_said_of_an_outage_counts_instead(tmp_path: Path) -> None:
    text = """
[[degraded]]
type = "route_policy_bundle"
max_age_s = 60
withhold = true
[[degraded_action]]
action = "route"
modes = ["clock-suspect", "partitioned"]
[[degraded_action]]
action = "keep-running"
modes = []
"""
    degraded = source(tmp_path, text).degraded
    kind = ArtifactType.ROUTE_POLICY_BUNDLE
    expected = DegradedRule(artifact_type=kind, max_age_s=60, withhold=True)
    assert degraded.rule_for(kind) == expected
    other = ArtifactType.QOS_POLICY_BUNDLE
    assert degraded.rule_for(other) == DEFAULT_DEGRADED.rule_for(other)
    modes = (DegradedMode.PARTITIONED, DegradedMode.CLOCK_SUSPECT)
    assert DegradedAction(action="route", modes=modes) in degraded.actions
    assert DegradedAction(action="keep-running", modes=()) in degraded.actions
    assert degraded.allows("start-service", DegradedMode.STALE)


@pytest.mark.parametrize(
    ("action", "mode", "words"),
    [("route", "fresh", "expected partitioned, stale"), ("Route!", "stale", "action")],
)
def test_an_unknown_mode_or_action_is_said(
    action: str, mode: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ControlError, match=words):
        source(tmp_path, f'[[degraded_action]]\naction = "{action}"\nmodes = ["{mode}"]\n')


def routes_from(file: str) -> str:
    return f'[[artifact]]\ntype = "route_policy_bundle"\nnamespace = "routes/a"\nfile = "{file}"\n'


@pytest.mark.parametrize("file", ["/etc/hostname", "../secret", "s/../../secret", "link", "door/x"])
def test_no_file_beyond_the_folder_is_signed(file: str, tmp_path: Path) -> None:
    """A slip of a path, or a link somebody planted, would hand the control plane's own files to
    every node."""
    (tmp_path / "secret").write_bytes(b"secret")
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "link").symlink_to("../secret")
    (folder / "door").symlink_to(tmp_path)
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(ControlError) as caught:
        source(folder, routes_from(file))
    said = f"{folder}/fabric.toml:5:1: artifact[0].file: {file!r} lies outside the source folder"
    assert str(caught.value) == f"{said}; copy it there"


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    """As where a whole release is put in place by turning one link."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "routes").write_bytes(b"r")
    (tmp_path / "routes").symlink_to("data/routes")
    (document,) = source(tmp_path, routes_from("routes")).documents
    assert document.content == b"r"


@pytest.mark.parametrize("file", ["loop", "none", "a\\u0000b", ".", "FOLDER/s"])
def test_a_file_that_cannot_be_read_is_a_problem_of_its_artifact(file: str, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ControlError, match=r"fabric\.toml:5:1: artifact\[0\]\.file: "):
        source(tmp_path, routes_from(file.replace("FOLDER", str(tmp_path))))


WRONG = """schema = 2
colour = "blue"
[[artifact]]
type = "qos_policy_bundle"
namespace = "routes/a"
file = "none"
audience = ["role:Edge!", "sort:edge"]
[[artifact]]
type = "route_bundle"
namespace = "routes/b"
file = "none"
[[artifact]]
kind = "x"
[[artifact]]
type = "route_policy_bundle"
namespace = "routes/c"
file = "../s"
covers = ["routes"]
"""


def test_all_that_is_wrong_is_said_at_once_each_with_its_place(tmp_path: Path) -> None:
    """Whoever mends a source by one fault at a time compiles it as often."""
    (tmp_path / "fabric.toml").write_text(WRONG)
    with pytest.raises(ControlError) as caught:
        read_source(tmp_path)
    lines = str(caught.value).splitlines()
    file = f"{tmp_path}/fabric.toml"
    places = [line.removeprefix(f"{file}:").split(": ")[:2] for line in lines]
    assert places == [
        ["1:1", "schema"],
        ["2:1", "colour"],
        ["5:1", "artifact[0].namespace"],
        ["6:1", "artifact[0].file"],
        ["7:1", "artifact[0].audience"],
        ["7:1", "artifact[0].audience"],
        ["9:1", "artifact[1].type"],
        ["11:1", "artifact[1].file"],
        ["12:1", "artifact[2].file"],
        ["12:1", "artifact[2].namespace"],
        ["12:1", "artifact[2].type"],
        ["13:1", "artifact[2].kind"],
        ["17:1", "artifact[3].file"],
        ["18:1", "artifact[3].covers"],
    ]
    assert all(line.startswith(file) for line in lines)


def test_policies_are_all_judged_too(tmp_path: Path) -> None:
    text = """
[[replication]]
type = "nothing"
[[degraded]]
type = "neither"
max_age_s = 1
[[degraded_action]]
action = "route"
modes = ["fresh"]
"""
    with pytest.raises(ControlError) as caught:
        source(tmp_path, text)
    said = str(caught.value)
    for key in ("replication[0]", "degraded[0]", "degraded_action[0]"):
        assert f": {key}: " in said
