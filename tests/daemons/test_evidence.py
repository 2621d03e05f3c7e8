"""A validator key that signs two votes at one place is jailed by all nodes, and the network goes on."""

import shutil
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio
from msgspec.structs import replace

from consensus.votes import Vote, VoteKind
from prsm_node import account_proof, genesis
from prsm_node.cli.passphrase import passphrase_of
from prsm_node.consensus_host.checks import Checks
from prsm_node.consensus_host.signer import Signer
from prsm_node.control.client import Client
from prsm_node.control.views import EvidenceView, NetworkView
from prsm_node.home import Home
from prsm_node.identity.addresses import validator_text
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.identity.keystore import KeyKind, unlock
from prsm_node.wire.kinds import Kind
from tests.daemons.fleet import Net, asks, running, same_chain, status, until
from tests.daemons.hostile_peer import HostilePeer

pytestmark = pytest.mark.daemons


def key_of(home: Path) -> SigningKey:
    return unlock(Home(home).validator_key, KeyKind.VALIDATOR, passphrase_of(Home(home)))


def jailed(home: Path) -> list[bytes]:
    with Client(home) as client:
        return [proven.key for proven in client.ask("evidence", EvidenceView).evidence if proven.jailed]


def has_jailed(home: Path, key: bytes) -> bool:
    """Whether the key, and it alone, is jailed, and out of the set in force."""
    return jailed(home) == [key] and status(home).validators == 3


def proves(home: Path, address: str) -> int:
    """Check a daemon's proof of an account by the genesis; return the power of the set that signed it."""
    shown = msgspec.convert(asks(home, "account", address, "--proof"), account_proof.ProvenAccount)
    assert len(shown.evidence.changes) == 1
    return account_proof.check(shown, genesis.load(Home(home).genesis)).total_power


async def show_both_votes(net: Net, key: SigningKey) -> int:
    """Sign two precommits of a round to come, and show them to one daemon; return their height."""
    with Client(net.homes[0]) as client:
        network = client.ask("network", NetworkView).genesis_hash
    signer, now = Signer(network, key, Checks(network)), status(net.homes[0])
    vote = Vote(VoteKind.PRECOMMIT, now.height + 1, 3, b"a" * 32, -1, 0, key.public)
    async with HostilePeer(network).linked(now.listen[0]) as peer:
        await peer.say(Kind.VOTE, signer.vote(vote), signer.vote(replace(vote, value=b"b" * 32)))
        with trio.fail_after(20):
            while key.public not in await trio.to_thread.run_sync(jailed, net.homes[0]):  # noqa: ASYNC110
                await trio.sleep(0.05)
    return vote.height


def test_a_key_that_signs_twice_is_jailed_everywhere_and_stays_so(tmp_path: Path) -> None:
    with running(tmp_path) as net:
        first, last = net.homes[0], net.homes[3]
        guilty = key_of(last)
        height = trio.run(show_both_votes, net, guilty)
        for home in net.homes:
            until(partial(has_jailed, home, guilty.public), f"{home.name} has it jailed")
        (proven,) = asks(first, "evidence")["evidence"]
        assert proven["key"] == validator_text(guilty.public)
        assert (proven["kind"], proven["height"], proven["round"]) == ("precommit", height, 3)
        assert proven["block"] is not None
        said = f"jailed: this key signed two precommits at height {height}, round 3"
        until(lambda: said in status(last).not_voting_because, "the jailed node says why it does not vote")
        assert not status(last).voting

        asks(first, "wallet", "send", "--from", "dev0", "--to", "dev1", "--amount", "1")
        payer = asks(first, "wallet", "balance", "dev0")["address"]
        assert proves(first, payer) == 3, "the genesis' validators let the set without it follow"
        net.kill(first)
        net.end(last)
        shutil.rmtree(Home(last).journal.parent)
        net.start(first, last)
        net.wait_voting(*net.homes[:3])
        assert has_jailed(first, guilty.public)
        until(partial(has_jailed, last, guilty.public), "it finds itself jailed when it syncs anew")
        until(lambda: said in status(last).not_voting_because, "it says why it does not vote")
        sent = asks(first, "wallet", "send", "--from", "dev1", "--to", "dev0", "--amount", "0.5")
        until(lambda: status(last).height >= sent["height"], "the jailed node follows")
        same_chain(net.homes, sent["height"])
        assert proves(first, payer) == proves(last, payer) == 3, "neither kill -9 nor syncing anew lose how"
