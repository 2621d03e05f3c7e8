"""Where a state begins: the genesis laid down, or what is stored held against it and against its own root."""

from typing import Final

import lmdb

from consensus.bounds import Digest
from prsm_node.genesis import Genesis
from prsm_node.ledger.lanes import Lanes
from prsm_node.ledger.roots import state_root
from prsm_node.ledger.roster import Roster
from prsm_node.ledger.supply import Supply
from prsm_node.storage.accounts import AccountStore
from prsm_node.storage.blocks import FIRST_KEY, FrozenBlocks
from prsm_node.storage.environment import Environment
from prsm_node.storage.errors import StorageError
from prsm_node.storage.generation import GENESIS_KEY, SCHEMA, Frozen, Head

FROM_JOURNAL: Final = "it is made again from the journal"
FROM_PEERS: Final = "and start with --sync snapshot: the journal does not begin with the chain"


def found(environment: Environment, accounts: AccountStore, genesis: Genesis) -> Head:
    """Lay down the genesis, in one transaction: a state is there wholly or not at all. Raise StorageError."""
    frozen_accounts = accounts.fill((account.address, account.balance) for account in genesis.accounts)
    supply = Supply(minted=genesis.supply, burned=0, treasury=0, in_accounts=genesis.supply)
    supply.check(0)
    lanes = Lanes()
    roster = Roster.founded((validator.key, validator.power) for validator in genesis.validators)
    root = state_root(accounts.tree.root(accounts.count), supply.root, lanes.root, roster.root)
    head = Head(SCHEMA, 0, genesis.hash, genesis.time_ms, root, accounts.count, supply, lanes, roster)
    frozen = Frozen(head, frozen_accounts, FrozenBlocks([], [], []), {}, 0)

    def put(transaction: lmdb.Transaction, environment: Environment) -> None:
        frozen.put(transaction, environment)
        transaction.put(GENESIS_KEY, genesis.hash + root, db=environment.meta)

    environment.write_growing(frozen.bytes_expected, put)
    return head


def check(environment: Environment, accounts: AccountStore, head: Head, genesis: Genesis) -> None:
    """Build the accounts' tree from what is stored. Raise StorageError unless it is this network's and
    undamaged."""
    stored, directory = environment.get(environment.meta, GENESIS_KEY), environment.directory
    if stored is None or stored[:32] != genesis.hash:
        raise StorageError(
            f"the state in {directory} belongs to another network, not to {genesis.network}"
            f" ({genesis.hash.hex()[:16]}); choose another home or bring the genesis it was made with"
        )
    if state_root(accounts.hash_all(), *head.others) != head.root:
        whole = environment.get(environment.meta, FIRST_KEY) is None
        raise StorageError(
            f"the state in {directory} does not match its root and is damaged;"
            f" delete this directory, {FROM_JOURNAL if whole else FROM_PEERS}"
        )


def root_of_genesis(environment: Environment) -> Digest | None:
    """Return the root of the genesis' state; None for a state that was made of a snapshot."""
    stored = environment.get(environment.meta, GENESIS_KEY)
    assert stored is not None, "the genesis is not laid down"
    return stored[32:] or None
