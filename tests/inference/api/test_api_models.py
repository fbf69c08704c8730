"""Adapters as models: listed, loaded, fetched, unloaded, while answers go on."""

from __future__ import annotations

import base64
import gc
import json
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import trio

from inference.adapters.adapter import image_of
from inference.adapters.peft import save_peft
from inference.api import loading
from inference.backbone.model import Backbone
from tests.inference.api.gate import Gate
from tests.inference.api.served_api import Api, bearer, served
from tests.inference.tiny_models import tiny_adapter

PLACE = loading.__file__


async def listed(api: Api) -> list[str]:
    reply = await api.client.get("/v1/models", headers=bearer("bob"))
    return [model["id"] for model in reply.json()["data"]]


async def load(api: Api, **fields: Any) -> tuple[int, dict[str, Any]]:
    reply = await api.post("load_lora_adapter", "ops", **fields)
    return reply.status_code, reply.json()


async def test_models_are_listed_and_told_one_by_one(api: Api) -> None:
    assert await listed(api) == ["tiny", "red", "green"]
    one = (await api.client.get("/v1/models/red", headers=bearer("alice"))).json()
    assert (one["id"], one["object"], one["parent"]) == ("red", "model", "tiny")
    assert len(bytes.fromhex(one["root"][2:])) == 32
    texts = [(await api.complete(model=m))["choices"][0]["text"] for m in await listed(api)]
    assert len(set(texts)) == 3
    assert (await api.complete(model=one["root"]))["choices"][0]["text"] == texts[1]


async def test_an_adapter_is_loaded_from_a_folder_or_sent_along(
    api: Api, backbone: Backbone
) -> None:
    folder = api.folder / "adapters" / "blue"
    save_peft(tiny_adapter(backbone, seed=9), folder, "tiny")
    status, told = await load(api, lora_name="blue", lora_path="blue")
    assert (status, told["id"]) == (200, "blue")
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = base64.b64encode((folder / "adapter_model.safetensors").read_bytes()).decode()
    sent = {"lora_name": "sent", "lora_config": config, "lora_tensors": tensors}
    assert await load(api, **sent) == (200, {"id": "sent", "root": told["root"]})
    by_path, by_body = [await api.complete(model=name) for name in ("blue", "sent")]
    assert by_path["choices"] == by_body["choices"]
    # The same again changes nothing; another adapter has to be asked for expressly.
    assert (await load(api, lora_name="blue", lora_path=str(folder)))[0] == 200
    status, told = await load(api, lora_name="blue", lora_path="red")
    assert (status, told["error"]["code"]) == (409, "model_exists")
    assert (await load(api, lora_name="blue", lora_path="red", load_inplace=True))[0] == 200
    assert (await api.complete(model="blue"))["choices"] == (await api.complete(model="red"))[
        "choices"
    ]


BAD_LOADS: list[tuple[dict[str, Any], int, str, str | None]] = [
    ({}, 400, "bad_parameter", "lora_path"),
    ({"lora_path": "red", "lora_hash": "0x" + "00" * 32}, 400, "bad_parameter", "lora_path"),
    ({"lora_path": "../keys"}, 400, "bad_parameter", "lora_path"),
    ({"lora_path": "/etc"}, 400, "bad_parameter", "lora_path"),
    ({"lora_path": "x\0y"}, 400, "bad_parameter", "lora_path"),
    ({"lora_path": "nowhere"}, 400, "bad_adapter", "lora_path"),
    ({"lora_hash": "0x12"}, 400, "bad_parameter", "lora_hash"),
    ({"lora_hash": "0x" + "11" * 32}, 404, "not_stored", "model"),
    ({"lora_config": {"peft_type": "LORA"}}, 400, "bad_adapter", "lora_config"),
    ({"lora_config": {}, "lora_tensors": "?"}, 400, "bad_parameter", "lora_tensors"),
    ({"lora_config": {}, "lora_tensors": "é"}, 400, "bad_parameter", "lora_tensors"),
    ({"lora_name": "", "lora_path": "red"}, 400, "bad_parameter", "lora_name"),
    ({"lora_name": "/etc", "lora_path": "red"}, 400, "bad_parameter", "lora_name"),
    ({"lora_name": "tiny", "lora_path": "red"}, 409, "model_exists", "lora_name"),
    ({"lora_path": "red", "other": 1}, 400, "bad_parameter", "other"),
]


async def test_a_refused_upload_is_let_go_without_a_collection(api: Api) -> None:
    gc.collect()
    gc.disable()
    try:
        for tensors in ("AAAA", "?"):
            sent = {"lora_config": {"peft_type": "LORA"}, "lora_tensors": tensors}
            assert (await load(api, lora_name="new", **sent))[0] == 400
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        frames = [found for found in gc.garbage if isinstance(found, FrameType)]
        held = [frame.f_code.co_qualname for frame in frames if frame.f_code.co_filename == PLACE]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert held == []


@pytest.mark.parametrize(("fields", "status", "code", "param"), BAD_LOADS)
async def test_what_cannot_be_loaded_is_told_by_name(
    api: Api, fields: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    found, told = await load(api, **({"lora_name": "new"} | fields))
    assert (found, told["error"]["code"], told["error"]["param"]) == (status, code, param)
    assert await listed(api) == ["tiny", "red", "green"]


async def test_only_an_admins_key_loads_and_unloads(api: Api) -> None:
    for path in ("load_lora_adapter", "unload_lora_adapter"):
        reply = await api.post(path, "alice", lora_name="red", lora_path="red")
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "not_admin")


async def test_unloading_lets_answers_under_way_finish(api: Api) -> None:
    expected = await api.complete(model="red", max_tokens=200)
    found: list[dict[str, Any]] = []

    async def long() -> None:
        found.append(await api.complete(model="red", max_tokens=200))

    async with trio.open_nursery() as nursery:
        with Gate(api.server.room.engine) as gate:
            gate.hold(lambda: api.server.room.load[0] > 0)
            nursery.start_soon(long)
            await gate.reached()
            reply = await api.post("unload_lora_adapter", "ops", lora_name="red")
            assert reply.status_code == 200
            gone = await api.post("completions", model="red", prompt="abc")
            assert (gone.status_code, gone.json()["error"]["code"]) == (404, "unknown_model")
    assert found[0]["choices"] == expected["choices"]
    reply = await api.post("unload_lora_adapter", "ops", lora_name="red")
    assert reply.status_code == 404


async def test_an_unknown_adapter_is_fetched_once_and_verified(
    backbone: Backbone, tmp_path: Path
) -> None:
    adapter = tiny_adapter(backbone, seed=11)
    image = image_of(adapter)
    asked: list[str] = []

    def liar(content_hash: bytes) -> bytes:
        asked.append("liar")
        return image[:-1] + bytes([image[-1] ^ 1])

    def honest(content_hash: bytes) -> bytes:
        asked.append("honest")
        return image

    model = f"0x{adapter.content_hash.hex()}"
    async with served(backbone, tmp_path, fetch=[liar, honest]) as api:
        answers: list[dict[str, Any]] = []

        async def one() -> None:
            answers.append(await api.complete(model=model))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(one)
        assert asked == ["liar", "honest"]
        assert all(answer["choices"] == answers[0]["choices"] for answer in answers)
        assert answers[0]["choices"] != (await api.complete())["choices"]
        status, _ = await load(api, lora_name="named", lora_hash=model)
        assert status == 200
        assert (await api.complete(model="named"))["choices"] == answers[0]["choices"]


async def test_who_asks_for_what_nobody_has_is_told_so_without_asking_again(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.api.models.TOLD_AGAIN_SECONDS", 3600.0)
    asked: list[bytes] = []

    def empty(content_hash: bytes) -> bytes:
        asked.append(content_hash)
        raise OSError("not here")

    async with served(backbone, tmp_path, fetch=empty) as api:
        for _ in range(3):
            reply = await api.post("completions", model="0x" + "22" * 32, prompt="abc")
            assert (reply.status_code, reply.json()["error"]["code"]) == (502, "not_fetched")
        assert asked == [bytes([0x22]) * 32]
        assert (await api.complete(model="red"))["choices"]
