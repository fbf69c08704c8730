"""Serving without keys: to programs of this machine alone, and not to web pages in its browser."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from inference.api.errors import ApiReason, ApiRefused
from inference.api.keys import Caller

LOCAL = "local"


class Loopback:
    """Lets everybody in that reaches a loopback address by its name.

    A page that a browser of this machine shows may send requests here too: they carry the page's
    origin, or the name under which the page had this address looked up.
    """

    def caller(self, headers: Headers) -> Caller:
        """Return the one caller that there is; raises NOT_LOCAL."""
        origin = headers.get("origin")
        named = [f"//{headers.get('host', '')}", *([] if origin is None else [origin])]
        if not all(is_loopback(_host(url)) for url in named):
            raise ApiRefused(ApiReason.NOT_LOCAL)
        return Caller(LOCAL, is_admin=True)


def is_loopback(host: str) -> bool:
    """Tell whether a name or an address is of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
