"""The bytes around results and errors, as JSON-RPC 2.0 wants them."""

from __future__ import annotations

import logging

import orjson

from node.rpc.errors import RpcError, internal_error, invalid_request

_log = logging.getLogger("openledger.rpc")

_HEAD = b'{"jsonrpc":"2.0","id":'
_RESULT = b',"result":'
_ERROR = b',"error":'
_LONG_MESSAGE = 65536
MOST_VALUES = 200_000
"""Values in one message: a megabyte of brackets would cost a hundred of memory."""


def holds_too_much(raw: bytes | str) -> bool:
    """Tell, without decoding it, whether a message holds more than `MOST_VALUES`."""
    if len(raw) <= _LONG_MESSAGE:
        return False
    if isinstance(raw, str):
        return raw.count(",") + raw.count("[") + raw.count("{") > MOST_VALUES
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{") > MOST_VALUES


def encode_id(ident: object) -> bytes:
    """Echo an id with its type."""
    if ident is None or type(ident) in (int, str, float):
        return orjson.dumps(ident)
    raise invalid_request("an id is a number, a string or null")


def id_of(message: object) -> bytes:
    """Echo the id of a request that is not looked at; null where it has none."""
    try:
        return encode_id(message.get("id") if type(message) is dict else None)
    except RpcError:
        return b"null"


def success(ident: bytes, result: bytes) -> bytes:
    """Answer with a result that is JSON already."""
    return b"%b%b%b%b}" % (_HEAD, ident, _RESULT, result)


def failure(ident: bytes, error: RpcError) -> bytes:
    """Answer with an error."""
    return b"%b%b%b%b}" % (_HEAD, ident, _ERROR, error.fragment())


def fault(ident: bytes, name: str) -> bytes:
    """Log the exception in flight and answer that the node failed."""
    _log.exception("%s failed on a request from outside", name)
    return failure(ident, internal_error())


def join(answers: list[bytes]) -> bytes:
    """Answer a batch; with nothing where nothing of it wants an answer."""
    spoken = [answer for answer in answers if answer]
    return b"[%b]" % b",".join(spoken) if spoken else b""
