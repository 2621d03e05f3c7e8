"""`prsm-node simulate` says what it found, how to see it again, and what it takes."""

import json
import re
from pathlib import Path

import pytest

from consensus.agreement import votekeeper
from consensus.simulation.run import play
from consensus.simulation.schedule import schedule_of
from prsm_node.cli import space_time
from prsm_node.cli.app import run
from prsm_node.cli.simulate import load


def test_a_broken_promise_is_exit_code_1_with_all_that_is_needed_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(votekeeper, "is_quorum", lambda weight, total: 3 * (weight + 1) > 2 * total)
    out = tmp_path / "made"
    assert run(["simulate", "--seeds", "0..2", "--out", str(out), "--json"]) == 1
    said = capsys.readouterr()
    (first, *others) = json.loads(said.out)["failed"]
    same = [other for other in others if other["promise"] == first["promise"]]
    assert said.err.count(f"shrunk:   not, as seed {first['seed']} broke the same promise") == len(same) > 0
    assert first["replay"] == f"prsm-node simulate --scenario mixed --seed {first['seed']}"
    assert first["promise"] in Path(first["timeline"]).read_text()
    assert first["events"] < 40
    assert "a certificate is a quorum" in Path(first["diagram"]).read_text()

    again = ["simulate", "--replay", first["schedule"], "--out", str(out), "--json"]
    assert run(again) == 1
    replayed = json.loads(capsys.readouterr().out)
    assert (replayed["promise"], replayed["events"]) == (first["promise"], first["events"])
    monkeypatch.undo()
    assert run(again) == 0
    assert json.loads(capsys.readouterr().out)["violation"] is None


def test_kept_promises_are_exit_code_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "--scenario", "calm", "--seeds", "0..1", "--nodes", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["failed"] == []


def test_probes_count_what_was_reached_and_name_what_was_not(capsys: pytest.CaptureFixture[str]) -> None:
    calm = [
        "simulate",
        "--scenario",
        "calm",
        "--seeds",
        "0..1",
        "--nodes",
        "4",
        "--steps",
        "2000",
        "--probes",
    ]
    assert run([*calm, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["probes"]["line_49"]["seeds"] == 2
    assert told["probes"]["line_49"]["times"] > 2
    assert "fault: crash" in told["unreached"]
    assert run(calm) == 0
    said = capsys.readouterr()
    assert "line_49" in said.out
    assert "not reached: " in said.err
    assert (said.out + said.err).count("recovery: a convict leaves the set") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--scenario calm --seed 1 --seeds 1..2", "give one of them"),
        ("--seeds 9..1", "give a first and a last seed"),
        ("--scenario nothing", "there is no scenario nothing; choose"),
        ("--diagram x.html", "say which with --seed or --replay"),
        ("--replay no.json", "there is no file no.json"),
        ("--replay .", "there is no file ."),
        ("--scenario .", "there is no scenario .; choose"),
        ("--scenario empty.toml", "partitions.shapes is empty; leave it out"),
        ("--out empty.toml", "give a folder"),
        ("--replay no.json --seed 1", "leave --seed out"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: str,
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.toml").write_text("[partitions]\nshapes = []\n")
    assert run(["simulate", *arguments.split()]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert told in said.err


@pytest.mark.parametrize("content", [b"\xff", b"{}", b"[[", b'{"scenario": 1}'])
def test_a_file_that_is_no_schedule_is_refused_in_a_sentence(
    content: bytes, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    assert run(["simulate", "--replay", str(path)]) == 1
    assert "is no schedule that can be replayed" in capsys.readouterr().err


def test_a_run_stops_after_the_steps_that_are_given(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    diagram = tmp_path / "run.html"
    seed = ["simulate", "--scenario", "crashes", "--seed", "1", "--out", str(tmp_path)]
    assert run([*seed, "--steps", "700", "--diagram", str(diagram), "--json"]) == 0
    assert "after 700 steps" in (tmp_path / "simulate-1.txt").read_text()
    data = data_of(diagram.read_text())
    assert data["marks"][-1]["kind"] == "stopped"
    assert {arrow["from"] for arrow in data["arrows"]} <= {lane["name"] for lane in data["lanes"]}


def data_of(page: str) -> dict:
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(data)


def test_a_diagram_is_bounded_and_says_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space_time, "ARROWS_MAX", 100)
    traced = play(schedule_of(load("mixed"), 1), trace=True)
    data = data_of(space_time.page(traced.verdict, traced.trace))
    messages = sum(event.kind in ("message", "lost", "cut off") for event in traced.trace)
    assert len(data["arrows"]) == 100
    assert data["left_out"] == messages - 100
    assert all(mark["at"] >= data["begins_ms"] for mark in data["marks"])


def test_a_diagram_asks_nothing_of_a_network_and_ends_where_it_should() -> None:
    traced = play(schedule_of(load("calm"), 1, 4), trace=True, steps=300)
    page = space_time.page(traced.verdict, traced.trace)
    assert not re.search(r"(src|href)=|@import|url\(\s*['\"]?http", page)
    assert page.count("</script>") == 2


def test_a_diagram_knows_every_kind_of_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one without a colour there is no box to tick, and the page's script breaks off."""
    monkeypatch.setattr(space_time, "LAST_MS", 100_000)
    monkeypatch.setattr(space_time, "ARROWS_MAX", 100_000)
    traced = play(schedule_of(load("twins"), 1), trace=True)
    page = space_time.page(traced.verdict, traced.trace)
    coloured = set(re.findall(r"(\w+): \"#", page.partition("const COLOURS = {")[2].partition("};")[0]))
    kinds = {arrow["kind"] for arrow in data_of(page)["arrows"]}
    assert "evidence" in kinds
    assert kinds <= coloured


def test_whole_daemons_are_attacked_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    calm = ["simulate", "--daemons", "--scenario", "calm", "--seed", "2"]
    arguments = [*calm, "--out", str(tmp_path), "--json"]
    assert run(arguments) == 0
    assert json.loads(capsys.readouterr().out)["heights"] > 0
    assert "settled" in (tmp_path / "simulate-daemons-2.txt").read_text()
    assert run([*arguments, "--steps", "5"]) == 1
    assert "--steps is for replicas" in capsys.readouterr().err
