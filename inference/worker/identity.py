"""What names the computation in a receipt: the engine's build and numeric class."""

from __future__ import annotations

import platform

import msgpack
import numpy as np
import torch

from inference.backbone.model import Backbone
from runtime.primitives.hashing import blake2_256

TAG = b"openledger-engine-v1"
CODE_VERSION = 1
"""Rises whenever the same request would get another answer."""
NUMERIC_CLASS = "fp32"


def engine_facts(backbone: Backbone) -> dict[str, object]:
    """Return what an answer depends on besides the request and the adapter."""
    return {
        "code": CODE_VERSION,
        "class": NUMERIC_CLASS,
        "base": backbone.content_hash,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
    }


def engine_hash(backbone: Backbone) -> bytes:
    """Hash the engine's facts, as they stand in every receipt."""
    return blake2_256(TAG + msgpack.packb(engine_facts(backbone)))
