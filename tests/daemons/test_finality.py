"""Four daemons: one transfer, final on all four disks; what scripts rely on; what one home refuses."""

import os
import re
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from prsm_node.bench.funds import Purse
from prsm_node.control.client import Client
from prsm_node.control.views import AccountView, NetworkView, Settled
from prsm_node.identity.addresses import account_text, address_of
from prsm_node.identity.ed25519 import SigningKey
from tests.daemons.fleet import (
    Net,
    asks,
    counter,
    fails,
    has_height,
    running,
    same_chain,
    status,
    until,
    wallet_keys,
)
from tests.daemons.load import load

pytestmark = pytest.mark.daemons


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with running(tmp_path_factory.mktemp("finality")) as net:
        yield net


def test_a_transfer_is_final_on_all_four_at_equal_roots(net: Net) -> None:
    key, receiver = wallet_keys(net.homes[0])[0], address_of(SigningKey.generate().public)
    with Client(net.homes[2]) as client:
        purse = Purse(key, client.ask("network", NetworkView), 0)
        settled = client.ask("submit_and_wait", Settled, transaction=purse.pay(receiver, 1_500_000_000))
    assert settled.outcome == "executed"
    for home in net.homes:
        until(partial(has_height, home, settled.height), f"{home.name} has the block")
        with Client(home) as client:
            assert client.ask("account", AccountView, address=receiver).balance == 1_500_000_000, home.name
    same_chain(net.homes, net.wait_level())


def test_what_scripts_rely_on_is_there(net: Net) -> None:
    home, other = net.homes[0], net.homes[3]
    sent = asks(home, "wallet", "send", "--from", "dev1", "--to", "dev2", "--amount", "1.5")
    assert sent.keys() >= {"tx", "height", "block_hash", "latency_ms", "strength"}
    until(partial(has_height, other, sent["height"]), "the other has the block")
    shown = asks(other, "block", str(sent["height"]))
    assert shown.keys() >= {
        *("height", "hash", "state_root", "proposer", "round", "time", "transactions", "strength")
    }
    assert (shown["hash"], shown["height"]) == (sent["block_hash"], sent["height"])
    assert sent["tx"] in shown["transactions"]
    assert shown["strength"].keys() >= {"tolerated_power", "total_power"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", shown["time"])

    told = asks(other, "status")
    assert told.keys() >= {
        *("node_id", "network", "version", "height", "block_hash", "state_root", "last_block_time"),
        *("peers", "validators", "voting", "syncing", "mempool", "finality_ms"),
    }
    assert told["finality_ms"].keys() == {"p50", "p99"}
    assert (told["voting"], told["peers"], told["validators"]) == (True, 3, 4)

    account = account_text(address_of(wallet_keys(home)[2].public))
    holder = asks(other, "account", account)
    assert holder.keys() >= {"address", "balance", "nonce"}
    assert holder["address"] == account
    assert re.fullmatch(r"\d+", holder["balance"]), "amounts are decimal strings of base units"
    assert asks(other, "tx", sent["tx"])["height"] == sent["height"]


def test_a_second_daemon_on_one_home_is_refused_in_a_sentence(net: Net) -> None:
    sentence = fails(net.homes[1], "start")
    assert len(sentence.splitlines()) == 1
    assert f"already, as process {net.daemons[net.homes[1]].process.pid}" in sentence
    assert status(net.homes[1]).voting


def test_a_killed_signature_worker_is_restarted_and_transfers_go_on(net: Net) -> None:
    with load(net.homes, wallet_keys(net.homes[0])) as sending:
        until(lambda: sending.final > 20, "transfers become final")
        for home in net.homes:
            for worker in children(net.daemons[home].process.pid):
                os.kill(worker, signal.SIGKILL)
        at_kill = sending.final
        until(lambda: sending.final > at_kill + 100, "transfers go on becoming final")
        sending.stop_sending()
        net.wait_level()
        time.sleep(0.2)
        accepted = {digest for sender in sending.senders for digest in sender.accepted}
        assert accepted <= sending.reported().keys(), "what was accepted is final: no daemon died"
    for home in net.homes:
        assert counter(home, "verification.restarts") == 1, home.name


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
