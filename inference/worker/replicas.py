"""What `--ray`, `--replicas` and `--device` ask for together."""

from __future__ import annotations

import argparse

from inference.cluster.connection import check_ray
from inference.cluster.errors import ClusterReason, ClusterRefused
from inference.serving_engine import OpenEngine
from inference.worker.devices import GPU, PROCESSOR, bytes_of


def check_replicas(arguments: argparse.Namespace) -> None:
    """Refuse what cannot work before anything is loaded.

    Raises ClusterRefused: RAY_MISSING, BAD_ADDRESS, BAD_DEVICE.
    """
    if arguments.ray is None:
        return
    check_ray(arguments.ray)
    if arguments.device not in (PROCESSOR, GPU):
        raise ClusterRefused(
            ClusterReason.BAD_DEVICE,
            f"Ray chooses the GPU of each replica: give --device {GPU}, not {arguments.device}",
        )


def device_here(arguments: argparse.Namespace) -> str:
    """Return what this process computes on: replicas leave it the processor."""
    return PROCESSOR if arguments.ray is not None else str(arguments.device)


def engines_of(arguments: argparse.Namespace) -> OpenEngine | None:
    """Return what opens replicas on the connected cluster; None for an engine here."""
    if arguments.ray is None:
        return None
    from inference.cluster.opening import on_ray

    return on_ray(
        arguments.base,
        arguments.replicas,
        arguments.threads,
        arguments.device,
        bytes_of(arguments.memory),
        bytes_of(arguments.disk),
    )
