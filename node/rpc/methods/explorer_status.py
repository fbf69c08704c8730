"""`openledger_chainStatus` and its subscription: a front page in one answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from consensus.interface import BlockRef
from node.rpc import schema
from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, Method, SubscribeMethod
from node.rpc.errors import RpcError
from node.rpc.heads import Heads
from node.rpc.json_values import shown
from node.rpc.params import to_hex
from node.rpc.subscriptions import Subscription
from runtime.apis.overview import OverviewView
from runtime.primitives.scale import decode

_OVERVIEW = shown(OverviewView)
_REF = schema.shared("BlockRef", schema.record(hash=schema.HASH, number=schema.U32))
STATUS = schema.shared(
    "ChainStatus",
    {
        **schema.record(
            chain=schema.TEXT,
            genesis=schema.HASH,
            specVersion=schema.U32,
            best=_REF,
            finalized=_REF,
            peers=schema.U32,
            isSyncing=schema.BOOLEAN,
            pending={**schema.U32, "description": "extrinsics in the pool"},
            overview=_OVERVIEW.schema,
        ),
        "description": "The chain as this node sees it, and its totals behind the best block.",
    },
)


def status_methods(backend: Backend, heads: Heads) -> list[AnyMethod]:
    """List the methods of this group."""
    front = _Front(backend)

    def chain_status() -> object:
        """Return what a front page shows: heads, peers, the pool, and the chain's totals."""
        return front.status()

    async def subscribe(subscription: Subscription) -> None:
        """Tell the status now and whenever the best or the finalised block changes."""

        def tell(_: object = None) -> None:
            # Whoever tells of heads must not fail because a state is not here at this moment.
            with suppress(RpcError):
                subscription.notify(front.status())

        tell()
        stops: tuple[Callable[[], object], ...] = (
            heads.best.listen(tell),
            heads.finalized.listen(tell),
        )
        subscription.on_close(lambda: [stop() for stop in stops])

    return [
        Method("openledger_chainStatus", chain_status, result=STATUS),
        SubscribeMethod(
            "openledger_subscribeStatus",
            subscribe,
            "openledger_status",
            ("openledger_unsubscribeStatus",),
            result=STATUS,
        ),
    ]


class _Front:
    """The status; the part that comes from the state is made once for each block."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._of = b""
        self._totals: dict[str, Any] = {}

    def status(self) -> dict[str, Any]:
        backend, chain = self._backend, self._backend.chain
        best = chain.best()
        if self._of != best.hash:
            self._totals = self._read(best)
            self._of = best.hash
        return {
            "chain": backend.facts.chain,
            "genesis": to_hex(chain.genesis_hash),
            **self._totals,
            "best": _ref(best),
            "finalized": _ref(chain.finalized()),
            "peers": len(backend.network.peers()),
            "isSyncing": backend.network.is_syncing(),
            "pending": len(backend.pool),
        }

    def _read(self, best: BlockRef) -> dict[str, Any]:
        raw = self._backend.call_api("OverviewApi_overview", b"", best.hash)
        return {
            "specVersion": self._backend.runtime_version(best.hash).spec_version,
            "overview": _OVERVIEW.write(decode(OverviewView, raw)),
        }


def _ref(block: BlockRef) -> dict[str, Any]:
    return {"hash": to_hex(block.hash), "number": block.number}
