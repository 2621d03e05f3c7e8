"""Everything that a running node counts, in one table of flat names."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prsm_node.node import Node


def counters(node: "Node") -> dict[str, int | float]:
    """NodeView.counters: room and name, as `mempool.refused.nonce_spent`."""
    mempool = node.mempool.stats()
    journal = node.journal.stats()
    verifier = node.verifier.stats()
    counted: dict[str, int | float] = {f"links.{name}": count for name, count in node.links.stats().items()}
    counted |= {f"consensus.{name}": count for name, count in node.host.counters.items()}
    counted |= {f"consensus.{name}": count for name, count in node.inbound.counters.items()}
    counted |= {f"execution.{name}": count for name, count in node.executor.counters.items()}
    counted |= {f"mempool.{name}": count for name, count in mempool.admissions.items()}
    counted |= {
        "consensus.evidence": len(node.host.replica.evidence.pieces()),
        "mempool.items": mempool.items,
        "mempool.bytes": mempool.bytes,
        "mempool.handed_over": mempool.handed_over,
        "mempool.intake_dropped": node.intake.dropped,
        "journal.records": journal.records,
        "journal.writes": journal.writes,
        "journal.queued_bytes": journal.queued_bytes,
        "journal.size_bytes": journal.size_bytes,
        "verification.checked": verifier.checked,
        "verification.inline": verifier.inline,
        "verification.restarts": verifier.restarts,
        "ledger.height": node.state.height,
        "ledger.durable_height": node.state.durable_height,
        "ledger.accounts": node.state.accounts,
        "ledger.first_block": node.state.first_block,
        **{f"snapshots.{name}": count for name, count in node.taking.counters.items()},
    }
    return counted
