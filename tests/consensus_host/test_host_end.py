"""What ends a replica ends the daemon, whoever met it, and nothing is asked of the replica after it."""

from pathlib import Path
from typing import Any, cast

import pytest

from consensus.certificates import Certificate, CheckedCertificate
from consensus.effects import Effect, Halt
from consensus.inputs import Input, Started
from consensus.votes import VoteKind
from prsm_node.consensus_host.host import ConsensusHost, Halted


class HaltingReplica:
    """Meets a second decision at once."""

    def __init__(self, proof: tuple[CheckedCertificate, ...] = ()) -> None:
        self.steps = 0
        self._proof = proof

    def step(self, happened: Input, now_ms: int) -> list[Effect]:
        self.steps += 1
        return [Halt("two blocks are certified at height 7", self._proof)]


def host_of(replica: HaltingReplica, export: Any = None) -> ConsensusHost:
    unused = cast(Any, None)
    return ConsensusHost(
        **dict.fromkeys(ConsensusHost.__init__.__annotations__.keys() - {"return"}, unused)
        | {"replica": cast(Any, replica), "now_ms": lambda: 0, "export": export}
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


async def test_the_two_certificates_of_a_fork_are_exported_before_the_end(tmp_path: Path) -> None:
    a, b = (Certificate(VoteKind.PRECOMMIT, 7, 0, value * 32, ()) for value in (b"a", b"b"))
    exported: list[tuple[Certificate, ...]] = []

    def export(proof: tuple[Certificate, ...]) -> Path:
        exported.append(proof)
        return tmp_path / "fork-at-7.json"

    replica = HaltingReplica((CheckedCertificate(a), CheckedCertificate(b)))
    host = host_of(replica, export)
    with pytest.raises(Halted, match=r"the proof is in .*fork-at-7\.json"):
        host.feed(Started())
    assert exported == [(a, b)]
