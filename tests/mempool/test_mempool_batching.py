"""A lone transaction leaves at once; under load batches wait a little, and grow."""

from prsm_node.mempool.batching import CLOSE_BYTES, CLOSE_MS, GROWN_BYTES, GROWN_MS, PATIENCE_MS, BatchClock


def test_nothing_ready_is_never_due() -> None:
    clock = BatchClock()
    assert clock.due(0, 0) is None
    clock.queued(5, 100)
    clock.sealed(6, 100)
    assert clock.due(1_000, 0) is None


def test_the_first_after_a_quiet_spell_leaves_at_once_and_the_next_waits_ten_milliseconds() -> None:
    clock = BatchClock()
    clock.queued(1_000, 100)
    assert clock.due(1_000, 0) == 0
    clock.sealed(1_000, 100)
    clock.queued(1_002, 100)
    assert clock.due(1_002, 1) == PATIENCE_MS, "one is on its way: wait a little longer"
    assert clock.due(1_002, 0) == CLOSE_MS
    assert clock.due(1_012, 0) == 0
    assert clock.due(1_002 + PATIENCE_MS, 1) == 0


def test_a_full_batch_waits_for_nothing() -> None:
    clock = BatchClock()
    clock.sealed(0, 0)
    clock.queued(1, CLOSE_BYTES)
    assert clock.due(1, 0) == 0
    assert clock.due(1, 1) == PATIENCE_MS


def test_the_wait_and_the_size_grow_with_what_is_outstanding_up_to_a_bound() -> None:
    clock = BatchClock()
    clock.sealed(0, 0)
    clock.queued(1, 100)
    waits = [clock.due(1, outstanding) for outstanding in range(10)]
    assert waits == sorted(waits)  # type: ignore[type-var]
    assert waits[-1] == GROWN_MS
    assert [BatchClock.bytes_wanted(outstanding) for outstanding in (0, 1, 99)] == [
        64_000,
        128_000,
        GROWN_BYTES,
    ]
    clock.queued(1, GROWN_BYTES)
    assert clock.due(1, 99) == 0


def test_what_is_executed_elsewhere_stops_the_clock() -> None:
    clock = BatchClock()
    clock.queued(1, 100)
    clock.removed(100)
    assert clock.due(50, 0) is None
