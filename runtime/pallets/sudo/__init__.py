"""Sudo, for development chains."""

from runtime.pallets.sudo.pallet import Sudo

__all__ = ["Sudo"]
