"""Does to a cluster what its schedule says, and heals all in the end."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from consensus.simulation.network import Pair, shaped
from consensus.simulation.scenario import Links, Shape
from consensus.simulation.schedule import Crash, Cut, Fault, Jump, Place, Schedule, Seal, Slow


class FaultyDisk(Protocol):
    slowed: int
    """How many times as long it takes as it should."""


class Process(Protocol):
    """What befalls one."""

    name: str
    up: bool
    clock_off_ms: int
    crash_after: int | None
    """Effects until it ends by itself."""

    @property
    def disk(self) -> FaultyDisk: ...
    def start(self) -> None: ...


class FaultyNetwork(Protocol):
    links: Links

    def cut(self, pairs: list[Pair]) -> None: ...
    def heal(self) -> None: ...


class Befallen(Protocol):
    """A cluster: of replicas (cluster.py), or of whole daemons (prsm_node/simulation)."""

    @property
    def elapsed_ms(self) -> float: ...
    @property
    def all(self) -> Sequence[Process]: ...
    @property
    def network(self) -> FaultyNetwork: ...
    def at(self, delay_ms: float, act: Callable[[], None]) -> None: ...
    def record(self, kind: str, who: Any, what: str) -> None: ...
    def seal(self, number: int, body: int) -> None: ...


class Faults:
    """What befalls a cluster, until `calm`; batches are sealed afterwards too."""

    def __init__(self, cluster: Befallen, schedule: Schedule) -> None:
        self._cluster = cluster
        self.played: list[Fault] = []
        """What befell it so far."""
        self.reached_ms: dict[Place, float] = {}
        """When each round was voted in first."""
        self._after: defaultdict[Place, list[Fault]] = defaultdict(list)
        for fault in schedule.faults():
            self._after[fault.after].append(fault)
        self._calm = False
        self._cuts = 0

    def begin(self) -> None:
        """Put into the cluster's future what befalls it so long after its start."""
        self.reached(0, 0)

    def reached(self, height: int, round_: int) -> None:
        """Somebody votes in this round: what befalls the cluster so long after the first who does is due."""
        if (height, round_) not in self.reached_ms:
            self.reached_ms[height, round_] = self._cluster.elapsed_ms
            for fault in self._after[height, round_]:
                self._cluster.at(fault.at_ms, self._play(fault))

    def calm(self) -> None:
        """Heal all: links are plain, clocks right, disks quick, and who was down is up."""
        self._calm = True
        cluster = self._cluster
        cluster.record("calm", None, "all is healed")
        links = cluster.network.links
        cluster.network.heal()
        cluster.network.links = Links(delay_min_ms=links.delay_min_ms, delay_max_ms=links.delay_max_ms)
        for validator in cluster.all:
            validator.clock_off_ms, validator.disk.slowed, validator.crash_after = 0, 1, None
            if not validator.up:
                validator.start()

    def _play(self, fault: Fault) -> Callable[[], None]:
        def play() -> None:
            if self._calm and not isinstance(fault, Seal):
                return
            self.played.append(fault)
            self.befall(fault)

        return play

    def befall(self, fault: Fault) -> None:
        """Do it, here and now."""
        if isinstance(fault, Seal):
            self._cluster.seal(fault.who, fault.body)
        elif isinstance(fault, Cut):
            self._cut(fault)
        elif isinstance(fault, Crash):
            self._crash(fault)
        elif isinstance(fault, Jump):
            self._jump(fault)
        else:
            assert isinstance(fault, Slow), "replicas have no machine"
            self._slow(fault)

    def _cut(self, fault: Cut) -> None:
        cluster = self._cluster
        cluster.network.heal()
        cluster.network.cut(shaped(fault.shape, list(fault.members)))
        names = [cluster.all[member].name for member in fault.members]
        cluster.record("cut", None, f"{fault.shape}: {_told(fault.shape, names)}")
        self._cuts += 1
        this = self._cuts

        def heal() -> None:
            if self._cuts == this and not self._calm:
                cluster.network.heal()
                cluster.record("heal", None, "")

        cluster.at(fault.for_ms, heal)

    def _crash(self, fault: Crash) -> None:
        victim = self._cluster.all[fault.who]
        if not victim.up or victim.crash_after is not None:
            return
        victim.crash_after = fault.effects

        def restart() -> None:
            if not victim.up:
                victim.start()
            victim.crash_after = None

        self._cluster.at(fault.back_after_ms, restart)

    def _jump(self, fault: Jump) -> None:
        victim = self._cluster.all[fault.who]
        victim.clock_off_ms = fault.off_ms
        self._cluster.record("clock", victim, f"{fault.off_ms} ms off")

    def _slow(self, fault: Slow) -> None:
        victim = self._cluster.all[fault.who]
        victim.disk.slowed = fault.factor
        self._cluster.record("slow", victim, f"{fault.factor} times")

        def quick() -> None:
            victim.disk.slowed = 1

        self._cluster.at(fault.for_ms, quick)


def _told(shape: Shape, names: list[str]) -> str:
    """Who is on which side."""
    if shape == "ring":
        return " ".join(names)
    first = 1 if shape == "one" else (len(names) + 1) // 2
    return f"{' '.join(names[:first])} | {' '.join(names[first:])}"
