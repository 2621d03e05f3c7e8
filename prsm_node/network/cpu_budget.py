"""How much of this node's time each peer may take: what judging its frames, the handlers that it calls and
the signature checks that it causes cost, measured or counted, and charged to the node that sent the bytes.

Who is in debt is read no further until the debt is paid: its stream's window fills, and it waits. Who has to
be held back for long is at fault each time (`costs_too_much`), so that one that goes on is banned.
Keys cost nothing, so all who are no validators share a further budget; who has cost little of late does not
wait for what the others cost. Bytes that a peer makes us send are answer_budget.py's.
"""

from collections import OrderedDict

import msgspec

from prsm_node.token_bucket import BURST_S, TokenBucket

# An Ed25519 check where it is not measured, as in the signature worker: 32 to 60 us on the machines seen.
SIGNATURE_CHECK_S = 40e-6
# Of a core. Four validators at the ceiling of 7,578 transfers/s cost each other's loops 0.2, and the worker
# checks a third of all that they bring for each: 0.1. Whole blocks of a validator that was away: the rest.
VALIDATOR_SHARE = 0.75
# The rate of TRANSACTIONS, 12,000/s (wire/kinds.py), is 0.48 in checks alone.
STRANGER_SHARE = 0.5
STRANGERS_SHARE = 0.75
# Who costs no more than this does not wait for the other strangers: 25 times what a follower's heartbeats
# and gossip's offers cost, and a third of a core for 64 of them.
QUIET_SHARE = 0.005
QUIET_BURST_S = 0.05
# A pause of reading: long enough to be worth a wake-up, and so short that heartbeats behind it are heard.
PAUSE_MIN_S = 0.01
PAUSE_MAX_S = 1.0
# Held back so long in all, a node is at fault: four times that ban it (scores.py). A validator is needed, and
# may have much to say after a cut.
STRANGER_HELD_BACK_S = 0.5
VALIDATOR_HELD_BACK_S = 2.0
# As answer_budget.py: 1,024 x about 500 bytes; a node that is forgotten begins anew.
NODES_MAX = 1_024


class _Account(msgspec.Struct):
    bucket: TokenBucket
    quiet: TokenBucket
    spent: float = 0.0
    held_back: float = 0.0
    waits_until: float = 0.0


class CpuBudget:
    """The accounts of all nodes. `now`: seconds of any monotonic clock, the same in every call."""

    def __init__(self) -> None:
        self._nodes: OrderedDict[tuple[bytes, bool], _Account] = OrderedDict()
        self._strangers = TokenBucket(STRANGERS_SHARE, STRANGERS_SHARE * BURST_S, now=0.0)

    def charge(self, node_key: bytes, validator: bool, cost_s: float, now: float) -> float:
        """A node cost this node so many seconds of a core; return how long to read nothing of it, 0 where it
        may go on."""
        account = self._account(node_key, validator, now)
        account.spent += cost_s
        account.bucket.spend(cost_s, now)
        pause = account.bucket.wait_s(now)
        if not validator:
            account.quiet.spend(cost_s, now)
            self._strangers.spend(cost_s, now)
            if account.quiet.wait_s(now) > 0.0:
                pause = max(pause, self._strangers.wait_s(now))
        return 0.0 if pause < PAUSE_MIN_S else min(pause, PAUSE_MAX_S)

    def held_back(self, node_key: bytes, validator: bool, pause_s: float, now: float) -> bool:
        """A node was made to wait; True where that was once more too long in all, for its own debts."""
        account = self._account(node_key, validator, now)
        if account.bucket.wait_s(now) == 0.0:
            return False  # it waits for other strangers' debts
        # Its stream and its connection wait each for itself: what they wait at once is one time.
        until = max(account.waits_until, now + pause_s)
        account.held_back += until - max(account.waits_until, now)
        account.waits_until = until
        if account.held_back < (VALIDATOR_HELD_BACK_S if validator else STRANGER_HELD_BACK_S):
            return False
        account.held_back = 0.0
        return True

    def spent_s(self, node_key: bytes) -> float:
        """What a node has cost in all, seconds of a core."""
        return sum(
            account.spent
            for validator in (True, False)
            if (account := self._nodes.get((node_key, validator))) is not None
        )

    def _account(self, node_key: bytes, validator: bool, now: float) -> _Account:
        key = (node_key, validator)
        account = self._nodes.get(key)
        if account is not None:
            self._nodes.move_to_end(key)
            return account
        share = VALIDATOR_SHARE if validator else STRANGER_SHARE
        quiet = TokenBucket(QUIET_SHARE, QUIET_BURST_S, now)
        account = self._nodes[key] = _Account(TokenBucket(share, share * BURST_S, now), quiet)
        if len(self._nodes) > NODES_MAX:
            self._nodes.popitem(last=False)
        return account
