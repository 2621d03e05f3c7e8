"""The one place where a failure becomes what the operator reads: a sentence on stderr and an exit code.

A traceback means a fault of the program, never of the operator, and so it is let through.
"""

import sys
from collections.abc import Callable
from typing import Final

import click

from prsm_node.cli.output import no_more_output
from prsm_node.errors import OperatorError

NOT_DONE: Final = 1
NOT_UNDERSTOOD: Final = 2
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it


def reported(command: Callable[[], object]) -> int:
    """Run `command`, say what went wrong, and return the exit code; a command may return its own."""
    try:
        outcome = command()
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return NOT_UNDERSTOOD
    except click.UsageError as error:
        _say_usage(error)
        return NOT_UNDERSTOOD
    except click.ClickException as error:
        _say(error.format_message())
        return NOT_DONE
    except click.Abort:
        _say("interrupted")
        return INTERRUPTED
    except OperatorError as error:
        _say(str(error))
        return NOT_DONE
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[1] is None:  # Ctrl-C inside of trio
            _say("interrupted")
            return INTERRUPTED
        _say(_sentence_of(group))
        return NOT_DONE
    except BrokenPipeError:
        no_more_output()  # who read it has gone, as `head` does
        return NOT_DONE
    except OSError as error:
        if error.filename is None:
            raise
        _say(_sentence_of_file(error))
        return NOT_DONE
    return outcome if isinstance(outcome, int) else 0


def _sentence_of(group: BaseExceptionGroup[BaseException]) -> str:
    """Return what tasks that ended together say, if all of it is the operator's; else raise the group.

    One full disk is met by several rooms at once: the first to say so stands for all.
    """
    _, others = group.split(
        lambda error: (
            isinstance(error, OperatorError) or (isinstance(error, OSError) and error.filename is not None)
        )
    )
    if others is not None:
        raise group
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return _sentence_of_file(first) if isinstance(first, OSError) else str(first)


def _sentence_of_file(error: OSError) -> str:
    why = (error.strerror or type(error).__name__).lower()
    remedy = "; run this as its owner, or ask them for access" if isinstance(error, PermissionError) else ""
    return f"{error.filename}: {why}{remedy}"


def _say_usage(error: click.UsageError) -> None:
    message = error.format_message().rstrip(".")
    where = error.ctx.command_path if error.ctx is not None else "prsm-node"
    message = " ".join(message.split())  # click lists choices one a line
    # So click calls what a number with bounds was to be.
    message = message.replace("a valid integer range", "a whole number").replace(
        "a valid float range", "a number"
    )
    _say(message if "?" in message or "--help" in message else f"{message}; see {where} --help")


def _say(sentence: str) -> None:
    print(f"prsm-node: {sentence}", file=sys.stderr, flush=True)
