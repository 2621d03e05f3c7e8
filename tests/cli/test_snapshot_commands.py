"""Snapshots by hand: listed, exported to a file, imported into an empty home by what it trusts."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from consensus.blocks import block_digest
from prsm_node import genesis as genesis_file
from prsm_node import trusted_block
from prsm_node.cli.app import run
from prsm_node.config import Config
from prsm_node.config_file import render
from prsm_node.consensus_host.chain_mark import MARK, decode_mark
from prsm_node.home import Home
from prsm_node.storage import restoring
from prsm_node.trusted_block import TrustedBlock
from tests.storage.made_chain import address
from tests.sync.certified_chain import CertifiedChain, snapshot_at

ACCOUNTS = 4_200  # two groups
Ask = Callable[..., Any]


@pytest.fixture
def chain() -> CertifiedChain:
    return CertifiedChain(ACCOUNTS)


def a_home(path: Path, chain: CertifiedChain) -> Home:
    home = Home(path)
    path.mkdir()
    home.keys.mkdir()
    home.config.write_text(render(Config()))
    genesis_file.save(chain.genesis, home.genesis)
    return home


@pytest.fixture
def serving(tmp_path: Path, chain: CertifiedChain) -> Home:
    """A home with a snapshot of height 4."""
    home = a_home(tmp_path / "serving", chain)
    trio.run(snapshot_at, chain, home.path / "data", 4)
    return home


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    def told(home: Home, *arguments: str, code: int = 0) -> Any:
        assert run(["--home", str(home.path), *arguments, "--json"]) == code
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return json.loads(said.out) if code == 0 else said.err.strip()

    return told


def test_an_exported_snapshot_is_imported_and_is_the_state(
    tmp_path: Path, chain: CertifiedChain, serving: Home, ask: Ask
) -> None:
    (shown,) = ask(serving, "snapshot", "list")["snapshots"]
    assert (shown["height"], shown["accounts"] > ACCOUNTS) == (4, True)
    file = tmp_path / "snapshot"
    exported = ask(serving, "snapshot", "export", str(file))
    assert exported["bytes"] == file.stat().st_size
    assert exported["certified_by"] == {"height": 6, "hash": block_digest(chain.headers[6]).hex()}

    empty = a_home(tmp_path / "empty", chain)
    imported = ask(empty, "snapshot", "import", str(file))
    assert (imported["height"], imported["state_root"]) == (4, shown["state_root"])
    state = chain.open(empty.state)
    assert (state.height, state.first_block) == (4, 5)
    assert state.account(address(ACCOUNTS - 1)) is not None
    mark = state.meta(MARK)
    assert mark is not None
    assert decode_mark(mark).digest == block_digest(chain.headers[4])
    state.close()
    assert ask(empty, "snapshot", "list")["snapshots"][0]["height"] == 4, "and can be passed on"

    assert "has a chain already" in ask(empty, "snapshot", "import", str(file), code=1)
    assert "exists already" in ask(serving, "snapshot", "export", str(file), code=1)
    assert "of height 9" in ask(serving, "snapshot", "export", str(tmp_path / "9"), "--height", "9", code=1)


def test_an_import_that_was_killed_before_the_state_was_made_is_done_again(
    tmp_path: Path, chain: CertifiedChain, serving: Home, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "snapshot"
    ask(serving, "snapshot", "export", str(file))
    empty = a_home(tmp_path / "empty", chain)

    class Killed(BaseException):
        pass

    def killed(*arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(restoring, "restore", killed)
        with pytest.raises(Killed):
            run(["--home", str(empty.path), "snapshot", "import", str(file)])
    assert ask(empty, "snapshot", "import", str(file))["height"] == 4
    assert [path.name for path in empty.snapshots.iterdir()] == ["000000000004"]


@pytest.mark.parametrize("at", [0, 12, 300, 100_000, -1])
def test_a_damaged_file_is_refused_and_leaves_no_chain(
    tmp_path: Path, chain: CertifiedChain, serving: Home, ask: Ask, at: int
) -> None:
    file = tmp_path / "snapshot"
    ask(serving, "snapshot", "export", str(file))
    content = bytearray(file.read_bytes())
    content[at] ^= 0x11
    file.write_bytes(content)
    empty = a_home(tmp_path / "empty", chain)
    assert str(file) in ask(empty, "snapshot", "import", str(file), code=1)
    assert not empty.state.exists()
    assert not empty.snapshots.exists() or list(empty.snapshots.iterdir()) == []


def test_a_file_cut_off_or_too_long_is_refused(
    tmp_path: Path, chain: CertifiedChain, serving: Home, ask: Ask
) -> None:
    file = tmp_path / "snapshot"
    size = ask(serving, "snapshot", "export", str(file))["bytes"]
    empty = a_home(tmp_path / "empty", chain)
    with file.open("ab") as more:
        more.write(b"x")
    assert "goes on after its last group" in ask(empty, "snapshot", "import", str(file), code=1)
    for length in (size - 1, size // 2, 200, 16, 3, 0):
        os.truncate(file, length)
        assert str(file) in ask(empty, "snapshot", "import", str(file), code=1)
    assert "can't be read" in ask(empty, "snapshot", "import", str(tmp_path / "none"), code=1)
    assert not empty.state.exists()


def test_what_a_home_trusts_decides_and_trust_can_be_named(
    tmp_path: Path, chain: CertifiedChain, serving: Home, ask: Ask
) -> None:
    file = tmp_path / "snapshot"
    ask(serving, "snapshot", "export", str(file))
    other = a_home(tmp_path / "other", CertifiedChain(ACCOUNTS, name="other"))
    assert "not proven" in ask(other, "snapshot", "import", str(file), code=1)

    home = a_home(tmp_path / "home", chain)
    now_ms = 4 * 10**12
    trusted_block.save(TrustedBlock(2, block_digest(chain.headers[2]), now_ms), home.trusted_block)
    sentence = ask(home, "snapshot", "import", str(file), code=1)
    assert "is not at hand" in sentence
    assert "--trust a block 4 to 6" in sentence
    wrong = ask(home, "snapshot", "import", str(file), "--trust", f"6:{'00' * 32}", code=1)
    assert "another block at height 6" in wrong
    assert "write HEIGHT:HASH" in ask(home, "snapshot", "import", str(file), "--trust", "6", code=1)
    named = f"6:{block_digest(chain.headers[6]).hex()}"
    assert ask(home, "snapshot", "import", str(file), "--trust", named)["height"] == 4


def test_without_a_snapshot_the_sentence_says_when_one_is_taken(
    tmp_path: Path, chain: CertifiedChain, ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    home = a_home(tmp_path / "home", chain)
    assert ask(home, "snapshot", "list") == {"snapshots": []}
    told = ask(home, "snapshot", "export", str(tmp_path / "x"), code=1)
    assert "takes one each 10,000 blocks; for one sooner, lower storage.snapshot_blocks" in told
    home.config.write_text("[storage]\nsnapshot_blocks = 0\n")
    assert run(["--home", str(home.path), "snapshot", "list"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert f"takes none; set storage.snapshot_blocks in {home.config}" in said.err
