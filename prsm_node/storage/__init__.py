"""What lasts: the journal of what was promised, and LMDB for the state derived from it."""
