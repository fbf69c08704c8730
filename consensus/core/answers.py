"""What peers answer: checked before it is believed."""

from __future__ import annotations

from consensus.core.actions import Fault, Penalise
from consensus.core.certificates import FINALIZE, holds
from consensus.core.events import Peer, Responded
from consensus.core.handoff import Handoff
from consensus.core.messages import (
    Blocks,
    BlocksRequest,
    Certificates,
    CertificatesRequest,
    EpochProof,
    EpochProofs,
    EpochProofsRequest,
    Finality,
    FinalityRequest,
    HeadersRequest,
    Votes,
    VotesRequest,
)
from consensus.core.validators import Epoch
from runtime.primitives.digest import find_next_epoch


class Answers(Handoff):
    """Takes certificates, votes, blocks and proofs that were asked for."""

    def _respond(self, event: Responded, now: int) -> None:
        request, peer, response = event.request, event.peer, event.response
        match request:
            case CertificatesRequest(epoch):
                replica = self._of_epoch(epoch)
                if isinstance(response, Certificates) and replica is not None:
                    for certificate in response.certificates:
                        if certificate.epoch == epoch:
                            replica.take_certificate(peer, certificate, now)
            case VotesRequest(epoch):
                replica = self._of_epoch(epoch)
                if isinstance(response, Votes) and replica is not None:
                    for vote in response.votes:
                        if vote.epoch == epoch:
                            replica.on_vote(peer, vote, now)
            case BlocksRequest():
                if self.catch_up is not None:
                    self.catch_up.on_response(request, peer, response)
                if isinstance(response, Blocks):
                    self._take_blocks(request, response, now)
            case HeadersRequest():
                if self.catch_up is not None:
                    self.catch_up.on_response(request, peer, response)
                    for header in self.catch_up.headers:
                        self._replica().saw_header(header)
            case EpochProofsRequest():
                if isinstance(response, EpochProofs):
                    self._take_proofs(peer, response, now)
            case FinalityRequest():
                self._unsure = False
                if isinstance(response, Finality) and response.proof is not None:
                    self._take_finality(peer, response.proof, now)

    def _take_blocks(self, request: BlocksRequest, response: Blocks, now: int) -> None:
        asked = set(request.hashes)
        for block in response.blocks:
            if block.header.hash() in asked:
                self._replica().add_block(block, now)

    def _take_proofs(self, peer: Peer, response: EpochProofs, now: int) -> None:
        """Check a chain of epochs' ends, each by the validators that the one before announced."""
        replica = self._replica()
        epoch = replica.epoch
        checked: list[EpochProof] = []
        for proof in response.proofs:
            announced = find_next_epoch(proof.header.digest)
            if (
                announced is None
                or announced.epoch != epoch.number + 1
                or not self._proves(proof, epoch)
            ):
                if proof.certificate.epoch >= replica.epoch.number:
                    self._blame(peer, f"no proof of the end of epoch {epoch.number}")
                break
            checked.append(proof)
            self._final_epoch = max(self._final_epoch, epoch.number)
            epoch = epoch.after(announced, proof.header.hash(), proof.header.number)
        if not checked or replica.ended is not None:
            return
        self._proofs = checked
        self._unsure = True
        self._ask(FinalityRequest(), peer)
        self._use_proof(peer, now)

    def _take_finality(self, peer: Peer, proof: EpochProof, now: int) -> None:
        replica = self._replica()
        epoch = proof.certificate.epoch
        if epoch == replica.epoch.number:
            if self._proves(proof, replica.epoch):
                replica.take_certificate(peer, proof.certificate, now)
            else:
                self._blame(peer, "no proof of the last final block")
            return
        last = self._proofs[-1] if self._proofs else None
        announced = None if last is None else find_next_epoch(last.header.digest)
        if last is not None and announced is not None and announced.epoch == epoch:
            following = replica.epoch.after(announced, last.header.hash(), last.header.number)
            if self._proves(proof, following):
                self._final_epoch = max(self._final_epoch, epoch)

    def _proves(self, proof: EpochProof, epoch: Epoch) -> bool:
        certificate, header = proof.certificate, proof.header
        return (
            certificate.kind == FINALIZE
            and (certificate.block_hash, certificate.number) == (header.hash(), header.number)
            and holds(certificate, self.config.domain, epoch, self.config.crypto)
        )

    def _blame(self, peer: Peer, detail: str) -> None:
        self._actions.append(Penalise(peer, Fault.BAD_RESPONSE, detail))
