"""The operator's errors: one sentence that names what is wrong and the remedy, shown without a traceback.

A peer's fault is another family and never an OperatorError: it is named, counted and survived where it
happens.
"""


class OperatorError(Exception):
    """What the person at the keyboard can put right. `str(error)` is the whole sentence they see."""
