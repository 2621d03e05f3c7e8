"""A process that another one keeps ends with its keeper, however that ends."""

import ctypes
import os
import signal

from prsm_node.errors import OperatorError

PR_SET_PDEATHSIG = 1


def end_with(keeper: int) -> None:
    """Have the kernel send SIGTERM to this process when its parent `keeper` ends.

    Raise OperatorError where that has ended already.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != keeper:
        raise OperatorError(f"process {keeper}, which started this one, has ended already")
