"""Counting of checked votes at one height: weights, polkas, commits, rounds to skip to, evidence.

A voter has one slot a round and kind; a second, different vote there is evidence and not counted. A prevote
for a value that names an earlier polka counts for the value only once that polka is at hand (PROTOCOL,
Agreement 5); for lines 34 and 55, which ask only who is where, it counts at once. A certificate is unpacked
into votes, and stands as a whole besides: an equivocator's other vote in our slot must not hide a polka
that all others see. Memory is bounded by `forget`: of a voter the current round and the one before, and the
highest it reached.
"""

from collections.abc import ItemsView, Iterator

from consensus.agreement.waiting_polkas import Place, Value, WaitingPolkas, names_none_but
from consensus.certificates import Certificate, CheckedCertificate, certificate_of, votes_of
from consensus.evidence import Amnesia, VoteEquivocation, evidence_of_votes, is_amnesia, is_equivocation
from consensus.quorum import is_quorum, is_third
from consensus.validators import ValidatorSet
from consensus.votes import NIL, CheckedVote, Vote, VoteKind

# In all polkas of a height: 100 bytes each, 1.7 MB. Rounds grow longer, so that the 95 polkas of 256
# validators are half an hour in which nobody decides, and the 5,461 of four months.
POLKA_VOTES_MAX = 16_384


class Tally:
    """The votes of one kind in one round."""

    __slots__ = ("aside", "votes", "weight", "weights")

    def __init__(self) -> None:
        self.votes: dict[bytes, CheckedVote] = {}
        self.weight = 0
        """Of all who voted, whatever for."""
        self.weights: dict[Value | None, int] = {}
        """Of those that count, by value."""
        self.aside: list[CheckedVote] = []
        """Prevotes whose polka is not at hand."""


class VoteKeeper:
    """All votes of one height that matter."""

    def __init__(self, validators: ValidatorSet) -> None:
        self.validators = validators
        self._tallies: dict[tuple[int, VoteKind], Tally] = {}
        self._reached: dict[bytes, int] = {}
        self._highest = 0
        self._locks: dict[bytes, tuple[CheckedVote, ...]] = {}
        """Of each voter its latest precommit for a value, and its latest for another value than that: a later
        prevote that any precommit convicts is convicted by one of these. A prevote for another value than the
        latest's is, the later the precommit, the sooner; one for the latest's value only by the others."""
        self._polkas: dict[Place, CheckedCertificate] = {}
        self._polka_votes = 0
        self._commits: dict[Place, CheckedCertificate] = {}
        self._waiting = WaitingPolkas(validators)
        self._convicted: set[bytes] = set()
        self.changes = 0
        """Moves on whenever a count may have changed."""

    def add(self, vote: CheckedVote) -> VoteEquivocation | Amnesia | None:
        """Count a vote; return the first proof of guilt that it completes for its voter.

        Of a voter that is proven guilty at this height nothing further is reported, so that it can't flood.
        """
        power = self.validators.power(vote.voter)
        if power == 0:
            return None
        tally = self.tally(vote.round, vote.kind)
        known = tally.votes.get(vote.voter)
        if known is not None:
            return self._report(VoteEquivocation(known, vote)) if is_equivocation(known, vote) else None
        tally.votes[vote.voter] = vote
        tally.weight += power
        self.changes += 1
        if vote.round > self._reached.get(vote.voter, -1):
            self._reached[vote.voter] = vote.round
            self._highest = max(self._highest, vote.round)
        self._count(tally, vote, power)
        return self._forgotten_lock(vote)

    def add_certificate(self, certificate: CheckedCertificate) -> list[VoteEquivocation | Amnesia]:
        """Count the votes of a certificate, and let it stand as a whole."""
        self.changes += 1
        found = [evidence for vote in votes_of(certificate) if (evidence := self.add(CheckedVote(vote)))]
        place = (certificate.round, certificate.value)
        if certificate.kind is VoteKind.PRECOMMIT:
            self._commits.setdefault(place, certificate)
        elif place not in self._polkas:
            if self._supported(certificate):
                self._stand(place, certificate)
            else:
                self._waiting.add(certificate)
                self._stand_if_met(place)
        return found

    def restore_polka(self, certificate: CheckedCertificate) -> None:
        """Take back the polka of our valid value, or one that it rests on, as the guard kept it: it counted
        before."""
        self.changes += 1
        self._stand((certificate.round, certificate.value), certificate)

    def _count(self, tally: Tally, vote: CheckedVote, power: int) -> None:
        value = vote.value
        if value is NIL:
            tally.weights[NIL] = tally.weights.get(NIL, 0) + power
            return
        prevote = vote.kind is VoteKind.PREVOTE
        if prevote and vote.polka_round >= 0 and (vote.polka_round, value) not in self._polkas:
            tally.aside.append(vote)
            return
        weight = tally.weights[value] = tally.weights.get(value, 0) + power
        if not is_quorum(weight, self.validators.total):
            return
        place = (vote.round, value)
        if prevote:
            if place not in self._polkas:
                aside = {v.voter for v in tally.aside}
                counted = [v for v in tally.votes.values() if v.value == value and v.voter not in aside]
                self._stand(place, certificate_of(counted))
        elif place not in self._commits:
            self._commits[place] = certificate_of([v for v in tally.votes.values() if v.value == value])

    def _stand(self, place: Place, polka: CheckedCertificate) -> None:
        """A polka is at hand: what named it counts now, in rounds above it."""
        assert place not in self._polkas, f"a second polka of round {place[0]}"
        self._polkas[place] = polka
        self._polka_votes += len(polka.votes)
        self._waiting.remove(place)
        for (round_, kind), tally in list(self._tallies.items()):
            if kind is VoteKind.PREVOTE and round_ > place[0] and tally.aside:
                ready = [v for v in tally.aside if (v.polka_round, v.value) == place]
                if ready:
                    tally.aside = [v for v in tally.aside if (v.polka_round, v.value) != place]
                    for vote in ready:
                        self._count(tally, vote, self.validators.power(vote.voter))
        for later in self._waiting.places():
            self._stand_if_met(later)

    def _stand_if_met(self, place: Place) -> None:
        polka = self._waiting.standing(place, self._polkas)
        if polka is not None:
            self._stand(place, polka)

    def _supported(self, polka: Certificate) -> bool:
        return all(names_none_but(member.mark, polka.value, self._polkas) for member in polka.votes)

    def _report(self, found: VoteEquivocation | Amnesia | None) -> VoteEquivocation | Amnesia | None:
        if found is None:
            return None
        voter = found.first.voter if isinstance(found, VoteEquivocation) else found.precommit.voter
        if voter in self._convicted:
            return None
        self._convicted.add(voter)
        return found

    def _forgotten_lock(self, vote: CheckedVote) -> VoteEquivocation | Amnesia | None:
        if vote.value is NIL:
            return None
        if vote.kind is VoteKind.PREVOTE:
            forgotten = [lock for lock in self._locks.get(vote.voter, ()) if is_amnesia(lock, vote)]
            return self._report(Amnesia(forgotten[0], vote)) if forgotten else None
        found_later = self._later_prevote_against(vote) if self._reached[vote.voter] > vote.round else None
        known = (vote, *self._locks.get(vote.voter, ()))
        latest = max(known, key=_round)
        others = [lock for lock in known if lock.value != latest.value]
        self._locks[vote.voter] = (latest, max(others, key=_round)) if others else (latest,)
        return self._report(found_later)

    def _later_prevote_against(self, precommit: CheckedVote) -> VoteEquivocation | Amnesia | None:
        for (round_, kind), tally in self._tallies.items():
            if kind is VoteKind.PREVOTE and round_ > precommit.round:
                later = tally.votes.get(precommit.voter)
                found = evidence_of_votes(precommit, later) if later is not None else None
                if found is not None:
                    return found
        return None

    def tally(self, round_: int, kind: VoteKind) -> Tally:
        """Return the votes of one kind in a round, made empty where there are none."""
        tally = self._tallies.get((round_, kind))
        if tally is None:
            tally = self._tallies[round_, kind] = Tally()
        return tally

    def counted(self, vote: Vote) -> CheckedVote | None:
        """Return what this voter is counted with at this vote's place."""
        tally = self._tallies.get((vote.round, vote.kind))
        return tally.votes.get(vote.voter) if tally is not None else None

    def would_convict(self, vote: Vote) -> bool:
        """Whether a vote, if it is signed, convicts its voter for the first time at this height."""
        counted = self.counted(vote)
        clashes = counted is not None and is_equivocation(counted, vote)
        return clashes and vote.voter not in self._convicted

    def is_convicted(self, voter: bytes) -> bool:
        """Whether a voter was proven guilty at this height."""
        return voter in self._convicted

    def has(self, certificate: Certificate) -> bool:
        """Whether this quorum is at hand, perhaps of other voters."""
        known = self._polkas if certificate.kind is VoteKind.PREVOTE else self._commits
        return (certificate.round, certificate.value) in known

    def wants(self, certificate: Certificate) -> bool:
        """Whether a certificate would tell something new: asked before its signatures are checked."""
        if self.has(certificate):
            return False
        if certificate.kind is VoteKind.PRECOMMIT or self._supported(certificate):
            return True
        return self._waiting.brings_news(certificate)

    def has_quorum(self, value: Value) -> bool:
        """Whether a quorum stands for a value, in whichever round and kind."""
        return any(value == place[1] for place in (*self._polkas, *self._commits))

    def quorum_of_any(self, round_: int, kind: VoteKind) -> bool:
        """Whether a quorum has voted in this round, whatever for (lines 34 and 47)."""
        tally = self._tallies.get((round_, kind))
        return tally is not None and is_quorum(tally.weight, self.validators.total)

    def nil_polka(self, round_: int) -> bool:
        """Whether a quorum has prevoted nil (line 44)."""
        tally = self._tallies.get((round_, VoteKind.PREVOTE))
        return tally is not None and is_quorum(tally.weights.get(NIL, 0), self.validators.total)

    def polka(self, round_: int, value: Value) -> CheckedCertificate | None:
        """Return the polka for a value in a round, if it is at hand."""
        return self._polkas.get((round_, value))

    def polkas(self, round_: int | None = None) -> list[CheckedCertificate]:
        """Return the polkas at hand, of one round or all; two of one round need a third of the power
        faulty."""
        return [polka for place, polka in self._polkas.items() if round_ is None or place[0] == round_]

    def commits(self) -> list[CheckedCertificate]:
        """Return the quorums of precommits at hand."""
        return list(self._commits.values())

    def latest_polka(self, value: Value, below: int) -> CheckedCertificate | None:
        """Return the polka for a value with the greatest round below this one (`polka_round`)."""
        rounds = [round_ for round_, polka_value in self._polkas if polka_value == value and round_ < below]
        return self._polkas[max(rounds), value] if rounds else None

    def polkas_below(self, polka: CheckedCertificate) -> Iterator[CheckedCertificate]:
        """Yield the polkas that this one's votes name, and theirs in turn, lowest round first: who lacks
        one can't count the polka."""
        needed: set[int] = set()
        todo = [polka]
        while todo:
            for mark in {member.mark for member in todo.pop().votes} - needed:
                below = self._polkas.get((mark, polka.value))
                if below is not None:
                    needed.add(mark)
                    todo.append(below)
        for round_ in sorted(needed):
            yield self._polkas[round_, polka.value]

    def with_below(self, polka: CheckedCertificate | None) -> tuple[CheckedCertificate, ...]:
        """Return a polka behind those that it rests on; nothing where there is none."""
        return () if polka is None else (*self.polkas_below(polka), polka)

    def commit(self, round_: int, value: Value) -> CheckedCertificate:
        """Return the heaviest certificate that the precommits at hand make. Assert that they are a quorum."""
        votes = {vote.voter: CheckedVote(vote) for vote in votes_of(self._commits[round_, value])}
        tally = self._tallies.get((round_, VoteKind.PRECOMMIT))
        if tally is not None:
            votes |= {voter: vote for voter, vote in tally.votes.items() if vote.value == value}
        return certificate_of(list(votes.values()))

    def weight_at(self, round_: int) -> int:
        """Return the power of the distinct voters with a vote in this round."""
        voters: set[bytes] = set()
        for kind in VoteKind:
            tally = self._tallies.get((round_, kind))
            if tally is not None:
                voters |= tally.votes.keys()
        return sum(self.validators.power(voter) for voter in voters)

    def later_round(self, current: int) -> int:
        """Return the highest round above `current` that more than a third has reached or passed; else -1.

        The paper counts messages of exactly that round. Who is beyond it was there or skipped it, so an
        honest voter among them is as good a reason, and dropping all but a voter's highest round loses
        nothing.
        """
        if self._highest <= current:
            return -1
        weight = 0
        for round_, voter in sorted(((r, v) for v, r in self._reached.items() if r > current), reverse=True):
            weight += self.validators.power(voter)
            if is_third(weight, self.validators.total):
                return round_
        return -1

    def reached(self) -> ItemsView[bytes, int]:
        """Return (voter, highest round) of all who voted at this height."""
        return self._reached.items()

    def heard(self) -> int:
        """Return the power of all who voted at this height (Agreement 3)."""
        return sum(self.validators.power(voter) for voter in self._reached)

    def forget(self, current: int, keep: tuple[int, ...] = ()) -> None:
        """Drop what no rule will ask: rounds two and more below, and of each voter ahead all but its highest.

        Polkas and commits outlive their votes; of polkas with more than POLKA_VOTES_MAX votes the oldest go,
        but for the rounds in `keep`.
        """
        for round_, kind in [place for place in self._tallies if place[0] < current - 1]:
            self.changes += 1
            del self._tallies[round_, kind]
        if self._highest > current:
            for place in [place for place in self._tallies if place[0] > current]:
                tally = self._tallies[place]
                for voter in [v for v in tally.votes if self._reached[v] > place[0]]:
                    self._drop(tally, voter)
                if not tally.votes:
                    del self._tallies[place]
        if self._polka_votes > POLKA_VOTES_MAX:
            for oldest in sorted(place for place in self._polkas if place[0] not in keep):
                if self._polka_votes <= POLKA_VOTES_MAX:
                    break
                self._polka_votes -= len(self._polkas.pop(oldest).votes)

    def _drop(self, tally: Tally, voter: bytes) -> None:
        self.changes += 1
        vote, power = tally.votes.pop(voter), self.validators.power(voter)
        tally.weight -= power
        if vote in tally.aside:
            tally.aside.remove(vote)
        else:
            tally.weights[vote.value] -= power


def _round(vote: CheckedVote) -> int:
    return vote.round
