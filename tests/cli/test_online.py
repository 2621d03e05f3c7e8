"""Commands that ask a running node, over a real socket; behind it a node that can be held still."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from prsm_node.cli import home_making
from prsm_node.cli.app import run
from prsm_node.control.methods import handlers
from prsm_node.control.server import serve
from prsm_node.home import Home
from prsm_node.identity import wallets
from prsm_node.identity.addresses import account_text, validator_text
from prsm_node.observability.logs import text_line
from tests.control.pretend_node import GENESIS, KEY, PretendNode


class Served:
    """A home with a node behind its socket, served by a thread."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.node = PretendNode()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._run,))

    def __enter__(self) -> "Served":
        self._thread.start()
        assert self._ready.wait(5), "the server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._token.run_sync_soon(self._scope.cancel)
        self._thread.join()

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            await nursery.start(serve, self.home.socket, handlers(self.node))
            self._ready.set()

    def asks(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
        """Run a command with --json and return its object."""
        code = run(["--home", str(self.home.path), *arguments, "--json"])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        assert captured.out.count("\n") == 1, "one object on one line"
        return json.loads(captured.out)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    place = tmp_path_factory.mktemp("online") / "node0"
    return home_making.local_network([place], "testnet", accounts=2).homes[0]


@pytest.fixture
def served(made: Home) -> Iterator[Served]:
    with Served(made) as running:
        yield running


def test_status_has_the_keys_that_scripts_rely_on(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    status = served.asks(capsys, "status")
    promised = "node_id network version height block_hash state_root last_block_time peers validators voting"
    assert {*promised.split(), "syncing", "mempool", "finality_ms"} <= status.keys()
    assert status["network"] == GENESIS.hex()
    assert status["finality_ms"] == {"p50": None, "p99": None}
    assert status["last_block_time"] is None


def test_evidence_says_who_did_what_and_what_came_of_it(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = served.asks(capsys, "evidence")
    (proven,) = shown["evidence"]
    assert proven["key"] == validator_text(KEY)
    assert (proven["kind"], proven["height"], proven["round"]) == ("prevote", 5, 0)
    assert (proven["committed"], proven["block"], proven["jailed"]) == (True, 7, True)
    assert shown["forks"] == [{"height": 4, "proof": "fork-at-4.json", "guilty": [validator_text(KEY)]}]


def test_a_payment_is_final_when_the_command_ends(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    sent = served.asks(capsys, "wallet", "send", "--from", "dev0", "--to", "dev1", "--amount", "1.5")
    assert sent.keys() == {"tx", "height", "block_hash", "latency_ms", "strength"}
    assert sent["strength"] == {"tolerated_power": 2, "total_power": 4}

    block = served.asks(capsys, "block", str(sent["height"]))
    assert block["hash"] == sent["block_hash"]
    assert block["transactions"] == [sent["tx"]]
    assert block["proposer"] == validator_text(KEY)
    assert block["time"] == "2023-11-14T22:13:20.001Z"
    assert block.keys() == {
        "height", "hash", "state_root", "proposer", "round", "time", "transactions", "strength"
    }  # fmt: skip

    shown = served.asks(capsys, "tx", sent["tx"])
    dev0, dev1 = (account_text(wallets.account(served.home, name)) for name in ("dev0", "dev1"))
    assert (shown["state"], shown["outcome"], shown["sender"]) == ("final", "executed", dev0)
    assert shown["transfers"] == [{"to": dev1, "amount": "1500000000"}]

    assert served.asks(capsys, "account", dev0)["nonce"] == 1
    assert served.asks(capsys, "account", "dev0")["address"] == dev0, "a wallet of this home by its name"
    assert served.asks(capsys, "wallet", "balance", "dev0")["balance"] == "5000000000"
    history = served.asks(capsys, "wallet", "history", "dev0")["history"]
    assert [entry["tx"] for entry in history] == [sent["tx"]]
    assert run(["--home", str(served.home.path), "wallet", "history", "dev0"]) == 0
    assert "-0.000001 FTNS" in capsys.readouterr().out, "the fee, which the balance misses too"


def test_a_payment_that_is_not_covered_is_not_sent(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    home = str(served.home.path)
    assert run(["--home", home, "wallet", "send", "--from", "dev0", "--to", "dev1", "--amount", "6"]) == 1
    assert "dev0 holds 5 FTNS; 6.000001 FTNS are needed" in capsys.readouterr().err
    assert served.node.blocks == []


def test_nothing_is_sent_to_an_address_that_anyone_can_spend_from(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    burnt = account_text(b"\x01" + bytes(32))
    payment = ["wallet", "send", "--from", "dev0", "--to", burnt, "--amount", "1"]
    assert run(["--home", str(served.home.path), *payment]) == 1
    assert f"{burnt} is nobody's: anyone can sign for it" in capsys.readouterr().err


def test_a_fee_below_the_least_is_refused_with_the_least(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    payment = ["wallet", "send", "--from", "dev0", "--to", "dev1", "--amount", "1", "--fee", "0"]
    assert run(["--home", str(served.home.path), *payment]) == 1
    assert "a fee of 0 FTNS is too low; the least is " in capsys.readouterr().err


def test_a_payment_that_stays_pending_ends_with_code_1(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    served.node.holds_back = True
    send = ["wallet", "send", "--from", "dev0", "--to", "dev1", "--amount", "1", "--timeout", "0.1"]
    assert run(["--home", str(served.home.path), *send, "--json"]) == 1
    shown = capsys.readouterr()
    told, pending = shown.err, json.loads(shown.out)
    assert pending["height"] is None
    assert f" tx {pending['tx']}" in told
    assert "was admitted but is not final after 0.1 s" in told
    assert "it may be paid yet, so look before you send again: " in told


def test_bans_are_listed_and_lifted(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    (ban,) = served.asks(capsys, "peers", "--banned")["banned"]
    assert ban["who"] == "203.0.113.7"
    assert (ban["why"], ban["until"], ban["offences"]) == (
        "4 nodes banned there",
        "2023-11-14T22:14:20.000Z",
        1,
    )
    assert served.asks(capsys, "peers", "--unban", "203.0.113.7") == {"unbanned": "203.0.113.7"}
    assert served.asks(capsys, "peers", "--banned") == {"banned": []}
    home = ["--home", str(served.home.path)]
    assert run([*home, "peers", "--unban", "203.0.113.7"]) == 1
    assert "is not banned; `peers --banned` lists who is" in capsys.readouterr().err
    assert run([*home, "peers", "--unban", "x", "--banned"]) == 2
    assert run([*home, "peers", "--unban", ""]) == 2
    assert "--unban is empty; name who may link again" in capsys.readouterr().err
    assert run([*home, "peers", "--unban", "x" * 300]) == 2
    assert "--unban has 300 characters" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "peers",
        "peers --banned",
        "validators",
        "evidence",
        "block 1",
        "wallet history dev0",
        "invite",
    ],
)
def test_people_get_text_without_braces(
    served: Served, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    home = ["--home", str(served.home.path)]
    run([*home, "wallet", "send", "--from", "dev0", "--to", "dev1", "--amount", "1", "--memo", "\x1b[31m"])
    capsys.readouterr()
    assert run([*home, *command.split()]) == 0
    shown = capsys.readouterr().out
    assert shown
    assert not {"{", "}", "\x1b"} & set(shown)


def test_without_a_daemon_a_command_says_how_to_start_one(
    made: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--home", str(made.path), "status"]) == 1
    expected = f"no daemon answers at {made.socket}; start one with: prsm-node --home {made.path} start\n"
    assert capsys.readouterr().err == f"prsm-node: {expected}"


def test_an_account_that_is_not_there_has_no_proof(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = account_text(b"\x01" + bytes(32))
    assert run(["--home", str(served.home.path), "account", nobody, "--proof"]) == 1
    assert "there is no such account, and absence has no proof" in capsys.readouterr().err


def test_a_proof_that_no_header_certifies_in_time_is_said_to_be_late(
    served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(address: bytes) -> None:
        raise trio.TooSlowError

    monkeypatch.setattr(served.node, "account_proof", late)
    address = account_text(b"\x01" + bytes(32))
    assert run(["--home", str(served.home.path), "account", address, "--proof"]) == 1
    assert "no decided block names the root of this state yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("dev7", "there is no wallet dev7; there are dev0, dev1, or give an address, prsm1..."),
        ("prsm1qq", "has 7 characters and should have 64; copy it again"),
        (validator_text(KEY), "is a validator; an account begins with prsm1"),
    ],
)
def test_an_account_that_is_none_is_told_with_what_would_be_one(
    served: Served, capsys: pytest.CaptureFixture[str], name: str, says: str
) -> None:
    assert run(["--home", str(served.home.path), "account", name]) == 1
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("digest", ["12", "zz" * 32, ""])
def test_what_is_no_hash_is_named(served: Served, capsys: pytest.CaptureFixture[str], digest: str) -> None:
    assert run(["--home", str(served.home.path), "tx", digest]) == 1
    assert "is no hash; write its 64 hexadecimal digits" in capsys.readouterr().err


def test_the_last_lines_of_the_log_are_shown(made: Home, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    made.log.parent.mkdir(exist_ok=True)
    made.log.write_bytes(b"".join(b"line %d\n" % i for i in range(100)))
    assert run(["--home", str(made.path), "logs", "--lines", "2"]) == 0
    assert capfdbinary.readouterr().out == b"line 98\nline 99\n"


def test_each_line_of_the_log_is_an_object_for_scripts(
    made: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    written = {"time": "2026-01-31T12:00:00.250Z", "level": "warning", "room": "node", "event": "alarm"}
    event = {"event": "a fork was met", "why": "two = 2\nblocks", "height": 7}
    line = text_line(written["time"], "error", "consensus", event, colours=False)
    made.log.parent.mkdir(exist_ok=True)
    made.log.write_text(f"{json.dumps(written)}\n{line}    of a traceback\nnot ended yet")
    assert run(["--home", str(made.path), "logs", "--json"]) == 0
    as_json, as_text, other = map(json.loads, capsys.readouterr().out.splitlines())
    assert as_json == written
    assert as_text == {
        "time": "2026-01-31T12:00:00.250Z",
        "level": "error",
        "room": "consensus",
        "event": "a fork was met",
        "fields": "why='two = 2\\nblocks' height=7",
    }
    assert other == {"text": "    of a traceback"}


def test_a_home_without_a_log_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", str(tmp_path), "logs"]) == 1
    assert "there is no log at" in capsys.readouterr().err
