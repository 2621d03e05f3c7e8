"""What went wrong in several tasks at once is one sentence, unless some of it is a fault of the program."""

from functools import partial

import pytest

from prsm_node.cli.errors import INTERRUPTED, NOT_DONE, reported
from prsm_node.errors import OperatorError
from prsm_node.storage.errors import StorageError


def raising(error: BaseException) -> None:
    raise error


def test_rooms_that_met_one_full_disk_say_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    group = BaseExceptionGroup(
        "tasks", [ExceptionGroup("rooms", [StorageError("the disk is full")]), OperatorError("so is this")]
    )
    assert reported(lambda: raising(group)) == NOT_DONE
    assert capsys.readouterr().err == "prsm-node: the disk is full\n"


def test_a_file_that_is_closed_to_us_is_a_sentence_with_the_remedy_also_from_a_task(
    capsys: pytest.CaptureFixture[str],
) -> None:
    closed = PermissionError(13, "Permission denied", "/h/daemon.json")
    told = "prsm-node: /h/daemon.json: permission denied; run this as its owner, or ask them for access\n"
    for error in (closed, ExceptionGroup("tasks", [closed])):
        assert reported(partial(raising, error)) == NOT_DONE
        assert capsys.readouterr().err == told


def test_a_fault_of_the_program_among_them_is_not_hidden() -> None:
    group = ExceptionGroup("tasks", [OperatorError("the disk is full"), AssertionError("an invariant broke")])
    with pytest.raises(ExceptionGroup):
        reported(lambda: raising(group))


def test_ctrl_c_that_tasks_heard_is_an_interruption(capsys: pytest.CaptureFixture[str]) -> None:
    group = BaseExceptionGroup("tasks", [BaseExceptionGroup("rooms", [KeyboardInterrupt()])])
    assert reported(lambda: raising(group)) == INTERRUPTED
    assert capsys.readouterr().err == "prsm-node: interrupted\n"
