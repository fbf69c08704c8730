"""Use a server as its customers do, with the unmodified openai package; what it saw goes out."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import openai

url, key, admin_key, folder, hold = sys.argv[1:]
MODELS = ("one", "two", "three")
PROMPT = "The kernel is"
MESSAGES: list[Any] = [{"role": "user", "content": "Tell me of the kernel."}]
STRICT = {"_strict_response_validation": True, "max_retries": 0}

client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, **STRICT)  # type: ignore[arg-type]
admin = openai.OpenAI(base_url=f"{url}/v1", api_key=admin_key, **STRICT)  # type: ignore[arg-type]
# The package's type of a completion lacks the null that OpenAI sends until the last piece.
loose = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
patient = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, **STRICT)  # type: ignore[arg-type]


def completed(model: str, **options: Any) -> str:
    found = client.completions.create(
        model=model, prompt=PROMPT, **{"max_tokens": 24, "seed": 5} | options
    )
    return found.choices[0].text


def chatted(model: str, **options: Any) -> str:
    found = client.chat.completions.create(
        model=model, messages=MESSAGES, **{"max_tokens": 24, "seed": 5} | options
    )
    return found.choices[0].message.content or ""


def completed_in_pieces(model: str) -> str:
    stream = loose.completions.create(
        model=model, prompt=PROMPT, max_tokens=24, seed=5, stream=True
    )
    return "".join(chunk.choices[0].text for chunk in stream)


def chatted_in_pieces(model: str) -> dict[str, Any]:
    stream = client.chat.completions.create(
        model=model,
        messages=MESSAGES,
        max_tokens=24,
        seed=5,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    return {
        "text": "".join(c.choices[0].delta.content or "" for c in chunks if c.choices),
        "finish": [c.choices[0].finish_reason for c in chunks if c.choices][-1],
        "usage": [c.usage.model_dump() for c in chunks if c.usage],
        "ids": len({c.id for c in chunks}),
    }


async def at_once() -> list[str]:
    """Stream a chat from each model at the same time."""

    async def one(model: str) -> str:
        stream = await patient.chat.completions.create(
            model=model, messages=MESSAGES, max_tokens=24, seed=5, stream=True
        )
        text = ""
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
        return text

    return list(await asyncio.gather(*(one(model) for model in MODELS)))


def answers() -> dict[str, Any]:
    return {
        "completed": [completed(model) for model in MODELS],
        "again": [completed(model) for model in MODELS],
        "other_seed": [completed(model, seed=6) for model in MODELS],
        "completed_in_pieces": [completed_in_pieces(model) for model in MODELS],
        "chatted": [chatted(model) for model in MODELS],
        "chatted_in_pieces": [chatted_in_pieces(model) for model in MODELS],
        "at_once": asyncio.run(at_once()),
        "base": completed("open-nano"),
        "whole": client.chat.completions.create(
            model="one", messages=MESSAGES, max_tokens=24, seed=5
        ).model_dump(),
    }


def several() -> dict[str, Any]:
    batch = client.completions.create(
        model="one", prompt=[PROMPT, "A driver"], max_tokens=6, n=2, seed=5
    )
    alone = client.completions.create(model="one", prompt="A driver", max_tokens=6, seed=6)
    ids = client.completions.create(model="one", prompt=[0, 300, 301], max_tokens=2, seed=5)
    stream = loose.completions.create(
        model="one", prompt=[PROMPT, "A driver"], max_tokens=6, n=2, seed=5, stream=True
    )
    pieces = ["", "", "", ""]
    for chunk in stream:
        pieces[chunk.choices[0].index] += chunk.choices[0].text
    return {
        "texts": [choice.text for choice in batch.choices],
        "pieces": pieces,
        "alone": alone.choices[0].text,
        "usage": batch.usage.model_dump() if batch.usage else None,
        "ids_prompt_tokens": ids.usage.prompt_tokens if ids.usage else None,
    }


def logprobs() -> dict[str, Any]:
    chat = client.chat.completions.create(
        model="two", messages=MESSAGES, max_tokens=8, seed=1, logprobs=True, top_logprobs=3
    )
    stream = client.chat.completions.create(
        model="two",
        messages=MESSAGES,
        max_tokens=8,
        seed=1,
        logprobs=True,
        top_logprobs=3,
        stream=True,
    )
    streamed: list[Any] = []
    for chunk in stream:
        found = chunk.choices[0].logprobs
        streamed += [entry.model_dump() for entry in (found.content or [])] if found else []
    # The base model writes plain letters, of which each token is whole.
    completion = client.completions.create(
        model="open-nano", prompt=PROMPT, max_tokens=8, temperature=0, logprobs=2
    )
    given = chat.choices[0].logprobs
    return {
        "text": chat.choices[0].message.content,
        "chat": [entry.model_dump() for entry in (given.content or [])] if given else None,
        "streamed": streamed,
        "completion_text": completion.choices[0].text,
        "completion": completion.choices[0].model_dump()["logprobs"],
        "without": client.completions.create(model="two", prompt=PROMPT, max_tokens=1).model_dump()[
            "choices"
        ][0]["logprobs"],
    }


def sampling() -> dict[str, Any]:
    greedy = completed("three", temperature=0)
    words = greedy.split(" ")
    stop = " " + words[4]
    return {
        "greedy": greedy,
        "stop": stop,
        "stopped": completed("three", temperature=0, stop=stop),
        "reason": client.completions.create(
            model="three", prompt=PROMPT, max_tokens=24, temperature=0, stop=[stop, "#"]
        )
        .choices[0]
        .finish_reason,
        "top_k_one": completed("three", extra_body={"top_k": 1}),
        "min_p_one": completed("three", extra_body={"min_p": 1.0}),
        "top_k_all": completed("three", extra_body={"top_k": -1}),
        "plain": completed("three"),
        "longest": client.chat.completions.create(
            model="three", messages=MESSAGES, max_completion_tokens=3, temperature=0
        ).model_dump()["usage"],
    }


def refused(ask: Any) -> dict[str, Any]:
    try:
        ask()
    except openai.APIStatusError as error:
        return {
            "class": type(error).__name__,
            "status": error.status_code,
            "code": error.code,
            "param": error.param,
            "type": error.type,
        }
    return {"class": None}


def errors() -> dict[str, Any]:
    stranger = openai.OpenAI(base_url=f"{url}/v1", api_key="sk-of-nobody", max_retries=0)
    chat = client.chat.completions
    long = [{"role": "user", "content": "kernel " * 600}]
    return {
        "key": refused(lambda: stranger.models.list()),
        "key_chat": refused(
            lambda: stranger.chat.completions.create(model="one", messages=MESSAGES)
        ),
        "model": refused(lambda: chat.create(model="none", messages=MESSAGES)),
        "retrieve": refused(lambda: client.models.retrieve("none")),
        "temperature": refused(
            lambda: chat.create(model="one", messages=MESSAGES, temperature=-1.0)
        ),
        "tools": refused(
            lambda: chat.create(
                model="one",
                messages=MESSAGES,
                tools=[{"type": "function", "function": {"name": "f"}}],
            )
        ),
        "type": refused(lambda: chat.create(model="one", messages=MESSAGES, max_tokens="many")),  # type: ignore[arg-type]
        "top_logprobs": refused(
            lambda: chat.create(model="one", messages=MESSAGES, top_logprobs=3)
        ),
        "context": refused(lambda: chat.create(model="one", messages=long)),  # type: ignore[arg-type]
        "context_streamed": refused(
            lambda: chat.create(model="one", messages=long, stream=True)  # type: ignore[arg-type]
        ),
        "embeddings": refused(lambda: client.embeddings.create(model="one", input="x")),
        "not_admin": refused(
            lambda: client.post("/unload_lora_adapter", body={"lora_name": "one"}, cast_to=object)
        ),
    }


def models() -> dict[str, Any]:
    """List, load in three ways, use, unload."""
    before = [model.id for model in client.models.list()]
    extra = Path(folder) / "extra"

    def load(**body: Any) -> Any:
        return admin.post("/load_lora_adapter", body=body, cast_to=object)

    by_path = load(lora_name="org/extra", lora_path=str(extra))
    sent = load(
        lora_name="sent",
        lora_config=json.loads((extra / "adapter_config.json").read_text()),
        lora_tensors=base64.b64encode((extra / "adapter_model.safetensors").read_bytes()).decode(),
    )
    by_hash = load(lora_name="hashed", lora_hash=by_path["root"])
    texts = [completed(name) for name in ("org/extra", "sent", "hashed", by_path["root"])]
    retrieved = client.models.retrieve("org/extra").model_dump()
    again = refused(lambda: load(lora_name="one", lora_path=str(extra)))
    outside = refused(lambda: load(lora_name="out", lora_path="/etc"))
    broken = refused(lambda: load(lora_name="bad", lora_config={"peft_type": "IA3"}))
    unknown = refused(lambda: load(lora_name="bad", lora_hash="0x" + "11" * 32))
    unload = admin.post("/unload_lora_adapter", body={"lora_name": "org/extra"}, cast_to=object)
    return {
        "before": before,
        "loaded": [by_path, sent, by_hash],
        "texts": texts,
        "retrieved": retrieved,
        "again": again,
        "outside": outside,
        "broken": broken,
        "unknown": unknown,
        "unload": unload,
        "gone": refused(lambda: client.models.retrieve("org/extra")),
        "gone_use": refused(lambda: completed("org/extra")),
        "after": [model.id for model in client.models.list()],
    }


def until_left(count: int) -> None:
    """Wait until the server has noticed that so many have left."""
    line = f'openledger_api_requests_total{{outcome="left",tenant="alice"}} {count}.0'
    while True:
        with urlopen(f"{url}/metrics") as response:
            if line in response.read().decode():
                return
        time.sleep(0.02)


def left() -> dict[str, Any]:
    """Begin streams and answers, and leave in the middle of them."""
    Path(hold).write_text("left 40")
    stream = client.chat.completions.create(
        model="one", messages=MESSAGES, max_tokens=400, stream=True, extra_body={"min_p": 0.0}
    )
    pieces = 0
    for _ in stream:
        pieces += 1
        if pieces == 3:
            stream.close()
            break
    until_left(1)
    hasty = client.with_options(timeout=0.25)
    timed_out = 0
    for _ in range(3):
        try:
            hasty.completions.create(model="two", prompt=PROMPT, max_tokens=450, n=8)
        except openai.APITimeoutError:
            timed_out += 1
    until_left(4)
    Path(hold).unlink()
    return {"pieces": pieces, "timed_out": timed_out}


sys.stdout.write(
    json.dumps(
        {
            "version": openai.__version__,
            "answers": answers(),
            "several": several(),
            "logprobs": logprobs(),
            "sampling": sampling(),
            "errors": errors(),
            "models": models(),
            "left": left(),
        }
    )
    + "\n"
)
