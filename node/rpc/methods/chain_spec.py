"""`chainSpec_v1_*`: what the chain's specification says of it."""

from __future__ import annotations

from node.rpc.backend import Backend
from node.rpc.kinds import AnyMethod, Method
from node.rpc.params import to_hex
from node.rpc.schema import HASH, TEXT


def chain_spec_methods(backend: Backend) -> list[AnyMethod]:
    """List the methods of this group."""
    properties = dict(backend.facts.properties)
    genesis = to_hex(backend.chain.genesis_hash)

    def chain_name() -> str:
        """Return the chain's name, for people."""
        return backend.facts.chain

    def genesis_hash() -> str:
        """Return the hash of block 0."""
        return genesis

    def chain_properties() -> object:
        """Return what wallets show: address format, the token's symbol and decimals."""
        return properties

    return [
        Method("chainSpec_v1_chainName", chain_name, result=TEXT),
        Method("chainSpec_v1_genesisHash", genesis_hash, result=HASH),
        Method("chainSpec_v1_properties", chain_properties, result={"type": "object"}),
    ]
