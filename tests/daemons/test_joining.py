"""Who comes late: a validator that starts when there is a chain already, and a node that only follows."""

from pathlib import Path

import pytest

from prsm_node.cli.home_making import free_ports
from prsm_node.cli.passphrase import passphrase_of
from prsm_node.control.client import Client
from prsm_node.control.views import AccountView, TransactionView
from prsm_node.home import Home
from prsm_node.identity.addresses import address_of
from prsm_node.identity.keystore import KeyKind, unlock
from tests.daemons.fleet import Net, asks, blocks, same_chain, status, until, wallet_keys
from tests.daemons.journals import assert_nothing_signed_twice, decision_voters, heights_precommitted
from tests.daemons.load import load

pytestmark = pytest.mark.daemons


def test_a_late_validator_catches_up_and_votes_and_a_follower_serves_reads(tmp_path: Path) -> None:
    net = Net(tmp_path / "net")
    first, late = net.homes[:3], net.homes[3]
    try:
        net.start(*first)
        net.wait_voting(*first)
        with load(first, wallet_keys(net.homes[0])) as sending:
            until(
                lambda: status(first[0]).height > 20 and sending.final > 100, "20 blocks with transfers", 30
            )
            net.start(late)
            net.wait_voting(late)
            joined_at = status(late).height
            assert joined_at > 20
            until(
                lambda: (
                    blocks(first[0], h := status(first[0]).height, h)[0].strength.tolerated_power > 0
                    and h > joined_at + 5
                ),
                "the chain goes on",
            )
            _follower_serves_reads(net, tmp_path / "follower")
            sending.stop_sending()
        same_chain(net.homes, net.wait_level())
        net.end()
        # That others counted it is shown above: undoing that block takes more than the base strength.
        assert max(heights_precommitted(late)) > joined_at
        key = unlock(Home(late).validator_key, KeyKind.VALIDATOR, passphrase_of(Home(late))).public
        voted = [height for height, voters in decision_voters(first).items() if key in voters]
        assert all(height > 15 for height in voted), "it did not vote on what it caught up with"
        assert_nothing_signed_twice(net.homes)
    finally:
        net.end_all()


def _follower_serves_reads(net: Net, home: Path) -> None:
    """A node that joined by an invite has the chain, takes payments in and votes on nothing."""
    invite = asks(net.homes[1], "invite")["invite"]
    (passphrase := home.parent / "passphrase").write_text("of the follower\n")
    passphrase.chmod(0o600)
    asks(home, "join", invite, "--passphrase-file", str(passphrase), "--port", str(free_ports(1)[0]))
    net.homes.append(home)
    net.start(home)
    until(lambda: status(home).height > 20 and not status(home).syncing, "the follower has the chain")
    now = status(home)
    assert not now.voting
    assert now.not_voting_because
    block = next(b for b in reversed(blocks(home, now.height)) if b.transactions)
    with Client(home) as client:
        found = client.ask("tx", TransactionView, hash=block.transactions[0])
        assert (found.height, found.block_hash) == (block.height, block.hash)
        payer = address_of(wallet_keys(net.homes[0])[0].public)
        assert client.ask("account", AccountView, address=payer).nonce > 0
