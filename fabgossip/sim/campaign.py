"""A campaign: scenarios and seeds that are run together.

Decides: nothing.
Keeps: an unknown key is refused by its dotted path.
Must not know: how a run is made.
"""

from dataclasses import dataclass
from typing import Annotated

from fabgossip.errors import ScenarioError
from fabgossip.model.bounds import Bounds
from fabgossip.sim.quantities import parse_duration
from fabgossip.sim.world import NS_PER_S
from fabgossip.wire.tables import TableError, parse_toml, structure_table


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignRun:
    """`run`: one scenario of it."""

    scenario: str
    seeds: tuple[Annotated[int, Bounds(0, 2**63 - 1)], ...] = ()
    """None: the scenario's own."""
    set: tuple[str, ...] = ()
    """`PATH=VALUE`: as if the scenario said so, such as a smaller size."""
    alone: bool = False
    """After all others, one seed at a time: who runs beside it takes from its speed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A whole campaign file."""

    schema: Annotated[int, Bounds(1, 1)]
    name: str
    title: str
    wall_limit: str = "120s"
    """What a run may take, where nobody says otherwise; large fabrics need more."""
    run: tuple[CampaignRun, ...]

    @property
    def wall_limit_s(self) -> int:
        """The same in whole seconds."""
        return parse_duration(self.wall_limit) // NS_PER_S


def is_campaign(text: str) -> bool:
    """Whether a file's text is of a campaign, not of a scenario."""
    return "[[run]]" in text


def parse_campaign(text: str, origin: str) -> Campaign:
    """The campaign of a file's text; raises `ScenarioError` with all problems, a line each."""
    try:
        campaign = structure_table(parse_toml(text), Campaign)
    except TableError as error:
        lines = [f"{origin}: {one.key}: {one.told}" for one in error.problems]
        raise ScenarioError("\n".join(lines)) from error
    try:
        parse_duration(campaign.wall_limit)
    except ValueError as error:
        raise ScenarioError(f"{origin}: wall_limit: {error}") from error
    return campaign
