"""A network of whole daemons in one thread: their homes, machines, wires, clients, and who watches them."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from zlib import crc32

import trio

from consensus.simulation.cluster import Event
from consensus.simulation.scenario import Scenario
from consensus.simulation.schedule import Schedule
from consensus.simulation.violation import Violation
from prsm_node import genesis as genesis_document
from prsm_node.config import Config, NetworkSettings, NodeSettings, StorageSettings
from prsm_node.consensus_host.executor import Final
from prsm_node.home import Home
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.ledger.parameters import Parameters
from prsm_node.node import Node
from prsm_node.simulation.clients import Clients, balances
from prsm_node.simulation.future import Future
from prsm_node.simulation.liars import CONVICTED, LIARS
from prsm_node.simulation.machine import START_MS, World
from prsm_node.simulation.machine_faults import MachineFaults
from prsm_node.simulation.pipe import Watch
from prsm_node.simulation.process import Process
from prsm_node.simulation.promises import BROKE_OFF, Promises
from prsm_node.simulation.trace import Frames, Sent
from prsm_node.simulation.wires import Wires, address_of
from prsm_node.wire.frames import contents
from prsm_node.wire.stream import FrameSplitter

NETWORK = "simulated"
SNAPSHOT_BLOCKS = 8
HEARTBEAT_MS = 2_000
"""Between blocks at rest: often enough that empty ones are among what is attacked."""
CHECKED = 0.25
"""The share of those who run twice that look for their twin, as every daemon does."""


class Cluster:
    """What a schedule befalls. `folder` is empty, and for the homes.

    Who makes it runs its `future` beside it, until all else has ended: a commit that began needs time to end.

    Args:
        nursery: owns all else that runs.
        trace: whether to keep what happens.
    """

    def __init__(self, schedule: Schedule, folder: Path, nursery: trio.Nursery, *, trace: bool) -> None:
        seed, chance = schedule.seed, schedule.chance()
        self.nursery = nursery
        self._place = f"{folder}/"
        self.trace: list[Event] | None = [] if trace else None
        self.seen: Counter[str] = Counter()
        """How often each kind of thing happened."""
        self.violation: Violation | None = None
        self.stopping = False
        self.over = trio.Event()
        """Set by a violation."""
        self._digest = sha256()
        self.future = Future()
        self.network = Wires(chance, schedule.scenario.links, self.future, self._watch)
        self.clients = Clients(seed)
        validators = [_key(b"validator", seed, number) for number in range(len(schedule.powers))]
        self.genesis = genesis_document.genesis(
            NETWORK,
            START_MS - 1,
            [
                (key.public, power, f"n{number}")
                for number, (key, power) in enumerate(zip(validators, schedule.powers, strict=True))
            ],
            balances(self.clients.addresses),
            Parameters(heartbeat_ms=HEARTBEAT_MS),
        )
        self.faults = MachineFaults(self, schedule)
        twice = [one.who for one in schedule.faulty if one.actor == "twins"]
        lying = {one.who: one.actor for one in schedule.faulty if one.actor != "twins"}
        checked = {who: chance.happens(("checked", who), CHECKED) for who in twice}
        kept_apart = _kept_apart(schedule.scenario)
        self.names = {key.public: f"n{number}" for number, key in enumerate(validators)}
        """Of validators, by key."""
        self.promises = Promises(
            self.names,
            [
                *(validators[who].public for who in twice if kept_apart or not checked[who]),
                *(validators[who].public for who, actor in lying.items() if actor in CONVICTED),
            ],
            self.faults.reached,
        )
        world = World(seed, chance, self.future, self.network)
        who_runs = [*range(len(validators)), *twice]
        node_keys = [_key(b"node", seed, number) for number in range(len(who_runs))]
        places = [str(address_of(number, key.public)) for number, key in enumerate(node_keys)]
        self.faulty = (
            *(f"n{who} runs twice{', checked' * checked[who]}" for who in twice),
            *(f"n{who} {LIARS[actor].__name__}" for who, actor in lying.items()),
        )
        self.all = [
            Process(
                self,
                world,
                number,
                self._home(folder, number),
                _config(number, places),
                (node_keys[number], validators[who]),
                name=f"n{who}" if number < len(validators) else f"n{who}'",
                honest=who not in twice and who not in lying,
                checked=checked.get(who, True),
                lies=LIARS.get(lying.get(who, "twins")),
            )
            for number, who in enumerate(who_runs)
        ]
        self.honest = [process for process in self.all if process.honest]
        latest_ms = schedule.scenario.faults_ms / 2
        self._second_ms = [chance.between(("second", who), 0, latest_ms) for who in twice]
        self.seen["twice"] = len(twice)
        self.seen["lying"] = len(lying)
        self.seen["checked"] = sum(checked.values())

    def _home(self, folder: Path, number: int) -> Home:
        home = Home(folder / f"n{number}")
        home.state.mkdir(parents=True)
        genesis_document.save(self.genesis, home.genesis)
        return home

    # --- what faults ask --------------------------------------------------------------------------

    @property
    def elapsed_ms(self) -> float:
        return self.future.now_ms

    def at(self, delay_ms: float, act: Callable[[], None]) -> None:
        self.future.at(delay_ms, act)

    def record(self, kind: str, who: Process | None, what: str) -> None:
        self.seen[kind] += 1
        # The folder is another one in each run, and no part of the seed.
        self._happened(kind, who.name if who is not None else "", what.replace(self._place, ""))

    def seal(self, number: int, body: int) -> None:
        """A client asks this daemon for the payment of this number."""
        raw = self.clients.signed(self.genesis.hash, body)
        self.nursery.start_soon(self.clients.pay, self, number, raw)

    # --- what processes and clients tell ------------------------------------------------------------

    def serves(self, process: Process, node: Node) -> None:
        """A run is up."""
        self.record("serves", process, f"height {node.state.height}")

        def final(told: Final) -> None:
            if process.node is node:
                where = f"height {told.block.height}, round {told.certificate.round}"
                self._show("decide", process.name, f"{where}, {told.digest.hex()[:6]}")
                with self._judged():
                    self.promises.final(process.name, told, node)

        node.on_final(final)

    def told(self, process: Process, digest: bytes, height: int) -> None:
        """A client believes this daemon that its payment is final."""
        self.record("settled", process, f"{digest.hex()[:12]} at height {height}")
        with self._judged():
            self.promises.told(process.name, digest, height)

    def fails(self, process: Process, error: Exception) -> None:
        """A daemon ended that nobody killed."""
        self.violate(Violation(BROKE_OFF, f"{process.name}: {_said(error)}"), error)

    def logged(self, name: str, event: str, fields: dict[str, object]) -> None:
        self.seen[f"log.{event}"] += 1
        if event == "warning evidence":
            self.seen[f"evidence of {fields['kind']}"] += 1
        level, _, what = event.partition(" ")
        if self.trace is not None and level != "debug":
            told = " ".join(f"{field}={value}" for field, value in fields.items())
            for key, validator in self.names.items():
                told = told.replace(key.hex(), validator)
            self._show(level, name, f"{what} {told}".replace(self._place, ""))

    def violate(self, violation: Violation, cause: BaseException | None = None) -> None:
        if self.violation is None:
            violation.__cause__ = cause
            self.violation = violation
            self.record("violation", None, str(violation))
            self.over.set()

    @contextmanager
    def _judged(self) -> Iterator[None]:
        try:
            yield
        except Violation as violation:
            self.violate(violation)

    def _watch(self, source: int, to: int) -> Watch:
        splitter = FrameSplitter()

        def sent(data: bytes) -> Callable[[], None] | None:
            carried: Counter[str] = Counter()
            frames: Frames = []
            with self._judged():
                for raw in splitter.feed(data):
                    kind, messages = contents(raw)
                    frames.append((kind, messages))
                    carried[kind.name.lower()] += len(messages)
                    for message in messages:
                        self.promises.sent(kind, message)
            for name in carried:
                self.seen[f"sent.{name}"] += 1
            told = ", ".join(f"{count} {name}" for name, count in carried.items())
            who = f"{self.all[source].name} > {self.all[to].name}"
            self._happened("sent", who, f"{told} ({len(data)} bytes, {crc32(data):08x})")
            if self.trace is None:
                return None
            left = Sent(frames, lambda: self.elapsed_ms)
            self._show("sent", who, left)
            return left.arrives

        return sent

    def _happened(self, kind: str, who: str, what: str) -> None:
        self._digest.update(f"{self.elapsed_ms:.3f} {kind} {who} {what}\n".encode())
        if kind != "sent":
            self._show(kind, who, what)

    def _show(self, kind: str, who: str, what: object) -> None:
        """Put it into the trace alone."""
        if self.trace is not None:
            self.trace.append(Event(self.elapsed_ms, kind, who, what))

    # --- what a run asks --------------------------------------------------------------------------

    def start(self) -> None:
        first = len(self.genesis.validators)
        for process in self.all[:first]:
            process.start()
        for process, at_ms in zip(self.all[first:], self._second_ms, strict=True):
            self.at(at_ms, process.start_if_down)
        self.faults.begin()

    def calm(self) -> None:
        """Heal all."""
        self.faults.calm()

    async def stop(self) -> None:
        """Return when every process has ended. Time must go on meanwhile: a commit that began ends first."""
        self.stopping = True
        for process in self.all:
            process.end()
        for process in self.all:
            await process.until_ended()
        self.seen["disk refused"] = sum(process.disk.refused for process in self.all)
        self.seen["jailed"] = len(self.promises.jailed_from)

    def heights(self) -> list[int]:
        """What each honest daemon has executed; -1 for one that does not run."""
        return [process.node.state.height if process.node is not None else -1 for process in self.honest]

    def unpunished(self) -> list[str]:
        """Whom honest daemons hold evidence against that no block has committed."""
        return self.promises.owed(p.node for p in self.honest if p.node is not None)

    def check_standing(self) -> None:
        """Hold what every running daemon has against all promises."""
        for process in self.all:
            node = process.node
            if node is not None:
                with self._judged():
                    self.promises.standing(process.name, node, self.clients.addresses, self.genesis.supply)

    def digest(self) -> str:
        """Of all that happened, in its order."""
        return self._digest.hexdigest()


def _kept_apart(scenario: Scenario) -> bool:
    """Whether two who look for each other may fail to meet: not while all machines reach each other."""
    often_ms = (scenario.partitions.every_ms, scenario.crashes.every_ms, scenario.machines.disk_every_ms)
    return any(often_ms)


def _key(purpose: bytes, seed: int, number: int) -> SigningKey:
    return SigningKey.from_seed(sha256(b"%s %d %d" % (purpose, seed, number)).digest())


def _config(number: int, places: list[str]) -> Config:
    place = address_of(number, bytes(32))
    others = tuple(text for other, text in enumerate(places) if other != number)
    return Config(
        node=NodeSettings(name=f"n{number}"),
        network=NetworkSettings(host=place.host, port=place.port, bootstrap=others, mdns=False, dht=False),
        storage=StorageSettings(snapshot_blocks=SNAPSHOT_BLOCKS),
    )


def _said(error: BaseException) -> str:
    """The innermost reasons, in their order."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(map(_said, error.exceptions))
    return f"{type(error).__name__}: {error}"
