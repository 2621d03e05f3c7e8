"""Which links are up: one a node, no more than there are places, and who gives way when there are too many.

Two links to one node happen when both dial at once: the one that the smaller key dialled stays. A new run of
a node replaces the links of its earlier one. Who keeps a place among strangers is slots.py's.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from prsm_node.network.groups import group_of_host
from prsm_node.network.link import Link
from prsm_node.network.slots import Holder, gives_way, reserved

# Links whose node is remembered, those that ended among them: who hangs up is not rid of its faults. Those
# that are up are remembered besides.
KEYS_MAX = 1_024
# Of one validator key, linked at once: its node and a twin, or where its operator moved it to. Node keys cost
# nothing: with more, one faulty validator had all places, and a validator's share of our time for each.
NODES_A_VALIDATOR = 2

Key = TypeVar("Key")


class Seen(msgspec.Struct, frozen=True):
    """Where a node was last, and as whom."""

    host: str = ""
    validator: bytes | None = None


class Roster:
    """`privileged` says which validator keys are of the set, `bootstrap` which nodes the operator named: the
    links of both go before others. `ended` is told once of each link that was up and is no more."""

    def __init__(
        self,
        node_key: bytes,
        links_max: int,
        privileged: Callable[[bytes], bool],
        bootstrap: Callable[[bytes], bool],
        ended: Callable[[Link], None],
        count: Callable[[str], None],
    ) -> None:
        self._node_key = node_key
        self._links_max = links_max
        self._privileged = privileged
        self._bootstrap = bootstrap
        self._ended = ended
        self._count = count
        self._up: dict[bytes, Link] = {}
        self._numbers: dict[int, Link] = {}
        self._keys: OrderedDict[int, bytes] = OrderedDict()
        self._seen: OrderedDict[bytes, Seen] = OrderedDict()
        self._nodes_of: dict[bytes, list[bytes]] = {}
        """By validator key: the nodes linked that proved it, in the order in which they came."""

    def find(self, of: Link | int | bytes) -> Link | None:
        """Return the link that is up under a number or to a node key."""
        if isinstance(of, Link):
            return of if self._numbers.get(of.number) is of else None
        return self._numbers.get(of) if isinstance(of, int) else self._up.get(of)

    def key_of(self, number: int) -> bytes | None:
        """Return the node key of a link that is up, or was lately."""
        return self._keys.get(number)

    def seen(self, key: bytes) -> Seen:
        """Where a node was last; nothing of one that never greeted."""
        return self._seen.get(key) or Seen()

    def validates(self, link: Link) -> bool:
        """Whether the link's peer proved a validator key of the set, one of the first nodes that did."""
        return link.validator is not None and self._stands_for(link.node_key, link.validator)

    def validated(self, key: bytes) -> bytes | None:
        """Return the validator key of the set that a node proved when it was linked last, if it did."""
        validator = self.seen(key).validator
        return validator if validator is not None and self._stands_for(key, validator) else None

    def _stands_for(self, node: bytes, validator: bytes) -> bool:
        first = self._nodes_of.get(validator, ())[:NODES_A_VALIDATOR]
        return self._privileged(validator) and (node in first or len(first) < NODES_A_VALIDATOR)

    def needed(self, link: Link) -> bool:
        """Whether the link goes before others."""
        return self.validates(link) or self._bootstrap(link.node_key)

    def links(self) -> list[Link]:
        return list(self._up.values())

    def __len__(self) -> int:
        return len(self._up)

    def admit(self, link: Link) -> bool:
        """The link has greeted: keep it unless there is a better one to this node, or no room."""
        rival = self._up.get(link.node_key)
        if rival is not None:
            if not self._replaces(link, rival):
                link.close("duplicate")
                return False
            while (taken := rival.outbox.take()) is not None:
                for message in taken[1]:
                    link.send(taken[0], message)
            rival.close("duplicate")
            self.remove(rival)
        elif self._full(link) and not self._make_room(link):
            self._count("links_refused")
            link.close("no room")
            return False
        self._up[link.node_key] = link
        self._numbers[link.number] = link
        if link.validator is not None:
            self._nodes_of.setdefault(link.validator, []).append(link.node_key)
        self._keys[link.number] = link.node_key
        _bound(self._keys, self._numbers)
        self._seen[link.node_key] = Seen(link.host, link.validator)
        self._seen.move_to_end(link.node_key)
        _bound(self._seen, self._up)
        return True

    def remove(self, link: Link) -> None:
        """Forget a link, if it was up."""
        if self._numbers.pop(link.number, None) is None:
            return
        if self._up.get(link.node_key) is link:
            del self._up[link.node_key]
        if link.validator is not None:
            nodes = self._nodes_of[link.validator]
            nodes.remove(link.node_key)
            if not nodes:
                del self._nodes_of[link.validator]
        self._ended(link)

    def _replaces(self, link: Link, rival: Link) -> bool:
        assert link.greeting is not None, f"link {link.number} competes before it greeted"
        assert rival.greeting is not None, f"link {rival.number} is up without a greeting"
        again = link.greeting.instance != rival.greeting.instance
        if again or rival.hangs or link.outbound == rival.outbound:
            return True
        # Both ends see the same two dialled ones and keep the one of the smaller key.
        return link.outbound == (self._node_key < link.node_key)

    def _full(self, link: Link) -> bool:
        if len(self._up) >= self._links_max:
            return True
        if link.outbound or self.needed(link):
            return False
        came = sum(not other.outbound for other in self._up.values())
        return came >= self._links_max - reserved(self._links_max)

    def _make_room(self, link: Link) -> bool:
        """Whether the link may come in although there are enough; then another one that nobody needs went."""
        spare = [other for other in self._up.values() if not self.needed(other)]
        came = [_holder(other) for other in spare if not other.outbound]
        must = link.outbound or self.needed(link)
        loser = gives_way(came, None if must else _holder(link))
        if loser is not None:
            other = self._numbers[loser.number]
        elif self.needed(link) and spare:
            other = spare[-1]
        else:
            return False
        self._count("links_given_up")
        other.close("no room")
        self.remove(other)
        return True


def _bound(remembered: OrderedDict[Key, Any], up: Mapping[Key, Link]) -> None:
    """Forget the oldest that is linked no more: a crowd that comes and goes is not to change who a peer that
    stays is known as."""
    if len(remembered) > KEYS_MAX:
        oldest = next((key for key in remembered if key not in up), None)
        if oldest is not None:
            del remembered[oldest]


def _holder(link: Link) -> Holder:
    return Holder(link.number, group_of_host(link.host), link.round_trip_s)
