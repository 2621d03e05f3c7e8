"""One live daemon under attack: what it does about the attacker, and whether its work goes on meanwhile.

Knows the daemon as its operator does: by its home's control socket, its log, and its process.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import trio

from prsm_node.bench.funds import Purse, purse
from prsm_node.control.client import Client
from prsm_node.control.views import BanView, Settled, StatusView, ValidatorView
from prsm_node.errors import OperatorError
from prsm_node.home import Home

T = TypeVar("T")

POLL_S = 0.05
PAYMENT_EVERY_S = 0.25
PAYMENT_S = 20.0
PAYMENT_LEFT_S = 5.0
"""For a payment that is under way when its act ends."""


class Watch(msgspec.Struct):
    """What was seen of the daemon while an act lasted."""

    banned_s: float | None = None
    """From the act's begin until the attacker stood among the banned."""
    alert_s: float | None = None
    """The same until the log said so."""
    final_ms: list[float] = []
    """Of each payment sent meanwhile: until it was final."""
    unpaid_since: float | None = None
    """Since when a payment waits, by the monotonic clock; None while none does."""
    memory_mb: float = 0.0
    """The most that the daemon held."""
    faults: dict[str, int] = {}
    """Faults counted meanwhile, by reason, and what the transport counted."""


class Arena:
    """A daemon that runs. Making one raises OperatorError where none does."""

    def __init__(self, home: Path) -> None:
        self.home = Home(home)
        with Client(home) as client:
            status = client.ask("status", StatusView)
            self.validators = [view.key for view in client.ask("validators", list[ValidatorView])]
            self._purse: Purse | None = None
            with suppress(OperatorError):
                self._purse = purse(home, client)
        self.pid = status.pid
        self.network = status.network
        self.address = status.listen[0]

    @property
    def pays(self) -> bool:
        """Whether the home has a wallet whose payments can be timed."""
        return self._purse is not None

    async def ask(self, method: str, kind: type[T], wait_s: float = 10.0, **params: Any) -> T:
        def asked() -> T:
            with Client(self.home.path) as client:
                return client.ask(method, kind, wait_s, **params)

        return await trio.to_thread.run_sync(asked, abandon_on_cancel=True)  # type: ignore[call-arg]

    async def status(self) -> StatusView:
        return await self.ask("status", StatusView)

    async def height(self) -> int:
        """The height that is being agreed on."""
        return (await self.status()).height + 1

    def memory_mb(self) -> float:
        """Of the daemon's main process."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))

    async def faults(self) -> dict[str, int]:
        counters = await self.ask("counters", dict[str, float])
        prefixes = ("links.fault.", "links.libp2p.", "links.links_refused", "links.reads_delayed")
        return {
            name.removeprefix("links."): int(n) for name, n in counters.items() if name.startswith(prefixes)
        }

    @asynccontextmanager
    async def watched(self, who: str) -> AsyncIterator[tuple[Watch, trio.Event]]:
        """Watch the daemon while in the block; the event is set when `who` is banned and the alert logged."""
        watch, over = Watch(), trio.Event()
        before = await self.faults()
        log_from = self.home.log.stat().st_size if self.home.log.exists() else 0
        began = time.monotonic()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_bans, watch, who, began, log_from, over)
            nursery.start_soon(self._watch_memory, watch)
            nursery.start_soon(self._pay, watch)
            yield watch, over
            if watch.unpaid_since is not None:
                # What is under way counts too: an act that stops all payments has none to show.
                with trio.move_on_after(PAYMENT_LEFT_S):
                    while watch.unpaid_since is not None:  # noqa: ASYNC110
                        await trio.sleep(POLL_S)
            nursery.cancel_scope.cancel()
        now = await self.faults()
        watch.faults = {
            name: count - before.get(name, 0) for name, count in now.items() if count > before.get(name, 0)
        }

    async def _watch_bans(
        self, watch: Watch, who: str, began: float, log_from: int, over: trio.Event
    ) -> None:
        while watch.banned_s is None or watch.alert_s is None:
            if watch.banned_s is None and any(
                ban.who == who for ban in await self.ask("bans", list[BanView])
            ):
                watch.banned_s = time.monotonic() - began
            if watch.alert_s is None and self._alerted(who, log_from):
                watch.alert_s = time.monotonic() - began
            await trio.sleep(POLL_S)
        over.set()

    def _alerted(self, who: str, log_from: int) -> bool:
        with self.home.log.open("rb") as file:
            file.seek(log_from)
            return any(b"peer_banned" in line and who.encode() in line for line in file)

    async def _watch_memory(self, watch: Watch) -> None:
        while True:
            watch.memory_mb = max(watch.memory_mb, self.memory_mb())
            await trio.sleep(POLL_S)

    async def _pay(self, watch: Watch) -> None:
        while self._purse is not None:
            raw = self._purse.pay(self._purse.address, 1)
            watch.unpaid_since = time.monotonic()
            settled = await self.ask(
                "submit_and_wait", Settled, PAYMENT_S + 5, transaction=raw, timeout_s=PAYMENT_S
            )
            assert settled.outcome == "executed", f"a payment under attack was {settled.outcome}"
            watch.unpaid_since = None
            watch.final_ms.append(settled.latency_ms)
            await trio.sleep(PAYMENT_EVERY_S)

    async def still_pays(self) -> float | None:
        """Pay once; milliseconds to finality, None where there is no wallet."""
        if self._purse is None:
            return None
        with Client(self.home.path) as client:
            self._purse = purse(self.home.path, client)
        raw = self._purse.pay(self._purse.address, 1)
        settled = await self.ask(
            "submit_and_wait", Settled, PAYMENT_S + 5, transaction=raw, timeout_s=PAYMENT_S
        )
        return settled.latency_ms
