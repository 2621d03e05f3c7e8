"""Transactions that wait to be ordered: admission, lanes, batches."""
