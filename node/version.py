"""The version of the installed package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def node_version() -> str:
    """Return the version, 0.0.0 where the package is not installed."""
    try:
        return version("openledger-node")
    except PackageNotFoundError:
        return "0.0.0"
