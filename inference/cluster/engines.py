"""Engines on the machines of a Ray cluster, used as if they were one.

Each replica has a task that starts it, talks to it and, when it dies, hands its requests to others
and starts another.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from dataclasses import replace
from functools import partial

import ray.exceptions
import trio

from inference.adapters.errors import AdapterRefused
from inference.adapters.store import AdapterStore
from inference.cluster.asked import Asked
from inference.cluster.errors import ClusterReason, ClusterRefused
from inference.cluster.figures_sum import figures_sum, no_figures, without_state
from inference.cluster.images import Images
from inference.cluster.link import Link
from inference.cluster.model_files import ModelFiles
from inference.cluster.router import Router
from inference.cluster.starting import (
    ClusterSettings,
    check_facts,
    end_actor,
    open_actor,
    place_actor,
)
from inference.cluster.stream import RayStream
from inference.cluster.waiting import Silent
from inference.cluster.wire import Event, Facts, Failure, Report, refusal_of
from inference.figures import EngineFigures
from inference.request import Answer, Request, RequestReason, RequestRefused
from inference.serving_engine import Elsewhere
from inference.worker.devices import PROCESSOR
from runtime.primitives.errors import Refusal

log = logging.getLogger(__name__)
REMEMBERED = 256
"""Named requests that have ended and are told again to whoever names them."""


class RayEngines:
    """Serves requests of any mixture of adapters; make one with `opening.open_ray_engines`."""

    def __init__(
        self, model: ModelFiles, here: bytes, store: AdapterStore, settings: ClusterSettings
    ) -> None:
        """Prepare replicas; tasks of `keep_replica` start them.

        Args:
            model: the base model.
            here: the statement of an engine of this process.
            store: where adapters come from.
            settings: how many replicas, and of what kind.
        """
        limits = settings.replica.limits
        self.router = Router(limits.running)
        self.links: dict[int, Link] = {}
        self.refusal: ClusterRefused | None = None
        self.trouble = ""
        """Why the last replica was lost."""
        self.settled = trio.Event()
        """Set when the first replica serves, or is refused."""
        self._model = model
        self._here = here
        self._place: Elsewhere | None = None
        self._settings = settings
        self._images = Images(store)
        self._live: dict[int, Asked] = {}
        self._homeless: deque[Asked] = deque()
        self._named: OrderedDict[str, Asked] = OrderedDict()
        self._past = no_figures()
        self._most_waiting = limits.waiting
        self._names = 0
        self._numbers = 0
        self._closed = False

    @property
    def elsewhere(self) -> Elsewhere | None:
        """What all replicas compute with; None until the first one serves."""
        return self._place

    @property
    def load(self) -> tuple[int, int]:
        """Numbers of running and of waiting requests."""
        under_way = len(self._live) + len(self._homeless)
        running = min(under_way, self.figures.running)
        return running, under_way - running

    @property
    def figures(self) -> EngineFigures:
        """What all replicas did, those that are gone included, and what is held now."""
        told = [link.figures for link in self.links.values() if link.figures is not None]
        return figures_sum([self._past, *told])

    @property
    def replicas(self) -> tuple[Facts, ...]:
        """Describe the replicas that serve now."""
        return tuple(link.facts for link in self.links.values())

    def stream(self, request: Request, name: str | None = None) -> RayStream:
        """Prepare a request; its steps raise RequestRefused, AdapterRefused, ClusterRefused.

        Args:
            request: what is asked.
            name: of this request, if it may come twice: it is computed once, and whoever brings
                it again reads the same answer. Raises ID_REUSED with the first step where the name
                belongs to another request.
        """
        return RayStream(partial(self._begin, request, name), self._leave)

    def _begin(self, request: Request, name: str | None) -> Asked:
        if self._closed:
            raise RequestRefused(RequestReason.ENGINE_CLOSED, "the engines have stopped")
        known = None if name is None else self._named.get(name)
        if known is not None and known.request != request:
            raise ClusterRefused(ClusterReason.ID_REUSED, f"{name!r} named another request")
        if known is not None and known.failure is None and not known.cancelled:
            return known
        asked = Asked(request)
        self._dispatch(asked)
        if name is not None:
            self._remember(name, asked)
        return asked

    def _remember(self, name: str, asked: Asked) -> None:
        self._named[name] = asked
        self._named.move_to_end(name)
        over = len(self._named) - REMEMBERED
        if over > 0:
            ended = [name for name, asked in self._named.items() if asked.ended]
            for old in ended[:over]:
                del self._named[old]

    def _leave(self, asked: Asked) -> None:
        if asked.readers or asked.ended:
            return
        asked.cancelled = True
        replica = self.router.where(asked.number)
        if replica is not None:
            self.links[replica].cancel(asked.number)
        elif asked in self._homeless:
            self._homeless.remove(asked)
            asked.fail(RequestRefused(RequestReason.ENGINE_CLOSED, "cancelled before it began"))

    def _dispatch(self, asked: Asked) -> None:
        """Hand a request to a replica, or keep it until there is one; raises QUEUE_FULL."""
        number = self._numbers
        replica = self.router.route(number, asked.request.adapter)
        if replica is None:
            if len(self._homeless) >= self._most_waiting:
                raise RequestRefused(
                    RequestReason.QUEUE_FULL, "no replica serves now; retry later", 5.0
                )
            asked.since = trio.current_time()
            self._homeless.append(asked)
            return
        self._numbers += 1
        asked.begin(number)
        self._live[number] = asked
        self.links[replica].ask(asked)

    def _refuse(self, asked: Asked, refusal: Refusal) -> None:
        asked.fail(refusal)
        self._settle(asked)

    def _settle(self, asked: Asked) -> None:
        self._live.pop(asked.number, None)
        self.router.ended(asked.number)

    def _heard(self, link: Link, report: Report) -> None:
        for event in report.events:
            self._take(link, event)
        if report.figures is not None:
            link.figures = report.figures
        if report.resident is not None:
            asked = [
                asked.request.adapter
                for number, asked in self._live.items()
                if self.router.where(number) == link.name and asked.request.adapter is not None
            ]
            self.router.holds(link.name, report.resident, asked)

    def _take(self, link: Link, event: Event) -> None:
        number, what = event
        asked = self._live.get(number)
        if asked is None or self.router.where(number) != link.name:
            return
        if isinstance(what, Answer):
            asked.done(what)
        elif isinstance(what, Failure):
            refusal = refusal_of(what)
            if isinstance(refusal, AdapterRefused) and asked.request.adapter is not None:
                link.sent.discard(asked.request.adapter)
            asked.fail(refusal)
        else:
            asked.token(what)
            if asked.ended:
                link.cancel(number)
        if asked.ended:
            self._settle(asked)

    async def keep_replica(self) -> None:
        """Have one replica until cancelled."""
        while True:
            try:
                await self._have_replica()
            except* (ray.exceptions.RayError, Silent) as group:
                self.trouble = _told(group.exceptions[0])
                log.warning("a replica is lost and another is started: %s", self.trouble)
            except* ClusterRefused as group:
                refusal = group.exceptions[0]
                log.error("a replica is refused: %s", refusal)
                if isinstance(refusal, ClusterRefused):
                    self.refusal = refusal
                self.settled.set()
            await trio.sleep(self._settings.pause_seconds)

    async def _have_replica(self) -> None:
        actor = await trio.to_thread.run_sync(place_actor, self._settings)
        try:
            seconds = self._settings.open_seconds
            facts, self._model = await open_actor(actor, self._model, seconds)
            check_facts(facts, self._here, self._stated)
            link = Link(
                self._names,
                actor,
                facts,
                self._images,
                self._refuse,
                self._settings.silence_seconds,
            )
            self._names += 1
            try:
                self._join(link)
                await link.run(partial(self._heard, link))
            finally:
                self._part(link)
        finally:
            await end_actor(actor)

    @property
    def _stated(self) -> bytes | None:
        """What a replica has to state; None where the first one says what a GPU is."""
        if self._place is not None:
            return self._place.statement
        return self._here if self._settings.replica.device == PROCESSOR else None

    def _join(self, link: Link) -> None:
        place = link.facts.place
        least = place.positions if self._place is None else self._place.positions
        self._place = replace(place, positions=min(least, place.positions))
        self.links[link.name] = link
        self.router.add(link.name)
        self.settled.set()
        log.info("replica %d serves on node %s", link.name, link.facts.node[:12])
        homeless, self._homeless = self._homeless, deque()
        for asked in homeless:
            self._dispatch(asked)

    def _part(self, link: Link) -> None:
        del self.links[link.name]
        if link.figures is not None:
            self._past = figures_sum([self._past, without_state(link.figures)])
        for number in self.router.remove(link.name):
            asked = self._live.pop(number)
            if self._closed or not asked.lose():
                continue
            try:
                self._dispatch(asked)
            except RequestRefused as refusal:
                asked.fail(refusal)

    async def refuse_the_homeless(self) -> None:
        """Refuse requests that no replica comes for, until cancelled."""
        while True:
            await trio.sleep(0.5)
            latest = trio.current_time() - self._settings.patience_seconds
            while self._homeless and self._homeless[0].since < latest:
                self._homeless.popleft().fail(
                    ClusterRefused(ClusterReason.NO_REPLICA, "no replica serves; retry later", 5.0)
                )

    def stop(self) -> None:
        """Take nothing more, and fail what is under way."""
        self._closed = True
        refusal = RequestRefused(RequestReason.ENGINE_CLOSED, "the engines stopped; ask again")
        for asked in [*self._live.values(), *self._homeless]:
            asked.fail(refusal)


def _told(error: BaseException) -> str:
    """Shorten what Ray says: the reason of a task's failure stands last, that of a death first."""
    lines = str(error).strip().split("\n")
    return lines[-1 if isinstance(error, ray.exceptions.RayTaskError) else 0]
