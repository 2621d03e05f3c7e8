"""The rules' numbers that every node must share. They are part of the genesis and of its hash."""

from typing import Annotated

import msgspec

from prsm_node.ledger.transactions import SUPPLY_CAP

Count = Annotated[int, msgspec.Meta(ge=1, le=2**31)]
Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=2**53)]

DAY_MS = 24 * 3600 * 1000


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The defaults are those of a new network. Amounts are base units."""

    fee_min: Annotated[int, msgspec.Meta(ge=0, le=SUPPLY_CAP)] = 1_000
    """Least fee of each operation of a transaction."""
    nonce_window: Count = 4_096
    """A transaction is admitted up to this many nonces ahead of its sender's account."""
    lane_window: Annotated[int, msgspec.Meta(ge=1, le=4_096)] = 32
    """W: batches that a lane runs at most ahead of its committed tip."""
    lane_step: Annotated[int, msgspec.Meta(ge=1, le=4_096)] = 32
    """K: batches by which one block advances a lane at most."""
    heartbeat_ms: Milliseconds = 10_000
    """A block comes after this long even if there is nothing to order."""
    timeout_propose_ms: Milliseconds = 1_000
    """Base of timeoutPropose, until measured times replace it."""
    timeout_prevote_ms: Milliseconds = 500
    timeout_precommit_ms: Milliseconds = 500
    timeout_growth_ms: Milliseconds = 500
    """What each further round of a height adds to a timeout."""
    clock_precision_ms: Milliseconds = 500
    """By how much the clocks of honest validators differ at most."""
    message_delay_ms: Milliseconds = 2_000
    """How late a timely proposal arrives at most."""
    unbonding_ms: Milliseconds = 7 * DAY_MS
    """Trust in a block older than this is refused; evidence is kept as long."""
