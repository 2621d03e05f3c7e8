"""The chain that `bench sync` serves: what is in it would pass any node's checks."""

from pathlib import Path

import msgspec
import trio

from consensus.validators import ValidatorSet
from prsm_node.bench.made_chain import ChainMaker, bodies_of, genesis_time_ms
from prsm_node.bench.presign import addresses, sender_key
from prsm_node.consensus_host.checks import Checks
from prsm_node.consensus_host.records import decode_batch
from prsm_node.genesis import genesis
from prsm_node.home import Home
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.ledger.transactions import Transfer, signing_bytes, unsigned_bytes, with_signature
from prsm_node.storage.journal import Journal
from prsm_node.storage.state import State


def test_a_made_chain_is_certified_by_its_validators_and_executed(tmp_path: Path) -> None:
    home, accounts = Home(tmp_path), addresses(1, 3)
    keys = [SigningKey.from_seed(bytes((index,)) * 32) for index in range(4)]
    made = genesis(
        "test", genesis_time_ms(6), [(key.public, 1, "v") for key in keys], [(a, 10**9) for a in accounts]
    )
    raws = []
    for sender in range(3):
        content = unsigned_bytes(accounts[sender], 0, 1_000, (Transfer(accounts[0], 7),))
        raws.append(with_signature(content, sender_key(1, sender).sign(signing_bytes(made.hash, content))))
    bodies: list[bytes | None] = [None, *bodies_of(raws, 2), None, None]
    assert trio.run(ChainMaker(home, made, keys).make, bodies) == 5

    journal = Journal.open(home.journal)
    state = State.open(home.state, made, lambda position: decode_batch(journal.read(position)).body)
    checks, validators = Checks(made.hash), ValidatorSet.of(tuple((v.key, v.power) for v in made.validators))
    parent = made.hash
    for height in range(1, 6):
        stored = state.block(height)
        assert stored is not None
        block = stored.record.block
        assert (block.height, block.parent, block.state_root) == (height, parent, state.header_root(height))
        assert checks.certificate(stored.commit, validators) is not None
        assert len(stored.commit.votes) == 4
        for place in stored.record.batches:
            record = decode_batch(journal.read(place.position))
            assert checks.batch(record.header)
            assert all(0 < len(raw) < 400 for raw in msgspec.msgpack.decode(record.body, type=list[bytes]))
        parent = stored.record.digest
    account = state.account(accounts[0])
    assert account is not None
    assert (account.nonce, account.balance) == (1, 10**9 - 1_000 - 7 + 3 * 7)
    state.close()
    journal.close()
