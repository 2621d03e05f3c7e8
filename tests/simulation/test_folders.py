"""What a killed simulation leaves in memory is removed by the next one, and nothing of one that runs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from prsm_node.simulation.folders import PREFIX, clear, folder

OWNS = """
import sys
from pathlib import Path
from prsm_node.simulation.folders import folder
with folder(Path(sys.argv[1])) as own:
    (own / "n0").mkdir()
    print(own, flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_gone_with_its_owner_however_that_ends(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        left = Path(owner.stdout.readline().strip())
        assert clear(tmp_path) == 0, "its owner lives"
        assert left.is_dir()
        os.kill(owner.pid, signal.SIGKILL)
    assert left.is_dir()
    with folder(tmp_path) as own:
        assert not left.exists()
        assert own.is_dir()
    assert not list(tmp_path.iterdir())


def test_what_another_program_left_is_let_alone(tmp_path: Path) -> None:
    (tmp_path / "prsm-testnet-a").mkdir()
    (tmp_path / f"{PREFIX}file").write_text("no folder")
    assert clear(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 2
