"""`--json` as typer reads it, for commands that take more than this one option."""

from typing import Annotated

import typer

from prsm_node.cli.output import JSON_HELP

JsonFlag = Annotated[bool, typer.Option("--json", help=JSON_HELP)]
