"""Sites that read the same input: one product of the base model, and one shrink of an adapter."""

from __future__ import annotations

GROUPS = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))
"""Per layer, in this order; within a group outputs and ranks lie side by side in this order."""
