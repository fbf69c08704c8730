"""Measure what a tenant notices of another that floods the server.

    python -m benches.openlora_tenants [--asks 40] [--flood 32] [--rounds 3]

`openledger serve` runs in a process of its own with adapters of its tenants. One tenant asks now
and then and measures the time to the first token, per round: alone, then beside another tenant
that keeps `--flood` long streams open at all times, each with one of many adapters, from a process
of its own (`openlora_flood.py`). Rounds alternate, so that what the machine does otherwise hits
both alike.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
import trio

from benches.blocks import processor
from benches.openlora_flood import PROMPT, TOKENS
from genesis.base_model import OPEN_NANO
from inference.adapters.adapter import make_adapter, tensor_name
from inference.adapters.peft import save_peft
from inference.adapters.spec import LoraSpec
from inference.backbone.model import Backbone
from inference.backbone.sites import MODULES, site_shape
from inference.request import Limits
from node.localnet.free_ports import free_ports

KEYS = {"flood": "sk-of-the-flood", "guest": "sk-of-the-guest"}
GUEST_TOKENS = 16
RANK = 16
GOAL = 1.5
SETTLING = 1.0
"""Seconds until the flood's first prompts are computed."""


@dataclass
class Seen:
    """What the guest saw of one kind of round."""

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)


def write_adapters(folder: Path, count: int) -> None:
    """Write random adapters a0, a1, … as PEFT folders."""
    backbone = Backbone.load(OPEN_NANO)
    spec = LoraSpec(rank=RANK, alpha=2.0 * RANK, targets=MODULES)
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        tensors = {}
        for site in backbone.sites:
            outputs, inputs = site_shape(backbone.config, site)
            a = torch.randn(RANK, inputs, generator=generator) / inputs**0.5
            tensors[tensor_name(site, "A")] = a
            tensors[tensor_name(site, "B")] = 0.02 * torch.randn(outputs, RANK, generator=generator)
        save_peft(make_adapter(spec, tensors, backbone), folder / f"a{seed}", "open-nano")


@contextmanager
def server(folder: Path, arguments: argparse.Namespace) -> Iterator[str]:
    """Run the server; yields its URL."""
    write_adapters(folder / "adapters", arguments.adapters)
    (folder / "keys").write_text("".join(f"{name}:{key}\n" for name, key in KEYS.items()))
    port = next(free_ports())
    command = [str(Path(sys.executable).with_name("openledger")), "serve"]
    command += ["--base", str(OPEN_NANO), "--adapters", str(folder / "adapters")]
    command += ["--api-keys", str(folder / "keys"), "--port", str(port), "--log", "warn"]
    command += ["--threads", str(arguments.threads), "--running", str(arguments.running)]
    command += ["--rows", str(arguments.rows), "--device", arguments.device]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command) as process:
        try:
            _wait(url, process)
            yield url
        finally:
            process.terminate()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=5).json()["ready"]:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise RuntimeError(f"the server ended with status {process.returncode}")


async def stream(
    client: httpx.AsyncClient, tenant: str, model: str, tokens: int, seed: int
) -> tuple[float, float]:
    """Ask for a streamed answer; returns the seconds to its first token and to its end."""
    body: dict[str, Any] = {"model": model, "prompt": f"{seed} {PROMPT}", "max_tokens": tokens}
    body |= {"stream": True, "seed": seed, "temperature": 1.0}
    started, first = time.perf_counter(), 0.0
    headers = {"authorization": f"Bearer {KEYS[tenant]}"}
    async with client.stream("POST", "/v1/completions", json=body, headers=headers) as reply:
        if reply.status_code != 200:
            raise RuntimeError(json.loads(await reply.aread())["error"]["message"])
        async for line in reply.aiter_lines():
            if line.startswith("data: ") and not first:
                first = time.perf_counter() - started
    return first, time.perf_counter() - started


@asynccontextmanager
async def flooding(url: str, arguments: argparse.Namespace, seed: int) -> AsyncIterator[list[str]]:
    """Flood the server from another process; yields a line for each answer it has got."""
    command = [sys.executable, "-m", "benches.openlora_flood", "--port", url.rpartition(":")[2]]
    command += ["--streams", str(arguments.flood), "--adapters", str(arguments.adapters)]
    command += ["--seed", str(seed)]
    answers: list[str] = []
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(KEYS["flood"] + "\n")
        process.stdin.close()
        try:
            yield answers
        finally:
            process.terminate()
            assert process.stdout is not None
            answers.extend(process.stdout)


async def until_full(client: httpx.AsyncClient, running: int) -> None:
    """Wait until others wait for a place."""
    while True:
        health = (await client.get("/health")).json()
        if health["running"] >= running and health["waiting"]:
            break
        await trio.sleep(0.05)
    await trio.sleep(SETTLING)


async def measure(url: str, arguments: argparse.Namespace) -> tuple[Seen, Seen, int]:
    """Alternate quiet and flooded rounds; returns both, and the flood's answers."""
    quiet, flooded, served = Seen(), Seen(), 0
    async with httpx.AsyncClient(base_url=url, timeout=600) as client:

        async def guest(seen: Seen, seed: int) -> None:
            for number in range(arguments.asks):
                first, whole = await stream(client, "guest", "a0", GUEST_TOKENS, seed + number)
                seen.first.append(first)
                seen.whole.append(whole)

        await guest(Seen(), 1)  # warm
        for round_ in range(arguments.rounds):
            await guest(quiet, 1000 * round_)
            async with flooding(url, arguments, 50_000 * (1 + round_)) as answers:
                await until_full(client, arguments.running)
                await guest(flooded, 1000 * round_ + 500)
            served += len(answers)
            while (await client.get("/health")).json()["running"]:
                await trio.sleep(0.05)
    return quiet, flooded, served


def line(name: str, seconds: list[float]) -> str:
    """Write a row of percentiles in milliseconds."""
    p50, p90, p99 = (1000 * float(np.percentile(seconds, share)) for share in (50, 90, 99))
    return f"{name:<34} {p50:9.1f} {p90:9.1f} {p99:9.1f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--asks", type=int, default=40, help="the guest's requests per round")
    parser.add_argument("--flood", type=int, default=32, help="streams that the other keeps open")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--adapters", type=int, default=33)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--running", type=int, default=Limits().running)
    parser.add_argument("--rows", type=int, default=Limits().rows, help="prompt tokens per step")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="openlora-tenants-") as name:
        folder = Path(name)
        with server(folder, arguments) as url:
            quiet, flooded, served = trio.run(measure, url, arguments)
    print(f"open-nano on {processor()}, {arguments.device}, {arguments.threads} threads")
    print(f"at most {arguments.running} answers at once, {arguments.rows} prompt tokens per step")
    print(f"guest: {GUEST_TOKENS} tokens, one request at a time; flood: {arguments.flood} streams")
    print(f"of {TOKENS} tokens, {served} answered")
    print(f"{'milliseconds':<34} {'p50':>9} {'p90':>9} {'p99':>9}")
    print(line("first token, alone", quiet.first))
    print(line("first token, beside the flood", flooded.first))
    print(line("whole answer, alone", quiet.whole))
    print(line("whole answer, beside the flood", flooded.whole))
    ratio = np.percentile(flooded.first, 99) / np.percentile(quiet.first, 99)
    print(f"p99 of the first token: {ratio:.2f} times the quiet one (goal: {GOAL})")


if __name__ == "__main__":
    main()
