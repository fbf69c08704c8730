"""What is refused, with which status, code and parameter; and that it costs the engine nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from inference.api.errors import problem
from inference.backbone.model import Backbone
from inference.request import Limits, RequestReason, RequestRefused
from tests.inference.api.gate import Gate
from tests.inference.api.served_api import Api, bearer, served
from tests.patience import PATIENCE

GOOD = {"model": "tiny", "prompt": "abc", "max_tokens": 2}

BODIES: list[tuple[dict[str, Any], int, str, str | None]] = [
    ({"prompt": 7}, 400, "bad_parameter", "prompt"),
    ({"prompt": []}, 400, "empty_prompt", "prompt"),
    ({"prompt": [[]]}, 400, "empty_prompt", "prompt"),
    ({"prompt": ["a"] * 65}, 400, "bad_parameter", "prompt"),
    ({"prompt": ["a"] * 40, "n": 2}, 400, "bad_parameter", "n"),
    ({"prompt": [999]}, 400, "unknown_token", "prompt"),
    ({"n": 0}, 400, "bad_parameter", "n"),
    ({"logprobs": 21}, 400, "bad_parameter", "logprobs"),
    ({"echo": True}, 400, "unsupported_parameter", "echo"),
    ({"best_of": 4}, 400, "unsupported_parameter", "best_of"),
    ({"presence_penalty": 0.5}, 400, "unsupported_parameter", "presence_penalty"),
    ({"top_p": 0}, 400, "bad_top_p", "top_p"),
    ({"top_k": -2}, 400, "bad_top_k", "top_k"),
    ({"min_p": 2}, 400, "bad_min_p", "min_p"),
    ({"seed": 2**64}, 400, "bad_seed", "seed"),
    ({"seed": -1}, 400, "bad_seed", "seed"),
    ({"stop": ["a"] * 5}, 400, "bad_parameter", "stop"),
    ({"stop": [""]}, 400, "bad_stop", "stop"),
    ({"max_tokens": 0}, 400, "bad_parameter", "max_tokens"),
    ({"max_tokens": 300}, 400, "context_exceeded", "max_tokens"),
    ({"model": "nobody"}, 404, "unknown_model", "model"),
    ({"model": "0x" + "00" * 32}, 404, "unknown_model", "model"),
    ({"model": None}, 400, "bad_parameter", "model"),
    ({"prompt": "x" * 300_000}, 413, "body_too_large", None),
]


@pytest.mark.parametrize(("changes", "status", "code", "param"), BODIES)
async def test_a_bad_body_is_refused_by_name(
    api: Api, changes: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    for stream in (False, True):
        reply = await api.post("completions", **(GOOD | changes | {"stream": stream}))
        error = reply.json()["error"]
        assert (reply.status_code, error["code"], error["param"]) == (status, code, param)
        assert set(error) == {"message", "type", "code", "param"}


async def test_parameters_that_change_nothing_are_taken(api: Api) -> None:
    neutral = {"n": None, "user": "me", "best_of": 1, "suffix": None, "logit_bias": {}}
    neutral |= {"top_k": -1, "metadata": {"a": "b"}, "presence_penalty": 0}
    assert (await api.post("completions", **(GOOD | neutral))).status_code == 200
    chat = {"model": "tiny", "messages": [{"role": "user", "content": "a"}], "max_tokens": 1}
    neutral = {"tools": [], "tool_choice": "none", "response_format": {"type": "text"}}
    assert (await api.post("chat/completions", **(chat | neutral))).status_code == 200


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"x"', b'{"model": "\\ud800"}', b"\xff"])
async def test_what_is_no_json_object_is_refused(api: Api, raw: bytes) -> None:
    reply = await api.client.post("/v1/completions", content=raw, headers=bearer("alice"))
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "bad_json")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/completions"),
        ("POST", "/v1/chat/completions"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/tiny"),
        ("POST", "/v1/load_lora_adapter"),
        ("POST", "/v1/unload_lora_adapter"),
    ],
)
async def test_every_address_of_the_api_asks_for_a_key(api: Api, method: str, path: str) -> None:
    chat = {"messages": [{"role": "user", "content": "a"}], "model": "tiny"}
    body = chat if "chat" in path else GOOD
    for headers in ({}, {"authorization": "Bearer sk-of-nobody"}):
        reply = await api.client.request(method, path, json=body, headers=headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (401, "bad_key")
        assert reply.headers["www-authenticate"] == "Bearer"


async def test_unknown_addresses_and_methods_are_told_in_json(api: Api) -> None:
    for method, path, status in (("GET", "/", 404), ("POST", "/v1/embeddings", 404)):
        reply = await api.client.request(method, path)
        assert (reply.status_code, reply.json()["error"]["code"]) == (status, "unknown_path")
    reply = await api.client.get("/v1/completions")
    assert (reply.status_code, reply.json()["error"]["code"]) == (405, "bad_method")


async def test_a_full_queue_is_429_with_a_reason_and_a_time(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.api.reply.GRACE_SECONDS", PATIENCE)
    limits = Limits(running=1, waiting=4, waiting_per_tenant=1)
    codes: list[tuple[int, str]] = []
    beside: list[dict[str, Any]] = []
    async with served(backbone, tmp_path, limits=limits) as api:

        async def flood(stream: bool) -> None:
            fields = GOOD | {"max_tokens": 150, "stream": stream}
            reply = await api.post("completions", **fields)
            if reply.status_code == 200:
                codes.append((200, ""))
                return
            codes.append((reply.status_code, reply.json()["error"]["code"]))
            assert int(reply.headers["retry-after"]) >= 1

        async def other() -> None:
            beside.append(await api.complete("bob"))

        async with trio.open_nursery() as nursery:
            with Gate(api.server.room.engine) as gate:
                gate.hold()
                for number in range(8):
                    nursery.start_soon(flood, number % 2 == 0)
                await asked(api, 8)
                nursery.start_soon(other)
                await asked(api, 9)
        assert beside[0]["choices"]
        assert (200, "") in codes
        assert (429, "tenant_queue_full") in codes
        assert set(codes) == {(200, ""), (429, "tenant_queue_full")}
        figures = (await api.client.get("/metrics")).text
        refused = codes.count((429, "tenant_queue_full"))
        line = f'{{outcome="tenant_queue_full",tenant="alice"}} {refused}.0'
        assert f"openledger_api_requests_total{line}" in figures


async def asked(api: Api, count: int) -> None:
    """Wait until so many answers are asked of the engine."""
    with trio.fail_after(PATIENCE):
        while sum(api.server.room.load) < count:
            await trio.sleep(0.001)


def test_the_time_to_wait_is_in_whole_seconds() -> None:
    for given, told in ((None, "1"), (0.2, "1"), (3.1, "4"), (math.pi * 10, "32")):
        status, body, headers = problem(RequestRefused(RequestReason.QUEUE_FULL, "full", given))
        assert (status, headers["retry-after"]) == (429, told)
        assert body["error"]["code"] == "queue_full"


async def test_one_of_several_answers_that_finds_no_place_refuses_them_all(
    backbone: Backbone, tmp_path: Path
) -> None:
    limits = Limits(running=1, waiting=4, waiting_per_tenant=2)
    async with served(backbone, tmp_path, limits=limits) as api:
        reply = await api.post("completions", **(GOOD | {"n": 8, "max_tokens": 50}))
        assert (reply.status_code, reply.json()["error"]["code"]) == (429, "tenant_queue_full")
        with trio.fail_after(PATIENCE):
            while api.server.room.load != (0, 0):
                await trio.sleep(0.01)
        assert (await api.complete())["choices"]


async def test_a_client_that_leaves_a_queue_or_an_answer_is_forgotten(
    backbone: Backbone, tmp_path: Path
) -> None:
    async with served(backbone, tmp_path, limits=Limits(running=1)) as api:
        room = api.server.room
        fields = json.dumps(GOOD | {"max_tokens": 240, "n": 4}).encode()
        host, port = api.server.address.removeprefix("http://").split(":")
        for stream in (False, True):
            raw = fields[:-1] + (b', "stream": true}' if stream else b"}")
            with Gate(room.engine) as gate, trio.fail_after(PATIENCE):
                gate.hold(lambda: room.load[0] > 0)
                connection = await trio.open_tcp_stream(host, int(port))
                head = (
                    "POST /v1/completions HTTP/1.1\r\nHost: here\r\n"
                    f"Authorization: {bearer('alice')['authorization']}\r\n"
                    f"Content-Length: {len(raw)}\r\n\r\n"
                )
                await connection.send_all(head.encode() + raw)
                await gate.reached()
                await connection.aclose()
                while api.server.door.under_way:
                    await trio.sleep(0.001)
                gate.release()
                while room.load != (0, 0):
                    await trio.sleep(0.001)
        figures = api.server.room.figures
        assert figures is not None
        assert figures.recorder.output_tokens < 2 * 4 * 240
        text = api.server.figures.text().decode()
        assert 'openledger_api_requests_total{outcome="left",tenant="alice"} 2.0' in text


async def test_a_server_that_stops_finishes_answers_and_takes_no_more(
    backbone: Backbone, tmp_path: Path
) -> None:
    async with served(backbone, tmp_path) as api:
        told: list[int] = []

        async def long() -> None:
            reply = await api.post("completions", **(GOOD | {"max_tokens": 240}))
            told.append(reply.json()["usage"]["completion_tokens"])

        async with trio.open_nursery() as nursery:
            with Gate(api.server.room.engine) as gate:
                gate.hold(lambda: api.server.room.load[0] > 0)
                nursery.start_soon(long)
                await gate.reached()
                nursery.start_soon(api.server.drain)
                await trio.testing.wait_all_tasks_blocked()
                late = await api.post("completions", **GOOD)
                assert (late.status_code, late.json()["error"]["code"]) == (503, "not_ready")
                assert late.headers["retry-after"] == "1"
                assert (await api.client.get("/health")).status_code == 503
        assert told and told[0] >= 1
        assert not api.server.door.under_way
