"""What the head of an HTTP request asks for, and whether it may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import h11

from node.rpc.limits import RpcConfig

Kind = Literal["rpc", "health", "preflight", "upgrade", "refused"]


@dataclass(frozen=True, slots=True)
class Head:
    """What one request head asks for; `length` is None for a chunked body.

    trusted: whoever sent it may call unsafe methods.
    """

    kind: Kind
    length: int | None
    keep_alive: bool
    cors: bytes
    expects_continue: bool = False
    trusted: bool = False
    refusal: tuple[int, str] = (400, "")


def classify(request: h11.Request, config: RpcConfig) -> Head:
    """Decide what a parsed request head asks for, and whether it may."""
    headers = dict(request.headers)
    origin = headers[b"origin"].decode("latin-1") if b"origin" in headers else None
    if not config.admits(origin):
        return refused(403, f"origin {origin} is not admitted; see --rpc-cors")
    cors = b"" if origin is None else _cors(config, headers[b"origin"])
    tokens = {token.strip().lower() for token in headers.get(b"connection", b"").split(b",")}
    keep_alive = request.http_version >= b"1.1" and b"close" not in tokens
    length: int | None = int(headers.get(b"content-length", b"0"))
    if b"transfer-encoding" in headers:
        length = None
    if b"upgrade" in tokens and headers.get(b"upgrade", b"").lower() == b"websocket":
        return Head("upgrade", 0, True, cors, trusted=config.trusts(origin))
    path = request.target.split(b"?", 1)[0]
    if request.method == b"GET" and path == b"/health":
        return Head("health", length, keep_alive, cors)
    if request.method == b"OPTIONS":
        return Head("preflight", length, keep_alive, cors + _PREFLIGHT)
    if request.method != b"POST":
        return refused(405, "send JSON-RPC with POST or over a WebSocket; see also GET /health")
    media = headers.get(b"content-type", b"").split(b";", 1)[0].strip().lower()
    if media != b"application/json":
        return refused(415, "send JSON-RPC as content-type application/json")
    expects = headers.get(b"expect", b"").lower() == b"100-continue"
    return Head("rpc", length, keep_alive, cors, expects, config.trusts(origin))


_PREFLIGHT = (
    b"access-control-allow-methods: GET, POST, OPTIONS\r\n"
    b"access-control-allow-headers: content-type\r\n"
    b"access-control-max-age: 86400\r\n"
)


def _cors(config: RpcConfig, origin: bytes) -> bytes:
    if "*" in config.origins:
        return b"access-control-allow-origin: *\r\n"
    return b"access-control-allow-origin: %b\r\nvary: origin\r\n" % origin


def refused(status: int, text: str) -> Head:
    """Refuse what a head asks for, and end the connection."""
    return Head("refused", 0, keep_alive=False, cors=b"", refusal=(status, text))
