"""Attribution: committees, agreement, finality of batches."""

from runtime.pallets.attribution.pallet import Attribution

__all__ = ["Attribution"]
