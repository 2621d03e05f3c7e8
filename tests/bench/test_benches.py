"""A bench from the keyboard to its JSON, on a network of real daemons."""

import json
import subprocess
import sys

import pytest


@pytest.mark.daemons
def test_throughput_names_every_figure_and_loses_nothing() -> None:
    command = [sys.executable, "-m", "prsm_node", "bench", "throughput", "--json"]
    command += ["--validators", "1", "--rate", "100", "--seconds", "1"]
    made = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    metrics = made["metrics"]
    promised = "final_transfers submit_to_final lost duplicated cpu_ms_per_transfer bytes_per_transfer"
    assert set(promised.split()) <= metrics.keys()
    assert metrics["submit_to_final"].keys() == {"value", "unit", "samples", "p50", "p95", "p99"}
    assert metrics["submit_to_final"]["samples"] == 100
    assert (metrics["lost"]["value"], metrics["duplicated"]["value"]) == (0, 0)
