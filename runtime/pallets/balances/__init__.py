"""Balances."""

from runtime.pallets.balances.pallet import Balances

__all__ = ["Balances"]
