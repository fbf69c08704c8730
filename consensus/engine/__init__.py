"""Runs the pure core: its log on the disk, its one signing gate, its timers, and its peers."""
