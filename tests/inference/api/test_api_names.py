"""Names that were given while a server ran are there when it is started anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.peft import save_peft
from inference.api.names import NAMES
from inference.backbone.model import Backbone
from tests.inference.api.served_api import Api, bearer, served
from tests.inference.tiny_models import tiny_adapter


async def roots(api: Api) -> dict[str, str]:
    reply = await api.client.get("/v1/models", headers=bearer("bob"))
    return {model["id"]: model.get("root", "") for model in reply.json()["data"]}


async def asked(api: Api, path: str, **fields: Any) -> int:
    return (await api.post(path, "ops", **fields)).status_code


async def test_names_outlive_the_server(backbone: Backbone, tmp_path: Path) -> None:
    kept = tmp_path / NAMES
    async with served(backbone, tmp_path, names=kept) as api:
        save_peft(tiny_adapter(backbone, seed=9), tmp_path / "adapters" / "blue", "tiny")
        for name, path in (("blue", "blue"), ("rot", "red"), ("gone", "red"), ("x", "green")):
            assert await asked(api, "load_lora_adapter", lora_name=name, lora_path=path) == 200
        assert await asked(api, "unload_lora_adapter", lora_name="gone") == 200
        again = {"lora_name": "x", "lora_path": "blue", "load_inplace": True}
        assert await asked(api, "load_lora_adapter", **again) == 200
        before = await roots(api)
        text = (await api.complete(model="blue"))["choices"]
    assert set(json.loads(kept.read_text())) == {"blue", "rot", "x"}
    async with served(backbone, tmp_path, names=kept) as api:
        assert await roots(api) == before
        assert before["x"] == before["blue"] != before["rot"] == before["red"]
        assert (await api.complete(model="blue"))["choices"] == text
        assert await asked(api, "unload_lora_adapter", lora_name="rot") == 200
    assert set(json.loads(kept.read_text())) == {"blue", "x"}


async def test_a_name_of_the_command_line_and_an_image_that_is_gone_are_told_of(
    backbone: Backbone, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = tmp_path / NAMES
    entry = {"source": "path", "created": 1}
    blue = f"0x{tiny_adapter(backbone, seed=9).content_hash.hex()}"
    green = f"0x{tiny_adapter(backbone, seed=6).content_hash.hex()}"
    kept.write_text(json.dumps({"red": {"hash": green} | entry, "blue": {"hash": blue} | entry}))
    async with served(backbone, tmp_path, names=kept) as api:
        models = await roots(api)
        assert set(models) == {"tiny", "red", "green"}
        assert models["red"] != models["green"] == green
        assert caplog.messages.count("adapter left out") == 2
        # What the command line has taken for itself is another start's again.
        assert await asked(api, "load_lora_adapter", lora_name="a", lora_path="red") == 200
    assert set(json.loads(kept.read_text())) == {"red", "a"}


GARBAGE = [
    b"",
    b"\xff",
    b"[]",
    b'{"a": 1}',
    b'{"a": {"hash": "0x12", "source": "path", "created": 1}}',
    b'{"a": {"hash": "0x' + b"11" * 32 + b'", "source": "path", "created": 1, "more": 2}}',
]


@pytest.mark.parametrize("data", GARBAGE)
async def test_a_file_that_holds_no_names_is_refused_and_kept(
    backbone: Backbone, tmp_path: Path, data: bytes
) -> None:
    kept = tmp_path / NAMES
    kept.write_bytes(data)
    with pytest.raises(AdapterRefused, match="delete it") as caught:
        async with served(backbone, tmp_path, names=kept):
            pass
    assert caught.value.reason is AdapterReason.UNREADABLE
    assert kept.read_bytes() == data


async def test_a_name_that_cannot_be_kept_is_not_given(backbone: Backbone, tmp_path: Path) -> None:
    kept = tmp_path / "elsewhere" / NAMES
    async with served(backbone, tmp_path, names=kept) as api:
        before = await roots(api)
        reply = await api.post("load_lora_adapter", "ops", lora_name="rot", lora_path="red")
        assert (reply.status_code, reply.json()["error"]["code"]) == (500, "failed")
        assert "cannot be kept" in reply.json()["error"]["message"]
        assert await asked(api, "unload_lora_adapter", lora_name="red") == 500
        assert await roots(api) == before
        kept.parent.mkdir()
        assert await asked(api, "load_lora_adapter", lora_name="rot", lora_path="red") == 200


async def test_many_at_once_are_all_kept(backbone: Backbone, tmp_path: Path) -> None:
    kept = tmp_path / NAMES
    async with served(backbone, tmp_path, names=kept) as api:

        async def load(name: str) -> None:
            assert await asked(api, "load_lora_adapter", lora_name=name, lora_path="red") == 200

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(load, f"n{number}")
    assert len(json.loads(kept.read_text())) == 20
    assert not list(tmp_path.glob(f"{NAMES}.*"))
