"""Finding peers of the same chain on the local network by multicast DNS."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import trio
from zeroconf import ServiceBrowser, ServiceInfo, Zeroconf

from node.log import Log
from node.network.addresses import Address

_log = Log("network")

MOST_FOUND = 64


async def discover(
    genesis_hash: bytes, own: str, places: Sequence[Address]
) -> AsyncGenerator[Address, None]:
    """Announce this node and yield the addresses of others, until cancelled.

    Ends with one line in the log where multicast is not available.
    """
    kind = f"_ol{genesis_hash[:4].hex()}._tcp.local."
    send, receive = trio.open_memory_channel[Address](MOST_FOUND)
    try:
        zeroconf = await trio.to_thread.run_sync(_announce, kind, own, places)
    except Exception as error:
        _log.warning("no discovery on the local network", error=error)
        return
    token = trio.lowlevel.current_trio_token()
    browser = ServiceBrowser(zeroconf, kind, handlers=[_Found(own, send, token)])
    try:
        async for address in receive:
            yield address
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(browser.cancel)
            await trio.to_thread.run_sync(zeroconf.close)


def _announce(kind: str, own: str, places: Sequence[Address]) -> Zeroconf:
    zeroconf = Zeroconf()
    try:
        for place in places[:1]:
            hosts = _own_ips() if place.is_wildcard else [place.host]
            info = ServiceInfo(
                kind,
                f"{own[-40:]}.{kind}",
                port=place.port,
                properties={"peer": own},
                server=f"{own[-40:]}.local.",
                parsed_addresses=hosts,
            )
            zeroconf.register_service(info, allow_name_change=False)
    except BaseException:
        zeroconf.close()
        raise
    return zeroconf


def _own_ips() -> list[str]:
    """Name the interface that leads out; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return [str(probe.getsockname()[0])]


class _Found:
    """Passes what the library's thread finds to the loop."""

    def __init__(
        self, own: str, send: trio.MemorySendChannel[Address], token: trio.lowlevel.TrioToken
    ) -> None:
        self._own = own
        self._send = send
        self._token = token

    def __call__(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: Any) -> None:
        if state_change.name == "Removed":
            return
        info = zeroconf.get_service_info(service_type, name, timeout=1000)
        peer = (info.properties.get(b"peer") or b"").decode("ascii", "replace") if info else ""
        if info is None or info.port is None or peer == self._own:
            return
        for host in info.parsed_addresses()[:4]:
            try:
                address = Address.parse(str(Address.of_ip(host, info.port, peer)))
                self._token.run_sync_soon(self._offer, address)
            except (ValueError, trio.RunFinishedError):
                continue

    def _offer(self, address: Address) -> None:
        try:
            self._send.send_nowait(address)
        except (trio.WouldBlock, trio.BrokenResourceError):
            return
