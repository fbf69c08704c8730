"""Steps three and four: a customer pays for answers through a voucher per request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import trio

from examples.demo.people import CUSTOMER, VOUCHER_URI, WORKER_URI, key
from examples.demo.sankey import exact
from examples.demo.screen import Screen
from examples.demo.settings import Settings
from examples.demo.steady import PAUSE, SteadyChain
from node.cli.answer import read_proof
from node.cli.events import EventReader
from node.cli.local_http import serve
from node.cli.proxy import MAX_BODY, PaidSession, Proxy
from node.cli.session import paid_session, session_of
from node.cli.voucher_purse import Purse
from node.client.signing import from_uri
from runtime.protocols.receipt import receipt_hash

LOOPBACK = "127.0.0.1"
TRIES = 60
RETRIED = (429, 502, 503)


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer with its verified receipt."""

    prompt: str
    text: str
    output_ids: tuple[int, ...]
    prompt_tokens: int
    fee: int
    receipt: bytes
    nonce: int


async def open_session(chain: SteadyChain, settings: Settings, model: int) -> int:
    """Escrow money for a model's answers; returns the session's id."""
    opened = await chain.by(key(CUSTOMER)).call(
        "Inference",
        "open_session",
        "SessionOpened",
        model=model,
        executor=from_uri(WORKER_URI).account_id,
        voucher_key=from_uri(VOUCHER_URI).account_id,
        escrow=settings.escrow,
        max_fee=settings.max_fee,
        ttl=settings.ttl,
    )
    session: int = opened.session
    return session


async def ask_all(
    chain: SteadyChain,
    settings: Settings,
    session: int,
    prompts: Sequence[str],
    screen: Screen,
) -> tuple[list[Answered], list[dict[str, Any]]]:
    """Ask every prompt through a local paying endpoint; returns answers and attributions."""
    found = await session_of(chain, session)
    folder = settings.folder / "purse"
    answers: list[Answered] = []
    with Purse(folder, chain.genesis, session, from_uri(VOUCHER_URI)) as purse:
        async with httpx.AsyncClient() as client, trio.open_nursery() as nursery:

            async def refresh() -> PaidSession:
                return await paid_session(chain, session)

            proxy = Proxy(refresh, purse, client, folder / "receipts.jsonl")
            ports: list[int] = []
            nursery.start_soon(_listen, proxy, ports)
            while not ports:
                await trio.sleep(0.01)
            base = f"http://{LOOPBACK}:{ports[0]}/v1"
            for number, prompt in enumerate(prompts):
                body = _body(settings, found.model, prompt, number)
                answer = await _ask(client, base, body, prompt, screen)
                answers.append(answer)
                screen.note(
                    f"receipt {answer.nonce} verified: {answer.prompt_tokens} + "
                    f"{len(answer.output_ids)} tokens, {exact(answer.fee)} OPEN"
                )
            explained = [await _attribution(client, base, answer) for answer in answers]
            nursery.cancel_scope.cancel()
    return answers, explained


async def _listen(proxy: Proxy, ports: list[int]) -> None:
    await serve(proxy.handle, LOOPBACK, 0, max_body=MAX_BODY, started=ports.append)


def _body(settings: Settings, model: int, prompt: str, number: int) -> dict[str, Any]:
    """Return a request of OpenAI's completions; the first one is streamed."""
    return {
        "model": f"model:{model}",
        "prompt": prompt,
        "max_tokens": settings.max_tokens,
        "temperature": 0.0,
        "seed": number,
        "stream": number == 0,
    }


async def _ask(
    client: httpx.AsyncClient, base: str, body: dict[str, Any], prompt: str, screen: Screen
) -> Answered:
    """Ask until the worker answers: it may be starting, or starting again after a crash."""
    last = ""
    for _ in range(TRIES):
        try:
            if body["stream"]:
                text, proof = await _streamed(client, base, body, screen)
            else:
                text, proof = await _whole(client, base, body)
            return _answered(prompt, text, proof)
        except (httpx.HTTPError, _Later) as error:
            last = str(error) or type(error).__name__
        await trio.sleep(1.0)
    raise RuntimeError(f"the worker gave no answer to {prompt!r}: {last}")


class _Later(Exception):
    """The worker cannot answer now."""


def _answered(prompt: str, text: str, document: dict[str, Any]) -> Answered:
    proof = read_proof(document)
    receipt = proof.receipt.receipt
    return Answered(
        prompt=prompt,
        text=text,
        output_ids=proof.output_ids or (),
        prompt_tokens=receipt.prompt_tokens,
        fee=receipt.cost().total(),
        receipt=receipt_hash(receipt),
        nonce=receipt.nonce,
    )


async def _whole(
    client: httpx.AsyncClient, base: str, body: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    response = await client.post(f"{base}/completions", json=body, timeout=300)
    _check_status(response.status_code, response.text)
    document = response.json()
    return document["choices"][0]["text"], document


async def _streamed(
    client: httpx.AsyncClient, base: str, body: dict[str, Any], screen: Screen
) -> tuple[str, dict[str, Any]]:
    reader, parts = EventReader(), list[str]()
    proof: dict[str, Any] | None = None
    async with client.stream("POST", f"{base}/completions", json=body, timeout=300) as response:
        if response.status_code != 200:
            _check_status(response.status_code, (await response.aread()).decode())
        async for raw in response.aiter_raw():
            for event in reader.feed(raw):
                if event.name == "error":
                    raise _Later(event.data)
                if event.data == "[DONE]":
                    continue
                document = json.loads(event.data)
                if event.name:
                    proof = document
                elif document["choices"]:
                    piece = document["choices"][0]["text"]
                    parts.append(piece)
                    screen.piece(piece)
    screen.piece("\n")
    if proof is None:
        raise _Later("the stream ended without a receipt")
    return "".join(parts), proof


def _check_status(status: int, text: str) -> None:
    if status in RETRIED:
        raise _Later(text)
    if status != 200:
        raise RuntimeError(f"the worker refused with status {status}: {text}")


async def _attribution(client: httpx.AsyncClient, base: str, answer: Answered) -> dict[str, Any]:
    """Wait until the worker knows which records shaped an answer."""
    url = f"{base}/receipts/0x{answer.receipt.hex()}/attribution"
    last = ""
    for _ in range(TRIES * 4):
        try:
            response = await client.get(url, timeout=60)
            if response.status_code == 200:
                found: dict[str, Any] = response.json()
                return found
            last = response.text
        except httpx.HTTPError as error:
            last = str(error)
        await trio.sleep(PAUSE)
    raise RuntimeError(f"no attribution of receipt {answer.nonce}: {last}")
