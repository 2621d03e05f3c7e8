"""scripts/attack in its short run: who attacks a live daemon is banned with an alert in seconds, work goes
on, and the bans outlive a restart until somebody lifts them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.daemons.fleet import asks, fails, running

pytestmark = pytest.mark.daemons

ROOT = Path(__file__).resolve().parents[2]


def attack(home: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.attack", str(home), "--quick", "--json"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    wrong = {row["act"]: row["wrong"] for row in report["acts"] if row["wrong"]}
    assert (done.returncode, wrong) == (0, {}), done.stderr
    return report


def test_attackers_are_banned_in_seconds_while_payments_go_on_and_the_bans_outlive_a_restart(
    tmp_path: Path,
) -> None:
    with running(tmp_path) as net:
        home = net.homes[0]
        report = attack(home)
        banned = {row["act"] for row in report["acts"] if row["did"] == "banned"}
        assert banned == {row["act"] for row in report["acts"] if row["owed"] == "ban"}
        assert len(banned) >= 10
        assert report["slowest_alert_s"] < 5
        assert any(row["final_p50_ms"] is not None for row in report["acts"])
        before = asks(home, "peers", "--banned")["banned"]
        assert len(before) >= len(banned)
        net.kill(home)
        net.start(home)
        after = asks(home, "peers", "--banned")["banned"]
        held = {ban["who"] for ban in after}
        assert held, "all of them ended meanwhile"
        assert held <= {ban["who"] for ban in before}
        who = after[-1]["who"]
        assert asks(home, "peers", "--unban", who) == {"unbanned": who}
        assert "is not banned" in fails(home, "peers", "--unban", who)
        net.wait_voting(home)
