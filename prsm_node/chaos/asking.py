"""What a chaos run asks of its daemons, which may be down, paused or cut off."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from prsm_node.control.client import Client
from prsm_node.control.protocol import ControlError
from prsm_node.control.views import StatusView

ASK_S: Final = 0.5


def status(home: Path) -> StatusView:
    """Raise ControlError."""
    with Client(home, timeout_s=ASK_S) as client:
        return client.ask("status", StatusView)


def votes(home: Path) -> bool:
    """Whether it votes and is level with the others. Raise ControlError."""
    told = status(home)
    return told.voting and not told.syncing


def voted(home: Path) -> bool:
    """Whether its daemon has voted since it was started; False where it gives no answer."""
    try:
        with Client(home, timeout_s=ASK_S) as client:
            return client.ask("counters", dict[str, float])["consensus.votes_cast"] > 0
    except ControlError:
        return False


def safely(holds: Callable[[], bool]) -> bool:
    """Whether it holds of nodes that all answer."""
    try:
        return holds()
    except ControlError:
        return False


def height_told(home: Path) -> str:
    try:
        return str(status(home).height)
    except ControlError as error:
        return f"does not answer ({error.code})"
