"""Plays every hostile act against a live daemon and says what it did about each: scripts/attack.

Exit code 0 if who must be banned was, with its alert in the log, within five seconds, while payments got
final and memory stayed within bounds.
"""

import argparse
import statistics
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio
import trio.lowlevel

from prsm_node.cli.output import print_json, print_table, say
from prsm_node.control.protocol import ControlError
from prsm_node.errors import OperatorError
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.network.addresses import peer_id_of
from tests.attack.acts import ACTS, Act, Owed
from tests.attack.arena import PAYMENT_LEFT_S, Arena, Watch
from tests.daemons.hostile_peer import HostilePeer

BAN_WITHIN_S = 5.0
GROWS_MAX_MB = 96.0
"""The daemon's buffers of a few connections at their bounds, and no more however long it lasts."""
FINAL_MAX_MS = 5_000.0
SETTLED_S = 0.05
QUICK_S = 1.5
"""Of an act in the short run that nobody is banned for."""


def main() -> int:
    options = _options()
    if options.list:
        print_table(("act", "what it does", "owed"), [(act.name, act.does, act.owed.value) for act in ACTS])
        return 0
    if options.home is None:
        say("attack: name the home of a daemon that runs, as .testnet/node0; --list shows the acts")
        return 2
    acts = [act for act in ACTS if act.name in options.only] if options.only else list(ACTS)
    if options.quick:
        acts = [act for act in acts if act.quick]
    try:
        return trio.run(_attack, options, acts)
    except* OperatorError as errors:
        say(f"attack: {errors.exceptions[0]}")
    except* KeyboardInterrupt:
        say("attack: interrupted")
    return 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/attack", description=__doc__)
    parser.add_argument("home", type=Path, nargs="?", help="the home of a daemon that runs on this machine")
    parser.add_argument(
        "--only",
        action="append",
        choices=[act.name for act in ACTS],
        metavar="ACT",
        help="play this act; may be given again",
    )
    parser.add_argument("--seconds", type=float, default=6.0, help="longest time of an act (default 6)")
    parser.add_argument("--quick", action="store_true", help="the short run: a dozen acts")
    parser.add_argument("--list", action="store_true", help="list the acts and end")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


async def _attack(options: argparse.Namespace, acts: list[Act]) -> int:
    arena = Arena(options.home)
    calm_ms = [latency for _ in range(5) if (latency := await arena.still_pays()) is not None]
    began_mb = arena.memory_mb()
    rows = []
    for number, act in enumerate(acts, start=1):
        say(f"[{number}/{len(acts)}] {act.name}: {act.does}")
        bears = options.quick and act.owed is Owed.BEAR
        watch = await _play(arena, act, min(QUICK_S, options.seconds) if bears else options.seconds)
        rows.append(_judged(act, watch, began_mb))
        await trio.sleep(SETTLED_S)
    after_ms = await arena.still_pays()
    report = {
        "home": str(options.home),
        "acts": rows,
        "passed": all(row["passed"] for row in rows) and (after_ms or 0.0) <= FINAL_MAX_MS,
        "calm_final_ms": round(statistics.median(calm_ms), 1) if calm_ms else None,
        "after_final_ms": None if after_ms is None else round(after_ms, 1),
        "memory_before_mb": round(began_mb, 1),
        "memory_after_mb": round(arena.memory_mb(), 1),
        "slowest_ban_s": max((row["banned_s"] for row in rows if row["banned_s"] is not None), default=None),
        "slowest_alert_s": max((row["alert_s"] for row in rows if row["alert_s"] is not None), default=None),
    }
    if options.json:
        print_json(report)
    else:
        _print(report)
    return 0 if report["passed"] else 1


async def _play(arena: Arena, act: Act, seconds: float) -> Watch:
    key = SigningKey.generate()
    who = peer_id_of(key.public)
    async with arena.watched(who) as (watch, banned), trio.open_nursery() as nursery:
        nursery.start_soon(_again_and_again, arena, act, key)
        with trio.move_on_after(seconds):
            await banned.wait()
        nursery.cancel_scope.cancel()
    return watch


async def _again_and_again(arena: Arena, act: Act, key: SigningKey) -> None:
    """Link up and play bursts; being hung up on is no reason to stop."""
    while True:
        peer = HostilePeer(arena.network, key=key)
        # Whatever the other end does to us is what we are here to see; the watch tells of it.
        with suppress(Exception):
            if act.greets is None:
                await act.burst(arena, peer)
                continue
            async with peer.linked(arena.address, act.greets):
                while not peer.gone.is_set():
                    await act.burst(arena, peer)
                    await trio.lowlevel.checkpoint()
        await trio.sleep(0.05)


def _judged(act: Act, watch: Watch, began_mb: float) -> dict[str, Any]:
    in_time = [seconds is not None and seconds < BAN_WITHIN_S for seconds in (watch.banned_s, watch.alert_s)]
    slowest_ms = max(watch.final_ms, default=0.0)
    wrong = []
    if act.owed is Owed.BAN and not all(in_time):
        wrong.append(f"not banned with an alert within {BAN_WITHIN_S:g} s")
    if watch.memory_mb - began_mb > GROWS_MAX_MB:
        wrong.append(f"memory grew by {watch.memory_mb - began_mb:.0f} MB")
    if slowest_ms > FINAL_MAX_MS:
        wrong.append(f"a payment took {slowest_ms:.0f} ms")
    if watch.unpaid_since is not None:
        wrong.append(f"a payment was not final {PAYMENT_LEFT_S:g} s later")
    did = "banned" if watch.banned_s is not None else "refused" if watch.faults else "unaffected"
    return {
        "act": act.name,
        "does": act.does,
        "owed": act.owed.value,
        "did": did,
        "banned_s": None if watch.banned_s is None else round(watch.banned_s, 2),
        "alert_s": None if watch.alert_s is None else round(watch.alert_s, 2),
        "final_p50_ms": round(statistics.median(watch.final_ms), 1) if watch.final_ms else None,
        "final_max_ms": round(slowest_ms, 1) if watch.final_ms else None,
        "memory_mb": round(watch.memory_mb, 1),
        "faults": watch.faults,
        "wrong": wrong,
        "passed": not wrong,
    }


def _print(report: dict[str, Any]) -> None:
    print_table(
        ("act", "what it does", "daemon", "banned s", "alert s", "final ms", "MB", ""),
        [
            (
                row["act"],
                row["does"],
                row["did"],
                _shown(row["banned_s"]),
                _shown(row["alert_s"]),
                f"{_shown(row['final_p50_ms'])} / {_shown(row['final_max_ms'])}",
                f"{row['memory_mb']:.0f}",
                "; ".join(row["wrong"]) or "ok",
            )
            for row in report["acts"]
        ],
        right=(3, 4, 5, 6),
    )
    before, after = _shown(report["calm_final_ms"]), _shown(report["after_final_ms"])
    say(
        f"Payments: {before} ms before, {after} ms after. "
        f"Memory: {report['memory_before_mb']:.0f} MB before, {report['memory_after_mb']:.0f} MB after. "
        f"Slowest ban {_shown(report['slowest_ban_s'])} s, alert {_shown(report['slowest_alert_s'])} s."
    )


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ControlError, OperatorError) as error:
        say(f"attack: {error}")
        sys.exit(1)
