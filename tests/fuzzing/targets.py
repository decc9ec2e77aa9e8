"""The table of targets, by name."""

from typing import Final

from tests.fuzzing.formats import FORMATS
from tests.fuzzing.judging import JUDGES
from tests.fuzzing.living import NODE
from tests.fuzzing.local import STATUS
from tests.fuzzing.target import Target

TARGETS: Final[dict[str, Target]] = {one.name: one for one in (*FORMATS, *JUDGES, NODE, STATUS)}
assert len(TARGETS) == len(FORMATS) + len(JUDGES) + 2, "a name stands twice"
