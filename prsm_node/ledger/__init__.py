"""The FTNS ledger: a deterministic state machine, pure. Accounts reach it through a protocol."""
