"""What whole daemons break is made short, replayed from its file byte for byte, told as text, and drawn."""

import json
import re
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from consensus.effects import SendCertificate
from consensus.simulation.schedule import BadDisk, Faulty, Seal, schedule_from, text_of
from consensus.simulation.shrinking import shrink
from consensus.simulation.timeline import Said
from prsm_node.cli.app import run
from prsm_node.cli.simulate import load
from prsm_node.cli.space_time import page
from prsm_node.consensus_host.host import PERFORM, ConsensusHost
from prsm_node.ledger.roster import Roster
from prsm_node.simulation import timeline
from prsm_node.simulation.promises import BROKE_OFF, JAILED
from prsm_node.simulation.run import play
from prsm_node.simulation.schedule import drawn

TWINS = replace(load("twins"), faults_ms=3_000)
TRIES = 10


def shown(text: str) -> dict[str, Any]:
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    found: dict[str, Any] = json.loads(data)
    return found


def test_a_failing_seed_becomes_a_short_schedule_that_breaks_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    after = Roster.after

    def mild(self: Roster, block: Any, window_ms: int) -> Roster:
        return after(self, replace(block, evidence=()), window_ms)

    monkeypatch.setattr(Roster, "after", mild)
    *_, last = islice(shrink(TWINS, 0, draw=drawn, play=play), TRIES)
    short = last.best
    assert short.promise == JAILED
    assert short.faulty == (Faulty(0, "twins"),)
    assert {type(entry) for entry in short.entries} == {Seal}
    assert short.events() <= 8

    assert schedule_from(text_of(short)) == short
    monkeypatch.undo()
    assert play(short).verdict.promise is None


def test_a_broken_promise_is_shrunk_replayed_and_drawn_by_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fails(self: ConsensusHost, effect: Any) -> None:
        raise RuntimeError("planted")

    performed: Any = PERFORM
    monkeypatch.setitem(performed, SendCertificate, fails)
    command = [
        "simulate",
        "--daemons",
        "--scenario",
        "calm",
        "--seeds",
        "0..0",
        "--out",
        str(tmp_path),
        "--json",
    ]
    assert run(command) == 1
    (failure,) = json.loads(capsys.readouterr().out)["failed"]
    assert failure["promise"] == BROKE_OFF
    assert failure["events"] <= 2
    assert failure["replay_shrunk"] == f"prsm-node simulate --daemons --replay {failure['schedule']}"
    told = Path(failure["timeline"]).read_text()
    for what in ("prevote(1, 0, ", "precommit(1, 0, ", "proposal(1, 0, ", "decide", "planted"):
        assert what in told, what

    again = tmp_path / "again.html"
    arguments = [
        *failure["replay_shrunk"].split()[1:],
        "--out",
        str(tmp_path),
        "--diagram",
        str(again),
        "--json",
    ]
    assert run(arguments) == 1
    replayed = json.loads(capsys.readouterr().out)
    assert replayed["promise"] == BROKE_OFF
    assert Path(replayed["timeline"]).read_text() == told
    assert again.read_text() == Path(failure["diagram"]).read_text()
    data = shown(again.read_text())
    assert [lane["name"] for lane in data["lanes"]] == ["n0", "n1", "n2", "n3"]
    assert {"proposal", "prevote", "precommit"} <= {arrow["kind"] for arrow in data["arrows"]}
    assert all(arrow["sent"] <= arrow["came"] for arrow in data["arrows"])
    assert data["marks"][-1]["kind"] == "violation"


def test_a_diagram_shows_cuts_ends_and_disks_and_knows_every_kind_of_message() -> None:
    whole = play(drawn(load("mixed"), 1), trace=True)
    text = page(whole.verdict, whole.trace)
    coloured = set(re.findall(r"(\w+): \"#", text.partition("const COLOURS = {")[2].partition("};")[0]))
    kinds = {event.what.kind for event in whole.trace if isinstance(event.what, Said)}
    assert {"prevote", "precommit", "proposal", "batch", "answer"} <= kinds
    assert kinds <= coloured
    befallen = {event.kind for event in whole.trace}
    assert {"cut", "crash"} <= befallen
    lines = list(timeline.lines(whole.verdict, whole.trace))
    assert len(lines) < timeline.LINES_MAX
    assert all(len(line) <= timeline.LINE_MAX + 4 for line in lines)


def test_a_schedule_for_daemons_is_not_replayed_by_replicas_nor_the_other_way(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    whole = replace(drawn(load("calm"), 0), entries=(BadDisk(1.0, 0, "full", 0, 1.0),))
    path = tmp_path / "schedule.json"
    path.write_text(text_of(replace(whole, daemons=False)))
    assert run(["simulate", "--replay", str(path)]) == 1
    assert "which befall whole daemons" in capsys.readouterr().err
    path.write_text(text_of(replace(whole, entries=(), daemons=False)))
    assert run(["simulate", "--daemons", "--replay", str(path)]) == 1
    assert "leave --daemons out" in capsys.readouterr().err
    path.write_text(text_of(replace(whole, faulty=(Faulty(0, "silent"),))))
    assert run(["simulate", "--daemons", "--replay", str(path)]) == 1
    assert "an actor that is for replicas" in capsys.readouterr().err
    path.write_text(text_of(whole))
    assert run(["simulate", "--daemons", "--replay", str(path), "--steps", "5"]) == 1
    assert "--steps is for replicas" in capsys.readouterr().err
