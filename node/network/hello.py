"""The greeting: which chain a node is on, and who it is."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import msgpack

from consensus import session_key
from runtime.primitives.errors import Refusal

PROTOCOL_VERSION = 1
MAX_HELLO = 4096
MAX_TEXT = 128
MAX_ADDRESSES = 8
MAX_ADDRESS = 256

SignHello = Callable[[bytes, bytes], bytes]
"""Signs (own peer id bytes, remote peer id bytes) as `consensus.session_key.hello_bytes`."""


class HelloReason(Enum):
    """Why a greeting is not returned."""

    MALFORMED = "the greeting cannot be read"
    PROTOCOL_VERSION = "it speaks another version of the peer protocol; update the older node"
    GENESIS = "it is on another chain: the genesis hashes differ"
    FORK = "it is on another fork of the chain: one side has not taken part in a rollback"
    WRONG_SIGNATURE = "the session key that it claims did not sign the greeting"
    BANNED = "it is banned here for a while"
    FULL = "this node has as many peers as it takes; try another"
    SELF = "it is this very node"
    RESERVED_ONLY = "this node talks to its reserved peers only"


class HelloRefused(Refusal):
    """A greeting is refused."""

    def __init__(self, reason: HelloReason, detail: str = "") -> None:
        super().__init__(reason, detail or reason.value)
        self.reason: HelloReason = reason


@dataclass(frozen=True, slots=True)
class Hello:
    """What a node says of itself; addresses: where it listens, as it believes."""

    version: int
    genesis_hash: bytes
    fork_id: int
    agent: str
    role: str
    addresses: tuple[str, ...]
    session_key: bytes | None = None
    signature: bytes | None = None


def encode_hello(hello: Hello) -> bytes:
    """Return the bytes on the wire: a msgpack array in the order of the fields."""
    packed: bytes = msgpack.packb(
        [
            hello.version,
            hello.genesis_hash,
            hello.fork_id,
            hello.agent,
            hello.role,
            list(hello.addresses),
            hello.session_key,
            hello.signature,
        ]
    )
    return packed


def decode_hello(data: bytes) -> Hello:
    """Decode a greeting; raises HelloRefused (MALFORMED, PROTOCOL_VERSION).

    Fields behind the eighth are for later versions and are passed over.
    """
    try:
        fields = msgpack.unpackb(data)
        version = fields[0]
        if type(version) is int and version != PROTOCOL_VERSION:
            detail = f"its version is {version}, ours {PROTOCOL_VERSION}"
            raise HelloRefused(HelloReason.PROTOCOL_VERSION, detail)
        genesis, fork, agent, role, addresses, key, signature = fields[1:8]
        hello = Hello(
            version,
            _bytes(genesis, 32),
            _whole(fork),
            _text(agent, MAX_TEXT),
            _text(role, MAX_TEXT),
            tuple(_text(address, MAX_ADDRESS) for address in addresses[:MAX_ADDRESSES]),
            None if key is None else _bytes(key, 32),
            None if signature is None else _bytes(signature, 64),
        )
    except (ValueError, TypeError, LookupError, msgpack.UnpackException, RecursionError) as error:
        raise HelloRefused(
            HelloReason.MALFORMED, f"{HelloReason.MALFORMED.value}: {error}"
        ) from None
    if (hello.session_key is None) != (hello.signature is None) or type(version) is not int:
        raise HelloRefused(HelloReason.MALFORMED)
    return hello


def check_hello(hello: Hello, genesis_hash: bytes, fork_id: int, own: bytes, remote: bytes) -> None:
    """Check a greeting from `remote` to `own` (peer id bytes); raises HelloRefused."""
    if not hmac.compare_digest(hello.genesis_hash, genesis_hash):
        detail = f"its genesis is 0x{hello.genesis_hash.hex()}, ours 0x{genesis_hash.hex()}"
        raise HelloRefused(HelloReason.GENESIS, detail)
    if hello.fork_id != fork_id:
        raise HelloRefused(HelloReason.FORK, f"its fork is {hello.fork_id}, ours {fork_id}")
    if hello.session_key is None or hello.signature is None:
        return
    if not session_key.check_hello(
        hello.session_key, genesis_hash, fork_id, remote, own, hello.signature
    ):
        raise HelloRefused(HelloReason.WRONG_SIGNATURE)


def encode_reply(refused: HelloRefused | None) -> bytes:
    """Return the answer to a greeting."""
    if refused is None:
        return bytes(msgpack.packb(["OK", ""]))
    return bytes(msgpack.packb([refused.reason.name, refused.detail[:512]]))


def decode_reply(data: bytes) -> HelloRefused | None:
    """Decode the answer to a greeting; None means welcome. Raises ValueError."""
    try:
        name, detail = msgpack.unpackb(data)
        if name == "OK":
            return None
        return HelloRefused(HelloReason[name], _text(detail, MAX_HELLO))
    except (TypeError, LookupError, msgpack.UnpackException, RecursionError) as error:
        raise ValueError(f"no answer to a greeting: {error}") from None


def _bytes(value: object, size: int) -> bytes:
    if not isinstance(value, bytes) or len(value) != size:
        raise ValueError(f"expected {size} bytes")
    return value


def _text(value: object, most: int) -> str:
    if not isinstance(value, str) or len(value) > most or not value.isprintable():
        raise ValueError(f"expected a printable text of {most} characters at most")
    return value


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 32:
        raise ValueError("expected a number of 32 bits")
    return value
