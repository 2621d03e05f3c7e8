"""Whether the rare is reached, counted: each paper line, fault and way to recover (FoundationDB's probes).

A simulation that keeps every promise shows little if nothing hard ever happened in it. Probes are asked for;
while they watch, a few functions of the core and of this room are wrapped, and given back afterwards. The
core knows nothing of them, and a run without them costs nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self, get_args

from msgspec.structs import replace

from consensus import effects as fx
from consensus import inputs
from consensus.agreement import height, rounds
from consensus.agreement.own_votes import OwnVotes
from consensus.agreement.rounds import Facts, Fired, Offer, RoundState
from consensus.dissemination.lanes import Lanes
from consensus.early import EarlyMessages
from consensus.evidence import Evidence
from consensus.guard import Step
from consensus.inputs import Input
from consensus.replica import Replica
from consensus.simulation.byzantine import ACTORS
from consensus.simulation.chance import Chance, Outcome
from consensus.simulation.disk import Disk
from consensus.simulation.run import Verdict, play
from consensus.simulation.scenario import Links, Scenario
from consensus.simulation.schedule import Crash, Cut, Fault, Jump, Schedule, Seal
from consensus.simulation.validator import Validator
from consensus.votes import NIL, VoteKind

LINES = tuple(name for name in vars(rounds) if name.startswith("line_"))
SHAPES = ("half", "one", "ring", "bridge", "one_way")
EVIDENCE = tuple(kind.__name__ for kind in get_args(Evidence))
RECOVERED_BY = (
    *(fx.SendAgain, fx.SendVotes, fx.SendProposal, fx.SendBatchAgain, fx.SendCommitted, fx.SendEvidence),
    *(fx.FetchBatch, fx.FetchTipCertificate, fx.FetchBlock, fx.CatchUp, fx.StrengthenCommit),
)
PROBES: tuple[str, ...] = (
    *LINES,
    "line_14 proposes the valid value again",
    "line_22 prevotes nil: invalid",
    "line_22 prevotes nil: not timely",
    "line_22 prevotes nil: locked",
    "line_28 prevotes the value",
    "line_28 prevotes nil: locked",
    "line_36 only remembers: too late to lock",
    "line_36 leaves an older lock",
    "line_49 decides a round that is over",
    *(f"fault: cut, {shape}" for shape in SHAPES),
    "fault: cut again before it healed",
    "fault: crash",
    "fault: crash between the effects of a step",
    "fault: unsynced writes lost",
    "fault: unsynced writes on disk all the same",
    "fault: clock ahead",
    "fault: clock behind",
    "fault: slow disk",
    *(f"fault: message {fate}" for fate in ("lost", "doubled", "late", "cut off")),
    *(f"actor: {name}" for name in ACTORS),
    *(f"evidence: {name}" for name in EVIDENCE),
    *(f"recovery: {effect.__name__}" for effect in RECOVERED_BY),
    "recovery: restart with a lock",
    "recovery: restart in a round above 0",
    "recovery: restart with batches that no block lists",
    "recovery: a forwarded polka lets vote",
    "recovery: a commit certificate decides",
    "recovery: a fetched block decides",
    "recovery: an early vote is used",
    "recovery: an early proposal is used",
    "recovery: a vote waits for leave to sign",
    "recovery: a convict leaves the set",
)
"""All that simulations are to reach; `--probes` counts them in this order."""

Observe = Callable[["Probes", Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


class Probes:
    """Count what is reached while it is entered."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._given: list[tuple[Any, str, Any]] = []
        self._step: Input | None = None

    def reach(self, probe: str, times: int = 1) -> None:
        """Count a probe; one that is not in the table is a mistake here."""
        assert probe in _KNOWN, f"{probe} is in no table"
        self.counts[probe] += times

    def table(self) -> dict[str, int]:
        """Each probe, those that were not reached too."""
        return {probe: self.counts[probe] for probe in PROBES}

    def __enter__(self) -> Self:
        for owner, name, observe in WATCHED:
            original = getattr(owner, name)
            self._given.append((owner, name, original))
            setattr(owner, name, self._wrapped(original, observe))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for owner, name, original in reversed(self._given):
            setattr(owner, name, original)
        self._given.clear()

    def _wrapped(self, original: Callable[..., Any], observe: Observe) -> Callable[..., Any]:
        return lambda *args, **options: observe(self, original, args, options)


_KNOWN = frozenset(PROBES)


def probed(schedule: Schedule, steps: int | None = None) -> Verdict:
    """Play a schedule under watch: what became of it, with how often each probe was reached."""
    with Probes() as probes:
        run = play(schedule, steps=steps)
    _befallen(probes, run.played)
    for one in schedule.faulty:
        probes.reach(f"actor: {one.actor}")
    return replace(run.verdict, probes=probes.table())


def unreached(verdicts: Iterable[Verdict], scenario: Scenario) -> list[str]:
    """What none of these runs of a scenario reached; of actors only its own are asked for."""
    absent = {f"actor: {name}" for name in ACTORS if name not in scenario.actors}
    reached: Counter[str] = Counter()
    for verdict in verdicts:
        reached.update(verdict.probes)
    return [probe for probe in PROBES if not reached[probe] and probe not in absent]


def _rule(probes: Probes, original: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Fired | None:
    """first_to_fire(rules, state, facts)."""
    fired: Fired | None = original(*args, **options)
    if fired is not None:
        _, state, facts = args
        probes.reach(f"line_{fired.line}")
        for finer in _finer(fired, state, facts):
            probes.reach(f"line_{fired.line} {finer}")
        _helped(probes, fired)
    return fired


def _finer(fired: Fired, state: RoundState, facts: Facts) -> Iterable[str]:
    """Which way a rule went."""
    proposal = facts.proposal
    vote = next((a for a in fired.actions if isinstance(a, rounds.Vote)), None)
    locked = state.locked_value is not NIL
    if fired.line == 14 and any(isinstance(action, Offer) for action in fired.actions):
        yield "proposes the valid value again"
    if fired.line == 22 and proposal is not None and vote is not None and vote.value is NIL:
        why = "locked" if proposal.timely else "not timely"
        yield f"prevotes nil: {why if proposal.valid else 'invalid'}"
    if fired.line == 28 and vote is not None and proposal is not None:
        if vote.value is not NIL:
            yield "prevotes the value"
        elif proposal.valid:
            yield "prevotes nil: locked"
    if fired.line == 36 and state.step is not Step.PREVOTE:
        yield "only remembers: too late to lock"
    if fired.line == 36 and state.step is Step.PREVOTE and locked and state.locked_value != facts.polka:
        yield "leaves an older lock"
    if fired.line == 49 and facts.commit is not None and facts.commit[0] < state.round:
        yield "decides a round that is over"


def _helped(probes: Probes, fired: Fired) -> None:
    """What of others made it fire."""
    step = probes._step
    if isinstance(step, inputs.CertificateReceived):
        if fired.line == 36 and step.certificate.kind is VoteKind.PREVOTE:
            probes.reach("recovery: a forwarded polka lets vote")
        if fired.line == 49:
            probes.reach("recovery: a commit certificate decides")
    if isinstance(step, inputs.BlockReceived) and fired.line == 49:
        probes.reach("recovery: a fetched block decides")


def _line_18(probes: Probes, original: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Fired | None:
    fired: Fired | None = original(*args, **options)
    if fired is not None:
        probes.reach("line_18")
    return fired


def _stepped(probes: Probes, original: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Replica.step(self, happened, now_ms)."""
    probes._step = args[1]
    effects = original(*args, **options)
    for effect in effects:
        if isinstance(effect, RECOVERED_BY):
            probes.reach(f"recovery: {type(effect).__name__}")
        if isinstance(effect, fx.ReportEvidence):
            probes.reach(f"evidence: {type(effect.evidence).__name__}")
    return effects


def _early(probes: Probes, original: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    proposals, votes = original(*args, **options)
    probes.reach("recovery: an early proposal is used", len(proposals))
    probes.reach("recovery: an early vote is used", len(votes))
    return proposals, votes


def _allowed(probes: Probes, original: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    withheld = original(*args, **options)
    probes.reach("recovery: a vote waits for leave to sign", len(withheld))
    return withheld


def _set_changed(probes: Probes, original: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    lanes, validators = args[0], args[1]
    fewer = len(validators) < len(lanes.validators)
    probes.reach("recovery: a convict leaves the set", int(fewer))
    return original(*args, **options)


def _started(probes: Probes, original: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Validator.start(self): a restart finds what its disk kept."""
    validator: Validator = args[0]
    if validator.life > 0:
        guard, next_height = validator.guard, len(validator.kept_blocks) + 1
        here = guard.height == next_height
        listed = {tip.author: tip.sequence for block, _ in validator.kept_blocks for tip in block.tips}
        ahead = any(batch.sequence > listed.get(batch.author, 0) for batch in validator.batches.values())
        probes.reach("recovery: restart with a lock", int(here and guard.locked_round >= 0))
        probes.reach("recovery: restart in a round above 0", int(here and guard.round > 0))
        probes.reach("recovery: restart with batches that no block lists", int(ahead))
    return original(*args, **options)


def _crashed(probes: Probes, original: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Disk.crash(self)."""
    disk: Disk = args[0]
    queued = len(disk._queue)
    lost = original(*args, **options)
    probes.reach("fault: crash")
    probes.reach("fault: unsynced writes lost", int(lost > 0))
    probes.reach("fault: unsynced writes on disk all the same", int(lost < queued))
    return lost


def _ended(probes: Probes, original: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Validator.crash(self): its step has effects left."""
    probes.reach("fault: crash between the effects of a step")
    return original(*args, **options)


def _sent(probes: Probes, original: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Outcome:
    """Chance.delays_ms(self, place, links, cut=)."""
    links: Links = args[2]
    delays_ms: Outcome = original(*args, **options)
    if not delays_ms:
        probes.reach("fault: message cut off" if options["cut"] else "fault: message lost")
    elif len(delays_ms) > 1:
        probes.reach("fault: message doubled")
    elif delays_ms[0] > links.delay_max_ms:
        probes.reach("fault: message late")
    return delays_ms


def _befallen(probes: Probes, played: Iterable[Fault]) -> None:
    healed_ms = 0.0
    for fault in played:
        if isinstance(fault, Cut):
            probes.reach(f"fault: cut, {fault.shape}")
            probes.reach("fault: cut again before it healed", int(fault.at_ms < healed_ms))
            healed_ms = fault.at_ms + fault.for_ms
        elif isinstance(fault, Jump):
            probes.reach("fault: clock ahead", int(fault.off_ms > 0))
            probes.reach("fault: clock behind", int(fault.off_ms < 0))
        elif not isinstance(fault, Seal | Crash):
            probes.reach("fault: slow disk")


WATCHED: tuple[tuple[Any, str, Observe], ...] = (
    (height, "first_to_fire", _rule),
    (height, "line_18", _line_18),
    (Replica, "step", _stepped),
    (EarlyMessages, "take", _early),
    (OwnVotes, "allow", _allowed),
    (Lanes, "change_set", _set_changed),
    (Validator, "start", _started),
    (Validator, "crash", _ended),
    (Disk, "crash", _crashed),
    (Chance, "delays_ms", _sent),
)
"""What is wrapped while probes watch."""
