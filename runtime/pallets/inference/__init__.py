"""Inference: workers, sessions, receipts, settlement."""

from runtime.pallets.inference.pallet import Inference

__all__ = ["Inference"]
