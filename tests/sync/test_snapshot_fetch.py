"""A snapshot fetched from peers that lie, stall or lack it: taken from the honest, whole or not at all."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
from msgspec.structs import replace

from consensus.blocks import block_digest
from prsm_node.consensus_host.outbox import Refusal
from prsm_node.ledger.bucket_groups import GROUP_BYTES
from prsm_node.storage.errors import StorageError
from prsm_node.storage.snapshot_folder import Snapshot, SnapshotFolder
from prsm_node.storage.snapshot_manifest import encode
from prsm_node.sync.snapshot_fetch import SnapshotFetch
from prsm_node.sync.snapshot_offers import ASKED_AT_ONCE
from prsm_node.sync.snapshot_progress import Phase, Progress
from prsm_node.trusted_block import TrustedBlock
from prsm_node.wire.payloads import GroupWanted, HeadersWanted, SnapshotWanted, Wanted
from tests.sync.certified_chain import KEYS, CertifiedChain, snapshot_at
from tests.sync.peers import Behaviour, Peers, gives, stalls

ACCOUNTS = 17_000  # five groups
HONEST, SECOND, LIAR = 1, 2, 3


async def inline(work: Callable[[], object]) -> object:
    await trio.lowlevel.checkpoint()
    return work()


class Offered:
    """A chain, its snapshot, and peers that serve it."""

    def __init__(self, chain: CertifiedChain, snapshot: Snapshot, directory: Path) -> None:
        self.chain, self.snapshot = chain, snapshot
        self.folder = SnapshotFolder(directory / "mine")
        self.folder.open()
        self.progress = Progress(trio.current_time)

    def serves(
        self,
        manifest: bytes | None = None,
        group: Callable[[int, bytes], bytes] = lambda index, content: content,
        most: int = 10**6,
    ) -> Behaviour:
        """As an honest node, but for what is given; after `most` groups it stalls."""
        given = 0

        async def behave(wanted: Wanted) -> bytes | Refusal:
            nonlocal given
            await trio.sleep(0.01)
            if isinstance(wanted, SnapshotWanted):
                return manifest or self.snapshot.encoded()
            if isinstance(wanted, GroupWanted):
                given += 1
                if given > most:
                    await trio.sleep_forever()
                return group(wanted.index, self.snapshot.group(wanted.index))
            assert isinstance(wanted, HeadersWanted)
            heights = range(wanted.height, max(0, wanted.height - wanted.count), -1)
            return msgspec.msgpack.encode([self.chain.headers[height] for height in heights])

        return behave

    def fetch(self, peers: Peers, trusted: TrustedBlock | None = None) -> SnapshotFetch:
        return SnapshotFetch(peers, self.folder, self.chain.genesis, trusted, self.progress, inline)  # type: ignore[arg-type]

    def whole(self) -> bool:
        found = self.folder.newest
        return found is not None and all(
            found.group(index) == self.snapshot.group(index) for index in range(len(found.manifest.groups))
        )


@pytest.fixture
async def offered(tmp_path: Path) -> Offered:
    chain = CertifiedChain(ACCOUNTS)
    return Offered(chain, await snapshot_at(chain, tmp_path, 3, above=6), tmp_path)


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=0)


async def run(errand: SnapshotFetch) -> Snapshot | None:
    with trio.fail_after(300):
        return await errand.run()


async def test_groups_come_from_several_peers_and_make_the_snapshot(
    offered: Offered, autojump_clock: trio.testing.MockClock
) -> None:
    peers = Peers({HONEST: offered.serves(), SECOND: offered.serves()})
    found = await run(offered.fetch(peers))
    assert found is not None
    assert offered.whole()
    asked = {link for link, wanted in peers.asked if isinstance(wanted, GroupWanted)}
    assert asked == {HONEST, SECOND}
    assert peers.faults == []
    view = offered.progress.view()
    assert (view.phase, view.height, view.bytes_done) == (Phase.FETCHING, 3, view.bytes_total)


def _flip(index: int, content: bytes) -> bytes:
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


@pytest.mark.parametrize(
    "spoil",
    [_flip, lambda i, c: c[:-1], lambda i, c: b"", lambda i, c: c + c, lambda i, c: bytes(GROUP_BYTES)],
)
async def test_who_serves_a_wrong_group_is_blamed_and_the_honest_one_asked(
    offered: Offered, spoil: Callable[[int, bytes], bytes], autojump_clock: trio.testing.MockClock
) -> None:
    peers = Peers({LIAR: offered.serves(group=spoil), HONEST: offered.serves()})
    assert await run(offered.fetch(peers)) is not None
    assert offered.whole()
    assert set(peers.blamed()) == {LIAR}
    assert set(peers.blamed()[LIAR]) == {"snapshot.group"}


async def test_a_manifest_that_is_none_or_not_proven_costs_its_peer_and_no_group_is_asked_of_it(
    offered: Offered, autojump_clock: trio.testing.MockClock
) -> None:
    good = offered.snapshot.manifest
    unsigned = replace(good, certificate=offered.chain.commit(good.blocks[-1], KEYS[:1]))
    liars: dict[int, Behaviour] = {
        10: offered.serves(manifest=b"nonsense"),
        11: offered.serves(manifest=encode(good)[:-3]),
        12: offered.serves(manifest=bytes(2**24)),
        13: offered.serves(manifest=encode(replace(good, groups=good.groups[::-1]))),
        14: offered.serves(manifest=encode(unsigned)),
    }
    peers = Peers({**liars, HONEST: offered.serves()})
    assert await run(offered.fetch(peers)) is not None
    assert offered.whole()
    blamed = peers.blamed()
    assert {link for link in blamed if "snapshot.manifest" in blamed[link]} == {10, 11, 12, 13}
    assert {link for link in blamed if "snapshot.untrusted" in blamed[link]} == {14}
    assert HONEST not in blamed


async def test_only_liars_are_no_snapshot(offered: Offered, autojump_clock: trio.testing.MockClock) -> None:
    peers = Peers({LIAR: offered.serves(manifest=b"nonsense")})
    assert await run(offered.fetch(peers)) is None
    assert await run(offered.fetch(Peers({}))) is None
    assert await run(offered.fetch(Peers({HONEST: gives(Refusal.ABSENT)}))) is None
    assert list((offered.folder.directory).iterdir()) == []


async def test_a_peer_that_stalls_holds_nobody_up(
    offered: Offered, autojump_clock: trio.testing.MockClock
) -> None:
    peers = Peers({LIAR: stalls, HONEST: offered.serves()})
    began = trio.current_time()
    assert await run(offered.fetch(peers)) is not None
    assert trio.current_time() - began < 30


async def test_what_was_fetched_outlives_a_kill(
    offered: Offered, autojump_clock: trio.testing.MockClock
) -> None:
    first = offered.fetch(Peers({HONEST: offered.serves(most=2)}))
    with trio.move_on_after(60):
        await first.run()
        raise AssertionError("it had two of five groups only")
    assert first.fetched == 2
    assert offered.folder.newest is None
    again = offered.fetch(Peers({HONEST: offered.serves()}))
    assert await run(again) is not None
    assert again.fetched == 3
    assert offered.whole()
    assert offered.progress.view().resumed_bytes == 2 * GROUP_BYTES
    third = offered.fetch(Peers({}))
    assert await run(third) is not None, "a whole one needs no peer"


async def test_a_group_damaged_on_the_disk_is_fetched_again(
    offered: Offered, autojump_clock: trio.testing.MockClock
) -> None:
    with trio.move_on_after(60):
        await offered.fetch(Peers({HONEST: offered.serves(most=3)})).run()
    with (offered.folder.directory / "incoming" / "groups").open("r+b") as file:
        file.seek(10)
        file.write(b"\xff\xff")
    assert await run(offered.fetch(Peers({HONEST: offered.serves()}))) is not None
    assert offered.whole()


async def test_one_that_no_peer_has_any_more_is_left_for_a_newer_one(
    offered: Offered, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    newer = Offered(offered.chain, await snapshot_at(offered.chain, tmp_path / "newer", 7), tmp_path)
    old, serving = offered.serves(), newer.serves()

    async def moves_on(wanted: Wanted) -> bytes | Refusal:
        """The old one is offered once, and none of its groups is there any more."""
        if isinstance(wanted, SnapshotWanted):
            first = sum(isinstance(asked, SnapshotWanted) for _, asked in peers.asked) == 1
            return await (old if first else serving)(wanted)
        if isinstance(wanted, GroupWanted) and wanted.height == offered.snapshot.height:
            await trio.sleep(0.01)
            return Refusal.ABSENT
        return await serving(wanted)

    peers = Peers({HONEST: moves_on})
    found = await run(newer.fetch(peers))
    assert found is not None
    assert found.height == 7
    assert newer.whole()


@pytest.mark.parametrize("silent", [gives(Refusal.ABSENT), gives(Refusal.BUSY), stalls])
async def test_a_newer_snapshot_of_which_nobody_gives_a_group_is_left_for_what_others_have(
    silent: Behaviour, offered: Offered, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """It is the chain's: a liar can take one at a height where nobody else does, and offer it for ever."""
    newer = Offered(offered.chain, await snapshot_at(offered.chain, tmp_path / "newer", 7), tmp_path)
    offers = newer.serves()

    async def keeps_it(wanted: Wanted) -> bytes | Refusal:
        return await (silent if isinstance(wanted, GroupWanted) else offers)(wanted)

    peers = Peers({LIAR: keeps_it, HONEST: of_its_own(offered)})
    found = await run(offered.fetch(peers))
    assert found is not None
    assert found.height == 3
    assert offered.whole()
    assert HONEST not in peers.blamed()


def of_its_own(offered: Offered) -> Behaviour:
    """Serves groups of the snapshot that it offers, and of no other."""
    serving = offered.serves()

    async def behave(wanted: Wanted) -> bytes | Refusal:
        if isinstance(wanted, GroupWanted) and wanted.height != offered.snapshot.height:
            return Refusal.ABSENT
        return await serving(wanted)

    return behave


async def test_one_that_comes_slowly_is_not_left_for_an_older_one(
    offered: Offered, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    newer = Offered(offered.chain, await snapshot_at(offered.chain, tmp_path / "newer", 7), tmp_path)
    serving, may_give_at = newer.serves(), trio.current_time()

    async def slow(wanted: Wanted) -> bytes | Refusal:
        nonlocal may_give_at
        if isinstance(wanted, GroupWanted):
            if trio.current_time() < may_give_at:
                return Refusal.BUSY
            may_give_at = trio.current_time() + 10.0
        return await serving(wanted)

    found = await run(newer.fetch(Peers({SECOND: slow, HONEST: of_its_own(offered)})))
    assert found is not None
    assert found.height == 7


@pytest.mark.parametrize("height", [2, 4, 8])
async def test_a_trusted_block_is_fetched_or_walked_down_from(
    offered: Offered, height: int, autojump_clock: trio.testing.MockClock
) -> None:
    trusted = TrustedBlock(height, block_digest(offered.chain.headers[height]), 0)
    assert await run(offered.fetch(Peers({HONEST: offered.serves()}), trusted)) is not None
    assert offered.whole()


async def test_a_peer_on_another_chain_than_the_trusted_one_is_blamed(
    offered: Offered, autojump_clock: trio.testing.MockClock
) -> None:
    peers = Peers({LIAR: offered.serves()})
    assert await run(offered.fetch(peers, TrustedBlock(8, bytes(32), 0))) is None
    assert set(peers.blamed()[LIAR]) == {"sync.untrusted"}


async def test_a_disk_without_room_is_a_sentence(
    offered: Offered, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr("prsm_node.storage.snapshot_incoming.FREE_BYTES_MIN", 2**60)
    with pytest.raises(StorageError, match=r"MB free; the snapshot takes \d+ MB .* start again"):
        await run(offered.fetch(Peers({HONEST: offered.serves()})))


async def test_few_manifests_are_on_their_way_at_once_and_a_crowd_of_liars_keeps_no_honest_one_out(
    offered: Offered, autojump_clock: trio.testing.MockClock
) -> None:
    answering = most = 0

    async def huge(wanted: Wanted) -> bytes | Refusal:
        nonlocal answering, most
        answering, most = answering + 1, max(most, answering + 1)
        await trio.sleep(3)
        answering -= 1
        return bytes(2**24)

    liars = dict.fromkeys(range(10, 30), huge) | dict.fromkeys(range(30, 50), stalls)
    busy = dict.fromkeys(range(50, 60), gives(Refusal.BUSY))
    peers = Peers({**liars, **busy, HONEST: offered.serves()})
    assert await run(offered.fetch(peers)) is not None
    assert offered.whole()
    assert most == ASKED_AT_ONCE


async def test_a_manifest_of_another_version_of_the_program_is_no_fault_of_its_peer(
    offered: Offered, autojump_clock: trio.testing.MockClock
) -> None:
    good = offered.snapshot.manifest
    other = replace(good, head=replace(good.head, schema=good.head.schema + 1))
    of_other_layout = msgspec.msgpack.encode([[good.head.schema + 1, "more"], {"of": "it"}])
    behaviours = {10: offered.serves(manifest=encode(other)), 11: offered.serves(manifest=of_other_layout)}
    peers = Peers({**behaviours, HONEST: offered.serves()})
    assert await run(offered.fetch(peers)) is not None
    assert peers.faults == []
    assert offered.whole()


@pytest.mark.parametrize(
    ("what", "number"),
    [
        ("begin", errno.ENOSPC),
        ("resume", errno.EACCES),
        ("Incoming.held", errno.EIO),
        ("Incoming.put", errno.ENOSPC),
        ("Incoming.sync", errno.EIO),
    ],
)
async def test_a_disk_that_refuses_is_a_sentence_wherever_it_does(
    offered: Offered,
    what: str,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
) -> None:
    def refuses(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(f"prsm_node.storage.snapshot_incoming.{what}", refuses)
    with pytest.raises(StorageError, match=r"can't be kept in .*/mine: [a-z/ ]+; free some space, or give"):
        await alone(offered.fetch(Peers({HONEST: offered.serves()})))


async def alone(errand: SnapshotFetch) -> None:
    """Raise what tasks that ended together raised, as the command line takes it: by its first."""
    try:
        await run(errand)
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
