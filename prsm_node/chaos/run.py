"""A run: daemons on shaped links under load, faults one after another, and what became of the promises."""

import os
import secrets
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

import msgspec

from prsm_node.bench.funds import purse
from prsm_node.chaos.asking import height_told, safely, status, votes
from prsm_node.chaos.chain import Chain, equal_at, final_by_now
from prsm_node.chaos.finality import Finality, Trouble, merged
from prsm_node.chaos.harm import Harm
from prsm_node.chaos.network import Network
from prsm_node.chaos.report import FaultReport, Report, Transfers, fault_line, recovery
from prsm_node.chaos.returning import Returning
from prsm_node.chaos.scenario import Scenario
from prsm_node.chaos.schedule import Fault
from prsm_node.chaos.traffic import Traffic
from prsm_node.chaos.vitals import Vitals
from prsm_node.control.client import Client
from prsm_node.control.protocol import ControlError
from prsm_node.errors import OperatorError
from prsm_node.identity.addresses import address_of
from prsm_node.identity.ed25519 import SigningKey

KEYS_A_NODE: Final = 8
VOTING_S: Final = 30.0
RECOVERY_S: Final = 60.0
"""A network that is not back after this has broken its promise."""
DEATHS_MAX: Final = 5
"""Of daemons by themselves: one that can't start any more is not started for ever."""
CALM_S: Final = 30.0
"""At the end, until nothing is pending and all are level."""
TICK_S: Final = 0.02


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is asked for."""

    scenario: Scenario
    name: str
    seed: int
    seconds: float
    load: float
    """Transfers offered a second, all nodes together."""


class Ended(Exception):
    """The operator wants it to end now."""


class Run:
    """One run over daemons that are up; `say` is told a line for each thing that happens."""

    def __init__(
        self,
        settings: Settings,
        faults: Sequence[Fault],
        network: Network,
        say: Callable[[str], None],
        progress: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self.fleet = network.fleet
        self.homes = [daemon.home for daemon in network.fleet.daemons]
        self.faults: list[FaultReport] = []
        self.vitals = Vitals([home.name for home in self.homes], settings.seconds)
        self.trouble = Trouble()
        self.chain = Chain()
        self.finality = [Finality(self.trouble) for _ in self.homes]
        self.broken: list[str] = []
        self.began = 0.0
        self._schedule = faults
        self._carrier = network.carrier
        self._harm = Harm(network.fleet, network.carrier, settings.scenario.links)
        self._alarm = network.alarm
        self._say = say
        self._progress = progress
        self._faulty: Fault | None = None
        self._told_at = 0.0
        self._first = 1
        self._deaths = 0
        self._ended_s = settings.seconds

    @property
    def now_s(self) -> float:
        """Seconds since the begin."""
        return time.monotonic() - self.began

    def play(self) -> None:
        """Play all faults under load, wait until all is calm, and look at every block. Raise OperatorError
        where the run itself could not be made."""
        settings = self.settings
        self._wait_until_all_vote()
        keys = [
            SigningKey.from_seed(sha256(secrets.token_bytes(32)).digest()) for _ in self.homes * KEYS_A_NODE
        ]
        self._fund(keys)
        traffic = self.traffic = Traffic(self.homes, keys, settings.load, self.chain, self.finality)
        self._harm.order()
        self._first = 1 + max(status(home).height for home in self.homes)
        self.began = time.monotonic()
        traffic.start()
        try:
            for fault in self._schedule:
                self._wait(fault.at_s - self.now_s)
                self._befall(fault)
            self._wait(settings.seconds - self.now_s)
        except Ended:
            self._say(f"{self.now_s:7.1f} s  ended by the operator")
        finally:
            self._ended_s = min(settings.seconds, self.now_s)
            self._harm.heal_all()
            traffic.stop_sending()
        self._calm()
        traffic.stop_following()

    def report(self, timeline: str) -> Report:
        """Check every block on every node, and say all."""
        self._progress("looking at every block on every node")
        try:
            checked = self.chain.check(self.homes, self._first, self._looking)
        except ControlError as error:
            raise OperatorError(f"the blocks can't be looked at: {error}") from None
        senders = self.traffic.senders
        refused: dict[str, int] = {}
        for sender in senders:
            for reason, count in sender.refused.items():
                refused[reason] = refused.get(reason, 0) + count
        forgotten = 0
        for finality in self.finality:
            pending = finality.pending()
            forgotten += finality.given_up + len(pending) - final_by_now(self.homes[0], pending)
        return Report(
            scenario=self.settings.name,
            seed=self.settings.seed,
            links=self._carrier.how,
            nodes=len(self.homes),
            seconds=round(self._ended_s, 1),
            load=self.settings.load,
            cores=len(os.sched_getaffinity(0)),
            load_average=round(os.getloadavg()[1], 1),
            blocks=checked.blocks,
            warm_s=round(self.vitals.warm_s, 1),
            faults=tuple(self.faults),
            recovery=recovery(self.faults),
            finality={
                "outside": merged(f.outside for f in self.finality).distribution(),
                "during": merged(f.during for f in self.finality).distribution(),
            },
            transfers=Transfers(
                submitted=sum(sender.accepted for sender in senders),
                refused=refused,
                final=checked.transfers,
                forgotten=forgotten,
                lost=checked.lost,
                twice=checked.twice,
            ),
            memory=self.vitals.memory(),
            broken=tuple(self.broken + self.chain.broken),
            timeline=timeline,
        )

    def _befall(self, fault: Fault) -> None:
        """Do it, undo it, and time what comes back."""
        at_s = self.now_s
        self._faulty = fault
        self.trouble.begin(time.monotonic())
        self._harm.do(fault)
        self._wait(fault.for_s)
        ended = time.monotonic()
        followers = self.traffic.followers
        top = max(follower.height for follower in followers)
        self._harm.undo(fault)
        healed = time.monotonic()
        returning = Returning(fault, self._harm.victims(fault), followers, top, ended, healed)
        while not returning.whole():
            if time.monotonic() - healed > RECOVERY_S:
                self.broken.append(f"{fault.kind} at {at_s:.0f} s: not back after {RECOVERY_S:g} s")
                break
            self._tick()
        times = returning.times
        recovered = "heal_to_roots" in times
        if recovered and not equal_at(self.homes, top + 1):
            self.broken.append(f"{fault.kind} at {at_s:.0f} s: nodes differ at block {top + 1}")
        self.trouble.end(time.monotonic())
        self._faulty = None
        told = {name: round(seconds, 3) for name, seconds in times.items()}
        self.faults.append(
            FaultReport(
                fault.kind,
                fault.about,
                round(at_s, 2),
                round(healed - self.began, 2),
                round(healed - self.began + times["heal_to_roots"], 2) if recovered else None,
                fault.nodes,
                told,
            )
        )
        self._say(fault_line(fault, told))

    def _wait_until_all_vote(self) -> None:
        self._until(lambda: all(map(votes, self.homes)), VOTING_S, "the nodes do not all vote")

    def _fund(self, keys: Sequence[SigningKey]) -> None:
        settings = self.settings
        with Client(self.homes[0], timeout_s=VOTING_S) as client:
            payer = purse(self.homes[0], client)
            transfers = int(settings.load * (settings.seconds + RECOVERY_S)) // len(keys) + 100
            payer.fund(
                client, [address_of(key.public) for key in keys], 2 * transfers * (payer.network.fee_min + 1)
            )

    def _calm(self) -> None:
        """Wait until all nodes have the same blocks and nothing is pending."""

        def level() -> bool:
            seen = [status(home) for home in self.homes]
            return len({s.state_root for s in seen}) == 1 and not any(s.mempool or s.syncing for s in seen)

        deadline = time.monotonic() + CALM_S
        while not safely(level):
            if time.monotonic() > deadline:
                heights = ", ".join(f"{home.name} {height_told(home)}" for home in self.homes)
                self.broken.append(f"after {CALM_S:g} s of calm the nodes are not level: {heights}")
                return
            self._look_for_the_dead()
            time.sleep(0.1)

    def _until(self, holds: Callable[[], bool], within_s: float, else_: str) -> None:
        deadline = time.monotonic() + within_s
        while not safely(holds):
            if time.monotonic() > deadline:
                raise OperatorError(f"after {within_s:g} s {else_}; see logs/ in their homes")
            if self._alarm.ending:
                raise Ended
            self._alarm.wait(0.05)

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._tick()

    def _tick(self) -> None:
        """Wait for a moment, with an eye on everything. Raise Ended."""
        self._alarm.wait(TICK_S)
        if self._alarm.ending:
            raise Ended
        self._look_for_the_dead()
        heights = [follower.height for follower in self.traffic.followers]
        pids = [None if d in self._harm.down else d.process.pid for d in self.fleet.daemons]
        self.vitals.sample(self.now_s, heights, pids)
        if self.now_s >= self._told_at:
            self._told_at = self.now_s + 1.0
            doing = f"{self._faulty.kind} {self._faulty.about}" if self._faulty else "calm"
            final = sum(finality.final for finality in self.finality)
            self._progress(
                f"{self.now_s:4.0f} of {self.settings.seconds:.0f} s, heights "
                f"{' '.join(map(str, heights))}, {final} final, {doing}"
            )

    def _look_for_the_dead(self) -> None:
        """A daemon that ends by itself breaks a promise; it is started again, for the others' sake."""
        for daemon in self.fleet.daemons:
            code = daemon.process.poll()
            if code is None or daemon in self._harm.down:
                continue
            self.broken.append(f"{daemon.name} ended by itself with {code}: {daemon.last_words()}")
            self._say(f"{self.now_s:7.1f} s  {self.broken[-1]}")
            self._deaths += 1
            if self._deaths > DEATHS_MAX:
                raise OperatorError(f"{self.broken[-1]}; that is {self._deaths} times, so the run ends here")
            daemon.restart()

    def _looking(self, done: int, total: int) -> None:
        if done % 500 == 0:
            self._progress(f"looked at block {done} of {total} on every node")
