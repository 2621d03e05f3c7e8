"""Where a command gets the passphrase: a flag's file, PRSM_PASSPHRASE, the configured file, or the person."""

import os
import sys
from collections.abc import Callable
from getpass import getpass
from pathlib import Path

from prsm_node import config_file
from prsm_node.cli.output import say
from prsm_node.config import Config
from prsm_node.errors import OperatorError
from prsm_node.home import Home
from prsm_node.identity import passphrases
from prsm_node.identity.passphrases import Passphrase


def passphrase_of(home: Home, config: Config | None = None) -> Passphrase:
    """Return what opens the keys of `home`; raise PassphraseError where there is none and nobody to ask."""
    settings = (config or config_file.load(home.config)).keystore
    file = home.path / settings.passphrase_file if settings.passphrase_file else None
    if file is not None and os.environ.get(passphrases.ENVIRONMENT_VARIABLE):
        say(f"{passphrases.ENVIRONMENT_VARIABLE} is set and goes before {file}")
    return passphrases.found(os.environ, file, _prompter("Passphrase: "))


def new_passphrase(file: Path | None) -> Passphrase:
    """Return the passphrase for new keys, asking for it twice where a person is to choose it."""
    if file is not None:
        return passphrases.from_file(file)
    if _prompter("") is None and not os.environ.get(passphrases.ENVIRONMENT_VARIABLE):
        raise OperatorError(
            f"new keys need a passphrase; set {passphrases.ENVIRONMENT_VARIABLE}, or give --passphrase-file"
        )
    return passphrases.found(os.environ, None, _asked_twice)


def _asked_twice() -> str:
    text = getpass(f"New passphrase, at least {passphrases.CHARACTERS_MIN} characters: ")
    passphrases.chosen(text)
    if getpass("Once more: ") != text:
        raise OperatorError("the two passphrases differ; nothing was made")
    return text


def _prompter(question: str) -> Callable[[], str] | None:
    return (lambda: getpass(question)) if sys.stdin is not None and sys.stdin.isatty() else None
