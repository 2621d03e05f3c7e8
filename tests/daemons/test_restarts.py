"""A clean end, and data that was lost: what can be made again is, and what can't be stops the voting."""

import re
import shutil
from collections.abc import Iterator
from functools import partial

import pytest

from prsm_node.home import Home
from tests.daemons.fleet import Net, fails, has_height, running, same_chain, status, until, wallet_keys
from tests.daemons.journals import assert_nothing_signed_twice
from tests.daemons.load import load

pytestmark = pytest.mark.daemons


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with running(tmp_path_factory.mktemp("restarts")) as net:
        yield net


@pytest.fixture(autouse=True)
def some_blocks(net: Net) -> None:
    """Each test begins with a chain that went on."""
    with load(net.homes, wallet_keys(net.homes[0])) as sending:
        until(lambda: sending.final > 60, "transfers become final")


def test_sigterm_under_load_ends_cleanly_and_fast_and_leaves_little_to_do_again(net: Net) -> None:
    home = net.homes[1]
    with load(net.homes, wallet_keys(net.homes[0])) as sending:
        until(lambda: sending.final > 20, "transfers become final")
        assert net.end(home) < 3
        assert not (home / "daemon.json").exists()
        assert not (home / "core.sock").exists()
        written = Home(home).log.stat().st_size
        net.start(home)
        net.wait_voting(home)
    again = re.search(r"recovered .*executed=(\d+)", Home(home).log.read_text()[written:])
    assert again is None or int(again[1]) <= 3, (
        "but for what was decided in the last moment, the state is there"
    )
    same_chain(net.homes, net.wait_level())


def test_a_lost_state_is_made_again_from_the_journal(net: Net) -> None:
    home = net.homes[3]
    height = net.wait_level()
    net.end(home)
    shutil.rmtree(Home(home).state)
    net.start(home)
    assert status(home).height >= height, "made again before the node answers, and not fetched"
    net.wait_voting(home)
    same_chain(net.homes, net.wait_level())


def test_a_lost_journal_is_said_and_never_voted_over(net: Net) -> None:
    home = net.homes[0]
    others = net.homes[1:]
    height = net.wait_level()
    net.end(home)
    shutil.rmtree(Home(home).journal)
    sentence = fails(home, "start")
    assert len(sentence.splitlines()) == 1
    assert str(Home(home).journal) in sentence
    assert str(Home(home).state) in sentence, "the remedy: without the state the node syncs anew"

    # The operator does as told. Even peers that started again know how far the key has signed.
    shutil.rmtree(Home(home).path / "data")
    net.end(*others)
    net.start(*others)
    net.start(home)
    until(lambda: "beyond what this node remembers" in status(home).not_voting_because, "it says so", 10)
    until(partial(has_height, home, height), "it syncs anew")
    with load(others, wallet_keys(net.homes[0])) as sending:
        until(lambda: sending.final > 60, "three go on without its vote")
        sending.stop_sending()
        assert not status(home).voting
    same_chain(net.homes, net.wait_level())
    net.end()
    assert_nothing_signed_twice(net.homes)
