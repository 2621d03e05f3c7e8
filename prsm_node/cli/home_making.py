"""Making homes, each whole or not at all: it is filled beside its place and then renamed into it."""

import os
import random
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from msgspec.structs import replace

from prsm_node import config_file
from prsm_node import genesis as genesis_file
from prsm_node.cli import unfinished_join
from prsm_node.config import Config, KeystoreSettings, NetworkSettings, NodeSettings
from prsm_node.errors import OperatorError
from prsm_node.genesis import Genesis
from prsm_node.home import Home
from prsm_node.identity import keystore, private_files, wallets
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.identity.keystore import KeyKind, StoredKey
from prsm_node.identity.passphrases import ENVIRONMENT_VARIABLE, Passphrase, Scrypt, found
from prsm_node.identity.peer_ids import peer_id
from prsm_node.ledger.transactions import BASE_UNITS_PER_FTNS
from prsm_node.storage.durable_files import make_folder, rename, sync_all

PASSPHRASE_FILE: Final = "passphrase"
LOOPBACK: Final = "127.0.0.1"
GENESIS_SUPPLY: Final = 100_000_000 * BASE_UNITS_PER_FTNS
DEV_BALANCE_MAX: Final = 1_000_000 * BASE_UNITS_PER_FTNS
VALIDATOR_POWER: Final = 1
# Below the range of outgoing connections (32768 on), where a node that is down would find its port taken,
# or its peers, dialling it, connected to themselves.
PORTS: Final = range(20_000, 32_768)


class NodeKeys(NamedTuple):
    """The public keys of a new home."""

    node: bytes
    validator: bytes

    @property
    def node_id(self) -> str:
        return peer_id(self.node)


class LocalNetwork(NamedTuple):
    """What `local_network` made."""

    homes: list[Home]
    keys: list[NodeKeys]
    configs: list[Config]
    wallets: list[StoredKey]
    genesis: Genesis


@contextmanager
def new_home(path: Path) -> Iterator[Home]:
    """Give a draft of a home to fill; it takes its place at `path`, durably, when the block ends without an
    error.

    Raise OperatorError where `path` is neither missing nor an empty folder.
    """
    refuse_used(path)
    try:
        make_folder(path.parent)
        draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent))
    except OSError as error:
        raise _no_home(path, error) from None
    try:
        yield Home(draft)
        sync_all(draft)
        rename(draft, path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    unfinished_join.forget(path)


@contextmanager
def joining_home(path: Path) -> Iterator[Home]:
    """As new_home, but the intent is kept from here on (unfinished_join.py), whatever ends the block."""
    refuse_used(path)
    with ExitStack() as stack:
        try:
            draft = stack.enter_context(unfinished_join.intent(path))
        except OSError as error:
            raise _no_home(path, error) from None
        refuse_used(path)
        yield Home(draft)
        unfinished_join.finish(path)


def _no_home(path: Path, error: OSError) -> OperatorError:
    why = (error.strerror or type(error).__name__).lower()
    return OperatorError(f"no home can be made at {path}: {why}; choose another --home")


def refuse_used(path: Path) -> None:
    """Raise OperatorError where a home can't be made because something is there."""
    if Home(path).config.exists():
        raise OperatorError(f"there is a node at {path} already; choose another --home, or start this one")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise OperatorError(f"{path} exists and is not an empty folder; choose another --home")


def fill(
    home: Home, config: Config, passphrase: Passphrase, genesis: Genesis | None, scrypt: Scrypt | None = None
) -> NodeKeys:
    """Put new keys, the configuration and, where it is known, the genesis into a draft of a home."""
    return put(home, config, genesis, new_keys(home, config.node.name, passphrase, scrypt or Scrypt.fresh()))


def new_keys(home: Home, name: str, passphrase: Passphrase, scrypt: Scrypt) -> NodeKeys:
    """Make the node's and the validator's key."""
    node = keystore.create(home.node_key, KeyKind.NODE, name, SigningKey.generate(), passphrase, scrypt)
    validator = keystore.create(
        home.validator_key, KeyKind.VALIDATOR, name, SigningKey.generate(), passphrase, scrypt
    )
    return NodeKeys(node.public, validator.public)


def put(home: Home, config: Config, genesis: Genesis | None, keys: NodeKeys) -> NodeKeys:
    """Write the configuration and the genesis."""
    home.config.write_text(config_file.render(config), encoding="utf-8")
    if genesis is not None:
        genesis_file.save(genesis, home.genesis)
    private_files.make_folder(home.wallets)
    return keys


def local_network(places: list[Path], network: str, accounts: int) -> LocalNetwork:
    """Make one home for each place: equal validators on loopback that know each other, and funded wallets.

    The wallets `dev0`... lie in the first home. Every home has the passphrase of its keys in a file beside
    them, so that daemons start unattended: this guards against nothing but mistakes, which is enough for play
    money. Where the environment has a passphrase, which goes before any file, the keys get that and there is
    no file.
    """
    ports = free_ports(len(places))
    written = None if os.environ.get(ENVIRONMENT_VARIABLE) else secrets.token_urlsafe(24)
    passphrase = Passphrase(written) if written is not None else found(os.environ, None)
    scrypt = Scrypt.fresh()
    with ExitStack() as drafts:
        homes = [drafts.enter_context(new_home(place)) for place in places]
        names = [place.name if len(places) > 1 else "node0" for place in places]
        keys = [new_keys(home, name, passphrase, scrypt) for home, name in zip(homes, names, strict=True)]
        made = [
            wallets.made(homes[0], f"dev{i}", SigningKey.generate(), passphrase, scrypt)
            for i in range(accounts)
        ]
        balance = min(DEV_BALANCE_MAX, GENESIS_SUPPLY // max(1, accounts))
        genesis = genesis_file.genesis(
            network,
            time.time_ns() // 1_000_000,
            [(key.validator, VALIDATOR_POWER, name) for key, name in zip(keys, names, strict=True)],
            [(wallets.address(wallet), balance) for wallet in made],
        )
        multiaddrs = [
            f"/ip4/{LOOPBACK}/tcp/{port}/p2p/{key.node_id}" for port, key in zip(ports, keys, strict=True)
        ]
        configs = [
            _local_config(name, port, [other for other in multiaddrs if other != own], written is not None)
            for name, port, own in zip(names, ports, multiaddrs, strict=True)
        ]
        for home, config, key in zip(homes, configs, keys, strict=True):
            if written is not None:
                private_files.write_new(home.path / PASSPHRASE_FILE, written.encode() + b"\n")
            put(home, config, genesis, key)
    in_place = [replace(wallet, path=Home(places[0]).wallets / wallet.path.name) for wallet in made]
    return LocalNetwork([Home(place) for place in places], keys, configs, in_place, genesis)


def development_home(path: Path) -> LocalNetwork:
    """Make a network of one validator with a funded wallet `dev0`: what `start` does where nothing is."""
    return local_network([path], "development", accounts=1)


def _local_config(name: str, port: int, bootstrap: list[str], passphrase_file: bool) -> Config:
    # All know all, so there is nobody to discover, and no stranger on the local network to meet.
    network = NetworkSettings(host=LOOPBACK, port=port, bootstrap=tuple(bootstrap), mdns=False, dht=False)
    keys = KeystoreSettings(PASSPHRASE_FILE if passphrase_file else "")
    return Config(node=NodeSettings(name), network=network, keystore=keys)


def free_ports(count: int) -> list[int]:
    """Return TCP ports of loopback that nobody listens on at this moment; raise OperatorError for too few."""
    free: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        if len(free) == count:
            return free
        with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        free.append(port)
    raise OperatorError(
        f"of the ports {PORTS[0]} to {PORTS[-1]} only {len(free)} are free; {count} are needed"
    )
