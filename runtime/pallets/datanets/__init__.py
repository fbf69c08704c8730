"""Datanets: silos of records."""

from runtime.pallets.datanets.pallet import Datanets

__all__ = ["Datanets"]
