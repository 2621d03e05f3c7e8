"""`join` in one home again and again, each time killed (SIGKILL) one act on the file system later than
before, until the home is there. After each: what `start` answers in that place.

A process of its own, since it forks: python -m tests.cli.killed_join HOME INVITE GENESIS. Prints a line of
JSON for each run that made no home: how it ended, and the code and words of `start`. The genesis, which a
peer would give, comes from a file.
"""

import contextlib
import io
import json
import os
import signal
import sys
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

from prsm_node import genesis
from prsm_node.cli import home_making
from prsm_node.cli.app import run
from prsm_node.errors import OperatorError
from prsm_node.identity import passphrases

ACTS = ("open", "os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "fcntl.flock")


def kill_after(acts: int, below: str) -> None:
    """End this process as it is about to do one act more on files whose path begins so."""
    done = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal done
        if event in ACTS and (event == "fcntl.flock" or str(arguments[0]).startswith(below)):
            if done == acts:
                os.kill(os.getpid(), signal.SIGKILL)
            done += 1

    sys.addaudithook(hook)


def no_network(path: Path) -> None:
    raise OperatorError("nobody wanted to join here")


def started(home: str) -> tuple[int, str]:
    with contextlib.redirect_stderr(io.StringIO()) as told:
        code = run(["--home", home, "start"])
    return code, told.getvalue()


def main(home: str, invite: str, known: str) -> None:
    joining = ModuleType("prsm_node.joining")
    setattr(joining, "fetched_genesis", lambda _: genesis.load(Path(known)))  # noqa: B010
    sys.modules[joining.__name__] = joining
    cheap = passphrases.Scrypt(salt=bytes(16), n=2**10)
    passphrases.Scrypt.fresh = lambda *_: cheap  # type: ignore[method-assign]
    home_making.development_home = no_network  # type: ignore[assignment]
    for acts in count():
        child = os.fork()
        if child == 0:
            kill_after(acts, str(Path(home).parent))
            os._exit(run(["--home", home, "join", invite]))
        _, status = os.waitpid(child, 0)
        if (Path(home) / "config.toml").exists():
            return
        code, told = started(home)
        print(json.dumps({"ended": os.waitstatus_to_exitcode(status), "code": code, "told": told}))


if __name__ == "__main__":
    main(*sys.argv[1:])
