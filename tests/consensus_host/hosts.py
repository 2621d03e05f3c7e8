"""A host with the parts that a test needs; whatever else it would use is None, and is not asked."""

from typing import Any, cast

from consensus.guard import Guard
from prsm_node.consensus_host.batch_store import BatchStore
from prsm_node.consensus_host.checks import Checks
from prsm_node.consensus_host.host import ConsensusHost
from prsm_node.consensus_host.recovery import Recovered
from prsm_node.consensus_host.signing_journal import SigningJournal

NETWORK = b"n" * 32


def left(guard: Guard, position: int | None = None) -> Recovered:
    """What a run left that signed under this guard last."""
    return Recovered(guard, position, [], {}, {})


def host_of(
    replica: Any, *, recovered: Recovered | None = None, journal: Any = None, **parts: Any
) -> ConsensusHost:
    kept = SigningJournal(journal, BatchStore(), Checks(NETWORK), recovered or left(Guard()), None, 0)
    given = {"replica": replica, "journal": journal, "kept": kept, "now_ms": lambda: 0} | parts
    names = ConsensusHost.__init__.__annotations__.keys() - {"return"}
    return ConsensusHost(**dict.fromkeys(names, cast(Any, None)) | given)
