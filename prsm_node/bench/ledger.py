"""One node's pipeline without a network: decode, check, execute, commit durably with root and all indexes.

Transfers come in bodies of 64 KB and blocks of 1,000, as they do under load. Time runs from the first block
to the end of the commit that made the last one durable. Not measured: admission, dissemination, agreement and
the journal, which a daemon does on the same cores.
"""

import random
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final

import msgspec
import trio

from consensus.blocks import Block, block_digest
from consensus.certificates import Certificate
from consensus.votes import VoteKind
from prsm_node.bench.local_network import progress
from prsm_node.bench.presign import addresses, signers
from prsm_node.bench.report import BenchFailed, Metric
from prsm_node.genesis import Genesis, genesis
from prsm_node.ledger.outcomes import Outcome
from prsm_node.ledger.transactions import Transfer, unsigned_bytes, with_signature
from prsm_node.storage.blocks import BatchRecord
from prsm_node.storage.state import State
from prsm_node.verification.worker_verifier import WorkerVerifier

ACCOUNTS: Final = 1_000_000
ACTIVE: Final = 1_000
TRANSFERS: Final = 100_000
SIGNED: Final = 60_000
BODY_TRANSFERS: Final = 400
BLOCK_TRANSFERS: Final = 1_000
FEE: Final = 1_000
FUNDS: Final = 10**9
VALIDATOR: Final = b"v" * 32
# Bodies on their way through the worker: enough that it never waits, few enough that memory stays flat.
CHECKS_AHEAD: Final = 8
SEED: Final = 3

Check = Callable[[Sequence[bytes]], Awaitable[bytes]]


def ledger() -> dict[str, Metric]:
    """Raise BenchFailed."""
    return measure(progress)


def measure(tell: Callable[[str], None]) -> dict[str, Metric]:
    """Return signed_pipeline, execute_commit and execute_commit_active; raise BenchFailed."""
    tell(f"signing {SIGNED:,} transfers")
    made = _genesis(addresses(SEED, ACTIVE))
    with signers() as pool:
        signed = [one.raw for one in pool.transfers(made.hash, SEED, ACTIVE, SIGNED, FEE, 1)]
    metrics = {"signed_pipeline": _rate(made, signed, checked=True)}
    for name, active in (("execute_commit_active", ACTIVE), ("execute_commit", ACCOUNTS)):
        tell(f"{name}: {ACCOUNTS:,} accounts, {active:,} of them in use")
        choice = random.Random(SEED)
        everyone = [b"\x01" + choice.randbytes(32) for _ in range(ACCOUNTS)]
        raws = list(_transfers(everyone[:active], choice))
        metrics[name] = _rate(_genesis(everyone), raws, checked=False)
    return metrics


def _genesis(accounts: list[bytes]) -> Genesis:
    return genesis("bench", 1, [(VALIDATOR, 1, "bench")], [(address, FUNDS) for address in accounts])


def _transfers(accounts: list[bytes], choice: random.Random) -> Iterator[bytes]:
    """Between random accounts; blank signatures, since execution looks at none."""
    nonces: dict[bytes, int] = {}
    for _ in range(TRANSFERS):
        sender, to = choice.choice(accounts), choice.choice(accounts)
        nonce = nonces.get(sender, 0)
        nonces[sender] = nonce + 1
        yield with_signature(unsigned_bytes(sender, nonce, FEE, (Transfer(to, 1),)), bytes(64))


def _rate(made: Genesis, raws: list[bytes], checked: bool) -> Metric:
    bodies = [
        msgspec.msgpack.encode(raws[at : at + BODY_TRANSFERS]) for at in range(0, len(raws), BODY_TRANSFERS)
    ]
    with tempfile.TemporaryDirectory(prefix="prsm-bench-") as directory:
        state = State.open(Path(directory), made, bodies.__getitem__)
        try:
            taken_s = trio.run(partial(_run, state, bodies, made.hash if checked else None))
        finally:
            state.close()
    return Metric.single(len(raws) / taken_s, "transfers/s", len(raws))


async def _run(state: State, bodies: list[bytes], network: bytes | None) -> float:
    """Return the seconds from the first body to the last durable block."""
    async with trio.open_nursery() as nursery:
        check: Check | None = None
        if network is not None:
            verifier = WorkerVerifier(network)
            await nursery.start(verifier.run)
            check = verifier.check
        started = perf_counter()
        await _pipeline(state, bodies, check)
        await state.commit()
        taken_s = perf_counter() - started
        nursery.cancel_scope.cancel()
    return taken_s


async def _pipeline(state: State, bodies: list[bytes], check: Check | None) -> None:
    done = [trio.Event() for _ in bodies]
    ahead = trio.Semaphore(CHECKS_AHEAD)

    async def checked(number: int) -> None:
        if check is not None:
            raws = msgspec.msgpack.decode(bodies[number], type=list[bytes])
            if 0 in await check(raws):
                raise BenchFailed(f"body {number} has a signature that does not hold")
        done[number].set()

    async def check_all(nursery: trio.Nursery) -> None:
        for number in range(len(bodies)):
            await ahead.acquire()
            nursery.start_soon(checked, number)

    in_block = max(1, BLOCK_TRANSFERS // BODY_TRANSFERS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(check_all, nursery)
        for first in range(0, len(bodies), in_block):
            numbers = range(first, min(first + in_block, len(bodies)))
            for number in numbers:
                await done[number].wait()
                ahead.release()
            _execute(state, numbers, bodies)
            if state.should_commit:
                nursery.start_soon(state.commit)
            await trio.lowlevel.checkpoint()


def _execute(state: State, numbers: range, bodies: list[bytes]) -> None:
    height = state.height + 1
    root = state.header_root(height)
    assert root is not None, f"block {height - 2} is not executed"
    block = Block(height, state.digest, height, VALIDATOR, (), (), root, bytes(32))
    digest = block_digest(block)
    commit = Certificate(VoteKind.PRECOMMIT, height, 0, digest, ())
    batches = [BatchRecord(VALIDATOR, number + 1, digest, number) for number in numbers]
    execution = state.execute(block, digest, commit, batches, [bodies[number] for number in numbers])
    if any(execution.executed.outcomes):
        failed = next(outcome for outcome in execution.executed.outcomes if outcome)
        raise BenchFailed(f"block {height}: {Outcome(failed).reason}")
