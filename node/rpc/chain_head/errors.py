"""The refusals of `chainHead_v1_*`, with the codes of the JSON-RPC interface specification."""

from __future__ import annotations

from node.rpc.errors import RpcError

TOO_MANY_FOLLOWS = -32800
NOT_PINNED = -32801
WITHOUT_RUNTIME = -32802
NOT_WAITING = -32803
DUPLICATE_HASHES = -32804


def too_many_follows(limit: int) -> RpcError:
    """Refuse one follower more of a connection."""
    detail = f"at most {limit} on a connection: unfollow first"
    return RpcError(TOO_MANY_FOLLOWS, "Too many chainHead_v1_follow subscriptions", detail)


def not_pinned() -> RpcError:
    """Refuse a block that was not told of, or was unpinned."""
    return RpcError(NOT_PINNED, "Block hash is not pinned by this subscription")


def without_runtime() -> RpcError:
    """Refuse a runtime call of a follower who did not ask for runtimes."""
    return RpcError(WITHOUT_RUNTIME, "The subscription was made with withRuntime false")


def not_waiting() -> RpcError:
    """Refuse to continue an operation that goes on by itself."""
    return RpcError(NOT_WAITING, "The operation is not waiting to be continued")


def duplicate_hashes() -> RpcError:
    """Refuse to unpin the same block twice in one request."""
    return RpcError(DUPLICATE_HASHES, "A block hash is given more than once")
