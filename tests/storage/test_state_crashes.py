"""Crashes and full disks: the state that is found again is one that stood, and goes on to the same roots."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from prsm_node.ledger.transactions import transaction_hash
from prsm_node.storage import environment
from prsm_node.storage.environment import RESERVE_BYTES, DiskFull, Environment
from prsm_node.storage.state import State
from tests.storage.made_chain import Chain


def reference_roots(chain: Chain, directory: Path, height: int) -> list[bytes]:
    """Roots of a state that never failed; index is the height."""
    state = chain.open(directory)
    root = state.state_root(0)
    assert root is not None
    roots = [root] + [chain.run(state).state_root for _ in range(height)]
    state.close()
    return roots


CHILD = """
import sys, trio
from pathlib import Path
from tests.storage.made_chain import Chain
chain = Chain()
state = chain.open(Path(sys.argv[1]), sync=True)
async def run():
    async with trio.open_nursery() as nursery:
        while True:
            chain.run(state)
            if state.height % 5 == 0 and not state._committer.busy:
                nursery.start_soon(state.commit)
            await trio.sleep(0)
            if state.height % 20 == 0:
                print(state.durable_height, flush=True)
trio.run(run)
"""


def test_a_state_killed_in_mid_commit_is_one_that_stood_and_goes_on(tmp_path: Path) -> None:
    chain = Chain()
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    promised = 0
    for kill in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path / "state")],
            stdout=subprocess.PIPE,
            env=variables,
            text=True,
        )
        assert child.stdout is not None
        assert child.stdout.readline(), "the child ended by itself"
        time.sleep(0.05 + 0.037 * kill)
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().split()
        child.wait()
        promised = max([promised, *(int(height) for height in rest)])
        state = chain.open(tmp_path / "state")
        assert state.height == state.durable_height >= promised, "what was said to be durable is missing"
        promised = state.height
        state.close()
    state = chain.open(tmp_path / "state")
    height = state.height
    assert height > 0
    roots = reference_roots(chain, tmp_path / "reference", height + 5)
    assert state.state_root(height) == roots[height]
    for above in range(height + 1, height + 6):
        assert chain.run(state).state_root == roots[above]
    found = state.transactions.find(chain_hash(state, height // 2 or 1))
    assert found is not None
    state.close()


def chain_hash(state: State, height: int) -> bytes:
    return transaction_hash(state.transactions.raw(height)[0])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 6 MiB; needs the right to mount."""
    mount = tmp_path / "disk"
    mount.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", mount], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("cannot mount a tmpfs here")
    yield mount
    subprocess.run(["umount", mount], check=True)


async def test_a_full_disk_is_said_in_a_sentence_and_damages_nothing(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain()
    state = chain.open(small_disk / "state", sync=True)
    with pytest.raises(DiskFull, match=r"is full: \d+ MB are free, \d+ MB are needed .* nothing is damaged"):
        await run_until_full(chain, state)
    durable, height = state.durable_height, state.height
    assert 0 < durable < height
    assert state.account(chain.genesis.accounts[0].address) is not None, "it still answers"
    with pytest.raises(DiskFull):
        await state.commit()
    roots = reference_roots(chain, tmp_path / "reference", height + 3)
    state.close()

    again = chain.open(small_disk / "state")
    assert (again.height, again.state_root(durable)) == (durable, roots[durable])
    again.close()


async def run_until_full(chain: Chain, state: State) -> None:
    while True:
        chain.run(state)
        await state.commit()


async def test_the_reserve_is_given_up_for_the_rest_of_the_daemon_and_laid_aside_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain()
    state = chain.open(tmp_path / "state")
    reserve = tmp_path / "state" / "reserve"
    assert reserve.stat().st_blocks * 512 >= RESERVE_BYTES
    chain.run(state)
    with monkeypatch.context() as patch:
        patch.setattr(environment, "_free_bytes", lambda directory: 1_000)
        with pytest.raises(DiskFull):
            await state.commit()
    assert not reserve.exists()
    await state.commit()
    state.close()
    chain.open(tmp_path / "state").close()
    assert reserve.exists()


async def test_a_disk_that_fills_behind_our_back_undoes_the_commit_and_no_more(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain()
    state = chain.open(small_disk / "state", sync=True)
    for _ in range(5):
        chain.run(state)
    await state.commit()
    for _ in range(40):
        chain.run(state)
    # The look at free space passes, then something else takes it all.
    monkeypatch.setattr(state._environment, "make_room", lambda bytes_expected: fill(small_disk / "other"))
    with pytest.raises(DiskFull):
        await state.commit()
    roots = reference_roots(chain, tmp_path / "reference", 46)
    assert chain.run(state).state_root == roots[46]
    state.close()
    monkeypatch.undo()
    (small_disk / "other").unlink()

    again = chain.open(small_disk / "state")
    assert (again.height, again.state_root(5)) == (5, roots[5])
    for height in range(6, 47):
        assert chain.run(again).state_root == roots[height]
    await again.commit()
    again.close()


def fill(path: Path) -> None:
    try:
        with path.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        pass


@pytest.mark.parametrize("foreseen", [True, False])
async def test_a_small_map_grows_before_it_is_full_or_when_a_commit_finds_it_so(
    tmp_path: Path, foreseen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain()
    small = 192 * 1024
    if not foreseen:
        monkeypatch.setattr(Environment, "make_room", lambda self, bytes_expected: None)
    state = chain.open(tmp_path / "state", map_bytes=small)
    for _ in range(60):
        chain.run(state)
    await state.commit()
    assert state._environment.map_bytes > small
    height, root = state.height, state.state_root(state.height)
    state.close()
    again = chain.open(tmp_path / "state", map_bytes=64 * 2**20)
    assert again.state_root(height) == root
    again.close()


async def test_a_cancelled_commit_is_carried_out(tmp_path: Path) -> None:
    chain = Chain()
    state = chain.open(tmp_path)
    chain.run(state)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(state.commit)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert state.durable_height == 1
    state.close()
