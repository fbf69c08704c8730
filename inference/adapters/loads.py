"""Load one adapter into host memory; whatever goes wrong is a refusal of that adapter alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.figures import Origin
from inference.adapters.image_layout import Packing
from inference.adapters.packed_image import PackedImage
from inference.adapters.store import AdapterStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image or why there is none, and the seconds that it took."""

    image: PackedImage | None
    failure: AdapterRefused | None
    origin: Origin
    seconds: float


def load(
    store: AdapterStore, content_hash: bytes, packing: Packing, buffer: Callable[[int], Tensor]
) -> Loaded:
    """Read, or fetch and pack, an adapter; never raises."""
    started = time.monotonic()
    image, failure, origin = None, None, Origin.DISK
    try:
        image, origin = store.packed(content_hash, packing, buffer)
    except AdapterRefused as refusal:
        failure = refusal
    except OSError as error:
        failure = AdapterRefused(AdapterReason.DISK, f"{error}; mend it and ask again")
    except Exception as error:
        log.exception("adapter %s could not be loaded", content_hash.hex())
        failure = AdapterRefused(AdapterReason.NOT_LOADED, f"{type(error).__name__}: {error}")
    return Loaded(image, failure, origin, time.monotonic() - started)
