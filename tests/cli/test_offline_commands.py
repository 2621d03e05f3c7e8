"""Claims about the commands that need no running node."""

import socket
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from prsm_node import config_file
from prsm_node import genesis as genesis_file
from prsm_node.cli import app
from prsm_node.home import Home
from prsm_node.identity import keystore, passphrases, wallets
from prsm_node.identity.addresses import account_text, parse_validator
from prsm_node.identity.keystore import KeyKind
from prsm_node.identity.peer_ids import peer_id

PASSPHRASE = "correct horse battery"


class Keyboard:
    """Types commands and reads what comes back."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def json(self, *arguments: object) -> Any:
        assert app.run([*map(str, arguments), "--json"]) == 0, self._capsys.readouterr().err
        out = self._capsys.readouterr().out
        assert out.count("\n") == 1
        return msgspec.json.decode(out)

    def text(self, *arguments: object) -> str:
        assert app.run([*map(str, arguments)]) == 0, self._capsys.readouterr().err
        return self._capsys.readouterr().out

    def refusal(self, *arguments: object) -> str:
        assert app.run([*map(str, arguments)]) == 1
        told = self._capsys.readouterr()
        assert told.out == ""
        assert told.err.count("\n") == 1
        assert told.err.startswith("prsm-node: ")
        return told.err


@pytest.fixture
def keyboard(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Keyboard:
    monkeypatch.setenv("PRSM_PASSPHRASE", PASSPHRASE)
    monkeypatch.delenv("PRSM_HOME", raising=False)
    return Keyboard(capsys)


@pytest.fixture
def home(tmp_path: Path, keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("PRSM_HOME", str(tmp_path / "home"))
    keyboard.json("init")
    return Home(tmp_path / "home")


def test_init_makes_keys_and_a_configuration(tmp_path: Path, keyboard: Keyboard) -> None:
    made = keyboard.json("--home", tmp_path / "n", "init", "--name", "alpha", "--port", 9_999)
    home = Home(tmp_path / "n")
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    passphrase = passphrases.chosen(PASSPHRASE)
    node = keystore.unlock(home.node_key, KeyKind.NODE, passphrase)
    validator = keystore.unlock(home.validator_key, KeyKind.VALIDATOR, passphrase)
    assert made["node_id"] == peer_id(node.public)
    assert parse_validator(made["validator"]) == validator.public
    config = config_file.load(home.config)
    assert (config.node.name, config.network.port) == ("alpha", 9_999)
    assert [path.name for path in tmp_path.iterdir()] == ["n"]


def test_init_leaves_what_is_there_alone(home: Home, keyboard: Keyboard) -> None:
    before = home.node_key.read_bytes()
    assert "there is a node at" in keyboard.refusal("init")
    assert home.node_key.read_bytes() == before
    (home.path.parent / "other").mkdir()
    (home.path.parent / "other" / "diary").touch()
    assert "is not an empty folder" in keyboard.refusal("--home", home.path.parent / "other", "init")


def test_init_without_a_passphrase_and_nobody_to_ask_makes_nothing(
    tmp_path: Path, keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PRSM_PASSPHRASE")
    monkeypatch.setattr("sys.stdin", None)
    assert "set PRSM_PASSPHRASE" in keyboard.refusal("--home", tmp_path / "n", "init")
    assert "range" not in keyboard.refusal("--home", tmp_path / "n", "init", "--name", "a b")
    assert list(tmp_path.iterdir()) == []


def test_init_remembers_the_passphrase_file(
    tmp_path: Path, keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PRSM_PASSPHRASE")
    file = tmp_path / "words"
    file.write_text("another passphrase\n")
    assert "chmod 600" in keyboard.refusal("--home", tmp_path / "n", "init", "--passphrase-file", file)
    file.chmod(0o600)
    keyboard.json("--home", tmp_path / "n", "init", "--passphrase-file", file)
    assert keyboard.json("--home", tmp_path / "n", "wallet", "new", "w")["name"] == "w"


def test_a_development_home_is_a_whole_network(tmp_path: Path, keyboard: Keyboard) -> None:
    made = keyboard.json("--home", tmp_path / "n", "init", "--dev")
    home = Home(tmp_path / "n")
    genesis = genesis_file.load(home.genesis)
    assert made["network"] == genesis.hash.hex()
    assert [validator.key for validator in genesis.validators] == [parse_validator(made["validator"])]
    assert made["wallet"] == account_text(wallets.address(wallets.stored(home, "dev0")))
    assert genesis.supply > 0


def test_a_development_home_takes_the_passphrase_of_the_environment(
    tmp_path: Path, keyboard: Keyboard
) -> None:
    """It goes before any file: a home that it does not open could not be started where it is set."""
    keyboard.json("--home", tmp_path / "n", "init", "--dev")
    home = Home(tmp_path / "n")
    keystore.unlock(home.validator_key, KeyKind.VALIDATOR, passphrases.chosen(PASSPHRASE))
    assert config_file.load(home.config).keystore.passphrase_file == ""


def test_testnet_new_makes_homes_that_know_each_other(
    tmp_path: Path, keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PRSM_PASSPHRASE")
    made = keyboard.json("testnet", "new", "--validators", 3, "--accounts", 2, "--out", tmp_path / "net")
    homes = [Home(Path(node["home"])) for node in made["nodes"]]
    assert [home.path for home in homes] == [tmp_path / "net" / f"node{i}" for i in range(3)]
    assert len({home.genesis.read_bytes() for home in homes}) == 1
    genesis = genesis_file.load(homes[0].genesis)
    assert made["network"] == genesis.hash.hex()
    assert {v.name: v.key for v in genesis.validators} == {
        node["name"]: parse_validator(node["validator"]) for node in made["nodes"]
    }
    for home, node in zip(homes, made["nodes"], strict=True):
        config = config_file.load(home.config)
        others = {f"{other['listen']}/p2p/{other['node_id']}" for other in made["nodes"] if other is not node}
        assert set(config.network.bootstrap) == others
        passphrase = passphrases.from_file(home.path / config.keystore.passphrase_file)
        key = keystore.unlock(home.validator_key, KeyKind.VALIDATOR, passphrase)
        assert key.public == parse_validator(node["validator"])
        with socket.socket() as probe:
            probe.bind((config.network.host, config.network.port))
    listed = keyboard.json("--home", homes[0].path, "wallet", "list")["wallets"]
    assert [(w["name"], w["address"]) for w in listed] == [(w["name"], w["address"]) for w in made["wallets"]]
    assert {account_text(a.address): str(a.balance) for a in genesis.accounts} == {
        w["address"]: w["balance"] for w in made["wallets"]
    }


def test_testnet_new_fills_an_empty_folder_only(tmp_path: Path, keyboard: Keyboard) -> None:
    keyboard.json("testnet", "new", "--validators", 1, "--out", tmp_path)
    assert "is not an empty folder" in keyboard.refusal("testnet", "new", "--out", tmp_path)


def test_a_wallet_moves_from_one_home_to_another(home: Home, tmp_path: Path, keyboard: Keyboard) -> None:
    alice = keyboard.json("wallet", "new", "alice")
    key_file = tmp_path / "alice.key"
    keyboard.json("wallet", "export", "alice", "--out", key_file)
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    keyboard.json("--home", tmp_path / "second", "init")
    assert keyboard.json("--home", tmp_path / "second", "wallet", "import", "a", key_file) == alice | {
        "name": "a"
    }
    assert keyboard.json("wallet", "list") == {"wallets": [alice]}
    assert alice["address"] in keyboard.text("wallet", "list")


def test_wallet_mistakes_are_said(
    home: Home, tmp_path: Path, keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyboard.json("wallet", "new", "alice")
    assert "there is a wallet alice already" in keyboard.refusal("wallet", "new", "alice")
    assert "there is no wallet bob; there are alice" in keyboard.refusal(
        "wallet", "export", "bob", "--out", tmp_path / "bob"
    )
    assert "there is no file" in keyboard.refusal("wallet", "import", "bob", tmp_path / "none")
    monkeypatch.setenv("PRSM_PASSPHRASE", "not the passphrase")
    assert "does not open" in keyboard.refusal("wallet", "export", "alice", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_wallets_that_can_not_be_read_are_not_said_to_be_none(home: Home, keyboard: Keyboard) -> None:
    home.wallets.rmdir()
    assert keyboard.json("wallet", "list") == {"wallets": []}
    home.wallets.write_text("in the way")
    assert "not a directory" in keyboard.refusal("wallet", "list")


def test_a_new_wallet_is_not_locked_by_a_slip_of_the_finger(
    home: Home, keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRSM_PASSPHRASE", PASSPHRASE + "x")
    assert "does not open" in keyboard.refusal("wallet", "new", "alice")
    assert keyboard.json("wallet", "list") == {"wallets": []}


def test_an_export_that_has_no_place_is_said_before_anybody_is_asked(
    home: Home, tmp_path: Path, keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyboard.json("wallet", "new", "alice")
    monkeypatch.delenv("PRSM_PASSPHRASE")
    missing = keyboard.refusal("wallet", "export", "alice", "--out", tmp_path / "none" / "key")
    assert f"there is no folder {tmp_path / 'none'}; make it, or choose another --out" in missing
    assert "is never written over" in keyboard.refusal("wallet", "export", "alice", "--out", tmp_path)


def test_testnet_up_takes_no_folder_of_other_things(tmp_path: Path, keyboard: Keyboard) -> None:
    (tmp_path / "notes").write_text("mine")
    assert "holds no testnet and is not empty" in keyboard.refusal("testnet", "up", tmp_path)


def test_config_show_says_where_each_value_comes_from(
    home: Home, keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRSM_NETWORK__PORT", "7777")
    shown = keyboard.json("config", "show")
    assert shown["network"]["port"] == {"value": 7_777, "origin": "PRSM_NETWORK__PORT"}
    assert shown["log"]["level"] == {"value": "info", "origin": "default"}
    assert "network.port" in keyboard.text("config", "show")


def test_config_validate_names_the_first_mistake(home: Home, keyboard: Keyboard) -> None:
    assert "is valid" in keyboard.text("config", "validate")
    home.config.write_text("[network]\nport = 70000\n")
    told = keyboard.refusal("config", "validate")
    assert f"network.port is 70000 ({home.config}); choose a number from 1 to 65535" in told


def test_a_command_that_needs_a_home_says_how_to_make_one(tmp_path: Path, keyboard: Keyboard) -> None:
    told = keyboard.refusal("--home", tmp_path / "none", "wallet", "list")
    assert f"make one with: prsm-node --home {tmp_path / 'none'} init" in told


def test_frame_decode_reads_hexadecimal_and_files_and_shows_why_a_frame_is_refused(
    tmp_path: Path, keyboard: Keyboard
) -> None:
    raw, typed = tmp_path / "raw", tmp_path / "typed"
    raw.write_bytes(b"\x97\x01")
    typed.write_text("9701\n")
    answers = [keyboard.json("frame", "decode", source) for source in ("9701", raw, typed)]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["rejected"]["reason"]
    assert "rejected" in keyboard.text("frame", "decode", "9701")


def test_frame_decode_refuses_what_can_be_no_source(tmp_path: Path, keyboard: Keyboard) -> None:
    assert "nor a file" in keyboard.refusal("frame", "decode", tmp_path / "none")
    assert "64 hexadecimal digits" in keyboard.refusal("frame", "decode", "9701", "--network", "12")


class TerminalInput:
    def isatty(self) -> bool:
        return True


def test_a_person_is_asked_twice_for_a_new_passphrase_and_once_for_an_old_one(
    tmp_path: Path, keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PRSM_PASSPHRASE")
    monkeypatch.setattr("sys.stdin", TerminalInput())
    typed = ["first try", "other try", "short", PASSPHRASE, PASSPHRASE, PASSPHRASE]
    asked: list[str] = []

    def getpass(question: str) -> str:
        asked.append(question)
        return typed.pop(0)

    monkeypatch.setattr("prsm_node.cli.passphrase.getpass", getpass)
    monkeypatch.setenv("PRSM_HOME", str(tmp_path / "n"))
    assert "the two passphrases differ; nothing was made" in keyboard.refusal("init")
    assert "has 5 characters" in keyboard.refusal("init")
    assert not (tmp_path / "n").exists()
    keyboard.json("init")
    keyboard.json("wallet", "new", "w")
    assert typed == []
    assert asked[-1] == "Passphrase: "


def test_a_remedy_can_be_pasted_where_the_home_has_a_space_in_its_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "a home"
    assert app.run(["--home", str(home), "status"]) == 1
    assert f"prsm-node --home '{home}' start" in capsys.readouterr().err


def test_a_start_that_is_refused_makes_no_home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    assert app.run(["--home", str(home), "start", "--port", "99999"]) == 1
    assert "network.port is 99999 (flag)" in capsys.readouterr().err
    assert not home.exists()


def test_chaos_without_end_is_refused_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["testnet", "up", "--chaos", "kill", "--for", "1e99"]) == 1
    assert "thirty days, at most" in capsys.readouterr().err
