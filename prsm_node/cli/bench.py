"""`prsm-node bench NAME`."""

from enum import StrEnum
from typing import Annotated

import typer

from prsm_node.cli.json_flag import JsonFlag
from prsm_node.cli.output import print_fields, print_json, print_table


class Name(StrEnum):
    PRIMITIVES = "primitives"
    LEDGER = "ledger"
    FINALITY = "finality"
    THROUGHPUT = "throughput"
    REST = "rest"
    SIMULATE = "simulate"
    RECOVERY = "recovery"
    GOSSIP = "gossip"
    SYNC = "sync"
    SNAPSHOT = "snapshot"


def bench(
    name: Annotated[Name, typer.Argument(metavar="NAME", help=" | ".join(Name))],
    validators: Annotated[int, typer.Option(help="Daemons, for all but primitives and ledger.", min=1)] = 4,
    samples: Annotated[int, typer.Option(help="Lone transfers of finality.", min=1)] = 200,
    seconds: Annotated[float, typer.Option(help="Of load, of rest, or of seeds.", min=1)] = 30.0,
    rate: Annotated[
        float | None, typer.Option(help="Transfers offered a second; swept if not given.", min=1)
    ] = None,
    peers: Annotated[int, typer.Option(help="Daemons that serve in sync and snapshot.", min=1, max=16)] = 2,
    json: JsonFlag = False,
) -> None:
    """Measure, and print the figures.

    primitives: signature checks, frames, LMDB, the journal, a libp2p stream. ledger: one node's pipeline
    without a network. finality: lone transfers on an idle network. throughput: the most that stays final.
    rest: what an idle daemon takes. simulate: attacked clusters in virtual time. sync: a new node catches
    up with empty and with full blocks. snapshot: of a million accounts: taken, restored, joined by.
    recovery: from kill -9 and from cuts, and finality with one validator stopped. gossip: what reaches all
    on a bad network. Progress goes to stderr.
    """
    from prsm_node.bench.report import Metric, report

    metrics: dict[str, Metric]
    if name is Name.PRIMITIVES:
        from prsm_node.bench.primitives import primitives

        metrics = primitives()
    elif name is Name.LEDGER:
        from prsm_node.bench.ledger import ledger

        metrics = ledger()
    elif name is Name.FINALITY:
        from prsm_node.bench.finality import finality

        metrics = finality(validators, samples)
    elif name is Name.THROUGHPUT:
        from prsm_node.bench.throughput import throughput

        metrics = throughput(validators, seconds, rate)
    elif name is Name.SIMULATE:
        from prsm_node.bench.simulate import simulate

        metrics = simulate(seconds)
    elif name is Name.RECOVERY:
        from prsm_node.bench.recovery import recovery

        metrics = recovery(validators, samples)
    elif name is Name.GOSSIP:
        from prsm_node.bench.gossip import gossip

        metrics = gossip(seconds)
    elif name is Name.SYNC:
        from prsm_node.bench.sync import sync

        metrics = sync(peers)
    elif name is Name.SNAPSHOT:
        from prsm_node.bench.snapshot import snapshot

        metrics = snapshot(peers)
    else:
        from prsm_node.bench.rest import rest

        metrics = rest(validators, seconds)
    made = report(name, metrics)
    if json:
        print_json(made)
        return
    m = made.machine
    print_fields(
        [
            (
                "machine",
                f"{m.cores} cores of {m.model}, {m.memory_mb} MB, Python {m.python}, Linux {m.kernel}",
            ),
            ("command", made.command),
        ]
    )
    print()
    print_table(
        ("metric", "value", "unit", "samples", "p50", "p95", "p99"),
        [
            (key, *(_shown(figure) for figure in (f.value, f.unit, f.samples, f.p50, f.p95, f.p99)))
            for key, f in made.metrics.items()
        ],
        right=(1, 3, 4, 5, 6),
    )


def _shown(figure: object) -> str:
    if isinstance(figure, float):
        return f"{figure:,.0f}" if figure == int(figure) else f"{figure:,g}"
    return f"{figure:,}" if isinstance(figure, int) else figure if isinstance(figure, str) else ""
