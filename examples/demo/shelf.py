"""Step one: Datanets are created; contributors bond and submit, owners accept and publish."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from examples.demo.people import key
from examples.demo.steady import SteadyChain
from genesis.datanets import ExampleDatanet, load
from node.cli.contribution import check_blob, prepare, submit
from runtime.pallets.datanets.types import Policy
from runtime.protocols.records import Record

OPEN = 10**18
POLICY = Policy(open=True, bond_per_record=OPEN // 10, min_bond=OPEN)
Job = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Shelf:
    """A Datanet of the demo: what stands in it, and who brought which record."""

    example: ExampleDatanet
    id: int = -1
    version: int = -1
    batches: dict[int, tuple[str, tuple[Record, ...]]] = field(default_factory=dict)
    records: dict[int, tuple[str, Record]] = field(default_factory=dict)
    """Contributor and fields by record id."""

    @property
    def named(self) -> str:
        """Its id and version, as the commands take them."""
        return f"{self.id}:{self.version}"


async def fill(chain: SteadyChain, keys: tuple[str, ...], each: int | None) -> list[Shelf]:
    """Create, fill and publish the example Datanets; accounts act at the same time."""
    shelves = [Shelf(load(name)) for name in keys]
    await _by_owner(shelves, _create, chain)
    jobs: defaultdict[str, list[Job]] = defaultdict(list)
    for shelf in shelves:
        for portion in shelf.example.portions:
            jobs[portion.contributor].append(_submission(chain, shelf, portion.contributor, each))
    await _all(jobs)
    await _by_owner(shelves, _publish, chain)
    return shelves


async def _by_owner(
    shelves: list[Shelf],
    act: Callable[[SteadyChain, Shelf], Awaitable[None]],
    chain: SteadyChain,
) -> None:
    jobs: defaultdict[str, list[Job]] = defaultdict(list)
    for shelf in shelves:
        jobs[shelf.example.owner].append(lambda shelf=shelf: act(chain, shelf))  # type: ignore[misc]
    await _all(jobs)


async def _all(jobs: dict[str, list[Job]]) -> None:
    """Run each account's jobs in order, all accounts at once."""

    async def in_order(own: list[Job]) -> None:
        for job in own:
            await job()

    async with trio.open_nursery() as nursery:
        for own in jobs.values():
            nursery.start_soon(in_order, own)


async def _create(chain: SteadyChain, shelf: Shelf) -> None:
    example = shelf.example
    made = await chain.by(key(example.owner)).call(
        "Datanets",
        "create",
        "Created",
        name=example.title.encode(),
        schema=tuple(name.encode() for name in example.fields),
        policy=POLICY,
    )
    shelf.id = made.datanet


def _submission(chain: SteadyChain, shelf: Shelf, contributor: str, each: int | None) -> Job:
    async def run() -> None:
        example = shelf.example
        records = tuple(record.fields for record in example.records_of(contributor)[:each])
        licence = {p.contributor: p.licence for p in example.portions}[contributor]
        prepared = prepare(records, len(example.fields), licence)
        own = chain.by(key(contributor))
        batch, _ = await submit(own, shelf.id, prepared, lambda done, total: None)
        shelf.batches[batch] = (contributor, records)

    return run


async def _publish(chain: SteadyChain, shelf: Shelf) -> None:
    """Check every batch's bytes, accept it, then freeze a version."""
    own = chain.by(key(shelf.example.owner))
    for batch in sorted(shelf.batches):
        await check_blob(own, shelf.id, batch, lambda done, total: None)
        taken = await own.call("Datanets", "accept", "BatchAccepted", datanet=shelf.id, batch=batch)
        contributor, records = shelf.batches[batch]
        for place, record in enumerate(records):
            shelf.records[taken.first_record + place] = (contributor, record)
    made = await own.call("Datanets", "publish_version", "VersionPublished", datanet=shelf.id)
    shelf.version = made.version
