"""Claims about the root of the command line: what it loads, how it answers mistakes, where --home counts."""

import inspect
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from prsm_node.cli import app
from prsm_node.cli.amounts import AMOUNT_MAX, ftns, parse_ftns
from prsm_node.cli.commands import COMMANDS, GROUPS
from prsm_node.errors import OperatorError
from prsm_node.ledger.transactions import SUPPLY_CAP

HEAVY = (
    "libp2p",
    "trio",
    "cryptography",
    "ed25519_zebra",
    "lmdb",
    "rich",
    "pydantic",
    "asyncio",
    "structlog",
)

LOADED = """
import sys
from prsm_node.cli.app import run
code = run(sys.argv[1:])
print("modules:", *sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""


def modules_loaded_by(*arguments: str) -> set[str]:
    command = [sys.executable, "-c", LOADED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    line = done.stderr.splitlines()[-1]
    assert line.startswith("modules:"), done.stderr
    return {name.split(".")[0] for name in line.split()}


def test_help_loads_click_and_no_command() -> None:
    loaded = modules_loaded_by("--help")
    assert not loaded & {*HEAVY, "typer", "msgspec"}
    assert "click" in loaded


@pytest.mark.parametrize("command", ["status", "validators", "stop"])
def test_a_command_that_asks_a_running_node_loads_nothing_heavy(command: str, tmp_path: Path) -> None:
    assert not modules_loaded_by("--home", str(tmp_path), command) & {*HEAVY, "typer"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_in_the_table_exists(name: str) -> None:
    module, _, function = COMMANDS[name].target.partition(":")
    assert find_spec(f"prsm_node.cli.{module}") is not None
    assert inspect.isfunction(getattr(import_module(f"prsm_node.cli.{module}"), function))


@pytest.mark.parametrize("name", [name for name, entry in COMMANDS.items() if entry.plain])
def test_a_plain_command_takes_json_and_nothing_else(name: str) -> None:
    module, _, function = COMMANDS[name].target.partition(":")
    (json,) = inspect.signature(
        getattr(import_module(f"prsm_node.cli.{module}"), function)
    ).parameters.values()
    assert (json.name, json.annotation, json.default) == ("json", bool, False)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "start"])
def test_every_command_but_the_daemon_itself_answers_in_json(name: str) -> None:
    assert any("--json" in parameter.opts for parameter in app.loaded(name).params)


def test_every_group_in_the_table_has_commands_and_the_other_way_round() -> None:
    assert {name.split()[0] for name in COMMANDS if " " in name} == set(GROUPS)


@pytest.mark.parametrize("name", ["version", "wallet", "wallet list", "testnet new"])
def test_help_of_a_command_says_what_the_table_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run([*name.split(), "--help"]) == 0
    told = capsys.readouterr().out
    assert (COMMANDS[name].help if name in COMMANDS else GROUPS[name]) in told
    assert "--home DIR" in told


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["versoin"], "there is no command versoin; did you mean version?"),
        (["xyzzy"], "there is no command xyzzy; try prsm-node --help"),
        (["wallet", "sned"], "there is no command wallet sned; did you mean wallet send?"),
        (["version", "--jsn"], "No such option '--jsn'. Did you mean '--json'?"),
        (["wallet", "new"], "Missing argument 'NAME'; see prsm-node wallet new --help"),
        (["testnet", "new", "--validators", "0"], "0 is not in the range"),
        (["testnet", "up", "--for", "-1"], "-1.0 is not in the range"),
        (["testnet", "up", "--for", "nan"], "nan is not finite"),
        (["block", str(2**64)], "is not in the range"),
        (["block", "x"], "'x' is not a whole number; see prsm-node block --help"),
        (["wallet", "history", "dev0", "--before", str(2**64)], "is not in the range"),
        (["wallet", "new", "\udcff"], "is not UTF-8 text"),
        (
            ["peers", "--unban"],
            "--unban needs WHO after it (lift a ban, by the first column of --banned); "
            "see prsm-node peers --help",
        ),
        (["init", "--port"], "--port needs a whole number after it (the TCP port to listen on); see"),
        (["status", "--home"], "--home needs DIR after it"),
        (["--home"], "--home needs DIR after it"),
        (["--home", "", "status"], "it is empty; name a folder"),
        (["bench", "sync", "--seconds", "3"], "bench sync has no use for --seconds; it takes --peers"),
        (["bench", "ledger", "--rate", "3"], "bench ledger has no use for --rate; it takes none of these"),
        (["bench"], "Choose from: primitives, ledger"),
    ],
)
def test_what_is_not_understood_is_one_sentence_and_exit_code_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert says in told.err
    assert told.err.count("\n") == 1
    assert told.err.startswith("prsm-node: ")


def test_no_command_shows_help_and_is_not_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run([]) == 2
    assert "Set up:" in capsys.readouterr().err


def test_the_rightmost_home_counts_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, c = (str(tmp_path / name) for name in "abc")
    monkeypatch.setenv("PRSM_HOME", c)

    def home_named(*arguments: str) -> str:
        assert app.run(arguments) == 1
        return capsys.readouterr().err.split()[6].rstrip(";")

    assert home_named("wallet", "list") == c
    assert home_named("--home", a, "wallet", "list") == a
    assert home_named("wallet", "list", "--home", b) == b
    assert home_named("--home", a, "wallet", "--home", c, "list", "--home", b) == b


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    script = f"{sys.executable} -m prsm_node --help | head -c 10; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("stdout", "code"), [(">/dev/full", 1), (">&-", 0)])
def test_an_answer_that_can_not_be_written_is_no_traceback(stdout: str, code: int) -> None:
    script = f"{sys.executable} -m prsm_node version {stdout}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == code
    told = "prsm-node: the answer can't be written to stdout: no space left on device\n"
    assert done.stderr == (told if code else "")


@pytest.mark.parametrize(
    ("text", "base_units"),
    [("1.5", 1_500_000_000), ("0.000000001", 1), ("1000000000", AMOUNT_MAX), ("0", 0), (" 7 ", 7 * 10**9)],
)
def test_amounts_are_read_to_the_last_base_unit(text: str, base_units: int) -> None:
    assert parse_ftns(text) == base_units


@pytest.mark.parametrize(
    "text", ["", "1,5", "-1", "1e3", ".5", "1.", "0.0000000001", "١", "1 000", "2000000000"]
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(OperatorError, match=r"is no amount|more than will ever exist"):
        parse_ftns(text)


def test_amounts_are_shown_without_idle_zeros() -> None:
    assert [ftns(amount) for amount in (0, 1, 1_500_000_000, 10**15)] == [
        "0 FTNS",
        "0.000000001 FTNS",
        "1.5 FTNS",
        "1,000,000 FTNS",
    ]


def test_the_most_that_can_be_written_is_the_ledgers_cap() -> None:
    assert AMOUNT_MAX == SUPPLY_CAP
