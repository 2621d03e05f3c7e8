"""The root of the command line: finds a command in the table, loads it, and turns mistakes into one sentence.

click alone draws the root's help and builds plain commands; typer, which costs 50 ms, is loaded with a
command that has parameters for it to read.
"""

import inspect
import math
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any, Final

import click

from prsm_node.cli.commands import COMMANDS, GROUPS, SECTIONS
from prsm_node.cli.errors import reported
from prsm_node.cli.home_options import home_option
from prsm_node.cli.output import JSON_HELP

PROGRAM: Final = "prsm-node"
ABOUT: Final = "Run a node of the PRSM network, look at it, and pay in FTNS."
CONTEXT: Final[dict[str, Any]] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def loaded(name: str) -> click.Command:
    """Import the command called `name` in the table and build it; typer reads the parameters of most."""
    module_name, function_name = COMMANDS[name].target.split(":")
    function = getattr(import_module(f"prsm_node.cli.{module_name}"), function_name)
    build = _plain if COMMANDS[name].plain else _read_by_typer
    command = build(name.split()[-1], function, _help_of(name, function.__doc__))
    command.params.append(home_option())
    setattr(command, "parse_args", partial(_parsed, command.parse_args))  # noqa: B010
    return command


def _parsed(
    parse: Callable[[click.Context, list[str]], list[str]], context: click.Context, arguments: list[str]
) -> list[str]:
    """Let what click's parser refuses name its command, and an option without its value what it wants."""
    try:
        return parse(context, arguments)
    except click.BadOptionUsage as error:
        if "requires an argument" not in error.message:
            error.ctx = error.ctx or context
            raise
        wanted = _wanted(error.option_name, context.command)
        raise click.BadOptionUsage(error.option_name, wanted, context) from None
    except click.UsageError as error:
        error.ctx = error.ctx or context
        raise


def _wanted(name: str, command: click.Command) -> str:
    option = next(one for one in command.params if isinstance(one, click.Option) and name in one.opts)
    kinds = {"integer": "a whole number", "float": "a number"}
    value = option.metavar or kinds.get(option.type.name.partition(" ")[0], "a value")
    about = (option.help or "").rstrip(".")
    return f"{name} needs {value} after it ({about[:1].lower()}{about[1:]})"


def _plain(name: str, function: Callable[..., object], help: str) -> click.Command:
    json = click.Option(["--json"], is_flag=True, help=JSON_HELP)
    return click.Command(name, CONTEXT, callback=function, params=[json], help=help)


def _read_by_typer(name: str, function: Callable[..., object], help: str) -> click.Command:
    import typer

    leaf = typer.Typer(add_completion=False, rich_markup_mode=None)
    leaf.command(name, context_settings=CONTEXT, help=help)(function)
    command = typer.main.get_command(leaf)
    for parameter in command.params:
        parameter.callback = parameter.callback or _no_nan
    return command


def _no_nan(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Refuse a duration or rate that is no number: `nan` lies in every range, for all that click can tell."""
    if isinstance(value, float) and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not finite; choose a number", context, parameter)
    return value


def _help_of(name: str, docstring: str | None) -> str:
    """The table's line, then what the function's docstring adds after its own first line."""
    _, _, details = (docstring or "").partition("\n")
    return f"{COMMANDS[name].help}\n\n{inspect.cleandoc(details)}".strip()


class CommandGroup(click.Group):
    """Commands from the table whose names begin with `prefix`, loaded when called."""

    def __init__(self, name: str, prefix: str, help: str) -> None:
        super().__init__(
            name, help=help, context_settings=CONTEXT, params=[home_option()], no_args_is_help=True
        )
        self._prefix = prefix

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return _parsed(super().parse_args, ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        names = [name.removeprefix(self._prefix) for name in COMMANDS if name.startswith(self._prefix)]
        return list(dict.fromkeys(name.split()[0] for name in names))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = self._prefix + cmd_name
        if name in COMMANDS:
            return loaded(name)
        if not self._prefix and cmd_name in GROUPS:
            return CommandGroup(cmd_name, f"{cmd_name} ", GROUPS[cmd_name])
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.list_commands(ctx) and not args[0].startswith("-"):
            raise click.UsageError(_unknown(self._prefix, args[0], self.list_commands(ctx)), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(len(name) for name in COMMANDS if name.startswith(self._prefix)) - len(self._prefix)
        for title, section in SECTIONS.items():
            rows = [
                (name.removeprefix(self._prefix).ljust(width), entry.help)
                for name, entry in section.items()
                if name.startswith(self._prefix)
            ]
            if rows:
                with formatter.section(title if not self._prefix else "Commands"):
                    formatter.write_dl(rows)


def _unknown(prefix: str, name: str, names: list[str]) -> str:
    from difflib import get_close_matches

    nearest = get_close_matches(name, names, n=1)
    remedy = f"did you mean {prefix}{nearest[0]}?" if nearest else f"try {PROGRAM} {prefix}--help"
    return f"there is no command {prefix}{name}; {remedy}"


root: Final = CommandGroup(PROGRAM, "", ABOUT)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code: 0 done, 1 not done, 2 not understood, 130 interrupted."""
    return reported(lambda: _run(list(arguments)))


def _run(arguments: list[str]) -> object:
    for argument in arguments:
        # Bytes that are no UTF-8 arrive as lone surrogates, which neither the ledger nor JSON can hold.
        if any("\ud800" <= character <= "\udfff" for character in argument):
            raise click.UsageError(f"{argument[:80]!a} is not UTF-8 text; see {PROGRAM} --help")
    return root.main(arguments, prog_name=PROGRAM, standalone_mode=False)


def main() -> None:
    """The console script."""
    # Python has None where a stream was closed before it began; print() would then mix up the two.
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.exit(run(sys.argv[1:]))
