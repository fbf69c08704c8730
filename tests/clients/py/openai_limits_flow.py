"""Ask for more than a small server takes, at once and with patience; what happened goes out."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import openai

url, key, other_key, hold = sys.argv[1:]


def client(secret: str, retries: int) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=secret, max_retries=retries)


async def ask(asked: openai.AsyncOpenAI, *, stream: bool) -> dict[str, Any]:
    try:
        found: Any = await asked.completions.create(
            model="open-nano", prompt="The kernel", max_tokens=120, stream=stream
        )
        if stream:
            async for _ in found:
                pass
    except openai.RateLimitError as error:
        return {
            "class": "RateLimitError",
            "code": error.code,
            "type": error.type,
            "retry_after": error.response.headers.get("retry-after"),
        }
    return {"class": None}


def asked() -> int:
    """Count the answers that the server has to give."""
    with urlopen(f"{url}/health") as response:
        health = json.load(response)
    return int(health["running"] + health["waiting"])


async def until_asked(count: int) -> None:
    while await asyncio.to_thread(asked) < count:
        await asyncio.sleep(0.02)


async def main() -> dict[str, Any]:
    Path(hold).write_text("limits 0")
    hasty, patient, other = client(key, 0), client(key, 30), client(other_key, 0)
    flood = [asyncio.create_task(ask(hasty, stream=bool(n % 2))) for n in range(10)]
    await until_asked(len(flood))
    beside = asyncio.create_task(ask(other, stream=False))
    await until_asked(len(flood) + 1)
    Path(hold).unlink()
    refused = [told for told in await asyncio.gather(*flood) if told["class"]]
    waited = await asyncio.gather(*(ask(patient, stream=False) for _ in range(4)))
    return {
        "classes": Counter(str(told["class"]) for told in refused),
        "refused": refused,
        "beside": await beside,
        "waited": waited,
    }


sys.stdout.write(json.dumps(asyncio.run(main())) + "\n")
