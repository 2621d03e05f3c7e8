"""While a node fetches a snapshot, commands hear how far it is, may stop it, and are refused all else."""

from pathlib import Path

import pytest
import trio

from prsm_node.control import server
from prsm_node.control.client import Client
from prsm_node.control.protocol import ControlError
from prsm_node.control.starting import handlers
from prsm_node.control.views import StatusView
from tests.control.pretend_node import PretendNode


async def test_status_and_stop_are_answered_and_all_else_is_refused_in_a_sentence(tmp_path: Path) -> None:
    told = PretendNode().status()
    stopped: list[bool] = []

    def stop() -> bool:
        stopped.append(True)
        return True

    def asks() -> None:
        with Client(tmp_path) as client:
            assert client.ask("status", StatusView) == told
            for method in ("block", "submit", "no_such_method"):
                with pytest.raises(ControlError, match="fetching a snapshot"):
                    client.ask(method, dict, height=3)
            client.ask("stop", type(None))

    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, tmp_path / "core.sock", handlers(lambda: told, stop))
        await trio.to_thread.run_sync(asks)
        nursery.cancel_scope.cancel()
    assert stopped == [True]
