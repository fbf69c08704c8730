from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
import trio

from node.rpc.dispatch import Dispatcher, Method
from node.rpc.errors import RpcError
from node.rpc.kinds import Later
from node.rpc.params import MalformedError, hash32
from tests.node.rpc.conftest import methods_under_test


@pytest.fixture
def dispatcher() -> Dispatcher:
    return Dispatcher(methods_under_test(), batch_length=4, response_bytes=4096)


def answer(dispatcher: Dispatcher, request: object) -> Any:
    raw = request if isinstance(request, bytes) else orjson.dumps(request)
    body = trio.run(settled, dispatcher, raw)
    return orjson.loads(body) if body else None


async def settled(dispatcher: Dispatcher, raw: bytes) -> bytes:
    found = dispatcher.handle(raw, None)
    return found if isinstance(found, bytes) else (await found).body


def call(method: str, params: object = None, ident: object = 1) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": ident, "method": method, "params": params}


@pytest.mark.parametrize("ident", [0, 7, -3, "ZY3", "1-1", "", None, 1.5, 2**63])
def test_the_id_is_echoed_with_its_type(dispatcher: Dispatcher, ident: object) -> None:
    assert answer(dispatcher, call("system_name", ident=ident)) == {
        "jsonrpc": "2.0",
        "id": ident,
        "result": "OpenLedger",
    }


@pytest.mark.parametrize("given", ["0x0aff", "0aff", "0x0AFF"])
def test_hex_is_taken_with_and_without_its_prefix(dispatcher: Dispatcher, given: str) -> None:
    assert answer(dispatcher, call("echo", [given]))["result"] == "0x0aff"


@pytest.mark.parametrize("given", ["96-1", "0x", "0x" + "ab" * 31, "ab" * 33, 7])
def test_what_is_no_hash_is_told_what_one_looks_like(given: object) -> None:
    with pytest.raises(MalformedError, match=r"^expected a hash: 0x and 64 hexadecimal digits$"):
        hash32(given)


def test_an_empty_string_is_no_bytes(dispatcher: Dispatcher) -> None:
    assert answer(dispatcher, call("echo", [""]))["result"] == "0x"


@pytest.mark.parametrize("params", [["0x01"], ["0x01", None, None], {"data": "0x01"}])
def test_trailing_nulls_and_named_parameters_are_taken(
    dispatcher: Dispatcher, params: object
) -> None:
    assert answer(dispatcher, call("echo", params))["result"] == "0x01"


@pytest.mark.parametrize("params", [None, [], {}, [None]])
def test_missing_and_null_params_are_none(dispatcher: Dispatcher, params: object) -> None:
    assert answer(dispatcher, call("system_name", params))["result"] == "OpenLedger"
    without = {"jsonrpc": "2.0", "id": 1, "method": "system_name"}
    assert answer(dispatcher, without)["result"] == "OpenLedger"


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (b"", -32700, "Parse error"),
        (b"{", -32700, "Parse error"),
        (b"\xff\xfe", -32700, "Parse error"),
        (b"[" * 2000, -32700, "Parse error"),
        (b"1", -32600, "Invalid Request"),
        (b"[]", -32600, "Invalid Request"),
        ({"id": 1, "method": "system_name"}, -32600, "Invalid Request"),
        ({"jsonrpc": "1.0", "id": 1, "method": "system_name"}, -32600, "Invalid Request"),
        ({"jsonrpc": "2.0", "id": 1}, -32600, "Invalid Request"),
        ({"jsonrpc": "2.0", "id": 1, "method": ["system_name"]}, -32600, "Invalid Request"),
        (call("system_name", ident=[1]), -32600, "Invalid Request"),
        (call("system_name", ident=True), -32600, "Invalid Request"),
        (call("nothing"), -32601, "Method not found"),
        (call("system_name", [1]), -32602, "Invalid params"),
        (call("echo"), -32602, "Invalid params"),
        (call("echo", "0x00"), -32602, "Invalid params"),
        (call("echo", ["0x0"]), -32602, "Invalid params"),
        (call("echo", [1]), -32602, "Invalid params"),
        (call("echo", {"date": "0x00"}), -32602, "Invalid params"),
        (call("fail"), -32603, "Internal error"),
        (call("refuse"), 4003, "Client error: nothing here"),
    ],
)
def test_every_refusal_has_its_code(
    dispatcher: Dispatcher, request_: object, code: int, message: str
) -> None:
    error = answer(dispatcher, request_)["error"]
    assert (error["code"], error["message"]) == (code, message)


def test_a_fault_of_the_node_tells_no_details(dispatcher: Dispatcher) -> None:
    assert b"KeyError" not in bytes(dispatcher.handle(orjson.dumps(call("fail")), None))  # type: ignore[arg-type]


def test_a_notification_gets_no_answer(dispatcher: Dispatcher) -> None:
    assert answer(dispatcher, {"jsonrpc": "2.0", "method": "system_name"}) is None
    assert answer(dispatcher, [{"jsonrpc": "2.0", "method": "system_name"}]) is None


def test_a_batch_is_answered_element_by_element(dispatcher: Dispatcher) -> None:
    answers = answer(dispatcher, [call("echo", ["01"], 1), 5, call("nothing", ident="x")])
    assert [(a["id"], a.get("result"), a.get("error", {}).get("code")) for a in answers] == [
        (1, "0x01", None),
        (None, None, -32600),
        ("x", None, -32601),
    ]


def test_a_batch_too_long_is_refused_by_name(dispatcher: Dispatcher) -> None:
    assert answer(dispatcher, [call("system_name")] * 5)["error"]["code"] == -32010


def test_a_batch_whose_answer_is_too_long_is_refused_by_name(dispatcher: Dispatcher) -> None:
    requests = [call("echo", ["00" * 1000])] * 4
    assert answer(dispatcher, requests)["error"]["code"] == -32008


def test_one_answer_too_long_is_refused_by_name_and_id(dispatcher: Dispatcher) -> None:
    refused = answer(dispatcher, call("echo", ["00" * 3000], "mine"))
    assert (refused["id"], refused["error"]["code"]) == ("mine", -32008)


async def test_a_long_batch_lets_others_run() -> None:
    slow = Method("slow", lambda: time.sleep(0.003))
    dispatcher = Dispatcher([slow], batch_length=9, response_bytes=4096)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await settled(dispatcher, orjson.dumps([call("slow")] * 9))
        nursery.cancel_scope.cancel()
    assert turns >= 5


async def test_a_batch_with_a_method_that_waits_keeps_its_order(dispatcher: Dispatcher) -> None:
    batch = [call("later", [5], 1), call("system_name", ident=2), call("later", [0], 3)]
    waiting = dispatcher.handle(orjson.dumps(batch), None)
    assert not isinstance(waiting, bytes)
    answers = orjson.loads((await waiting).body)
    assert [(a["id"], a["result"]) for a in answers] == [
        (1, "done"),
        (2, "OpenLedger"),
        (3, "done"),
    ]


def test_rpc_methods_lists_aliases_and_unsubscribes(dispatcher: Dispatcher) -> None:
    methods = answer(dispatcher, call("rpc_methods"))["result"]["methods"]
    assert {"echo", "repeat", "uncount", "rpc_methods"} <= set(methods)
    assert methods == sorted(methods)


def test_two_methods_of_one_name_are_a_mistake() -> None:
    method = Method("same", lambda: None)
    with pytest.raises(ValueError, match="same"):
        Dispatcher([method, method], batch_length=1, response_bytes=1)


def test_a_message_of_too_many_values_is_refused_before_it_is_decoded(
    dispatcher: Dispatcher,
) -> None:
    many = b"[" + b"[]," * 250_000 + b"[]]"
    refused = answer(dispatcher, many)["error"]
    assert (refused["code"], refused["data"]) == (-32600, "more than 200000 values")
    long = orjson.dumps(call("echo", ["0x" + "ab" * 100_000]))
    assert "result" in orjson.loads(trio.run(settled, roomy(), long))


def roomy() -> Dispatcher:
    return Dispatcher(methods_under_test(), batch_length=4, response_bytes=1 << 20)


def test_calls_and_failures_are_counted_by_method(dispatcher: Dispatcher) -> None:
    answer(dispatcher, [call("echo", ["0x00"]), call("repeat", ["zz"]), call("later", [1])])
    answer(dispatcher, call("nothing_like_this"))
    counted = {name: (c.count, c.failures) for name, c in dispatcher.calls.items() if c.count}
    assert counted == {"echo": (2, 1), "later": (1, 0), "unknown": (1, 1)}
    assert dispatcher.calls["later"].seconds >= 0.001


def test_a_plain_method_may_take_long_in_some_cases() -> None:
    async def found() -> str:
        await trio.sleep(0.001)
        return "found"

    async def refused() -> str:
        await trio.lowlevel.checkpoint()
        raise RpcError(4003, "Client error: nothing here")

    methods = [Method("long", lambda: Later(found)), Method("bad", lambda: Later(refused))]
    dispatcher = Dispatcher(methods, batch_length=4, response_bytes=4096)
    answers = answer(dispatcher, [call("long"), call("bad")])
    assert answers[0]["result"] == "found"
    assert answers[1]["error"]["code"] == 4003
    assert dispatcher.calls["bad"].failures == 1
