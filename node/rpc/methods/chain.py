"""`chain_*`: blocks, headers, hashes and heads."""

from __future__ import annotations

from node.rpc import schema
from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, Method, SubscribeMethod
from node.rpc.heads import Heads
from node.rpc.params import MalformedError, Param, decoder, hash32, to_hex, u32
from node.rpc.shapes import BLOCK, HEADER, block_shape, header_shape
from node.rpc.subscriptions import Subscription

ENGINE = b"SMPX"
_MOST_HASHES = 1000
_HASH = schema.nullable(schema.HASH)

_AT = Param("hash", hash32, optional=True, doc="Of the block; by default the best one.")


def chain_methods(backend: Backend, heads: Heads) -> list[AnyMethod]:
    """List the methods of this group."""
    chain = backend.chain

    def get_header(at: bytes | None) -> object:
        """Return the header of a block; null for an unknown one."""
        header = chain.header(backend.at(at))
        return None if header is None else header_shape(header)

    def get_block(at: bytes | None) -> object:
        """Return a block with its extrinsics and, where it has one, its finality proof.

        Null for an unknown block, and where its extrinsics are pruned.
        """
        block_hash = backend.at(at)
        block = chain.block(block_hash)
        if block is None:
            return None
        return block_shape(block, chain.justification(block_hash), ENGINE)

    def get_block_hash(numbers: int | list[int] | None) -> object:
        """Find the blocks of one or many numbers on the best chain, null where there is none yet.

        Without a number, the best block.
        """
        if numbers is None:
            return to_hex(chain.best().hash)
        if isinstance(numbers, list):
            return [_hash_of(number) for number in numbers]
        return _hash_of(numbers)

    def _hash_of(number: int) -> str | None:
        block_hash = chain.block_hash(number)
        return None if block_hash is None else to_hex(block_hash)

    async def new_heads(subscription: Subscription) -> None:
        """Tell the header of the best block, now and with each new one."""
        heads.follow(heads.best, subscription)

    async def all_heads(subscription: Subscription) -> None:
        """Tell the headers of all blocks, also of those beside the best chain."""
        heads.follow(heads.new, subscription)

    async def finalized_heads(subscription: Subscription) -> None:
        """Tell the headers of finalised blocks in order, without a gap, from the last one on."""
        heads.follow(heads.finalized, subscription)

    return [
        Method("chain_getHeader", get_header, (_AT,), result=schema.nullable(HEADER)),
        Method("chain_getBlock", get_block, (_AT,), result=schema.nullable(BLOCK)),
        Method(
            "chain_getBlockHash",
            get_block_hash,
            (Param("number", _numbers, optional=True, doc="One number, or a list of them."),),
            ("chain_getHead",),
            result={"oneOf": [_HASH, schema.array(_HASH, _MOST_HASHES)]},
        ),
        Method(
            "chain_getFinalizedHead",
            lambda: to_hex(chain.finalized().hash),
            (),
            ("chain_getFinalisedHead",),
            result=schema.HASH,
            doc="Return the hash of the last finalised block.",
        ),
        SubscribeMethod(
            "chain_subscribeNewHeads",
            new_heads,
            "chain_newHead",
            ("chain_unsubscribeNewHeads", "chain_unsubscribeNewHead", "unsubscribe_newHead"),
            aliases=("chain_subscribeNewHead", "subscribe_newHead"),
            result=HEADER,
        ),
        SubscribeMethod(
            "chain_subscribeAllHeads",
            all_heads,
            "chain_allHead",
            ("chain_unsubscribeAllHeads",),
            result=HEADER,
        ),
        SubscribeMethod(
            "chain_subscribeFinalizedHeads",
            finalized_heads,
            "chain_finalizedHead",
            ("chain_unsubscribeFinalizedHeads", "chain_unsubscribeFinalisedHeads"),
            aliases=("chain_subscribeFinalisedHeads",),
            result=HEADER,
        ),
    ]


@decoder({"oneOf": [u32.schema, schema.array(u32.schema, _MOST_HASHES)]})
def _numbers(value: object) -> int | list[int]:
    if not isinstance(value, list):
        return u32(value)
    if len(value) > _MOST_HASHES:
        raise MalformedError(f"at most {_MOST_HASHES} numbers are taken, got {len(value)}")
    return [u32(number) for number in value]
