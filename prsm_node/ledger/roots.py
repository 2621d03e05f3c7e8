"""The state root and account proofs: how they are hashed, and their verification by whoever trusts a root.

Leaves are whole buckets of accounts, inner nodes hash sixteen children of 32 bytes, absent ones as zeros. A
bucket has 912 bytes and a node 512, so that neither can be taken for the other. The depth follows from the
count of accounts, which the root covers. The root of the state is a hash over the roots of its modules.
"""

from hashlib import sha256
from typing import Annotated, Final

import msgspec

from consensus.bounds import Digest
from prsm_node.ledger.accounts import BUCKET_BYTES, RECORD, RECORDS_PER_BUCKET, Account

FAN_OUT: Final = 16
HASH_BYTES: Final = 32
NODE_BYTES: Final = FAN_OUT * HASH_BYTES
MODULES_MAX: Final = 16
LEVELS_MAX: Final = 12
"""16^12 buckets: more accounts than 64-bit numbers of base units could ever fill."""


def bucket_count(accounts: int) -> int:
    return -(-accounts // RECORDS_PER_BUCKET)


def levels_of(accounts: int) -> int:
    """Return how many levels of nodes stand above the buckets; at least one."""
    levels, width = 1, bucket_count(accounts)
    while width > FAN_OUT:
        levels, width = levels + 1, -(-width // FAN_OUT)
    return levels


def accounts_root(accounts: int, top: bytes) -> bytes:
    return sha256(b"accounts" + accounts.to_bytes(8, "big") + top).digest()


def state_root(of_accounts: bytes, *others: bytes) -> bytes:
    """Return the root of the modules' roots: accounts, supply, lanes, roster, in this order."""
    return sha256(b"state" + of_accounts + b"".join(others)).digest()


class AccountProof(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """That an account has this record under a state root. Below 3 KB encoded for a million accounts."""

    number: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    accounts: Annotated[int, msgspec.Meta(ge=1, le=2**62)]
    bucket: Annotated[bytes, msgspec.Meta(min_length=BUCKET_BYTES, max_length=BUCKET_BYTES)]
    siblings: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(max_length=NODE_BYTES - HASH_BYTES)], ...],
        msgspec.Meta(min_length=1, max_length=LEVELS_MAX),
    ]
    """For each level from the buckets up: the node's other children, absent ones at the end left out."""
    others: Annotated[tuple[Digest, ...], msgspec.Meta(max_length=MODULES_MAX)]
    """The roots of the state's other modules, in order."""


class InvalidProof(ValueError):
    """The proof does not show what it should; the message says where it fails."""


def verify_account(proof: AccountProof, root: bytes, address: bytes) -> Account:
    """Return the account that `proof` shows to stand under the state root `root`; raise InvalidProof."""
    if not 0 <= proof.number < proof.accounts:
        raise InvalidProof(f"account {proof.number} of {proof.accounts} does not exist")
    if len(proof.bucket) != BUCKET_BYTES:
        raise InvalidProof(f"the bucket has {len(proof.bucket)} bytes, not {BUCKET_BYTES}")
    if len(proof.siblings) != levels_of(proof.accounts):
        raise InvalidProof(f"{len(proof.siblings)} levels, not {levels_of(proof.accounts)}")
    place, slot = divmod(proof.number, RECORDS_PER_BUCKET)
    stored, balance, nonce, last = RECORD.unpack_from(proof.bucket, slot * RECORD.size)
    if stored != address:
        raise InvalidProof("the proof is of another account")
    node = sha256(proof.bucket).digest()
    for level, others in enumerate(proof.siblings):
        place, child = divmod(place, FAN_OUT)
        split = child * HASH_BYTES
        if len(others) % HASH_BYTES or not split <= len(others) <= NODE_BYTES - HASH_BYTES:
            raise InvalidProof(f"level {level} has {len(others)} bytes of other children")
        node = sha256((others[:split] + node + others[split:]).ljust(NODE_BYTES, b"\0")).digest()
    if state_root(accounts_root(proof.accounts, node), *proof.others) != root:
        raise InvalidProof("the proof leads to another state root")
    return Account(address, balance, nonce, last)
