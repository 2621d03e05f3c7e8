"""Multiaddresses as this network uses them: /ip4|ip6|dns|dns4|dns6/<host>/tcp/<port>[/p2p/<peer id>].

A peer id is base58 of the identity multihash of a libp2p Ed25519 key, so a node key and a peer id say the
same (https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md). Nothing here loads libp2p: commands
that talk to a running node parse addresses too.
"""

import re
from functools import lru_cache
from ipaddress import ip_address

import msgspec

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)}
# Identity multihash of 36 bytes, holding the protobuf {type: Ed25519, data: 32 bytes}.
_PEER_ID_PREFIX = bytes.fromhex("002408011220")
_HOST = re.compile(r"[0-9A-Za-z.:-]{1,253}", re.ASCII)
_HOSTS = ("ip4", "ip6", "dns", "dns4", "dns6")
PEER_ID_LENGTH_MAX = 64


class Address(msgspec.Struct, frozen=True):
    """Where to dial; `node_key` is whom to expect there, None where it does not matter."""

    family: str
    host: str
    port: int
    node_key: bytes | None = None

    @property
    def transport(self) -> str:
        """The multiaddress without its peer id."""
        return f"/{self.family}/{self.host}/tcp/{self.port}"

    def __str__(self) -> str:
        return (
            self.transport if self.node_key is None else f"{self.transport}/p2p/{peer_id_of(self.node_key)}"
        )


@lru_cache(maxsize=4_096)
def peer_id_of(node_key: bytes) -> str:
    """Return the peer id, 12D3KooW..., of a node key of 32 bytes."""
    assert len(node_key) == 32, f"a node key is 32 bytes, not {len(node_key)}"
    number = int.from_bytes(_PEER_ID_PREFIX + node_key, "big")
    letters = []
    while number:
        number, value = divmod(number, 58)
        letters.append(_ALPHABET[value])
    return "1" + "".join(reversed(letters))  # the prefix begins with one zero byte


def node_key_of(peer_id: str) -> bytes:
    """Return the node key that a peer id names; ValueError where it is no Ed25519 peer id."""
    if not 0 < len(peer_id) <= PEER_ID_LENGTH_MAX:
        raise ValueError(f"peer id of {len(peer_id)} characters")
    number = 0
    for letter in peer_id:
        if letter not in _VALUES:
            raise ValueError(f"peer id {peer_id} has {letter!r}, which base58 does not use")
        number = number * 58 + _VALUES[letter]
    return node_key_of_bytes(b"\0" + number.to_bytes((number.bit_length() + 7) // 8, "big"))


def node_key_of_bytes(peer_id: bytes) -> bytes:
    """The same from the peer id's bytes."""
    if len(peer_id) != 38 or not peer_id.startswith(_PEER_ID_PREFIX):
        raise ValueError("peer id is not that of an Ed25519 key; it begins with 12D3KooW")
    return peer_id[len(_PEER_ID_PREFIX) :]


def parse_address(text: str) -> Address:
    """Raise ValueError, in a sentence with the remedy, where `text` is no address of the form above."""
    shown = repr(text[:300])
    parts = text.split("/")
    if len(parts) not in (5, 7) or parts[0] != "" or parts[1] not in _HOSTS or parts[3] != "tcp":
        raise ValueError(f"{shown} is no address; write it as /ip4/203.0.113.7/tcp/7100/p2p/12D3KooW...")
    family, host = parts[1], parts[2]
    if not _HOST.fullmatch(host):
        raise ValueError(f"{shown} has no host of 1 to 253 letters, digits, dots, colons and hyphens")
    if family in ("ip4", "ip6") and ip_address(host).version != int(family[2]):
        raise ValueError(f"{host} is not an address of {family}")
    if not (parts[4].isascii() and parts[4].isdecimal() and len(parts[4]) <= 5 and int(parts[4]) <= 65_535):
        raise ValueError(f"{shown} has port {parts[4][:20]!r}; choose a number from 0 to 65535")
    if len(parts) == 5:
        return Address(family, host, int(parts[4]))
    if parts[5] != "p2p":
        raise ValueError(f"{shown} has /{parts[5][:20]}/ where /p2p/ belongs")
    return Address(family, host, int(parts[4]), node_key_of(parts[6]))


def address_seen(host: object, port: object) -> str:
    """Return /ip4|ip6/<host>/tcp/<port> of what a socket names as its other end, "" where that is none.

    A zone (fe80::1%eth0, RFC 4007) counts on the machine alone that wrote it, and is left away.
    """
    try:
        ip = ip_address(str(host).partition("%")[0])
        return str(parse_address(f"/ip{ip.version}/{ip}/tcp/{port}"))
    except ValueError:
        return ""


def host_of(transport: str) -> str:
    """Return the IP address in /ip4|ip6/<host>/..., "" where there is none."""
    parts = transport.split("/")
    return parts[2] if len(parts) > 2 and parts[1] in ("ip4", "ip6") else ""
