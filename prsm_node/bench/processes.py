"""What a daemon and all its processes cost, from /proc.

Not measured: what the kernel does on their behalf outside their time (softirqs of the loopback, writeback).
"""

import os
from pathlib import Path
from typing import Final

TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """The process and all below it; one that ended meanwhile is left out."""
    found, unseen = [], [pid]
    while unseen:
        parent = unseen.pop()
        found.append(parent)
        try:
            for task in Path(f"/proc/{parent}/task").iterdir():
                unseen.extend(int(child) for child in (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def cpu_s(pids: list[int]) -> float:
    """User and system time of the processes below these, their ended children's included."""
    ticks = 0
    for pid in pids:
        for member in tree(pid):
            try:
                fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            ticks += sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime
    return ticks / TICKS_A_SECOND


def own_memory_mb(pid: int) -> float:
    """Anonymous memory of the process and all below it: what it holds itself. Resident pages of mapped files
    (LMDB) are left out, which the system takes back when it wants them."""
    anonymous = 0
    for member in tree(pid):
        try:
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        anonymous += next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))
    return anonymous / 1_024


def memory_mb(pid: int) -> tuple[float, float]:
    """(Pss, Rss) of the process and all below it: a page shared by n processes counts 1/n in the first."""
    pss = rss = 0
    for member in tree(pid):
        try:
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        sizes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines[1:])}
        pss += sizes["Pss"]
        rss += sizes["Rss"]
    return pss / 1_024, rss / 1_024
