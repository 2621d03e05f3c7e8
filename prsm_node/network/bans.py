"""Who is kept out, why, and until when: nodes by key, and places from which bad ones keep coming.

A ban ends by itself, each later one of the same subject is four times as long. Keys cost nothing, so places
answer too: four keys banned from one address ban the address, four addresses banned in a network group ban
the group. An IPv6 line has addresses at will, so it counts for one, then comes the site, then the group: else
whoever has a line had his provider's whole network banned. A place's ban never keeps out a validator of the
set, nor whom the operator named: they may still prove themselves (links.py). This machine's own address is
never banned: all of a local network share it.

Bans are kept in the home across restarts, by the wall clock; a running node counts by its monotonic one, and
a clock that was set back never makes a ban longer than it was.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from prsm_node.network.addresses import peer_id_of
from prsm_node.network.groups import LOOPBACK, group_of_host, places_of_host

GROWTH = 4.0
BAN_MAX_S = 86_400.0
# An offence is remembered so long after its ban: who behaves for a day begins anew.
MEMORY_S = 86_400.0
# 4,096 subjects x about 400 bytes = 1.6 MB; the one whose ban ends, or ended, first is forgotten.
SUBJECTS_MAX = 4_096
# Banned in a place within an hour, that ban it: nodes of an address or line, then of these in what is wider.
KEYS_PER_ADDRESS = 4
ADDRESSES_PER_GROUP = 4
# Offences of a place count together within an hour.
PLACE_WINDOW_S = 3_600.0
PLACES_MAX = 1_024
WHO_LENGTH_MAX = 256
WHY_LENGTH_MAX = 80


_TimeMs = Annotated[int, Meta(ge=0, le=2**53)]


class Ban(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One ban, as people and the home's file have it. Times are Unix milliseconds."""

    who: Annotated[str, Meta(max_length=WHO_LENGTH_MAX)]
    """A peer id, an IP address, or a network."""
    why: Annotated[str, Meta(max_length=WHY_LENGTH_MAX)]
    since_ms: _TimeMs
    until_ms: _TimeMs
    offences: Annotated[int, Meta(ge=1, le=2**31)]
    """Of this subject so far."""


class _Record(msgspec.Struct):
    ban: Ban
    until: float


class Bans:
    """`now`: seconds of any monotonic clock, `now_ms` the wall clock's Unix milliseconds, at one moment."""

    def __init__(self, ban_s: float) -> None:
        """`ban_s`: of the first ban."""
        self._ban_s = ban_s
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._offenders: OrderedDict[str, OrderedDict[str, float]] = OrderedDict()
        """Place -> what was banned there, and when."""
        self.changed = False
        """Whether something is to be kept that was not when this was last set to False."""

    def ban_node(
        self, key: bytes, why: str, host: str, validator: bool, now: float, now_ms: int
    ) -> list[Ban]:
        """Ban a node, and the place that it came from if that is one too many; return the bans made.

        `host`: its IP address, "" where that is not known. A validator of the set answers for itself alone,
        and its bans do not grow: the others need it back.
        """
        who = peer_id_of(key)
        made = [self._ban(who, why, now, now_ms, grows=not validator)]
        offender, bound, what = who, KEYS_PER_ADDRESS, "nodes"
        spared = validator or group_of_host(host) == LOOPBACK
        for place in () if spared else places_of_host(host):
            if not self._too_many(place, offender, bound, now):
                break
            made.append(self._ban(place, f"{bound} {what} banned there", now, now_ms))
            offender, bound, what = place, ADDRESSES_PER_GROUP, "addresses"
        return made

    def node_banned(self, key: bytes, now: float) -> bool:
        return bool(self._records) and self._banned(peer_id_of(key), now)

    def place_banned(self, host: str, now: float) -> bool:
        """Whether an IP address, or a network that it lies in, is banned."""
        return bool(self._records) and any(self._banned(place, now) for place in places_of_host(host))

    def lift(self, who: str, now: float) -> bool:
        """End a ban and forget its offences; False where there is none."""
        record = self._records.pop(who, None)
        self._offenders.pop(who, None)
        self.changed = self.changed or record is not None
        return record is not None and record.until > now

    def listed(self, now: float) -> list[Ban]:
        """Return the bans in force, the one that ends first in front."""
        held = [record for record in self._records.values() if record.until > now]
        return [record.ban for record in sorted(held, key=lambda record: record.until)]

    def remembered(self) -> tuple[Ban, ...]:
        """Return all, ended ones too: what outlives a restart."""
        return tuple(record.ban for record in self._records.values())

    def restore(self, kept: Iterable[Ban], now: float, now_ms: int) -> None:
        """Take up what an earlier run remembered."""
        for ban in kept:
            length_ms = max(0, min(ban.until_ms - ban.since_ms, int(BAN_MAX_S * 1000)))
            left_ms = min(ban.until_ms - now_ms, length_ms)
            if left_ms > -MEMORY_S * 1000:
                self._records[ban.who] = _Record(ban, now + left_ms / 1000)
        self._bound()

    def _banned(self, who: str, now: float) -> bool:
        record = self._records.get(who)
        return record is not None and record.until > now

    def _ban(self, who: str, why: str, now: float, now_ms: int, grows: bool = True) -> Ban:
        earlier = self._records.pop(who, None)
        remembered = earlier is not None and now - earlier.until < MEMORY_S
        offences = earlier.ban.offences + 1 if earlier is not None and remembered else 1
        # 4**20 minutes is beyond any bound: the exponent need not grow further.
        length_s = min(self._ban_s * GROWTH ** min(offences - 1, 20), BAN_MAX_S) if grows else self._ban_s
        ban = Ban(who, why[:WHY_LENGTH_MAX], now_ms, now_ms + int(length_s * 1000), offences)
        self._records[who] = _Record(ban, now + length_s)
        self._bound()
        self.changed = True
        return ban

    def _too_many(self, place: str, offender: str, bound: int, now: float) -> bool:
        """Count an offender of a place; True with the last that is borne."""
        offenders = self._offenders.pop(place, None) or OrderedDict()
        offenders[offender] = now
        for old in [one for one, at in offenders.items() if now - at > PLACE_WINDOW_S]:
            del offenders[old]
        if len(offenders) >= bound:
            return True
        self._offenders[place] = offenders
        if len(self._offenders) > PLACES_MAX:
            self._offenders.popitem(last=False)
        return False

    def _bound(self) -> None:
        while len(self._records) > SUBJECTS_MAX:
            first = min(self._records.items(), key=lambda item: item[1].until)[0]
            del self._records[first]
