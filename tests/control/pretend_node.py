"""A NodeView without consensus: every transaction is final in a block of its own, at once.

It stands in where a network of real daemons can't be held still: slow readers, refusals, floods of blocks.
"""

from collections.abc import Callable
from hashlib import sha256

import trio

from prsm_node.account_proof import Evidence
from prsm_node.control.views import (
    AccountView,
    BanView,
    BlockView,
    EvidenceView,
    FinalBlock,
    ForkView,
    HistoryView,
    NetworkView,
    PeerView,
    ProvenView,
    StatusView,
    StrengthView,
    TransactionView,
    ValidatorView,
)
from prsm_node.identity.peer_ids import peer_id
from prsm_node.invite import Invite, encode
from prsm_node.ledger.transactions import MalformedTransaction, decode_transaction

GENESIS = sha256(b"pretended").digest()
KEY = bytes(range(32))
NOW_MS = 1_700_000_000_000


class PretendNode:
    def __init__(self) -> None:
        self.blocks: list[FinalBlock] = []
        self.raws: dict[bytes, tuple[int, bytes]] = {}
        self.nonces: dict[bytes, int] = {}
        self.notices: list[Callable[[FinalBlock], None]] = []
        self.holds_back = False
        self.announces_twice = False
        self.stopped = False
        self.banned = [BanView("203.0.113.7", "4 nodes banned there", NOW_MS, NOW_MS + 60_000, 1)]
        self.followed = trio.Event()
        """Somebody besides the table of methods wants to hear of final blocks."""

    def status(self) -> StatusView:
        last = self.blocks[-1] if self.blocks else None
        return StatusView(
            node_id="12D3KooWPretended",
            name="pretended",
            network=GENESIS,
            version="0.1.0",
            height=len(self.blocks),
            block_hash=last.block_hash if last else bytes(32),
            state_root=bytes(32),
            last_block_time_ms=last.time_ms if last else 0,
            peers=1,
            validators=4,
            voting=True,
            not_voting_because="",
            syncing=False,
            sync_target=len(self.blocks),
            mempool=0,
            finality_p50_ms=20.0 if last else None,
            finality_p99_ms=31.5 if last else None,
            listen=["/ip4/127.0.0.1/tcp/7100/p2p/12D3KooWPretended"],
            pid=1,
            started_ms=1_700_000_000_000,
        )

    def peers(self) -> list[PeerView]:
        return [
            PeerView(
                "12D3KooWOther", "/ip4/127.0.0.1/tcp/7101", True, KEY, 3, 0.9, 1.0, 1_700_000_000_000, 10, 20
            )
        ]

    def bans(self) -> list[BanView]:
        return self.banned

    def unban(self, who: str) -> bool:
        lifted = [ban for ban in self.banned if ban.who == who]
        self.banned = [ban for ban in self.banned if ban.who != who]
        return bool(lifted)

    def evidence(self) -> EvidenceView:
        proven = ProvenView(
            key=KEY,
            name="node3",
            kind="prevote",
            height=5,
            round=0,
            lane=None,
            sequence=None,
            told="signed two prevotes at height 5, round 0",
            block=7,
            jailed=True,
        )
        return EvidenceView([proven], [ForkView(4, "fork-at-4.json", [KEY])])

    def validators(self) -> list[ValidatorView]:
        return [ValidatorView(KEY, "node0", 1, True, True)]

    def network(self) -> NetworkView:
        return NetworkView(GENESIS, "pretended", 1_000, {"fee_min": 1_000})

    def counters(self) -> dict[str, int | float]:
        return {"frames.bytes_out": 7}

    async def block(self, height: int) -> BlockView | None:
        if not 1 <= height <= len(self.blocks):
            return None
        found = self.blocks[height - 1]
        strength = StrengthView(tolerated_power=2, total_power=4)
        return BlockView(
            height, found.block_hash, bytes(32), KEY, 0, found.time_ms, found.transactions, strength
        )

    async def transaction(self, digest: bytes) -> TransactionView | None:
        if digest not in self.raws:
            return None
        height, raw = self.raws[digest]
        return TransactionView(digest, height, self.blocks[height - 1].block_hash, 0, "executed", raw)

    async def account(self, address: bytes) -> AccountView:
        nonce = self.nonces.get(address, 0)
        return AccountView(address, 5_000_000_000, nonce, nonce)

    async def account_proof(self, address: bytes) -> Evidence | None:
        return None

    async def history(self, address: bytes, limit: int, before: int | None) -> list[HistoryView]:
        found = []
        for digest, (height, raw) in self.raws.items():
            t = decode_transaction(raw)
            transfers = [(o.to, o.amount) for o in t.operations]
            found.append(
                HistoryView(
                    height,
                    digest,
                    height,
                    1_700_000_000_000,
                    t.sender,
                    t.nonce,
                    t.fee,
                    transfers,
                    t.memo,
                    "executed",
                )
            )
        return [entry for entry in reversed(found) if before is None or entry.position < before][:limit]

    async def submit(self, transactions: list[bytes]) -> list[tuple[bool, str]]:
        return [self._admit(raw) for raw in transactions]

    def _admit(self, raw: bytes) -> tuple[bool, str]:
        try:
            transaction = decode_transaction(raw)
        except MalformedTransaction as error:
            return False, str(error)
        if not self.holds_back:
            self.nonces[transaction.sender] = transaction.nonce + 1
            self.make_final([raw])
        return True, ""

    def make_final(self, raws: list[bytes]) -> None:
        height = len(self.blocks) + 1
        digests = [sha256(raw).digest() for raw in raws]
        self.raws |= {digest: (height, raw) for digest, raw in zip(digests, raws, strict=True)}
        block = FinalBlock(height, sha256(b"%d" % height).digest(), 1_700_000_000_000 + height, digests, [])
        self.blocks.append(block)
        for notice in list(self.notices) * (2 if self.announces_twice else 1):
            notice(block)

    def on_final(self, notice: Callable[[FinalBlock], None]) -> Callable[[], None]:
        if self.notices:
            self.followed.set()
        self.notices.append(notice)
        return lambda: self.notices.remove(notice)

    async def invite(self) -> str:
        address = f"/ip4/127.0.0.1/tcp/7100/p2p/{peer_id(KEY)}"
        return encode(Invite(GENESIS, 1, bytes(32), 0, (address,)))

    def stop(self) -> None:
        self.stopped = True
