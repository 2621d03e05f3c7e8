"""Runs `prsm-node simulate` on every scenario in turn, for hours, and keeps a short report (scripts/soak)."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prsm_node.cli.simulate import shipped

FIRST_SEED = 1_000_000
SEEDS_A_ROUND = 50
BROKEN_TOLD = 30
"""More add to the count alone, and their files are not kept."""
SHRINK_S = 120
HOURS_MAX = 10_000


def main() -> int:
    options = parsed()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the simulation that runs too
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"soak: --out is {options.out}: {(error.strerror or '').lower()}; give a folder")
    soak = Soak(options.out, options.scenario or shipped(), options.jobs, options.seeds)
    ends = time.monotonic() + options.hours * 3_600
    try:
        while time.monotonic() < ends:
            for scenario in soak.scenarios:
                soak.attack(scenario, max(1.0, ends - time.monotonic()))
                soak.report()
                if soak.broken and not options.go_on:
                    return 1
                if time.monotonic() >= ends:
                    break
            soak.next_round()
    except KeyboardInterrupt:
        soak.report()
        return 130
    return 1 if soak.broken else 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/soak", description="Attack simulated clusters for hours.")
    parser.add_argument(
        "scenario", nargs="*", help="shipped names or TOML files; all shipped ones if none is given"
    )
    parser.add_argument(
        "--seeds",
        type=whole(100_000),
        metavar="N",
        default=SEEDS_A_ROUND,
        help=f"of a scenario in its turn, {SEEDS_A_ROUND} if not given",
    )
    parser.add_argument("--hours", type=hours, default=1.0, help="how long, 1 if not given")
    parser.add_argument(
        "--jobs",
        type=whole(256),
        metavar="J",
        default=os.cpu_count() or 1,
        help="processes that share the seeds, one a core if not given",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("soak"), help="folder of the report and of what failed"
    )
    parser.add_argument("--go-on", action="store_true", help="do not end at the first broken promise")
    return parser.parse_args()


def whole(most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"it is {text}; choose 1 to {most}")
        return int(text)

    return number


def hours(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= HOURS_MAX:
        raise argparse.ArgumentTypeError(f"it is {text}; choose more than 0, to {HOURS_MAX:,}")
    return found


class Soak:
    """What was run so far, by this run and those before it with the same folder."""

    def __init__(self, out: Path, scenarios: list[str], jobs: int, seeds: int) -> None:
        self.scenarios = scenarios
        self.broken = 0
        self._out, self._jobs, self._seeds = out, jobs, seeds
        self._began = time.monotonic()
        self._state = out / "soak.json"
        try:
            kept = json.loads(self._state.read_text()) if self._state.exists() else {}
        except ValueError as error:
            sys.exit(f"soak: {self._state} can't be read: {error}; remove it to begin anew")
        self._seed: int = kept.get("next_seed", FIRST_SEED)
        self._totals: dict[str, dict[str, Any]] = kept.get("scenarios", {})
        self._told: list[str] = kept.get("broken", [])

    def attack(self, scenario: str, seconds: float) -> None:
        """Run this round's seeds of one scenario; what the end of the soak cuts off counts for nothing."""
        last = self._seed + self._seeds - 1
        shrink = SHRINK_S if len(self._told) < BROKEN_TOLD else 0
        folder = self._out / scenario.replace("/", "_")
        command = [sys.executable, "-m", "prsm_node", "simulate", "--json", "--scenario", scenario]
        command += ["--seeds", f"{self._seed}..{last}", "--jobs", str(self._jobs)]
        command += ["--shrink", str(shrink), "--out", str(folder)]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, timeout=seconds + SHRINK_S, check=False)
        except subprocess.TimeoutExpired:
            return
        if not done.stdout:
            sys.exit(done.returncode or 1)  # it has said why
        found = json.loads(done.stdout)
        total = self._totals.setdefault(
            scenario, {"seeds": 0, "broken": 0, "messages": 0, "recovery_max_ms": 0}
        )
        total["seeds"] += found["seeds"]
        total["broken"] += len(found["failed"])
        total["messages"] += found["messages"]
        total["recovery_max_ms"] = max(total["recovery_max_ms"], found["recovery_max_ms"] or 0)
        self.broken += len(found["failed"])
        for failure in found["failed"]:
            if len(self._told) < BROKEN_TOLD:
                self._told.append(f"{failure['violation']}\n    {failure['replay']}")
        print(f"{scenario} {self._seed}..{last}: {len(found['failed'])} broken", file=sys.stderr, flush=True)

    def next_round(self) -> None:
        self._seed += self._seeds

    def report(self) -> None:
        """Write soak.txt for people, and soak.json to go on from."""
        kept = {"next_seed": self._seed + self._seeds, "scenarios": self._totals, "broken": self._told}
        beside = self._state.with_suffix(".new")
        beside.write_text(json.dumps(kept, indent=1))
        beside.replace(self._state)
        hours = (time.monotonic() - self._began) / 3_600
        seeds = sum(total["seeds"] for total in self._totals.values())
        broken = sum(total["broken"] for total in self._totals.values())
        lines = [f"{seeds} seeds, {broken} broke a promise; this run: {hours:.2f} hours", ""]
        lines.append(f"{'scenario':<28}{'seeds':>10}{'broken':>8}{'messages':>14}{'slowest recovery':>18}")
        for name, total in sorted(self._totals.items()):
            slowest = f"{total['recovery_max_ms']} ms"
            lines.append(
                f"{name:<28}{total['seeds']:>10}{total['broken']:>8}{total['messages']:>14}{slowest:>18}"
            )
        if self._told:
            lines += ["", f"broken, the first {BROKEN_TOLD}:", *self._told]
        (self._out / "soak.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
