"""The list of all runtime APIs that are declared as classes."""

from __future__ import annotations

from runtime.apis.base import StateApi

APIS: tuple[type[StateApi], ...] = ()
