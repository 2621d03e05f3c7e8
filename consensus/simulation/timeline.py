"""A seed's events as text: one a line, in the words of the protocol."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from consensus import inputs
from consensus.blocks import block_digest
from consensus.certificates import Certificate
from consensus.evidence import offence
from consensus.simulation.cluster import Event
from consensus.simulation.invariants import told
from consensus.simulation.places import place_of
from consensus.simulation.run import Verdict
from consensus.votes import VoteKind


def lines(verdict: Verdict, events: Sequence[Event]) -> Iterator[str]:
    """What happened, from the cluster that was drawn to the verdict."""
    yield f"seed {verdict.seed}: {verdict.nodes} validators, faulty: {', '.join(verdict.faulty) or 'none'}"
    for event in events:
        what = message(event.what) if isinstance(event.what, inputs.Input) else str(event.what)
        yield f"{event.at_ms:11.3f}  {event.kind:<9}  {event.who:<10}  {what}".rstrip()
    yield f"verdict: {verdict.violation or 'every promise was kept'}"


class Said(NamedTuple):
    """A message, for people."""

    kind: str
    text: str

    def __str__(self) -> str:
        return self.text


def _key(key: bytes) -> str:
    """A replica's key is one letter repeated: validator 0 is A."""
    return f"v{key[0] - 65}"


def said(what: inputs.Input, name: Callable[[bytes], str] = _key) -> Said:
    return Said(str(place_of(what)[0]), message(what, name))


def message(what: inputs.Input, name: Callable[[bytes], str] = _key) -> str:
    """A message, for people: its kind, its place, its value. `name` says whose a key is."""
    if isinstance(what, inputs.VoteReceived):
        return f"{name(what.vote.voter)} {told(what.vote)}"
    if isinstance(what, inputs.ProposalReceived):
        p = what.proposal
        return f"proposal({p.height}, {p.round}, {_short(block_digest(p.block))}, {p.valid_round})"
    if isinstance(what, inputs.CertificateReceived):
        return _certificate(what.certificate)
    if isinstance(what, inputs.BlockReceived):
        return f"block({what.block.height}, {_short(what.certificate.value)})"
    if isinstance(what, inputs.BatchReceived):
        return f"batch({name(what.batch.author)}, {what.batch.sequence}, {_short(what.batch.body)})"
    if isinstance(what, inputs.AcknowledgementReceived):
        a = what.acknowledgement
        return f"acknowledgement({name(a.author)}, {a.sequence}, {_short(a.digest)})"
    if isinstance(what, inputs.TipCertificateReceived):
        t = what.certificate
        return f"tip certificate({name(t.author)}, {t.sequence}, {_short(t.digest)})"
    if isinstance(what, inputs.EvidenceReceived):
        done = offence(what.evidence)
        return f"{name(done.guilty)} {done}"
    return type(what).__name__


def _certificate(certificate: Certificate) -> str:
    kind = "polka" if certificate.kind is VoteKind.PREVOTE else "commit"
    return f"{kind}({certificate.height}, {certificate.round}, {_short(certificate.value)})"


def _short(digest: bytes) -> str:
    return digest.hex()[:6]
