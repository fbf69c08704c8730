"""Parameters of JSON-RPC made from the arguments of runtime calls."""

from __future__ import annotations

from typing import Any

from node.rpc import schema
from node.rpc.json_values import camel
from node.rpc.methods.account import account
from node.rpc.params import Decoder, MalformedError, Param, decoder, hash32, text, unsigned
from runtime.apis.paging import MOST, USUAL
from runtime.primitives.scale import Fixed, Named, Uint, is_option, option_inner

DOCS = {
    "start": "The id with which the page begins; by default the newest.",
    "after": "The key behind which the page begins: `next` of the page before.",
    "count": f"How many entries are looked at; by default {USUAL}.",
    "datanet": "Id of a Datanet.",
    "model": "Id of a model.",
    "session": "Id of a session.",
    "batch": "Id of a batch of receipts.",
    "record": "Id of a record in its Datanet.",
    "account": "Address of an account.",
    "customer": "Address of a customer.",
    "owner": "Address of an owner.",
    "validator": "Address of a validator.",
    "executor": "Key of a worker, as an address.",
    "key": "Key of a worker, as an address.",
    "epoch": "Number of an epoch.",
    "method": "Number of a way of attributing.",
    "name": "The exact name.",
}


_DIGITS = 32
"""As many tell that a number is too large for 64 bits, however many follow."""


def params_of(arguments: dict[str, Any]) -> tuple[Param, ...]:
    """Return a parameter for each argument; one that may be none may be absent."""
    return tuple(_param(name, type_) for name, type_ in arguments.items())


def _param(name: str, type_: Any) -> Param:
    optional = is_option(type_)
    inner = option_inner(type_) if optional else type_
    return Param(camel(name), _decoder_of(inner), optional, DOCS[name])


def _decoder_of(type_: Any) -> Decoder[Any]:
    marks = getattr(type_, "__metadata__", ())
    name = next((mark.name for mark in marks if isinstance(mark, Named)), "")
    if name == "AccountId":
        return account
    if name == "PageSize":
        return _page_size
    for mark in marks:
        match mark:
            case Uint(bits) if bits <= 64:
                return number_of(bits)
            case Fixed(32):
                return hash32
            case _:
                pass
    if type_ is str:
        return text
    raise TypeError(f"no JSON parameter for {type_!r}")


def number_of(bits: int) -> Decoder[int]:
    """Return what decodes an unsigned number: a JSON integer, its decimal digits, or 0x hex."""
    most = (1 << bits) - 1
    shape: schema.Schema = {"type": "integer", "minimum": 0, "maximum": most}

    @decoder({"oneOf": [shape, schema.DECIMAL]})
    def decode(value: object) -> int:
        number = _whole(value)
        if number > most:
            raise MalformedError(f"the number is above {most}")
        return number

    return decode


def _whole(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value[:_DIGITS])
    try:
        return unsigned(value)
    except MalformedError:
        raise MalformedError("expected an unsigned number, as JSON integer or decimal") from None


@decoder({"type": "integer", "minimum": 1, "maximum": MOST})
def _page_size(value: object) -> int:
    number = unsigned(value)
    if not 1 <= number <= MOST:
        raise MalformedError(f"a page has 1 to {MOST} entries")
    return number
