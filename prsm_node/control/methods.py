"""What can be asked over the control socket, and `NodeView`: what the methods ask of a node.

A node implements NodeView; `handlers(node)` makes the table that server.py serves.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Annotated, Protocol

import trio
from msgspec import Meta, Struct

from prsm_node.account_proof import Evidence
from prsm_node.control.protocol import ControlError
from prsm_node.control.server import Emit, Handlers, Method
from prsm_node.control.views import (
    AccountView,
    Admitted,
    BanView,
    BlockView,
    EvidenceView,
    FinalBlock,
    HistoryView,
    NetworkView,
    PeerView,
    Settled,
    StatusView,
    TransactionView,
    ValidatorView,
)


class NodeView(Protocol):
    """What the control socket needs of a node. Called in trio's thread only.

    Nothing here may raise on bad values of the right type: an absent thing is None, a refused one its reason.
    """

    def status(self) -> StatusView: ...

    def peers(self) -> list[PeerView]: ...

    def bans(self) -> list[BanView]:
        """Who is banned, the ban that ends first in front."""

    def unban(self, who: str) -> bool:
        """Lift a ban; False where there is none of this name."""

    def validators(self) -> list[ValidatorView]: ...

    def evidence(self) -> EvidenceView: ...

    def network(self) -> NetworkView: ...

    def counters(self) -> dict[str, int | float]:
        """Everything counted, flat, with dotted names: `frames.bytes_out`, `mempool.refused.nonce_spent`."""

    async def block(self, height: int) -> BlockView | None: ...

    async def transaction(self, digest: bytes) -> TransactionView | None:
        """Pending or final; a transaction that was in a FinalBlock is found as soon as that was announced."""

    async def account(self, address: bytes) -> AccountView: ...

    async def account_proof(self, address: bytes) -> Evidence | None:
        """Prove an account by a certified header, waiting for it at most 20 s; None if there is no
        such account. Raise trio.TooSlowError."""

    async def history(self, address: bytes, limit: int, before: int | None) -> list[HistoryView]:
        """Newest first, below position `before`."""

    async def submit(self, transactions: list[bytes]) -> list[tuple[bool, str]]:
        """Admit raw transactions, each on its own: (True, "") or (False, reason).

        A duplicate of a pending one is accepted again. Waits for the signature check, at most a few seconds.
        """

    def on_final(self, notice: Callable[[FinalBlock], None]) -> Callable[[], None]:
        """Call `notice` after each block is executed here, in order of height; it never blocks nor raises.
        Return what ends that."""

    async def invite(self) -> str: ...

    def stop(self) -> None:
        """Begin a clean end of the daemon and return at once."""


# A follower that is 256 blocks behind lags by seconds under load and by many minutes at rest.
FOLLOWER_BLOCKS_MAX = 256
# 16,000 hashes of 34 bytes fit a message twice over.
HASHES_AN_EVENT_MAX = 16_000
HISTORY_MAX = 1_000
WAITING_MAX = 4_096

Raw = Annotated[bytes, Meta(min_length=1, max_length=16_384)]
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
AddressBytes = Annotated[bytes, Meta(min_length=33, max_length=33)]


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """No params."""


class OfBanned(Struct, frozen=True, forbid_unknown_fields=True):
    who: Annotated[str, Meta(min_length=1, max_length=256)]


class AtHeight(Struct, frozen=True, forbid_unknown_fields=True):
    height: Annotated[int, Meta(ge=0, le=2**62)]


class ByHash(Struct, frozen=True, forbid_unknown_fields=True):
    hash: Hash


class OfAddress(Struct, frozen=True, forbid_unknown_fields=True):
    address: AddressBytes


class PageOfHistory(Struct, frozen=True, forbid_unknown_fields=True):
    address: AddressBytes
    limit: Annotated[int, Meta(ge=1, le=HISTORY_MAX)] = 20
    before: Annotated[int, Meta(ge=0, le=2**62)] | None = None


class Submission(Struct, frozen=True, forbid_unknown_fields=True):
    transactions: Annotated[list[Raw], Meta(min_length=1, max_length=4_096)]


class AwaitedSubmission(Struct, frozen=True, forbid_unknown_fields=True):
    transaction: Raw
    timeout_s: Annotated[float, Meta(gt=0, le=600)] = 30.0


def handlers(node: NodeView) -> Handlers:
    """Make the table of methods; it subscribes to the node's final blocks once, for all who wait."""
    waiting: dict[bytes, list[trio.Event]] = {}

    def wake(block: FinalBlock) -> None:
        if waiting:
            for digest in waiting.keys() & set(block.transactions):
                for final in waiting[digest]:
                    final.set()

    node.on_final(wake)

    async def status(_: Nothing, emit: Emit) -> object:
        return node.status()

    async def peers(_: Nothing, emit: Emit) -> object:
        return node.peers()

    async def bans(_: Nothing, emit: Emit) -> object:
        return node.bans()

    async def unban(params: OfBanned, emit: Emit) -> object:
        if not node.unban(params.who):
            raise ControlError("not_found", f"{params.who} is not banned; `peers --banned` lists who is")
        return None

    async def validators(_: Nothing, emit: Emit) -> object:
        return node.validators()

    async def evidence(_: Nothing, emit: Emit) -> object:
        return node.evidence()

    async def network(_: Nothing, emit: Emit) -> object:
        return node.network()

    async def counters(_: Nothing, emit: Emit) -> object:
        return node.counters()

    async def block(params: AtHeight, emit: Emit) -> object:
        found = await node.block(params.height)
        if found is None:
            status = node.status()
            if 0 < params.height < status.first_block:
                raise ControlError(
                    "pruned",
                    f"block {params.height} is not kept: this node keeps blocks from height "
                    f"{status.first_block} on",
                )
            raise ControlError(
                "not_found", f"no block at height {params.height}; the last one is {status.height}"
            )
        return found

    async def tx(params: ByHash, emit: Emit) -> object:
        found = await node.transaction(params.hash)
        if found is None:
            first = node.status().first_block
            kept = f"; this node keeps blocks from height {first} on" if first > 1 else ""
            raise ControlError("not_found", f"no transaction {params.hash.hex()} is known here{kept}")
        return found

    async def account(params: OfAddress, emit: Emit) -> object:
        return await node.account(params.address)

    async def account_proof(params: OfAddress, emit: Emit) -> object:
        try:
            proof = await node.account_proof(params.address)
        except trio.TooSlowError:
            raise ControlError(
                "timed_out", "no decided block names the root of this state yet; try again when blocks come"
            ) from None
        if proof is None:
            raise ControlError("not_found", "there is no such account, and absence has no proof")
        return proof

    async def history(params: PageOfHistory, emit: Emit) -> object:
        return await node.history(params.address, params.limit, params.before)

    async def submit(params: Submission, emit: Emit) -> object:
        return await node.submit(params.transactions)

    async def submit_and_wait(params: AwaitedSubmission, emit: Emit) -> object:
        started = trio.current_time()
        digest = sha256(params.transaction).digest()
        if len(waiting) >= WAITING_MAX:
            raise ControlError("busy", f"{WAITING_MAX} transactions are waited for already")
        final = trio.Event()
        waiting.setdefault(digest, []).append(final)
        try:
            ((accepted, reason),) = await node.submit([params.transaction])
            if not accepted:
                raise ControlError("refused", f"the transaction was refused: {reason}")
            await emit(Admitted("admitted", digest))
            with trio.move_on_after(params.timeout_s):
                await final.wait()
                latency_ms = (trio.current_time() - started) * 1_000
                return await _settled(node, digest, latency_ms)
        finally:
            waiting[digest].remove(final)
            if not waiting[digest]:
                del waiting[digest]
        raise ControlError(
            "timed_out", f"{digest.hex()} was admitted but is not final after {params.timeout_s:g} s"
        )

    async def follow(_: Nothing, emit: Emit) -> object:
        blocks, missed = trio.open_memory_channel[FinalBlock](FOLLOWER_BLOCKS_MAX), 0
        sender, receiver = blocks

        def notice(block: FinalBlock) -> None:
            nonlocal missed
            try:
                sender.send_nowait(block)
            except trio.WouldBlock:
                missed += 1

        end = node.on_final(notice)
        try:
            while not missed:
                for part in _parts(await receiver.receive()):
                    await emit(part)
        finally:
            end()
        raise ControlError(
            "too_slow", f"this follower was {FOLLOWER_BLOCKS_MAX} blocks behind and missed {missed}"
        )

    async def invite(_: Nothing, emit: Emit) -> object:
        return await node.invite()

    async def stop(_: Nothing, emit: Emit) -> object:
        node.stop()
        return None

    return {
        "status": Method(Nothing, status),
        "peers": Method(Nothing, peers),
        "bans": Method(Nothing, bans),
        "unban": Method(OfBanned, unban),
        "validators": Method(Nothing, validators),
        "evidence": Method(Nothing, evidence),
        "network": Method(Nothing, network),
        "counters": Method(Nothing, counters),
        "block": Method(AtHeight, block),
        "tx": Method(ByHash, tx),
        "account": Method(OfAddress, account),
        "account_proof": Method(OfAddress, account_proof),
        "history": Method(PageOfHistory, history),
        "submit": Method(Submission, submit),
        "submit_and_wait": Method(AwaitedSubmission, submit_and_wait),
        "follow": Method(Nothing, follow),
        "invite": Method(Nothing, invite),
        "stop": Method(Nothing, stop),
    }


async def _settled(node: NodeView, digest: bytes, latency_ms: float) -> Settled:
    transaction = await node.transaction(digest)
    assert transaction is not None, f"{digest.hex()} was announced as final but is unknown"
    assert transaction.height is not None, f"{digest.hex()} was announced as final but is pending"
    block = await node.block(transaction.height)
    assert block is not None, f"{digest.hex()} is in block {transaction.height}, which is not there"
    return Settled(
        tx=digest,
        height=block.height,
        block_hash=block.hash,
        latency_ms=latency_ms,
        outcome=transaction.outcome or "executed",
        strength=block.strength,
    )


def _parts(block: FinalBlock) -> list[FinalBlock]:
    """Cut a block that is too large for one message; its parts have the same height."""
    if len(block.transactions) <= HASHES_AN_EVENT_MAX:
        return [block]
    return [
        FinalBlock(
            block.height,
            block.block_hash,
            block.time_ms,
            block.transactions[start : start + HASHES_AN_EVENT_MAX],
            block.failed if start == 0 else [],
        )
        for start in range(0, len(block.transactions), HASHES_AN_EVENT_MAX)
    ]
