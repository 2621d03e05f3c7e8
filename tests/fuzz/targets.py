"""Everything that reads bytes from outside, each as a function of bytes that refuses or returns, never else.

One table serves three users: hypothesis and the corpus in test_decoders.py, and coverage-guided fuzzing by
`scripts/fuzz`. A refusal is an error of the declared kinds whose message is short; what is taken is encoded
and read again to the same value, where the encoding is ours.
"""

import tempfile
import tomllib
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from consensus.blocks import Block, block_digest
from consensus.certificates import Certificate
from consensus.evidence import Evidence, VoteEquivocation, offence, verify
from consensus.signing import SignedKind, signed_bytes
from consensus.votes import VoteKind
from prsm_node import account_proof, config_file, forks, genesis, invite, trusted_block
from prsm_node.chaos.scenario import scenario_of as chaos_scenario_of
from prsm_node.cli import simulate
from prsm_node.cli.amounts import ftns, parse_ftns
from prsm_node.cli.tx import parse_hash
from prsm_node.consensus_host import answers, sessions
from prsm_node.control import protocol
from prsm_node.errors import OperatorError
from prsm_node.identity import addresses, base58, ed25519, keystore
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.identity.passphrases import Passphrase, Scrypt
from prsm_node.identity.peer_ids import peer_id
from prsm_node.ledger.bucket_groups import root_of_groups
from prsm_node.ledger.execution import decoded
from prsm_node.ledger.lanes import Lanes
from prsm_node.ledger.roots import state_root
from prsm_node.ledger.roster import Roster
from prsm_node.ledger.supply import Supply
from prsm_node.ledger.transactions import (
    MalformedTransaction,
    Transfer,
    decode_transaction,
    signing_bytes,
    unsigned_bytes,
    with_signature,
)
from prsm_node.mempool.bodies import BodyVerdict, VerifiedCache, check_body
from prsm_node.network import peer_records
from prsm_node.network.addresses import parse_address
from prsm_node.network.bans import Ban
from prsm_node.storage import snapshot_archive, snapshot_manifest
from prsm_node.storage.generation import SCHEMA, Head
from prsm_node.storage.snapshot_manifest import Manifest
from prsm_node.unreadable import UNREADABLE
from prsm_node.verification.verifier import InlineVerifier
from prsm_node.verification.worker import parse_list
from prsm_node.wire.describe import describe
from prsm_node.wire.frames import SIGNATURE_TAIL, FrameJudge, FrameRejected, FrameSealer, encode_message
from prsm_node.wire.kinds import FRAME_BYTES_MAX, KINDS, Kind
from prsm_node.wire.stream import FrameSplitter, on_stream
from tests.fuzz.hostile import withstand
from tests.wire.samples import NETWORK, NODE, SAMPLES

MESSAGE_CHARACTERS_MAX = 4_096
"""A refusal is told to an operator or logged: whatever it quotes is cut."""


class Target(NamedTuple):
    """Args:
    read: takes the bytes apart.
    refuses: what it may raise for bytes that it does not take.
    write: what gives bytes that `read` takes to the same value again; None where the reading keeps no value.
    seeds: bytes that it takes, where a fuzzer begins.
    """

    read: Callable[[bytes], Any]
    refuses: tuple[type[Exception], ...]
    write: Callable[[Any], bytes] | None
    seeds: tuple[bytes, ...]

    def check(self, data: bytes) -> None:
        """Raise AssertionError, or whatever it was that should not be raised."""
        value = self.taken(data)
        if isinstance(value, Refused):
            assert 0 < len(value.told) <= MESSAGE_CHARACTERS_MAX, f"{len(value.told)} characters of refusal"
        elif self.write is not None:
            again = self.read(self.write(value))
            assert again == value, f"{value!r} was read again as {again!r}"

    def taken(self, data: bytes) -> Any:
        """Return what the bytes say, or how they were refused."""
        try:
            return self.read(data)
        except self.refuses as refusal:
            return Refused(str(refusal))


class Refused(NamedTuple):
    told: str


def _text(read: Callable[[str], Any]) -> Callable[[bytes], Any]:
    """Of a reader of text: bytes that are no UTF-8 reach nobody as text."""
    return lambda data: read(data.decode("utf-8", "surrogateescape"))


def _file(read: Callable[[Path], Any]) -> Callable[[bytes], Any]:
    """Of a reader of a file."""

    def from_file(data: bytes) -> Any:
        with tempfile.NamedTemporaryFile(dir=SHARED_MEMORY) as file:  # made with mode 0600
            file.write(data)
            file.flush()
            return read(Path(file.name))

    return from_file


SCENARIOS = Path(__file__).parents[2] / "configs" / "scenarios"
SHARED_MEMORY = next((path for path in ("/dev/shm",) if Path(path).is_dir()), None)
_encode = msgspec.msgpack.Encoder().encode
_judge = FrameJudge(NETWORK)
_sealer = FrameSealer(NETWORK, NODE)


def _msgpack(read: Callable[[bytes], Any], *seeds: Any) -> Target:
    return Target(read, UNREADABLE, _encode, tuple(map(_encode, seeds)))


def _sealed_frame(data: bytes) -> Any:
    """A frame with a good signature, its kind's number and payload from the data."""
    if not data or data[0] not in set(Kind) or len(data) > 60_000:
        return None
    kind, payload = Kind(data[0]), data[1:]
    content = _sealer.seal(kind, 1, [b"\xc0"])[: -SIGNATURE_TAIL - 2] + payload
    signature = NODE.sign(signed_bytes(NETWORK, SignedKind.FRAME, content))
    return _judge.judge(content + b"\xc4\x40" + signature, sender=NODE.public).messages


def _stream(data: bytes) -> None:
    """The first byte says in how large pieces the rest comes."""
    splitter, size = FrameSplitter(), (data[0] if data else 0) + 1
    for at in range(1, len(data), size):
        for frame in splitter.feed(data[at : at + size]):
            assert len(frame) <= FRAME_BYTES_MAX
        assert splitter.unfinished_bytes <= FRAME_BYTES_MAX + size


def _control_stream(data: bytes) -> None:
    splitter, size = protocol.Splitter(), (data[0] if data else 0) + 1
    for at in range(1, len(data), size):
        for message in splitter.feed(data[at : at + size]):
            protocol.decode_request(message)


def _wallet() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "key.json"
        scrypt = Scrypt(salt=bytes(16), n=2**10, r=1)
        keystore.create(
            path, keystore.KeyKind.WALLET, "w", SigningKey.from_seed(b"w" * 32), Passphrase("x" * 8), scrypt
        )
        return path.read_bytes()


def _transaction() -> bytes:
    key = SigningKey.from_seed(b"t" * 32)
    unsigned = unsigned_bytes(b"\x01" + key.public, 3, 1_000, (Transfer(b"\x01" + bytes(32), 5),), b"memo")
    return with_signature(unsigned, key.sign(signing_bytes(NETWORK, unsigned)))


class _Empty:
    """A ledger in which nobody has an account."""

    fee_min = 1_000
    nonce_window = 64

    def account(self, address: bytes) -> None:
        return None


class _HereAndNow(InlineVerifier):
    """Never waits, so that no loop is needed."""

    async def check(self, raws: Sequence[bytes]) -> bytes:
        assert parse_list(_encode(raws)) == raws, "the worker reads what its parent writes"
        return self.check_now(raws)


def _manifest() -> bytes:
    """Of a snapshot of a state without accounts."""
    supply, lanes = Supply(0, 0, 0, 0), Lanes()
    roster = Roster.founded([(NODE.public, 1)])
    root = state_root(root_of_groups(0, ()), supply.root, lanes.root, roster.root)
    blocks: list[Block] = []
    for height, parent in ((5, bytes(32)), (6, b""), (7, b"")):
        above = parent or block_digest(blocks[-1])
        blocks.append(
            Block(height, above, 1_000 + height, NODE.public, (), (), root, roster.term(1).set.hash)
        )
    block, naming = blocks[0], blocks[2]
    head = Head(SCHEMA, 5, block_digest(block), block.time_ms, root, 0, supply, lanes, roster)
    commit = Certificate(VoteKind.PRECOMMIT, 7, 0, block_digest(naming), ())
    return snapshot_manifest.encode(Manifest(head, (), (), (block, blocks[1], naming), commit))


def _archived(path: Path) -> None:
    with snapshot_archive.opened(path) as archive:
        assert archive.manifest.height > 0


def _body(data: bytes) -> None:
    """What every validator does with a batch's body, before and after it is certified."""
    judging = check_body(data, _Empty(), _HereAndNow(NETWORK), VerifiedCache())
    verdict: BodyVerdict | None = None
    try:
        judging.send(None)
    except StopIteration as judged:
        verdict = judged.value
    assert verdict is not None, "nothing waits here"
    if verdict.good:
        raws = msgspec.msgpack.decode(data, type=list[bytes])
        assert decoded(raws) == (verdict.hashes, verdict.transactions)


_network = genesis.genesis(
    "fuzzed", 1_700_000_000_000, [(NODE.public, 1, "node0")], [(b"\x01" + NODE.public, 10**15)]
)
_invitation = invite.Invite(
    _network.hash,
    7,
    b"\x22" * 32,
    1_700_000_000_000,
    (f"/ip4/203.0.113.7/tcp/7100/p2p/{peer_id(NODE.public)}",),
)
_remembered = peer_records.Remembered(
    (Ban("203.0.113.7", "4 nodes banned there", 1, 60_001, 2),),
    (f"/ip4/203.0.113.8/tcp/7100/p2p/{peer_id(NODE.public)}",),
)


def _judged(data: bytes) -> bool:
    piece = _evidence.decode(data)
    str(offence(piece))
    return verify(piece, NETWORK, ed25519.verify)


_evidence = msgspec.msgpack.Decoder(Evidence)
_COMMITS = (SAMPLES[Kind.CERTIFICATE][0], replace(SAMPLES[Kind.CERTIFICATE][0], value=bytes(32)))
_VOTES = SAMPLES[Kind.VOTE]

TARGETS: dict[str, Target] = {
    "hostile_validator": Target(
        withstand, (), None, tuple(sha256(bytes((seed,))).digest() * 30 for seed in range(4))
    ),
    "frame": Target(
        lambda data: _judge.judge(data),
        (FrameRejected,),
        None,
        tuple(_sealer.seal(kind, 1, list(map(encode_message, SAMPLES[kind]))) for kind in Kind),
    ),
    "signed_frame": Target(
        _sealed_frame,
        (FrameRejected,),
        None,
        tuple(bytes((kind,)) + _encode(SAMPLES[kind]) for kind in Kind),
    ),
    "stream": Target(
        _stream,
        (FrameRejected,),
        None,
        (b"\x07" + on_stream(_sealer.seal(Kind.VOTE, 1, list(map(encode_message, _VOTES)))) * 2,),
    ),
    "described_frame": Target(
        lambda data: msgspec.json.encode(describe(data)),
        (),
        None,
        (_sealer.seal(Kind.PROPOSAL, 1, list(map(encode_message, SAMPLES[Kind.PROPOSAL]))),),
    ),
    **{f"payload_{kind.name.lower()}": _msgpack(KINDS[kind].decoder.decode, SAMPLES[kind]) for kind in Kind},
    "evidence": _msgpack(msgspec.msgpack.Decoder(Evidence).decode, VoteEquivocation(_VOTES[0], _VOTES[1])),
    "evidence_judged": Target(_judged, UNREADABLE, None, tuple(map(encode_message, SAMPLES[Kind.EVIDENCE]))),
    "answer_signed": _msgpack(sessions.decode_signed, sessions.SignedSeen(_VOTES[0], None)),
    "answer_session": _msgpack(sessions.decode_session, sessions.SessionSeen(True, None)),
    "answer_authored": Target(
        sessions.decode_authored, UNREADABLE, sessions.encode_authored, (sessions.encode_authored(None),)
    ),
    "answer_blocks": _msgpack(answers.decode_blocks, ()),
    "answer_headers": _msgpack(answers.decode_headers, ()),
    "answer_batches": _msgpack(answers.decode_batches, ()),
    "answer_pruned": _msgpack(answers.decode_blocks, answers.Pruned(7)),
    "snapshot_manifest": Target(
        snapshot_manifest.decode,
        (snapshot_manifest.BrokenManifest,),
        snapshot_manifest.encode,
        (_manifest(),),
    ),
    "snapshot_file": Target(
        _file(_archived),
        (OperatorError,),
        None,
        (snapshot_archive.HEAD.pack(b"PRSMSNP1", len(_manifest())) + _manifest(),),
    ),
    "transaction": Target(decode_transaction, (MalformedTransaction,), _encode, (_transaction(),)),
    "body": Target(_body, (), None, (_encode([_transaction()]),)),
    "control_request": Target(
        protocol.decode_request,
        (protocol.MalformedMessage,),
        _encode,
        (_encode(protocol.Request(1, "status", msgspec.Raw(b"\x80"))),),
    ),
    "control_response": Target(
        protocol.decode_response,
        (protocol.MalformedMessage,),
        _encode,
        (_encode(protocol.Response(1, protocol.Kind.RESULT, msgspec.Raw(b"\x80"))),),
    ),
    "control_stream": Target(
        _control_stream,
        (protocol.MalformedMessage,),
        None,
        (b"\x03" + protocol.framed(protocol.Request(1, "status", msgspec.Raw(b"\x80"))),),
    ),
    "genesis": Target(
        genesis.decode, (genesis.GenesisError,), lambda made: made.encoded, (_network.encoded,)
    ),
    "genesis_document": Target(
        genesis.from_document, (genesis.GenesisError,), genesis.to_document, (genesis.to_document(_network),)
    ),
    "invite": Target(
        _text(invite.decode),
        (OperatorError,),
        lambda given: invite.encode(given).encode(),
        (invite.encode(_invitation).encode(),),
    ),
    "invite_content": Target(
        lambda data: invite.decode(invite.PREFIX + base58.encode(data + invite._checksum(data))),
        (OperatorError,),
        _encode,
        (_encode(_invitation),),
    ),
    "configuration": Target(
        _file(lambda path: config_file.load(path, environment={})),
        (OperatorError,),
        lambda config: config_file.render(config).encode(),
        (config_file.render(config_file.load(None, environment={})).encode(),),
    ),
    "fork_proof": Target(_file(forks.read), (OperatorError,), None, (msgspec.json.encode(_COMMITS),)),
    "trusted_block": Target(
        _file(trusted_block.load),
        (OperatorError,),
        None,
        (b'{"height":7,"hash":"' + b"22" * 32 + b'","time_ms":1700000000000}',),
    ),
    "keystore": Target(_file(keystore.describe), (OperatorError,), None, (_wallet(),)),
    "exported_key": Target(
        _text(keystore.parse_export),
        (OperatorError,),
        None,
        (keystore.export_text(SigningKey.from_seed(b"w" * 32)).encode(),),
    ),
    "account_proof": Target(_file(account_proof.read), (OperatorError,), None, ()),
    "scenario": Target(
        _file(lambda path: simulate.load(str(path))),
        (OperatorError,),
        None,
        tuple(path.read_bytes() for path in sorted(SCENARIOS.glob("*.toml"))),
    ),
    "chaos_scenario": Target(
        lambda data: chaos_scenario_of(tomllib.loads(data.decode())),
        (ValueError,),
        None,
        tuple(path.read_bytes() for path in sorted((SCENARIOS.parent / "chaos").glob("*.toml"))),
    ),
    "account_address": Target(
        _text(addresses.parse_account),
        (ValueError, OperatorError),
        lambda address: addresses.account_text(address).encode(),
        (addresses.account_text(b"\x01" + NODE.public).encode(),),
    ),
    "validator_address": Target(
        _text(addresses.parse_validator),
        (ValueError, OperatorError),
        lambda key: addresses.validator_text(key).encode(),
        (addresses.validator_text(NODE.public).encode(),),
    ),
    "peer_records": Target(
        peer_records.decode, UNREADABLE, peer_records.encode, (peer_records.encode(_remembered),)
    ),
    "multiaddress": Target(
        _text(parse_address),
        (ValueError,),
        lambda address: str(address).encode(),
        (b"/ip4/203.0.113.7/tcp/7100", b"/ip6/::1/tcp/1", b"/dns4/node.example/tcp/7100"),
    ),
    "amount": Target(
        _text(parse_ftns),
        (OperatorError,),
        lambda amount: ftns(amount).removesuffix(" FTNS").replace(",", "").encode(),
        (b"1.5", b"0.000000001"),
    ),
    "hash": Target(
        _text(parse_hash), (OperatorError,), lambda digest: digest.hex().encode(), (b"0x" + b"1f" * 32,)
    ),
}
"""By name, as `scripts/fuzz` and the corpus know them."""
