"""Networks of their own for processes here: a Linux namespace and a TUN for each, without names or traces.

A namespace lives as long as a descriptor of it or a process in it, so nothing is left when they end. What its
processes send comes out of its TUN as IP packets, which router.py carries. It takes CAP_SYS_ADMIN and
/dev/net/tun; where they lack, `made` raises OSError, and proxy.py does the same by TCP.
"""

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

OWN: Final = Path("/proc/thread-self/ns/net")
TUN: Final = Path("/dev/net/tun")
NAME: Final = b"prsm0"
NETWORK: Final = "10.83.0"
"""A /24 of our own: nobody outside of these namespaces sees it."""
MTU: Final = 1_500

# linux/sched.h, linux/if_tun.h, linux/sockios.h, linux/if.h
CLONE_NEWNET: Final = 0x4000_0000
TUNSETIFF: Final = 0x4004_54CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFMTU = 0x8914, 0x8916, 0x891C, 0x8922
IFF_UP: Final = 0x1

_libc = ctypes.CDLL(None, use_errno=True)


class Namespace(NamedTuple):
    """Descriptors of a namespace and of the TUN in it, and its address."""

    namespace: int
    tun: int
    address: str

    def close(self) -> None:
        os.close(self.namespace)
        os.close(self.tun)


def address_of(place: int) -> str:
    """Return the address of the node at this place, from 0 on."""
    return f"{NETWORK}.{place + 1}"


def made(count: int) -> list[Namespace]:
    """Make so many, at most 64. Raise OSError where this process may not."""
    assert count <= 64, f"{count} namespaces; at most 64 are made"
    found: list[Namespace] = []
    try:
        for place in range(count):
            found.append(_made(address_of(place)))
    except BaseException:
        for namespace in found:
            namespace.close()
        raise
    return found


@contextmanager
def entered(namespace: Namespace) -> Iterator[None]:
    """Have this thread in the namespace while in the block: what it starts or opens is born there."""
    with _back_again():
        _enter(namespace.namespace)
        yield


def _made(address: str) -> Namespace:
    with _back_again():
        if _libc.unshare(CLONE_NEWNET) != 0:
            _refused("unshare")
        namespace = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return Namespace(namespace, _tun(address), address)
        except BaseException:
            os.close(namespace)
            raise


@contextmanager
def _back_again() -> Iterator[None]:
    own = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        try:
            _enter(own)
        finally:
            os.close(own)


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, CLONE_NEWNET) != 0:
        _refused("setns")


def _refused(call: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{call}: {os.strerror(number)}")


def _tun(address: str) -> int:
    """Make the TUN of the namespace that this thread is in, with its address, and bring it and lo up."""
    tun = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", NAME, IFF_TUN | IFF_NO_PI))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as configuring:
            _set(configuring, SIOCSIFADDR, NAME, _inet(address))
            _set(configuring, SIOCSIFNETMASK, NAME, _inet("255.255.255.0"))
            _set(configuring, SIOCSIFMTU, NAME, struct.pack("i20x", MTU))
            for name in (NAME, b"lo"):
                _set(configuring, SIOCSIFFLAGS, name, struct.pack("H22x", IFF_UP))
    except BaseException:
        os.close(tun)
        raise
    return tun


def _set(configuring: socket.socket, what: int, name: bytes, value: bytes) -> None:
    fcntl.ioctl(configuring, what, struct.pack("16s", name) + value)


def _inet(address: str) -> bytes:
    return struct.pack("HH4s16x", socket.AF_INET, 0, socket.inet_aton(address))
