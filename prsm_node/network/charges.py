"""What peers cost this node, charged to whose bytes they were: time of a core, and bytes that they ask for.

cpu_budget.py and answer_budget.py keep the accounts; here is whose account it is, and what follows. A
validator's account is its key's, whichever of its nodes is linked.
"""

from collections import Counter
from collections.abc import Callable

from prsm_node.network.answer_budget import AnswerBudget, AnswerBytes
from prsm_node.network.cpu_budget import SIGNATURE_CHECK_S, CpuBudget
from prsm_node.network.link import Link
from prsm_node.network.roster import Roster


class Charges:
    """Of all nodes, linked or not.

    Args:
        fault: told (node key, reason) of who costs too much.
    """

    def __init__(
        self,
        cpu: CpuBudget,
        answers: AnswerBytes,
        roster: Roster,
        fault: Callable[[bytes, str], None],
        counters: Counter[str],
        clock: Callable[[], float],
    ) -> None:
        self._cpu = cpu
        self._answers = AnswerBudget(answers)
        self._roster = roster
        self._fault = fault
        self._counters = counters
        self._clock = clock
        self._elsewhere_s = 0.0
        """Charged for signatures while the frame at hand is judged."""

    def frame_begins(self) -> None:
        """What a frame costs is counted from here on."""
        self._elsewhere_s = 0.0

    def signatures(self, key: bytes | None, count: int) -> None:
        """Signatures were checked on a node's account, wherever that was; on nobody's where it is not known
        who brought what was checked, which need not be who sent the frame at hand."""
        cost_s = count * SIGNATURE_CHECK_S
        self._elsewhere_s += cost_s
        if key is None:
            return
        self._cpu.charge(*_account(key, self._roster.validated(key)), cost_s, self._clock())

    def frame(self, link: Link, seconds: float) -> float:
        """A frame of a link took so much of a core, with what signatures() charged meanwhile to whose it was;
        return how long to read nothing of it: its peer costs more than its share."""
        cost_s = max(0.0, seconds - self._elsewhere_s)
        return self._charge(link.node_key, self._validator(link), cost_s)

    def connection(self, key: bytes, seconds: float) -> float:
        """The same of what a connection took below its stream, with a link or without."""
        return self._charge(key, self._roster.validated(key), seconds)

    def _charge(self, key: bytes, validator: bytes | None, cost_s: float) -> float:
        now, account = self._clock(), _account(key, validator)
        pause_s = self._cpu.charge(*account, cost_s, now)
        if pause_s > 0.0:
            self._counters["reads_delayed"] += 1
            if self._cpu.held_back(*account, pause_s, now):
                self._fault(key, "costs_too_much")
        return pause_s

    def answer_wait_s(self, link: Link) -> float:
        """How long a peer waits until it may be sent what it asks for."""
        return self._answers.wait_s(*self._of(link), self._clock())

    def owes_answers(self, link: Link) -> bool:
        """Whether it waits for what it had itself."""
        return self._answers.in_debt(*self._of(link), self._clock())

    def answer(self, link: Link, size: int) -> None:
        """A peer's asking cost us so many bytes."""
        self._answers.charge(*self._of(link), size, self._clock())

    def _validator(self, link: Link) -> bytes | None:
        return link.validator if self._roster.validates(link) else None

    def _of(self, link: Link) -> tuple[bytes, bool]:
        return _account(link.node_key, self._validator(link))


def _account(node_key: bytes, validator: bytes | None) -> tuple[bytes, bool]:
    """Return the key of an account, and whether it is a validator's."""
    return (node_key, False) if validator is None else (validator, True)
