"""What a scenario does to a cluster, drawn from its seed, and the calm after it."""

from collections.abc import Callable

from consensus.simulation.cluster import Cluster
from consensus.simulation.network import shaped
from consensus.simulation.scenario import Links, Scenario

EFFECTS_UNTIL_CRASH = 12
"""A step has at most a dozen effects: a crash may fall between any two."""


class Faults:
    """Draws what happens when, until `calm`."""

    def __init__(self, cluster: Cluster, scenario: Scenario) -> None:
        self._cluster, self._scenario, self._random = cluster, scenario, cluster.random
        self._calm = False
        self._bodies = 0
        self._cuts = 0

    def begin(self) -> None:
        scenario = self._scenario
        self._repeat(scenario.batch_every_ms, self._seal, always=True)
        self._repeat(scenario.partitions.every_ms, self._cut)
        self._repeat(scenario.crashes.every_ms, self._crash)
        self._repeat(scenario.clocks.every_ms, self._jump)
        self._repeat(scenario.slowness.every_ms, self._slow)

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

    def _repeat(self, every_ms: int, act: Callable[[], None], *, always: bool = False) -> None:
        if not every_ms:
            return

        def again() -> None:
            if self._calm and not always:
                return
            act()
            self._cluster.at(self._random.uniform(0.2, 1.8) * every_ms, again)

        self._cluster.at(self._random.uniform(0, 2) * every_ms, again)

    def _seal(self) -> None:
        self._bodies += 1
        self._cluster.seal(self._random.randrange(len(self._cluster.all)), self._bodies)

    def _cut(self) -> None:
        cluster, partitions = self._cluster, self._scenario.partitions
        shape = self._random.choice(partitions.shapes)
        members = [validator.number for validator in cluster.all]
        self._random.shuffle(members)
        cluster.network.heal()
        cluster.network.cut(shaped(shape, members))
        names = " ".join(cluster.all[member].name for member in members)
        cluster.record("cut", None, f"{shape}: {names}")
        self._cuts += 1
        this = self._cuts

        def heal() -> None:
            if self._cuts == this:
                cluster.network.heal()
                cluster.record("heal", None, "")

        cluster.at(self._random.uniform(0.1, 1) * partitions.for_ms, heal)

    def _crash(self) -> None:
        victim = self._random.choice(self._cluster.all)
        if not victim.up or victim.crash_after is not None:
            return
        victim.crash_after = self._random.randint(0, EFFECTS_UNTIL_CRASH)

        def restart() -> None:
            if not victim.up:
                victim.start()
            victim.crash_after = None

        self._cluster.at(self._random.uniform(0.05, 1) * self._scenario.crashes.down_ms + 50, restart)

    def _jump(self) -> None:
        victim = self._random.choice(self._cluster.all)
        victim.clock_off_ms = self._random.randint(-1, 1) * self._random.randint(
            0, self._scenario.clocks.jump_ms
        )
        self._cluster.record("clock", victim, f"{victim.clock_off_ms} ms off")

    def _slow(self) -> None:
        victim, slowness = self._random.choice(self._cluster.all), self._scenario.slowness
        victim.disk.slowed = slowness.factor
        self._cluster.record("slow", victim, f"{slowness.factor} times")

        def quick() -> None:
            victim.disk.slowed = 1

        self._cluster.at(self._random.uniform(0.1, 1) * slowness.for_ms, quick)
