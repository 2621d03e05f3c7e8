"""Claims about one daemon a home."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from prsm_node.daemon_lock import HomeInUse, held, running
from prsm_node.home import Home

HOLDER = """
import sys, pathlib
from prsm_node.daemon_lock import held
from prsm_node.home import Home
with held(Home(pathlib.Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_daemon_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        with (
            pytest.raises(HomeInUse, match=f"already, as process {first.pid}; stop it with"),
            held(Home(tmp_path)),
        ):
            pass
        Home(tmp_path).lock.unlink()
        with pytest.raises(HomeInUse, match="as process unknown"), held(Home(tmp_path)):
            pass  # else two would write one journal, and sign with one key
        first.kill()
    with held(Home(tmp_path)):  # a killed daemon leaves no lock behind
        pass


def test_what_is_announced_can_be_read_while_the_daemon_lives(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert running(home) is None
    with held(home) as lock:
        assert running(home) is None
        lock.announce(["/ip4/127.0.0.1/tcp/7100"], datetime(2026, 1, 31, 12, tzinfo=UTC))
        assert msgspec.json.decode(home.daemon_record.read_bytes()) == {
            "pid": os.getpid(),
            "listen": ["/ip4/127.0.0.1/tcp/7100"],
            "started": "2026-01-31T12:00:00.000Z",
        }
        record = running(home)
        assert record is not None
        assert record.pid == os.getpid()
    assert running(home) is None
    assert not home.daemon_record.exists()


def test_the_record_of_a_killed_daemon_is_not_believed(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.lock.write_text("1\n")
    home.daemon_record.write_text('{"pid": 1, "listen": [], "started": ""}')
    assert running(home) is None
