"""Models: proposals, adapters, prices."""

from runtime.pallets.models.pallet import Models

__all__ = ["Models"]
