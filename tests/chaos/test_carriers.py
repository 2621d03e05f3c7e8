"""Router and proxy carry between nodes and do to links as they are told, as processes of their own."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prsm_node.chaos import namespaces
from prsm_node.chaos.carrier import Carrier, How, carrier, end_of
from prsm_node.chaos.proxy import door
from prsm_node.chaos.shaping import Condition, Conditions
from prsm_node.cli import home_making
from prsm_node.errors import OperatorError

FREE = Conditions()


def namespaces_can_be_made() -> bool:
    try:
        made = namespaces.made(1)
    except OSError:
        return False
    made[0].close()
    return True


WAYS = [
    pytest.param(
        "namespaces",
        marks=pytest.mark.skipif(not namespaces_can_be_made(), reason="this takes root and /dev/net/tun"),
    ),
    "proxy",
]


class Pair:
    """Two nodes' places, and a server that echoes at the second."""

    def __init__(self, carrying: Carrier, ports: list[int]) -> None:
        self.carrying = carrying
        self._inside = carrying.how == "namespaces"
        self._ports = ports

    @contextmanager
    def echoing(self) -> Iterator[None]:
        with self.carrying.born(1):
            listener = socket.create_server(
                (namespaces.address_of(1) if self._inside else "127.0.0.1", self._ports[1])
            )
        thread = threading.Thread(target=self._echo, args=(listener,), daemon=True)
        thread.start()
        with listener:
            yield

    def _echo(self, listener: socket.socket) -> None:
        link, _ = listener.accept()
        with link:
            while received := link.recv(4_096):
                link.sendall(received)

    def connected(self) -> socket.socket:
        with self.carrying.born(0):
            link = socket.socket()
        link.settimeout(10)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.connect((namespaces.address_of(1) if self._inside else door(0, 1), self._ports[1]))
        return link


def round_trip_s(link: socket.socket) -> float:
    began = time.monotonic()
    link.sendall(b"there and back")
    assert link.recv(100) == b"there and back"
    return time.monotonic() - began


@contextmanager
def pair(folder: Path, how: How) -> Iterator[Pair]:
    made = home_making.local_network([folder / "node0", folder / "node1"], "carriers", 0)
    carrying = carrier([end_of(home.path) for home in made.homes], how)
    try:
        yield Pair(carrying, [config.network.port for config in made.configs])
    finally:
        carrying.close()


@pytest.mark.parametrize("how", WAYS)
def test_links_are_delayed_cut_and_healed(tmp_path: Path, how: How) -> None:
    with pair(tmp_path, how) as both, both.echoing(), both.connected() as link:
        assert round_trip_s(link) < 0.1

        both.carrying.order(Conditions(Condition(delay_ms=60)))
        assert 0.12 <= round_trip_s(link) < 0.4

        one_way = Conditions(pairs=((1, 0, Condition(cut=True)),))
        both.carrying.order(one_way)
        link.sendall(b"there")
        link.settimeout(0.5)
        with pytest.raises(TimeoutError):
            link.recv(100)
        both.carrying.order(FREE)
        link.settimeout(10)
        assert link.recv(100) == b"there", "what was sent into the cut arrives once it has healed"


@pytest.mark.parametrize("how", WAYS)
def test_a_daemon_is_told_to_reach_others_through_the_carrier(tmp_path: Path, how: How) -> None:
    with pair(tmp_path, how) as both:
        environment = both.carrying.environment(0)
        bootstrap = environment["PRSM_NETWORK__BOOTSTRAP"]
        assert bootstrap.startswith(
            f"/ip4/{namespaces.address_of(1) if how == 'namespaces' else door(0, 1)}/tcp/"
        )
        assert "," not in bootstrap, "it is told of the other and not of itself"


def test_a_thread_is_back_in_its_own_network_afterwards() -> None:
    if not namespaces_can_be_made():
        pytest.skip("this takes root and /dev/net/tun")
    before = os.readlink(namespaces.OWN)
    (made,) = namespaces.made(1)
    with namespaces.entered(made):
        assert os.readlink(namespaces.OWN) != before
    assert os.readlink(namespaces.OWN) == before
    made.close()


def test_a_carrier_that_died_is_said(tmp_path: Path) -> None:
    with pair(tmp_path, "proxy") as both:
        process = both.carrying._process._process  # type: ignore[attr-defined]
        process.kill()
        process.wait()
        with pytest.raises(OperatorError, match="does not do as told"):
            both.carrying.order(FREE)
