"""A TCP proxy whose connections a test can cut, as a bad network would."""

from __future__ import annotations

import trio


class CuttableProxy:
    """Forwards to a port; `cut` breaks what is open, `refuse` also what comes (`refused` is set).

    deaf: what clients send is lost; `lost` is set then.
    lasts: a connection breaks behind so many pieces from the port, the handshake's answer is one.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._scopes: set[trio.CancelScope] = set()
        self.port = 0
        self.served = 0
        self.refuse = False
        self.refused = trio.Event()
        self.deaf = False
        self.lost = trio.Event()
        self.lasts: int | None = None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._forward, listeners)

    def cut(self) -> None:
        for scope in self._scopes:
            scope.cancel()

    async def _forward(self, near: trio.SocketStream) -> None:
        if self.refuse:
            self.refused.set()
            return
        self.served += 1
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            far = await trio.open_tcp_stream("127.0.0.1", self._target)
            async with near, far, trio.open_nursery() as nursery:
                nursery.start_soon(self._copy, near, far, scope, None)
                nursery.start_soon(self._copy, far, near, scope, self.lasts)
        self._scopes.discard(scope)

    async def _copy(
        self,
        source: trio.SocketStream,
        sink: trio.SocketStream,
        scope: trio.CancelScope,
        most: int | None,
    ) -> None:
        try:
            async for data in source:
                if self.deaf:
                    self.lost.set()
                    continue
                await sink.send_all(data)
                if most is not None and (most := most - 1) == 0:
                    break
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()
