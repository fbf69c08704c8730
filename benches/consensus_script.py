"""One real participant with real keys, and the messages that its fellow validators would send it.

The chain below it is the tiny one of the simulations, so that nothing but the agreement takes time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from consensus.core import actions as act
from consensus.core import events as ev
from consensus.core.digest import justification_hash, vrf_alpha
from consensus.core.messages import Proposal, Vote, vote_of
from consensus.core.pace import Pace
from consensus.core.participant import Participant
from consensus.core.ports import Crypto, ParticipantConfig
from consensus.core.votes import Certificate, Subject, VoteDomain, VoteKind, vote_bytes
from runtime.primitives.header import Block
from tests.simulation.chain import MINIMUM_PERIOD, Chain
from tests.simulation.crypto import RealRing
from tests.simulation.ledger import NodeLedger
from tests.simulation.scenario import Scenario, schedule_of

START = 1_700_000_000_000
ME = 0


@dataclass(frozen=True, slots=True)
class View:
    """Processor seconds for the proposal and for the votes of a view, and these votes.

    proposal: None where the participant led the view itself.
    """

    proposal: float | None
    votes: float
    shown: tuple[Vote, ...]


class Script:
    """Plays happy views with validator 0, the only one that runs."""

    def __init__(self, validators: int, crypto: Crypto) -> None:
        self.ring = RealRing()
        scenario = Scenario(seed=1, stakes=(1,) * validators, length=1 << 30)
        self.chain = Chain(schedule_of(scenario, self.ring), scenario.length)
        self.ledger = NodeLedger(self.chain)
        self.domain = VoteDomain(self.chain.genesis_hash, 0)
        self.keys = [self.ring.key(index) for index in range(validators)]
        self.epoch, final = self.ledger.start()
        self.now = START
        self.view = 0
        self.parent: Certificate | None = None
        self._own: deque[Proposal] = deque()
        self.participant = Participant(
            ParticipantConfig(
                self.domain,
                Pace(block_interval=0),
                self.ledger,
                crypto,
                (self.keys[ME].public,),
                self.epoch,
                final,
                MINIMUM_PERIOD,
            )
        )
        for event in (ev.Started(()), ev.EpochReady(0, True), ev.SigningAllowed()):
            self._tell(event)

    def play(self) -> View:
        """Have the others send a proposal and all their votes; raises AssertionError."""
        self.view += 1
        self.now += 1_000
        leader = self.epoch.leader(self.view)
        proposal = self._own.popleft() if leader == ME else self._proposal(leader)
        subject = proposal.subject()
        final = replace(subject, kind=VoteKind.FINALIZE)
        others = range(1, len(self.keys))
        votes = [self._sign(subject, signer) for signer in others if signer != leader]
        votes += [self._sign(final, signer) for signer in others]
        shown = None if leader == ME else self._tell(ev.Received("leader", proposal))
        spent = sum(self._tell(ev.Received("peer", vote)) for vote in votes)
        if self.participant.status().final_view != self.view:
            raise AssertionError("the view did not become final")
        held = self.participant.certificates(0, self.view, self.view)
        self.parent = next(c for c in held if c.kind == VoteKind.NOTARIZE)
        return View(shown, spent, tuple(votes))

    def _tell(self, event: ev.Event) -> float:
        """Return the processor seconds of an event and of all that follows in the participant."""
        events = deque([event])
        spent = 0.0
        while events:
            event = events.popleft()
            started = time.process_time()
            wanted = self.participant.handle(event, self.now)
            spent += time.process_time() - started
            for action in wanted:
                events.extend(self._do(action))
        return spent

    def _do(self, action: act.Action) -> Iterator[ev.Event]:
        match action:
            case act.Cast(subject):
                yield ev.VoteSigned(self._sign(subject, ME))
            case act.Execute(block):
                self.ledger.execute(block)
                yield ev.BlockExecuted(block.header.hash(), ev.Verdict.VALID)
            case act.Finalize(block_hash, certificate):
                self.ledger.finalize(block_hash, certificate)
                yield ev.FinalityStored(block_hash, self.ledger.blocks[block_hash].header.number)
            case act.SetTimer(timer) if timer.kind is ev.TimerKind.PROPOSE:
                yield ev.TimerFired(timer)
            case act.Build():
                yield ev.BlockBuilt(action.epoch, action.view, self._build(action))
            case act.Broadcast(message) if isinstance(message, Proposal):
                self._own.append(message)
            case act.Penalise():
                raise AssertionError(f"an honest message was refused: {action}")
            case _:
                pass

    def _sign(self, subject: Subject, signer: int) -> Vote:
        return vote_of(subject, signer, self.keys[signer].sign(vote_bytes(self.domain, subject)))

    def _build(self, want: act.Build) -> Block:
        key = self.keys[want.leader]
        proof = key.prove(want.alpha)
        output = self.ring.vrf(key.public, want.alpha, proof) or b""
        return self.chain.build(want, output, proof, self.now)

    def _proposal(self, leader: int) -> Proposal:
        epoch, parent, view = self.epoch, self.parent, self.view
        want = act.Build(
            epoch.number,
            view,
            view - 1,
            epoch.start_hash if parent is None else parent.block_hash,
            leader,
            self.now,
            vrf_alpha(self.domain.genesis_hash, epoch.number, view, epoch.seed),
            justification_hash(parent, ()),
            b"" if parent is None else parent.bitmap,
        )
        block = self._build(want)
        bare = Proposal(epoch.number, view, view - 1, block, bytes(64), parent, (), ())
        return replace(bare, signature=self._sign(bare.subject(), leader).signature)
