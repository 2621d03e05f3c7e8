"""What went wrong in several tasks at once is one sentence, unless some of it is a fault of the program."""

import pytest

from prsm_node.cli.errors import NOT_DONE, reported
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


def test_a_fault_of_the_program_among_them_is_not_hidden() -> None:
    group = ExceptionGroup("tasks", [OperatorError("the disk is full"), AssertionError("an invariant broke")])
    with pytest.raises(ExceptionGroup):
        reported(lambda: raising(group))
