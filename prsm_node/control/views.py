"""The values that a node shows over its control socket; keys on the socket are the field names.

Hashes, keys and addresses are raw bytes, amounts integers of base units, times Unix milliseconds. The CLI
makes them readable. Nothing here imports trio or libp2p.
"""

import msgspec


class StatusView(msgspec.Struct, frozen=True):
    node_id: str
    """The libp2p peer id."""
    name: str
    network: bytes
    """The genesis hash."""
    version: str
    height: int
    """The last executed block; 0 before the first."""
    block_hash: bytes
    state_root: bytes
    """Of the state after `height`."""
    last_block_time_ms: int
    """0 before the first block."""
    peers: int
    validators: int
    voting: bool
    not_voting_because: str
    """One sentence; empty while voting."""
    syncing: bool
    sync_target: int
    """The greatest height heard of; equal to `height` when not syncing."""
    mempool: int
    """Transactions admitted and not yet executed."""
    finality_p50_ms: float | None
    """Submission to finality, of the last transactions submitted at this node; None where there were none."""
    finality_p99_ms: float | None
    listen: list[str]
    """Multiaddresses, each ending in /p2p/<node_id>."""
    pid: int
    started_ms: int
    first_block: int = 1
    """The lowest height whose block this node keeps."""
    snapshot: "SnapshotView | None" = None
    """Of a node that has no state yet and takes a snapshot over."""
    stands_ms: int = 0
    """For how long no block has come although one is due; 0 while blocks come."""
    reachable_power: int = 0
    """Of the validators linked to this node, and its own while it votes."""
    total_power: int = 0
    sync: "SyncView | None" = None
    """Of a node that catches up by blocks."""


class SyncView(msgspec.Struct, frozen=True):
    """How far catching up is."""

    phase: str
    """headers: from the trusted block down to this node's own; blocks: checked and executed."""
    done: int
    """Of `headers`: how many of them; of `blocks`: the height."""
    total: int
    per_second: float
    """Over the last seconds."""
    seconds_left: float | None
    """None while nothing can be said."""
    peers: int
    """That have a question of ours open."""

    def sentence(self) -> str:
        """Return it for a person, below 80 characters."""
        text = f"catching up: {self.phase} {self.done:,} of {self.total:,}, {self.per_second:,.0f} a second"
        return text if self.seconds_left is None else f"{text}, {left(self.seconds_left)} left"


def left(seconds: float) -> str:
    """Return a time to come, or gone by, in the two units that matter."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    hours, rest = divmod(minutes, 60)
    if hours < 100:
        return f"{hours} h {rest} min"
    return f"{hours // 24:,} d {hours % 24} h"


class SnapshotView(msgspec.Struct, frozen=True):
    """How far a snapshot is."""

    phase: str
    """looking, checking, fetching or restoring."""
    height: int
    """0 while none is chosen."""
    bytes_done: int
    bytes_total: int
    bytes_per_s: float
    seconds_left: float | None
    resumed_bytes: int
    """Fetched by an earlier run."""


class BanView(msgspec.Struct, frozen=True):
    who: str
    """A peer id, an IP address, or a network group: what lifts the ban."""
    why: str
    since_ms: int
    until_ms: int
    offences: int


class PeerView(msgspec.Struct, frozen=True):
    node_id: str
    address: str
    outbound: bool
    validator: bytes | None
    """The validator key it proved to hold, if any."""
    height: int
    round_trip_ms: float | None
    score: float
    connected_since_ms: int
    bytes_in: int
    bytes_out: int
    cpu_s: float = 0.0
    """What judging its frames and the checks that they caused have cost this node, seconds of a core."""


class ValidatorView(msgspec.Struct, frozen=True):
    key: bytes
    name: str
    power: int
    this_node: bool
    connected: bool
    """A link to it stands now; true of this node itself."""


class ProvenView(msgspec.Struct, frozen=True):
    """A validator is proven guilty."""

    key: bytes
    name: str
    """Empty if it is none of the genesis'."""
    kind: str
    """prevote, precommit, proposal, batch or acknowledgement, signed twice; or amnesia."""
    height: int | None
    """None in a lane."""
    round: int | None
    lane: bytes | None
    """Its author."""
    sequence: int | None
    told: str
    """What it did, in words."""
    block: int | None
    """The height of the block that committed the proof; None while it waits for one."""
    jailed: bool
    """Whether that block took it out of the set."""


class ForkView(msgspec.Struct, frozen=True):
    """Two blocks were decided at one height, and this node stopped."""

    height: int
    proof: str
    """The path of the file with both certificates."""
    guilty: list[bytes]
    """Whom the two certificates alone convict."""


class EvidenceView(msgspec.Struct, frozen=True):
    evidence: list[ProvenView]
    """What blocks committed, in their order, then what waits for a block."""
    forks: list[ForkView]


class StrengthView(msgspec.Struct, frozen=True):
    """Undoing the block takes faulty voters of more than `tolerated_power` (PROTOCOL, Strength)."""

    tolerated_power: int
    total_power: int


class BlockView(msgspec.Struct, frozen=True):
    height: int
    hash: bytes
    state_root: bytes
    """Of the state after this block."""
    proposer: bytes
    round: int
    """In which it was decided."""
    time_ms: int
    transactions: list[bytes]
    """Hashes in order of execution."""
    strength: StrengthView


class TransactionView(msgspec.Struct, frozen=True):
    hash: bytes
    height: int | None
    """None while it is pending."""
    block_hash: bytes | None
    index: int | None
    """Its place in the block."""
    outcome: str | None
    """`executed`, or the name of the reason for which it failed and paid its fee; None while pending."""
    raw: bytes


class AccountView(msgspec.Struct, frozen=True):
    address: bytes
    balance: int
    nonce: int
    """Executed transactions so far; 0 and a balance of 0 for an address without an account."""
    next_nonce: int
    """The nonce a new transaction should have, counting what is pending here."""


class HistoryView(msgspec.Struct, frozen=True):
    position: int
    """Orders the ledger's transactions; hand it back as `before` to go on."""
    hash: bytes
    height: int
    time_ms: int
    sender: bytes
    nonce: int
    fee: int
    transfers: list[tuple[bytes, int]]
    """(to, amount), those that touch the account asked for."""
    memo: bytes
    outcome: str


class NetworkView(msgspec.Struct, frozen=True):
    genesis_hash: bytes
    name: str
    fee_min: int
    parameters: dict[str, int | str]


class FinalBlock(msgspec.Struct, frozen=True):
    """A block as it becomes final here: decided, durable and executed."""

    height: int
    block_hash: bytes
    time_ms: int
    transactions: list[bytes]
    """Hashes of what has a receipt in it, in order of execution."""
    failed: list[bytes]
    """Those of them that paid their fee and did nothing else."""


class Admitted(msgspec.Struct, frozen=True):
    """The one event of submit_and_wait."""

    state: str
    tx: bytes


class Settled(msgspec.Struct, frozen=True):
    """The result of submit_and_wait: the transaction is final."""

    tx: bytes
    height: int
    block_hash: bytes
    latency_ms: float
    """From the request's arrival to its block's execution at this node."""
    outcome: str
    strength: StrengthView
