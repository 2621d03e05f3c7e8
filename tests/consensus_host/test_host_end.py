"""What ends a replica ends the daemon, whoever met it, and nothing is asked of the replica after it."""

from typing import Any, cast

import pytest

from consensus.effects import Effect, Halt
from consensus.inputs import Input, Started
from prsm_node.consensus_host.host import ConsensusHost, Halted


class HaltingReplica:
    """Meets a second decision at once."""

    def __init__(self) -> None:
        self.steps = 0

    def step(self, happened: Input, now_ms: int) -> list[Effect]:
        self.steps += 1
        return [Halt("two blocks are certified at height 7")]


def host_of(replica: HaltingReplica) -> ConsensusHost:
    unused = cast(Any, None)
    return ConsensusHost(
        **dict.fromkeys(ConsensusHost.__init__.__annotations__.keys() - {"return"}, unused)
        | {"replica": cast(Any, replica), "now_ms": lambda: 0}
    )


async def test_a_second_decision_met_in_a_links_handler_still_ends_the_daemon() -> None:
    replica = HaltingReplica()
    host = host_of(replica)
    with pytest.raises(Halted):
        host.feed(Started())  # a link takes what its handlers raise for the peer's fault, and goes on
    host.feed(Started())
    assert replica.steps == 1, "nothing is signed after the end"
    with pytest.raises(Halted, match=r"two blocks are certified at height 7; .*stopped"):
        await host.run()
