"""Replays traces of a third party's specification of Tendermint; their README lists what differs."""

import itertools
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consensus.agreement import rounds
from consensus.agreement.rounds import (
    Commit,
    Enter,
    Facts,
    Fired,
    GetValue,
    Offer,
    Offered,
    RoundState,
    Schedule,
)
from consensus.agreement.votekeeper import VoteKeeper
from consensus.evidence import VoteEquivocation, guilty
from consensus.guard import Step
from consensus.quorum import is_third
from consensus.timers import TimerKind
from consensus.validators import ValidatorSet
from consensus.votes import NIL, CheckedVote, Vote, VoteKind

ARCHIVE = Path(__file__).parents[4] / "shared" / "conformance" / "tendermint-traces.tar.xz"

STEPS = {"ProposeStep": Step.PROPOSE, "PrevoteStep": Step.PREVOTE, "PrecommitStep": Step.PRECOMMIT}
KINDS = {"Prevote": VoteKind.PREVOTE, "Precommit": VoteKind.PRECOMMIT}
TIMERS = {"Propose": TimerKind.PROPOSE, "Prevote": TimerKind.PREVOTE, "Precommit": TimerKind.PRECOMMIT}


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not ARCHIVE.exists():
        pytest.skip("skipped: not present")
    folder = tmp_path_factory.mktemp("traces")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def plain(value: Any) -> Any:
    """ITF JSON as Python: integers, tuples, dicts; a variant as (tag, value)."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "#bigint" in value:
        return int(value["#bigint"])
    if "#tup" in value or "#set" in value:
        return tuple(plain(item) for item in value["#tup" if "#tup" in value else "#set"])
    if "#map" in value:
        return {plain(key): plain(item) for key, item in value["#map"]}
    if value.keys() == {"tag", "value"}:
        return (value["tag"], plain(value["value"]))
    return {key.split("::")[-1]: plain(item) for key, item in value.items() if key != "#meta"}


def steps_of(folder: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for path in sorted(folder.glob("*.json")):
        states = [plain(state) for state in json.loads(path.read_text())["states"]]
        yield from itertools.pairwise(states)


def value_of(option: str | tuple[str, Any]) -> bytes | None:
    """A value stands bare where it can't be nil."""
    if isinstance(option, str):
        return option.encode()
    return NIL if option[0] == "Nil" else option[1].encode()


def state_of(their: dict[str, Any]) -> RoundState:
    return RoundState(
        round=their["round"],
        step=STEPS.get(their["step"][0], Step.PROPOSE),
        locked_round=their["lockedRound"],
        locked_value=value_of(their["lockedValue"]),
        valid_round=their["validRound"],
        valid_value=value_of(their["validValue"]),
    )


def fire(their: dict[str, Any], tag: str, given: Any) -> Fired | None:
    """Ask the one rule that an input of the specification stands for."""
    state = state_of(their)
    unstarted = their["step"][0] in ("NoStep", "UnstartedStep")
    if tag in ("NewRound", "NewRoundProposer"):
        if not unstarted or given <= state.round:
            return None
        rule = rounds.line_20 if tag == "NewRound" else rounds.line_14
        return rule(state, Facts(entering=given, proposer=tag == "NewRoundProposer"))
    if tag.startswith("Timeout"):
        kind = TIMERS[tag.removeprefix("Timeout")]
        if given != (their["height"], state.round) or (unstarted and kind is not TimerKind.PRECOMMIT):
            return None
        rule = {TimerKind.PROPOSE: rounds.line_57, TimerKind.PREVOTE: rounds.line_61}.get(
            kind, rounds.line_65
        )
        return rule(state, Facts(expired=kind))
    if tag == "PrecommitAny":
        return rounds.line_47(state, Facts(precommit_any=True))
    if tag == "ProposalAndCommitAndValid":
        return rounds.line_49(state, Facts(commit=(given[0], value_of(given[1]) or b"")))
    if tag == "RoundSkip":
        return rounds.line_55(state, Facts(later_round=given))
    if unstarted:
        return None  # our rounds have no such state: a round is left and entered in one step
    if tag == "ProposeValue":
        return rounds.line_18(state, Facts(proposer=True, own_value=value_of(given)))
    if tag == "Proposal":
        return rounds.line_22(state, Facts(proposal=Offered(value_of(given[1]) or b"")))
    if tag == "ProposalInvalid":
        return rounds.line_22(state, Facts(proposal=Offered(b"x", valid=False)))
    if tag == "ProposalAndPolkaPreviousAndValid":
        return rounds.line_28(
            state, Facts(proposal=Offered(value_of(given[0]) or b"", given[1]), polka_round=given[1])
        )
    if tag == "PolkaAny":
        return rounds.line_34(state, Facts(polka_any=True))
    if tag == "PolkaNil":
        return rounds.line_44(state, Facts(polka_nil=True))
    assert tag == "ProposalAndPolkaAndValid", tag
    return rounds.line_36(state, Facts(polka=value_of(given)))


def said(fired: Fired | None, round_: int) -> tuple[str, Any]:
    """A rule's answer in the specification's words; what it leaves out is None."""
    if fired is None:
        return ("Error", None)
    if not fired.actions:
        return ("NoConsensus", None)
    action = fired.actions[0]
    if isinstance(action, Schedule):
        return ("Timeout", (fired.state.round, action.kind))
    if isinstance(action, Enter):
        return ("SkipRound", action.round)
    if isinstance(action, Commit):
        return ("Decided", (action.round, action.value))
    if isinstance(action, GetValue):
        return ("GetValueAndScheduleTimeout", fired.state.round)
    if isinstance(action, Offer):
        return ("Proposal", (fired.state.round, action.value, action.valid_round))
    return ("Vote", (round_, action.kind, action.value))


def heard(output: tuple[str, Any]) -> tuple[str, Any]:
    """The specification's answer, in the same words."""
    tag, given = output[0].removesuffix("Output"), output[1]
    if tag == "Timeout":
        return (tag, (given[0], TIMERS[given[1][0].removesuffix("Timeout")]))
    if tag == "Decided":
        return (tag, (given[0], value_of(given[1])))
    if tag == "GetValueAndScheduleTimeout":
        return (tag, given[1])
    if tag == "Proposal":
        return (tag, (given["round"], value_of(given["proposal"]), given["validRound"]))
    if tag == "Vote":
        return (tag, (given["round"], KINDS[given["voteType"][0]], value_of(given["valueId"])))
    return (tag, given if tag == "SkipRound" else None)


def test_the_rules_answer_as_the_specification_does(traces: Path) -> None:
    replayed, strict = 0, 0
    for before, after in steps_of(traces / "rounds"):
        theirs, tag = before["state"], after["input"][0].removesuffix("CInput")
        if theirs["step"][0] == "CommitStep":
            continue
        given = after["input"][1]
        if tag == "ProposeValue" and theirs["step"][0] != "ProposeStep":
            assert fire(theirs, tag, given) is None, "a value that comes too late is not proposed"
            continue
        fired = fire(theirs, tag, given)
        if tag == "ProposalAndPolkaPreviousAndValid" and fired is not None:
            value, valid_round = value_of(given[0]), given[1]
            if valid_round == theirs["lockedRound"] and value != value_of(theirs["lockedValue"]):
                assert said(fired, theirs["round"])[1][2] is NIL, "line 29 is strict"
                strict += 1
                continue
        if tag == "ProposalAndPolkaAndValid" and theirs["validRound"] == theirs["round"]:
            continue  # ours fires line 36 once a round, as the paper says
        assert said(fired, theirs["round"]) == heard(after["output"]), (tag, given, theirs)
        if fired is not None and heard(after["output"])[0] not in ("SkipRound", "Decided"):
            ours, expected = fired.state, state_of(after["state"])
            for name in ("round", "step", "locked_round", "locked_value", "valid_round", "valid_value"):
                assert getattr(ours, name) == getattr(expected, name), (name, tag, theirs)
        replayed += 1
    assert replayed > 2_000


def vote_of(record: dict[str, Any]) -> CheckedVote:
    return CheckedVote(
        Vote(
            kind=KINDS[record["voteType"][0]],
            height=record["height"],
            round=record["round"],
            value=value_of(record["valueId"]),
            polka_round=-1,
            diverged=0,
            voter=record["srcAddress"].encode().ljust(32, b"\0"),
        )
    )


def threshold(keeper: VoteKeeper, vote: CheckedVote, current: int) -> tuple[str, Any] | None:
    """What the counts at this vote's place and for its value have reached, the most telling."""
    if vote.round > current and is_third(keeper.weight_at(vote.round), keeper.validators.total):
        return ("Skip", vote.round)
    prevote = vote.kind is VoteKind.PREVOTE
    if prevote and vote.value is NIL and keeper.nil_polka(vote.round):
        return ("PolkaNil", vote.round)
    quorums = keeper.polkas() if prevote else keeper.commits()
    if any((c.round, c.value) == (vote.round, vote.value) for c in quorums):
        return ("PolkaValue" if prevote else "PrecommitValue", (vote.round, vote.value))
    if keeper.quorum_of_any(vote.round, vote.kind):
        return ("PolkaAny" if prevote else "PrecommitAny", vote.round)
    return None


def emitted(output: tuple[str, Any]) -> tuple[str, Any] | None:
    """The specification's output, in the same words."""
    tag, given = output[0].removesuffix("VKOutput"), output[1]
    if tag == "No":
        return None
    return (tag, (given[0], value_of(given[1])) if tag.endswith("Value") else given)


def test_votes_are_counted_as_the_specification_counts(traces: Path) -> None:
    counted = 0
    for path in sorted((traces / "votes").glob("*.json")):
        states = [plain(state) for state in json.loads(path.read_text())["states"]]
        powers = states[0]["bookkeeper"]["validatorSet"]
        keeper = VoteKeeper(ValidatorSet((k.encode().ljust(32, b"\0"), w) for k, w in powers.items()))
        seen: set[tuple[str, Any]] = set()
        convicted: set[bytes] = set()
        for before, after in itertools.pairwise(states):
            if before == after:
                continue
            record, weight, current = after["weightedVote"][1]
            vote = vote_of(record)
            assert keeper.validators.power(vote.voter) == weight
            found = keeper.add(vote)
            if isinstance(found, VoteEquivocation):
                convicted.add(guilty(found))
            ours = threshold(keeper, vote, current)
            if ours in seen and ours is not None and ours[0] != "Skip":
                ours = None  # each is news once a round
            assert ours == emitted(after["lastEmitted"]), (path.name, vote)
            if ours is not None:
                seen.add(ours)
            counted += 1
        clashes = states[-1]["bookkeeper"]["evidence"]
        theirs = {vote_of(pair[0]).voter for pair in clashes}
        assert convicted <= theirs, path.name
        assert theirs - convicted <= amnesiacs(keeper), path.name
    assert counted > 2_500


def amnesiacs(keeper: VoteKeeper) -> set[bytes]:
    """Whom our keeper had convicted of a forgotten lock before, which the specification does not look for."""
    return keeper._convicted
