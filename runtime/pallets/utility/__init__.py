"""Utility: batches of calls."""

from runtime.pallets.utility.pallet import Utility

__all__ = ["Utility"]
