"""`state_subscribe*`: values of chosen keys, and the version of the rules, as the tip moves."""

from __future__ import annotations

from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, SubscribeMethod
from node.rpc.errors import RpcError
from node.rpc.heads import Heads
from node.rpc.methods.state import read_many
from node.rpc.params import Param, hex_bytes, list_of, to_hex
from node.rpc.shapes import version_shape
from node.rpc.subscriptions import Subscription
from runtime.state.store import MissingNode

_MOST_WATCHED = 256


def state_subscriptions(backend: Backend, heads: Heads) -> list[AnyMethod]:
    """List the methods of this group."""

    async def storage(subscription: Subscription, keys: list[bytes]) -> None:
        block_hash = heads.best.latest
        first = await read_many(backend.state(block_hash), keys, block_hash)
        watch = _StorageWatch(backend, subscription, dict(first))
        subscription.notify({"block": to_hex(block_hash), "changes": first})
        subscription.on_close(heads.best.listen(watch.look))
        if heads.best.latest != block_hash:
            watch.look(heads.best.latest)

    async def version(subscription: Subscription) -> None:
        known = backend.runtime_version(heads.best.latest)
        subscription.notify(version_shape(known))

        def look(block_hash: bytes) -> None:
            nonlocal known
            try:
                now = backend.runtime_version(block_hash)
            except RpcError:
                return
            if now != known:
                known = now
                subscription.notify(version_shape(now))

        subscription.on_close(heads.best.listen(look))

    return [
        SubscribeMethod(
            "state_subscribeStorage",
            storage,
            "state_storage",
            ("state_unsubscribeStorage",),
            (Param("keys", list_of(hex_bytes, _MOST_WATCHED)),),
        ),
        SubscribeMethod(
            "state_subscribeRuntimeVersion",
            version,
            "state_runtimeVersion",
            ("state_unsubscribeRuntimeVersion", "chain_unsubscribeRuntimeVersion"),
            aliases=("chain_subscribeRuntimeVersion",),
        ),
    ]


class _StorageWatch:
    """Compares the watched values at every new tip with those last told."""

    def __init__(
        self, backend: Backend, subscription: Subscription, known: dict[str, str | None]
    ) -> None:
        self._backend = backend
        self._subscription = subscription
        self._known = known
        self._keys = [(key, bytes.fromhex(key[2:])) for key in known]

    def look(self, block_hash: bytes) -> None:
        """Tell the values that differ at a new tip; a tip that is gone again is skipped."""
        changes: list[tuple[str, str | None]] = []
        try:
            state = self._backend.state(block_hash)
            for text, key in self._keys:
                value = state.get(key)
                now = None if value is None else to_hex(value)
                if now != self._known[text]:
                    self._known[text] = now
                    changes.append((text, now))
        except (RpcError, MissingNode):
            return
        if changes:
            self._subscription.notify({"block": to_hex(block_hash), "changes": changes})
