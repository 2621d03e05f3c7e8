"""One validator key on two nodes: the second does not vote and says why; a clean restart is no twin."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prsm_node.cli.home_making import PASSPHRASE_FILE, free_ports
from prsm_node.home import Home
from tests.daemons.fleet import Net, asks, running, same_chain, status, until, votes, wallet_keys
from tests.daemons.journals import assert_nothing_signed_twice, signed_places
from tests.daemons.load import load

pytestmark = pytest.mark.daemons

SAYS = "this validator key"
DUTY_S = 3.0
"""Of which the twin check may take one; the rest is for two busy cores."""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with running(tmp_path_factory.mktemp("twin")) as net:
        yield net


def test_a_clean_restart_votes_again_within_a_second_or_two(net: Net) -> None:
    asks(net.homes[0], "wallet", "send", "--from", "dev0", "--to", "dev1", "--amount", "1")
    home = net.homes[2]
    assert net.end(home) < 3
    net.start(home)
    answered = time.monotonic()
    until(lambda: votes(home), "it votes again", DUTY_S)
    print(f"votes {time.monotonic() - answered:.2f} s after it answered")


def test_the_second_node_with_a_key_does_not_vote_and_says_why(net: Net) -> None:
    with load(net.homes, wallet_keys(net.homes[0])) as sending:
        until(lambda: sending.final > 50, "transfers become final")
        twin = _twin_of(net, net.homes[1])
        net.start(twin)
        until(lambda: SAYS in status(twin).not_voting_because, "the twin says why it does not vote")
        assert not status(twin).voting
        # The true one still votes, and its lane goes on beside a link that shows the same key.
        through = len(sending.followers[1].reported)
        accepted = len(sending.senders[1].accepted)
        until(lambda: len(sending.senders[1].accepted) > accepted + 60, "its node still takes transfers", 10)
        until(lambda: len(sending.followers[1].reported) > through + 100, "transfers become final", 10)
        assert all(votes(home) for home in net.homes)
        sending.stop_sending()
        height = net.wait_level()
        ours = set(sending.senders[1].accepted)
        assert ours <= sending.reported().keys(), "what the true node accepted is final"
    until(lambda: status(twin).height >= height, "the twin follows to the tip")
    same_chain([*net.homes, twin], height)
    net.end(twin, *net.homes)
    assert signed_places(twin) == {}
    assert_nothing_signed_twice(net.homes)


def _twin_of(net: Net, home: Path) -> Path:
    """Make a home with the validator key of `home` and a node key of its own."""
    twin = home.parent / "twin"
    passphrase = home.parent / "twin.passphrase"
    shutil.copy(home / PASSPHRASE_FILE, passphrase)
    invite = asks(net.homes[0], "invite")["invite"]
    asks(twin, "join", invite, "--passphrase-file", str(passphrase), "--port", str(free_ports(1)[0]))
    Home(twin).validator_key.unlink()
    shutil.copy(Home(home).validator_key, Home(twin).validator_key)
    return twin
