"""The layout of a home: every path that belongs to one node, and nothing that reads or writes them.

A dataclass and not a Struct, since every command loads this and msgspec would cost it 20 ms.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ENVIRONMENT_VARIABLE: Final = "PRSM_HOME"
DEFAULT_FOLDER: Final = ".prsm-node"


@dataclass(frozen=True, slots=True)
class Home:
    """A folder that belongs to one node."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.toml"

    @property
    def genesis(self) -> Path:
        return self.path / "genesis.json"

    @property
    def trusted_block(self) -> Path:
        """The block that the invite of this home vouched for; not in homes made otherwise."""
        return self.path / "trusted-block.json"

    @property
    def keys(self) -> Path:
        return self.path / "keys"

    @property
    def node_key(self) -> Path:
        return self.keys / "node.json"

    @property
    def validator_key(self) -> Path:
        return self.keys / "validator.json"

    @property
    def wallets(self) -> Path:
        return self.path / "wallets"

    @property
    def state(self) -> Path:
        """LMDB: derived, can be rebuilt from the journal."""
        return self.path / "data" / "state"

    @property
    def snapshots(self) -> Path:
        """Snapshots of the state for new nodes, and one on its way here."""
        return self.path / "data" / "snapshots"

    @property
    def journal(self) -> Path:
        """The append-only log in which durability lives."""
        return self.path / "data" / "journal"

    @property
    def peer_records(self) -> Path:
        """Who is banned, and whom to dial first."""
        return self.path / "peers.json"

    @property
    def daemon_record(self) -> Path:
        """`pid, listen, started` of the running daemon."""
        return self.path / "daemon.json"

    @property
    def lock(self) -> Path:
        """Locked by the daemon as long as it lives."""
        return self.path / "daemon.lock"

    @property
    def socket(self) -> Path:
        """Where commands reach the daemon."""
        return self.path / "core.sock"

    @property
    def log(self) -> Path:
        return self.path / "logs" / "daemon.log"
