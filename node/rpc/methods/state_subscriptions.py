"""`state_subscribe*`: values of chosen keys, and the version of the rules, as the tip moves."""

from __future__ import annotations

from collections.abc import Callable

from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, SubscribeMethod
from node.rpc.errors import SERVER_BUSY, RpcError, invalid_params
from node.rpc.heads import Heads
from node.rpc.methods.state import CHANGES, read_many
from node.rpc.params import Param, hex_bytes, list_of, to_hex
from node.rpc.shapes import VERSION, version_shape
from node.rpc.subscriptions import Subscription
from runtime.primitives.hashing import blake2_256
from runtime.state.store import MissingNode

_MOST_WATCHED = 256
_MOST_WATCHED_BY_ALL = 65536
"""Keys in all subscriptions: each is read with every block, in about 3 µs."""


def state_subscriptions(backend: Backend, heads: Heads) -> list[AnyMethod]:
    """List the methods of this group."""
    watched = 0

    async def storage(subscription: Subscription, keys: list[bytes] | None) -> None:
        """Tell the values under some keys, now and whenever one changes with the best block."""
        nonlocal watched
        if keys is None:
            raise invalid_params(
                "parameter 0 (keys) is missing: a subscription to all keys is not offered; follow "
                "the blocks and read System.Events instead"
            )
        if watched + len(keys) > _MOST_WATCHED_BY_ALL:
            raise RpcError(SERVER_BUSY, "Server is busy", "too many keys are watched; try later")
        watched += len(keys)  # before the first wait: others are counted meanwhile
        stop: Callable[[], object] = bool

        def close() -> None:
            nonlocal watched
            watched -= len(keys)
            stop()

        subscription.on_close(close)
        block_hash = heads.best.latest
        first = await read_many(backend.state(block_hash), keys, block_hash)
        watch = _StorageWatch(backend, subscription, dict(first))
        subscription.notify({"block": to_hex(block_hash), "changes": first})
        stop = heads.best.listen(watch.look)
        if heads.best.latest != block_hash:
            watch.look(heads.best.latest)

    async def version(subscription: Subscription) -> None:
        """Tell name and version of the rules, now and when they change."""
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
            (
                Param(
                    "keys",
                    list_of(hex_bytes, _MOST_WATCHED),
                    optional=True,
                    doc="Whole storage keys; there have to be some.",
                ),
            ),
            result=CHANGES,
        ),
        SubscribeMethod(
            "state_subscribeRuntimeVersion",
            version,
            "state_runtimeVersion",
            ("state_unsubscribeRuntimeVersion", "chain_unsubscribeRuntimeVersion"),
            aliases=("chain_subscribeRuntimeVersion",),
            result=VERSION,
        ),
    ]


class _StorageWatch:
    """Compares the watched values at every new tip with those last told."""

    def __init__(
        self, backend: Backend, subscription: Subscription, known: dict[str, str | None]
    ) -> None:
        self._backend = backend
        self._subscription = subscription
        self._keys = {key: bytes.fromhex(key[2:]) for key in known}
        self._known = {key: _digest(value) for key, value in known.items()}

    def look(self, block_hash: bytes) -> None:
        """Tell the values that differ at a new tip; a tip that is gone again is skipped."""
        changes: list[tuple[str, str | None]] = []
        try:
            state = self._backend.state(block_hash)
            for text, key in self._keys.items():
                value = state.get(key)
                now = None if value is None else to_hex(value)
                digest = _digest(now)
                if digest != self._known[text]:
                    self._known[text] = digest
                    changes.append((text, now))
        except (RpcError, MissingNode):
            return
        if changes:
            self._subscription.notify({"block": to_hex(block_hash), "changes": changes})


def _digest(value: str | None) -> bytes | None:
    """Shorten a value that is only compared: a watch holds no copy of long ones."""
    return None if value is None else blake2_256(value.encode())
