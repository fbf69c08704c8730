"""System: accounts, block context, events."""

from runtime.pallets.system.pallet import System

__all__ = ["System"]
