"""`prsm-node snapshot list|export|import`: snapshots of the state as files, without a network."""

import re
import time
from pathlib import Path
from typing import Annotated

import typer

from consensus.blocks import block_digest
from prsm_node import config_file, trusted_block
from prsm_node import genesis as genesis_file
from prsm_node.cli.home_options import existing_home
from prsm_node.cli.json_flag import JsonFlag
from prsm_node.cli.output import print_fields, print_json, print_table, say
from prsm_node.cli.simulate_progress import Bar
from prsm_node.errors import OperatorError
from prsm_node.home import Home
from prsm_node.storage.snapshot_folder import Snapshot, SnapshotFolder, listed
from prsm_node.trusted_block import TrustedBlock


def list_snapshots(json: bool = False) -> None:
    """The snapshots of the state in this home."""
    home = existing_home()
    found, damaged = _found(home)
    for sentence in damaged:
        say(sentence)
    if json:
        print_json({"snapshots": [_as_json(snapshot) for snapshot in found]})
        return
    if not found:
        say(_why_none(home))
        return
    print_table(
        ("height", "accounts", "bytes", "block", "certified by"),
        [
            (
                snapshot.height,
                f"{snapshot.manifest.accounts:,}",
                f"{snapshot.size_bytes:,}",
                snapshot.manifest.head.digest.hex()[:16],
                f"{snapshot.height + 2}:{block_digest(snapshot.manifest.blocks[-1]).hex()}",
            )
            for snapshot in found
        ],
        right=(0, 1, 2),
    )


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    height: Annotated[
        int | None, typer.Option(help="Of the snapshot; the newest if not given.", min=1)
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Write a snapshot to a file.

    The daemon may run meanwhile. Whoever imports it checks it by what their home trusts.
    """
    from prsm_node.storage import snapshot_archive

    home = existing_home()
    found, _ = _found(home)
    chosen = [snapshot for snapshot in found if height is None or snapshot.height == height]
    if not found:
        raise OperatorError(_why_none(home))
    if not chosen:
        heights = ", ".join(str(snapshot.height) for snapshot in found)
        raise OperatorError(f"there is no snapshot of height {height} in {home.snapshots}; choose {heights}")
    snapshot = chosen[-1]
    bar = _Bar("writing")
    size = snapshot_archive.write(snapshot, file, bar.tell)
    bar.end()
    if json:
        print_json({"file": str(file), "bytes": size, **_as_json(snapshot)})
        return
    naming = block_digest(snapshot.manifest.blocks[-1]).hex()
    print_fields(
        [
            ("file", file),
            ("bytes", f"{size:,}"),
            ("height", snapshot.height),
            ("certified by", f"{snapshot.height + 2}:{naming}"),
        ]
    )


def import_snapshot(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `snapshot export` wrote.")],
    trust: Annotated[
        str | None,
        typer.Option(
            metavar="HEIGHT:HASH",
            help="A block that you hold to be final; else the home's invite, else its genesis.",
        ),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Begin a home's chain with the snapshot in a file.

    The home has its keys and genesis and no chain yet. The block that names the snapshot's root must follow
    from what the home trusts; then all of it is held against that root. Asks nobody.
    """
    from prsm_node import daemon_lock
    from prsm_node.storage import restoring, snapshot_archive
    from prsm_node.sync.snapshot_trust import Untrusted, meta_of, prove

    home = existing_home()
    made = genesis_file.load(home.genesis)
    trusted = trusted_block.load(home.trusted_block) if trust is None else _trust(trust)
    began = time.monotonic()
    with daemon_lock.held(home), snapshot_archive.opened(file) as archive:
        if home.state.exists() or home.journal.exists():
            raise OperatorError(f"the home {home.path} has a chain already; import into one that has none")
        manifest = archive.manifest
        if trusted is not None and trust is None:
            age_now = time.time_ns() // 1_000_000
            unbonding_ms = made.parameters.unbonding_ms
            trusted_block.check(trusted, 0, None, unbonding_ms, age_now, home.state.parent)
        try:
            prove(manifest, made, trusted)
        except Untrusted as error:
            raise OperatorError(
                f"{file} is not proven: {error}; name with --trust a block {manifest.height} to "
                f"{manifest.height + 2} that a node which you trust shows"
            ) from None
        folder = SnapshotFolder(home.snapshots)
        folder.open()
        bar = _Bar("checking")
        snapshot = archive.keep(folder, bar.tell)
        bar.end()
        bar = _Bar("restoring")
        meta = meta_of(manifest)
        restoring.restore(snapshot, made, meta, home.state, lambda share: bar.tell(round(share * 100), 100))
        bar.end()
    seconds = round(time.monotonic() - began, 2)
    if json:
        print_json({**_as_json(snapshot), "seconds": seconds})
        return
    print_fields(
        [
            ("height", snapshot.height),
            ("accounts", f"{manifest.accounts:,}"),
            ("state root", manifest.head.root.hex()),
            ("seconds", seconds),
        ]
    )


def _found(home: Home) -> tuple[list[Snapshot], list[str]]:
    try:
        return listed(home.snapshots)
    except OSError as error:
        why = (error.strerror or "it fails").lower()
        raise OperatorError(f"the snapshots in {home.snapshots} can't be read: {why}") from None


def _why_none(home: Home) -> str:
    """Say when there will be one, and what brings it sooner."""
    every = config_file.load(home.config).storage.snapshot_blocks
    none = f"there is no snapshot in {home.snapshots}"
    change = f"storage.snapshot_blocks in {home.config} and start the node again"
    if every == 0:
        return f"{none}, and this node takes none; set {change}"
    return f"{none} yet: a running node takes one each {every:,} blocks; for one sooner, lower {change}"


def _as_json(snapshot: Snapshot) -> dict[str, object]:
    manifest = snapshot.manifest
    return {
        "height": snapshot.height,
        "block_hash": manifest.head.digest.hex(),
        "state_root": manifest.head.root.hex(),
        "certified_by": {
            "height": snapshot.height + 2,
            "hash": block_digest(manifest.blocks[-1]).hex(),
        },
        "accounts": manifest.accounts,
        "snapshot_bytes": snapshot.size_bytes,
        "path": str(snapshot.path),
    }


def _trust(text: str) -> TrustedBlock:
    """Read HEIGHT:HASH; the operator vouches for its age."""
    match = re.fullmatch(r"([1-9][0-9]{0,17}):([0-9a-fA-F]{64})", text)
    if match is None:
        raise OperatorError(f"--trust is {text[:80]!a}; write HEIGHT:HASH, the hash as 64 hexadecimal digits")
    return TrustedBlock(int(match[1]), bytes.fromhex(match[2]), 0)


class _Bar:
    """How far one of the command's steps is, and how long yet."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._bar = Bar(1.0)

    def tell(self, done: int, total: int) -> None:
        left_s = self._bar.elapsed_s / done * (total - done) if done else 0.0
        self._bar.show(done / total, f"{self._doing} {done / total:.0%}, {left_s:.0f} s left")

    def end(self) -> None:
        self._bar.clear()
