"""Proofs of finality for who trusts the validators only, and evidence against those who lie."""

from __future__ import annotations

import trio

from consensus.core.evidence import EvidenceKind, encode_evidence
from node.rpc import schema
from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, LengthyMethod, Method, SubscribeMethod
from node.rpc.errors import RANGE_TOO_LARGE, RpcError
from node.rpc.heads import Heads
from node.rpc.params import Param, to_hex, u32
from node.rpc.slices import Slice
from node.rpc.subscriptions import Subscription
from node.rpc.work import Work

_MOST_HEADERS = 4096
_MOST_EPOCHS = 64
_PROOF: schema.Schema = {
    **schema.HEX,
    "description": "SCALE of a certificate of finalize votes",
}
_HEADER: schema.Schema = {**schema.HEX, "description": "SCALE of a header"}
_FINALITY = schema.shared(
    "FinalityProof",
    schema.record(
        block=schema.HASH, number=schema.U32, proof=_PROOF, headers=schema.array(_HEADER)
    ),
)
_EPOCH_END = schema.shared(
    "EpochEnd", schema.record(epoch=schema.U32, header=_HEADER, proof=_PROOF)
)
_EVIDENCE = schema.shared(
    "Evidence",
    schema.record(
        kind={"enum": [kind.name for kind in EvidenceKind]},
        epoch=schema.U64,
        view=schema.U64,
        position={**schema.U32, "description": "of the validator in its epoch's set"},
        evidence={**schema.HEX, "description": "SCALE of the two votes"},
    ),
)


def finality_methods(backend: Backend, heads: Heads) -> list[AnyMethod]:
    """List the methods of this group."""
    chain = backend.chain

    def prove_epochs(first: int) -> object:
        """Return the proven ends of epochs from one on, at most 64.

        `header` (SCALE) announces the validators of the next epoch; `proof` makes it final by the
        votes of its own. Whoever knows the set of one epoch learns that of the next from it.
        """
        found = []
        for epoch in range(first, first + _MOST_EPOCHS):
            block_hash = chain.boundary(epoch)
            header = None if block_hash is None else chain.header(block_hash)
            proof = None if block_hash is None else chain.justification(block_hash)
            if header is None or proof is None:
                break
            found.append(
                {"epoch": epoch, "header": to_hex(header.encode()), "proof": to_hex(proof)}
            )
        return found

    async def evidence() -> object:
        """List what this node saw of validators that contradicted themselves."""
        folder = backend.evidence
        kept = [] if folder is None else await trio.to_thread.run_sync(folder.all)
        return [
            {
                "kind": EvidenceKind(piece.kind).name,
                "epoch": piece.first.epoch,
                "view": piece.first.view,
                "position": piece.first.signer,
                "evidence": to_hex(encode_evidence(piece)),
            }
            for piece in kept
        ]

    async def justifications(subscription: Subscription) -> None:
        """Tell each block that becomes final with a proof of its own, and that proof."""

        def tell(block_hash: bytes) -> None:
            proof = chain.justification(block_hash)
            if proof is not None:
                subscription.notify({"block": to_hex(block_hash), "proof": to_hex(proof)})

        tell(heads.finalized.latest)
        subscription.on_close(heads.finalized.listen(tell))

    async def prove_finality(number: int) -> object:
        """Return the first proof at or above a block, and the headers from it down to the block.

        Null while the block is not final. `headers` are SCALE, the proven block's first; each
        names the next one's hash as its parent.
        """
        final = chain.finalized().number
        headers: list[str] = []
        work = Slice()
        for height in range(number, min(final, number + _MOST_HEADERS) + 1):
            block_hash = chain.block_hash(height)
            header = None if block_hash is None else chain.header(block_hash)
            if block_hash is None or header is None:
                return None
            headers.append(to_hex(header.encode()))
            proof = chain.justification(block_hash)
            if proof is not None:
                return {
                    "block": to_hex(block_hash),
                    "number": height,
                    "proof": to_hex(proof),
                    "headers": headers[::-1],
                }
            await work.pause()
        if final - number > _MOST_HEADERS:
            detail = f"no proof within {_MOST_HEADERS} blocks above {number}"
            raise RpcError(RANGE_TOO_LARGE, "No finality proof in range", detail)
        return None

    return [
        LengthyMethod(
            "openledger_proveFinality",
            prove_finality,
            (Param("number", u32, doc="Of the block to prove."),),
            result=schema.nullable(_FINALITY),
            work=Work.SCAN,
        ),
        Method(
            "openledger_proveEpochs",
            prove_epochs,
            (Param("first", u32, doc="The first epoch whose end is to be proven."),),
            result=schema.array(_EPOCH_END, _MOST_EPOCHS),
        ),
        LengthyMethod(
            "openledger_evidence", evidence, result=schema.array(_EVIDENCE), work=Work.SCAN
        ),
        SubscribeMethod(
            "openledger_subscribeJustifications",
            justifications,
            "openledger_justification",
            ("openledger_unsubscribeJustifications",),
            result=schema.record(block=schema.HASH, proof=_PROOF),
        ),
    ]
