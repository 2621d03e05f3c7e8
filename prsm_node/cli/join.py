"""`prsm-node join INVITE`."""

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import replace

from prsm_node import config_file, trusted_block
from prsm_node import invite as invites
from prsm_node.cli import home_making
from prsm_node.cli.daemon import program
from prsm_node.cli.home_options import chosen_home
from prsm_node.cli.json_flag import JsonFlag
from prsm_node.cli.output import print_fields, print_json, say
from prsm_node.cli.passphrase import new_passphrase
from prsm_node.identity.addresses import validator_text


def join(
    invite: Annotated[str, typer.Argument(metavar="INVITE", help="What `prsm-node invite` printed.")],
    name: Annotated[str | None, typer.Option(help="What others call this node.")] = None,
    port: Annotated[int | None, typer.Option(help="The TCP port to listen on.")] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A file of mode 0600 with the passphrase for the keys."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Make a home in the network of an invite.

    The genesis comes from a node at one of the invite's addresses and is checked against the hash in the
    invite, so that nobody on the way can hand out another network. Until it has succeeded, `start` makes no
    network of its own in that place; a join that was interrupted is run again.
    """
    home = chosen_home()
    home_making.refuse_used(home.path)
    given = invites.decode(invite)
    flags = {"node.name": name, "network.port": port, "network.bootstrap": list(given.addresses)}
    config = config_file.load(None, flags)
    if passphrase_file is not None:
        path = str(passphrase_file.expanduser().absolute())
        config = replace(config, keystore=replace(config.keystore, passphrase_file=path))
    with home_making.joining_home(home.path) as draft:
        passphrase = new_passphrase(passphrase_file)
        say("asking for the genesis ...")
        from prsm_node.joining import fetched_genesis  # loads libp2p

        genesis = fetched_genesis(given)
        invites.check_fresh(given, genesis.parameters.unbonding_ms, time.time_ns() // 1_000_000)
        keys = home_making.fill(draft, config, passphrase, genesis)
        trusted_block.save(trusted_block.of_invite(given), draft.trusted_block)
    shown = {
        "home": str(home.path),
        "name": config.node.name,
        "node_id": keys.node_id,
        "validator": validator_text(keys.validator),
        "network": genesis.hash.hex(),
        "network_name": genesis.network,
        "trusted_height": given.height,
    }
    if json:
        print_json(shown)
        return
    print_fields((label.replace("_", " "), value) for label, value in shown.items())
    say(f"\nStart it with: {program()} --home {shlex.quote(str(home.path))} start")
