"""Daemons on shaped links, kept by this process: started together, ended together."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from prsm_node.chaos.carrier import Carrier, How, carrier, end_of
from prsm_node.cli.fleet import Alarm, Daemon, Fleet, NodeUp, alarm
from prsm_node.errors import OperatorError


class Network(NamedTuple):
    """Daemons that are up, what carries between them, and what wakes their keeper."""

    fleet: Fleet
    carrier: Carrier
    alarm: Alarm
    up: list[NodeUp]
    """Fewer than all where the operator wants an end."""


@contextmanager
def network(homes: Sequence[Path], how: How | None = None) -> Iterator[Network]:
    """Run the daemons of these homes while in the block. Raise OperatorError where they do not come up, or do
    not end at SIGTERM."""
    carrying = carrier([end_of(home) for home in homes], how)
    place = {home: index for index, home in enumerate(homes)}

    def make(home: Path) -> Daemon:
        return Daemon(home, carrying.environment(place[home]), partial(carrying.born, place[home]))

    try:
        with alarm() as woken:
            fleet = Fleet(homes, make)
            try:
                yield Network(fleet, carrying, woken, fleet.wait_ready(woken))
            finally:
                killed = fleet.stop()
            if killed:
                raise OperatorError(f"had to be killed, for it did not end in time: {', '.join(killed)}")
    finally:
        carrying.close()
