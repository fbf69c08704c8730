"""Every error that JSON-RPC may answer with: its code, its message and where it comes from.

Codes from -32768 to -32000 are those of the JSON-RPC 2.0 specification and of the ecosystem's
servers; 1xxx belong to `author_*`, 4xxx to `state_*`, as wallets already know them.
"""

from __future__ import annotations

import orjson

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
TOO_MANY_SUBSCRIPTIONS = -32006
OVERSIZED_REQUEST = -32007
OVERSIZED_RESPONSE = -32008
SERVER_BUSY = -32009
OVERSIZED_BATCH = -32010
NEEDS_WEBSOCKET = -32090
RATE_LIMITED = -32999

BAD_FORMAT = 1001
INVALID_TRANSACTION = 1010
UNKNOWN_VALIDITY = 1011
TEMPORARILY_BANNED = 1012
ALREADY_IMPORTED = 1013
PRIORITY_TOO_LOW = 1014
IMMEDIATELY_DROPPED = 1016
KEYS_ERROR = 1040
CLIENT_ERROR = 4003
INVALID_BLOCK_RANGE = 4001
RANGE_TOO_LARGE = 4002
BLOB_ERROR = 7001
COMMITTEE_ERROR = 7002
OFFCHAIN_ERROR = 5001


class RpcError(Exception):
    """A refusal that the caller may see: a code, a fixed message and, in `data`, what to do."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(f"{code}: {message}" if data is None else f"{code}: {message}: {data}")
        self.code = code
        self.message = message
        self.data = data

    def fragment(self) -> bytes:
        """Encode the `error` member of a response."""
        body: dict[str, object] = {"code": self.code, "message": self.message}
        if self.data is not None:
            body["data"] = self.data
        return orjson.dumps(body)


def parse_error(detail: str) -> RpcError:
    """Refuse bytes that are not JSON."""
    return RpcError(PARSE_ERROR, "Parse error", detail)


def invalid_request(detail: str) -> RpcError:
    """Refuse JSON that is not a JSON-RPC 2.0 request."""
    return RpcError(INVALID_REQUEST, "Invalid Request", detail)


def method_not_found() -> RpcError:
    """Refuse an unknown method; clients compare this message word for word."""
    return RpcError(METHOD_NOT_FOUND, "Method not found")


def unsafe_method(hint: str) -> RpcError:
    """Refuse a method that only the node's own operator may call, as the ecosystem's nodes do."""
    return RpcError(METHOD_NOT_FOUND, "RPC call is unsafe to be called externally", hint)


def invalid_params(detail: str) -> RpcError:
    """Refuse parameters, naming the one that is wrong."""
    return RpcError(INVALID_PARAMS, "Invalid params", detail)


def internal_error() -> RpcError:
    """Report a fault of this node without its details, which are in its log."""
    return RpcError(INTERNAL_ERROR, "Internal error", "the node's log holds the details")


def needs_websocket(method: str) -> RpcError:
    """Refuse over plain HTTP what lives as long as a connection."""
    detail = f"{method} belongs to a connection: connect with a WebSocket"
    return RpcError(NEEDS_WEBSOCKET, "Subscriptions are not available on this transport", detail)


def too_many_subscriptions(limit: int) -> RpcError:
    """Refuse one subscription more than a connection may hold."""
    return RpcError(
        TOO_MANY_SUBSCRIPTIONS,
        "Too many subscriptions on the connection",
        f"at most {limit}: unsubscribe first or open another connection",
    )


def too_many_calls(per_minute: int) -> RpcError:
    """Refuse a call above the connection's rate."""
    detail = f"at most {per_minute} calls a minute on one connection"
    return RpcError(RATE_LIMITED, "RPC rate limit exceeded", detail)


def server_busy(detail: str) -> RpcError:
    """Refuse work for which there is no room now."""
    return RpcError(SERVER_BUSY, "Server is busy", f"{detail}; try again later")


def count_too_large(count: int, most: int, what_to_do: str) -> RpcError:
    """Refuse to go through so many; clients know the message."""
    text = f"count exceeds maximum value. value: {count}, max: {most}"
    return RpcError(RANGE_TOO_LARGE, text, what_to_do)


def response_too_big(what_to_do: str) -> RpcError:
    """Refuse to build an answer above the limit."""
    return RpcError(OVERSIZED_RESPONSE, "Response is too big", what_to_do)


def unknown_block(block_hash: bytes) -> RpcError:
    """Refuse a read at a block that this node does not know."""
    return RpcError(
        CLIENT_ERROR,
        f"Client error: UnknownBlock: Header was not found in the database: 0x{block_hash.hex()}",
    )


def state_discarded(block_hash: bytes) -> RpcError:
    """Refuse a read of a state that pruning has removed."""
    return RpcError(
        CLIENT_ERROR,
        f"Client error: UnknownBlock: State already discarded for 0x{block_hash.hex()}",
        "ask a node that keeps more history (--state-pruning)",
    )


def rules_discarded(block_hash: bytes) -> RpcError:
    """Refuse a runtime call on a state that pruning has removed; clients compare the text."""
    return RpcError(
        CLIENT_ERROR,
        "Client error: Api called for an unknown Block: State already discarded for "
        f"0x{block_hash.hex()}",
        "ask a node that keeps more history (--state-pruning)",
    )


def body_discarded(block_hash: bytes) -> RpcError:
    """Refuse a read of a block whose extrinsics pruning has removed, or are not here yet."""
    return RpcError(
        CLIENT_ERROR,
        f"Client error: UnknownBlock: Body already discarded for 0x{block_hash.hex()}",
        "ask a node that keeps more history (--blocks-pruning)",
    )


def unknown_api(method: str) -> RpcError:
    """Refuse a runtime call that this runtime does not export; clients compare the text."""
    return RpcError(
        CLIENT_ERROR,
        f"Client error: Execution failed: Other: Exported method {method} is not found",
    )


def execution_failed(detail: str) -> RpcError:
    """Report that a runtime call refused its argument."""
    return RpcError(CLIENT_ERROR, f"Client error: Execution failed: {detail}")
