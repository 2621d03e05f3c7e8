"""What storage says to an operator: one sentence with the remedy."""

from prsm_node.errors import OperatorError


class StorageError(OperatorError):
    """The disk is full, failing, or holds what this node did not write. The daemon ends so."""
