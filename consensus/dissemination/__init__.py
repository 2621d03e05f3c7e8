"""Lanes of batches, spread before they are ordered (arXiv:2105.11827, arXiv:2401.10369)."""
