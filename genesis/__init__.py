"""Chain specifications and the presets that a fresh machine can start from."""
