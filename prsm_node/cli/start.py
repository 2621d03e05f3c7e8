"""`prsm-node start`: the daemon in the foreground."""

import shlex
from typing import Annotated

import typer

from prsm_node import config_file
from prsm_node.cli import home_making, unfinished_join
from prsm_node.cli.daemon import program
from prsm_node.cli.home_options import chosen_home
from prsm_node.cli.keeper import end_with
from prsm_node.cli.output import say
from prsm_node.cli.passphrase import passphrase_of
from prsm_node.errors import OperatorError
from prsm_node.home import Home


def start(
    log_json: Annotated[bool, typer.Option("--log-json", help="Log one JSON object a line.")] = False,
    name: Annotated[str | None, typer.Option(help="What others call this node.")] = None,
    port: Annotated[int | None, typer.Option(help="The TCP port to listen on.")] = None,
    sync: Annotated[
        str | None,
        typer.Option(
            metavar="blocks|snapshot",
            help="Without a chain, begin with all blocks, or with a peer's snapshot of the state.",
        ),
    ] = None,
    verify: Annotated[
        str | None,
        typer.Option(
            metavar="tip|all", help="Check signatures near the tip, or all of them, while catching up."
        ),
    ] = None,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> int:
    """Run a node; without a home, a network of its own.

    Stays in the foreground until Ctrl-C, SIGTERM or `prsm-node stop`. Where there is no home, one is made
    with a network of one validator and a funded wallet dev0.
    """
    if parent is not None:
        end_with(parent)
    home = chosen_home()
    flags = {
        "node.name": name,
        "network.port": port,
        "sync.mode": sync,
        "sync.verify": verify,
        "log.json": True if log_json else None,
    }
    if not home.config.exists():
        config_file.load(None, flags)  # a mistake makes no home, which a join would find taken
        unfinished_join.refuse(home.path)
        _make_development_network(home)
    config = config_file.load(home.config, flags)
    if not home.genesis.exists():
        raise OperatorError(f"{home.genesis} is missing; put the network's genesis there, or use an invite")
    passphrase = passphrase_of(home, config)
    import trio

    from prsm_node import daemon  # loads libp2p

    trio.run(daemon.run, home, config, passphrase)
    return 0


def _make_development_network(home: Home) -> None:
    home_making.development_home(home.path)
    command = f"{program()} --home {shlex.quote(str(home.path))}"
    say(f"There was no node at {home.path}; made a development network with this node as its only validator.")
    say("It tolerates no fault and its money is play money. In another terminal:")
    say(f"  {command} status")
    say(f"  {command} wallet balance dev0")
    say(f"To take part in another network: {program()} --home OTHER_DIR join INVITE")
