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


def test_of_two_that_start_together_at_most_one_votes_and_no_place_is_signed_twice(net: Net) -> None:
    home = net.homes[3]
    net.start(*net.homes[:3])
    twin = _twin_of(net, home, "second")
    remembered = signed_places(home)
    shutil.rmtree(twin / "data", ignore_errors=True)
    shutil.copytree(home / "data", twin / "data")
    # Both remember the same: only that the other lives can keep one of them silent.
    net.start(home, twin)
    both = (home, twin)
    until(lambda: any(SAYS in status(each).not_voting_because for each in both), "one says why it waits", 10)
    assert not all(votes(each) for each in both)
    net.end(twin)
    if signed_places(twin).keys() == remembered.keys():
        until(lambda: votes(home), "the one that is left votes by itself", 30)
    net.end(*net.homes)
    for place in signed_places(home).keys() & signed_places(twin).keys():
        assert signed_places(home)[place] == signed_places(twin)[place], f"both signed at {place}"
    assert_nothing_signed_twice([*net.homes, twin])


def _twin_of(net: Net, home: Path, name: str = "twin") -> Path:
    """Make a home with the validator key of `home` and a node key of its own."""
    twin = home.parent / name
    passphrase = home.parent / f"{name}.passphrase"
    shutil.copy(home / PASSPHRASE_FILE, passphrase)
    invite = asks(net.homes[0], "invite")["invite"]
    asks(twin, "join", invite, "--passphrase-file", str(passphrase), "--port", str(free_ports(1)[0]))
    Home(twin).validator_key.unlink()
    shutil.copy(Home(home).validator_key, Home(twin).validator_key)
    return twin
