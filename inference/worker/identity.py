"""What a receipt says of the computation: a statement of all that its bits depend on, by hash.

The statement is canonical msgpack: version of the code, numeric class, hashes of the base model,
the tokenizer and the kernels, device model, driver and libraries. A judge whose own statement is
equal expects equal bits.
"""

from __future__ import annotations

import functools
import platform
from dataclasses import asdict
from typing import Any

import msgpack
import numpy as np
import torch

from inference.backbone.model import Backbone
from inference.cuda.identity import DeviceIdentity, identify
from runtime.primitives.hashing import blake2_256

TAG = b"openledger-engine-v1"
CODE_VERSION = 2
"""Rises whenever the same request would get another answer."""
CLASSES = {"float32": "fp32", "bfloat16": "bf16"}
MOST_BYTES = 2048


def engine_statement(backbone: Backbone, device: DeviceIdentity | None = None) -> bytes:
    """Write what an answer depends on besides request and adapter; None for this processor."""
    device = device or _processor()
    statement: bytes = msgpack.packb(
        {
            "code": CODE_VERSION,
            "class": CLASSES[device.dtype],
            "base": backbone.content_hash,
            "tokenizer": None if backbone.tokenizer is None else backbone.tokenizer.content_hash,
            "device": asdict(device),
            "numpy": np.__version__,
            "machine": platform.machine(),
        }
    )
    return statement


@functools.cache
def _processor() -> DeviceIdentity:
    return identify(torch.device("cpu"), torch.float32, b"")


def statement_hash(statement: bytes) -> bytes:
    """Return what stands in a receipt as `engine_hash`."""
    return blake2_256(TAG + statement)


def engine_hash(backbone: Backbone, device: DeviceIdentity | None = None) -> bytes:
    """Hash an engine's statement."""
    return statement_hash(engine_statement(backbone, device))


def read_statement(statement: bytes) -> dict[str, Any] | None:
    """Read a stranger's statement; None if it names no known class, or is none."""
    if len(statement) > MOST_BYTES:
        return None
    try:
        facts = msgpack.unpackb(statement)
    except (ValueError, msgpack.UnpackException):
        return None
    known = isinstance(facts, dict) and facts.get("class") in CLASSES.values()
    return facts if known else None


def differing(one: bytes, other: bytes) -> list[str]:
    """Name what two statements differ in; `statement` where they do not say."""
    if one == other:
        return []
    first, second = (_flat(read_statement(statement)) for statement in (one, other))
    names = sorted(set(first) | set(second)) if first and second else []
    return [name for name in names if first.get(name) != second.get(name)] or ["statement"]


def _flat(facts: dict[str, Any] | None) -> dict[str, Any]:
    device = None if facts is None else facts.get("device")
    if facts is None or not isinstance(device, dict):
        return {}
    return {name: value for name, value in facts.items() if name != "device"} | device
