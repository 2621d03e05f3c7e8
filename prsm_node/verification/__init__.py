"""Signature checks of transactions, away from the event loop: in worker processes, batched and bounded."""
