"""`prsm-node bench NAME`."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import click
import typer

from prsm_node.cli.json_flag import JsonFlag
from prsm_node.cli.output import print_fields, print_json, print_table

if TYPE_CHECKING:  # the help needs no bench
    from prsm_node.bench.report import Metric


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


TAKES: Final = {
    Name.PRIMITIVES: "",
    Name.LEDGER: "",
    Name.FINALITY: "validators samples",
    Name.THROUGHPUT: "validators seconds rate",
    Name.REST: "validators seconds",
    Name.SIMULATE: "seconds",
    Name.RECOVERY: "validators samples seconds",
    Name.GOSSIP: "seconds",
    Name.SYNC: "peers",
    Name.SNAPSHOT: "peers",
}
"""Which options mean something to which bench; the others are refused, not ignored."""


def bench(
    name: Annotated[Name, typer.Argument(metavar="NAME", help=" | ".join(Name))],
    validators: Annotated[int | None, typer.Option(help="Daemons; 4 if not given.", min=1)] = None,
    samples: Annotated[
        int | None, typer.Option(help="Lone transfers of finality and recovery; 200 if not given.", min=1)
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="Of load, of rest or of seeds, 30 if not given; of recovery, the whole.", min=1),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Transfers offered a second; swept if not given.", min=1)
    ] = None,
    peers: Annotated[
        int | None,
        typer.Option(help="Daemons that serve in sync and snapshot; 2 if not given.", min=1, max=16),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Measure, and print the figures.

    primitives: signature checks, frames, LMDB, the journal, a libp2p stream. ledger: one node's pipeline
    without a network. finality: lone transfers on an idle network. throughput: the most that stays final.
    rest: what an idle daemon takes. simulate: attacked clusters in virtual time. sync: a new node catches
    up with empty and with full blocks. snapshot: of a million accounts: taken, restored, joined by.
    recovery: from kill -9 and from cuts, and finality with one validator stopped; --seconds, from 60 on,
    leaves away the later of these. gossip: what reaches all on a bad network. Progress goes to stderr.
    """
    given = {"validators": validators, "samples": samples, "seconds": seconds, "rate": rate, "peers": peers}
    for option, value in given.items():
        if value is not None and option not in TAKES[name].split():
            takes = " and ".join(f"--{one}" for one in TAKES[name].split()) or "none of these options"
            raise click.UsageError(f"bench {name} has no use for --{option}; it takes {takes}")
    metrics = _measured(name, validators or 4, samples or 200, seconds, rate, peers or 2)
    _print(name, metrics, json)


def _measured(
    name: Name, validators: int, samples: int, bound_s: float | None, rate: float | None, peers: int
) -> "dict[str, Metric]":
    from prsm_node.bench.report import Metric

    seconds = 30.0 if bound_s is None else bound_s
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

        metrics = recovery(validators, samples, bound_s)
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
    return metrics


def _print(name: Name, metrics: "dict[str, Metric]", json: bool) -> None:
    from prsm_node.bench.report import report

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
