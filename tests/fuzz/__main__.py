"""`scripts/fuzz`: libFuzzer over each target, in a process of its own, for so many seconds.

What breaks a target is written to the corpus; the exit code is then 1. Prints a row a target, or one JSON
object.
"""

import argparse
import importlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "corpus"
INPUT_BYTES_MAX = 8_192
INPUT_S_MAX = 5
"""An input that costs more than this is a fault too."""
MEMORY_MB_MAX = 2_048


def fuzz_one(name: str, seconds: int, work: Path) -> None:
    """Run libFuzzer in this process, which it ends."""
    atheris: Any = importlib.import_module("atheris")  # without types, and only here installed
    with atheris.instrument_imports(include=["prsm_node", "consensus"]):
        from tests.fuzz.targets import TARGETS

    target = TARGETS[name]
    seeds = work / "seeds"
    seeds.mkdir(parents=True)
    for number, seed in enumerate(target.seeds):
        (seeds / f"seed-{number}").write_bytes(seed)
    known = [str(CORPUS / name)] if (CORPUS / name).is_dir() else []
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-timeout={INPUT_S_MAX}",
        f"-rss_limit_mb={MEMORY_MB_MAX}",
        f"-artifact_prefix={work}/found-",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(seeds), *known], target.check)
    atheris.Fuzz()


def fuzzed(name: str, seconds: int) -> dict[str, Any]:
    """Fuzz one target in a process of its own; return what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        command = [
            sys.executable,
            "-m",
            "tests.fuzz",
            "--seconds",
            str(seconds),
            "--one",
            str(work / "w"),
            name,
        ]
        ended = subprocess.run(command, capture_output=True, check=False, timeout=seconds * 2 + 120)
        said = ended.stderr.decode(errors="replace")
        inputs = re.search(r"stat::number_of_executed_units: (\d+)", said)
        kept = []
        for found in sorted((work / "w").glob("found-*")):
            place = CORPUS / name / found.name.removeprefix("found-")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(found, place)
            kept.append(str(place))
    if ended.returncode and not kept:
        raise SystemExit(f"fuzzing {name} ended with {ended.returncode}:\n{said[-4_000:]}")
    told = said[max(said.find("=== Uncaught"), said.find("==ERROR"), 0) :][:2_000] if kept else ""
    return {"target": name, "inputs": int(inputs[1]) if inputs else 0, "found": kept, "told": told}


def main() -> int:
    asked = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    asked.add_argument("targets", nargs="*", metavar="TARGET", help="all, if none is named")
    asked.add_argument("--seconds", type=int, default=10, help="for each target")
    asked.add_argument("--list", action="store_true", help="name the targets")
    asked.add_argument("--json", action="store_true", help="print one JSON object")
    asked.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.one is not None:
        fuzz_one(options.targets[0], options.seconds, options.one)
    from tests.fuzz.targets import TARGETS

    unknown = [name for name in options.targets if name not in TARGETS]
    if unknown or options.seconds < 1:
        wrong = f"there is no target {unknown[0]}; see --list" if unknown else "--seconds must be at least 1"
        print(f"scripts/fuzz: {wrong}", file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(TARGETS))
        return 0
    names = options.targets or list(TARGETS)
    results = []
    for number, name in enumerate(names, 1):
        print(f"[{number}/{len(names)}] {name}, {options.seconds} s", file=sys.stderr, flush=True)
        results.append(fuzzed(name, options.seconds))
        if results[-1]["told"]:
            print(results[-1]["told"], file=sys.stderr)
    inputs, found = sum(r["inputs"] for r in results), sum(len(r["found"]) for r in results)
    if options.json:
        print(json.dumps({"inputs": inputs, "found": found, "targets": results}))
    else:
        for result in results:
            kept = " ".join(result["found"]) or "nothing"
            print(f"{result['target']:24} {result['inputs']:>12,} inputs  {kept}")
        print(f"{'together':24} {inputs:>12,} inputs  {found or 'nothing'} found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
