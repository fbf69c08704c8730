"""The keys of this node: `author_rotateKeys`, `_insertKey`, `_hasKey`, `_hasSessionKeys`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import trio

from node.node_keys import NodeKeys
from node.rpc import schema
from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, LengthyMethod
from node.rpc.errors import KEYS_ERROR, RpcError
from node.rpc.methods.account import account
from node.rpc.params import Param, hash32, hex_bytes, text, to_hex
from node.rpc.work import Work
from runtime.primitives.errors import Refusal

T = TypeVar("T")
_PUBLIC = Param("publicKey", hex_bytes, doc="The public key.")
_TYPE = Param("keyType", text, doc="`consensus` (or `smpx`), `worker`, `account` or `voucher`.")


def node_key_methods(backend: Backend) -> list[AnyMethod]:
    """List the methods of this group."""
    genesis = backend.chain.genesis_hash

    async def rotate() -> str:
        """Make a new consensus key in the node's keystore and return its public half.

        Register it with `Session.set_keys`: the validator signs with it from the first block of
        the epoch whose set has it. On a node that has a consensus key it lies in `keystore-next`.
        """
        return to_hex(await _run(backend, NodeKeys.rotate))

    async def rotate_for(owner: bytes) -> object:
        """Make a new consensus key, as `author_rotateKeys`, and prove that it is an account's.

        `keys` and `proof` are what `Session.set_keys` takes from that account.
        """

        def make(keys: NodeKeys) -> tuple[bytes, bytes]:
            public = keys.rotate()
            return public, keys.prove(public, genesis, owner)

        public, proof = await _run(backend, make)
        return {"keys": to_hex(public), "proof": to_hex(proof)}

    async def insert(key_type: str, secret_uri: str, public: bytes) -> None:
        """Put a secret URI into the node's keystore, encrypted; its public key has to fit."""

        def put(keys: NodeKeys) -> None:
            keys.insert(key_type, secret_uri, public)

        await _run(backend, put)

    async def has_key(public: bytes, key_type: str) -> bool:
        """Tell whether the node holds the secret of a public key."""
        return await _run(backend, partial(_has, public=public, key_type=key_type))

    async def has_session_keys(keys: bytes) -> bool:
        """Tell whether the node holds the secrets of session keys, here of one consensus key."""
        return await _run(backend, partial(_has, public=keys, key_type="consensus"))

    async def key_proof(public: bytes, owner: bytes) -> str:
        """Sign with a consensus key in the keystore that an account may register it.

        The proof is what `Session.set_keys` takes beside the key.
        """

        def prove(keys: NodeKeys) -> bytes:
            return keys.prove(public, genesis, owner)

        return to_hex(await _run(backend, prove))

    return [
        _method("author_rotateKeys", rotate, (), schema.HASH),
        _method(
            "author_rotateKeysWithOwner",
            rotate_for,
            (Param("owner", account, doc="The validator's account."),),
            schema.record(keys=schema.HASH, proof=schema.HEX),
        ),
        _method(
            "author_insertKey",
            insert,
            (_TYPE, Param("suri", text, doc="Phrase, seed or secret URI."), _PUBLIC),
            schema.NULL,
        ),
        _method("author_hasKey", has_key, (_PUBLIC, _TYPE), schema.BOOLEAN),
        _method(
            "author_hasSessionKeys",
            has_session_keys,
            (Param("sessionKeys", hex_bytes, doc="The public key."),),
            schema.BOOLEAN,
        ),
        _method(
            "openledger_keyProof",
            key_proof,
            (
                Param("publicKey", hash32, doc="A consensus key in the node's keystore."),
                Param("account", account, doc="The validator's account."),
            ),
            schema.HEX,
        ),
    ]


def _method(
    name: str,
    call: Callable[..., Coroutine[Any, Any, object]],
    params: tuple[Param, ...],
    result: schema.Schema,
) -> LengthyMethod:
    return LengthyMethod(name, call, params, result=result, unsafe=True, work=Work.KEYS)


def _has(keys: NodeKeys, public: bytes, key_type: str) -> bool:
    return keys.has(public, key_type)


async def _run(backend: Backend, job: Callable[[NodeKeys], T]) -> T:
    """Do a job with the keys in a thread; raises `RpcError` with the refusal's name and text."""
    keys = backend.keys
    if keys is None:
        detail = "NO_KEYSTORE: this node keeps no keys; use `openledger key` on its machine"
        raise RpcError(KEYS_ERROR, "Keystore unavailable", detail)
    try:
        return await trio.to_thread.run_sync(job, keys)
    except Refusal as refusal:  # of the keystore, of the secret, or of the keys
        detail = f"{refusal.reason.name}: {refusal.detail}"
        raise RpcError(KEYS_ERROR, "Keys refused", detail) from None
