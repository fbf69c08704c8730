"""What can go wrong between a program and its node: four kinds, never mixed."""

from __future__ import annotations


class ClientError(Exception):
    """Anything that the client raises; the text says what to do."""


class Unreachable(ClientError):
    """No connection to the node could be made in time."""

    def __init__(self, url: str, cause: BaseException | None = None) -> None:
        reason = f" ({cause})" if cause is not None and str(cause) else ""
        super().__init__(f"no node answers at {url}{reason}; is it running, and the address right?")
        self.url = url


class ConnectionLost(ClientError):
    """The connection broke before an answer came; whether the request was served is unknown."""


class CallError(ClientError):
    """The node answered with an error: `code`, `message` and `data` as of JSON-RPC."""

    def __init__(self, method: str, code: int, message: str, data: object = None) -> None:
        detail = f": {data}" if data is not None else ""
        super().__init__(f"{method}: {message}{detail} ({code})")
        self.method = method
        self.code = code
        self.message = message
        self.data = data


class Unanswered(ClientError):
    """The node did not answer in time."""


class NeedsWebSocket(ClientError):
    """Subscriptions do not exist over HTTP: connect with ws:// or wss://."""


class Refused(ClientError):
    """The node did not take a transaction, or dropped it; `reason` is a stable name."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"{reason}: {text}" if text else reason)
        self.reason = reason
        self.text = text


class DispatchError(ClientError):
    """A transaction is in a block and failed there: nothing but its fee and nonce changed."""

    def __init__(self, pallet: str, error: str, text: str, block_hash: bytes) -> None:
        super().__init__(f"{pallet}.{error}: {text}" if text else f"{pallet}.{error}")
        self.pallet = pallet
        self.error = error
        self.text = text
        self.block_hash = block_hash


class BlobError(ClientError):
    """A blob's bytes do not have the hash that names them, or the node does not hold it."""
