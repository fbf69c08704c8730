"""`system_accountNextIndex`: the nonce of an account's next extrinsic."""

from __future__ import annotations

from node.rpc import schema
from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, Method
from node.rpc.params import MalformedError, Param, decoder, hash32
from node.rpc.schema import ADDRESS
from runtime.primitives.keys import AddressError, ss58_decode
from runtime.primitives.scale import U32, decode


def account_methods(backend: Backend) -> list[AnyMethod]:
    """List the methods of this group."""

    def next_index(who: bytes) -> int:
        """Return the nonce of an account's next extrinsic, behind those that wait in the pool."""
        answer = backend.call_api("AccountNonceApi_account_nonce", who, None)
        nonce: int = decode(U32, answer)
        return backend.pool.next_nonce(who, nonce)

    return [
        Method(
            "system_accountNextIndex",
            next_index,
            (Param("account", account, doc="SS58 address of any prefix, or 0x hex."),),
            ("account_nextIndex",),
            result=schema.U32,
        ),
    ]


@decoder(ADDRESS)
def account(value: object) -> bytes:
    """Decode an SS58 address of any prefix, or 32 bytes of hex."""
    if not isinstance(value, str):
        raise MalformedError("expected an SS58 address")
    if value[:2] == "0x":
        return hash32(value)
    try:
        decoded, _ = ss58_decode(value)
    except AddressError as refusal:
        raise MalformedError(f"not an SS58 address: {refusal}") from None
    return decoded
