"""The demo's six steps, from an empty chain to a report that accounts for every unit."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import trio

from examples.demo import model, page, report, settle, shelf, talk
from examples.demo.accounting import check
from examples.demo.journal import Journal
from examples.demo.people import CUSTOMER, VALIDATORS, worker_uri
from examples.demo.processes import Process
from examples.demo.sankey import exact
from examples.demo.screen import Screen
from examples.demo.settings import (
    DATANETS,
    Settings,
    members,
    node_commands,
    worker_commands,
    worker_name,
)
from examples.demo.settings import chain as chain_of
from examples.demo.shelf import Shelf
from examples.demo.steady import SteadyChain
from genesis.base_model import OPEN_NANO
from inference.backbone.tokenizer import Tokenizer
from node.client.errors import Unreachable
from node.client.rpc import NodeClient
from node.client.signing import from_uri
from node.localnet.plan import LOOPBACK, Member

START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Stage:
    """Who is there to act: the node's client, the journal, the processes."""

    settings: Settings
    screen: Screen
    chain: SteadyChain
    journal: Journal
    node: str
    members: tuple[Member, ...]
    processes: dict[str, Process]
    nursery: trio.Nursery

    async def start_workers(self) -> None:
        """Start every validator's worker, and wait until all are registered and serve."""
        for place, command in enumerate(worker_commands(self.settings, self.members)):
            name = worker_name(place)
            worker = Process(name, command, self.settings.logs / f"{name}.log")
            self.processes[name] = worker
            self.nursery.start_soon(worker.keep_alive)
        with self.screen.waiting("workers start and register themselves"):
            for place, member in enumerate(self.members):
                key = from_uri(worker_uri(VALIDATORS[place])).account_id
                await self.journal.until("Inference", "WorkerRegistered", partial(_has_key, key))
                await _healthy(f"http://{LOOPBACK}:{member.ports.workers}/health")


def _has_key(key: bytes, event: Any) -> bool:
    return bool(event.key == key)


Watch = Callable[[Stage], None]
"""Told of the stage when it stands; tests disturb the play from there."""


async def run_demo(
    settings: Settings, screen: Screen, watch: Watch = lambda stage: None
) -> dict[str, Any]:
    """Run the demo; returns the report, which is written with its page into the folder.

    Raises NotConserved where a unit is not accounted for, ProcessFailed where a process does.
    """
    _clear(settings.folder)
    settings.logs.mkdir(parents=True)
    (settings.folder / "chain.json").write_text(chain_of(settings).to_json())
    async with _stage(settings, screen) as stage:
        watch(stage)
        found = await _story(stage)
    found["seconds"] = f"{screen.seconds:.1f}"
    (settings.folder / "report.json").write_text(json.dumps(found, indent=2, ensure_ascii=False))
    (settings.folder / "index.html").write_text(page.render(found))
    return found


def _clear(folder: Path) -> None:
    """Delete what an earlier run left, and nothing else."""
    for name in ("node", "node-*", "worker", "worker-*", "model", "purse", "logs"):
        for found in folder.glob(name):
            shutil.rmtree(found)
    for name in ("report.json", "index.html", "chain.json"):
        (folder / name).unlink(missing_ok=True)


@asynccontextmanager
async def _stage(settings: Settings, screen: Screen) -> AsyncIterator[Stage]:
    planned = members(settings)
    url = planned[0].url
    processes = {}
    async with trio.open_nursery() as outer:
        commands = node_commands(settings, planned)
        for member, command in zip(planned, commands, strict=True):
            node = Process(member.name, command, settings.logs / f"{member.name}.log")
            processes[node.name] = node
            outer.start_soon(node.keep_alive)
        async with _client(url) as client, trio.open_nursery() as inner:
            chain, journal = SteadyChain(client), Journal(client)
            inner.start_soon(journal.follow)
            yield Stage(settings, screen, chain, journal, url, planned, processes, inner)
            inner.cancel_scope.cancel()
        outer.cancel_scope.cancel()


@asynccontextmanager
async def _client(url: str) -> AsyncIterator[NodeClient]:
    """Connect as soon as the node listens; raises Unreachable after a minute."""
    deadline = trio.current_time() + START_SECONDS
    while True:
        try:
            async with NodeClient.connect(url) as probe:
                await probe.best()
            break
        except* Unreachable:
            if trio.current_time() > deadline:
                raise
        await trio.sleep(0.2)
    async with NodeClient.connect(url) as client:
        yield client


async def _healthy(url: str) -> None:
    async with httpx.AsyncClient() as client:
        while True:
            try:
                if (await client.get(url, timeout=5)).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            await trio.sleep(0.3)


async def _story(stage: Stage) -> dict[str, Any]:
    settings, screen, chain, journal = stage.settings, stage.screen, stage.chain, stage.journal
    before = await settle.snapshot(chain, 0)
    screen.step(1, "Datanets: contributors bond and submit, owners accept and publish")
    shelves = await shelf.fill(chain, _datanets(settings), settings.records_each)
    _tell_shelves(shelves, screen)
    screen.step(2, "A model: proposed, backed, trained on a published version, launched, priced")
    number = await model.build(chain, settings, stage.node, shelves, screen)
    screen.step(3, "A worker serves it; a customer opens a paid session")
    await stage.start_workers()
    session = await talk.open_session(chain, settings, number)
    screen.note(f"{CUSTOMER} escrows {exact(settings.escrow)} OPEN in session {session}")
    screen.step(4, "Paid prompts: a voucher for each request, a receipt with each answer")
    prompts = _prompts(settings, shelves)
    answers, explained = await talk.ask_all(chain, settings, session, prompts, screen)
    screen.step(5, "The session closes; a committee judges; the fee is divided")
    judges = await settle.close(chain, journal, session, screen)
    screen.step(6, "Every unit is accounted for")
    await journal.until_block(journal.height + 1)
    after = await settle.snapshot(chain, journal.height)
    books = settle.books_until(journal, session, after.block)
    check(books, before.balances, after.balances, (before.issuance, after.issuance))
    return report.build(
        settings,
        shelves,
        answers,
        explained,
        books,
        before,
        after,
        journal,
        _detokeniser(),
        judges,
    )


def _datanets(settings: Settings) -> tuple[str, ...]:
    return settings.trained_on + tuple(k for k in DATANETS if k not in settings.trained_on)


def _tell_shelves(shelves: list[Shelf], screen: Screen) -> None:
    for found in shelves:
        who = ", ".join(portion.contributor for portion in found.example.portions)
        screen.note(f"{found.named}  {found.example.title}: {len(found.records)} records by {who}")


def _prompts(settings: Settings, shelves: list[Shelf]) -> list[str]:
    prompts = [
        prompt
        for found in shelves
        if found.example.key in settings.trained_on
        for prompt in found.example.prompts
    ]
    if len(prompts) < settings.prompts:
        raise ValueError(f"{settings.trained_on} have {len(prompts)} prompts only")
    return prompts[: settings.prompts]


def _detokeniser() -> report.Detokenise:
    """Return the base model's decoding of output tokens, as the worker's answers have it."""
    tokenizer = Tokenizer.load(OPEN_NANO / "tokenizer.json")
    return lambda ids: tokenizer.decode(list(ids))
