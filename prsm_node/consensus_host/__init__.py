"""Runs consensus.replica under trio: its inputs come from links, timers and the disk; its effects are
performed.

host.py owns the replica and performs effects; inbound.py checks what peers send; executor.py turns decisions
into state; recovery.py builds a replica from disk; twin.py asks whether our key signs elsewhere,
sessions.py has the proofs.
"""
