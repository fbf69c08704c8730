"""Fetch an adapter's image that is not on the disk from the first source that has it."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from inference.adapters.errors import AdapterReason, AdapterRefused

log = logging.getLogger(__name__)

Source = Callable[[bytes], bytes]
"""Takes a content hash, returns the image; may block, and raises if it has none."""


class Sources:
    """Asks sources in order; those who want the same image at the same time share one answer."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)
        self._asked: dict[bytes, Future[bytes]] = {}
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._sources)

    def fetch(self, content_hash: bytes, keep: Callable[[bytes], None]) -> bytes:
        """Return an image with this hash, after `keep` took it.

        An image that `keep` refuses is not asked for again elsewhere: it is what the hash names.

        Raises:
            AdapterRefused: NOT_STORED without sources, NOT_FETCHED where none has it, or why the
                image itself is refused.
        """
        with self._lock:
            mine: Future[bytes] = Future()
            answer = self._asked.setdefault(content_hash, mine)
        if answer is not mine:
            return answer.result()
        try:
            image = self._ask(content_hash)
            keep(image)
            mine.set_result(image)
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._asked[content_hash]
        return image

    def _ask(self, content_hash: bytes) -> bytes:
        name = content_hash.hex()
        if not self._sources:
            raise AdapterRefused(
                AdapterReason.NOT_STORED, f"{name} is not here; fetch its image first"
            )
        reasons = []
        for source in self._sources:
            try:
                image = source(content_hash)
            except Exception as error:
                reasons.append(f"{type(error).__name__} {error}")
                log.info("a source has no adapter %s: %s", name, reasons[-1])
                continue
            found = hashlib.blake2b(image, digest_size=32).hexdigest()
            if found == name:
                return image
            reasons.append(f"another image, {found}")
            log.warning("a source answered adapter %s with another image, %s", name, found)
        raise AdapterRefused(AdapterReason.NOT_FETCHED, f"{name}: {'; '.join(reasons)}")
