"""`prsm-node status`."""

from prsm_node.cli.daemon import daemon, milliseconds, rfc3339
from prsm_node.cli.output import print_fields, print_json
from prsm_node.control.views import StatusView


def status(json: bool = False) -> None:
    """Height, peers, sync, voting and last finality."""
    with daemon() as client:
        view = client.ask("status", StatusView)
    if json:
        print_json(as_json(view))
    else:
        print_fields(_for_people(view))


def as_json(view: StatusView) -> dict[str, object]:
    """The object that scripts rely on."""
    return {
        "node_id": view.node_id,
        "name": view.name,
        "network": view.network.hex(),
        "version": view.version,
        "height": view.height,
        "block_hash": view.block_hash.hex(),
        "state_root": view.state_root.hex(),
        "last_block_time": rfc3339(view.last_block_time_ms),
        "peers": view.peers,
        "validators": view.validators,
        "voting": view.voting,
        "not_voting_because": view.not_voting_because,
        "syncing": view.syncing,
        "sync_target": view.sync_target,
        "sync": view.sync,
        "mempool": view.mempool,
        "finality_ms": {"p50": milliseconds(view.finality_p50_ms), "p99": milliseconds(view.finality_p99_ms)},
        "listen": view.listen,
        "pid": view.pid,
        "started": rfc3339(view.started_ms),
        "first_block": view.first_block,
        "snapshot": view.snapshot,
        "stands_ms": view.stands_ms,
        "reachable_power": view.reachable_power,
        "total_power": view.total_power,
    }


def _for_people(view: StatusView) -> list[tuple[str, object]]:
    sync = f"catching up: {view.height} of {view.sync_target}" if view.syncing else "up to date"
    if view.sync is not None:
        sync = view.sync.sentence()
    if view.snapshot is not None:
        sync = view.not_voting_because
    elif view.first_block > 1:
        sync += f"; blocks are kept from {view.first_block} on"
    if view.stands_ms and not view.syncing:
        sync = _stands(view)
    voting = "yes" if view.voting else f"no: {view.not_voting_because or 'this node is no validator'}"
    finality = "nothing was sent through this node yet"
    if view.finality_p50_ms is not None and view.finality_p99_ms is not None:
        finality = f"{view.finality_p50_ms:.0f} ms at p50, {view.finality_p99_ms:.0f} ms at p99"
    return [
        ("node", f"{view.name} ({view.node_id}), version {view.version}, pid {view.pid}"),
        ("network", view.network.hex()),
        ("listening", " ".join(view.listen) or "nowhere"),
        ("height", f"{view.height}, {sync}"),
        (
            "last block",
            f"{view.block_hash.hex()} at {rfc3339(view.last_block_time_ms)}" if view.height else "none",
        ),
        ("voting", voting),
        ("peers", view.peers),
        ("validators", view.validators),
        ("pending", "1 transaction" if view.mempool == 1 else f"{view.mempool} transactions"),
        ("finality", finality),
    ]


def _stands(view: StatusView) -> str:
    said = f"the chain stands: no block for {view.stands_ms / 1_000:.0f} s"
    if 3 * view.reachable_power > 2 * view.total_power:
        return said
    return (
        f"{said}; of the voting power {view.total_power}, {view.reachable_power} can be reached from here, "
        "and more than two thirds must agree"
    )
