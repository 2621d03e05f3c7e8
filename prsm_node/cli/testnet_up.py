"""`prsm-node testnet up`: the nodes of a local network as separate daemons, until told to end."""

import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import typer

from prsm_node.cli.daemon import program
from prsm_node.cli.fleet import Alarm, Fleet, NodeUp, alarm
from prsm_node.cli.json_flag import JsonFlag
from prsm_node.cli.keeper import end_with
from prsm_node.cli.output import print_json, say
from prsm_node.errors import OperatorError
from prsm_node.home import Home

VALIDATORS = 4
ACCOUNTS = 10
WATCH_S = 0.5


class Links(StrEnum):
    AUTO = "auto"
    NAMESPACES = "namespaces"
    PROXY = "proxy"


class Attack(NamedTuple):
    """What --chaos was given with."""

    scenario: str
    for_s: float | None
    seed: int | None
    load: float | None
    links: Links


def up(
    directory: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Where the homes are.")] = None,
    validators: Annotated[int | None, typer.Option(help="How many, in a new network.", min=1, max=64)] = None,
    accounts: Annotated[int | None, typer.Option(help="Funded wallets, in a new network.", min=1)] = None,
    for_s: Annotated[
        float | None, typer.Option("--for", metavar="SECONDS", help="End after this time.", min=0)
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start a node again that died, not one that was stopped.")
    ] = False,
    chaos: Annotated[
        str | None,
        typer.Option(
            metavar="SCENARIO", help="Attack it: kill pause partition slow loss mixed, or a TOML file."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the attacks; drawn if not given.", min=0)] = None,
    load: Annotated[
        float | None, typer.Option(metavar="TPS", help="Transfers a second meanwhile; 50.", min=1, max=10_000)
    ] = None,
    links: Annotated[
        Links, typer.Option(help="What shapes them: namespaces where root allows, else a proxy.")
    ] = Links.AUTO,
    json: JsonFlag = False,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> int:
    """Run all nodes of a local network.

    A DIR that is empty or not there gets a new network first, of 4 validators unless told otherwise; without
    DIR a temporary one is made, and removed at the end unless a node died. SIGTERM or Ctrl-C ends all nodes.

    With --chaos daemons are killed, paused, cut off and slowed under load for --for seconds (60), a line for
    each fault; then comes a report, and a picture in DIR (here, if that is temporary). Exit code 1 if a
    promise broke.
    """
    if parent is not None:
        end_with(parent)
    if chaos is None and (seed, load, links) != (None, None, Links.AUTO):
        raise OperatorError("--seed, --load and --links are of an attack; add --chaos SCENARIO")
    if chaos is not None:
        if restart:
            raise OperatorError("--chaos starts its victims again by itself; leave --restart away")
        return _attacked(directory, validators, accounts, Attack(chaos, for_s, seed, load, links), json)
    made = Path(tempfile.mkdtemp(prefix="prsm-testnet-")) if directory is None else None
    root = made or directory
    assert root is not None, "either given or made"
    try:
        homes = _homes_in(root, validators, accounts, json)
    except BaseException:
        if made is not None:
            shutil.rmtree(made)
        raise
    with alarm() as woken:
        fleet = Fleet(homes)
        try:
            nodes = fleet.wait_ready(woken)
            if len(nodes) == len(homes):
                _announce_ready(root, nodes, temporary=made is not None, json=json)
                deaths = _watch(fleet, woken, for_s, restart, json)
            else:
                deaths = 0
        finally:
            killed = fleet.stop()
        if killed:
            raise OperatorError(
                f"had to be killed, for it did not end in time: {', '.join(killed)}; see {root}"
            )
    if made is not None and deaths == 0:
        shutil.rmtree(made)
    if len(nodes) < len(homes):
        raise typer.Abort  # told to end before all were up
    return 0


def _attacked(
    directory: Path | None, validators: int | None, accounts: int | None, attack: Attack, json: bool
) -> int:
    """`--chaos`, whose modules are loaded for it alone."""
    from prsm_node.chaos.carrier import How
    from prsm_node.cli.testnet_chaos import Asked, chaos, settings_of

    how: How | None = None
    if attack.links is not Links.AUTO:
        how = "proxy" if attack.links is Links.PROXY else "namespaces"
    asked = Asked(
        scenario=attack.scenario,
        seconds=attack.for_s,
        seed=attack.seed,
        load=attack.load,
        links=how,
        json=json,
    )
    settings = settings_of(asked)
    root = directory or Path(tempfile.mkdtemp(prefix="prsm-testnet-"))
    code = 1
    try:
        code = chaos(_homes_in(root, validators, accounts, json), asked, settings, directory or Path.cwd())
    finally:
        if directory is None and code == 0:
            shutil.rmtree(root)
        elif directory is None:
            say(f"homes and logs are kept in {root}")
    return code


def _homes_in(root: Path, validators: int | None, accounts: int | None, json: bool) -> list[Path]:
    """Return the homes below `root` in order, making a network where there are none."""
    root = root.absolute()
    homes = found_homes(root)
    if homes:
        if validators not in (None, len(homes)):
            raise OperatorError(
                f"{root} has {len(homes)} nodes already; leave --validators away or choose another directory"
            )
        return homes
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise OperatorError(f"{root} holds no testnet and is not empty; choose another directory")
    new_network(root, validators or VALIDATORS, accounts or ACCOUNTS, json)
    return found_homes(root)


def found_homes(root: Path) -> list[Path]:
    """Return the homes below `root` in order."""
    homes = [path for path in root.glob("node*") if path.name[4:].isdecimal() and Home(path).config.exists()]
    return sorted(homes, key=lambda path: int(path.name[4:]))


def new_network(root: Path, validators: int, accounts: int, json: bool) -> None:
    """`testnet new`, in a process of its own: what it imports is not kept while the nodes run."""
    command = [sys.executable, "-m", "prsm_node", "testnet", "new", "--out", str(root)]
    command += ["--validators", str(validators), "--accounts", str(accounts)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise OperatorError(done.stderr.strip().removeprefix("prsm-node: "))
    if not json:
        say(f"Made a network of {validators} validators in {root}")


def _watch(fleet: Fleet, woken: Alarm, for_s: float | None, restart: bool, json: bool) -> int:
    """Until it is time to end; return how many died."""
    deadline = float("inf") if for_s is None else time.monotonic() + for_s
    deaths = 0
    while not woken.ending and time.monotonic() < deadline:
        for end in fleet.newly_ended():
            if end.code == 0:
                _report("stopped", end, json, f"{end.name} was stopped")
                continue
            deaths += 1
            cause = f"signal {-end.code}" if end.code < 0 else f"exit code {end.code}"
            _report("died", end, json, f"{end.name} died of {cause}; its logs are in {end.home}/logs")
        if restart:
            for daemon in fleet.restart_due():
                again = {"name": daemon.name, "home": str(daemon.home), "pid": daemon.process.pid}
                _report("restarted", again, json, f"{daemon.name} was started again as {daemon.process.pid}")
        woken.wait(min(WATCH_S, max(0.0, deadline - time.monotonic())))
    return deaths


def _report(event: str, what: Any, json: bool, sentence: str) -> None:
    if json:
        print_json({"event": event, **msgspec.to_builtins(what)})
    else:
        say(sentence)


def _announce_ready(root: Path, nodes: Sequence[NodeUp], *, temporary: bool, json: bool) -> None:
    if json:
        print_json({"event": "ready", "nodes": nodes})
        return
    first = f"{program()} --home {shlex.quote(str(nodes[0].home))}"
    kept = "; removed at the end, give a DIR to keep it" if temporary else ""
    print(f"{len(nodes)} nodes are up in {root}{kept}:")
    for node in nodes:
        print(f"  {node.name}  pid {node.pid}  {node.listen[0].partition('/p2p/')[0]}  {node.home}")
    print("In another terminal:")
    print(f"  {first} status")
    print(f"  {first} wallet list")
    print(f"  {first} wallet send --from dev0 --to dev1 --amount 1.5")
    print(f"  {first} logs --follow")
    print("Ctrl-C here ends all nodes.", flush=True)
