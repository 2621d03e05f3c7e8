"""kill -9 under load: the others go on, who was killed comes back and votes, and nothing final is lost."""

import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.daemons.fleet import Net, blocks, running, same_chain, status, until, wallet_keys
from tests.daemons.journals import (
    assert_nothing_signed_twice,
    heights_precommitted,
)
from tests.daemons.load import Load, load

pytestmark = pytest.mark.daemons

SEED = random.SystemRandom().randrange(1 << 32)
BACK_S = 12.0
"""From `start` to voting at the tip again, on two cores that four daemons and a load share."""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with running(tmp_path_factory.mktemp("kill")) as net:
        yield net


def goes_on(load: Load, more: int = 40) -> None:
    before = load.final
    until(lambda: load.final >= before + more, f"{more} more transfers become final")


def assert_nothing_final_is_missing(net: Net, load: Load) -> int:
    """Every node has every transfer that any reported, in the height reported, once, in equal blocks."""
    height = net.wait_level()
    chain = same_chain(net.homes, height)
    placed = [(digest, block.height) for block in chain for digest in block.transactions]
    found = dict(placed)
    assert len(found) == len(placed), "a transfer is in two blocks"
    for digest, reported in load.reported().items():
        assert found.get(digest) == reported, f"{digest.hex()} was final in {reported}: {found.get(digest)}"
    return height


def test_any_one_is_killed_under_load_and_comes_back_to_vote(net: Net) -> None:
    moment = random.Random(SEED)
    returned: dict[Path, int] = {}
    with load(net.homes, wallet_keys(net.homes[0])) as running_load:
        goes_on(running_load)
        for victim in moment.sample(net.homes, 4):
            time.sleep(moment.uniform(0.0, 0.5))
            net.kill(victim)
            goes_on(running_load)
            net.start(victim)
            began = time.monotonic()
            net.wait_voting(victim, within_s=BACK_S)
            returned[victim] = status(victim).height
            until(partial(all_four_precommitted, net, returned[victim]), f"all four precommit (seed {SEED})")
            print(f"{victim.name} votes {time.monotonic() - began:.2f} s after it answered")
        running_load.stop_sending()
        assert_nothing_final_is_missing(net, running_load)
    assert net.end() < 8
    assert_nothing_signed_twice(net.homes)
    for victim, tip in returned.items():
        assert any(height > tip for height in heights_precommitted(victim)), victim.name


def all_four_precommitted(net: Net, tip: int) -> bool:
    """Whether one of the last blocks above `tip` has every validator's precommit: undoing it takes three."""
    last = min(status(home).height for home in net.homes)
    return any(b.strength.tolerated_power == 2 for b in blocks(net.homes[0], last, max(tip + 1, last - 10)))


def test_all_four_are_killed_at_once_and_nothing_final_is_lost(net: Net) -> None:
    net.start(*(home for home in net.homes if not net.runs(home)))
    net.wait_voting()
    moment = random.Random(SEED + 1)
    with load(net.homes, wallet_keys(net.homes[0])) as running_load:
        goes_on(running_load)
        time.sleep(moment.uniform(0.0, 0.5))
        net.kill()
        net.start()
        net.wait_voting(within_s=BACK_S)
        goes_on(running_load)
        running_load.stop_sending()
        assert_nothing_final_is_missing(net, running_load)
    net.end()
    assert_nothing_signed_twice(net.homes)
