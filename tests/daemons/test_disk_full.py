"""A disk that fills up under load: one sentence, nothing corrupted, and back once there is space."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from prsm_node.home import Home
from tests.daemons.fleet import Net, fails, same_chain, until, wallet_keys
from tests.daemons.journals import assert_nothing_signed_twice
from tests.daemons.load import load

pytestmark = pytest.mark.daemons

# 16 MiB that the journal and 8 that the state keep in reserve, 4 that the journal allocates ahead, and room
# for some seconds.
DISK_MIB = 34


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    """The data of the last node lies on a small tmpfs; needs the right to mount."""
    net = Net(tmp_path)
    data = net.homes[3] / "data"
    data.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(data)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        net.start()
        net.wait_voting()
        yield net
    finally:
        net.end_all()
        subprocess.run(["umount", str(data)], check=True)


def test_a_full_disk_is_said_in_a_sentence_and_corrupts_nothing(net: Net) -> None:
    home = net.homes[3]
    ballast = home / "data" / "ballast"
    with load(net.homes, wallet_keys(net.homes[0]), transfers=60) as sending:
        until(lambda: sending.final > 40, "transfers become final")
        _fill(ballast, leaving=(16 << 20) + (1 << 20))
        daemon = net.daemons[home].process
        until(lambda: daemon.poll() is not None, "the daemon with the full disk ends", 40)
        assert daemon.returncode == 1
        said = net.daemons[home].last_words()
        assert "is full" in said, said
        assert "free some space" in said, said
        console = (home / "logs" / "console.log").read_text()
        assert "Traceback" not in console, console
        before = sending.final
        until(lambda: sending.final > before + 40, "the other three go on")

        assert "is full" in fails(home, "start"), "without space it does not start, and says the same"
        ballast.unlink()
        net.start(home)
        net.wait_voting(home)
        sending.stop_sending()
    same_chain(net.homes, net.wait_level())
    net.end()
    assert Home(home).journal.exists()
    assert_nothing_signed_twice(net.homes)


def _fill(ballast: Path, leaving: int) -> None:
    """Use the disk up but for `leaving` bytes."""
    disk = os.statvfs(ballast.parent)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - leaving)
