"""Agreement: who makes the next block, and when it can no longer be undone."""
