"""What an invite vouches for, with real daemons: a rival of it is refused, restarts included."""

import json
from pathlib import Path

import pytest

from prsm_node.cli.app import run
from prsm_node.cli.home_making import free_ports
from prsm_node.home import Home
from prsm_node.identity import wallets
from prsm_node.identity.addresses import account_text
from tests.daemons.fleet import Net, asks, status, until

pytestmark = pytest.mark.daemons


def test_a_follower_passes_only_the_trusted_block_and_proves_accounts_to_others(tmp_path: Path) -> None:
    net, follower = Net(tmp_path / "net", validators=1), tmp_path / "follower"
    validator = net.homes[0]
    try:
        net.start()
        net.wait_voting()
        sent = asks(validator, "wallet", "send", "--from", "dev0", "--to", "dev1", "--amount", "1")
        until(lambda: status(validator).height >= sent["height"] + 2, "its root is certified")
        (passphrase := tmp_path / "passphrase").write_text("of the follower\n")
        passphrase.chmod(0o600)
        invite = asks(validator, "invite")["invite"]
        port = str(free_ports(1)[0])
        asks(follower, "join", invite, "--passphrase-file", str(passphrase), "--port", port)
        net.homes.append(follower)

        home = Home(follower)
        truth = home.trusted_block.read_text()
        trusted = json.loads(truth)
        assert trusted["height"] >= sent["height"]
        home.trusted_block.write_text(json.dumps(trusted | {"hash": "ab" * 32}))
        for _ in range(2):
            net.start(follower)
            until(lambda: "untrusted_chain" in home.log.read_text(), "it says what it refuses")
            assert "another block at height" in home.log.read_text()
            assert status(follower).height == 0, "nothing is executed of a chain that does not lead there"
            net.kill(follower)
            home.log.unlink()

        home.trusted_block.write_text(truth)
        net.start(follower)
        until(lambda: status(follower).height >= trusted["height"], "the follower has the chain")
        _proves(follower, account_text(wallets.account(Home(validator), "dev0")), tmp_path / "proof.json")
        net.end()
    finally:
        net.end_all()


def _proves(follower: Path, payer: str, file: Path) -> None:
    proof = asks(follower, "account", payer, "--proof")
    assert proof["nonce"] == 1
    file.write_text(json.dumps(proof))
    verify = ["--home", str(follower), "verify-proof", str(file)]
    assert run(verify) == 0
    file.write_text(json.dumps(proof | {"balance": proof["balance"] + "0"}))
    assert run(verify) == 1
