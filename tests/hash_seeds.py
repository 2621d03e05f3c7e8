"""What a program prints in processes of its own, under hash seeds that order sets differently."""

import os
import subprocess
import sys


def printed(program: str) -> set[str]:
    """Return the distinct outputs: one, where nothing hangs on the order of a set."""
    return {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        ).stdout.strip()
        for hash_seed in ("1", "4711")
    }
