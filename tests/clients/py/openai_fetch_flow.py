"""Ask for an adapter that the server never saw, beside one that it serves; what came goes out."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import openai

url, key, adapter = sys.argv[1:]
client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


async def ask(model: str, seed: int = 3) -> str:
    found = await client.completions.create(
        model=model, prompt="What is the capital of France?\n", max_tokens=12, seed=seed
    )
    return found.choices[0].text


async def main() -> dict[str, Any]:
    fetched = [asyncio.create_task(ask(adapter)) for _ in range(3)]
    beside = await ask("base")
    try:
        await ask("0x" + "77" * 32)
        unknown = ""
    except openai.APIStatusError as error:
        unknown = str(error.code)
    return {"fetched": await asyncio.gather(*fetched), "beside": beside, "unknown": unknown}


sys.stdout.write(json.dumps(asyncio.run(main())) + "\n")
