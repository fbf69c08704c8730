"""`openledger_proveFinality`: evidence of finality for who trusts the validators only."""

from __future__ import annotations

from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, Method
from node.rpc.errors import RANGE_TOO_LARGE, RpcError
from node.rpc.params import Param, to_hex, u32

_MOST_HEADERS = 4096


def finality_methods(backend: Backend) -> list[AnyMethod]:
    """List the methods of this group."""
    chain = backend.chain

    def prove_finality(number: int) -> object:
        """Return the first proof at or above a block, and the headers from it down to the block.

        Null while the block is not final. `headers` are SCALE, the proven block's first; each
        names the next one's hash as its parent.
        """
        final = chain.finalized().number
        headers: list[str] = []
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
        if final - number > _MOST_HEADERS:
            detail = f"no proof within {_MOST_HEADERS} blocks above {number}"
            raise RpcError(RANGE_TOO_LARGE, "No finality proof in range", detail)
        return None

    return [Method("openledger_proveFinality", prove_finality, (Param("number", u32),))]
