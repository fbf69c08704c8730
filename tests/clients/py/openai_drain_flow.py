"""Stop the server in the middle of a stream; what the stream and later requests got goes out."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import openai

url, key, pid, hold = sys.argv[1:]
ASKED = 400
client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
late: list[str] = []
finish, tokens = None, 0


def ask() -> None:
    try:
        client.completions.create(model="open-nano", prompt="The", max_tokens=1)
    except (openai.InternalServerError, openai.APIConnectionError) as error:
        late.append(type(error).__name__)


def until_closing() -> None:
    while True:
        try:
            urlopen(f"{url}/health").close()
        except HTTPError:
            return
        time.sleep(0.02)


Path(hold).write_text("drain 40")
stream = client.completions.create(
    model="open-nano",
    prompt="The kernel",
    max_tokens=ASKED,
    seed=1,
    stream=True,
    stream_options={"include_usage": True},
    extra_body={"temperature": 3.0},
)
for number, chunk in enumerate(stream):
    if number == 5:
        os.kill(int(pid), signal.SIGTERM)
        until_closing()
        ask()
        Path(hold).unlink()
    if chunk.choices:
        finish = chunk.choices[0].finish_reason or finish
    if chunk.usage:
        tokens = chunk.usage.completion_tokens
ask()
sys.stdout.write(
    json.dumps({"finish": finish, "tokens": tokens, "asked": ASKED, "late": late}) + "\n"
)
