"""What a run leaves to the next: bans hold, anchors are dialled first, and a spoilt file stops no start."""

import contextlib
import os
import random
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from prsm_node.network.address_book import LASTING_S, AddressBook
from prsm_node.network.addresses import Address, peer_id_of
from prsm_node.network.bans import Ban
from prsm_node.network.conduct import Conduct
from prsm_node.network.config import NetworkConfig
from prsm_node.network.link import Link
from prsm_node.network.peer_memory import PeerMemory, chosen
from prsm_node.network.peer_records import ANCHORS_MAX, Forgetful, PeerFile, Remembered, decode, encode
from prsm_node.unreadable import UNREADABLE
from prsm_node.wire.frames import Reason
from tests.network.nodes import Rogue, Session, config, key, running, start, until
from tests.network.test_hostile_peers import spoilt


async def test_what_is_kept_is_read_again_and_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    file = PeerFile(tmp_path / "peers.json")
    assert file.load() == Remembered()
    remembered = Remembered((Ban("203.0.113.7", "garbage", 1, 2, 3),), ("/ip4/203.0.113.8/tcp/7100",))
    await file.save(remembered)
    assert file.load() == remembered
    assert (tmp_path / "peers.json").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["peers.json"]


@pytest.mark.parametrize("spoil", [b"", b"{", b"[]", b"\xff\xfe", b'{"bans": 1}', b"[" * 100_000])
async def test_a_spoilt_file_is_begun_anew(tmp_path: Path, spoil: bytes) -> None:
    (tmp_path / "peers.json").write_bytes(spoil)
    assert PeerFile(tmp_path / "peers.json").load() == Remembered()
    await PeerFile(tmp_path / "missing" / "peers.json").save(Remembered())  # is said, and not raised


@given(st.binary(max_size=200))
def test_no_bytes_are_read_otherwise(data: bytes) -> None:
    with contextlib.suppress(*UNREADABLE):
        assert decode(encode(decode(data))) == decode(data)


async def test_a_ban_holds_at_a_restart_until_it_is_lifted(tmp_path: Path) -> None:
    records = PeerFile(tmp_path / "peers.json")
    who = peer_id_of(Rogue(9).key.public)
    async with running() as nursery:
        async with trio.open_nursery() as mortal:
            node = await start(mortal, 1, config(heartbeat_s=5), records=records)
            async with Rogue(9).linked(node) as rogue:
                for _ in range(3):
                    await rogue.write(spoilt(rogue, Reason.WRONG_SIGNATURE))
                await until(lambda: node.down)
            (ban,) = node.links.conduct.banned()
            assert (ban.who, ban.why, ban.offences) == (who, "wrong_signature", 1)
            mortal.cancel_scope.cancel()
        assert [kept.who for kept in records.load().bans] == [who]
        again = await start(nursery, 1, config(heartbeat_s=5), records=records)
        with pytest.raises(Exception):  # noqa: B017, PT011 - the library has many ways to be hung up on
            async with Rogue(9).linked(again):
                pass
        assert again.links.stats()["links_refused"] >= 1
        assert again.links.conduct.unban(who)
        assert not again.links.conduct.unban(who)
        async with Rogue(9).linked(again):
            assert len(again.links.links()) == 1
        await until(lambda: not records.load().bans, within_s=3)


async def test_a_ban_is_on_the_disk_within_seconds_of_the_offence(tmp_path: Path) -> None:
    records = PeerFile(tmp_path / "peers.json")
    async with running() as nursery:
        node = await start(nursery, 1, config(heartbeat_s=5), records=records)
        async with Rogue(9).linked(node) as rogue:
            for _ in range(3):
                await rogue.write(spoilt(rogue, Reason.WRONG_SIGNATURE))
            await until(lambda: node.down)
        await until(lambda: records.load().bans, within_s=3)


class Linked:
    """Links that stand still, at one moment."""

    def __init__(self, links: list[Any]) -> None:
        self.conduct = Conduct(60.0, lambda: 100.0, lambda: 0)
        self.book = AddressBook(bytes(32), NetworkConfig(), random.Random(1))
        self._links = cast(list[Link], links)

    def links(self) -> list[Link]:
        return self._links

    def clock(self) -> float:
        return 100.0


def link(index: int, since: float, outbound: bool = True) -> Any:
    address = f"/ip4/203.0.113.{index}/tcp/7100"
    return SimpleNamespace(
        node_key=index.to_bytes(32, "big"), since=since, outbound=outbound, address=address, number=index
    )


async def test_the_longest_lived_outbound_links_are_the_anchors_and_come_first_next_time(
    tmp_path: Path,
) -> None:
    records = PeerFile(tmp_path / "peers.json")
    young = link(1, 100.0 - LASTING_S / 2)
    links = Linked([young, link(2, 50.0), link(3, 40.0), link(4, 30.0), link(5, 10.0, outbound=False)])
    links.book.learn(Address("ip4", "203.0.113.4", 7_100, link(4, 0.0).node_key), bootstrap=True)
    await PeerMemory(links, records).keep()
    kept = records.load().anchors
    assert [text.split("/")[2] for text in kept] == ["203.0.113.3", "203.0.113.2"]
    later = Linked([])
    memory = PeerMemory(later, records)
    memory.recall()
    assert {address.host for address in later.book.due(0.0, set(), False)} == {"203.0.113.2", "203.0.113.3"}
    await memory.keep()
    assert records.load().anchors == kept, "until others have lasted"
    assert len(kept) == ANCHORS_MAX


@pytest.mark.parametrize(
    ("offered", "kept"),
    [
        ([("203.0.113.1", 1), ("203.0.113.2", 2), ("198.51.100.1", 3)], [1, 3]),
        ([("203.0.113.1", 1), ("203.0.113.2", 2)], [1, 2]),
        ([("203.0.113.1", 1), ("198.51.100.9", 1), ("203.0.113.3", 3)], [1, 3]),
        ([("127.0.0.1", 1), ("127.0.0.1", 2), ("198.51.100.1", 3)], [1, 2]),
        ([("10.0.0.1", 1), ("10.0.0.2", 2), ("10.0.0.3", 3)], [1, 2]),
        ([], []),
    ],
)
def test_one_owner_holds_both_anchors_only_where_there_is_no_other(
    offered: list[tuple[str, int]], kept: list[int]
) -> None:
    texts = [f"/ip4/{host}/tcp/7100/p2p/{peer_id_of(key(node).public)}" for host, node in offered]
    odd = ["/quic/1", "/ip4/nowhere/tcp/1", "/ip6/fe80::1%eth0/tcp/1"]
    assert [text.rpartition("/")[2] for text in chosen([*odd, *texts])] == [
        peer_id_of(key(n).public) for n in kept
    ]


async def test_an_anchor_that_is_no_address_is_passed_over() -> None:
    class Odd(Forgetful):
        def load(self) -> Remembered:
            return Remembered((), ("/quic/1", "/ip4/1.2.3.4/tcp/5"))

    links = Linked([])
    PeerMemory(links, Odd()).recall()
    assert len(links.book) == 0


async def test_of_a_banned_place_only_a_validator_of_the_set_gets_in() -> None:
    validator, pretender = key(100), key(101)

    class Banned(Forgetful):
        def load(self) -> Remembered:
            now_ms = time.time_ns() // 1_000_000
            return Remembered((Ban("127.0.0.1", "4 nodes banned there", now_ms, now_ms + 60_000, 1),))

    async with running() as nursery:
        node = await start(
            nursery,
            1,
            config(heartbeat_s=5),
            records=Banned(),
            privileged=lambda claimed: claimed == validator.public,
        )
        assert node.links.conduct.place_banned("127.0.0.1")
        await start(nursery, 2, config(*node.addresses), validator_session=Session(pretender))
        await start(nursery, 3, config(*node.addresses))
        await until(lambda: node.links.stats().get("links_refused", 0) >= 2)
        member = await start(nursery, 4, config(*node.addresses), validator_session=Session(validator))
        await until(lambda: bool(member.links.links() and node.links.links()))
        assert [link.validator for link in node.links.links()] == [validator.public]


def test_no_more_validators_are_banned_at_once_than_can_be_faulty() -> None:
    clock = [0.0]
    conduct = Conduct(60.0, lambda: clock[0], lambda: int(clock[0] * 1000), lambda keys: len(keys) <= 1)
    nodes = {index: (bytes([index]) * 32, bytes([100 + index]) * 32) for index in range(1, 5)}

    def lies(index: int) -> bool:
        node_key, validator = nodes[index]
        return any(conduct.fault(node_key, "wrong_session_proof", "203.0.113.1", validator) for _ in range(9))

    assert lies(1)
    assert not lies(2), "one of four is kept out; a second would leave no quorum"
    assert not conduct.node_banned(nodes[2][0])
    assert conduct.fault(nodes[1][0], "garbage", "203.0.113.1", nodes[1][1]), "the first one stays out"
    assert conduct.fault(b"s" * 32, "wrong_session_proof", "203.0.113.9", None), "strangers as ever"
    clock[0] = 61.0
    assert lies(2), "when the first one is back"
