"""The control socket, real over a real unix socket; behind it a node that can be held still."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from prsm_node.control.client import Client, NoDaemon
from prsm_node.control.following import FOLLOWER_BLOCKS_MAX
from prsm_node.control.methods import handlers
from prsm_node.control.protocol import MESSAGE_BYTES_MAX, SOCKET_NAME, ControlError, Kind, framed, short_path
from prsm_node.control.server import CONNECTIONS_MAX, Handlers, Method, serve
from prsm_node.control.views import BlockView, FinalBlock, StatusView
from prsm_node.errors import OperatorError
from prsm_node.ledger.transactions import Transfer, unsigned_bytes, with_signature
from tests.control.pretend_node import PretendNode

ALICE = b"\x01" + b"a" * 32
BOB = b"\x01" + b"b" * 32


def transfer(nonce: int) -> bytes:
    return with_signature(unsigned_bytes(ALICE, nonce, 1_000, (Transfer(BOB, 5),)), bytes(64))


@asynccontextmanager
async def served(home: Path, table: Handlers) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, home / SOCKET_NAME, table)
        yield
        nursery.cancel_scope.cancel()


async def in_thread(work: Callable[[], Any]) -> Any:
    return await trio.to_thread.run_sync(work)


def received_until_closed(link: socket.socket) -> bytes:
    received = b""
    while piece := link.recv(1 << 16):
        received += piece
    return received


async def test_a_client_reads_the_status(tmp_path: Path) -> None:
    async with served(tmp_path, handlers(PretendNode())):
        status = await in_thread(lambda: Client(tmp_path).ask("status", StatusView))
        assert status.node_id == "12D3KooWPretended"
        assert (tmp_path / SOCKET_NAME).stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / SOCKET_NAME).exists(), "the socket file goes with the server"


async def test_without_a_daemon_one_sentence_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(
        NoDaemon, match=r"no daemon answers at .*core\.sock; start one with: prsm-node --home"
    ):
        Client(tmp_path)


async def test_a_socket_that_can_not_be_made_is_the_operators_to_put_right(tmp_path: Path) -> None:
    with pytest.RaisesGroup(OperatorError, flatten_subgroups=True) as told:
        async with served(tmp_path / "none", handlers(PretendNode())):
            raise AssertionError("it was made")
    assert "no socket can be made at" in str(told.value.exceptions[0])


async def test_a_home_with_a_long_path_works(tmp_path: Path) -> None:
    home = tmp_path / ("h" * 120)
    home.mkdir()
    async with served(home, handlers(PretendNode())):
        status = await in_thread(lambda: Client(home).ask("status", StatusView))
        assert status.height == 0


async def test_a_submitted_transfer_is_told_final_with_its_strength(tmp_path: Path) -> None:
    def send() -> list[tuple[Kind, Any]]:
        with Client(tmp_path) as client:
            stream = client.stream("submit_and_wait", transaction=transfer(0), timeout_s=5.0)
            return [(kind, msgspec.msgpack.decode(payload)) for kind, payload in stream]

    async with served(tmp_path, handlers(PretendNode())):
        (admitted_kind, admitted), (settled_kind, settled) = await in_thread(send)
    assert (admitted_kind, settled_kind) == (Kind.EVENT, Kind.RESULT)
    assert admitted == {"state": "admitted", "tx": sha256(transfer(0)).digest()}
    assert settled["height"] == 1
    assert settled["outcome"] == "executed"
    assert settled["strength"] == {"tolerated_power": 2, "total_power": 4}


async def test_a_transfer_that_stays_pending_is_reported_after_its_timeout(tmp_path: Path) -> None:
    node = PretendNode()
    node.holds_back = True
    async with served(tmp_path, handlers(node)):
        with pytest.raises(ControlError, match=r"admitted but is not final after 0\.05 s"):
            await in_thread(
                lambda: Client(tmp_path).ask("submit_and_wait", dict, transaction=transfer(0), timeout_s=0.05)
            )


async def test_a_refused_transfer_names_the_reason(tmp_path: Path) -> None:
    async with served(tmp_path, handlers(PretendNode())):
        with pytest.raises(ControlError, match="does not begin with an Ed25519 sender") as refusal:
            await in_thread(lambda: Client(tmp_path).ask("submit_and_wait", dict, transaction=b"junk"))
    assert refusal.value.code == "refused"


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("block", {"height": 9}, "not_found"),
        ("block", {"height": -1}, "bad_params"),
        ("block", {"height": 1, "other": 2}, "bad_params"),
        ("tx", {"hash": b"short"}, "bad_params"),
        ("tx", {"hash": bytes(32)}, "not_found"),
        ("submit", {"transactions": []}, "bad_params"),
        ("reboot", {}, "unknown_method"),
    ],
)
async def test_a_wrong_request_is_answered_by_name(
    tmp_path: Path, method: str, params: dict[str, Any], code: str
) -> None:
    async with served(tmp_path, handlers(PretendNode())):
        with pytest.raises(ControlError) as refusal:
            await in_thread(lambda: Client(tmp_path).ask(method, dict, **params))
    assert refusal.value.code == code


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        (MESSAGE_BYTES_MAX + 1).to_bytes(4, "big"),
        b"\xff\xff\xff\xff" + bytes(1 << 16),
        (3).to_bytes(4, "big") + b"\xc1\xc1\xc1",
        framed([1, "status"]),
        framed({"id": 1}),
        framed([-1, "status", {}]),
        framed([1, "s" * 65, {}]),
    ],
)
async def test_garbage_is_answered_by_a_named_error_and_harms_nobody(tmp_path: Path, garbage: bytes) -> None:
    def throw() -> bytes:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(5)
            with short_path(tmp_path / SOCKET_NAME) as address:
                link.connect(address)
            link.sendall(garbage)
            try:
                return received_until_closed(link)
            except ConnectionResetError:
                return b"malformed"

    async with served(tmp_path, handlers(PretendNode())):
        assert b"malformed" in await in_thread(throw)
        assert (await in_thread(lambda: Client(tmp_path).ask("status", StatusView))).validators == 4


async def test_requests_overlap_on_one_connection(tmp_path: Path) -> None:
    class Nothing(msgspec.Struct):
        pass

    gate = trio.Event()

    async def slow(_: Nothing, emit: object) -> str:
        await gate.wait()
        return "slow"

    async def quick(_: Nothing, emit: object) -> str:
        gate.set()
        return "quick"

    table = {"slow": Method(Nothing, slow), "quick": Method(Nothing, quick)}
    async with served(tmp_path, table), await trio.open_unix_socket(str(tmp_path / SOCKET_NAME)) as stream:
        await stream.send_all(framed([1, "slow", {}]) + framed([2, "quick", {}]))
        received = b""
        with trio.fail_after(5):
            while b"slow" not in received or b"quick" not in received:
                received += await stream.receive_some()


async def test_a_failing_method_is_an_error_to_its_client_only(tmp_path: Path) -> None:
    node = PretendNode()

    def broken() -> StatusView:
        raise KeyError("a bug")

    node.status = broken  # type: ignore[method-assign]
    async with served(tmp_path, handlers(node)):
        with pytest.raises(ControlError, match="the daemon's log says why") as refusal:
            await in_thread(lambda: Client(tmp_path).ask("status", StatusView))
        assert refusal.value.code == "internal"
        assert (await in_thread(lambda: Client(tmp_path).ask("invite", str))).startswith("prsm-invite-1")


async def test_a_broken_invariant_ends_the_server(tmp_path: Path) -> None:
    node = PretendNode()

    def broken() -> StatusView:
        raise AssertionError("supply: 3 exist, 2 should")

    node.status = broken  # type: ignore[method-assign]
    with pytest.RaisesGroup(AssertionError, flatten_subgroups=True):
        async with served(tmp_path, handlers(node)):
            with pytest.raises(NoDaemon):
                await in_thread(lambda: Client(tmp_path).ask("status", StatusView))


async def test_a_reader_that_takes_nothing_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prsm_node.control.server.WRITE_S", 0.2)
    node = PretendNode()
    node.make_final([transfer(nonce) for nonce in range(3_000)])
    path = str(tmp_path / SOCKET_NAME)
    async with served(tmp_path, handlers(node)), await trio.open_unix_socket(path) as stream:
        asks = b"".join(framed([i, "block", {"height": 1}]) for i in range(64))
        await stream.send_all(asks)
        await trio.sleep(0.5)
        received = 0
        with trio.fail_after(5):
            try:
                while piece := await stream.receive_some(1 << 20):
                    received += len(piece)
            except trio.BrokenResourceError:
                pass
        assert received < 64 * 3_000 * 32, "it was dropped before all was written"


async def test_a_follower_sees_each_block_and_one_too_slow_is_told_what_it_missed(tmp_path: Path) -> None:
    node = PretendNode()

    def follow() -> tuple[list[int], str]:
        heights: list[int] = []
        try:
            for _, payload in Client(tmp_path).stream("follow"):
                heights.append(msgspec.msgpack.decode(payload, type=FinalBlock).height)
        except ControlError as error:
            return heights, error.code
        raise AssertionError("follow has no result")

    async with served(tmp_path, handlers(node)), trio.open_nursery() as nursery:
        seen: list[tuple[list[int], str]] = []

        async def follower() -> None:
            seen.append(await in_thread(follow))

        nursery.start_soon(follower)
        await node.followed.wait()
        for nonce in range(5):
            node.make_final([transfer(nonce)])
        await trio.sleep(0.05)
        for nonce in range(FOLLOWER_BLOCKS_MAX + 3):  # no checkpoint in between: nothing can be written
            node.make_final([transfer(nonce)])
    ((heights, code),) = seen
    assert heights[:5] == [1, 2, 3, 4, 5]
    assert code == "too_slow"


async def test_one_connection_too_many_is_told_so(tmp_path: Path) -> None:
    async with served(tmp_path, handlers(PretendNode())):
        clients = await in_thread(lambda: [Client(tmp_path) for _ in range(CONNECTIONS_MAX)])
        await in_thread(lambda: [client.ask("status", StatusView) for client in clients])
        with pytest.raises(ControlError, match=f"at most {CONNECTIONS_MAX} connections"):
            await in_thread(lambda: Client(tmp_path).ask("status", StatusView))
        clients[0].close()
        await trio.sleep(0.05)
        assert (await in_thread(lambda: Client(tmp_path).ask("status", StatusView))).peers == 1


async def test_a_large_block_is_shown_whole(tmp_path: Path) -> None:
    node = PretendNode()
    node.make_final([transfer(nonce) for nonce in range(20_000)])
    async with served(tmp_path, handlers(node)):
        block = await in_thread(lambda: Client(tmp_path).ask("block", BlockView, height=1))
    assert len(block.transactions) == 20_000
