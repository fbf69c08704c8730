"""Answers over HTTP: their shapes, and that streams, batches and figures agree."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
import trio

from inference.api.token_texts import TokenTexts, byte_letters
from inference.backbone.chat_template import ChatTemplate
from inference.backbone.model import Backbone
from inference.cuda.open import device_executor
from inference.cuda.weights import DeviceWeights
from inference.worker.devices import build_of
from tests.inference.api.served_api import Api, bearer, chunks, served
from tests.inference.tiny_models import FIELDS, tiny_config, tiny_tensors

CHAT = [{"role": "user", "content": "abc"}]


async def test_a_completion_has_exactly_the_documented_fields(api: Api) -> None:
    answer = await api.complete(model="red")
    assert set(answer) == {
        "id", "object", "created", "model", "system_fingerprint", "choices", "usage",
    }  # fmt: skip
    assert (answer["object"], answer["model"]) == ("text_completion", "red")
    assert set(answer["choices"][0]) == {"index", "text", "logprobs", "finish_reason"}
    assert answer["usage"]["prompt_tokens"] == 3
    assert set(answer["usage"]) == {
        "prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details",
    }  # fmt: skip


async def test_a_chat_is_written_line_by_line_without_a_template(api: Api) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "bc"}]
    given = {"model": "red", "max_tokens": 8, "seed": 1}
    one = (await api.post("chat/completions", messages=CHAT, **given)).json()
    other = await api.post(
        "chat/completions", messages=[{"role": "user", "content": parts}], **given
    )
    plain = await api.complete(model="red", prompt="abc\n")
    text = plain["choices"][0]["text"]
    assert one["choices"][0]["message"] == {
        "role": "assistant", "content": text, "refusal": None,
    }  # fmt: skip
    assert other.json()["choices"][0]["message"]["content"] == text
    assert one["usage"]["prompt_tokens"] == 4


async def test_a_chat_is_written_by_the_models_own_template(
    backbone: Backbone, tmp_path: Path
) -> None:
    template = ChatTemplate(
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
        "{% if messages[0].content == 'no' %}{{ raise_exception('not this') }}{% endif %}"
    )
    config = tiny_config(**FIELDS)
    chatty = Backbone.from_tensors(config, tiny_tensors(config), backbone.tokenizer, template)
    async with served(chatty, tmp_path) as api:
        given = {"model": "tiny", "max_tokens": 8, "seed": 1}
        turns = [{"role": "developer", "content": "x"}, *CHAT]
        chat = (await api.post("chat/completions", messages=turns, **given)).json()
        plain = await api.complete(prompt="<system>x<user>abc<assistant>")
        assert chat["choices"][0]["message"]["content"] == plain["choices"][0]["text"]
        refused = await api.post(
            "chat/completions", messages=[{"role": "user", "content": "no"}], **given
        )
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "messages"
        assert "not this" in refused.json()["error"]["message"]


@pytest.mark.parametrize("path", ["completions", "chat/completions"])
async def test_a_stream_says_the_same_as_the_whole_answer(api: Api, path: str) -> None:
    prompt = {"prompt": "abc"} if path == "completions" else {"messages": CHAT}
    figures = {"logprobs": 3} if path == "completions" else {"logprobs": True, "top_logprobs": 3}
    given = {"model": "green", "max_tokens": 12, "seed": 3, "n": 2, **prompt, **figures}
    whole = (await api.post(path, **given)).json()
    streamed = await api.post(path, **given, stream=True, stream_options={"include_usage": True})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    *pieces, count = chunks(streamed.text)
    assert count["choices"] == []
    assert count["usage"] == whole["usage"]
    assert all(piece["usage"] is None for piece in pieces)
    for choice in whole["choices"]:
        own = [p["choices"][0] for p in pieces if p["choices"][0]["index"] == choice["index"]]
        if path == "completions":
            assert "".join(p["text"] for p in own) == choice["text"]
            tokens = [t for p in own if p["logprobs"] for t in p["logprobs"]["tokens"]]
            assert tokens == choice["logprobs"]["tokens"]
        else:
            text = "".join(p["delta"].get("content", "") for p in own)
            assert text == choice["message"]["content"]
            assert [p["delta"].get("role") for p in own if "role" in p["delta"]] == ["assistant"]
            told = [t for p in own if p["logprobs"] for t in p["logprobs"]["content"]]
            assert told == choice["logprobs"]["content"]
        assert [p["finish_reason"] for p in own if p["finish_reason"]] == [choice["finish_reason"]]


async def test_choices_have_seeds_one_after_the_other(api: Api) -> None:
    both = await api.complete(prompt=["abc", "ab"], n=2, seed=7)
    assert [choice["index"] for choice in both["choices"]] == [0, 1, 2, 3]
    for index, (prompt, seed) in enumerate((("abc", 7), ("abc", 8), ("ab", 7), ("ab", 8))):
        alone = await api.complete(prompt=prompt, seed=seed)
        assert both["choices"][index]["text"] == alone["choices"][0]["text"]
    assert both["usage"]["prompt_tokens"] == 5
    last = await api.complete(n=2, seed=2**64 - 1)
    assert last["choices"][1]["text"] == (await api.complete(seed=0))["choices"][0]["text"]


async def test_alternatives_are_the_likeliest_and_sum_to_at_most_one(api: Api) -> None:
    answer = await api.complete(model="red", logprobs=20, max_tokens=6)
    told = answer["choices"][0]["logprobs"]
    assert set(told) == {"tokens", "token_logprobs", "top_logprobs", "text_offset"}
    assert len({len(column) for column in told.values()}) == 1
    for token, logprob, top in zip(
        told["tokens"], told["token_logprobs"], told["top_logprobs"], strict=True
    ):
        assert top[token] == logprob
        assert sum(map(math.exp, top.values())) <= 1 + 1e-6
    none = await api.complete(logprobs=0, max_tokens=2)
    assert [len(top) for top in none["choices"][0]["logprobs"]["top_logprobs"]] == [1, 1]


async def test_a_second_request_finds_its_prompt_in_the_cache(api: Api) -> None:
    prompt = "a" * 200
    first = await api.complete(prompt=prompt, max_tokens=2)
    again = await api.complete(prompt=prompt, max_tokens=2)
    assert first["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
    assert again["choices"] == first["choices"]


async def test_another_executor_computes_behind_the_same_interface(
    backbone: Backbone, tmp_path: Path
) -> None:
    weights = DeviceWeights.place(backbone.decoder, torch.device("cpu"), torch.float32)
    given = {"executor": lambda: device_executor(weights, 64), "build": build_of}
    async with served(backbone, tmp_path / "device", **given) as device:
        told = [await device.complete(model=m, temperature=0) for m in ("tiny", "red", "green")]
    async with served(backbone, tmp_path / "processor", build=build_of) as plain:
        known = [await plain.complete(model=m, temperature=0) for m in ("tiny", "red", "green")]
    assert [answer["choices"] for answer in told] == [answer["choices"] for answer in known]
    assert told[0]["system_fingerprint"] != known[0]["system_fingerprint"]


async def test_a_stream_that_waits_gets_comments(backbone: Backbone, tmp_path: Path) -> None:
    released = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def late(content_hash: bytes) -> bytes:
        trio.from_thread.run(released.wait, trio_token=token)
        raise OSError("nobody has it")

    async with served(backbone, tmp_path, fetch=late, keep_alive=0.1) as api:
        model = "0x" + "ab" * 32
        fields = {"model": model, "prompt": "abc", "stream": True}
        async with api.client.stream(
            "POST", "/v1/completions", json=fields, headers=bearer("alice")
        ) as reply:
            assert reply.status_code == 200
            lines = reply.aiter_lines()
            waited = [await anext(lines) for _ in range(6)]
            assert waited == [": waiting", ""] * 3
            # Others are served while this one waits for its adapter.
            assert (await api.complete(model="red"))["choices"]
            released.set()
            rest = [line async for line in lines if line.startswith("data: ")]
        told = json.loads(rest[0].removeprefix("data: "))
        assert told["error"]["code"] == "not_fetched"


def test_tokens_are_shown_as_text_or_bytes(backbone: Backbone) -> None:
    assert len(byte_letters()) == len(set(byte_letters().values())) == 256
    texts = TokenTexts(backbone.tokenizer)
    assert backbone.tokenizer is not None
    euro = [texts.of(token) for token in backbone.tokenizer.encode("€")]
    assert [text for text, _ in euro] == ["bytes:\\xe2", "bytes:\\x82", "bytes:\\xac"]
    assert bytes(byte for _, data in euro for byte in data).decode() == "€"
    assert texts.of(256) == ("<|end|>", tuple(b"<|end|>"))
    assert texts.of(299)[0] == "token:299"
