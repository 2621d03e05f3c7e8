"""Who breaks the protocol, one a file. Each signs with its own key alone; what it writes in another's name is
found out. The network is the scenario's."""

from collections.abc import Mapping

from consensus.simulation.byzantine.changeling import Changeling
from consensus.simulation.byzantine.conspirator import Conspirator
from consensus.simulation.byzantine.double_acknowledger import DoubleAcknowledger
from consensus.simulation.byzantine.double_voter import DoubleVoter
from consensus.simulation.byzantine.equivocating_proposer import EquivocatingProposer
from consensus.simulation.byzantine.forged_acknowledgements import ForgedAcknowledgements
from consensus.simulation.byzantine.invalid_values import InvalidValues
from consensus.simulation.byzantine.lane_forker import LaneForker
from consensus.simulation.byzantine.leapfrogger import Leapfrogger
from consensus.simulation.byzantine.lock_forgetter import LockForgetter
from consensus.simulation.byzantine.locksmith import Locksmith
from consensus.simulation.byzantine.orphan_author import OrphanAuthor
from consensus.simulation.byzantine.polka_hider import PolkaHider
from consensus.simulation.byzantine.runaway_author import RunawayAuthor
from consensus.simulation.byzantine.selective_sender import SelectiveSender
from consensus.simulation.byzantine.silent import Silent
from consensus.simulation.byzantine.splitter import Splitter
from consensus.simulation.byzantine.stale_certificates import StaleCertificates
from consensus.simulation.byzantine.twins import Twin
from consensus.simulation.byzantine.vote_flooder import VoteFlooder
from consensus.simulation.byzantine.withholder import Withholder
from consensus.simulation.byzantine.wrong_clock import WrongClock
from consensus.simulation.validator import Validator

ACTORS: Mapping[str, tuple[type[Validator], ...]] = {
    "changeling": (Changeling,),
    "conspirator": (Conspirator,),
    "double_acknowledger": (DoubleAcknowledger,),
    "double_voter": (DoubleVoter,),
    "equivocating_proposer": (EquivocatingProposer,),
    "forged_acknowledgements": (ForgedAcknowledgements,),
    "invalid_values": (InvalidValues,),
    "lane_forker": (LaneForker,),
    "leapfrogger": (Leapfrogger,),
    "lock_forgetter": (LockForgetter,),
    "locksmith": (Locksmith,),
    "orphan_author": (OrphanAuthor,),
    "polka_hider": (PolkaHider,),
    "runaway_author": (RunawayAuthor,),
    "selective_sender": (SelectiveSender,),
    "silent": (Silent,),
    "splitter": (Splitter,),
    "stale_certificates": (StaleCertificates,),
    "twins": (Twin, Twin),
    "vote_flooder": (VoteFlooder,),
    "withholder": (Withholder,),
    "wrong_clock": (WrongClock,),
}
"""By the name that a scenario uses; more than one are several processes with one key."""
