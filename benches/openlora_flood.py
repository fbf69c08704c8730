"""A tenant that keeps many streams open, in a process of its own, reading bytes and no more.

Whoever measures beside it must not wait for the flood's own parsing.
"""

from __future__ import annotations

import argparse
import json
import sys

import trio

TOKENS = 128
PROMPT = "The scheduler of the kernel decides which of the threads runs next, and "


async def stream(port: int, key: str, model: str, seed: int) -> None:
    """Ask for a streamed answer and read it to its end; raises RuntimeError if it is refused."""
    fields = {"model": model, "prompt": f"{seed} {PROMPT}", "max_tokens": TOKENS}
    body = json.dumps(fields | {"stream": True, "seed": seed, "temperature": 1.0}).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    async with await trio.open_tcp_stream("127.0.0.1", port) as connection:
        await connection.send_all(head.encode() + body)
        status = await connection.receive_some(1 << 16)
        if not status.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(status.decode(errors="replace"))
        while await connection.receive_some(1 << 16):
            pass


async def flood(port: int, key: str, streams: int, adapters: int, seed: int) -> None:
    """Keep the streams open, each with one of the adapters a1, a2, … in turn, until killed."""

    async def one(place: int) -> None:
        number = place
        while True:
            await stream(port, key, f"a{1 + (number + seed) % (adapters - 1)}", seed + number)
            number += streams
            print(number, flush=True)

    async with trio.open_nursery() as nursery:
        for place in range(streams):
            nursery.start_soon(one, place)


def main() -> None:
    """Flood; a line on standard output for each answer."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--adapters", type=int, default=33, help="a0, a1, …; a0 is left out")
    parser.add_argument("--seed", type=int, default=50_000)
    arguments = parser.parse_args()
    key = sys.stdin.readline().strip()
    trio.run(flood, arguments.port, key, arguments.streams, arguments.adapters, arguments.seed)


if __name__ == "__main__":
    main()
