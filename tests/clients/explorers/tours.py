"""Shows a chain on which the main job was done to explorers that others built, in a browser."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.construct import encode_call
from runtime.pallets.datanets.types import Policy
from tests.clients.conftest import Node, flow, node_program
from tests.clients.settled_chain import Settled

HERE = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPEN = 10**18
VARIABLES = ("PAPI_CONSOLE", "POLKADOT_APPS")
"""Environment variables that name the built folders."""
PICTURES = "PICTURES"


@dataclass(frozen=True)
class Seen:
    """The text of each page, and the faults that the page itself threw."""

    pages: dict[str, str]
    faults: list[str]


def browser() -> str | None:
    """Find a Chromium."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def visit(
    tour: str,
    built: Path,
    node: Node,
    settled: Settled,
    installed: Path,
    folder: Path,
    pictures: tuple[str, ...] = (),
) -> Seen:
    """Take a script's tour of an explorer, served from its built folder.

    Pictures of the pages that `pictures` names go to `folder`.
    """
    with served(built) as url:
        settings: dict[str, Any] = {
            "url": url,
            "node": node.websocket,
            "browser": browser(),
            "block": settled.block,
            "call": "0x" + example_call().hex(),
            "folder": str(folder),
            "pictures": list(pictures),
        }
        told = flow([node_program(), str(HERE / tour), json.dumps(settings)], installed)
    return Seen(told["seen"], told["faults"])


def example_call() -> bytes:
    """Return the call that the tours show as an extrinsic to be signed."""
    return encode_call(
        "Datanets",
        "create",
        name=b"recipes",
        schema=(b"title", b"text"),
        policy=Policy(True, OPEN // 10, OPEN),
    )


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a built web page on loopback; unknown paths are the page's own routes."""
    handler = functools.partial(_Page, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class _Page(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file() and not path.suffix:
            self.path = "/index.html"
        super().do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
