"""What befalls whole daemons, drawn from a seed: what befalls replicas too, and what only machines know.

Faulty is here who runs twice (Twins, arXiv:2004.10617): the real daemon on two machines with one validator
key, each with a home of its own, so that no guard keeps the two from signing against each other; or a daemon
whose frames are altered on their way out (liars.py). All else that a faulty validator may do, the pure
simulation's actors do.
"""

from random import Random

from msgspec.structs import replace

from consensus.simulation.scenario import Actor, Rings, Scenario
from consensus.simulation.schedule import BadDisk, Leap, MachineFault, Schedule, leap_ms, schedule_of
from prsm_node.simulation.liars import LIARS

NODES = 4
ROOM_BYTES_MAX = 256 * 1024


def drawn(scenario: Scenario, seed: int, nodes: int | None = None) -> Schedule:
    """Draw who is faulty and what befalls the daemons. A scenario's actors stay out but for that."""
    faulty, machines = Random(f"twins {seed}").random(), scenario.machines
    actors: tuple[Actor, ...] = ()
    if faulty < machines.twins:
        actors = ("twins",)
    elif faulty < machines.twins + machines.liars:
        actors = tuple(LIARS)
    befallen = replace(
        scenario,
        actors=actors,
        rings=Rings(),
        clocks=replace(scenario.clocks, leap_every_ms=0),  # the clock of one machine leaps, below
    )
    common = schedule_of(befallen, seed, nodes or NODES)
    found: list[MachineFault] = [*_bad_disks(common), *_leaps(common)]
    found.sort(key=lambda fault: fault.at_ms)
    return replace(common, entries=(*common.entries, *found), daemons=True)


def _bad_disks(common: Schedule) -> list[BadDisk]:
    machines, random = common.scenario.machines, Random(f"disk {common.seed}")
    found: list[BadDisk] = []
    for at_ms in _times(random, machines.disk_every_ms, common.scenario.faults_ms):
        full, room = random.random() < 0.5, random.randrange(ROOM_BYTES_MAX)
        for_ms = round(random.uniform(0.1, 1) * machines.disk_for_ms, 3)
        who = random.randrange(common.processes())
        found.append(BadDisk(at_ms, who, "full" if full else "failing", room, for_ms))
    return found


def _leaps(common: Schedule) -> list[Leap]:
    """All of one machine, whose validator has less than a third: blocks bear the time of a quorum's clocks,
    and had these been days ahead, right ones would have to wait for the day."""
    machines, random = common.scenario.machines, Random(f"leap {common.seed}")
    weak = [who for who, power in enumerate(common.powers) if 3 * power < sum(common.powers)]
    if not weak:
        return []
    who, found = random.choice(weak), []
    for at_ms in _times(random, machines.leap_every_ms, common.scenario.faults_ms):
        found.append(Leap(at_ms, who, leap_ms(random, machines.leap_hours)))
    return found


def _times(random: Random, every_ms: int, until_ms: int) -> list[float]:
    if not every_ms:
        return []
    found, at_ms = [], random.uniform(0, 2) * every_ms
    while at_ms < until_ms:
        found.append(round(at_ms, 3))
        at_ms += random.uniform(0.2, 1.8) * every_ms
    return found
