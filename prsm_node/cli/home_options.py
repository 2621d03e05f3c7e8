"""Which home a command is about: `--home` before or after the command, then PRSM_HOME, then ~/.prsm-node."""

import os
import shlex
from typing import TYPE_CHECKING, Final

import click

from prsm_node.errors import OperatorError

if TYPE_CHECKING:  # the root's help needs neither
    from prsm_node.home import Home

CHOSEN: Final = "prsm_node.home"


def home_option() -> click.Option:
    """Return the `--home` that every command and group takes; the one furthest to the right counts."""
    return click.Option(
        ["--home"],
        metavar="DIR",
        expose_value=False,
        callback=_choose,
        help="The node's home; else PRSM_HOME, else ~/.prsm-node.",
    )


def _choose(context: click.Context, option: click.Parameter, value: str | None) -> None:
    if value == "":  # as a script has it whose variable was not set: the default is not what it meant
        raise click.BadParameter("it is empty; name a folder", context, option)
    if value is not None:
        context.meta[CHOSEN] = value


def chosen_home() -> "Home":
    """Return the home that the operator chose, whether it exists or not."""
    from pathlib import Path

    from prsm_node.home import DEFAULT_FOLDER, ENVIRONMENT_VARIABLE, Home

    context = click.get_current_context(silent=True)
    chosen = context.meta.get(CHOSEN) if context is not None else None
    text = chosen or os.environ.get(ENVIRONMENT_VARIABLE)
    return Home(Path(text).expanduser().absolute() if text else Path.home() / DEFAULT_FOLDER)


def existing_home() -> "Home":
    """Return the chosen home; raise OperatorError where none was made there."""
    from prsm_node.cli import unfinished_join

    home = chosen_home()
    if not home.config.exists():
        unfinished_join.refuse(home.path)
        raise OperatorError(
            f"there is no node at {home.path}; "
            f"make one with: prsm-node --home {shlex.quote(str(home.path))} init, "
            "or join INVITE for a network that runs"
        )
    return home
