"""Who breaks the protocol, one a file. Each signs with its own key alone; the network is the scenario's."""

from collections.abc import Mapping

from consensus.simulation.byzantine.double_voter import DoubleVoter
from consensus.simulation.byzantine.equivocating_proposer import EquivocatingProposer
from consensus.simulation.byzantine.lock_forgetter import LockForgetter
from consensus.simulation.byzantine.silent import Silent
from consensus.simulation.byzantine.splitter import Splitter
from consensus.simulation.byzantine.twins import Twin
from consensus.simulation.byzantine.withholder import Withholder
from consensus.simulation.validator import Validator

ACTORS: Mapping[str, tuple[type[Validator], ...]] = {
    "silent": (Silent,),
    "equivocating_proposer": (EquivocatingProposer,),
    "double_voter": (DoubleVoter,),
    "withholder": (Withholder,),
    "lock_forgetter": (LockForgetter,),
    "splitter": (Splitter,),
    "twins": (Twin, Twin),
}
"""By the name that a scenario uses; more than one are several processes with one key."""
