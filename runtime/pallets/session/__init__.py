"""Session: the validator set and randomness."""

from runtime.pallets.session.pallet import Session, Validator

__all__ = ["Session", "Validator"]
