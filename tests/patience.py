"""How long tests wait for what should come soon: a limit against hanging, not a measurement."""

from __future__ import annotations

PATIENCE = 60.0
"""Seconds. A machine that is busy with other tests may take many times as long as an idle one."""
