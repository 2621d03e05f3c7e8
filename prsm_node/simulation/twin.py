"""The daemon of a faulty operator who runs his validator twice and took the check for a twin out.

Nothing else of it is changed: what it signs against its twin are a real daemon's votes, proposals, batches
and acknowledgements, each kept in a home that knows nothing of the other (Twins, arXiv:2004.10617).
"""

from consensus.guard import Guard
from consensus.inputs import VotingAllowed
from prsm_node.config import Config
from prsm_node.home import Home
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.machine import Machine
from prsm_node.node import Node
from prsm_node.voting import Voting


class UncheckedVoting(Voting):
    """It asks nobody whether it is alone."""

    async def begin_when_alone(self, guard: Guard) -> None:
        self._node.host.feed(VotingAllowed())
        self._node.author.wake()


class UncheckedNode(Node):
    """Votes at once."""

    def __init__(
        self, home: Home, config: Config, node_key: SigningKey, validator_key: SigningKey, machine: Machine
    ) -> None:
        super().__init__(home, config, node_key, validator_key, machine)
        self.voting = UncheckedVoting(self, validator_key.public, switched_on=config.consensus.vote)
