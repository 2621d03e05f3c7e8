"""Claims about the configuration: who goes before whom, and what a mistake says."""

import re
from pathlib import Path

import pytest

from prsm_node.config import Config, ConfigError
from prsm_node.config_file import SETTINGS, load, load_with_origins, render

REPOSITORY = Path(__file__).parent.parent


def written(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def test_a_flag_goes_before_the_environment_that_before_the_file_that_before_the_default(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, "[network]\nport = 1111\npeers_max = 11\nheartbeat_s = 1\n")
    environment = {"PRSM_NETWORK__PORT": "2222", "PRSM_NETWORK__PEERS_MAX": "22"}
    loaded = load_with_origins(path, {"network.port": 3333, "network.mdns": None}, environment)
    network = loaded.config.network
    assert (network.port, network.peers_max, network.heartbeat_s, network.mdns) == (3333, 22, 1.0, True)
    origins = [
        loaded.origins[f"network.{name}"].text for name in ("port", "peers_max", "heartbeat_s", "mdns")
    ]
    assert origins == ["flag", "PRSM_NETWORK__PEERS_MAX", str(path), "default"]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '[node]\nname = "alpha"\n[network]\nmdns = false\n'
        f'bootstrap = ["/dns4/example.org/tcp/7100/p2p/{"1" * 52}"]\n'
        '[keystore]\npassphrase_file = "a\\u007f\\"b"\n',
    )
    config = load(path, environment={})
    assert load(written(tmp_path, render(config)), environment={}) == config
    assert config.keystore.passphrase_file == 'a\x7f"b'


def test_the_default_file_says_the_defaults_and_is_the_one_in_configs(tmp_path: Path) -> None:
    text = render(Config())
    assert load(written(tmp_path, text), environment={}) == Config()
    uncommented = [line.removeprefix("# ") if " = " in line else line for line in text.splitlines()[3:]]
    assert load(written(tmp_path, "\n".join(uncommented)), environment={}) == Config()
    assert (REPOSITORY / "configs" / "config.toml").read_text() == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[network]\nport = 70000", "network.port is 70000 .*; choose a number from 1 to 65535$"),
        ('[network]\nport = "7000"', "network.port is 7000 .*; choose a number from 1 to 65535$"),
        ("[network]\nport = true", "network.port is true .*; choose a number"),
        ("[network]\nmdns = 1", "network.mdns is 1 .*; choose true or false$"),
        ("[network]\nheartbeat_s = nan", "network.heartbeat_s is nan .*; choose a number from 0.2 to 60"),
        ('[log]\nlevel = "loud"', "log.level is loud .*; choose one of debug, info, warning, error$"),
        ('[network]\nbootstrap = ["10.0.0.1:7100"]', "network.bootstrap is .*; write whole multiaddrs"),
        ('[node]\nname = "a b"', "node.name is a b .*; write at most 64 letters"),
        ("[network]\nprot = 1", "there is no setting network.prot; did you mean network.port\\?$"),
        ("[network]\nlevel = 1", "there is no setting network.level; did you mean log.level\\?$"),
        ("[netwrok]\nport = 1", "there is no section \\[netwrok\\]; did you mean \\[network\\]\\?$"),
        ("[zzz]\nport = 1", "there is no section \\[zzz\\]; config.toml lists them all$"),
        ("network = 1", "network is a section; write \\[network\\]"),
        ("port = ", "is not TOML: "),
        ("#" * 300_000, "is larger than 262144 bytes"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence_with_the_remedy(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refusal:
        load(written(tmp_path, text), environment={})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("variable", "text", "says"),
    [
        ("PRSM_NETWORK__PORT", "70000", "network.port is 70000 \\(PRSM_NETWORK__PORT\\); choose a number"),
        ("PRSM_NETWORK__PORT", "many", "network.port is many"),
        ("PRSM_NETWORK__MDNS", "perhaps", "network.mdns is perhaps"),
        ("PRSM_NETWORK__PROT", "1", "PRSM_NETWORK__PROT: there is no setting network.prot"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(variable: str, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load(None, environment={variable: text})


def test_the_environment_reads_as_the_settings_type() -> None:
    node = f"/ip4/10.0.0.1/tcp/7100/p2p/{'1' * 52}"
    environment = {
        "PRSM_NETWORK__MDNS": "no",
        "PRSM_NETWORK__BOOTSTRAP": f"{node}, {node}",
        "PRSM_NETWORK__HEARTBEAT_S": "2",
        "PRSM_HOME": "is no setting",
    }
    config = load(None, environment=environment)
    assert config.network.mdns is False
    assert config.network.bootstrap == (node, node)
    assert config.network.heartbeat_s == 2.0


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read: no such file"):
        load(tmp_path / "none.toml")


def test_every_setting_is_read_by_some_room() -> None:
    sources = "".join(
        path.read_text()
        for path in (REPOSITORY / "prsm_node").rglob("*.py")
        if not path.name.startswith("config")
    )
    unread = [
        name
        for name in SETTINGS
        if not re.search(rf"\b(config|settings)\.({name}|{name.partition('.')[2]})\b", sources)
    ]
    assert not unread, f"nothing reads {unread}"
