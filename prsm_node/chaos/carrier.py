"""The links between the daemons of a chaos run, from the keeper's side: where each is born, and who carries.

By namespaces and a router where this process may make them, by a proxy on loopback where not; either is a
process of its own that is told Conditions. Daemons need no change of their homes: what differs is in their
environment.
"""

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final, Literal, Protocol

import msgspec

from prsm_node import config_file
from prsm_node.chaos import namespaces
from prsm_node.chaos.proxy import door
from prsm_node.chaos.shaping import Conditions
from prsm_node.errors import OperatorError
from prsm_node.home import Home
from prsm_node.identity import keystore
from prsm_node.identity.peer_ids import peer_id

ANSWER_S: Final = 5.0
"""A carrier that takes so long to do as told has died or hangs."""
SETTING: Final = "PRSM_NETWORK__"

How = Literal["namespaces", "proxy"]


class End(msgspec.Struct, frozen=True):
    """A node as others reach it."""

    port: int
    node_id: str


class Carrier(Protocol):
    """What a run needs of either way."""

    @property
    def how(self) -> How: ...

    def environment(self, place: int) -> dict[str, str]:
        """The settings of the daemon at this place."""

    def born(self, place: int) -> AbstractContextManager[None]:
        """Have what this thread starts in the block be in that daemon's network."""

    def order(self, conditions: Conditions) -> None:
        """Return when the links are like this. Raise OperatorError where the carrier is gone."""

    def close(self) -> None: ...


def carrier(ends: Sequence[End], how: How | None = None) -> Carrier:
    """Begin to carry between these nodes; by namespaces if `how` is None and they can be had.

    Raise OperatorError where they were asked for and can't be had.
    """
    if how != "proxy":
        try:
            return _Namespaces(ends)
        except OSError as error:
            if how == "namespaces":
                raise OperatorError(
                    f"no network namespaces can be made ({error.strerror}); it takes root "
                    f"and {namespaces.TUN}; use --links proxy"
                ) from None
    return _Proxied(ends)


def end_of(home: Path) -> End:
    """Return how the node of a home is reached. Raise OperatorError."""
    config = config_file.load(Home(home).config, environment={})
    return End(config.network.port, peer_id(keystore.describe(Home(home).node_key).public))


class _Process:
    """A carrier process; it ends with its stdin."""

    def __init__(self, module: str, arguments: Sequence[int], descriptors: Sequence[int] = ()) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"prsm_node.chaos.{module}", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=descriptors,
            start_new_session=True,
        )
        self.pid = self._process.pid

    def order(self, conditions: Conditions) -> None:
        """Carrier.order."""
        written, answers = self._process.stdin, self._process.stdout
        assert written is not None, "stdin is a pipe"
        assert answers is not None, "stdout is a pipe"
        with contextlib.suppress(BrokenPipeError):
            written.write(msgspec.json.encode(conditions) + b"\n")
            written.flush()
        readable, _, _ = select.select([answers], [], [], ANSWER_S)
        if not readable or os.read(answers.fileno(), 64) != b"ok\n":
            raise OperatorError(
                f"process {self.pid}, which carries the links, does not do as told; see above"
            )

    def close(self) -> None:
        """Carrier.close."""
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate(timeout=ANSWER_S)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class _Namespaces:
    how: How = "namespaces"

    def __init__(self, ends: Sequence[End]) -> None:
        self._ends = ends
        self._namespaces = namespaces.made(len(ends))
        tuns = [namespace.tun for namespace in self._namespaces]
        self._process = _Process("router", tuns, tuns)
        self.order = self._process.order
        self.order(Conditions())

    def environment(self, place: int) -> dict[str, str]:
        others = [_multiaddr(namespaces.address_of(i), end) for i, end in enumerate(self._ends) if i != place]
        return {
            f"{SETTING}HOST": namespaces.address_of(place),
            f"{SETTING}BOOTSTRAP": ",".join(others),
        }

    def born(self, place: int) -> AbstractContextManager[None]:
        return namespaces.entered(self._namespaces[place])

    def close(self) -> None:
        self._process.close()
        for namespace in self._namespaces:
            namespace.close()


class _Proxied:
    how: How = "proxy"

    def __init__(self, ends: Sequence[End]) -> None:
        self._ends = ends
        self._process = _Process("proxy", [end.port for end in ends])
        self.order = self._process.order
        self.order(Conditions())

    def environment(self, place: int) -> dict[str, str]:
        others = [_multiaddr(door(place, i), end) for i, end in enumerate(self._ends) if i != place]
        return {
            f"{SETTING}HOST": "127.0.0.1",
            f"{SETTING}BOOTSTRAP": ",".join(others),
            # Each sees where a call comes from, which is the caller's door; what others told of would lead
            # through doors that are not the dialler's.
            f"{SETTING}ADVERTISE": _multiaddr("0.0.0.0", self._ends[place]),
            f"{SETTING}PEER_EXCHANGE": "false",
        }

    def born(self, place: int) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        self._process.close()


def _multiaddr(host: str, end: End) -> str:
    return f"/ip4/{host}/tcp/{end.port}/p2p/{end.node_id}"
