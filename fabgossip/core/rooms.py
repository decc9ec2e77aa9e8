"""The rooms an artifact passes on its way in, each with those it needs.

Decides: nothing.
Keeps: one of each; a room knows only rooms below it.
Must not know: what they do.
"""

from dataclasses import dataclass

from fabgossip.core.accepting import Accepting
from fabgossip.core.activation import Activation
from fabgossip.core.announcing import Announcing
from fabgossip.core.assembling import Assembling
from fabgossip.core.covering import Covering
from fabgossip.core.departing import Departing
from fabgossip.core.disputes import Disputes
from fabgossip.core.durability import Durability
from fabgossip.core.following import Following
from fabgossip.core.intake import Intake
from fabgossip.core.keeping import Keeping
from fabgossip.core.learning import Learning
from fabgossip.core.lines import Lines
from fabgossip.core.machines import Machines
from fabgossip.core.mending import Mending
from fabgossip.core.own_contents import OwnContents
from fabgossip.core.recalling import Recalling
from fabgossip.core.using import Using
from fabgossip.core.withdrawing import Withdrawing


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """Those that others speak to."""

    activation: Activation
    announcing: Announcing
    assembling: Assembling
    contents: OwnContents
    departing: Departing
    durability: Durability
    following: Following
    intake: Intake
    keeping: Keeping
    mending: Mending
    recalling: Recalling
    using: Using
    withdrawing: Withdrawing


def rooms_of(m: Machines) -> Rooms:
    """The rooms over the machines of a node."""
    durability, contents, lines = Durability(m), OwnContents(m), Lines(m)
    announcing, covering = Announcing(m, contents), Covering(m, durability)
    activation = Activation(m, durability, contents)
    disputes = Disputes(m, durability, covering)
    accepting = Accepting(m, durability, contents, covering, disputes)
    learning = Learning(m, durability, covering, disputes)
    withdrawing = Withdrawing(m, contents, announcing, activation, learning)
    assembling = Assembling(m, durability, contents, accepting, lines)
    following = Following(
        m,
        durability=durability,
        contents=contents,
        announcing=announcing,
        assembling=assembling,
        activation=activation,
        covering=covering,
        disputes=disputes,
        accepting=accepting,
        learning=learning,
        withdrawing=withdrawing,
    )
    keeping = Keeping(m, durability, contents, activation)
    departing = Departing(m, contents, activation, keeping)
    using = Using(m, durability, activation)
    return Rooms(
        activation=activation,
        announcing=announcing,
        assembling=assembling,
        contents=contents,
        departing=departing,
        durability=durability,
        following=following,
        intake=Intake(
            m,
            durability=durability,
            contents=contents,
            announcing=announcing,
            assembling=assembling,
            activation=activation,
            disputes=disputes,
            accepting=accepting,
            following=following,
            lines=lines,
        ),
        keeping=keeping,
        mending=Mending(m, durability, contents, activation),
        recalling=Recalling(
            m,
            durability=durability,
            contents=contents,
            activation=activation,
            covering=covering,
            departing=departing,
            disputes=disputes,
            accepting=accepting,
            following=following,
            using=using,
        ),
        using=using,
        withdrawing=withdrawing,
    )
