"""The main job from end to end on one machine: who was paid for an answer, and why."""
