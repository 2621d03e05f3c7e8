"""An account shown with all that proves it to whoever has the genesis: record, root, header, certificate.

Block h + 2 names the root of state after h (PROTOCOL, Blocks 1), and a quorum of its height's set signed it.
How that set came of the genesis' is shown change by change, so that whom a set jailed vouches for nothing
(consensus/light.py). What is checked here needs no daemon and no network.
"""

from pathlib import Path
from typing import Annotated, Final

import msgspec

from consensus.blocks import Block
from consensus.bounds import VALIDATORS_MAX, Height
from consensus.certificates import Certificate
from consensus.light import LightBlock, LightFault, SetChange, Trusted, advance, follow
from consensus.validators import Members, ValidatorSet
from prsm_node import bounded_file
from prsm_node.errors import OperatorError
from prsm_node.genesis import Genesis
from prsm_node.identity.addresses import account_text, parse_account
from prsm_node.identity.bech32m import MalformedText
from prsm_node.identity.ed25519 import verify
from prsm_node.invite import CLOCK_SKEW_MS, DAY_MS
from prsm_node.ledger.accounts import Account
from prsm_node.ledger.roots import AccountProof, InvalidProof, verify_account
from prsm_node.unreadable import UNREADABLE

# Two blocks and a certificate of 256 validators are 100 KB in base64, the sets 25 KB, the proof 4 KB. Where
# 256 validators leave the set one by one, the changes are 7 MB (220 bytes for each member that is left, and
# half of 256 are on average), 10 MB in base64.
FILE_BYTES_MAX: Final = 16 << 20


class ProofFault(OperatorError):
    """The file does not prove what it says; the message says why."""


class ProvenAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file: what it claims for people to read, and the proof of it, binary fields in base64."""

    address: Annotated[str, msgspec.Meta(max_length=90)]
    balance: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,20}\Z")]
    """Base units."""
    nonce: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    height: Height
    """The claims are about the state after this block."""
    state_root: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    network: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    """The genesis hash."""
    evidence: "Evidence"


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a daemon gives to prove an account."""

    account: AccountProof
    block: Block
    """Its header names the root."""
    certificate: Certificate
    """A quorum's precommits for that block."""
    validators: Members
    """Of the block's height."""
    next_validators: Members
    parent: Block | None
    """The block below, which names `validators`; not for block 1."""
    changes: Annotated[tuple[SetChange, ...], msgspec.Meta(max_length=VALIDATORS_MAX)] = ()
    """How `validators` came of the genesis' set: each block below that changed it, in order of height."""


class Verified(msgspec.Struct, frozen=True):
    """What is certain."""

    account: Account
    height: int
    signed_height: int
    """Of the block that names the root."""
    signed_ms: int
    """That block's time, Unix ms: a proof stays true of its height and tells nothing of what came after."""
    signed_power: int
    total_power: int
    trusting_ms: int
    """For so long after `signed_ms` a certificate is worth trust: then its signers may have taken their stake
    back, and can sign a rival history at no cost."""

    def doubt(self, now_ms: int) -> str:
        """Return, as a sentence, why a proof that was checked now is worth less; "" where it is not."""
        age_ms = now_ms - self.signed_ms
        if age_ms < -CLOCK_SKEW_MS:
            return f"block {self.signed_height} is {-age_ms // 1_000} s in the future by this machine's clock"
        if age_ms < self.trusting_ms:
            return ""
        return (
            f"block {self.signed_height} is {age_ms / DAY_MS:.1f} days old, and validators answer for what "
            f"they sign for {self.trusting_ms / DAY_MS:g} days; ask a node for a new proof"
        )


def read(path: Path) -> ProvenAccount:
    """Return what a file claims, unchecked; raise ProofFault where it can't be read."""
    text = bounded_file.read(path, FILE_BYTES_MAX, "account proof", ProofFault)
    try:
        return msgspec.json.decode(text, type=ProvenAccount)
    except UNREADABLE as error:
        raise ProofFault(
            f"{path} is no account proof: {error}; `account ADDRESS --proof` prints one"
        ) from None


def claimed(evidence: Evidence, address: bytes, network: bytes) -> ProvenAccount:
    """Put a daemon's evidence in words; raise ProofFault where it shows nothing of this account."""
    block = evidence.block
    try:
        account = verify_account(evidence.account, block.state_root, address)
    except InvalidProof as error:
        raise ProofFault(f"the node gave no proof of this account: {error}") from None
    return ProvenAccount(
        address=account_text(address),
        balance=str(account.balance),
        nonce=account.nonce,
        height=max(block.height - 2, 0),
        state_root=block.state_root.hex(),
        network=network.hex(),
        evidence=evidence,
    )


def check(shown: ProvenAccount, genesis: Genesis) -> Verified:
    """Return what the proof shows in the network of this genesis; raise ProofFault for any claim that is not
    proven.

    The genesis' validators are the trust, and those whom a quorum of them let follow. It holds while less
    than a quorum of each set is faulty.
    """
    evidence = shown.evidence
    if shown.network != genesis.hash.hex():
        raise ProofFault(
            f"the proof is of the network {shown.network[:16]}, the genesis of {genesis.hash.hex()[:16]}; "
            "name the genesis of that network"
        )
    first = ValidatorSet.of((v.key, v.power) for v in genesis.validators)
    block = evidence.block
    try:
        validators = ValidatorSet.of(evidence.validators)
        step = LightBlock(
            block,
            evidence.certificate,
            validators,
            ValidatorSet.of(evidence.next_validators),
            evidence.parent,
        )
        trusted = Trusted(0, genesis.hash, first)
        for change in evidence.changes:
            trusted = follow(trusted, change, genesis.hash, verify)
        advance(trusted, step, genesis.hash, verify)
        account = verify_account(evidence.account, block.state_root, parse_account(shown.address))
    except (LightFault, InvalidProof, MalformedText, ValueError) as error:
        raise ProofFault(f"not proven: {error}") from None
    height = max(block.height - 2, 0)
    said = (int(shown.balance), shown.nonce, shown.height, shown.state_root)
    proven = (account.balance, account.nonce, height, block.state_root.hex())
    for name, claim, shows in zip(("balance", "nonce", "height", "state_root"), said, proven, strict=True):
        if claim != shows:
            raise ProofFault(f"not proven: {name} is said to be {claim}, and the proof shows {shows}")
    signed = sum(validators.power(vote.voter) for vote in evidence.certificate.votes)
    trusting_ms = genesis.parameters.unbonding_ms
    return Verified(account, height, block.height, block.time_ms, signed, validators.total, trusting_ms)
