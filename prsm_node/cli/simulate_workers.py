"""Processes that share the seeds of a simulation, and end with the one that started them.

A pool of `concurrent.futures` finishes what it began before it lets Ctrl-C through, up to half a minute of
whole daemons, and its processes wait for ever for a parent that was killed.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TypeVar

from prsm_node.errors import OperatorError

Result = TypeVar("Result")


def in_order(of_seed: Callable[[int], Result], seeds: range, jobs: int) -> Iterator[Result]:
    """Yield the result of each seed, in the order of the seeds, from `jobs` processes.

    Process k has every `jobs`-th seed from the k-th on, and is as far ahead as its pipe holds results.
    `of_seed` and what it returns must be picklable. Raise OperatorError where a process was killed.
    """
    spawn = get_context("spawn")
    shares = [seeds[first::jobs] for first in range(min(jobs, len(seeds)))]
    pipes = [spawn.Pipe(duplex=False) for _ in shares]
    workers = [
        spawn.Process(target=_work, args=(of_seed, share, told), daemon=True)
        for share, (_, told) in zip(shares, pipes, strict=True)
    ]
    try:
        _start(workers)
        for _, told in pipes:
            told.close()  # the workers' alone: their end is seen
        for number, seed in enumerate(seeds):
            worker, (results, _) = workers[number % jobs], pipes[number % jobs]
            try:
                result: Result = results.recv()
            except EOFError:
                worker.join()
                raise OperatorError(
                    f"the process that ran seed {seed} ended by {_how(worker.exitcode)}; "
                    "with too little memory, take fewer --jobs"
                ) from None
            yield result
    finally:
        for worker in workers:
            if worker.pid is not None:
                worker.kill()
                worker.join()


def _start(workers: Sequence[BaseProcess]) -> None:
    """A terminal sends Ctrl-C to all. These never hear it, not even while they load: the parent hears it once
    they are started, and ends them."""
    resource_tracker.ensure_running()  # it lets SIGINT through when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for worker in workers:
            worker.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(of_seed: Callable[[int], Result], seeds: range, results: Connection) -> None:
    try:
        for seed in seeds:
            results.send(of_seed(seed))
    except BrokenPipeError:
        return  # the parent is gone


def _how(exitcode: int | None) -> str:
    return f"signal {-exitcode}" if exitcode is not None and exitcode < 0 else f"itself, with code {exitcode}"
