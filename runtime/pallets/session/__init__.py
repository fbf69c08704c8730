"""Session: the validator sets of the epochs, their keys, and randomness."""

from runtime.pallets.session.pallet import Session
from runtime.pallets.session.types import Validator

__all__ = ["Session", "Validator"]
