"""Which faults befell whole daemons, and how they got over them, counted (FoundationDB's probes)."""

from collections.abc import Mapping

SEEN: dict[str, str] = {
    "fault: cut": "cut",
    "fault: daemon killed, or its power lost": "crash",
    "fault: power lost": "power lost",
    "fault: clock some seconds off": "clock",
    "fault: clock seconds to days off": "leap",
    "fault: slow disk": "slow",
    "fault: disk full": "disk full",
    "fault: disk failing": "disk failing",
    "fault: disk ends a daemon": "disk ended",
    "fault: a write refused": "disk refused",
    "faulty: a validator runs twice": "twice",
    "faulty: it looks for its twin first": "checked",
    "faulty: a validator says other than its daemon": "lying",
    "faulty: what it says is altered": "altered",
    "faulty: what it says is held back": "withheld",
    "twin: a daemon stays silent for it": "log.warning not_voting",
    "twin: a daemon never votes for it": "log.error voting_stopped",
    "evidence: prevotes": "evidence of prevote",
    "evidence: precommits": "evidence of precommit",
    "evidence: proposals": "evidence of proposal",
    "evidence: batches": "evidence of batch",
    "evidence: acknowledgements": "evidence of acknowledgement",
    "evidence: amnesia": "evidence of amnesia",
    "recovery: a convict leaves the set": "jailed",
    "recovery: blocks executed again from the journal": "log.info recovered",
    "recovery: blocks from peers": "log.info syncing",
    "recovery: a snapshot is taken": "log.info snapshot",
    "recovery: a daemon starts again": "start again",
}
"""Each probe, and what a cluster counts for it."""


def counted(seen: Mapping[str, int]) -> dict[str, int]:
    """How often each probe was reached."""
    return {probe: seen.get(kind, 0) for probe, kind in SEEN.items()}
