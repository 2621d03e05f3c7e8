"""The configuration of one node: every setting declared once, with its default, range and explanation.

config_file.py reads H/config.toml, the environment and flags into a checked Config, and writes the file whose
comments are the descriptions below. Nothing that nodes must agree on is here; that is in the genesis.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from prsm_node.errors import OperatorError

DIALLABLE: Final = r"^/(ip4|ip6|dns|dns4|dns6)/[0-9A-Za-z.:-]{1,253}/tcp/[0-9]{1,5}/p2p/[0-9A-Za-z]{40,60}\Z"
"""A multiaddr of a node: TCP over an IP address or a name, and the peer id that is expected there."""
Multiaddr = Annotated[str, Meta(pattern=DIALLABLE)]
Multiaddrs = Annotated[tuple[Multiaddr, ...], Meta(max_length=256)]

DEFAULT_PORT: Final = 7_100
NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z"
"""As the genesis has it for validators: a name appears in logs and tables as it is."""


class ConfigError(OperatorError):
    """A setting that is unknown, of the wrong type or out of range; the message names it and the remedy."""


class NodeSettings(msgspec.Struct, frozen=True):
    """This node among its peers."""

    name: Annotated[
        str, Meta(description="What lists and logs call this node.", max_length=64, pattern=NAME_PATTERN)
    ] = "node"


class NetworkSettings(msgspec.Struct, frozen=True):
    """Where this node listens and whom it finds."""

    host: Annotated[
        str, Meta(description="The address to listen on; 0.0.0.0 is every interface.", max_length=255)
    ] = "0.0.0.0"
    port: Annotated[int, Meta(description="The TCP port to listen on.", ge=1, le=65_535)] = DEFAULT_PORT
    advertise: Annotated[
        Multiaddrs, Meta(description="Multiaddrs to tell peers instead of the listening one, behind NAT.")
    ] = ()
    bootstrap: Annotated[
        Multiaddrs, Meta(description="Peers to dial first, as /ip4/203.0.113.7/tcp/7100/p2p/12D3KooW...")
    ] = ()
    mdns: Annotated[bool, Meta(description="Find peers on the local network by multicast DNS.")] = True
    dht: Annotated[bool, Meta(description="Find peers through the Kademlia DHT.")] = True
    peer_exchange: Annotated[
        bool, Meta(description="Tell peers of each other, and dial whom they tell of.")
    ] = True
    peers_max: Annotated[int, Meta(description="Connections at once.", ge=1, le=300)] = 64
    heartbeat_s: Annotated[
        float,
        Meta(description="Seconds between heartbeats; a peer that misses three is dropped.", ge=0.2, le=60),
    ] = 2.0


class ConsensusSettings(msgspec.Struct, frozen=True):
    """This node's own part in consensus; what all must share is in the genesis."""

    vote: Annotated[bool, Meta(description="Vote, where this node's validator key is in the set.")] = True
    twin_wait_s: Annotated[
        float,
        Meta(description="Longest wait at start to hear whether our key votes elsewhere.", ge=0.1, le=60),
    ] = 0.8


class StorageSettings(msgspec.Struct, frozen=True):
    """What is kept of the chain, and for whom."""

    retain_blocks: Annotated[
        int,
        Meta(
            description="The last blocks that are kept, 256 at least; 0 keeps all. Balances are kept always.",
            ge=0,
            le=2**53,
        ),
    ] = 0
    snapshot_blocks: Annotated[
        int,
        Meta(
            description="Blocks from one snapshot for new nodes to the next; 0 takes none.",
            ge=0,
            le=2**53,
        ),
    ] = 10_000


class SyncSettings(msgspec.Struct, frozen=True):
    """How this node catches up."""

    mode: Annotated[
        Literal["blocks", "snapshot"],
        Meta(
            description="How a node without a chain begins: with all blocks, or with a snapshot of the state."
        ),
    ] = "blocks"
    verify: Annotated[
        Literal["tip", "all"],
        Meta(
            description="The signatures checked while catching up: near the tip, certified roots covering "
            "what lies deeper, or all."
        ),
    ] = "tip"


class MempoolSettings(msgspec.Struct, frozen=True):
    """Bounds on transactions that are in no block yet."""

    transactions_max: Annotated[
        int, Meta(description="Pending transactions held.", ge=100, le=10_000_000)
    ] = 50_000
    bytes_max: Annotated[
        int, Meta(description="Bytes of pending transactions held.", ge=1_048_576, le=2**34)
    ] = 33_554_432
    signature_workers: Annotated[int, Meta(description="Processes that check signatures.", ge=1, le=64)] = 1


class LogSettings(msgspec.Struct, frozen=True):
    """What is said, how, and how long it is kept."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least level that is written.")
    ] = "info"
    json: Annotated[bool, Meta(description="One JSON object a line on stderr instead of text.")] = False
    stderr: Annotated[
        bool, Meta(description="Say on stderr too what logs/daemon.log has, not only what it could not take.")
    ] = True
    file_mb_max: Annotated[
        int, Meta(description="The size at which logs/daemon.log is rotated.", ge=1, le=10_240)
    ] = 64
    files: Annotated[int, Meta(description="Rotated files kept besides the current one.", ge=0, le=100)] = 4


class KeystoreSettings(msgspec.Struct, frozen=True):
    """How the keys are unlocked."""

    passphrase_file: Annotated[
        str,
        Meta(
            description="A file of mode 0600, relative to the home; if empty, PRSM_PASSPHRASE or a prompt.",
            max_length=4_096,
        ),
    ] = ""


class Config(msgspec.Struct, frozen=True):
    """A checked configuration; in code, `msgspec.structs.replace` makes others from it."""

    node: NodeSettings = NodeSettings()
    network: NetworkSettings = NetworkSettings()
    consensus: ConsensusSettings = ConsensusSettings()
    storage: StorageSettings = StorageSettings()
    sync: SyncSettings = SyncSettings()
    mempool: MempoolSettings = MempoolSettings()
    log: LogSettings = LogSettings()
    keystore: KeystoreSettings = KeystoreSettings()
