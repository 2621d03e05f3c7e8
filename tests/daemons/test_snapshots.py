"""Real daemons: a new node begins with a snapshot, follows the chain from there, and old blocks are gone."""

from pathlib import Path

import pytest

from prsm_node.cli.home_making import free_ports
from prsm_node.control.client import Client
from prsm_node.control.views import AccountView
from prsm_node.home import Home
from prsm_node.identity.addresses import address_of
from tests.daemons.fleet import Net, asks, blocks, counter, fails, status, until, wallet_keys
from tests.daemons.load import load

pytestmark = pytest.mark.daemons

EVERY = 30


def test_a_new_node_joins_by_a_snapshot_and_pruned_blocks_are_answered_honestly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRSM_STORAGE__SNAPSHOT_BLOCKS", str(EVERY))
    # It joins by the invite alone; taking its name from the local network costs each end a second and more.
    monkeypatch.setenv("PRSM_NETWORK__MDNS", "false")
    net = Net(tmp_path / "net", validators=2)
    try:
        net.start()
        net.wait_voting()
        with load(net.homes, wallet_keys(net.homes[0])) as sending:
            until(lambda: all(counter(h, "snapshots.taken") >= 1 for h in net.homes), "snapshots", 40)
            home = _joined(net, tmp_path / "new")
            until(lambda: not status(home).syncing and status(home).height > EVERY + 5, "it follows", 15)
            sending.stop_sending()
        height = net.wait_level()
        first = status(home).first_block
        assert first > EVERY
        assert (first - 1) % EVERY == 0
        below = blocks(home, height, first)
        assert [(b.height, b.hash, b.state_root) for b in below] == [
            (b.height, b.hash, b.state_root) for b in blocks(net.homes[0], height, first)
        ]
        payer = address_of(wallet_keys(net.homes[0])[0].public)
        accounts = []
        for daemon in (home, net.homes[0]):
            with Client(daemon) as client:
                accounts.append(client.ask("account", AccountView, address=payer))
        assert accounts[0] == accounts[1]
        sentence = fails(home, "block", str(first - 1))
        assert f"keeps blocks from height {first} on" in sentence
        assert asks(home, "snapshot", "list")["snapshots"], "what it took over it serves itself"
        net.end(home)
        net.start(home)
        assert status(home).first_block == first
    finally:
        net.end_all()


def _joined(net: Net, home: Path) -> Path:
    invite = asks(net.homes[1], "invite")["invite"]
    (passphrase := home.parent / "passphrase").write_text("of the new one\n")
    passphrase.chmod(0o600)
    asks(home, "join", invite, "--passphrase-file", str(passphrase), "--port", str(free_ports(1)[0]))
    config = Home(home).config
    config.write_text(config.read_text().replace('# mode = "blocks"', 'mode = "snapshot"'))
    net.homes.append(home)
    net.start(home)
    return home
