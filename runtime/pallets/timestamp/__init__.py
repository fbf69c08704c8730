"""Timestamp."""

from runtime.pallets.timestamp.pallet import Timestamp

__all__ = ["Timestamp"]
