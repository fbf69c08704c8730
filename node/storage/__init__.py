"""Blocks, states and heads on disk, in one LevelDB."""
